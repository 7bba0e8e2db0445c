//! The master keys of a start: one, or several while the key is being changed. Knows data keys as rows, no store.
//!
//! The first wraps, all open. To change the key without a moment in which a replica cannot open what another wrapped,
//! in this order, each step everywhere before the next:
//!
//! 1. add the new key, last, and restart: `old,new`. All can open what the new key wraps; nothing is wrapped by it yet;
//! 2. move it first, and restart: `new,old`. What is made now is wrapped by the new key;
//! 3. run `key rewrap` with these settings, once: everything is wrapped by the new key;
//! 4. remove the old key, and restart: `new`. A start that still needed the old one stops and says so.
//!
//! Each of the first two steps can be taken back by the one before it; the third by `key rewrap` under `old,new`.
//!
//! This is for a key that has grown old or was seen by too many. Who had both the old key and a copy of the database has
//! the data keys, which stay the same.

use std::path::Path;

use super::VaultError;
use super::master_key::{MasterKey, MasterKeyError};
use super::sealer::KEY_BYTES;
use crate::store::{DataKey, KeyPurpose};

#[derive(Debug)]
pub struct MasterKeys {
    first: MasterKey,
    others: Vec<MasterKey>,
}

/// A data key as it works.
pub(super) struct Unwrapped {
    pub(super) key: [u8; KEY_BYTES],
    /// False where another master key than the first opened it.
    pub(super) by_first: bool,
}

impl MasterKeys {
    /// Keys separated by commas, by lines, or both. Blank lines and spaces around a key do not count; between two
    /// commas there must be a key.
    pub fn parse(text: &str) -> Result<Self, MasterKeyError> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let keys: Vec<_> =
            lines.flat_map(|line| line.split(',')).map(|key| MasterKey::parse(key.trim())).collect::<Result<_, _>>()?;
        if (1..keys.len()).any(|at| keys[..at].contains(&keys[at])) {
            return Err(MasterKeyError::Repeated);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or(MasterKeyError::Form)?;
        Ok(Self { first, others: keys.collect() })
    }

    /// The one key that an earlier start left at `path`, or that is made there now: development only.
    pub fn load_or_create(path: &Path) -> Result<Self, MasterKeyError> {
        MasterKey::load_or_create(path).map(Self::from)
    }

    pub(super) fn wrap(&self, purpose: KeyPurpose, key: &[u8; KEY_BYTES]) -> Vec<u8> {
        self.first.sealer().seal(purpose.as_str().as_bytes(), key)
    }

    pub(super) fn unwrap(&self, row: &DataKey) -> Result<Unwrapped, VaultError> {
        let purpose = row.purpose.as_str();
        let open = |master: &MasterKey| {
            let opened = master.sealer().open(purpose.as_bytes(), &row.wrapped).ok()?;
            <[u8; KEY_BYTES]>::try_from(opened).ok()
        };
        let by_first = open(&self.first).map(|key| Unwrapped { key, by_first: true });
        by_first
            .or_else(|| self.others.iter().find_map(open).map(|key| Unwrapped { key, by_first: false }))
            .ok_or(VaultError::WrongMasterKey { purpose })
    }
}

impl From<MasterKey> for MasterKeys {
    fn from(first: MasterKey) -> Self {
        Self { first, others: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const B: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    #[test]
    fn keys_are_separated_by_commas_or_lines() {
        for (text, count) in
            [(A.to_owned(), 1), (format!("{A},{B}"), 2), (format!(" {A} , {B} "), 2), (format!("{A}\r\n\n{B}\n"), 2)]
        {
            let keys = MasterKeys::parse(&text).unwrap();
            assert_eq!(keys.others.len() + 1, count, "{text:?}");
            assert_eq!(keys.first, MasterKey::parse(A).unwrap());
        }
    }

    #[test]
    fn an_empty_place_is_a_mistake_and_so_is_a_key_twice() {
        for text in ["", "\n", &format!(",{A}"), &format!("{A},"), &format!("{A},,{B}"), &format!("{A}{B}")] {
            assert!(matches!(MasterKeys::parse(text), Err(MasterKeyError::Form)), "{text:?}");
        }
        let twice = MasterKeys::parse(&format!("{A},{B}\n{A}"));
        assert!(matches!(twice, Err(MasterKeyError::Repeated)));
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", MasterKeys::parse(&format!("{A},{B}")).unwrap());
        assert_eq!(shown, "MasterKeys { first: MasterKey(…), others: [MasterKey(…)] }");
    }
}
