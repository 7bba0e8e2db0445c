//! The trait, method by method: each a line to the file of its table, for reading on the readers or for writing in a
//! transaction of its own. It knows no SQL.

use async_trait::async_trait;
use time::{Date, OffsetDateTime};

use super::error::Failure;
use super::{
    SqliteStore, apps, deployment, erasure, finding, health, identity, keys, opening, schema, sessions, tenant_tokens,
    tickets, users, verifier_budget,
};
use crate::finding::Finding;
use crate::ids::{ClientId, DeploymentId, SessionId, UserId};
use crate::session_token::TokenHash;
use crate::store::{
    App, DataKey, DeadAnswers, NewDataKey, NewSession, NewTenantToken, NewTicket, OpenSessions, Outcome, PoolState,
    Reservation, ReserveCalls, Rotation, Schema, SessionKey, SessionSummary, SigningKeyRow, Store, StoreError,
    StoredSession, User, UserKey, UserStatus,
};

/// Runs a function over the writer's connection in a transaction, which is durable before this has a result. (A macro
/// because no closure can promise a future that borrows the connection and can be sent to another thread.)
macro_rules! in_transaction {
    ($store:expr, $function:path $(, $argument:expr)*) => {
        $store
            .limited(async {
                let mut transaction = $store.writer.begin().await?;
                let result = $function(transaction.connection() $(, $argument)*).await?;
                transaction.commit().await?;
                Ok(result)
            })
            .await
    };
}

#[async_trait]
impl OpenSessions for SqliteStore {
    async fn open_sessions(&self, sessions: &[NewSession]) -> Result<Vec<Outcome>, StoreError> {
        in_transaction!(self, opening::open, sessions)
    }

    async fn probe_sessions(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        in_transaction!(self, opening::probe, now)
    }
}

#[async_trait]
impl ReserveCalls for SqliteStore {
    async fn reserve_calls(&self, day: Date, calls: u32, limit: u64) -> Result<Reservation, StoreError> {
        in_transaction!(self, verifier_budget::reserve, day, calls, limit)
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn pool_state(&self) -> PoolState {
        self.connection_state()
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        schema::migrate(&self.options).await.map_err(|Failure(error)| error)
    }

    async fn check_schema(&self) -> Result<Schema, StoreError> {
        self.limited(schema::check(&self.readers)).await
    }

    async fn database_time(&self) -> Result<OffsetDateTime, StoreError> {
        self.limited(health::database_time(&self.readers)).await
    }

    async fn claim_identity(&self, candidate: DeploymentId) -> Result<(), StoreError> {
        let id = in_transaction!(self, identity::claim, candidate)?;
        let remembered = self.identity.remember(id, self.options.get_filename()).await;
        remembered.map_err(|error| StoreError::Unavailable(error.into()))
    }

    async fn check_identity(&self) -> Result<(), StoreError> {
        self.unchecked(self.identity.check(&self.readers)).await
    }

    async fn find_session(
        &self,
        key: SessionKey,
        now: OffsetDateTime,
        count_newer_to: u32,
    ) -> Result<Option<StoredSession>, StoreError> {
        self.limited(finding::find(&self.readers, key, now, count_newer_to)).await
    }

    async fn mark_session_used(&self, id: SessionId, now: OffsetDateTime) -> Result<(), StoreError> {
        in_transaction!(self, sessions::mark_used, id, now)
    }

    async fn rotate_session(&self, rotation: &Rotation) -> Result<bool, StoreError> {
        in_transaction!(self, sessions::rotate, rotation)
    }

    async fn revoke_session(&self, id: SessionId, now: OffsetDateTime) -> Result<bool, StoreError> {
        in_transaction!(self, sessions::revoke, id, now)
    }

    async fn revoke_sessions_of_client(
        &self,
        client_id: &ClientId,
        now: OffsetDateTime,
        limit: u32,
    ) -> Result<u64, StoreError> {
        in_transaction!(self, sessions::revoke_of_client, client_id, now, limit)
    }

    async fn end_sessions_of_user(&self, id: UserId, now: OffsetDateTime) -> Result<bool, StoreError> {
        in_transaction!(self, users::end_sessions, id, now)
    }

    async fn sessions_of_user(&self, id: UserId, now: OffsetDateTime) -> Result<Vec<SessionSummary>, StoreError> {
        self.limited(finding::of_user(&self.readers, id, now)).await
    }

    /// One transaction for each kind, so that the logins that wait for the writer get their turn in between.
    async fn forget_answers(&self, dead: &DeadAnswers, limit: u32) -> Result<u64, StoreError> {
        in_transaction!(self, sessions::forget_answers, dead, limit)
    }

    async fn purge(&self, now: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
        Ok(in_transaction!(self, sessions::purge, now, limit)?
            + in_transaction!(self, tickets::purge, now, limit)?
            + in_transaction!(self, tenant_tokens::purge, now, limit)?)
    }

    async fn find_user(&self, key: UserKey) -> Result<Option<User>, StoreError> {
        self.limited(users::find(&self.readers, key)).await
    }

    async fn set_user_status(&self, id: UserId, status: UserStatus, now: OffsetDateTime) -> Result<bool, StoreError> {
        in_transaction!(self, users::set_status, id, status, now)
    }

    async fn erase_user(&self, id: UserId, now: OffsetDateTime) -> Result<bool, StoreError> {
        in_transaction!(self, erasure::erase, id, now)
    }

    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.limited(apps::all(&self.readers)).await
    }

