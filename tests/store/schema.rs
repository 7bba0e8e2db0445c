//! The schema's version.

use std::sync::Arc;

use oneclick_login::store::{Schema, StoreError};
use tokio::task::JoinSet;

use super::fixture::{USERS, number, user};
use super::{Backend, Subject};

pub async fn an_empty_database_is_refused_and_the_error_names_the_command<B: Backend>() {
    let subject = B::empty().await;
    let error = subject.store.check_schema().await.unwrap_err();
    assert!(matches!(&error, StoreError::Schema(text) if text.contains("oneclick-login migrate")), "{error:?}");
    assert!(!error.is_transient());
    let error = subject.store.data_keys().await.unwrap_err();
    assert!(matches!(error, StoreError::Schema(_)), "{error:?}");
}

pub async fn migrating_twice_changes_nothing<B: Backend>() {
    let subject = B::empty().await;
    subject.store.migrate().await.unwrap();
    user(&subject.store, number(1)).await;
    subject.store.migrate().await.unwrap();
    subject.store.check_schema().await.unwrap();
    assert_eq!(subject.sql.count(USERS).await, 1);
}

pub async fn concurrent_migrations_wait_for_each_other<B: Backend>() {
    let subject = B::empty().await;
    let mut replicas = JoinSet::new();
    for _ in 0..6 {
        let store = Arc::clone(&subject.store);
        replicas.spawn(async move { store.migrate().await.unwrap() });
    }
    replicas.join_all().await;
    subject.store.check_schema().await.unwrap();
}

pub async fn the_schema_of_a_newer_program_is_accepted<B: Backend>() {
    let subject: Subject = B::migrated().await;
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        select version + 1000000, 'newer', success, checksum, 0 from _sqlx_migrations";
    assert_eq!(subject.store.check_schema().await.unwrap(), Schema::Current);
    subject.sql.execute(newer).await;
    assert_eq!(subject.store.check_schema().await.unwrap(), Schema::Newer);
    subject.store.migrate().await.unwrap();
}

pub async fn a_migration_that_ended_half_way_is_refused<B: Backend>() {
    let subject = B::migrated().await;
    subject.sql.execute("update _sqlx_migrations set success = false").await;
    for refused in [subject.store.check_schema().await.map(drop), subject.store.migrate().await] {
        assert!(matches!(refused, Err(StoreError::Schema(_))), "{refused:?}");
    }
}
