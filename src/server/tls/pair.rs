//! A certificate and its private key, from two PEM files, with what is wrong about them in words for an operator.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys};

#[derive(Debug, Clone)]
pub struct Files {
    /// The server's certificate first, then those that lead to its authority.
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum PairError {
    #[error("{} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is not PEM, or holds none of {wanted}", path.display())]
    Pem { path: PathBuf, wanted: &'static str, source: pem::Error },
    #[error("{} has no certificate that can be read: its time of expiry is not found", path.display())]
    Certificate { path: PathBuf },
    #[error("the key in {} is not the one of the first certificate in {}", files.private_key.display(), files.certificate.display())]
    Mismatch { files: Files },
    #[error("{} and {} cannot be used", files.certificate.display(), files.private_key.display())]
    Unusable { files: Files, source: rustls::Error },
}

impl PairError {
    pub(super) fn unusable(files: &Files, source: rustls::Error) -> Self {
        Self::Unusable { files: files.clone(), source }
    }
}

/// What both files held.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Texts {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
}

/// Without the key.
impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Texts")
    }
}

#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub key: Arc<CertifiedKey>,
    pub expires: OffsetDateTime,
}

impl Files {
    /// When the certificate expires, if both files are there and belong together.
    ///
    /// # Errors
    /// What is wrong about them.
    pub async fn check(&self) -> Result<OffsetDateTime, PairError> {
        Ok(self.read().await?.parse(self)?.expires)
    }

    pub(super) async fn read(&self) -> Result<Texts, PairError> {
        let read = async |path: &PathBuf| {
            tokio::fs::read(path).await.map_err(|source| PairError::Unreadable { path: path.clone(), source })
        };
        Ok(Texts { certificate: read(&self.certificate).await?, private_key: read(&self.private_key).await? })
    }
}

impl Texts {
    pub fn parse(&self, files: &Files) -> Result<Pair, PairError> {
        let not_pem = |path: &PathBuf, wanted| {
            let path = path.clone();
            move |source| PairError::Pem { path, wanted, source }
        };
        let chain = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
        let chain = chain.map_err(not_pem(&files.certificate, "CERTIFICATE"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.private_key);
        let key = key.map_err(not_pem(&files.private_key, "PRIVATE KEY, RSA PRIVATE KEY, EC PRIVATE KEY"))?;
        let expires = chain.first().and_then(|leaf| not_after(leaf));
        let expires = expires.ok_or_else(|| PairError::Certificate { path: files.certificate.clone() })?;
        match CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()) {
            Ok(key) => Ok(Pair { key: Arc::new(key), expires }),
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(PairError::Mismatch { files: files.clone() })
            }
            Err(source) => Err(PairError::unusable(files, source)),
        }
    }
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which may be left out.
const VERSION: u8 = 0xa0;

/// The end of a certificate's validity (RFC 5280, 4.1). rustls knows it and does not tell.
fn not_after(certificate: &[u8]) -> Option<OffsetDateTime> {
    const UTC: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day][hour][minute][second]Z");
    let (certificate, _) = value(certificate, SEQUENCE)?;
    let (mut rest, _) = value(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = element(rest)?.2;
    }
    // The serial number, the signature's algorithm, the issuer.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (validity, _) = value(rest, SEQUENCE)?;
    let (tag, text, _) = element(element(validity)?.2)?;
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    Some(PrimitiveDateTime::parse(&text, UTC).ok()?.assume_utc())
}

/// What an element of this tag holds, and what is behind it.
fn value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, value, rest) = element(der)?;
    (found == tag).then_some((value, rest))
}

/// The first element's tag and value, and what is behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, der) = der.split_first()?;
    let (&first, der) = der.split_first()?;
    let (length, der) = match first {
        0..=0x7f => (usize::from(first), der),
        0x81..=0x83 => {
            let (length, der) = der.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), der)
        }
        _ => return None,
    };
    let (value, rest) = der.split_at_checked(length)?;
    Some((tag, value, rest))
}
