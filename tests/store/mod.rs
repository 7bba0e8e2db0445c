//! One suite for both stores.

mod sqlite;

use oneclick_login::store::{Store, StoreError};
use sqlx::Row;

use crate::support::postgres;

#[tokio::test]
async fn a_fresh_database_is_refused_until_it_is_migrated() {
    let database = postgres::empty_database().await;
    let store = database.store();
    assert!(
        matches!(store.check_schema().await, Err(StoreError::Schema(text)) if text.contains("oneclick-login migrate"))
    );
    store.migrate().await.unwrap();
    store.check_schema().await.unwrap();
}

#[tokio::test]
async fn a_copy_of_the_template_has_the_schema_and_no_rows() {
    let database = postgres::database().await;
    database.store().check_schema().await.unwrap();
    let row = sqlx::query("select count(*) from users").fetch_one(&mut database.connection().await).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 0);
}
