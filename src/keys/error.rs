//! What can go wrong with the signing keys.

use time::OffsetDateTime;

use super::signing_key::SigningKeyError;
use crate::clock::Utc;
use crate::store::StoreError;
use crate::vault::Unsealable;

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot use the signing key {kid}")]
    Key { kid: String, source: SigningKeyError },
    #[error("cannot unwrap the signing key {kid}")]
    Wrapped { kid: String, source: Unsealable },
    #[error("the stored signing key {kid} has an unknown algorithm, or is another key than its name says")]
    Unknown { kid: String },
    #[error("cannot make a signing key")]
    Generate(#[source] SigningKeyError),
    #[error("there is no signing key")]
    NoKey,
    #[error("a rotation is under way: the key {kid} signs from {} on", Utc(*signs_from))]
    Pending { kid: String, signs_from: OffsetDateTime },
    #[error("other rotations came first, again and again")]
    Contended,
    #[error("no signing key is named {kid}")]
    NoSuchKey { kid: String },
    #[error("the key {kid} signs, now or soon: only a rotation replaces it")]
    InUse { kid: String },
    #[error("tokens of the key {kid} may live until {}: only then it can be removed", Utc(*until))]
    StillNeeded { kid: String, until: OffsetDateTime },
    #[error("the clock is {difference_seconds} s from the database's: the keys' times would be wrong by as much")]
    Clock { difference_seconds: u64 },
}
