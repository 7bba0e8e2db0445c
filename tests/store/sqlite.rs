//! What only SQLite has: files and their modes, other processes at the same file, a writer that outlives its callers.
//! What both stores promise is in the suite.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use oneclick_login::ids::ClientId;
use oneclick_login::store::OpenSessions;
use oneclick_login::store::sqlite::{Config, SqliteStore};
use oneclick_login::store::{App, AppKind, NewSession, Store, StoreError, UserKey, UserStatus};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;
use tokio::time::timeout;

use super::fixture::{SESSIONS, USERS, login, now, number, opened};
use super::{Backend, Sql, Subject};

mod suite {
    super::super::run_suite!(crate::store::sqlite::Sqlite);
}

struct Sqlite;

impl Backend for Sqlite {
    async fn migrated() -> Subject {
        let file = TestFile::new();
        Subject { store: Arc::new(file.migrated().await), sql: Box::new(file) }
    }

    async fn empty() -> Subject {
        let file = TestFile::new();
        Subject { store: Arc::new(file.open().await), sql: Box::new(file) }
    }
}

#[async_trait]
impl Sql for TestFile {
    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&mut self.foreign().await).await.unwrap()
    }

    async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(&mut self.foreign().await).await.unwrap();
    }

    async fn dump(&self) -> String {
        let mut connection = self.foreign().await;
        let columns = "select tables.name, columns.name
            from sqlite_schema as tables, pragma_table_info(tables.name) as columns
            where tables.type = 'table'";
        let columns: Vec<(String, String)> = sqlx::query_as(columns).fetch_all(&mut connection).await.unwrap();
        let mut values = Vec::new();
        for (table, column) in columns {
            let sql = AssertSqlSafe(format!("select lower(quote({column})) from {table}"));
            values.extend(sqlx::query_scalar::<_, String>(sql).fetch_all(&mut connection).await.unwrap());
        }
        values.join("\n")
    }
}

/// Longer than any wait on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// A database file in a folder that does not exist yet, deleted with this.
struct TestFile {
    _folder: TempDir,
    path: PathBuf,
}

impl TestFile {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("data").join("test.db");
        Self { _folder: folder, path }
    }

    fn config(&self) -> Config {
        Config { statement_timeout: PATIENCE, ..Config::new(format!("sqlite://{}", self.path.display())) }
    }

    async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.config()).await.unwrap()
    }

    async fn migrated(&self) -> SqliteStore {
        let store = self.open().await;
        store.migrate().await.unwrap();
        store
    }

    /// A connection such as another program would make.
    async fn foreign(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(&self.path).connect().await.unwrap()
    }
}

