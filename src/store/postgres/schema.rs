//! The schema's version: bringing it up to date, and checking that it is. The schema itself is `migrations/postgres`.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{Connection, FromRow, PgConnection, Row};
use tokio::time::{Instant, sleep, timeout};

use super::connections::CONNECT_TIMEOUT;
use super::error::{Failure, MIGRATE, absent_schema, classify};
use super::host::{self, within};
use super::lock_holder::{self, Holder, Lock};
use super::url::Target;
use super::{PostgresStore, pooler};
use crate::store::{Schema, StoreError};

/// While a migration waits for a table's lock, every login queues behind it: so it waits less than a login would, lets
/// them pass, and tries again. Its statements themselves may take their time.
const LIMITS: &str = "set statement_timeout = 0; set lock_timeout = '100ms'";

/// For the lock that migrations take turns by, which is in nobody's way.
const TURN_LIMITS: &str = "set statement_timeout = 0; set lock_timeout = '3s'";

/// Longer than the lock's own limit: silence beyond it means that nobody is there.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// What clients send is UTF-8; only a database of the same encoding takes all of it.
pub(super) const ENCODING: &str = "UTF8";

pub(super) const ENCODING_REMEDY: &str =
    "run: create database NAME encoding 'UTF8' template template0; and give that one in database.url";

const LOCK_NOT_AVAILABLE: &str = "55P03";

const LOCK_RETRY_PAUSE: Duration = Duration::from_millis(250);

/// When to say that another migration does not end, or that the table is never free.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

const APPLIED: &str = r"
select version, checksum, success, current_setting('server_encoding') as encoding
from _sqlx_migrations";

#[derive(FromRow)]
struct AppliedRow {
    version: i64,
    checksum: Vec<u8>,
    success: bool,
    /// Of the whole database.
    encoding: String,
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/postgres");
    // A newer program has been here: a rolling upgrade. Its schema still serves this one.
    migrator.set_ignore_missing(true);
    migrator
}

/// Applies what is missing, on a connection of its own. A second migrator waits for the first: on an advisory lock of
/// the session's, so the url must lead to Postgres itself and not to a transaction pooler, where a session is nobody's
/// and the lock would stay with a connection of the pooler's.
pub(super) async fn migrate(target: &Target, transaction_pooler: bool) -> Result<(), StoreError> {
    let (mut connection, options) = host::connect(target).await?;
    within(CONNECT_TIMEOUT, check_encoding(&mut connection)).await?;
    match pooler::is_between(&mut connection, options).await {
        Ok(false) => {}
        // It may not have shown itself for lack of a second connection.
        Err(_) if !transaction_pooler => {}
        Ok(true) | Err(_) => return Err(through_pooler()),
    }
    take_turn(&mut connection).await?;
    set(&mut connection, LIMITS).await?;
    let gives_up_at = Instant::now() + LOCK_PATIENCE;
    while let Err(error) = apply(&mut connection).await {
        if sqlstate(&error).as_deref() != Some(LOCK_NOT_AVAILABLE) {
            return Err(migration_failed(error));
        }
        if Instant::now() > gives_up_at {
            let holder = holder_of(&mut connection, Lock::Table).await?;
            return Err(
                holder.map_or_else(|| migration_failed(error), |holder| held("a table's lock is held", &holder))
            );
        }
        sleep(LOCK_RETRY_PAUSE).await;
    }
    // Ends the session, and the lock with it.
    connection.close().await.map_err(classify)
}

/// Takes the lock that migrations take turns by, as the migrator itself takes it once more.
async fn take_turn(connection: &mut PgConnection) -> Result<(), StoreError> {
    set(connection, TURN_LIMITS).await?;
    let gives_up_at = Instant::now() + LOCK_PATIENCE;
    loop {
        let outcome = timeout(TURN_TIMEOUT, connection.lock()).await;
        match outcome.map_err(|_| Failure::no_answer(TURN_TIMEOUT).error)? {
            Ok(()) => return Ok(()),
            Err(error) if sqlstate(&error).as_deref() == Some(LOCK_NOT_AVAILABLE) => {}
            Err(error) => return Err(migration_failed(error)),
        }
        let is_late = Instant::now() > gives_up_at;
        match holder_of(connection, Lock::Migrations).await? {
            Some(holder) if is_late || holder.is_idle() => {
                return Err(held("another migration's lock is held", &holder));
            }
            Some(holder) => tracing::warn!(%holder, "waiting for another migration"),
            None if is_late => return Err(StoreError::Unavailable("other migrations come and do not end".into())),
            None => {}
        }
    }
}

async fn set(connection: &mut PgConnection, limits: &'static str) -> Result<(), StoreError> {
    within(CONNECT_TIMEOUT, async { sqlx::raw_sql(limits).execute(connection).await.map(drop).map_err(classify) }).await
}

async fn holder_of(connection: &mut PgConnection, lock: Lock) -> Result<Option<Holder>, StoreError> {
    within(CONNECT_TIMEOUT, async { lock_holder::find(connection, lock).await.map_err(classify) }).await
}

/// It may end: who waits for a database waits for this, too.
fn held(what: &str, holder: &Holder) -> StoreError {
    StoreError::Unavailable(format!("{what} by {holder}; if that is no migration at work, {}", holder.remedy()).into())
}

async fn check_encoding(connection: &mut PgConnection) -> Result<(), StoreError> {
    // By the simple protocol, as one message: a pooler may lead two to two servers.
    let row =
        sqlx::raw_sql("select current_setting('server_encoding')").fetch_one(connection).await.map_err(classify)?;
    let encoding: String = row.try_get(0).map_err(classify)?;
    if encoding == ENCODING { Ok(()) } else { Err(refused_encoding(&encoding)) }
}

fn refused_encoding(encoding: &str) -> StoreError {
    StoreError::Schema(format!("{}: {ENCODING_REMEDY}", other_encoding(encoding)))
}

pub(super) fn other_encoding(encoding: &str) -> String {
    format!(
        "the database's encoding is {encoding}, which cannot hold the name of every device: logins would fail after \
         their tokens are spent"
    )
}

fn through_pooler() -> StoreError {
    StoreError::Schema(
        "the database url leads to a transaction pooler, through which nothing can be migrated: \
         give `oneclick-login migrate` the url of Postgres itself"
            .to_owned(),
    )
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
        _ if matches!(sqlstate(&error).as_deref(), Some("42P05" | "26000")) => through_pooler(),
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
        if let Some(row) = rows.iter().find(|row| row.encoding != ENCODING) {
            return Err(refused_encoding(&row.encoding));
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
