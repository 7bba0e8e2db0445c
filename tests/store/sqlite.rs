//! What only SQLite has: files and their modes, other processes at the same file, a writer that outlives its callers.
//! What both stores promise is in the suite.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use oneclick_login::clock::Clock;
use oneclick_login::device::Device;
use oneclick_login::ids::{ClientId, SessionId, UserId};
use oneclick_login::session_token::{SessionToken, random_alphanumeric, sha256};
use oneclick_login::store::sqlite::{Config, SqliteStore};
use oneclick_login::store::{
    App, AppKind, CandidateUser, NewSession, Opened, Outcome, PhoneIndex, Store, StoreError, UserKey, UserStatus,
};
use oneclick_login::verifier::ReplayKey;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

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

    async fn count(&self, table: &'static str) -> i64 {
        let sql = match table {
            "users" => "select count(*) from users",
            _ => "select count(*) from sessions",
        };
        sqlx::query_scalar(sql).fetch_one(&mut self.foreign().await).await.unwrap()
    }
}

fn login(number: &str) -> NewSession {
    let now = Clock::system().now();
    NewSession {
        id: SessionId::new(now),
        token_hash: SessionToken::generate().hash(),
        replay_key: Some(ReplayKey(sha256(random_alphanumeric(32).as_bytes()))),
        phone_index: PhoneIndex(sha256(number.as_bytes())),
        candidate: Some(CandidateUser { id: UserId::new(now), phone_sealed: vec![1; 40] }),
        client_id: ClientId::parse("app").unwrap(),
        device: Device {
            operating_sys_version: "Android 15".to_owned(),
            fingerprint: "fingerprint".to_owned(),
            agent: "agent".to_owned(),
            ip: Some([203, 0, 113, 7].into()),
        },
        created_at: now,
        expires_at: now + Duration::from_secs(3600),
        answer_sealed: Some(vec![2; 60]),
    }
}

fn batch(prefix: &str, size: usize) -> Vec<NewSession> {
    (0..size).map(|n| login(&format!("{prefix}-{n}"))).collect()
}

fn opened(outcome: &Outcome) -> &Opened {
    match outcome {
        Outcome::Opened(opened) => opened,
        other => panic!("{other:?} is not opened"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn the_folder_and_the_files_it_makes_are_the_owners_alone() {
    let file = TestFile::new();
    let store = file.migrated().await;
    store.probe_write(Clock::system().now()).await.unwrap();
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
                let sessions = batch(&format!("{which}-{n}"), 4);
                store.open_sessions(&sessions).await.unwrap().iter().for_each(|outcome| drop(opened(outcome).clone()));
                store.find_user(UserKey::Phone(sessions[0].phone_index)).await.unwrap().unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((file.count("users").await, file.count("sessions").await), (400, 400));
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
            tokio::spawn(async move { store.open_sessions(&[login("hot")]).await.unwrap().remove(0) })
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
    assert_eq!((file.count("users").await, file.count("sessions").await), (1, 1_000));
}

/// Cuts calls off at every point from before their turn to after their commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_is_opened_in_full_or_not_at_all_and_the_writer_goes_on() {
    let file = TestFile::new();
    let store = file.migrated().await;
    let (mut cancelled, mut before) = (0, 0);
    for n in 0..100 {
        let sessions = batch(&n.to_string(), 16);
        let cut = timeout(Duration::from_micros(n * 100), store.open_sessions(&sessions)).await;
        cancelled += u32::from(cut.is_err());
        // The next write waits for whatever the cancelled one left running.
        store.probe_write(Clock::system().now()).await.unwrap();
        let stored = file.count("sessions").await - before;
        assert!(stored == 16 || (stored == 0 && cut.is_err()), "{stored} of 16 sessions");
        let again = store.open_sessions(&sessions).await.unwrap();
        assert!(again.iter().all(|outcome| opened(outcome).new_user));
        before += 16;
    }
    assert!(cancelled > 0, "no call was slow enough to be cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_error_leaves_nothing_of_its_batch_and_the_writer_goes_on() {
    let file = TestFile::new();
    let store = file.migrated().await;
    let mut sessions = batch("a", 5);
    sessions[3].expires_at = sessions[3].created_at;
    assert!(matches!(store.open_sessions(&sessions).await, Err(StoreError::Data(_))));
    assert_eq!((file.count("users").await, file.count("sessions").await), (0, 0));
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

    let refused = hasty.open_sessions(&[login("1")]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)) && refused.is_transient(), "{refused:?}");
    // Readers do not wait for writers.
    assert!(hasty.apps().await.unwrap().is_empty());

    let now = Clock::system().now();
    let waiting = tokio::spawn(async move { patient.open_sessions(&[login("1")]).await });
    assert!(matches!(hasty.probe_write(now).await, Err(StoreError::Unavailable(_))));
    assert!(!waiting.is_finished());
    sqlx::query("rollback").execute(&mut foreign).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().len(), 1);
    hasty.probe_write(now).await.unwrap();
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
    assert!(matches!(store.probe_write(Clock::system().now()).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.open_sessions(&[login("1")]).await, Err(StoreError::Unavailable(_))));
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
        store.open_sessions(&[login("1")]).await.unwrap_err(),
        store.probe_write(Clock::system().now()).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(&error, StoreError::Schema(text) if text.contains("oneclick-login migrate")), "{error:?}");
    }
    store.database_time().await.unwrap();
}

