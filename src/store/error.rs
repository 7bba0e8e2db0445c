//! What can go wrong in a store, sorted by what a caller can do about it.

use crate::verifier::BoxError;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection, a broken one, a time-out, a database that is read-only, shutting down or full. Trying again on
    /// a fresh connection may succeed, and whether the last try took effect is not known.
    #[error("the database is unavailable")]
    Unavailable(#[source] BoxError),
    /// The transaction lost against another one (serialization failure, deadlock). Trying again helps.
    #[error("the database gave way to a concurrent transaction")]
    Conflict(#[source] BoxError),
    /// A value or a constraint was refused: one login of a batch is at fault, the others are not.
    #[error("the database refused the data")]
    Data(#[source] BoxError),
    /// A stored row that this program cannot read.
    #[error("a stored {what} cannot be read")]
    Corrupt { what: &'static str },
    /// The schema is absent, or not the one this program was built for.
    #[error("{0}")]
    Schema(String),
    /// Anything else: our own mistake.
    #[error("the database refused the statement")]
    Other(#[source] BoxError),
}

impl StoreError {
    /// Whether the same call may be repeated, on a fresh connection.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_))
    }
}
