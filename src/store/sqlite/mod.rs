//! The embedded default store: one SQLite file in WAL mode, one writer, some readers.
//!
//! Every write is one `begin immediate` transaction on the `writer`'s connection and synced before it is answered.
//! Reads go to a pool and never wait for writes. It is made for one server on a local disk, beside which the command
//! line may write now and then. It must not know settings, numbers in the clear or tokens.

mod apps;
mod deployment;
mod erasure;
mod error;
mod file;
mod finding;
mod health;
mod identity;
mod keys;
mod methods;
mod opening;
mod schema;
mod sessions;
mod tenant_tokens;
#[cfg(test)]
mod tests;
mod tickets;
mod users;
mod verifier_budget;
mod writer;

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use tokio::time::{sleep, timeout};

use self::error::Failure;
use self::identity::Identity;
use self::writer::Writer;
use crate::store::{PoolState, StoreError};

/// Where the file is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct Config {
    /// `sqlite://file` (relative or absolute), or a bare path. With `?mode=rw` the file is not made, with `?mode=ro` it
    /// is only read.
    pub url: String,
    /// How long a write waits for another process's. A whole call, with its turn at the writer, may take twice that.
    pub statement_timeout: Duration,
    /// Connections for reading; there is always one more, for writing.
    pub max_connections: u32,
}

impl Config {
    /// With the limits of the built-in settings.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), statement_timeout: Duration::from_millis(500), max_connections: 4 }
    }
}

/// The first connection may make the file and sync it, on a disk that is busy. Nobody waits for an answer yet, and the
/// program ends if it fails: no reason to be as short as with a statement.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a URL as [`SqliteStore::open`] does, and makes nothing.
///
/// # Errors
/// If `open` would refuse the URL.
pub fn check_url(url: &str) -> Result<(), StoreError> {
    file::check(url)
}

#[derive(Debug)]
pub struct SqliteStore {
    options: SqliteConnectOptions,
    writer: Writer,
    readers: SqlitePool,
    call_timeout: Duration,
    identity: Identity,
}

impl SqliteStore {
    /// Opens the file; makes it, private to its owner, where it does not exist. The schema is left alone.
    pub async fn open(config: &Config) -> Result<Self, StoreError> {
        let options = file::connect_options(config)?;
        let writer = connect_writer(&options).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(config.max_connections.max(1))
            .acquire_timeout(config.statement_timeout)
            // A connection to a file does not go stale, and a reader that stays keeps the log in place.
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.clone().pragma("query_only", "on"));
        Ok(Self { options, writer, readers, call_timeout: config.statement_timeout * 2, identity: Identity::default() })
    }

    /// Whether the file of a url is there, without making it.
    ///
    /// # Errors
    /// If the url names no file.
    pub fn is_there(url: &str) -> Result<bool, StoreError> {
        file::exists(url)
    }

    /// The readers, and the one writer; who waits for a reader is not known.
    fn connection_state(&self) -> PoolState {
        let idle_readers = self.readers.num_idle();
        let busy_readers = usize::try_from(self.readers.size()).unwrap_or_default().saturating_sub(idle_readers);
        let limit = usize::try_from(self.readers.options().get_max_connections()).unwrap_or_default() + 1;
        let busy_writer = usize::from(self.writer.is_busy());
        PoolState {
            in_use: busy_readers + busy_writer,
            idle: idle_readers + 1 - busy_writer,
            limit,
            waiting: self.writer.waiting(),
        }
    }

    /// The time limit of one call. What it cuts off is dropped, which leaves neither a transaction nor a lock behind.
    async fn limited<T>(&self, call: impl Future<Output = Result<T, Failure>> + Send) -> Result<T, StoreError> {
        if self.identity.is_replaced() {
            return Err(StoreError::Replaced);
        }
        self.unchecked(call).await
    }

    async fn unchecked<T>(&self, call: impl Future<Output = Result<T, Failure>> + Send) -> Result<T, StoreError> {
        match timeout(self.call_timeout, call).await {
            Ok(result) => result.map_err(|Failure(error)| error),
            Err(elapsed) => Err(StoreError::Unavailable(elapsed.into())),
        }
    }
}

/// Switches the file to the write-ahead log with the first connection. Two processes that do this to a new file at
/// once get `SQLITE_BUSY` without SQLite waiting, so we do.
async fn connect_writer(options: &SqliteConnectOptions) -> Result<Writer, StoreError> {
    const PAUSE: Duration = Duration::from_millis(10);
    let connect = async {
        loop {
            match Writer::connect(options.clone().journal_mode(SqliteJournalMode::Wal)).await {
                Err(Failure(error)) if error::is_busy(&error) => sleep(PAUSE).await,
                connected => return connected,
            }
        }
    };
    match timeout(OPEN_TIMEOUT, connect).await {
        Ok(connected) => connected.map_err(|Failure(error)| error),
        Err(elapsed) => Err(StoreError::Unavailable(elapsed.into())),
    }
}
