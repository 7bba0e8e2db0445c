//! The schema's version: bringing it up to date, and checking that it is. The schema itself is `migrations/postgres`.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, FromRow, PgConnection};
use tokio::time::{Instant, sleep};

use super::PostgresStore;
use super::error::{MIGRATE, absent_schema, classify, no_connection};
use crate::store::{Schema, StoreError};

/// While a migration waits for a table's lock, every login queues behind it: so it waits less than a login would, lets
/// them pass, and tries again. Its statements themselves may take their time.
const LIMITS: &str = "set statement_timeout = 0; set lock_timeout = '100ms'";

const LOCK_NOT_AVAILABLE: &str = "55P03";

const LOCK_RETRY_PAUSE: Duration = Duration::from_millis(250);

/// When to say that the table is never free.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

const APPLIED: &str = r"
select version, checksum, success
from _sqlx_migrations";

#[derive(FromRow)]
struct AppliedRow {
    version: i64,
    checksum: Vec<u8>,
    success: bool,
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/postgres");
    // A newer program has been here: a rolling upgrade. Its schema still serves this one.
    migrator.set_ignore_missing(true);
    migrator
}

/// Applies what is missing, on a connection of its own. A second migrator waits for the first: on an advisory lock of
/// the session's, so the url must lead to Postgres itself and not to a transaction pooler, where a session is nobody's.
pub(super) async fn migrate(options: &PgConnectOptions) -> Result<(), StoreError> {
    let mut connection = options.connect().await.map_err(no_connection)?;
    // Before the time limit for locks, which concerns this one as well. The migrator's own is the same lock once more.
    connection.lock().await.map_err(migration_failed)?;
    sqlx::raw_sql(LIMITS).execute(&mut connection).await.map_err(classify)?;
    let gives_up_at = Instant::now() + LOCK_PATIENCE;
    while let Err(error) = apply(&mut connection).await {
        if sqlstate(&error).as_deref() != Some(LOCK_NOT_AVAILABLE) || Instant::now() > gives_up_at {
            return Err(migration_failed(error));
        }
        sleep(LOCK_RETRY_PAUSE).await;
    }
    // Ends the session, and the lock with it.
    connection.close().await.map_err(classify)
}

async fn apply(connection: &mut PgConnection) -> Result<(), MigrateError> {
    migrator().run_direct(None, connection, false).await
}

fn sqlstate(error: &MigrateError) -> Option<String> {
    let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = error else { return None };
    Some(cause.as_database_error()?.code()?.into_owned())
}

fn migration_failed(error: MigrateError) -> StoreError {
    match error {
        // A prepared statement that is there already, or is not there: we have met another one's session.
        _ if matches!(sqlstate(&error).as_deref(), Some("42P05" | "26000")) => StoreError::Schema(
            "the database url leads to a transaction pooler, through which nothing can be migrated: \
             give `oneclick-login migrate` the url of Postgres itself"
                .to_owned(),
        ),
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => classify(cause),
        MigrateError::VersionMismatch(version) => changed(version),
        MigrateError::Dirty(version) => half_applied(version),
        error => StoreError::Other(error.into()),
    }
}

fn changed(version: i64) -> StoreError {
    StoreError::Schema(format!("migration {version} was applied to the database in another form than this program's"))
}

fn half_applied(version: i64) -> StoreError {
    StoreError::Schema(format!("migration {version} was applied to the database only in part"))
}

impl PostgresStore {
    pub(super) async fn check_applied_migrations(&self) -> Result<Schema, StoreError> {
        let rows: Vec<AppliedRow> = self.fetch(sqlx::query(APPLIED)).await?;
        if rows.is_empty() {
            return Err(absent_schema());
        }
        let applied: BTreeMap<i64, AppliedRow> = rows.into_iter().map(|row| (row.version, row)).collect();
        let migrator = migrator();
        for migration in migrator.iter() {
            match applied.get(&migration.version) {
                None => {
                    let version = migration.version;
                    return Err(StoreError::Schema(format!("the database lacks migration {version}: {MIGRATE}")));
                }
                Some(row) if !row.success => return Err(half_applied(row.version)),
                Some(row) if row.checksum != *migration.checksum => return Err(changed(row.version)),
                Some(_) => {}
            }
        }
        let known = applied.keys().all(|version| migrator.version_exists(*version));
        Ok(if known { Schema::Current } else { Schema::Newer })
    }
}
