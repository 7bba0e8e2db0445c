//! Which database this is. A server that finds another one in the place of its own has keys that are not in it: what it
//! wrote there, nobody could read again, and one number would become two users. So every new connection is asked, and
//! the connections that there are every second.

use std::sync::OnceLock;

use sqlx::{PgConnection, Row};

use super::PostgresStore;
use super::connections::Caller;
use super::error::classify;
use crate::ids::DeploymentId;
use crate::store::StoreError;

/// The first of all that start on a new database gives it its identity.
const CLAIM: &str = r"
insert into deployment (id)
values ($1)
on conflict do nothing";

/// As text, which sqlx need not look up behind a transaction pooler.
const READ: &str = "select id::text from deployment";

/// The database that this server belongs to, once it is known.
#[derive(Debug, Default)]
pub(super) struct Identity(OnceLock<String>);

impl Identity {
    /// Fails with [`StoreError::Replaced`] if the connection leads to another database.
    pub async fn check(&self, connection: &mut PgConnection) -> Result<(), StoreError> {
        let Some(own) = self.0.get() else { return Ok(()) };
        // By the simple protocol, as one message: a pooler may lead two to two servers.
        let found = match sqlx::raw_sql(READ).fetch_optional(connection).await.map_err(classify) {
            Ok(row) => row.map(|row| row.try_get::<String, _>(0)).transpose().map_err(classify)?,
            // Without the table it is another one, too.
            Err(StoreError::Schema(_)) => None,
            Err(error) => return Err(error),
        };
        if found.as_ref() == Some(own) { Ok(()) } else { Err(StoreError::Replaced) }
    }
}

impl PostgresStore {
    pub(super) async fn claim_deployment(&self, candidate: DeploymentId) -> Result<(), StoreError> {
        self.count(sqlx::query(CLAIM).bind(candidate.0)).await?;
        let (found,): (String,) = self.fetch_one(Caller::Control, sqlx::query(READ)).await?;
        self.connections.identity.0.get_or_init(|| found);
        Ok(())
    }

    pub(super) async fn check_deployment(&self) -> Result<(), StoreError> {
        let checked = self.connections.check_identity().await;
        if matches!(checked, Err(StoreError::Replaced)) {
            self.connections.distrust_all();
        }
        checked
    }
}