#[tokio::test]
async fn a_newer_programs_migration_is_accepted_and_a_changed_one_is_not() {
    let file = TestFile::new();
    let store = file.migrated().await;
    let mut foreign = file.foreign().await;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (999999, 'later', true, x'00', 1)",
    )
    .execute(&mut foreign)
    .await
    .unwrap();
    store.check_schema().await.unwrap();
    store.migrate().await.unwrap();

    sqlx::query("update _sqlx_migrations set checksum = x'00' where version = 1").execute(&mut foreign).await.unwrap();
    assert!(matches!(store.check_schema().await, Err(StoreError::Schema(_))));
    assert!(matches!(store.migrate().await, Err(StoreError::Schema(_))));
}

#[tokio::test]
async fn sqlites_clock_is_close_to_ours() {
    let file = TestFile::new();
    let theirs = file.open().await.database_time().await.unwrap();
    assert!((theirs - Clock::system().now()).abs() < Duration::from_secs(2));
}

#[tokio::test]
async fn what_was_stored_is_there_after_closing_and_opening() {
    let file = TestFile::new();
    let store = file.migrated().await;
    let (session, now) = (login("1"), Clock::system().now());
    let first = store.open_sessions(std::slice::from_ref(&session)).await.unwrap();
    let app = App {
        client_id: ClientId::parse("app").unwrap(),
        name: "An app".to_owned(),
        kind: AppKind::Sdk,
        enabled: true,
        auto_register: None,
    };
    assert!(store.add_app(&app, now).await.unwrap());
    store.close().await;
    assert!(matches!(store.open_sessions(&[login("2")]).await, Err(StoreError::Unavailable(_))));
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

#[tokio::test]
async fn an_erased_user_is_nobodys_and_the_number_is_free_again() {
    let file = TestFile::new();
    let store = file.migrated().await;
    let first = store.open_sessions(&[login("1")]).await.unwrap();
    let old = opened(&first[0]).user.id;
    sqlx::query("update users set status = 'erased', phone_index = null, phone_sealed = null")
        .execute(&mut file.foreign().await)
        .await
        .unwrap();
    assert_eq!(store.find_user(UserKey::Id(old)).await.unwrap(), None);
    assert!(!store.set_user_status(old, UserStatus::Active, Clock::system().now()).await.unwrap());
    let second = store.open_sessions(&[login("1")]).await.unwrap();
    assert!(opened(&second[0]).new_user && opened(&second[0]).user.id != old);
}
