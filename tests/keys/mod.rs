//! The keys over time: signing keys on several replicas with a clock that tests turn, and master keys as an operator
//! changes them. What touches a store runs on both.

mod changes;
mod command;
mod master_keys;
mod overlap;
mod replica;
mod replicas;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use oneclick_login::store::Store;
use oneclick_login::store::postgres::{self, PostgresStore};
use oneclick_login::store::sqlite::{self, SqliteStore};
use time::OffsetDateTime;

use crate::support::postgres::database;

/// Longer than any statement on a machine that has other things to do.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// A migrated store, and what must live as long.
struct Subject {
    store: Arc<dyn Store>,
    _database: Box<dyn Any + Send>,
}

async fn on_sqlite() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("keys.db").display());
    let config = sqlite::Config { statement_timeout: STATEMENT_TIMEOUT, ..sqlite::Config::new(url) };
    let store = Arc::new(SqliteStore::open(&config).await.unwrap());
    store.migrate().await.unwrap();
    Subject { store, _database: Box::new(folder) }
}

async fn on_postgres() -> Subject {
    let database = database().await;
    let config = postgres::Config { statement_timeout: STATEMENT_TIMEOUT, ..database.config() };
    let store = Arc::new(PostgresStore::connect(&config).unwrap());
    Subject { store, _database: Box::new(database) }
}

/// Makes each function a test of both stores.
macro_rules! on_both_stores {
    ($($test:ident,)+) => {
        mod on_both_stores {
            $(mod $test {
                #[tokio::test]
                async fn on_sqlite() {
                    super::super::$test(&crate::keys::on_sqlite().await.store).await;
                }

                #[tokio::test]
                async fn on_postgres() {
                    super::super::$test(&crate::keys::on_postgres().await.store).await;
                }
            })+
        }
    };
}
use on_both_stores;

/// Seconds after some moment.
fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_790_000_000 + seconds).unwrap()
}
