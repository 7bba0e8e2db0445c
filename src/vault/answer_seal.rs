//! Seals a session_token under another token, so that only who holds that one gets it back. Knows bytes, not why an
//! answer is given twice.
//!
//! Each token has a sealing key of its own, HMAC-SHA-256(answer_seal, label ‖ token): a dump of the database with all
//! data keys opens nothing without the token, of which the store keeps a hash at most.

use aws_lc_rs::hmac;

use super::sealer::{KEY_BYTES, Sealer, Unsealable};
use crate::ids::SessionId;
use crate::session_token::SessionToken;

/// What a sealed token is for. The label keeps the keys of both uses apart, even under equal tokens; the NUL ends it,
/// as no token contains one.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// The answer to a login, under its access token.
    Answer,
    /// The session_token that came after, under the one before it.
    Successor,
}

impl Use {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Answer => b"login answer\0",
            Self::Successor => b"session successor\0",
        }
    }
}

pub(super) struct AnswerSeal {
    key_id: u32,
    key: hmac::Key,
}

impl AnswerSeal {
    pub(super) fn new(key_id: u32, key: &[u8; KEY_BYTES]) -> Self {
        Self { key_id, key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    pub(super) fn seal(&self, under: (Use, &str), session: SessionId, token: &SessionToken) -> Vec<u8> {
        self.sealer(under).seal(session.0.as_bytes(), token.expose().as_bytes())
    }

    pub(super) fn open(
        &self,
        under: (Use, &str),
        session: SessionId,
        sealed: &[u8],
    ) -> Result<SessionToken, Unsealable> {
        let opened = self.sealer(under).open(session.0.as_bytes(), sealed)?;
        std::str::from_utf8(&opened).ok().and_then(SessionToken::parse).ok_or(Unsealable)
    }

    fn sealer(&self, (usage, token): (Use, &str)) -> Sealer {
        let mut derivation = hmac::Context::with_key(&self.key);
        derivation.update(usage.label());
        derivation.update(token.as_bytes());
        let key = derivation.sign().as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes");
        Sealer::new(self.key_id, &key)
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    const ACCESS_TOKEN: &str = "ad12sasdsfe3dfdg3sc";

    fn session(seconds: i64) -> SessionId {
        SessionId::new(OffsetDateTime::from_unix_timestamp(seconds).unwrap())
    }

    #[test]
    fn an_answer_opens_only_under_its_token_for_its_session_and_with_its_key() {
        let seal = AnswerSeal::new(4, &[1; KEY_BYTES]);
        let (id, token) = (session(1), SessionToken::generate());
        let sealed = seal.seal((Use::Answer, ACCESS_TOKEN), id, &token);
        assert_eq!(seal.open((Use::Answer, ACCESS_TOKEN), id, &sealed), Ok(token));
        assert_eq!(seal.open((Use::Answer, "ad12sasdsfe3dfdg3sd"), id, &sealed), Err(Unsealable));
        assert_eq!(seal.open((Use::Answer, ACCESS_TOKEN), session(2), &sealed), Err(Unsealable));
        let others = [AnswerSeal::new(4, &[2; KEY_BYTES]), AnswerSeal::new(5, &[1; KEY_BYTES])];
        assert!(others.iter().all(|other| other.open((Use::Answer, ACCESS_TOKEN), id, &sealed) == Err(Unsealable)));
    }

    #[test]
    fn the_same_token_seals_answers_and_successors_under_different_keys() {
        let seal = AnswerSeal::new(4, &[1; KEY_BYTES]);
        let (id, token) = (session(1), SessionToken::generate());
        let under = SessionToken::generate();
        let sealed = seal.seal((Use::Successor, under.expose()), id, &token);
        assert_eq!(seal.open((Use::Answer, under.expose()), id, &sealed), Err(Unsealable));
        assert_eq!(seal.open((Use::Successor, under.expose()), id, &sealed), Ok(token));
    }

    #[test]
    fn what_is_sealed_shows_neither_token_and_differs_each_time() {
        let seal = AnswerSeal::new(4, &[1; KEY_BYTES]);
        let (id, token) = (session(1), SessionToken::generate());
        let sealed = seal.seal((Use::Answer, ACCESS_TOKEN), id, &token);
        for secret in [token.expose(), ACCESS_TOKEN] {
            assert!(!sealed.windows(8).any(|bytes| secret.as_bytes().starts_with(bytes)));
        }
        assert_ne!(sealed, seal.seal((Use::Answer, ACCESS_TOKEN), id, &token));
    }
}
