//! The one connection that writes, and its transactions. It must not know what they write.

use std::mem;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

use super::error::Failure;
use crate::store::StoreError;
use crate::store::pool::Queue;

/// SQLite has one writer at a time anyway. Queueing for it here is fair and costs nothing; queueing in SQLite is
/// polling (eight connections: a p99 of 139 ms against 11).
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    slot: Mutex<Slot>,
    queue: Queue,
}

#[derive(Debug)]
enum Slot {
    Idle(SqliteConnection),
    /// In use, or gone: the next transaction connects anew.
    Absent,
    /// Thrown away and finishing its last statement, on a disk that hangs perhaps for long. Whoever is next waits for
    /// it: a second connection would only queue behind its lock, and with every try another thread.
    Closing(JoinHandle<()>),
    Closed,
}

/// An open transaction that holds the write lock. Only [`WriteTransaction::commit`] puts the connection back. Dropped
/// in any other way (an error, a time-out, a caller that went away) it closes the connection, which rolls back: no
/// later transaction can find itself inside of this one.
#[derive(Debug)]
pub(super) struct WriteTransaction<'a> {
    slot: MutexGuard<'a, Slot>,
    /// Taken by the end of the transaction.
    connection: Option<SqliteConnection>,
}

impl Writer {
    pub async fn connect(options: SqliteConnectOptions) -> Result<Self, Failure> {
        let connection = options.connect().await?;
        Ok(Self { options, slot: Mutex::new(Slot::Idle(connection)), queue: Queue::default() })
    }

    /// Waits for its turn, then for other processes (as long as the busy time-out).
    pub async fn begin(&self) -> Result<WriteTransaction<'_>, Failure> {
        let mut slot = self.lock().await;
        let connection = match mem::replace(&mut *slot, Slot::Absent) {
            Slot::Idle(connection) => connection,
            Slot::Absent | Slot::Closing(_) => self.options.connect().await?,
            Slot::Closed => {
                *slot = Slot::Closed;
                return Err(StoreError::Unavailable("the store is closed".into()).into());
            }
        };
        let mut transaction = WriteTransaction { slot, connection: Some(connection) };
        // A deferred transaction would take the write lock at its first write, where SQLite cannot wait for it any
        // more if another process has written since the first read.
        sqlx::query("begin immediate").execute(transaction.connection()).await?;
        Ok(transaction)
    }

    /// Whether a transaction runs.
    pub fn is_busy(&self) -> bool {
        self.slot.try_lock().is_err()
    }

    /// Transactions that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub async fn close(&self) {
        let mut slot = self.lock().await;
        if let Slot::Idle(connection) = mem::replace(&mut *slot, Slot::Closed) {
            // Fails only if its thread has died already.
            connection.close().await.ok();
        }
    }

    /// Waits until no transaction runs, not even the remains of one.
    async fn lock(&self) -> MutexGuard<'_, Slot> {
        let waiting = self.queue.enter();
        let mut slot = self.slot.lock().await;
        drop(waiting);
        if let Slot::Closing(closing) = &mut *slot {
            // However the task ended, the connection went with it.
            closing.await.ok();
            *slot = Slot::Absent;
        }
        slot
    }
}

impl WriteTransaction<'_> {
    pub const fn connection(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("only commit and drop take the connection, and they end the transaction")
    }

    /// Durable when it returns.
    pub async fn commit(mut self) -> Result<(), Failure> {
        sqlx::query("commit").execute(self.connection()).await?;
        if let Some(connection) = self.connection.take() {
            *self.slot = Slot::Idle(connection);
        }
        Ok(())
    }
}

impl Drop for WriteTransaction<'_> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        // Where there is no runtime any more, nobody waits: dropping the connection closes it as well.
        if let Ok(runtime) = Handle::try_current() {
            let closing = async { connection.close().await.unwrap_or_default() };
            *self.slot = Slot::Closing(runtime.spawn(closing));
        }
    }
}
