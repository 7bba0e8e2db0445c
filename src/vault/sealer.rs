//! AES-256-GCM with one key. Knows bytes, not their meaning.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

pub(super) const KEY_BYTES: usize = 32;

/// The first byte of everything sealed, so that a later form can be told apart.
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 1 + 4 + NONCE_LEN;

/// Seals as `version (1) ‖ key id (4, big endian) ‖ nonce (12) ‖ ciphertext and tag`. The header's version and key id
/// are authenticated together with the caller's associated data.
pub(super) struct Sealer {
    key_id: [u8; 4],
    key: RandomizedNonceKey,
}

/// Sealed with another key, for another owner, or damaged; which of them cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed value does not open")]
pub struct Unsealable;

impl Sealer {
    pub(super) fn new(key_id: u32, key: &[u8; KEY_BYTES]) -> Self {
        Self {
            key_id: key_id.to_be_bytes(),
            key: RandomizedNonceKey::new(&AES_256_GCM, key).expect("AES-256-GCM takes 32 bytes of key"),
        }
    }

    pub(super) fn seal(&self, associated: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut body = plain.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(self.associated(associated), &mut body)
            .expect("AES-GCM seals anything far below 64 GiB");
        let mut sealed = Vec::with_capacity(HEADER_BYTES + body.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.key_id);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut body);
        sealed
    }

    pub(super) fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        let (header, body) = sealed.split_at_checked(HEADER_BYTES).ok_or(Unsealable)?;
        let (prefix, nonce) = header.split_at(HEADER_BYTES - NONCE_LEN);
        if prefix[0] != VERSION || prefix[1..] != self.key_id {
            return Err(Unsealable);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable)?;
        let mut body = body.to_vec();
        let plain =
            self.key.open_in_place(nonce, self.associated(associated), &mut body).map_err(|_| Unsealable)?.len();
        body.truncate(plain);
        Ok(body)
    }

    fn associated(&self, associated: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([&[VERSION], self.key_id.as_slice(), associated].concat())
    }
}

pub(super) fn random_key() -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).expect("the operating system gives random bytes");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ASVS 11.3.2, 11.3.3.
    #[test]
    fn a_changed_bit_anywhere_is_noticed() {
        let sealer = Sealer::new(7, &[1; KEY_BYTES]);
        let sealed = sealer.seal(b"owner", b"secret");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(sealer.open(b"owner", &damaged), Err(Unsealable), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert_eq!(sealer.open(b"owner", &sealed[..length]), Err(Unsealable), "{length} bytes");
        }
        assert_eq!(sealer.open(b"owner", &sealed), Ok(b"secret".to_vec()));
    }
}
