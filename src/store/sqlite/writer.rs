//! The one connection that writes, and its transactions. It must not know what they write.

use std::mem;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, MutexGuard};

use super::error::Failure;
use crate::store::StoreError;

/// SQLite has one writer at a time anyway. Queueing for it here is fair and costs nothing; queueing in SQLite is
/// polling (eight connections: a p99 of 139 ms against 11).
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    slot: Mutex<Slot>,
}

#[derive(Debug)]
enum Slot {
    Idle(SqliteConnection),
    /// In use, or thrown away by a transaction that did not end well: the next one connects anew.
    Absent,
    Closed,
}

/// An open transaction that holds the write lock. Only [`WriteTransaction::commit`] puts the connection back. Dropped
/// in any other way (an error, a time-out, a caller that went away) it takes the connection along, and closing that
/// rolls back: no later transaction can find itself inside of this one.
#[derive(Debug)]
pub(super) struct WriteTransaction<'a> {
    slot: MutexGuard<'a, Slot>,
    connection: SqliteConnection,
}

impl Writer {
    pub async fn connect(options: SqliteConnectOptions) -> Result<Self, Failure> {
        let connection = options.connect().await?;
        Ok(Self { options, slot: Mutex::new(Slot::Idle(connection)) })
    }

    /// Waits for its turn, then for other processes (as long as the busy time-out).
    pub async fn begin(&self) -> Result<WriteTransaction<'_>, Failure> {
        let mut slot = self.slot.lock().await;
        let mut connection = match mem::replace(&mut *slot, Slot::Absent) {
            Slot::Idle(connection) => connection,
            Slot::Absent => self.options.connect().await?,
            Slot::Closed => {
                *slot = Slot::Closed;
                return Err(StoreError::Unavailable("the store is closed".into()).into());
            }
        };
        // A deferred transaction would take the write lock at its first write, where SQLite cannot wait for it any
        // more if another process has written since the first read.
        sqlx::query("begin immediate").execute(&mut connection).await?;
        Ok(WriteTransaction { slot, connection })
    }

    pub async fn close(&self) {
        let mut slot = self.slot.lock().await;
        if let Slot::Idle(connection) = mem::replace(&mut *slot, Slot::Closed) {
            // Fails only if its thread has died already.
            connection.close().await.ok();
        }
    }
}

impl WriteTransaction<'_> {
    pub const fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Durable when it returns.
    pub async fn commit(mut self) -> Result<(), Failure> {
        sqlx::query("commit").execute(&mut self.connection).await?;
        *self.slot = Slot::Idle(self.connection);
        Ok(())
    }
}
