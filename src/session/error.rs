//! What can go wrong with a session_token.

use crate::keys::SigningKeyError;
use crate::store::StoreError;
use crate::vault::Unsealable;

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Unknown, expired, revoked, or of another application or device.
    #[error("the session token is not valid: {0}")]
    Invalid(Dead),
    #[error("the user is disabled")]
    UserDisabled,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a sealed value of the session cannot be opened")]
    Sealed(#[from] Unsealable),
    #[error("this machine's clock is too far from the database's to sign tokens by it")]
    ClockOff,
    #[error("the id_token was not signed")]
    Signing(#[from] SigningKeyError),
}

/// Why a session is of no use, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dead {
    Unknown,
    ForeignBearer,
    Expired,
    Revoked,
    /// All sessions of the user were ended after this one was opened.
    Ended,
    /// Its application was disabled.
    AppDisabled,
    /// As many newer sessions of the user are live as are allowed.
    Displaced,
    /// The token was replaced longer ago than the grace: somebody holds a copy of it.
    Reused,
}

impl std::fmt::Display for Dead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::ForeignBearer => "of another application or device",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Ended => "ended with all of the user's",
            Self::AppDisabled => "of a disabled application",
            Self::Displaced => "displaced by newer sessions",
            Self::Reused => "used again after its rotation",
        })
    }
}
