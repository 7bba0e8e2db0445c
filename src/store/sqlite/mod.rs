//! The embedded default store: one SQLite file in WAL mode, one writer, some readers.
//!
//! Every write is one `begin immediate` transaction on the [`writer`]'s connection and synced before it is answered.
//! Reads go to a pool and never wait for writes. It is made for one server on a local disk, beside which the command
//! line may write now and then. It must not know settings, numbers in the clear or tokens.

mod apps;
mod error;
mod file;
mod health;
mod keys;
mod schema;
mod sessions;
#[cfg(test)]
mod tests;
mod users;
mod writer;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};

use self::error::Failure;
use self::writer::Writer;
use super::{
    App, DataKey, NewDataKey, NewSession, Outcome, SigningKeyRow, Store, StoreError, User, UserKey, UserStatus,
};
use crate::ids::{ClientId, UserId};

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

#[derive(Debug)]
pub struct SqliteStore {
    options: SqliteConnectOptions,
    writer: Writer,
    readers: SqlitePool,
    call_timeout: Duration,
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
        Ok(Self { options, writer, readers, call_timeout: config.statement_timeout * 2 })
    }

    /// The time limit of one call. What it cuts off is dropped, which leaves neither a transaction nor a lock behind.
    async fn limited<T>(&self, call: impl Future<Output = Result<T, Failure>> + Send) -> Result<T, StoreError> {
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

#[async_trait]
impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        schema::migrate(&self.options).await.map_err(|Failure(error)| error)
    }

    async fn check_schema(&self) -> Result<(), StoreError> {
        self.limited(schema::check(&self.readers)).await
    }

    async fn database_time(&self) -> Result<OffsetDateTime, StoreError> {
        self.limited(health::database_time(&self.readers)).await
    }

    async fn probe_write(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        self.limited(async {
            let mut transaction = self.writer.begin().await?;
            health::probe_write(transaction.connection(), now).await?;
            transaction.commit().await
        })
        .await
    }

    async fn open_sessions(&self, sessions: &[NewSession]) -> Result<Vec<Outcome>, StoreError> {
        self.limited(async {
            let mut transaction = self.writer.begin().await?;
            let outcomes = sessions::open(transaction.connection(), sessions).await?;
            transaction.commit().await?;
            Ok(outcomes)
        })
        .await
    }

    async fn find_user(&self, key: UserKey) -> Result<Option<User>, StoreError> {
        self.limited(users::find(&self.readers, key)).await
    }

    async fn set_user_status(&self, id: UserId, status: UserStatus, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.limited(async {
            let mut transaction = self.writer.begin().await?;
            let exists = users::set_status(transaction.connection(), id, status, now).await?;
            transaction.commit().await?;
            Ok(exists)
        })
        .await
    }

    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.limited(apps::all(&self.readers)).await
    }

    async fn register_app(&self, app: &App, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.limited(async {
            let mut transaction = self.writer.begin().await?;
            let new = apps::register(transaction.connection(), app, now).await?;
            transaction.commit().await?;
            Ok(new)
        })
        .await
    }

    async fn add_app(&self, app: &App, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.limited(async {
            let mut transaction = self.writer.begin().await?;
            let new = apps::add(transaction.connection(), app, now).await?;
            transaction.commit().await?;
            Ok(new)
        })
        .await
    }

    async fn set_app_enabled(
        &self,
        client_id: &ClientId,
        enabled: bool,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        self.limited(async {
            let mut transaction = self.writer.begin().await?;
            let exists = apps::set_enabled(transaction.connection(), client_id, enabled, now).await?;
            transaction.commit().await?;
            Ok(exists)
        })
        .await
    }

    async fn ensure_data_keys(&self, candidates: &[NewDataKey]) -> Result<Vec<DataKey>, StoreError> {
        self.limited(async {
            let mut transaction = self.writer.begin().await?;
            let kept = keys::ensure_data_keys(transaction.connection(), candidates).await?;
            transaction.commit().await?;
            Ok(kept)
        })
        .await
    }

    async fn data_keys(&self) -> Result<Vec<DataKey>, StoreError> {
        self.limited(keys::data_keys(&self.readers)).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        self.limited(keys::signing_keys(&self.readers)).await
    }

    async fn add_signing_key(&self, key: &SigningKeyRow) -> Result<bool, StoreError> {
        self.limited(async {
            let mut transaction = self.writer.begin().await?;
            let stored = keys::add_signing_key(transaction.connection(), key).await?;
            transaction.commit().await?;
            Ok(stored)
        })
        .await
    }

    /// Nothing here is an operator's to set.
    async fn deployment_warnings(&self) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}
