//! One secret that an operator keeps. Knows its text form and, for development, a file to keep it in.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::sealer::{KEY_BYTES, Sealer, random_key};
use crate::session_token::sha256;

/// Thirty-two bytes that wrap every data key. Losing it loses every stored number and signing key.
pub struct MasterKey {
    bytes: [u8; KEY_BYTES],
    sealer: Sealer,
}

#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("a master key is not 32 bytes in base64")]
    Form,
    #[error("a master key is listed twice")]
    Repeated,
    #[error("cannot read or make the development master key {}", path.display())]
    File { path: PathBuf, source: io::Error },
}

impl MasterKey {
    pub fn parse(base64: &str) -> Result<Self, MasterKeyError> {
        let bytes = STANDARD.decode(base64).map_err(|_| MasterKeyError::Form)?;
        Ok(Self::new(bytes.try_into().map_err(|_| MasterKeyError::Form)?))
    }

    pub fn generate() -> Self {
        Self::new(random_key())
    }

    /// Reads the key that an earlier start left at `path`, or makes one there: development only.
    pub fn load_or_create(path: &Path) -> Result<Self, MasterKeyError> {
        match Self::read(path) {
            Err(MasterKeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Self::create(path),
            read => read,
        }
    }

    fn read(path: &Path) -> Result<Self, MasterKeyError> {
        let mut text = String::new();
        File::open(path).and_then(|mut file| file.read_to_string(&mut text)).map_err(file_error(path))?;
        Self::parse(text.trim_end())
    }

    /// Writes a new key beside `path` and links it there, so that of two processes starting at once one wins and
    /// neither reads half a key.
    fn create(path: &Path) -> Result<Self, MasterKeyError> {
        let key = Self::generate();
        let draft = path.with_extension(format!("draft-{}", std::process::id()));
        let write = || {
            if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
                fs::create_dir_all(folder)?;
                fs::set_permissions(folder, Permissions::from_mode(0o700))?;
            }
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            writeln!(file, "{}", STANDARD.encode(key.bytes))?;
            file.sync_all()?;
            let linked = fs::hard_link(&draft, path);
            fs::remove_file(&draft)?;
            linked
        };
        match write() {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(file_error(path)(error)),
        }
    }

    fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let fingerprint = sha256(&bytes);
        let key_id = u32::from_be_bytes([fingerprint[0], fingerprint[1], fingerprint[2], fingerprint[3]]);
        Self { bytes, sealer: Sealer::new(key_id, &bytes) }
    }

    pub(super) const fn sealer(&self) -> &Sealer {
        &self.sealer
    }
}

/// Among the operator's own keys, so it need not take constant time.
impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> MasterKeyError {
    let path = path.to_owned();
    |source| MasterKeyError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data").join("master.key");
        let made = MasterKey::load_or_create(&path).unwrap();
        let read = MasterKey::load_or_create(&path).unwrap();
        assert_eq!(made.bytes, read.bytes);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn only_32_bytes_are_a_key() {
        for bad in ["", "AAAA", "not base64", &STANDARD.encode([0; 31]), &STANDARD.encode([0; 33])] {
            assert!(matches!(MasterKey::parse(bad), Err(MasterKeyError::Form)), "{bad}");
        }
    }
}
