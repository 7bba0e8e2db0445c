//! The suite on Postgres, directly and as if through a transaction pooler, and what only Postgres can suffer.

mod dead_connections;
mod deployment;
mod faults;
mod load;
mod migration;
mod plans;
mod proxy;
mod races;

use std::sync::Arc;

use async_trait::async_trait;
use oneclick_login::store::Store;
use oneclick_login::store::postgres::{Config, PostgresStore};
use sqlx::AssertSqlSafe;

use super::{Backend, Sql, Subject};
use crate::support::postgres::{TestDatabase, database, empty_database};

struct Direct;

/// Statements as they are sent through a transaction pooler; without one, they must do as well.
struct TransactionPooler;

impl Backend for Direct {
    async fn migrated() -> Subject {
        subject(database().await, false)
    }

    async fn empty() -> Subject {
        subject(empty_database().await, false)
    }
}

impl Backend for TransactionPooler {
    async fn migrated() -> Subject {
        subject(database().await, true)
    }

    async fn empty() -> Subject {
        subject(empty_database().await, true)
    }
}

fn subject(database: TestDatabase, transaction_pooler: bool) -> Subject {
    let config = Config { transaction_pooler, ..database.config() };
    let store: Arc<dyn Store> = Arc::new(PostgresStore::connect(&config).unwrap());
    Subject { store, sql: Box::new(database) }
}

#[async_trait]
impl Sql for TestDatabase {
    async fn count(&self, query: &'static str) -> i64 {
        // Some of the numbers are of four bytes.
        let row = sqlx::query(query).fetch_one(&mut self.connection().await).await.unwrap();
        let four = sqlx::Row::try_get::<i32, _>(&row, 0).map(i64::from);
        four.or_else(|_| sqlx::Row::try_get(&row, 0)).unwrap()
    }

    async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(&mut self.connection().await).await.unwrap();
    }

    async fn dump(&self) -> String {
        let mut connection = self.connection().await;
        let tables = "select table_name::text from information_schema.tables where table_schema = 'public'";
        let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
        let mut rows = Vec::new();
        for table in tables {
            let sql = AssertSqlSafe(format!("select {table}::text from {table}"));
            rows.extend(sqlx::query_scalar::<_, String>(sql).fetch_all(&mut connection).await.unwrap());
        }
        rows.join("\n")
    }
}

mod directly {
    super::super::run_suite!(crate::store::postgres::Direct);
}

mod in_transactions {
    super::super::run_suite!(crate::store::postgres::TransactionPooler);
}
