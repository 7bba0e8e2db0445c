//! What stands in a migration's way: a pooler, a lock that is not let go, a server that says nothing, an encoding.

use std::time::Duration;

use oneclick_login::error_chain::Chain;
use oneclick_login::store::postgres::{Config, PostgresStore};
use oneclick_login::store::{Store, StoreError};
use sqlx::migrate::Migrate;
use sqlx::{Connection, PgConnection};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::faults::{administer, name_of};
use crate::support::log::Log;
use crate::support::pooler::Pooler;
use crate::support::postgres::{TestDatabase, database, empty_database};

/// What a person takes for an answer and not for a hang, on a machine that has other things to do.
const FEW_SECONDS: Duration = Duration::from_secs(8);

fn store_at(url: String, database: &TestDatabase) -> PostgresStore {
    PostgresStore::connect(&Config { url: url.into(), ..database.config() }).unwrap()
}

async fn advisory_locks(database: &TestDatabase) -> i64 {
    let locks = "select count(*) from pg_locks where locktype = 'advisory'
                 and database = (select oid from pg_database where datname = current_database())";
    sqlx::query_scalar(locks).fetch_one(&mut database.connection().await).await.unwrap()
}

async fn process_id(session: &mut PgConnection) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(session).await.unwrap()
}

#[tokio::test]
async fn through_a_transaction_pooler_nothing_is_migrated_and_no_lock_stays_behind() {
    let database = empty_database().await;
    let url = Pooler::start(&database).await;
    for transaction_pooler in [false, true] {
        let config = Config { url: url.clone().into(), transaction_pooler, ..database.config() };
        let refused = PostgresStore::connect(&config).unwrap().migrate().await.unwrap_err();
        let StoreError::Schema(text) = &refused else { panic!("{refused:?}") };
        assert!(text.contains("transaction pooler") && text.contains("the url of Postgres itself"), "{text}");
        assert_eq!(advisory_locks(&database).await, 0);
    }
    let direct = database.store();
    assert!(direct.check_schema().await.is_err(), "nothing was migrated");
    direct.migrate().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_was_left_behind_is_told_with_who_holds_it_and_what_ends_it() {
    let database = database().await;
    let mut left = database.connection().await;
    left.lock().await.unwrap();
    let pid = process_id(&mut left).await;
    let asked = Instant::now();
    let error = database.store().migrate().await.unwrap_err();
    assert!(asked.elapsed() < FEW_SECONDS, "{:?}", asked.elapsed());
    let text = Chain(&error).to_string();
    for words in [
        "another migration's lock is held by",
        &format!("pid {pid} of the role postgres from 127.0.0.1"),
        ", idle for ",
        &format!("run: select pg_terminate_backend({pid});"),
    ] {
        assert!(text.contains(words), "{words:?} is not said: {text}");
    }
    administer(&database, &format!("select pg_terminate_backend({pid})")).await;
    database.store().migrate().await.unwrap();
}

#[tokio::test]
async fn a_migration_at_work_is_waited_for() {
    let database = database().await;
    let mut other = database.connection().await;
    other.lock().await.unwrap();
    let at_work = tokio::spawn(async move {
        sqlx::raw_sql("select pg_sleep(4)").execute(&mut other).await.unwrap();
        other.unlock().await.unwrap();
    });
    let log = Log::default();
    let listening = log.listen();
    database.store().migrate().await.unwrap();
    drop(listening);
    at_work.await.unwrap();
    let said = log.lines();
    assert!(said.contains("waiting for another migration") && said.contains(", active for "), "{said}");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_ends_a_migration_within_seconds() {
    let database = database().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u@{}/d", silent.local_addr().unwrap());
    let asked = Instant::now();
    let error = store_at(url, &database).migrate().await.unwrap_err();
    assert!(asked.elapsed() < FEW_SECONDS, "{:?}", asked.elapsed());
    assert!(error.is_transient(), "a server that waits for its database goes on waiting: {error:?}");
    assert!(Chain(&error).to_string().contains("no answer from the database within 1s"), "{error:?}");
}

#[tokio::test]
async fn of_several_hosts_the_first_that_takes_writes_is_migrated() {
    let database = empty_database().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hosts = format!("postgres@{closed},{},", silent.local_addr().unwrap());
    let store = store_at(database.url().replace("postgres@", &hosts), &database);
    store.migrate().await.unwrap();
    database.store().check_schema().await.unwrap();

    let name = name_of(&database).await;
    administer(&database, &format!("alter database {name} set default_transaction_read_only = on")).await;
    let refused = store.migrate().await.unwrap_err();
    assert!(refused.is_transient() && Chain(&refused).to_string().contains("takes no writes"), "{refused:?}");
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused_with_the_statement_that_makes_a_good_one() {
    let database = empty_database().await;
    let name = format!("{}_latin1", name_of(&database).await);
    let made = format!("create database {name} encoding 'LATIN1' lc_collate 'C' lc_ctype 'C' template template0");
    administer(&database, &made).await;
    let url = database.url().replace(&name_of(&database).await, &name);
    let store = store_at(url.clone(), &database);
    let migrated = store.migrate().await;
    // As it is found by a program that refuses it, where an older one did not.
    let copied = "create table _sqlx_migrations (version bigint, checksum bytea, success boolean);
                  insert into _sqlx_migrations values (1, '', true)";
    let mut inside = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(copied).execute(&mut inside).await.unwrap();
    let checked = store.check_schema().await;
    let deployment = store.look_at_deployment(1).await.unwrap();
    store.close().await;
    administer(&database, &format!("drop database {name} with (force)")).await;
    for refused in [migrated.map(drop), checked.map(drop)] {
        let Err(StoreError::Schema(text)) = refused else { panic!("{refused:?}") };
        assert!(text.contains("encoding is LATIN1"), "{text}");
        assert!(text.contains("create database NAME encoding 'UTF8' template template0;"), "{text}");
    }
    let found = deployment.iter().find(|finding| finding.check == "database").unwrap();
    assert!(found.is_trouble() && found.to_string().contains("LATIN1"), "{found}");
}
