//! Keys at rest and what is sealed with them. It must not know tables, sessions or HTTP.
//!
//! Envelope encryption: the master key only wraps the data keys, which the store keeps and which do the work. They are
//! made once, at the first start, by whichever replica comes first. How the master key is changed: [`MasterKeys`].
//!
//! ```text
//! master keys ─wrap─▶ phone_index   HMAC-SHA-256: finds a user without storing the number; and derives the key that
//!                                   hashes device fingerprints for the audit stream
//!                     phone_seal    AES-256-GCM:  the number, bound to its user's id
//!                     signing_wrap  AES-256-GCM:  private signing keys, each bound to its kid
//!                     answer_seal   HMAC-SHA-256: derives a sealing key from each access token and session_token
//! ```

mod answer_seal;
mod master_key;
mod master_keys;
mod rewrap;
mod sealer;

use answer_seal::{AnswerSeal, Use};
use aws_lc_rs::hmac;
use time::OffsetDateTime;

pub use master_key::{MasterKey, MasterKeyError};
pub use master_keys::MasterKeys;
pub use rewrap::{Rewrapped, not_wrapped_by_first, rewrap};
pub use sealer::Unsealable;
use sealer::{KEY_BYTES, Sealer};

use crate::device::FingerprintHash;
use crate::ids::{SessionId, UserId};
use crate::phone_number::PhoneNumber;
use crate::session_token::SessionToken;
use crate::store::{DataKey, KeyPurpose, NewDataKey, PhoneIndex, Store, StoreError};
use crate::verifier::AccessToken;

