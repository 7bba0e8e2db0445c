//! What a deployment's Postgres, or a pooler in front of it, has set, beside what this program counts on. One place for
//! what `serve` warns of and what `doctor` says.

mod link;

use std::time::Duration;

use sqlx::FromRow;

use self::link::{LINK, Link};
use super::connections::{CONTROL_CONNECTIONS, Caller};
use super::{Mode, PostgresStore, lock_ms, pooler, schema};
use crate::finding::Finding;
use crate::store::StoreError;

/// What is in force within a statement of ours, whoever set it. `reserved_connections` is there since Postgres 16.
const IN_FORCE: &str = r"
select quote_ident(current_user) as role,
       quote_ident(current_database()) as database,
       split_part(current_setting('server_version'), ' ', 1) as version,
       current_setting('server_encoding') as encoding,
       pg_is_in_recovery() as is_standby,
       current_setting('transaction_read_only')::boolean as is_read_only,
       current_setting('fsync') as fsync,
       current_setting('full_page_writes') as full_page_writes,
       current_setting('synchronous_commit') as synchronous_commit,
       current_setting('transaction_isolation') as isolation,
       (select setting::bigint from pg_settings where name = 'statement_timeout') as statement_timeout_ms,
       (select setting::bigint from pg_settings where name = 'lock_timeout') as lock_timeout_ms,
       (select setting::bigint from pg_settings where name = 'idle_in_transaction_session_timeout') as idle_timeout_ms,
       current_setting('max_connections')::bigint as max_connections,
       current_setting('superuser_reserved_connections')::bigint
           + coalesce(current_setting('reserved_connections', true), '0')::bigint as reserved,
       (select rolconnlimit::bigint from pg_roles where rolname = current_user) as role_limit,
       (select datconnlimit::bigint from pg_database where datname = current_database()) as database_limit,
       (select count(*) from pg_stat_activity where datid is not null and usename <> current_user) as others,
       (select string_agg(relname::text, ', ' order by relname)
        from pg_class
        where relkind = 'r'
          and relnamespace = (select relnamespace from pg_class where oid = to_regclass('_sqlx_migrations'))
          and relname <> '_sqlx_migrations'
          and not (has_table_privilege(oid, 'select') and has_table_privilege(oid, 'insert')
                   and has_table_privilege(oid, 'update') and has_table_privilege(oid, 'delete'))) as out_of_reach";

#[derive(FromRow, Clone)]
struct InForce {
    role: String,
    database: String,
    version: String,
    encoding: String,
    is_standby: bool,
    is_read_only: bool,
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
    isolation: String,
    /// Here and below, 0 stands for never.
    statement_timeout_ms: i64,
    lock_timeout_ms: i64,
    idle_timeout_ms: i64,
    max_connections: i64,
    reserved: i64,
    /// Here and below, negative for none.
    role_limit: i64,
    database_limit: i64,
    /// Connections that stand, of other roles.
    others: i64,
    /// Tables that the role may not read and write, of the schema that holds ours.
    out_of_reach: Option<String>,
}

/// What this program asks for.
#[derive(Debug, Clone)]
struct Wanted {
    statement_timeout: Duration,
    transaction_pooler: bool,
    max_connections: u32,
    replicas: u32,
}

impl PostgresStore {
    pub(super) async fn read_deployment(&self, replicas: u32) -> Result<Vec<Finding>, StoreError> {
        let in_force: InForce = self.fetch_one(Caller::Control, sqlx::query(IN_FORCE)).await?;
        let transaction_pooler = matches!(self.mode, Mode::TransactionPooler { .. });
        let (statement_timeout, max_connections) = (self.statement_timeout, self.max_connections);
        let mut findings =
            in_force.findings(&Wanted { statement_timeout, transaction_pooler, max_connections, replicas });
        let link: Link = self.fetch_one(Caller::Control, sqlx::query(LINK)).await?;
        findings.extend(link.findings(&self.address.current()));
        findings.push(pooler::look_for(&self.address.current(), transaction_pooler).await);
        Ok(findings)
    }
}

impl InForce {
    fn findings(&self, wanted: &Wanted) -> Vec<Finding> {
        let mut findings = vec![self.server()];
        findings.extend(self.durability());
        findings.extend(self.time_outs(wanted));
        findings.push(self.isolation());
        findings.push(self.connections(wanted));
        findings
    }

    fn server(&self) -> Finding {
        let Self { version, role, database, .. } = self;
        if self.is_standby {
            let advice = "give database.url the host of the primary";
            return Finding::fail(
                "database",
                format!("PostgreSQL {version} is a standby, which takes no writes"),
                advice,
            );
        }
        if self.is_read_only {
            let message = format!("PostgreSQL {version} takes no writes: default_transaction_read_only is on");
            let advice = format!(
                "run: alter role {role} set default_transaction_read_only = off; \
                 or see why whoever runs the server has switched it on"
            );
            return Finding::fail("database", message, advice);
        }
        if self.encoding != schema::ENCODING {
            return Finding::fail("database", schema::other_encoding(&self.encoding), schema::ENCODING_REMEDY);
        }
        if let Some(tables) = &self.out_of_reach {
            let advice = format!(
                "run, as the role that migrates: \
                 grant select, insert, update, delete on all tables in schema public to {role};"
            );
            let message = format!("the role {role} may not read and write: {tables}");
            return Finding::fail("database", message, advice);
        }
        Finding::ok("database", format!("reachable, PostgreSQL {version}, as {role} in {database}"))
    }

