//! SQLite's result codes, sorted into [`StoreError`]. It must not know which statement failed.

use crate::store::StoreError;

/// What the queries of this store fail with, so that `?` takes sqlx's errors and our own alike; the store unwraps it.
///
/// A `From<sqlx::Error>` on [`StoreError`] itself can know the codes of one database only.
#[derive(Debug)]
pub(super) struct Failure(pub StoreError);

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self(classify(error))
    }
}

/// Primary result codes, the low byte of the extended ones: <https://www.sqlite.org/rescode.html>.
mod code {
    pub const ERROR: i32 = 1;
    pub const PERM: i32 = 3;
    pub const BUSY: i32 = 5;
    pub const LOCKED: i32 = 6;
    pub const NOMEM: i32 = 7;
    pub const READONLY: i32 = 8;
    pub const IOERR: i32 = 10;
    pub const CORRUPT: i32 = 11;
    pub const FULL: i32 = 13;
    pub const CANTOPEN: i32 = 14;
    pub const PROTOCOL: i32 = 15;
    pub const TOOBIG: i32 = 18;
    pub const CONSTRAINT: i32 = 19;
    pub const MISMATCH: i32 = 20;
    pub const NOTADB: i32 = 26;
}

pub(super) fn classify(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(cause) => match primary_code(cause.as_ref()) {
            Some(
                code::BUSY
                | code::LOCKED
                | code::NOMEM
                | code::READONLY
                | code::IOERR
                | code::FULL
                | code::CANTOPEN
                | code::PERM
                | code::PROTOCOL,
            ) => StoreError::Unavailable(error.into()),
            Some(code::CONSTRAINT | code::MISMATCH | code::TOOBIG) => StoreError::Data(error.into()),
            Some(code::CORRUPT) => StoreError::Corrupt { what: "database page" },
            Some(code::NOTADB) => StoreError::Schema(
                "the file is not a SQLite database: move it away, or name another one in database.url".to_owned(),
            ),
            Some(code::ERROR) if lacks_schema(cause.message()) => StoreError::Schema(format!(
                "the database's schema does not fit ({}): run `oneclick-login migrate`",
                cause.message()
            )),
            _ => StoreError::Other(error.into()),
        },
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreError::Unavailable(error.into())
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::Corrupt { what: "row" },
        _ => StoreError::Other(error.into()),
    }
}

fn primary_code(cause: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    cause.code()?.parse::<i32>().ok().map(|extended| extended & 0xff)
}

/// SQLite has no code of its own for a missing table or column, only these words.
fn lacks_schema(message: &str) -> bool {
    message.starts_with("no such table") || message.contains("no such column") || message.contains("has no column")
}

/// Whether another connection is in the way and SQLite has not waited for it.
pub(super) fn is_busy(error: &StoreError) -> bool {
    let StoreError::Unavailable(cause) = error else { return false };
    let Some(sqlx::Error::Database(cause)) = cause.downcast_ref::<sqlx::Error>() else { return false };
    matches!(primary_code(cause.as_ref()), Some(code::BUSY | code::LOCKED))
}
