//! What Postgres says, sorted into [`StoreError`] by SQLSTATE, and whether the connection survives it.
//!
//! It keeps the message, the SQLSTATE and the constraint of a refusal, and drops the detail: that quotes whole rows.

use sqlx::error::DatabaseError;

use crate::store::StoreError;

pub(super) const MIGRATE: &str = "run `oneclick-login migrate`";

/// A failed call: what the caller is told, and how far to trust the connections.
pub(super) struct Failure {
    pub error: StoreError,
    pub damage: Damage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// The statement failed, the connection works.
    None,
    /// This connection must not be used again.
    Connection,
    /// What this connection had prepared is of no use any more; on a new one the statement will do.
    Stale,
    /// This connection is broken or was ended. Whether the server is gone with it, a new connection will tell.
    Dead,
    /// The server changed its role or does not answer: no open connection can be trusted.
    Server,
}

impl Damage {
    /// Whether the same statement may do on a new connection: it did not fail for what it says, nor for want of time.
    pub const fn is_the_connections(self) -> bool {
        matches!(self, Self::Stale | Self::Dead)
    }
}

/// An error that Postgres reported, without the rows it quotes.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {sqlstate}{})", constraint.as_ref().map(|name| format!(", constraint {name}")).unwrap_or_default())]
pub(super) struct Refusal {
    pub sqlstate: String,
    pub message: String,
    constraint: Option<String>,
}

/// The server said nothing for longer than its own time limit for a statement.
#[derive(Debug, thiserror::Error)]
#[error("no answer from the database within {0:?}")]
pub(super) struct NoAnswer(pub std::time::Duration);

/// The connection was accepted and closed without a word.
#[derive(Debug, thiserror::Error)]
#[error("the connection was closed before Postgres said anything: the proxy in front of the database has no server")]
pub(super) struct NobodyBehindTheProxy;

/// Postgres gave up waiting for a standby, because somebody cancelled the wait, and reports success all the same.
#[derive(Debug, thiserror::Error)]
#[error("the statement was committed, but Postgres warned meanwhile: perhaps no standby has it")]
pub(super) struct Warned;

#[cfg(test)]
impl Refusal {
    pub fn new(sqlstate: &str, message: &str) -> Self {
        Self { sqlstate: sqlstate.to_owned(), message: message.to_owned(), constraint: None }
    }
}

impl Failure {
    pub fn no_answer(after: std::time::Duration) -> Self {
        Self { error: StoreError::Unavailable(NoAnswer(after).into()), damage: Damage::Server }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(refused) => refusal(refused.as_ref()),
            // A value that cannot be put on the wire at all.
            sqlx::Error::Encode(_) => Self { error: StoreError::Data(error.into()), damage: Damage::Connection },
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
                Self { error: StoreError::Unavailable(error.into()), damage: Damage::Dead }
            }
            // What a proxy without a server behind it says to the first byte: nothing, and it hangs up.
            sqlx::Error::Protocol(said) if said.contains("SSLRequest: 0x00") => {
                Self { error: StoreError::Unavailable(NobodyBehindTheProxy.into()), damage: Damage::Dead }
            }
            // The two sides disagree about where in the conversation they are.
            sqlx::Error::Protocol(_) => {
                Self { error: StoreError::Unavailable(error.into()), damage: Damage::Connection }
            }
            _ => Self { error: StoreError::Other(error.into()), damage: Damage::Connection },
        }
    }
}

/// What the caller is told, where no connection is at stake. Not a `From` on [`StoreError`]: that would take the other
/// store's errors as well, and misread their codes.
pub(super) fn classify(error: sqlx::Error) -> StoreError {
    Failure::from(error).error
}

/// Whatever kept a connection from being made, a wrong password and a missing database too: there is none.
pub(super) fn no_connection(error: sqlx::Error) -> StoreError {
    match classify(error) {
        StoreError::Other(source) | StoreError::Data(source) => StoreError::Unavailable(source),
        error => error,
    }
}

fn refusal(refused: &dyn DatabaseError) -> Failure {
    let refusal = Refusal {
        sqlstate: refused.code().unwrap_or_default().into_owned(),
        message: refused.message().to_owned(),
        constraint: refused.constraint().map(str::to_owned),
    };
    let sqlstate = refusal.sqlstate.clone();
    let (error, damage): (fn(_) -> StoreError, _) = match (sqlstate.get(..2).unwrap_or_default(), sqlstate.as_str()) {
        // Undefined table or column.
        (_, "42P01" | "42703") => return Failure { error: absent_schema(), damage: Damage::None },
        // A lock or the statement took too long: the server said so itself, and the connection is whole.
        (_, "55P03" | "57014") => (StoreError::Unavailable, Damage::None),
        ("22" | "23", _) => (StoreError::Data, Damage::None),
        ("40", _) => (StoreError::Conflict, Damage::None),
        // A cached plan whose result changed under a migration (0A000), or a prepared statement that is not there
        // (26000): a fresh connection prepares it again.
        (_, "0A000" | "26000") => (StoreError::Unavailable, Damage::Stale),
        // 08 broken connection · 57 shutting down, or ended by an administrator.
        ("08" | "57", _) => (StoreError::Unavailable, Damage::Dead),
        // Read-only since a failover.
        ("25", _) => (StoreError::Unavailable, Damage::Server),
        // 53 out of disk, memory or connections · 58 an I/O error of the server's.
        ("53" | "58", _) => (StoreError::Unavailable, Damage::Connection),
        ("42", _) => (StoreError::Other, Damage::None),
        _ => (StoreError::Other, Damage::Connection),
    };
    Failure { error: error(refusal.into()), damage }
}

pub(super) fn absent_schema() -> StoreError {
    StoreError::Schema(format!("the database has no schema, or one older than this program's: {MIGRATE}"))
}
