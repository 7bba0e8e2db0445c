//! The production store: Postgres, directly or behind a pooler in transaction mode.
//!
//! Here is the one place that runs a statement (`PostgresStore::fetch`); the SQL lives with its table in the other
//! files, and `methods` leads from the trait to them. Every statement is its own transaction: nothing is held between
//! two of them, so nothing can be left behind.

mod address;
mod apps;
mod connections;
mod deployment;
mod erasure;
mod error;
mod finding;
mod host;
mod identity;
mod keys;
mod lock_holder;
mod methods;
mod notices;
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
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, Connection, Execute, FromRow, PgConnection, Postgres, SqlStr};
use tokio::time::timeout;

use self::address::Address;
use self::connections::{Caller, Connections, Lease};
use self::error::{Damage, Failure, Warned, classify};
use crate::store::StoreError;

pub use self::address::UrlAgain;
pub use self::notices::{NoticeLayer, TARGET as NOTICE_TARGET};
pub use self::remedy::remedy;

/// On top of the server's own time limit, which is to speak first: its answer leaves the connection usable and says
/// what happened. Silence beyond this means that nobody is there.
const ANSWER_GRACE: Duration = Duration::from_millis(100);

/// For plans that are kept while the tables grow: every table that can grow is read by an index, whatever its size as
/// the plan was made; and no such plan is worth compiling.
const PLANS: [(&str, &str); 2] = [("enable_seqscan", "off"), ("jit", "off")];

/// See [`PostgresStore::commit_behind`]. The message is read by nobody; it is what makes the transaction one that writes.
/// As text, which sqlx need not look up: between preparing a statement and running it nothing else may be asked of a
/// transaction pooler.
const COMMIT_BEHIND: &str = "select pg_logical_emit_message(true, 'oneclick-login', '')::text";

const ISOLATION: [(&str, &str); 1] = [("default_transaction_isolation", "read committed")];

