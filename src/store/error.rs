//! What can go wrong in a store, sorted by what a caller can do about it.

use crate::verifier::BoxError;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection, a broken one, a time-out, a database that is read-only, shutting down or full. Trying again on
    /// a fresh connection may succeed, and whether the last try took effect is not known.
    #[error("the database is unavailable")]
    Unavailable(#[source] BoxError),
    /// No connection was free in time. That says nothing of the database: it is our own calls that are many.
    #[error("every database connection is busy")]
    Busy,
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
    /// Another database is in the place of the one that this server was started on.
    #[error(
        "this is not the database that the server was started on, or not in that state: it was made anew, replaced or \
         restored from another one. Nothing is read or written there; stop all servers and start them again"
    )]
    Replaced,
    /// `database.url` is not one that can be used, and why. Met at start only.
    #[error("database.url {0}")]
    Url(String),
    /// Anything else: our own mistake.
    #[error("the database refused the statement")]
    Other(#[source] BoxError),
}

impl StoreError {
    /// What [`StoreError::kind`] may say.
    pub const KINDS: [&'static str; 8] =
        ["unavailable", "busy", "conflict", "data", "corrupt", "schema", "replaced", "other"];

    /// A short, bounded name of the kind, for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Busy => "busy",
            Self::Conflict(_) => "conflict",
            Self::Data(_) => "data",
            Self::Corrupt { .. } => "corrupt",
            Self::Schema(_) => "schema",
            Self::Replaced => "replaced",
            Self::Other(_) | Self::Url(_) => "other",
        }
    }

    /// Whether the same call may be repeated, on a fresh connection.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy | Self::Conflict(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed() {
        let errors = [
            StoreError::Unavailable("a".into()),
            StoreError::Busy,
            StoreError::Conflict("a".into()),
            StoreError::Data("a".into()),
            StoreError::Corrupt { what: "a" },
            StoreError::Schema("a".to_owned()),
            StoreError::Replaced,
            StoreError::Other("a".into()),
        ];
        assert_eq!(errors.map(|error| error.kind()), StoreError::KINDS);
    }
}
