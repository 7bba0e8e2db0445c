//! The trait, method by method: each a line to the file of its table. It knows no SQL.

use async_trait::async_trait;
use time::{Date, OffsetDateTime};

use super::connections::Caller;
use super::error::Warned;
use super::{Mode, PostgresStore, notices, remedy, schema};
use crate::finding::Finding;
use crate::ids::{ClientId, DeploymentId, SessionId, UserId};
use crate::session_token::TokenHash;
use crate::store::{
    App, DataKey, DeadAnswers, NewDataKey, NewSession, NewTenantToken, NewTicket, OpenSessions, Outcome, PoolState,
    Reservation, ReserveCalls, Rotation, Schema, SessionKey, SessionSummary, SigningKeyRow, Store, StoreError,
    StoredSession, User, UserKey, UserStatus,
};

#[async_trait]
impl OpenSessions for PostgresStore {
    async fn open_sessions(&self, sessions: &[NewSession]) -> Result<Vec<Outcome>, StoreError> {
        self.open_batch(sessions).await
    }

    async fn probe_sessions(&self, _: OffsetDateTime) -> Result<(), StoreError> {
        self.probe_opening().await
    }
}

#[async_trait]
impl ReserveCalls for PostgresStore {
    async fn reserve_calls(&self, day: Date, calls: u32, limit: u64) -> Result<Reservation, StoreError> {
        self.add_reserved_calls(day, calls, limit).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn pool_state(&self) -> PoolState {
        self.connections.state()
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let target = self.address.current();
        let migration = schema::migrate(&target, matches!(self.mode, Mode::TransactionPooler { .. }));
        match notices::watch(migration).await {
            (Ok(()), true) => Err(StoreError::Unavailable(Warned.into())),
            (outcome, _) => outcome,
        }
    }

    async fn check_schema(&self) -> Result<Schema, StoreError> {
        self.check_applied_migrations().await
    }

    async fn database_time(&self) -> Result<OffsetDateTime, StoreError> {
        let (now,) = self.fetch_one(Caller::Control, sqlx::query("select clock_timestamp()")).await?;
        Ok(now)
    }

    async fn claim_identity(&self, candidate: DeploymentId) -> Result<(), StoreError> {
        self.claim_deployment(candidate).await
    }

    async fn check_identity(&self) -> Result<(), StoreError> {
        self.check_deployment().await
    }

    async fn find_session(
        &self,
        key: SessionKey,
        now: OffsetDateTime,
        count_newer_to: u32,
    ) -> Result<Option<StoredSession>, StoreError> {
        self.select_session(key, now, count_newer_to).await
    }

    async fn mark_session_used(&self, id: SessionId, now: OffsetDateTime) -> Result<(), StoreError> {
        self.update_first_use(id, now).await
    }

    async fn rotate_session(&self, rotation: &Rotation) -> Result<bool, StoreError> {
        self.update_token(rotation).await
    }

    async fn revoke_session(&self, id: SessionId, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.update_revoked(id, now).await
    }

    async fn revoke_sessions_of_client(
        &self,
        client_id: &ClientId,
        now: OffsetDateTime,
        limit: u32,
    ) -> Result<u64, StoreError> {
        self.update_revoked_of_client(client_id, now, limit).await
    }

    async fn end_sessions_of_user(&self, id: UserId, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.update_user_epoch(id, now).await
    }

    async fn sessions_of_user(&self, id: UserId, now: OffsetDateTime) -> Result<Vec<SessionSummary>, StoreError> {
        self.select_sessions_of_user(id, now).await
    }

    async fn forget_answers(&self, dead: &DeadAnswers, limit: u32) -> Result<u64, StoreError> {
        self.update_sealed_answers(dead, limit).await
    }

    async fn purge(&self, now: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
        self.erase_late_sessions(now, limit).await?;
        Ok(self.delete_dead_sessions(now, limit).await?
            + self.delete_expired_tickets(now, limit).await?
            + self.delete_expired_tenant_tokens(now, limit).await?)
    }

    async fn find_user(&self, key: UserKey) -> Result<Option<User>, StoreError> {
        self.select_user(key).await
    }

    async fn set_user_status(&self, id: UserId, status: UserStatus, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.update_user_status(id, status, now).await
    }

    async fn erase_user(&self, id: UserId, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.erase(id, now).await
    }

    async fn apps(&self) -> Result<Vec<App>, StoreError> {
        self.select_apps().await
    }

    async fn find_app(&self, client_id: &ClientId) -> Result<Option<App>, StoreError> {
        self.select_app(client_id).await
    }

    async fn register_app(&self, app: &App, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.upsert_app(app, now).await
    }

    async fn add_app(&self, app: &App, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.insert_app(app, now).await
    }

    async fn set_app_enabled(
        &self,
        client_id: &ClientId,
        enabled: bool,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        self.update_app_enabled(client_id, enabled, now).await
    }

    async fn ensure_data_keys(&self, candidates: &[NewDataKey]) -> Result<Vec<DataKey>, StoreError> {
        self.insert_data_keys(candidates).await?;
        self.select_data_keys().await
    }

    async fn data_keys(&self) -> Result<Vec<DataKey>, StoreError> {
        self.select_data_keys().await
    }

    async fn rewrap_data_key(&self, id: u32, from: &[u8], to: &[u8]) -> Result<bool, StoreError> {
        self.update_data_key(id, from, to).await
    }

    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        self.select_signing_keys().await
    }

    async fn add_signing_key(&self, key: &SigningKeyRow) -> Result<bool, StoreError> {
        self.insert_signing_key(key).await
    }

    async fn remove_signing_key(&self, kid: &str) -> Result<bool, StoreError> {
        self.delete_signing_key(kid).await
    }

    async fn add_tenant_token(&self, token: &NewTenantToken) -> Result<(), StoreError> {
        self.insert_tenant_token(token).await
    }

    async fn find_tenant(&self, token: &TokenHash, now: OffsetDateTime) -> Result<Option<ClientId>, StoreError> {
        self.select_tenant(token, now).await
    }

    async fn add_ticket(&self, ticket: &NewTicket) -> Result<(), StoreError> {
        self.insert_ticket(ticket).await
    }

    async fn find_ticket(
        &self,
        ticket: &TokenHash,
        device_fingerprint: &str,
        tenant: &ClientId,
        now: OffsetDateTime,
    ) -> Result<Option<SessionId>, StoreError> {
        self.select_ticket(ticket, device_fingerprint, tenant, now).await
    }

    async fn use_ticket(
        &self,
        ticket: &TokenHash,
        device_fingerprint: &str,
        tenant: &ClientId,
        now: OffsetDateTime,
    ) -> Result<Option<SessionId>, StoreError> {
        self.consume_ticket(ticket, device_fingerprint, tenant, now).await
    }

    async fn look_at_deployment(&self, replicas: u32) -> Result<Vec<Finding>, StoreError> {
        self.read_deployment(replicas).await
    }

    fn remedy(&self, error: &StoreError) -> Option<String> {
        remedy::of(error, &self.address.current())
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}
