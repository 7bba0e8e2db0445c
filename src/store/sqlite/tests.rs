//! What only the inside of the store can see: the pragmas in force, and what becomes of the writer's connection.

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnection;
use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::store::{OpenSessions, Store};

async fn migrated(folder: &TempDir) -> SqliteStore {
    let path = folder.path().join("test.db");
    let store = SqliteStore::open(&Config::new(path.to_str().unwrap())).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn pragmas(db: &mut SqliteConnection) -> (String, i64, bool, i64, bool) {
    let journal_mode = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut *db).await.unwrap();
    let synchronous = sqlx::query_scalar("pragma synchronous").fetch_one(&mut *db).await.unwrap();
    let foreign_keys = sqlx::query_scalar("pragma foreign_keys").fetch_one(&mut *db).await.unwrap();
    let busy_timeout = sqlx::query_scalar("pragma busy_timeout").fetch_one(&mut *db).await.unwrap();
    let query_only = sqlx::query_scalar("pragma query_only").fetch_one(&mut *db).await.unwrap();
    (journal_mode, synchronous, foreign_keys, busy_timeout, query_only)
}

/// `pragma synchronous` gives FULL as 2.
#[tokio::test]
async fn writer_and_readers_run_under_the_pragmas_that_durability_needs() {
    let folder = TempDir::new().unwrap();
    let store = migrated(&folder).await;
    let mut transaction = store.writer.begin().await.unwrap();
    assert_eq!(pragmas(transaction.connection()).await, ("wal".to_owned(), 2, true, 500, false));
    // The next one has to connect anew, and must end up with the same.
    drop(transaction);
    let mut transaction = store.writer.begin().await.unwrap();
    assert_eq!(pragmas(transaction.connection()).await, ("wal".to_owned(), 2, true, 500, false));
    let mut reader = store.readers.acquire().await.unwrap();
    assert_eq!(pragmas(&mut reader).await, ("wal".to_owned(), 2, true, 500, true));
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let folder = TempDir::new().unwrap();
    let store = migrated(&folder).await;
    let refused = sqlx::query("delete from users").execute(&store.readers).await.unwrap_err();
    assert!(matches!(error::classify(refused), StoreError::Unavailable(_)));
}

/// SQLite rolls back by itself when the disk is full; a writer that still believes in its transaction is lost.
#[tokio::test]
async fn a_full_disk_is_unavailable_and_the_writer_recovers() {
    let folder = TempDir::new().unwrap();
    let store = migrated(&folder).await;
    let mut transaction = store.writer.begin().await.unwrap();
    sqlx::query("pragma max_page_count = 1").execute(transaction.connection()).await.unwrap();
    let full = sqlx::query("create table filler as select zeroblob(1000000) as bytes")
        .execute(transaction.connection())
        .await
        .map_err(Failure::from);
    assert!(matches!(full, Err(Failure(StoreError::Unavailable(_)))), "{full:?}");
    drop(transaction);
    store.probe_sessions(Clock::system().now()).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_rolled_back() {
    let folder = TempDir::new().unwrap();
    let store = migrated(&folder).await;
    let mut transaction = store.writer.begin().await.unwrap();
    opening::probe(transaction.connection(), Clock::system().now()).await.unwrap();
    drop(transaction);
    // At once, and not when the next one comes: other processes wait for the lock.
    let mut foreign = store.options.connect().await.unwrap();
    sqlx::query("begin immediate").execute(&mut foreign).await.unwrap();
    sqlx::query("rollback").execute(&mut foreign).await.unwrap();
    let mut transaction = store.writer.begin().await.unwrap();
    let rows: i64 =
        sqlx::query_scalar("select count(*) from write_probe").fetch_one(transaction.connection()).await.unwrap();
    assert_eq!(rows, 0);
    transaction.commit().await.unwrap();
}

/// A caller that gives up is no reason to open a second connection: on a disk that hangs there would be ever more.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_dropped_transaction_still_runs_the_next_one_waits_for_it() {
    let folder = TempDir::new().unwrap();
    let store = migrated(&folder).await;
    let mut transaction = store.writer.begin().await.unwrap();
    let endless = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 1000000)
                   select max(i) from n";
    let cut = timeout(Duration::from_millis(5), sqlx::query(endless).execute(transaction.connection())).await;
    assert!(cut.is_err(), "the statement was too quick to be cut off");
    drop(transaction);
    assert!(timeout(Duration::from_millis(5), store.writer.begin()).await.is_err(), "a second connection was made");
    timeout(Duration::from_secs(60), store.writer.begin()).await.unwrap().unwrap().commit().await.unwrap();
}

async fn plan(store: &SqliteStore, sql: &str) -> String {
    let sql = sqlx::AssertSqlSafe(format!("explain query plan {sql}"));
    let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(sql).fetch_all(&store.readers).await.unwrap();
    steps.into_iter().map(|(_, _, _, step)| step + "\n").collect()
}

#[tokio::test]
async fn sessions_are_found_and_purged_by_index() {
    let folder = TempDir::new().unwrap();
    let store = migrated(&folder).await;
    let searched_by = ["(id=?)", "(token_hash=?)", "(previous_token_hash=?)", "(access_token_hash=?)"];
    let find = plan(&store, finding::FIND).await;
    for column in searched_by {
        assert!(find.contains(column), "{column}: {find}");
    }
    assert!(find.contains("SEARCH newer USING INDEX sessions_user (user_id=? AND created_at>?)"), "{find}");
    let purge = plan(&store, sessions::PURGE).await;
    assert!(purge.contains("USING INDEX sessions_purge"), "{purge}");
    for plan in [find, purge] {
        for walk in ["SCAN sessions", "SCAN users", "SCAN newer"] {
            assert!(!plan.contains(walk), "{plan}");
        }
    }
}
