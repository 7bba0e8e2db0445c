//! Bringing the schema up to date, and telling whether it is. It must not know what is in the tables.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{ConnectOptions, Connection};

use super::error::{Failure, classify};
use crate::store::{Schema, StoreError};

/// How long a migrator waits for another one. A migration rewrites tables; it has other limits than a login.
const MIGRATION_TIMEOUT_SECONDS: u64 = 60;

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("migrations/sqlite");
    // A newer program's migrations keep the programs before it working, so an older one leaves them alone.
    migrator.set_ignore_missing(true);
    migrator
}

/// All that is missing, in one transaction: sqlx has no lock between migrators on SQLite, so the write lock is it, and
/// a second migrator finds nothing left to do. (A migration can therefore not change a pragma that needs to be outside
/// of a transaction, and must not carry `-- no-transaction`.)
pub(super) async fn migrate(options: &SqliteConnectOptions) -> Result<(), Failure> {
    let patient = options.clone().busy_timeout(Duration::from_secs(MIGRATION_TIMEOUT_SECONDS));
    let mut connection = patient.connect().await?;
    let mut transaction = connection.begin_with("begin immediate").await?;
    migrator().run_direct(None, &mut *transaction, false).await.map_err(refused)?;
    transaction.commit().await?;
    connection.close().await?;
    Ok(())
}

fn refused(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => classify(cause),
        other => StoreError::Schema(format!("the schema cannot be migrated: {other}")),
    }
}

/// Versions this program does not know are fine, as with [`migrator`].
pub(super) async fn check(readers: &SqlitePool) -> Result<Schema, Failure> {
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("select version, checksum from _sqlx_migrations where success").fetch_all(readers).await?;
    let migrator = migrator();
    for migration in migrator.iter() {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            Some((_, checksum)) if *checksum == *migration.checksum => {}
            Some(_) => {
                return Err(StoreError::Schema(format!(
                    "migration {} was applied in another form than this program's: the schema is not ours",
                    migration.version
                ))
                .into());
            }
            None => {
                return Err(StoreError::Schema(format!(
                    "the database lacks migration {}: run `oneclick-login migrate`",
                    migration.version
                ))
                .into());
            }
        }
    }
    let known = applied.iter().all(|(version, _)| migrator.version_exists(*version));
    Ok(if known { Schema::Current } else { Schema::Newer })
}
