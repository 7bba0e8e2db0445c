//! What a deployment's Postgres, or a pooler in front of it, has set otherwise than this program counts on.

use std::time::Duration;

use sqlx::FromRow;

use super::PostgresStore;
use crate::store::StoreError;

/// What is in force within a statement of ours, whoever set it.
const IN_FORCE: &str = r"
select quote_ident(current_user) as role,
       current_setting('transaction_isolation') as isolation,
       current_setting('synchronous_commit') as synchronous_commit,
       (select setting::bigint from pg_settings where name = 'statement_timeout') as statement_timeout_ms";

#[derive(FromRow)]
struct InForce {
    role: String,
    isolation: String,
    synchronous_commit: String,
    statement_timeout_ms: i64,
}

impl PostgresStore {
    /// One line for each problem, with the SQL that ends it. Nothing here keeps the server from working.
    pub async fn deployment_warnings(&self) -> Result<Vec<String>, StoreError> {
        let in_force: InForce = self.fetch_one(sqlx::query(IN_FORCE)).await?;
        Ok(in_force.warnings(self.statement_timeout))
    }
}

impl InForce {
    fn warnings(&self, statement_timeout: Duration) -> Vec<String> {
        let role = &self.role;
        let wanted_ms = statement_timeout.as_millis();
        let mut warnings = Vec::new();
        // It was asked for when the connection opened; poolers can be told to drop that silently.
        if self.statement_timeout_ms == 0 || i128::from(self.statement_timeout_ms) > wanted_ms.cast_signed() {
            warnings.push(format!(
                "the database does not end statements after {wanted_ms} ms, so that a stuck one holds its connection; \
                 run: alter role {role} set statement_timeout = '{wanted_ms}ms';"
            ));
        }
        if self.isolation != "read committed" {
            warnings.push(format!(
                "the transaction isolation is {}, under which concurrent logins fail and are repeated; \
                 run: alter role {role} set default_transaction_isolation = 'read committed';",
                self.isolation
            ));
        }
        // remote_apply waits for more than on does; the others for less.
        if !matches!(self.synchronous_commit.as_str(), "on" | "remote_apply") {
            warnings.push(format!(
                "synchronous_commit is {}, so that a crash can lose sessions that were already answered; \
                 run: alter role {role} set synchronous_commit = on;",
                self.synchronous_commit
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_deployment_gives_no_warning_and_each_problem_one_with_its_remedy() {
        let good = InForce {
            role: "login".to_owned(),
            isolation: "read committed".to_owned(),
            synchronous_commit: "on".to_owned(),
            statement_timeout_ms: 500,
        };
        assert!(good.warnings(Duration::from_millis(500)).is_empty());
        let bad = InForce {
            role: "\"Log In\"".to_owned(),
            isolation: "serializable".to_owned(),
            synchronous_commit: "off".to_owned(),
            statement_timeout_ms: 0,
        };
        let warnings = bad.warnings(Duration::from_millis(500));
        let remedies = [
            "alter role \"Log In\" set statement_timeout = '500ms';",
            "alter role \"Log In\" set default_transaction_isolation = 'read committed';",
            "alter role \"Log In\" set synchronous_commit = on;",
        ];
        assert_eq!(warnings.len(), remedies.len());
        assert!(warnings.iter().zip(remedies).all(|(warning, remedy)| warning.ends_with(remedy)), "{warnings:#?}");
    }
}