    async fn find_app(&self, client_id: &ClientId) -> Result<Option<App>, StoreError> {
        self.limited(apps::find(&self.readers, client_id)).await
    }

    async fn register_app(&self, app: &App, now: OffsetDateTime) -> Result<bool, StoreError> {
        in_transaction!(self, apps::register, app, now)
    }

    async fn add_app(&self, app: &App, now: OffsetDateTime) -> Result<bool, StoreError> {
        in_transaction!(self, apps::add, app, now)
    }

    async fn set_app_enabled(
        &self,
        client_id: &ClientId,
        enabled: bool,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        in_transaction!(self, apps::set_enabled, client_id, enabled, now)
    }

    async fn ensure_data_keys(&self, candidates: &[NewDataKey]) -> Result<Vec<DataKey>, StoreError> {
        in_transaction!(self, keys::ensure_data_keys, candidates)
    }

    async fn data_keys(&self) -> Result<Vec<DataKey>, StoreError> {
        self.limited(keys::data_keys(&self.readers)).await
    }

    async fn rewrap_data_key(&self, id: u32, from: &[u8], to: &[u8]) -> Result<bool, StoreError> {
        in_transaction!(self, keys::rewrap_data_key, id, from, to)
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        self.limited(keys::signing_keys(&self.readers)).await
    }

    async fn add_signing_key(&self, key: &SigningKeyRow) -> Result<bool, StoreError> {
        in_transaction!(self, keys::add_signing_key, key)
    }

    async fn remove_signing_key(&self, kid: &str) -> Result<bool, StoreError> {
        in_transaction!(self, keys::remove_signing_key, kid)
    }

    async fn add_tenant_token(&self, token: &NewTenantToken) -> Result<(), StoreError> {
        in_transaction!(self, tenant_tokens::add, token)
    }

    async fn find_tenant(&self, token: &TokenHash, now: OffsetDateTime) -> Result<Option<ClientId>, StoreError> {
        self.limited(tenant_tokens::find_tenant(&self.readers, token, now)).await
    }

    async fn add_ticket(&self, ticket: &NewTicket) -> Result<(), StoreError> {
        in_transaction!(self, tickets::add, ticket)
    }

    async fn find_ticket(
        &self,
        ticket: &TokenHash,
        device_fingerprint: &str,
        tenant: &ClientId,
        now: OffsetDateTime,
    ) -> Result<Option<SessionId>, StoreError> {
        self.limited(tickets::find(&self.readers, ticket, device_fingerprint, tenant, now)).await
    }

    async fn use_ticket(
        &self,
        ticket: &TokenHash,
        device_fingerprint: &str,
        tenant: &ClientId,
        now: OffsetDateTime,
    ) -> Result<Option<SessionId>, StoreError> {
        in_transaction!(self, tickets::consume, ticket, device_fingerprint, tenant, now)
    }

    /// Made for one node: there is no number of replicas.
    async fn look_at_deployment(&self, _replicas: u32) -> Result<Vec<Finding>, StoreError> {
        let path = self.options.get_filename();
        self.limited(deployment::look_at(&self.readers, path)).await
    }

    fn remedy(&self, _error: &StoreError) -> Option<String> {
        None
    }

    async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}
