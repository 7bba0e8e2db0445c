//! The production store: Postgres, directly or behind a pooler in transaction mode.
//!
//! Here is the one place that runs a statement (`PostgresStore::fetch`); the SQL lives with its table in the other
//! files, and `methods` leads from the trait to them. Every statement is its own transaction: nothing is held between
//! two of them, so nothing can be left behind.

mod apps;
mod connections;
mod deployment;
mod erasure;
mod error;
mod finding;
mod keys;
mod lock_holder;
mod methods;
mod opening;
mod pooler;
mod remedy;
mod schema;
mod sessions;
mod tenant_tokens;
mod tickets;
mod url;
mod users;
mod verifier_budget;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, FromRow, PgConnection, Postgres};
use tokio::time::timeout;

use self::connections::{Caller, Connections};
use self::error::{Damage, Failure, classify};
use crate::store::StoreError;

pub use self::remedy::remedy;

/// On top of the server's own time limit, which is to speak first: its answer leaves the connection usable and says
/// what happened. Silence beyond this means that nobody is there.
const ANSWER_GRACE: Duration = Duration::from_millis(100);

/// For plans that are kept while the tables grow: every table that can grow is read by an index, whatever its size as
/// the plan was made; and no such plan is worth compiling.
const PLANS: [(&str, &str); 2] = [("enable_seqscan", "off"), ("jit", "off")];

const ISOLATION: [(&str, &str); 1] = [("default_transaction_isolation", "read committed")];

#[derive(Debug, Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database?sslmode=…`
    pub url: SecretString,
    pub max_connections: u32,
    /// Behind PgBouncer in transaction mode. Costs three more round trips for each statement; see [`PostgresStore`].
    pub transaction_pooler: bool,
    /// The server ends a statement that runs longer, and one that waits for a lock for two fifths of it.
    pub statement_timeout: Duration,
}

/// How statements are sent. Directly: prepared once per connection, one round trip each, with the time limits given as
/// the connection opens. Behind a transaction pooler two messages of ours may reach two different servers: a prepared
/// statement is not there, or is somebody else's, and what was set on a connection is gone. So there each statement is
/// unnamed and stands in an explicit transaction, which also sets the time limits.
pub struct PostgresStore {
    connections: Connections,
    /// Without time limits, for the migrator's own connection.
    options: PgConnectOptions,
    mode: Mode,
    statement_timeout: Duration,
    max_connections: u32,
}

enum Mode {
    Direct,
    TransactionPooler { begin: Arc<str> },
}

type Statement<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

impl PostgresStore {
    /// Opens no connection yet, so it succeeds while the database is down. Needs tokio's runtime.
    ///
    /// # Errors
    /// If the url cannot be read; the error does not show it.
    pub fn connect(config: &Config) -> Result<Self, StoreError> {
        let options = url::parse(&config.url)?.hosts.swap_remove(0);
        let statement_ms = config.statement_timeout.as_millis().max(2);
        let lock_ms = lock_ms(statement_ms);
        let (mode, pooled) = if config.transaction_pooler {
            let begin = format!(
                "begin isolation level read committed; \
                 set local statement_timeout = {statement_ms}; set local lock_timeout = {lock_ms}"
            );
            (Mode::TransactionPooler { begin: begin.into() }, options.clone())
        } else {
            let limits = [("statement_timeout", statement_ms), ("lock_timeout", lock_ms)];
            (Mode::Direct, options.clone().options(limits).options(PLANS).options(ISOLATION))
        };
        Ok(Self {
            connections: Connections::new(pooled, config.max_connections, config.statement_timeout),
            options,
            mode,
            statement_timeout: config.statement_timeout,
            max_connections: config.max_connections,
        })
    }

    /// Runs one statement, committed when this returns. Whatever happens meanwhile, a connection on which it did not
    /// come to its end is closed.
    async fn fetch<Row>(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError>
    where
        Row: for<'r> FromRow<'r, PgRow>,
    {
        self.fetch_for(Caller::Other, statement).await
    }

    async fn fetch_for<Row>(&self, caller: Caller, statement: Statement<'_>) -> Result<Vec<Row>, StoreError>
    where
        Row: for<'r> FromRow<'r, PgRow>,
    {
        let mut lease = self.connections.lease(caller).await?;
        let patience = self.statement_timeout + ANSWER_GRACE;
        let outcome = timeout(patience, self.run(lease.connection(), statement))
            .await
            .unwrap_or_else(|_| Err(Failure::no_answer(patience)));
        lease.give_back(outcome.as_ref().err().map_or(Damage::None, |failure| failure.damage));
        let rows = outcome.map_err(|failure| failure.error)?;
        rows.iter().map(Row::from_row).collect::<Result<_, _>>().map_err(classify)
    }

    /// [`PostgresStore::fetch`] for statements that give exactly one row.
    async fn fetch_one<Row>(&self, statement: Statement<'_>) -> Result<Row, StoreError>
    where
        Row: for<'r> FromRow<'r, PgRow>,
    {
        self.fetch(statement).await?.pop().ok_or_else(|| classify(sqlx::Error::RowNotFound))
    }

    /// [`PostgresStore::fetch`] for statements of which only the number of rows they give matters.
    async fn count(&self, statement: Statement<'_>) -> Result<u64, StoreError> {
        Ok(self.fetch::<()>(statement).await?.len() as u64)
    }

    /// Whether a statement gave a row: those that change one on a condition return it.
    async fn has_row(&self, statement: Statement<'_>) -> Result<bool, StoreError> {
        Ok(self.count(statement).await? > 0)
    }

    async fn run(&self, connection: &mut PgConnection, statement: Statement<'_>) -> Result<Vec<PgRow>, Failure> {
        let Mode::TransactionPooler { begin } = &self.mode else {
            return Ok(statement.persistent(true).fetch_all(connection).await?);
        };
        sqlx::raw_sql(AssertSqlSafe(Arc::clone(begin))).execute(&mut *connection).await?;
        match statement.persistent(false).fetch_all(&mut *connection).await {
            Ok(rows) => {
                sqlx::raw_sql("commit").execute(connection).await?;
                Ok(rows)
            }
            Err(error) => {
                let mut failure = Failure::from(error);
                if failure.damage == Damage::None && sqlx::raw_sql("rollback").execute(connection).await.is_err() {
                    failure.damage = Damage::Connection;
                }
                Err(failure)
            }
        }
    }
}

/// Reads a URL as [`PostgresStore::connect`] does, and connects to nothing.
///
/// # Errors
/// If `connect` would refuse the URL; the error shows nothing of the password.
pub fn check_url(url: &SecretString) -> Result<(), StoreError> {
    url::parse(url).map(drop)
}

const fn lock_ms(statement_ms: u128) -> u128 {
    let lock_ms = statement_ms * 2 / 5;
    if lock_ms == 0 { 1 } else { lock_ms }
}

/// Without the connection's options, which hold the password.
impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("connections", &self.connections).finish_non_exhaustive()
    }
}
