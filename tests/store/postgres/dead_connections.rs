//! Connections that died, alone or with their server, and calls that are many: which call notices, and which connection is
//! believed.

use std::sync::Arc;
use std::time::Duration;

use oneclick_login::session_token::{FamilyHash, TokenHash, sha256};
use oneclick_login::store::postgres::{Config, PostgresStore};
use oneclick_login::store::{OpenSessions, Rotation, SessionKey, Store, StoreError};
use sqlx::Executor;

use super::faults::{administer, warm_up};
use crate::store::Sql;
use crate::store::fixture::{login, number, opened};
use crate::store::tickets::ticket;
use crate::support::postgres::{TestDatabase, database};

const STATEMENT_TIMEOUT: Duration = Duration::from_millis(500);

const END_OURS: &str = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
    where datname = current_database() and application_name = 'oneclick-login'";

/// R57: what a restart of the server cuts are connections, not the calls that meet them.
#[tokio::test]
async fn after_a_restart_every_call_that_can_be_repeated_or_asks_first_succeeds_at_once() {
    for transaction_pooler in [false, true] {
        let database = database().await;
        let store = PostgresStore::connect(&Config { transaction_pooler, ..database.config() }).unwrap();
        let session = login(number(1));
        store.open_sessions(std::slice::from_ref(&session)).await.unwrap();
        let ended = async || assert!(database.count(END_OURS).await > 0);
        let now = session.created_at;
        let ticket = ticket("a ticket", session.id);
        ended().await;
        assert!(store.find_session(SessionKey::Token(session.token_hash), now, 0).await.unwrap().is_some());
        ended().await;
        assert!(store.find_session(SessionKey::Replay(session.replay_key.unwrap()), now, 0).await.unwrap().is_some());
        ended().await;
        store.mark_session_used(session.id, now).await.unwrap();
        ended().await;
        store.add_ticket(&ticket).await.unwrap();
        ended().await;
        let used =
            store.use_ticket(&ticket.ticket_hash, &ticket.device_fingerprint, &ticket.client_id, now).await.unwrap();
        assert_eq!(used, Some(session.id));
        ended().await;
        let successor = TokenHash(sha256(b"successor"));
        let rotation = Rotation {
            id: session.id,
            current: session.token_hash,
            successor,
            successor_sealed: vec![1],
            family: FamilyHash([1; 32]),
            at: now,
        };
        assert!(store.rotate_session(&rotation).await.unwrap());
        assert!(store.rotate_session(&rotation).await.unwrap(), "a second run knows its own first one");
        let other = Rotation { successor: TokenHash(sha256(b"another")), ..rotation };
        assert!(!store.rotate_session(&other).await.unwrap(), "and nobody else's");
        ended().await;
        assert!(store.revoke_session(session.id, now).await.unwrap());
        ended().await;
        store.database_time().await.unwrap();
        ended().await;
        store.probe_sessions(now).await.unwrap();
        ended().await;
        opened(&store.open_sessions(&[login(number(1))]).await.unwrap()[0]);
    }
}

/// As HAProxy while it has no server: it accepts, and hangs up without a word.
#[tokio::test]
async fn a_proxy_without_a_server_behind_it_is_called_that() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hangs_up = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Not before the request is there, or the client meets a reset.
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 64]).await;
        }
    });
    let url = format!("postgres://u@127.0.0.1:{port}/d?sslmode=prefer");
    let config = Config {
        url: url.into(),
        url_again: None,
        max_connections: 1,
        transaction_pooler: false,
        statement_timeout: STATEMENT_TIMEOUT,
    };
    let error = PostgresStore::connect(&config).unwrap().database_time().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let StoreError::Unavailable(cause) = error else { panic!("{error:?}") };
    assert!(cause.to_string().contains("the proxy in front of the database has no server"), "{cause}");
    hangs_up.abort();
}

async fn our_backends(database: &TestDatabase) -> Vec<i32> {
    let pids = "select pid from pg_stat_activity
        where datname = current_database() and application_name = 'oneclick-login' order by pid";
    sqlx::query_scalar(pids).fetch_all(&mut database.connection().await).await.unwrap()
}

/// As behind a balancer that cuts connections which nobody has used for a minute.
#[tokio::test]
async fn an_idle_connection_that_died_alone_costs_itself_and_no_call() {
    let database = database().await;
    let store = Arc::new(database.store());
    warm_up(&store).await;
    let before = our_backends(&database).await;
    assert!(before.len() > 2, "{before:?}");
    // Longer than a connection counts as in use lately.
    tokio::time::sleep(Duration::from_millis(5_200)).await;
    // The one that is used next is the one that was used last, so all but one are cut.
    for pid in &before[1..] {
        administer(&database, &format!("select pg_terminate_backend({pid}, 5000)")).await;
    }
    for n in 0..16 {
        opened(&store.open_sessions(&[login(number(n))]).await.unwrap()[0]);
        store.apps().await.unwrap();
    }
    let after = our_backends(&database).await;
    assert!(after.contains(&before[0]), "{before:?} {after:?}");
}

#[tokio::test]
async fn a_connection_that_died_in_use_takes_the_others_along() {
    let database = database().await;
    let store = Arc::new(database.store());
    warm_up(&store).await;
    let before = our_backends(&database).await;
    for pid in &before[1..] {
        administer(&database, &format!("select pg_terminate_backend({pid}, 5000)")).await;
    }
    warm_up(&store).await;
    assert!(!our_backends(&database).await.contains(&before[0]), "{before:?}");
}

#[tokio::test]
async fn a_plan_that_is_stale_on_every_connection_costs_no_login() {
    let database = database().await;
    let store = Arc::new(database.store());
    warm_up(&store).await;
    administer(&database, "alter table users alter column name type varchar(300)").await;
    for n in 0..8 {
        opened(&store.open_sessions(&[login(number(n))]).await.unwrap()[0]);
    }
}

#[tokio::test]
async fn a_storm_of_other_calls_does_not_make_a_busy_database_look_silent() {
    for max_connections in [1, 2, 4] {
        let database = database().await;
        let store = PostgresStore::connect(&Config { max_connections, ..database.config() }).unwrap();
        let store = Arc::new(store);
        let session = login(number(1));
        store.open_sessions(std::slice::from_ref(&session)).await.unwrap();
        let mut blocker = database.connection().await;
        blocker.execute("begin; update sessions set agent = agent").await.unwrap();
        let storm: Vec<_> = (0..50)
            .map(|_| {
                let (store, session) = (Arc::clone(&store), session.clone());
                tokio::spawn(async move { store.mark_session_used(session.id, session.created_at).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        store.database_time().await.unwrap();
        store.apps().await.unwrap();
        store.signing_keys().await.unwrap();
        let mut outcomes = Vec::new();
        for call in storm {
            outcomes.push(call.await.unwrap().unwrap_err());
        }
        assert!(outcomes.iter().any(|error| matches!(error, StoreError::Busy)), "{outcomes:?}");
    }
}