    fn durability(&self) -> Vec<Finding> {
        let (role, mut findings) = (&self.role, Vec::new());
        if self.fsync == "off" {
            findings.push(Finding::fail(
                "durability",
                "fsync is off, so that a crash of the database's machine can destroy the database",
                "take fsync = off out of the server's configuration and reload it; alter system set fsync = on; does it too",
            ));
        }
        if self.full_page_writes == "off" {
            findings.push(Finding::warn(
                "durability",
                "full_page_writes is off, so that a crash can leave torn pages, unless the file system writes whole pages",
                "run: alter system set full_page_writes = on; select pg_reload_conf();",
            ));
        }
        let on = format!("run: alter role {role} set synchronous_commit = on;");
        match self.synchronous_commit.as_str() {
            // remote_apply waits for more than on does.
            "on" | "remote_apply" => {}
            "off" => findings.push(Finding::fail(
                "durability",
                "synchronous_commit is off, so that a crash can lose sessions that were already answered",
                on,
            )),
            weaker => findings.push(Finding::warn(
                "durability",
                format!(
                    "synchronous_commit is {weaker}, so that a failover to a synchronous standby can lose sessions \
                     that were already answered"
                ),
                on,
            )),
        }
        if findings.is_empty() {
            let message = format!("fsync on, synchronous_commit {}, full_page_writes on", self.synchronous_commit);
            findings.push(Finding::ok("durability", message));
        }
        findings
    }

    /// They were asked for when the connection opened; poolers can be told to drop that silently.
    fn time_outs(&self, wanted: &Wanted) -> Vec<Finding> {
        let (role, mut findings) = (&self.role, Vec::new());
        let statement_ms = wanted.statement_timeout.as_millis();
        let lock_ms = lock_ms(statement_ms);
        let late = |in_force: i64, wanted_ms: u128| in_force == 0 || i128::from(in_force) > wanted_ms.cast_signed();
        if late(self.statement_timeout_ms, statement_ms) {
            findings.push(Finding::warn(
                "time-outs",
                format!(
                    "the database does not end statements after {statement_ms} ms, so that a stuck one holds its connection"
                ),
                format!("run: alter role {role} set statement_timeout = '{statement_ms}ms';"),
            ));
        }
        if late(self.lock_timeout_ms, lock_ms) {
            findings.push(Finding::warn(
                "time-outs",
                format!(
                    "the database does not end waits for a lock after {lock_ms} ms, so that one lock stops all logins"
                ),
                format!("run: alter role {role} set lock_timeout = '{lock_ms}ms';"),
            ));
        }
        // Only behind a pooler do statements of ours stand in a transaction that somebody must end.
        if wanted.transaction_pooler && self.idle_timeout_ms == 0 {
            findings.push(Finding::warn(
                "time-outs",
                "the database never ends an idle transaction, so that one whose replica has vanished keeps its locks",
                format!("run: alter role {role} set idle_in_transaction_session_timeout = '5s';"),
            ));
        }
        if findings.is_empty() {
            let message = format!("statements end after {statement_ms} ms, waits for a lock after {lock_ms} ms");
            findings.push(Finding::ok("time-outs", message));
        }
        findings
    }

    fn isolation(&self) -> Finding {
        let Self { role, isolation, .. } = self;
        if isolation == "read committed" {
            return Finding::ok("isolation", "read committed");
        }
        Finding::warn(
            "isolation",
            format!("the transaction isolation is {isolation}, under which concurrent logins fail and are repeated"),
            format!("run: alter role {role} set default_transaction_isolation = 'read committed';"),
        )
    }

    fn connections(&self, wanted: &Wanted) -> Finding {
        let Self { max_connections, reserved, others, role, database, .. } = self;
        let (each, control) = (i64::from(wanted.max_connections), i64::from(CONTROL_CONNECTIONS));
        let replicas = i64::from(wanted.replicas);
        let needed = (each + control) * replicas;
        let what = format!("{replicas} x ({each} (database.max_connections) + {control}) = {needed} connections");
        let server = max_connections - reserved;
        if wanted.transaction_pooler {
            let message =
                format!("a pooler's own limits count: {what} to it, and at most {server} from it to Postgres");
            return Finding::skip("connections", message);
        }
        let limits = [
            (server, format!("the server's max_connections, {max_connections} less {reserved} reserved")),
            (self.role_limit, format!("the connection limit of the role {role}")),
            (self.database_limit, format!("the connection limit of the database {database}")),
        ];
        let lowest = limits.into_iter().filter(|(limit, _)| *limit >= 0).min_by_key(|(limit, _)| *limit);
        let (limit, whose) = lowest.unwrap_or_default();
        let advice = |left: i64| {
            let most = (left / replicas - control).max(1);
            format!("set database.max_connections to {most} or less, raise that limit, or put PgBouncer in between")
        };
        if needed > limit {
            let message = format!("{what} are more than {limit}, {whose}");
            return Finding::fail("connections", message, advice(limit));
        }
        let left = server - others;
        if needed > left {
            let message = format!("{what} do not fit beside the {others} that others hold of the server's {server}");
            return Finding::warn("connections", message, advice(left));
        }
        Finding::ok("connections", format!("{what} fit into {limit}, {whose}; others hold {others}"))
    }
}

#[cfg(test)]
mod tests;
