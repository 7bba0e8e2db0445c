//! A Postgres that refuses, hangs, dies, changes its role or is not there. The store recovers by itself each time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use oneclick_login::store::OpenSessions;
use oneclick_login::store::postgres::{Config, PostgresStore};
use oneclick_login::store::{Store, StoreError};
use sqlx::{AssertSqlSafe, Executor};

use super::proxy::Proxy;
use crate::store::Sql;
use crate::store::fixture::{SESSIONS, login, number, opened};
use crate::support::postgres::{TestDatabase, database};

const STATEMENT_TIMEOUT: Duration = Duration::from_millis(500);

/// What a call may take at the worst: its turn (150 ms), the statement's limit, the grace for its answer (100 ms), and
/// what a busy test machine adds. Stock pools take 30 s, or for ever.
const AT_THE_WORST: Duration = Duration::from_secs(2);

pub async fn administer(database: &TestDatabase, sql: &str) {
    database.connection().await.execute(AssertSqlSafe(sql)).await.unwrap();
}

pub async fn name_of(database: &TestDatabase) -> String {
    sqlx::query_scalar("select current_database()::text").fetch_one(&mut database.connection().await).await.unwrap()
}

/// Fills the pool with connections that have been used.
pub async fn warm_up(store: &Arc<PostgresStore>) {
    let calls = (0..8).map(|n| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.open_sessions(&[login(number(n))]).await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

fn through(proxy: &Proxy, database: &TestDatabase) -> Arc<PostgresStore> {
    Arc::new(PostgresStore::connect(&Config { url: proxy.url(&database.url()).into(), ..database.config() }).unwrap())
}

#[tokio::test]
async fn a_value_that_postgres_refuses_is_a_data_error_and_the_connection_lives_on() {
    for transaction_pooler in [false, true] {
        let database = database().await;
        let config = Config { transaction_pooler, max_connections: 1, ..database.config() };
        let store = PostgresStore::connect(&config).unwrap();
        let good = login(number(1));
        store.open_sessions(std::slice::from_ref(&good)).await.unwrap();
        let backend = "select pid from pg_stat_activity
            where application_name = 'oneclick-login' and datname = current_database()";
        let before = database.count(backend).await;

        let mut nul = login(number(2));
        nul.device.agent = "a\0b".to_owned();
        let mut long_lived = login(number(2));
        long_lived.expires_at = long_lived.created_at;
        for bad in [nul, long_lived] {
            let batch = [login(number(1)), bad];
            let error = store.open_sessions(&batch).await.unwrap_err();
            assert!(matches!(error, StoreError::Data(_)), "{error:?}");
            assert!(!format!("{error:?}").contains("fingerprint"), "no row is quoted: {error:?}");
            assert!(store.open_sessions(&batch[1..]).await.is_err());
            opened(&store.open_sessions(&batch[..1]).await.unwrap()[0]);
        }
        assert_eq!(database.count(backend).await, before);
    }
}

#[tokio::test]
async fn an_ended_backend_fails_one_call_at_most() {
    let database = database().await;
    let store = Arc::new(database.store());
    warm_up(&store).await;
    for _ in 0..5 {
        // All of them, as a restart does; and wait until they are gone.
        let end = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()";
        assert!(database.count(end).await > 0);
        let session = login(number(1));
        if let Err(error) = store.open_sessions(std::slice::from_ref(&session)).await {
            assert!(error.is_transient(), "{error:?}");
            opened(&store.open_sessions(&[session]).await.unwrap()[0]);
        }
        warm_up(&store).await;
    }
}

#[tokio::test]
async fn a_locked_table_ends_the_call_in_time_and_the_connection_lives_on() {
    let database = database().await;
    let store = Arc::new(database.store());
    warm_up(&store).await;
    let mut locking = database.connection().await;
    locking.execute("begin; lock table users").await.unwrap();
    let asked = Instant::now();
    let error = store.open_sessions(&[login(number(1))]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(asked.elapsed() < AT_THE_WORST, "{:?}", asked.elapsed());
    assert!(store.database_time().await.is_ok(), "other calls go on");
    locking.execute("rollback").await.unwrap();
    opened(&store.open_sessions(&[login(number(1))]).await.unwrap()[0]);
}

#[tokio::test]
async fn a_black_hole_on_every_open_connection_is_left_with_the_first_call() {
    let database = database().await;
    let proxy = Proxy::start(&database.url()).await;
    let store = through(&proxy, &database);
    warm_up(&store).await;
    proxy.swallow_open_connections();
    let asked = Instant::now();
    let error = store.open_sessions(&[login(number(1))]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    opened(&store.open_sessions(&[login(number(1))]).await.unwrap()[0]);
    assert!(asked.elapsed() < AT_THE_WORST, "{:?}", asked.elapsed());
    // The other connections went with the first: none of these meets a dead one.
    warm_up(&store).await;
}

#[tokio::test]
async fn a_database_that_answers_nothing_serves_again_within_two_seconds_of_its_recovery() {
    let database = database().await;
    let proxy = Proxy::start(&database.url()).await;
    let store = through(&proxy, &database);
    warm_up(&store).await;
    proxy.swallow_everything(true);
    let calls = (0..30).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.open_sessions(&[login(number(n))]).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap().unwrap_err().is_transient());
    }
    proxy.swallow_everything(false);
    let healthy_since = Instant::now();
    while store.open_sessions(&[login(number(1))]).await.is_err() {
        assert!(healthy_since.elapsed() < Duration::from_secs(2));
    }
    warm_up(&store).await;
}

#[tokio::test]
async fn a_caller_that_stops_waiting_leaves_no_half_read_answer_behind() {
    let database = database().await;
    let store = PostgresStore::connect(&Config { max_connections: 1, ..database.config() }).unwrap();
    for n in 0..60 {
        let session = login(number(n));
        let patience = Duration::from_micros(u64::try_from(n).unwrap() * 60);
        let batch = std::slice::from_ref(&session);
        tokio::time::timeout(patience, store.open_sessions(batch)).await.ok();
        let outcomes = store.open_sessions(batch).await.unwrap();
        assert_eq!(opened(&outcomes[0]).user.id, session.candidate.as_ref().unwrap().id);
        assert!(opened(&outcomes[0]).new_user, "whatever the first try committed");
    }
    assert_eq!(database.count(SESSIONS).await, 60);
}

#[tokio::test]
async fn a_connection_to_a_database_that_became_read_only_is_replaced() {
    let database = database().await;
    let name = name_of(&database).await;
    administer(&database, &format!("alter database {name} set default_transaction_read_only = on")).await;
    let store = database.store();
    let error = store.open_sessions(&[login(number(1))]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let writable =
        format!("set transaction_read_only = off; alter database {name} reset default_transaction_read_only");
    administer(&database, &writable).await;
    opened(&store.open_sessions(&[login(number(1))]).await.unwrap()[0]);
}

#[tokio::test]
async fn more_calls_than_connections_are_turned_away_in_time() {
    let database = database().await;
    let store = Arc::new(PostgresStore::connect(&Config { max_connections: 2, ..database.config() }).unwrap());
    let mut locking = database.connection().await;
    locking.execute("begin; lock table users").await.unwrap();
    let asked = Instant::now();
    let calls = (0..20).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.open_sessions(&[login(number(n))]).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap().unwrap_err().is_transient());
    }
    assert!(asked.elapsed() < AT_THE_WORST, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_store_is_made_while_the_database_is_down_and_works_when_it_is_up() {
    let database = database().await;
    let proxy = Proxy::start(&database.url()).await;
    proxy.refuse(true);
    let store = through(&proxy, &database);
    let asked = Instant::now();
    assert!(store.database_time().await.unwrap_err().is_transient());
    assert!(asked.elapsed() < AT_THE_WORST, "{:?}", asked.elapsed());
    proxy.refuse(false);
    store.check_schema().await.unwrap();
}

#[tokio::test]
async fn a_plan_that_a_migration_made_stale_costs_one_call_at_most() {
    let database = database().await;
    let store = PostgresStore::connect(&Config { max_connections: 1, ..database.config() }).unwrap();
    store.apps().await.unwrap();
    administer(&database, "alter table apps alter column name type varchar(200)").await;
    if let Err(error) = store.apps().await {
        assert!(error.is_transient(), "{error:?}");
    }
    store.apps().await.unwrap();
}

#[tokio::test]
async fn a_migration_changed_after_it_was_applied_is_refused() {
    let database = database().await;
    database.execute("update _sqlx_migrations set checksum = 'other'").await;
    let store = database.store();
    for refused in [store.check_schema().await.map(drop), store.migrate().await] {
        assert!(matches!(&refused, Err(StoreError::Schema(text)) if text.contains("another form")), "{refused:?}");
    }
}

#[tokio::test]
async fn an_url_that_cannot_be_read_is_refused_without_being_shown() {
    for url in
        ["mysql://u:s3cret@h/d", "postgres://u:s3cret@h:port/d", "postgres://u:s3cret@h/d?sslmode=s3cret", "s3cret"]
    {
        let config = Config {
            url: url.into(),
            url_again: None,
            max_connections: 1,
            transaction_pooler: false,
            statement_timeout: STATEMENT_TIMEOUT,
        };
        let error = PostgresStore::connect(&config).unwrap_err();
        assert!(!format!("{error:?} {config:?}").contains("s3cret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_storm_of_other_calls_leaves_connections_for_committing_logins() {
    let database = database().await;
    let store = Arc::new(PostgresStore::connect(&Config { max_connections: 4, ..database.config() }).unwrap());
    store.open_sessions(&[login(number(1))]).await.unwrap();
    let mut blocker = database.connection().await;
    sqlx::raw_sql("begin; lock table apps").execute(&mut blocker).await.unwrap();
    let storm: Vec<_> = (0..50)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.apps().await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    for n in 2..6 {
        assert_eq!(store.open_sessions(&[login(number(n))]).await.unwrap().len(), 1);
    }
    for call in storm {
        assert!(call.await.unwrap().unwrap_err().is_transient());
    }
}