#[derive(Debug, Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database?sslmode=…`
    pub url: SecretString,
    /// Asked when no connection can be made; `None`: the URL stays.
    pub url_again: Option<UrlAgain>,
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
    /// Also for connections without time limits: the migrator's, and that which looks for a pooler.
    address: Arc<Address>,
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
        let address = Arc::new(Address::new(config)?);
        let statement_ms = config.statement_timeout.as_millis().max(2);
        let lock_ms = lock_ms(statement_ms);
        let (mode, parameters) = if config.transaction_pooler {
            let begin = format!(
                "begin isolation level read committed; \
                 set local statement_timeout = {statement_ms}; set local lock_timeout = {lock_ms}"
            );
            (Mode::TransactionPooler { begin: begin.into() }, Vec::new())
        } else {
            let limits = [("statement_timeout", statement_ms), ("lock_timeout", lock_ms)];
            let limits = limits.map(|(name, ms)| (name, ms.to_string()));
            let others = PLANS.into_iter().chain(ISOLATION).map(|(name, value)| (name, value.to_owned()));
            (Mode::Direct, limits.into_iter().chain(others).collect())
        };
        let connections =
            Connections::new(Arc::clone(&address), parameters, config.max_connections, config.statement_timeout);
        Ok(Self {
            connections,
            address,
            mode,
            statement_timeout: config.statement_timeout,
            max_connections: config.max_connections,
        })
    }

    /// Runs one statement, committed when this returns. Whatever happens meanwhile, a connection on which it did not
    /// come to its end is closed.
    ///
    /// Where its connection turns out to be dead, or what was prepared on it to be stale, it is repeated once on a new
    /// one: so a second run must answer as the first one did. What does not goes through [`PostgresStore::fetch_once`].
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
        let prepared = Prepared::from(statement)?;
        let mut lease = self.connections.lease(caller).await?;
        let mut outcome = self.attempt(&mut lease, &prepared).await;
        if let Err(failure) = &outcome
            && failure.damage.is_the_connections()
            && lease.is_reused()
        {
            lease = lease.replace(failure.damage).await?;
            outcome = self.attempt(&mut lease, &prepared).await;
            if outcome.is_ok() {
                // The first run may have been committed without a standby having it, so that the second one read it.
                let behind = self.attempt(&mut lease, &Prepared::from(sqlx::query(COMMIT_BEHIND))?).await;
                outcome = behind.and(outcome);
            }
        }
        end(lease, outcome)
    }

    /// For a statement whose second run would answer differently from its first. It is never repeated, but begins on a
    /// connection that has just answered.
    async fn fetch_once<Row>(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreError>
    where
        Row: for<'r> FromRow<'r, PgRow>,
    {
        let prepared = Prepared::from(statement)?;
        let mut lease = self.connections.lease(Caller::Other).await?;
        if lease.is_reused() {
            let answered = timeout(self.statement_timeout, lease.connection().ping()).await;
            if !matches!(answered, Ok(Ok(()))) {
                lease = lease.replace(Damage::Dead).await?;
            }
        }
        let outcome = self.attempt(&mut lease, &prepared).await;
        end(lease, outcome)
    }

    /// [`PostgresStore::fetch`] for statements that give exactly one row.
    async fn fetch_one<Row>(&self, caller: Caller, statement: Statement<'_>) -> Result<Row, StoreError>
    where
        Row: for<'r> FromRow<'r, PgRow>,
    {
        self.fetch_for(caller, statement).await?.pop().ok_or_else(|| classify(sqlx::Error::RowNotFound))
    }

    /// [`PostgresStore::fetch`] for statements of which only the number of rows they give matters.
    async fn count(&self, statement: Statement<'_>) -> Result<u64, StoreError> {
        Ok(self.fetch::<()>(statement).await?.len() as u64)
    }

    /// Whether a statement gave a row: those that change one on a condition return it.
    async fn has_row(&self, statement: Statement<'_>) -> Result<bool, StoreError> {
        Ok(self.count(statement).await? > 0)
    }

    /// [`PostgresStore::has_row`] for a statement that must not be repeated.
    async fn has_row_once(&self, statement: Statement<'_>) -> Result<bool, StoreError> {
        Ok(!self.fetch_once::<()>(statement).await?.is_empty())
    }

    /// Commits something of its own. What was read before it, and may have been committed by a try whose answer was lost,
    /// is on the synchronous standby once this returns: the standby takes commits in their order.
    async fn commit_behind(&self) -> Result<(), StoreError> {
        self.count(sqlx::query(COMMIT_BEHIND)).await.map(drop)
    }

    async fn attempt(&self, lease: &mut Lease<'_>, prepared: &Prepared) -> Result<Vec<PgRow>, Failure> {
        let patience = self.statement_timeout + ANSWER_GRACE;
        let statement = sqlx::query_with(prepared.sql.clone(), prepared.arguments.clone());
        let run = notices::watch(timeout(patience, self.run(lease.connection(), statement)));
        match run.await {
            (Ok(Ok(_)), true) => Err(Failure { error: StoreError::Unavailable(Warned.into()), damage: Damage::None }),
            (Ok(outcome), _) => outcome,
            (Err(_), _) => Err(Failure::no_answer(patience)),
        }
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

/// Whether a host of the URL is on another machine, and the way to it is not encrypted or anybody may be at its end.
/// `false` for a URL that cannot be read.
pub fn is_exposed(url: &SecretString) -> bool {
    url::parse(url)
        .is_ok_and(|target| target.hosts.iter().any(|host| !(host::is_local(host) || host::is_verified(host))))
}

/// A statement taken apart, so that it can be run again.
struct Prepared {
    sql: SqlStr,
    arguments: PgArguments,
}

impl Prepared {
    fn from(mut statement: Statement<'_>) -> Result<Self, StoreError> {
        let arguments = statement.take_arguments().map_err(|error| classify(sqlx::Error::Encode(error)))?;
        Ok(Self { sql: statement.sql(), arguments: arguments.unwrap_or_default() })
    }
}

fn end<Row>(lease: Lease<'_>, outcome: Result<Vec<PgRow>, Failure>) -> Result<Vec<Row>, StoreError>
where
    Row: for<'r> FromRow<'r, PgRow>,
{
    lease.give_back(outcome.as_ref().err().map_or(Damage::None, |failure| failure.damage));
    let rows = outcome.map_err(|failure| failure.error)?;
    rows.iter().map(Row::from_row).collect::<Result<_, _>>().map_err(classify)
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
