//! That what is asked for all the time, or in small batches of a big table, is looked up in an index. Not by reading plans
//! of copied statements: the statements run as they are, and Postgres tells how often it went through a whole table.

use std::time::Duration;

use oneclick_login::store::OpenSessions;
use oneclick_login::store::postgres::{Config, PostgresStore};
use oneclick_login::store::{SessionKey, Store, UserKey};

use crate::store::Sql;
use crate::store::fixture::{client_id, login, now, number, opened};
use crate::support::postgres::{TestDatabase, database};

/// Enough for a walk through the table to be dearer than an index.
const FILLING: &str = "
    with filler as (
        insert into users (id, phone_index, phone_sealed, created_at, updated_at)
        select gen_random_uuid(), sha256(n::text::bytea), 'sealed', to_timestamp(1790000000), to_timestamp(1790000000)
        from generate_series(1, 5000) as n
        returning id
    )
    insert into sessions (id, token_hash, access_token_hash, user_id, user_epoch, client_id, operating_sys_version,
                          device_fingerprint, agent, created_at, expires_at)
    select gen_random_uuid(), sha256('t' || id::text::bytea), sha256('a' || id::text::bytea), id, 0, 'filler', 'iOS 19.1',
           'a fingerprint', 'an agent', to_timestamp(1790000000), to_timestamp(1790000000) + interval '5 days'
    from filler";

const WALKS: &str = "select sum(seq_scan)::bigint from pg_stat_user_tables where relname in ('users', 'sessions')";

const CONNECTED: &str = "select count(*) from pg_stat_activity
    where datname = current_database() and application_name = 'oneclick-login'";

/// More than the five for which Postgres makes a plan with the values, before it considers one without.
const REPETITIONS: usize = 12;

async fn ask_everything(store: &PostgresStore) {
    let session = login(number(1));
    let user = opened(&store.open_sessions(std::slice::from_ref(&session)).await.unwrap()[0]).user.id;
    for _ in 0..REPETITIONS {
        for key in [
            SessionKey::Token(session.token_hash),
            SessionKey::Id(session.id),
            SessionKey::Replay(session.replay_key.unwrap()),
        ] {
            for limit in [0, 5] {
                assert!(store.find_session(key, now(), limit).await.unwrap().is_some());
            }
        }
        store.mark_session_used(session.id, now()).await.unwrap();
        store.find_user(UserKey::Id(user)).await.unwrap();
        store.sessions_of_user(user, now()).await.unwrap();
        store.revoke_sessions_of_client(&client_id(), now(), 1_000).await.unwrap();
        store.revoke_session(session.id, now()).await.unwrap();
        store.purge(now(), 1_000).await.unwrap();
    }
    store.erase_user(user, now()).await.unwrap();
}

/// Backends tell their numbers at the latest when they leave.
async fn walks_after_all_left(database: &TestDatabase) -> i64 {
    while database.count(CONNECTED).await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    database.count(WALKS).await
}

#[tokio::test]
async fn no_statement_on_sessions_walks_through_a_table() {
    for transaction_pooler in [false, true] {
        let database = database().await;
        database.execute(FILLING).await;
        database.execute("vacuum analyze").await;
        let config = Config { transaction_pooler, max_connections: 1, ..database.config() };
        let store = PostgresStore::connect(&config).unwrap();
        let before = walks_after_all_left(&database).await;
        ask_everything(&store).await;
        store.close().await;
        assert_eq!(walks_after_all_left(&database).await, before, "through a pooler: {transaction_pooler}");
    }
}
