//! Who holds a lock that a migration waits for, in words for an operator.

use std::fmt;

use sqlx::{FromRow, PgConnection};

/// A session that says nothing for so long between two statements is not at work on a migration.
const IDLE_SECONDS: i64 = 2;

/// Of this database's sessions that hold a lock of a kind, the one whose transaction is the oldest. What the role may
/// not see of another role's session is null.
const HOLDER: &str = r"
select locks.pid,
       activity.usename::text as role,
       nullif(activity.application_name, '') as program,
       host(activity.client_addr) as address,
       activity.state,
       extract(epoch from clock_timestamp() - activity.state_change)::bigint as seconds
from pg_locks as locks
left join pg_stat_activity as activity using (pid)
where locks.locktype = $1
  and locks.granted
  and locks.pid <> pg_backend_pid()
  and locks.database = (select oid from pg_database where datname = current_database())
  and coalesce(locks.relation::bigint, 16384) >= 16384
order by activity.xact_start nulls last, activity.state_change nulls last
limit 1";

#[derive(Debug, FromRow)]
pub(super) struct Holder {
    pid: i32,
    role: Option<String>,
    program: Option<String>,
    address: Option<String>,
    state: Option<String>,
    /// Since when it is in that state.
    seconds: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Lock {
    /// The one that migrations of all processes take turns by.
    Migrations,
    /// Of a table that a migration changes.
    Table,
}

impl Lock {
    const fn as_postgres_calls_it(self) -> &'static str {
        match self {
            Self::Migrations => "advisory",
            Self::Table => "relation",
        }
    }
}

/// `None` too where it has just let go.
pub(super) async fn find(connection: &mut PgConnection, lock: Lock) -> Result<Option<Holder>, sqlx::Error> {
    sqlx::query_as(HOLDER).bind(lock.as_postgres_calls_it()).fetch_optional(connection).await
}

impl Holder {
    /// Whether it holds the lock and does nothing, outside of a transaction: nobody is there who would let go.
    pub fn is_idle(&self) -> bool {
        self.state.as_deref() == Some("idle") && self.seconds.is_some_and(|seconds| seconds >= IDLE_SECONDS)
    }

    /// What ends it.
    pub fn remedy(&self) -> String {
        format!("run: select pg_terminate_backend({});", self.pid)
    }
}

/// `pid 7 of the role login from 10.0.0.7 (psql), idle in transaction for 40 s`
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        for (before, value, after) in
            [(" of the role ", &self.role, ""), (" from ", &self.address, ""), (" (", &self.program, ")")]
        {
            if let Some(value) = value {
                write!(f, "{before}{value}{after}")?;
            }
        }
        match (&self.state, self.seconds) {
            (Some(state), Some(seconds)) => write!(f, ", {state} for {seconds} s"),
            _ => f.write_str(", of which this role may not see what it does"),
        }
    }
}
