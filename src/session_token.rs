//! The session_token: drawn once, shown once to its owner, kept by us only as a hash.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

/// Length in characters; 62 symbols each make log2(62^32) = 190.5 bits.
pub const LENGTH: usize = 32;

/// The characters that all tokens of one session share once it is rotated: 71 random bits. The 20 behind them have 119.
const FAMILY_LENGTH: usize = 12;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Bytes at and above this are thrown away: 248 = 4 · 62, so that every symbol is equally likely.
const REJECT_FROM: u8 = 248;

/// Thirty-two characters `[A-Za-z0-9]` that let their bearer act as a user. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(String);

/// SHA-256 of a [`SessionToken`]: what the store keeps. A plain hash does, since 190 random bits cannot be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

/// SHA-256 of what all tokens of one session begin with. Only who had one of them can present another with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FamilyHash(pub [u8; 32]);

impl SessionToken {
    /// Draws a token from the operating system's random source.
    ///
    /// # Panics
    /// If the operating system has no randomness to give; no token could be trusted then.
    pub fn generate() -> Self {
        Self(random_alphanumeric(LENGTH))
    }

    /// Takes a token that a client presents, if it has the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| Self(text.to_owned()))
    }

    /// Draws the token that is to replace this one, of the same family.
    pub fn successor(&self) -> Self {
        Self(format!("{}{}", &self.0[..FAMILY_LENGTH], random_alphanumeric(LENGTH - FAMILY_LENGTH)))
    }

    pub fn hash(&self) -> TokenHash {
        TokenHash(sha256(self.0.as_bytes()))
    }

    pub fn family(&self) -> FamilyHash {
        FamilyHash(sha256(&self.0.as_bytes()[..FAMILY_LENGTH]))
    }

    /// The token itself, for its owner's answer and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

impl fmt::Debug for FamilyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FamilyHash(…)")
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// Draws `length` characters of `[A-Za-z0-9]`, each equally likely, from the operating system's random source.
pub fn random_alphanumeric(length: usize) -> String {
    let mut text = String::with_capacity(length);
    let mut bytes = [0_u8; LENGTH + LENGTH / 4];
    while text.len() < length {
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        let wanted = length - text.len();
        text.extend(
            bytes
                .iter()
                .filter(|byte| **byte < REJECT_FROM)
                .take(wanted)
                .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])),
        );
    }
    text
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_contracts_form_and_its_debug_shows_nothing() {
        let token = SessionToken::generate();
        assert_eq!(SessionToken::parse(token.expose()), Some(token.clone()));
        assert_eq!(format!("{token:?}{:?}", token.hash()), "SessionToken(…)TokenHash(…)");
    }

    /// ASVS 6.5.3, 7.2.3, 11.5.1.
    #[test]
    fn every_symbol_is_equally_likely() {
        const DRAWN: usize = 620_000;
        let mut counts = [0_u32; 128];
        random_alphanumeric(DRAWN).bytes().for_each(|byte| counts[usize::from(byte)] += 1);
        let expected = DRAWN as f64 / 62.0;
        let chi_square: f64 =
            ALPHABET.iter().map(|symbol| (f64::from(counts[usize::from(*symbol)]) - expected).powi(2) / expected).sum();
        // 61 degrees of freedom: 150 is exceeded by chance once in about 10^9 runs; modulo bias would give over 10,000.
        assert!(chi_square < 150.0, "chi-square {chi_square}");
    }
}