/// The unwrapped data keys, for as long as the process lives.
pub struct Vault {
    phone_index: hmac::Key,
    fingerprint_hash: hmac::Key,
    phone_seal: Sealer,
    signing_wrap: Sealer,
    answer_seal: AnswerSeal,
}

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(
        "no master key opens the stored data key {purpose}: the key this database was set up with is not among them"
    )]
    WrongMasterKey { purpose: &'static str },
    #[error("the data key {purpose} is missing")]
    MissingDataKey { purpose: &'static str },
    #[error("somebody else rewraps the data keys again and again")]
    Contended,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Vault {
    /// Unwraps the data keys of the store, making those that are not there yet.
    pub async fn open(master_keys: &MasterKeys, store: &dyn Store, now: OffsetDateTime) -> Result<Self, VaultError> {
        let mut rows = store.data_keys().await?;
        let missing: Vec<_> = KeyPurpose::ALL
            .into_iter()
            .filter(|purpose| rows.iter().all(|row| row.purpose != *purpose))
            .map(|purpose| new_data_key(master_keys, purpose, now))
            .collect();
        if !missing.is_empty() {
            rows = store.ensure_data_keys(&missing).await?;
        }
        Self::unwrap(master_keys, &rows)
    }

    /// Unwraps these, making none.
    pub fn unwrap(master_keys: &MasterKeys, rows: &[DataKey]) -> Result<Self, VaultError> {
        let open = |purpose: KeyPurpose| -> Result<(u32, [u8; KEY_BYTES]), VaultError> {
            let row = rows.iter().find(|row| row.purpose == purpose);
            let row = row.ok_or(VaultError::MissingDataKey { purpose: purpose.as_str() })?;
            let unwrapped = master_keys.unwrap(row)?;
            if !unwrapped.by_first {
                tracing::info!(
                    data_key.purpose = purpose.as_str(),
                    "a data key is not wrapped by the first master key: key rewrap is due"
                );
            }
            Ok((row.id, unwrapped.key))
        };
        let sealer = |purpose| open(purpose).map(|(id, key)| Sealer::new(id, &key));
        let (_, phone_index) = open(KeyPurpose::PhoneIndex)?;
        let (answer_seal_id, answer_seal) = open(KeyPurpose::AnswerSeal)?;
        let phone_index = hmac::Key::new(hmac::HMAC_SHA256, &phone_index);
        // No number is this text: all begin with a plus sign.
        let fingerprint_key = hmac::sign(&phone_index, b"device fingerprint");
        Ok(Self {
            fingerprint_hash: hmac::Key::new(hmac::HMAC_SHA256, fingerprint_key.as_ref()),
            phone_index,
            phone_seal: sealer(KeyPurpose::PhoneSeal)?,
            signing_wrap: sealer(KeyPurpose::SigningWrap)?,
            answer_seal: AnswerSeal::new(answer_seal_id, &answer_seal),
        })
    }

    /// The blind index of a number. Equal numbers give equal indexes, and nobody without the key can try them all.
    pub fn phone_index(&self, number: &PhoneNumber) -> PhoneIndex {
        let tag = hmac::sign(&self.phone_index, number.e164().as_bytes());
        PhoneIndex(tag.as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes"))
    }

    /// Equal fingerprints have equal hashes, on every replica and for as long as the database lives. Keyed, so that
    /// whoever has nothing but the audit stream cannot try fingerprints: apps make them of what can be guessed, too.
    pub fn fingerprint_hash(&self, fingerprint: &str) -> FingerprintHash {
        let tag = hmac::sign(&self.fingerprint_hash, fingerprint.as_bytes());
        FingerprintHash(*tag.as_ref().first_chunk().expect("HMAC-SHA-256 gives 32 bytes"))
    }

    /// Seals a number so that it opens only as this user's.
    pub fn seal_phone(&self, user: UserId, number: &PhoneNumber) -> Vec<u8> {
        self.phone_seal.seal(user.0.as_bytes(), number.e164().as_bytes())
    }

    pub fn open_phone(&self, user: UserId, sealed: &[u8]) -> Result<PhoneNumber, Unsealable> {
        let opened = self.phone_seal.open(user.0.as_bytes(), sealed)?;
        std::str::from_utf8(&opened).ok().and_then(|text| PhoneNumber::parse(text).ok()).ok_or(Unsealable)
    }

    /// Wraps a private signing key so that it opens only under its own `kid`.
    pub fn wrap_signing_key(&self, kid: &str, pkcs8: &[u8]) -> Vec<u8> {
        self.signing_wrap.seal(kid.as_bytes(), pkcs8)
    }

    pub fn unwrap_signing_key(&self, kid: &str, wrapped: &[u8]) -> Result<Vec<u8>, Unsealable> {
        self.signing_wrap.open(kid.as_bytes(), wrapped)
    }

    /// Seals a login's session_token for whoever comes back with the same access token.
    pub fn seal_answer(&self, access_token: &AccessToken, session: SessionId, answer: &SessionToken) -> Vec<u8> {
        self.answer_seal.seal((Use::Answer, access_token.expose()), session, answer)
    }

    pub fn open_answer(
        &self,
        access_token: &AccessToken,
        session: SessionId,
        sealed: &[u8],
    ) -> Result<SessionToken, Unsealable> {
        self.answer_seal.open((Use::Answer, access_token.expose()), session, sealed)
    }

    /// Seals the token that replaces `predecessor` for whoever comes back with that.
    pub fn seal_successor(&self, predecessor: &SessionToken, session: SessionId, successor: &SessionToken) -> Vec<u8> {
        self.answer_seal.seal((Use::Successor, predecessor.expose()), session, successor)
    }

    pub fn open_successor(
        &self,
        predecessor: &SessionToken,
        session: SessionId,
        sealed: &[u8],
    ) -> Result<SessionToken, Unsealable> {
        self.answer_seal.open((Use::Successor, predecessor.expose()), session, sealed)
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(…)")
    }
}

fn new_data_key(master_keys: &MasterKeys, purpose: KeyPurpose, now: OffsetDateTime) -> NewDataKey {
    NewDataKey { purpose, wrapped: master_keys.wrap(purpose, &sealer::random_key()), created_at: now }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(master_keys: &MasterKeys) -> Vault {
        Vault::unwrap(master_keys, &rows(master_keys)).unwrap()
    }

    fn one_master_key() -> MasterKeys {
        MasterKeys::from(MasterKey::generate())
    }

    fn rows(master_keys: &MasterKeys) -> Vec<DataKey> {
        let made = KeyPurpose::ALL.map(|purpose| new_data_key(master_keys, purpose, OffsetDateTime::UNIX_EPOCH));
        made.into_iter().zip(1..).map(|(key, id)| DataKey { id, purpose: key.purpose, wrapped: key.wrapped }).collect()
    }

    fn user(seconds: i64) -> UserId {
        UserId::new(OffsetDateTime::from_unix_timestamp(seconds).unwrap())
    }

    #[test]
    fn a_sealed_number_opens_only_for_its_own_user() {
        let vault = vault(&one_master_key());
        let number = PhoneNumber::from_national("13800000001").unwrap();
        let (owner, other) = (user(1), user(2));
        let sealed = vault.seal_phone(owner, &number);
        assert_eq!(vault.open_phone(owner, &sealed), Ok(number.clone()));
        assert_eq!(vault.open_phone(other, &sealed), Err(Unsealable));
        assert_ne!(sealed, vault.seal_phone(owner, &number), "the nonce is fresh each time");
    }

    #[test]
    fn the_blind_index_depends_on_the_number_and_on_the_key() {
        let (one, other) = (vault(&one_master_key()), vault(&one_master_key()));
        let a = PhoneNumber::from_national("13800000001").unwrap();
        let b = PhoneNumber::from_national("13800000002").unwrap();
        assert_eq!(one.phone_index(&a), one.phone_index(&a));
        assert_ne!(one.phone_index(&a), one.phone_index(&b));
        assert_ne!(one.phone_index(&a), other.phone_index(&a));
    }

    #[test]
    fn a_fingerprints_hash_depends_on_the_fingerprint_and_on_the_key() {
        let (one, other) = (vault(&one_master_key()), vault(&one_master_key()));
        assert_eq!(one.fingerprint_hash("a"), one.fingerprint_hash("a"));
        assert_ne!(one.fingerprint_hash("a"), one.fingerprint_hash("b"));
        assert_ne!(one.fingerprint_hash("a"), other.fingerprint_hash("a"));
        let number = PhoneNumber::from_national("13800000001").unwrap();
        assert_ne!(one.fingerprint_hash(&number.e164()).0, one.phone_index(&number).0[..16], "a key of its own");
    }

    #[test]
    fn another_master_key_opens_nothing_and_says_so() {
        let rows = rows(&one_master_key());
        let error = Vault::unwrap(&one_master_key(), &rows).unwrap_err();
        assert!(matches!(error, VaultError::WrongMasterKey { purpose: "phone_index" }), "{error}");
    }

    #[test]
    fn a_wrapped_signing_key_opens_only_under_its_own_kid() {
        let vault = vault(&one_master_key());
        let wrapped = vault.wrap_signing_key("kid-a", b"private");
        assert_eq!(vault.unwrap_signing_key("kid-a", &wrapped), Ok(b"private".to_vec()));
        assert_eq!(vault.unwrap_signing_key("kid-b", &wrapped), Err(Unsealable));
    }

    #[test]
    fn an_answer_and_a_successor_come_back_to_the_holder_of_the_token_before_them() {
        let vault = vault(&one_master_key());
        let session = SessionId::new(OffsetDateTime::UNIX_EPOCH);
        let (old, new) = (SessionToken::generate(), SessionToken::generate());
        let access_token = AccessToken::parse(old.expose()).unwrap();
        let answer = vault.seal_answer(&access_token, session, &new);
        let successor = vault.seal_successor(&old, session, &new);
        assert_eq!(vault.open_answer(&access_token, session, &answer), Ok(new.clone()));
        assert_eq!(vault.open_successor(&old, session, &successor), Ok(new));
        assert_eq!(vault.open_answer(&access_token, session, &successor), Err(Unsealable));
        assert_eq!(vault.open_successor(&old, session, &answer), Err(Unsealable));
    }
}
