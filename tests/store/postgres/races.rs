//! Interleavings that only a database with several writers has, each brought about on purpose: a login is stopped between
//! reading its user and inserting its session, or a row is held while somebody else wants it.

use std::sync::Arc;
use std::time::Duration;

use oneclick_login::ids::SessionId;
use oneclick_login::session_token::TokenHash;
use oneclick_login::store::postgres::{Config, PostgresStore};
use oneclick_login::store::{NewSession, Outcome, SessionKey, Store, UserStatus};
use sqlx::{Executor, PgConnection};
use tokio::task::JoinHandle;

use crate::store::Sql;
use crate::store::fixture::{find, is_live, login, now, number, open, opened, user};
use crate::support::postgres::{TestDatabase, database};

const WAITING: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'";

const DEVICES: &str = "select count(*) from sessions
    where device_fingerprint <> '' or agent <> '' or operating_sys_version <> '' or device_ip is not null
       or answer_sealed is not null or successor_sealed is not null";

fn store(database: &TestDatabase) -> Arc<dyn Store> {
    let config = Config { statement_timeout: Duration::from_secs(20), ..database.config() };
    Arc::new(PostgresStore::connect(&config).unwrap())
}

/// A login that has read its user and now waits to insert: somebody else is inserting a session with its access token.
struct StoppedLogin {
    login: JoinHandle<Outcome>,
    rival: PgConnection,
}

impl StoppedLogin {
    async fn start(database: &TestDatabase, store: &Arc<dyn Store>, session: &NewSession) -> Self {
        let mut rival = database.connection().await;
        rival.execute("begin").await.unwrap();
        let insert = "insert into sessions (id, token_hash, access_token_hash, user_id, user_epoch, client_id,
                operating_sys_version, device_fingerprint, agent, created_at, expires_at)
            values ($1, $2, $3, $1, 0, 'rival', '', '', '', $4, $5)";
        sqlx::query(insert)
            .bind(SessionId::new(now()).0)
            .bind(TokenHash([9; 32]).0)
            .bind(session.replay_key.unwrap().0)
            .bind(session.created_at)
            .bind(session.expires_at)
            .execute(&mut rival)
            .await
            .unwrap();
        let (store, session) = (Arc::clone(store), session.clone());
        let login = tokio::spawn(async move { open(&store, &session).await });
        while database.count(WAITING).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self { login, rival }
    }

    async fn go_on(mut self) -> Outcome {
        self.rival.execute("rollback").await.unwrap();
        self.login.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_inserted_after_the_disabling_by_a_login_that_read_the_user_before_is_dead_for_good() {
    let database = database().await;
    let store = store(&database);
    let id = user(&store, number(1)).await;
    let session = login(number(1));
    let stopped = StoppedLogin::start(&database, &store, &session).await;
    assert!(store.set_user_status(id, UserStatus::Disabled, now()).await.unwrap());
    opened(&stopped.go_on().await);
    for status in [UserStatus::Disabled, UserStatus::Active] {
        store.set_user_status(id, status, now()).await.unwrap();
        assert!(!is_live(&find(&store, SessionKey::Token(session.token_hash)).await.unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_inserted_after_a_disabling_and_an_enabling_is_dead_as_well() {
    let database = database().await;
    let store = store(&database);
    let id = user(&store, number(1)).await;
    let session = login(number(1));
    let stopped = StoppedLogin::start(&database, &store, &session).await;
    for status in [UserStatus::Disabled, UserStatus::Active] {
        store.set_user_status(id, status, now()).await.unwrap();
    }
    opened(&stopped.go_on().await);
    assert!(!is_live(&find(&store, SessionKey::Token(session.token_hash)).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_inserted_after_the_erasing_is_not_found_and_the_next_purge_takes_its_device_away() {
    let database = database().await;
    let store = store(&database);
    let id = user(&store, number(1)).await;
    let session = login(number(1));
    let stopped = StoppedLogin::start(&database, &store, &session).await;
    assert!(store.erase_user(id, now()).await.unwrap());
    opened(&stopped.go_on().await);
    user(&store, number(2)).await;
    assert!(find(&store, SessionKey::Token(session.token_hash)).await.is_none());
    assert_eq!(database.count(DEVICES).await, 2);
    assert_eq!(store.purge(now(), 10).await.unwrap(), 0);
    assert_eq!(database.count(DEVICES).await, 1, "the other user's");
    assert_eq!(database.count("select count(*) from sessions").await, 3, "the replay guard holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_passes_over_rows_that_somebody_else_holds() {
    let database = database().await;
    let store = store(&database);
    let batch: Vec<_> = (0..4).map(|n| login(number(n))).collect();
    store.open_sessions(&batch).await.unwrap();
    let mut holder = database.connection().await;
    holder.execute("begin").await.unwrap();
    sqlx::query("select from sessions where id = $1 for update")
        .bind(batch[0].id.0)
        .execute(&mut holder)
        .await
        .unwrap();
    let at = now() + time::Duration::days(6);
    let purged = tokio::time::timeout(Duration::from_secs(5), store.purge(at, 10)).await.expect("it waits for nobody");
    assert_eq!(purged.unwrap(), 3);
    holder.execute("rollback").await.unwrap();
    assert_eq!(store.purge(at, 10).await.unwrap(), 1);
}
