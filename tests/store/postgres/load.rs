//! Many logins at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use oneclick_login::store::postgres::{Config, PostgresStore};
use oneclick_login::store::{NewSession, Outcome, Store};

use crate::store::Sql;
use crate::store::fixture::{SESSIONS, USERS, login, number, open_concurrently, opened, replay_key};
use crate::support::postgres::{TestDatabase, database};

/// With time limits above Postgres's `deadlock_timeout` (1 s), so that a deadlock shows as one.
fn store(database: &TestDatabase, max_connections: u32) -> Arc<dyn Store> {
    let config = Config { max_connections, statement_timeout: Duration::from_secs(10), ..database.config() };
    Arc::new(PostgresStore::connect(&config).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_concurrent_logins_of_one_new_number_are_all_served() {
    let database = database().await;
    let store = store(&database, 16);
    let logins = (0..1_000).map(|_| vec![login(number(1))]).collect();
    let outcomes = open_concurrently(&store, logins).await.concat();
    let users: BTreeSet<_> = outcomes.iter().map(|outcome| opened(outcome).user.id).collect();
    assert_eq!((outcomes.len(), users.len()), (1_000, 1));
    assert_eq!(outcomes.iter().filter(|outcome| opened(outcome).new_user).count(), 1);
    assert_eq!((database.count(USERS).await, database.count(SESSIONS).await), (1, 1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_batches_with_common_tokens_and_numbers_never_deadlock() {
    let database = database().await;
    let store = store(&database, 16);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..25 {
        let mut row = || {
            let (token, person) = (random.below(60), random.below(20));
            let replay_key = Some(replay_key(round * 60 + token));
            NewSession { replay_key, ..login(number(round * 20 + person)) }
        };
        let batches: Vec<Vec<_>> = (0..16).map(|_| (0..32).map(|_| row()).collect()).collect();
        let tokens: BTreeSet<_> = batches.iter().flatten().map(|session| session.replay_key).collect();
        // A deadlock would be a conflict, which this does not forgive.
        let outcomes = open_concurrently(&store, batches).await.concat();
        let opened = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Opened(_))).count();
        assert_eq!(opened, tokens.len());
    }
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(database.count(deadlocks).await, 0);
}

/// Prepared plans are kept while the tables grow, so one that reads a small table whole is a trap for later.
#[tokio::test]
async fn no_login_reads_a_whole_table_even_while_it_is_small() {
    let database = database().await;
    let store = store(&database, 1);
    let batch: Vec<_> = (0..8).map(|n| login(number(n))).collect();
    // Opened, settled and replayed; and more often than Postgres waits before it keeps a plan.
    for _ in 0..8 {
        store.open_sessions(&batch).await.unwrap();
        let replayed = NewSession { replay_key: batch[0].replay_key, ..login(number(1)) };
        store.open_sessions(&[replayed, login(number(1))]).await.unwrap();
        database.execute("vacuum analyze").await;
    }
    // A backend's last counts are published as it ends.
    store.close().await;
    let backends = "select count(*) from pg_stat_activity
        where application_name = 'oneclick-login' and datname = current_database()";
    while database.count(backends).await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let looked_up = "select sum(idx_scan)::bigint from pg_stat_user_tables where relname in ('users', 'sessions')";
    assert!(database.count(looked_up).await >= 64);
    let read_whole = "select sum(seq_scan)::bigint from pg_stat_user_tables where relname in ('users', 'sessions')";
    assert_eq!(database.count(read_whole).await, 0);
}

/// The same numbers in every run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end).unwrap()
    }
}