fn batch(first_number: usize, size: usize) -> Vec<NewSession> {
    (first_number..first_number + size).map(|n| login(number(n))).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_folder_and_the_files_it_makes_are_the_owners_alone() {
    let file = TestFile::new();
    let store = file.migrated().await;
    store.probe_sessions(now()).await.unwrap();
    assert_eq!(mode(file.path.parent().unwrap()), 0o700);
    for name in ["test.db", "test.db-wal", "test.db-shm"] {
        assert_eq!(mode(&file.path.with_file_name(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn what_exists_keeps_its_mode() {
    let file = TestFile::new();
    let folder = file.path.parent().unwrap();
    fs::create_dir(folder).unwrap();
    fs::write(&file.path, "").unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o640)).unwrap();
    file.migrated().await;
    assert_eq!((mode(folder), mode(&file.path)), (0o750, 0o640));
}

#[tokio::test]
async fn a_file_that_must_exist_is_not_made() {
    let file = TestFile::new();
    let config = Config::new(format!("sqlite://{}?mode=rw", file.path.display()));
    assert!(matches!(SqliteStore::open(&config).await, Err(StoreError::Unavailable(_))));
    assert!(!file.path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_write_to_one_file_at_once_and_neither_fails() {
    let file = TestFile::new();
    let stores = [Arc::new(file.migrated().await), Arc::new(file.open().await)];
    let tasks: Vec<_> = stores
        .iter()
        .enumerate()
        .flat_map(|(which, store)| (0..50).map(move |n| (which, n, Arc::clone(store))))
        .map(|(which, n, store)| {
            tokio::spawn(async move {
                let sessions = batch(which * 1_000 + n * 4, 4);
                store.open_sessions(&sessions).await.unwrap().iter().for_each(|outcome| drop(opened(outcome).clone()));
                store.find_user(UserKey::Phone(sessions[0].phone_index)).await.unwrap().unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((file.count(USERS).await, file.count(SESSIONS).await), (400, 400));
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_open_and_migrate_a_new_file_together_all_succeed() {
    let file = Arc::new(TestFile::new());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let file = Arc::clone(&file);
            tokio::spawn(async move { file.migrated().await.check_schema().await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_logins_of_one_new_number_make_one_user() {
    let file = TestFile::new();
    let store = Arc::new(file.migrated().await);
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.open_sessions(&[login(number(1))]).await.unwrap().remove(0) })
        })
        .collect();
    let mut new_users = 0;
    let mut ids = Vec::new();
    for task in tasks {
        let outcome = task.await.unwrap();
        new_users += usize::from(opened(&outcome).new_user);
        ids.push(opened(&outcome).user.id);
    }
    ids.dedup();
    assert_eq!((ids.len(), new_users), (1, 1));
    assert_eq!((file.count(USERS).await, file.count(SESSIONS).await), (1, 1_000));
}

/// Cuts calls off at every point from before their turn to after their commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_is_opened_in_full_or_not_at_all_and_the_writer_goes_on() {
    let file = TestFile::new();
    let store = file.migrated().await;
    let (mut cancelled, mut before) = (0, 0);
    for n in 0..100 {
        let sessions = batch(n * 16, 16);
        let cut = timeout(Duration::from_micros(n as u64 * 100), store.open_sessions(&sessions)).await;
        cancelled += u32::from(cut.is_err());
        // The next write waits for whatever the cancelled one left running.
        store.probe_sessions(now()).await.unwrap();
        let stored = file.count(SESSIONS).await - before;
        assert!(stored == 16 || (stored == 0 && cut.is_err()), "{stored} of 16 sessions");
        let again = store.open_sessions(&sessions).await.unwrap();
        assert!(again.iter().all(|outcome| opened(outcome).new_user));
        before += 16;
    }
    assert!(cancelled > 0, "no call was slow enough to be cancelled");
}

/// ASVS 2.3.3.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_error_leaves_nothing_of_its_batch_and_the_writer_goes_on() {
    let file = TestFile::new();
    let store = file.migrated().await;
    let mut sessions = batch(0, 5);
    sessions[3].expires_at = sessions[3].created_at;
    assert!(matches!(store.open_sessions(&sessions).await, Err(StoreError::Data(_))));
    assert_eq!((file.count(USERS).await, file.count(SESSIONS).await), (0, 0));
    sessions.remove(3);
    assert_eq!(store.open_sessions(&sessions).await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_another_process_and_gives_up_in_time() {
    let file = TestFile::new();
    let patient = file.migrated().await;
    let hasty =
        SqliteStore::open(&Config { statement_timeout: Duration::from_millis(250), ..file.config() }).await.unwrap();
    let mut foreign = file.foreign().await;
    sqlx::query("begin immediate").execute(&mut foreign).await.unwrap();

    let refused = hasty.open_sessions(&[login(number(1))]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)) && refused.is_transient(), "{refused:?}");
    // Readers do not wait for writers.
    assert!(hasty.apps().await.unwrap().is_empty());

    let waiting = tokio::spawn(async move { patient.open_sessions(&[login(number(1))]).await });
    assert!(matches!(hasty.probe_sessions(now()).await, Err(StoreError::Unavailable(_))));
    assert!(!waiting.is_finished());
    sqlx::query("rollback").execute(&mut foreign).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
    hasty.probe_sessions(now()).await.unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_unavailable_and_still_read() {
    let file = TestFile::new();
    file.migrated().await.close().await;
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o400)).unwrap();
    let mut config = file.config();
    // The mode does not hold root back.
    if fs::OpenOptions::new().write(true).open(&file.path).is_ok() {
        config.url.push_str("?mode=ro");
    }
    let store = SqliteStore::open(&config).await.unwrap();
    store.check_schema().await.unwrap();
    assert!(matches!(store.probe_sessions(now()).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.open_sessions(&[login(number(1))]).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_folder_that_is_a_file_is_unavailable_and_named() {
    let file = TestFile::new();
    fs::write(file.path.parent().unwrap(), "").unwrap();
    let Err(StoreError::Unavailable(cause)) = SqliteStore::open(&file.config()).await else {
        panic!("opened below a file")
    };
    assert!(cause.to_string().contains("test.db"), "{cause}");
}

#[tokio::test]
async fn a_file_of_something_else_is_refused_at_open() {
    let file = TestFile::new();
    fs::create_dir(file.path.parent().unwrap()).unwrap();
    fs::write(&file.path, "not a database ".repeat(1_000)).unwrap();
    let refused = SqliteStore::open(&file.config()).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Schema(text) if text.contains("not a SQLite database")), "{refused:?}");
}

#[tokio::test]
async fn damaged_pages_are_told_at_open() {
    let file = TestFile::new();
    file.migrated().await.close().await;
    let mut bytes = fs::read(&file.path).unwrap();
    bytes[4_096..].fill(0xff);
    fs::write(&file.path, bytes).unwrap();
    let refused = SqliteStore::open(&file.config()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused:?}");
}

#[tokio::test]
async fn without_a_schema_every_call_names_the_command_that_makes_it() {
    let file = TestFile::new();
    let store = file.open().await;
    let refused = [
        store.check_schema().await.unwrap_err(),
        store.apps().await.unwrap_err(),
        store.open_sessions(&[login(number(1))]).await.unwrap_err(),
        store.probe_sessions(now()).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(&error, StoreError::Schema(text) if text.contains("oneclick-login migrate")), "{error:?}");
    }
    store.database_time().await.unwrap();
}

#[tokio::test]
async fn a_migration_that_was_applied_in_another_form_is_refused() {
    let file = TestFile::new();
    let store = file.migrated().await;
    file.execute("update _sqlx_migrations set checksum = x'00' where version = 1").await;
    assert!(matches!(store.check_schema().await, Err(StoreError::Schema(_))));
    assert!(matches!(store.migrate().await, Err(StoreError::Schema(_))));
}

#[tokio::test]
async fn what_was_stored_is_there_after_closing_and_opening() {
    let file = TestFile::new();
    let store = file.migrated().await;
    let session = login(number(1));
    let first = store.open_sessions(std::slice::from_ref(&session)).await.unwrap();
    let app = App {
        client_id: ClientId::parse("app").unwrap(),
        name: "An app".to_owned(),
        kind: AppKind::Sdk,
        enabled: true,
        auto_register: None,
        secret_hash: None,
    };
    assert!(store.add_app(&app, now()).await.unwrap());
    store.close().await;
    assert!(matches!(store.open_sessions(&[login(number(2))]).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.apps().await, Err(StoreError::Unavailable(_))));
    // The last one out has moved the log into the file: it can be copied as it is.
    assert!(!file.path.with_file_name("test.db-wal").exists());

    let store = file.open().await;
    store.check_schema().await.unwrap();
    assert_eq!(store.apps().await.unwrap(), [app]);
    assert_eq!(store.open_sessions(std::slice::from_ref(&session)).await.unwrap(), first);
    let user = store.find_user(UserKey::Id(opened(&first[0]).user.id)).await.unwrap().unwrap();
    assert_eq!((user.status, user.created_at), (UserStatus::Active, session.created_at));
}
