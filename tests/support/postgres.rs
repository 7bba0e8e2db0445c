//! A fresh, migrated Postgres database for each test.
//!
//! Where the server comes from is [`server`]'s business. One template is migrated for each version of the schema and
//! copied for each test, which is a good deal quicker than migrating; several test processes share it on a server that
//! outlives them. It must not know what is tested.

mod server;

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use oneclick_login::clock::Clock;
use oneclick_login::session_token::sha256;
use oneclick_login::store::Store;
use oneclick_login::store::postgres::{Config, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use self::server::{Cluster, Server};

/// Databases of test processes that died long ago are dropped by the next one.
const ABANDONED_AFTER_SECONDS: i64 = 3_600;

/// Guards the making of the template and the sweep among test processes that share a server.
const PREPARE_LOCK: i64 = 0x6f63_6c5f_7465_7374;

/// A database of its own, dropped with this.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    server: &'static Server,
}

/// A database with the current schema and nothing in it.
pub async fn database() -> TestDatabase {
    let (server, template) = prepared();
    create(server, &format!("template {template}")).await
}

/// A database without any table.
pub async fn empty_database() -> TestDatabase {
    create(prepared().0, "template template0").await
}

/// A database without any table on a server whose commits last.
pub async fn durable_database() -> TestDatabase {
    static DURABLE: OnceLock<Result<Server, String>> = OnceLock::new();
    let server = DURABLE.get_or_init(server::start_durable).as_ref().unwrap_or_else(|help| panic!("{help}"));
    create(server, "template template0").await
}

/// A migrated database on a server of its own, started with these options: for what would harm the other tests. The
/// server ends with this process.
pub async fn database_on_own_server(options: &[&str]) -> TestDatabase {
    let server = server::start_own(options).unwrap_or_else(|help| panic!("{help}"));
    let database = create(Box::leak(Box::new(server)), "template template0").await;
    database.store().migrate().await.expect("the migrations apply to an empty database");
    database
}

/// A primary and its streaming standby, which end with this process; both are of the database `postgres`.
pub fn pair() -> (Cluster, Cluster) {
    server::start_pair(&["-c", "fsync=off"]).unwrap_or_else(|help| panic!("{help}"))
}

impl TestDatabase {
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// For a store on this database: few connections, time limits as in production.
    pub fn config(&self) -> Config {
        config(self.url())
    }

    pub fn store(&self) -> PostgresStore {
        PostgresStore::connect(&self.config()).expect("the test database's url is well formed")
    }

    /// Throws it away under whoever is connected, and makes an empty one of its name.
    pub async fn make_anew(&self) {
        let mut maintenance = connect(&self.server.maintenance_url()).await;
        execute(&mut maintenance, format!("drop database {} with (force)", self.name)).await;
        execute(&mut maintenance, format!("create database {} template template0", self.name)).await;
    }

    /// A connection beside the store's, for what the store's trait does not show.
    pub async fn connection(&self) -> PgConnection {
        connect(&self.url()).await
    }
}

impl Drop for TestDatabase {
    /// Waits for it: on a server that outlives the tests nobody else would.
    fn drop(&mut self) {
        let (server, name) = (self.server, self.name.clone());
        let dropped = blocking(async move {
            let mut maintenance = PgConnection::connect(&server.maintenance_url()).await?;
            let sql = format!("drop database if exists {name} with (force)");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut maintenance).await
        });
        if let Err(error) = dropped {
            // A panic here would hide the test's own.
            eprintln!("a test database is left behind: {error}");
        }
    }
}

fn config(url: String) -> Config {
    Config {
        url: url.into(),
        url_again: None,
        max_connections: 8,
        transaction_pooler: false,
        statement_timeout: Duration::from_millis(500),
    }
}

async fn create(server: &'static Server, from: &str) -> TestDatabase {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = Clock::system().now().unix_timestamp();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("oneclick_test_{now}_{}_{count}", std::process::id());
    execute(&mut connect(&server.maintenance_url()).await, format!("create database {name} {from}")).await;
    TestDatabase { name, server }
}

/// The server and the name of its template, made ready once for each process, or found missing once.
fn prepared() -> (&'static Server, &'static str) {
    static PREPARED: OnceLock<Result<(Server, String), String>> = OnceLock::new();
    let prepared = PREPARED.get_or_init(|| {
        let server = server::start()?;
        let maintenance_url = server.maintenance_url();
        let template = format!("oneclick_template_{}", schema_digest());
        blocking({
            let (building_url, template) = (server.url(&format!("{template}_building")), template.clone());
            async move { prepare(&maintenance_url, &building_url, &template).await }
        });
        Ok((server, template))
    });
    match prepared {
        Ok((server, template)) => (server, template),
        Err(help) => panic!("{help}"),
    }
}

async fn prepare(maintenance_url: &str, building_url: &str, template: &str) {
    let mut maintenance = connect(maintenance_url).await;
    execute(&mut maintenance, format!("select pg_advisory_lock({PREPARE_LOCK})")).await;
    let databases: Vec<String> =
        sqlx::query_scalar("select datname::text from pg_database").fetch_all(&mut maintenance).await.unwrap();
    for abandoned in databases.iter().filter(|name| is_abandoned(name)) {
        execute(&mut maintenance, format!("drop database if exists {abandoned} with (force)")).await;
    }
    if !databases.iter().any(|name| name == template) {
        execute(&mut maintenance, format!("drop database if exists {template}_building with (force)")).await;
        execute(&mut maintenance, format!("create database {template}_building template template0")).await;
        let store = PostgresStore::connect(&config(building_url.to_owned())).unwrap();
        store.migrate().await.expect("the migrations apply to an empty database");
        store.close().await;
        // Under its name only when it is complete; and nobody may be connected to a template that is being copied.
        execute(&mut maintenance, format!("alter database {template}_building rename to {template}")).await;
    }
    maintenance.close().await.unwrap();
}

fn is_abandoned(database: &str) -> bool {
    let created = database.strip_prefix("oneclick_test_").and_then(|rest| rest.split('_').next()?.parse::<i64>().ok());
    created.is_some_and(|at| Clock::system().now().unix_timestamp() - at > ABANDONED_AFTER_SECONDS)
}

/// Names the state of the migrations, so that a template made by another version is not taken.
fn schema_digest() -> String {
    let migrations = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let mut files: Vec<_> = std::fs::read_dir(migrations).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let digest = sha256(&files.iter().flat_map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>());
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("the tests' Postgres accepts connections")
}

async fn execute(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.expect("the tests' role may create databases");
}

/// Runs a future to its end where no test's runtime can be in the way.
fn blocking<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    std::thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
