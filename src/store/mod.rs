//! The narrow trait in front of the database, one small family of methods for each table.
//!
//! Two implementations, both on sqlx and both under one test suite: [`postgres`] for production and [`sqlite`] as the
//! embedded default. A store knows rows and SQL; it must not know numbers in the clear, tokens, HTTP or settings.

pub mod postgres;
pub mod sqlite;

mod error;
mod pool;
mod rows;

use async_trait::async_trait;
use time::{Date, OffsetDateTime};

use crate::finding::Finding;
use crate::ids::{ClientId, DeploymentId, SessionId, UserId};
use crate::session_token::TokenHash;

pub use error::StoreError;
pub use pool::PoolState;
pub use rows::*;

/// The login's own part of a store, and all that the commit queue may use of it.
#[async_trait]
pub trait OpenSessions: Send + Sync {
    /// Opens sessions, finding or registering their users; one outcome for each, in the order of the input.
    ///
    /// Durable when it returns. Safe to repeat with the same rows, whatever became of the last try. On
    /// [`StoreError::Data`] nothing is known to be opened and the caller repeats the rows one by one.
    async fn open_sessions(&self, sessions: &[NewSession]) -> Result<Vec<Outcome>, StoreError>;

    /// Does to the tables what opening a session does and takes it back, and commits one small row: proves, as far as
    /// that can be without a login, that the database takes sessions again after it failed to.
    async fn probe_sessions(&self, now: OffsetDateTime) -> Result<(), StoreError>;
}

/// A schema that this program works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    Current,
    /// A newer program has been here, as in a rolling upgrade; what it changed leaves this one working.
    Newer,
}

/// The part of a store that replicas share a budget of billed calls by.
#[async_trait]
pub trait ReserveCalls: Send + Sync {
    /// Takes so many calls out of the `limit` that a day has for all replicas together, or what is left of it. What was
    /// granted is nobody else's; if the answer is lost, it is nobody's.
    async fn reserve_calls(&self, day: Date, calls: u32, limit: u64) -> Result<Reservation, StoreError>;
}

/// Everything the server keeps. All times are the caller's; every method is one short transaction with a time limit.
#[async_trait]
pub trait Store: OpenSessions + ReserveCalls {
    /// `postgres` or `sqlite`, for people.
    fn kind(&self) -> &'static str;

    fn pool_state(&self) -> PoolState;

    /// Brings the schema to this program's version. One migrator at a time; the others wait for it.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Fails with [`StoreError::Schema`] where the schema is absent, older, or changed in a way we cannot work with.
    async fn check_schema(&self) -> Result<Schema, StoreError>;

    /// The database's own clock: proves that it answers, and shows how far it is from ours.
    async fn database_time(&self) -> Result<OffsetDateTime, StoreError>;

    /// Gives the database this identity if it has none, and remembers the one that it has: where another database takes
    /// its place later, calls fail with [`StoreError::Replaced`].
    async fn claim_identity(&self, candidate: DeploymentId) -> Result<(), StoreError>;

    /// Fails with [`StoreError::Replaced`] while another database is in the place of the one that was claimed.
    async fn check_identity(&self) -> Result<(), StoreError>;

    /// A session with its user; `None` also where the user is erased. `newer_live` counts up to `count_newer_to`.
    async fn find_session(
        &self,
        key: SessionKey,
        now: OffsetDateTime,
        count_newer_to: u32,
    ) -> Result<Option<StoredSession>, StoreError>;

    /// Notes the first use of a session; later ones change nothing.
    async fn mark_session_used(&self, id: SessionId, now: OffsetDateTime) -> Result<(), StoreError>;

    /// Replaces the session's token, if it still is `current` and not revoked, and notes its use. Returns whether it
    /// did: of concurrent rotations of one token, exactly one does.
    async fn rotate_session(&self, rotation: &Rotation) -> Result<bool, StoreError>;

    /// Revokes a session; the first time stands. Returns whether the session exists.
    async fn revoke_session(&self, id: SessionId, now: OffsetDateTime) -> Result<bool, StoreError>;

    /// Revokes at most `limit` live sessions of an app and returns how many there were; 0 means that none is left.
    async fn revoke_sessions_of_client(
        &self,
        client_id: &ClientId,
        now: OffsetDateTime,
        limit: u32,
    ) -> Result<u64, StoreError>;

    /// Ends every session of the user for good: adds one to the session epoch. Returns whether the user exists.
    async fn end_sessions_of_user(&self, id: UserId, now: OffsetDateTime) -> Result<bool, StoreError>;

    /// The user's unexpired sessions, newest first, at most 100.
    async fn sessions_of_user(&self, id: UserId, now: OffsetDateTime) -> Result<Vec<SessionSummary>, StoreError>;

    /// Takes away the sealed answers and successors that are dead, at most `limit` of each. Returns how many there were.
    async fn forget_answers(&self, dead: &DeadAnswers, limit: u32) -> Result<u64, StoreError>;

    /// Deletes at most `limit` rows of each kind that nobody can need any more: expired tickets and tenant tokens, and
    /// sessions past the later of their expiry and two hours after they were opened, so that the replay guard outlives
    /// every access token. Returns how many rows went. Replicas that purge at once do not wait for each other.
    async fn purge(&self, now: OffsetDateTime, limit: u32) -> Result<u64, StoreError>;

    /// `None` where the user is erased.
    async fn find_user(&self, key: UserKey) -> Result<Option<User>, StoreError>;

    /// Disabling also ends every session of the user for good: it adds one to the user's session epoch. Returns
    /// whether the user exists; setting the status it already has changes nothing.
    async fn set_user_status(&self, id: UserId, status: UserStatus, now: OffsetDateTime) -> Result<bool, StoreError>;

    /// Takes everything personal away in one transaction: number, index, names, e-mail, the devices of all sessions,
    /// sealed answers, tickets. Ends the sessions, keeps the id as a tombstone. Returns whether there was a user to
    /// erase. What a login under way at that moment still writes is dead, and the next purge takes its device away.
    async fn erase_user(&self, id: UserId, now: OffsetDateTime) -> Result<bool, StoreError>;

    /// All applications, by client id.
    async fn apps(&self) -> Result<Vec<App>, StoreError>;

    async fn find_app(&self, client_id: &ClientId) -> Result<Option<App>, StoreError>;

    /// Adds the app, or gives the one with its client id this name, kind and registration rule, and its secret if it
    /// brings one (`enabled` stays as it is, and so does the secret otherwise). Returns whether it is new.
    async fn register_app(&self, app: &App, now: OffsetDateTime) -> Result<bool, StoreError>;

    /// Adds the app if its client id is free. Returns whether it is new.
    async fn add_app(&self, app: &App, now: OffsetDateTime) -> Result<bool, StoreError>;

    /// Returns whether the app exists.
    async fn set_app_enabled(
        &self,
        client_id: &ClientId,
        enabled: bool,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError>;

    /// Stores each of the keys for whose purpose there is no active key yet (one winner among replicas), and returns
    /// all that are kept then.
    async fn ensure_data_keys(&self, candidates: &[NewDataKey]) -> Result<Vec<DataKey>, StoreError>;

    /// All data keys, without making any.
    async fn data_keys(&self) -> Result<Vec<DataKey>, StoreError>;

    /// Replaces the wrapping of a data key, if it still is `from`. Returns whether it did.
    async fn rewrap_data_key(&self, id: u32, from: &[u8], to: &[u8]) -> Result<bool, StoreError>;

    /// All signing keys, in the order of their generation.
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError>;

    /// Stores a signing key unless its generation is taken. Returns whether it was stored.
    async fn add_signing_key(&self, key: &SigningKeyRow) -> Result<bool, StoreError>;

    /// Returns whether the key was there.
    async fn remove_signing_key(&self, kid: &str) -> Result<bool, StoreError>;

    async fn add_tenant_token(&self, token: &NewTenantToken) -> Result<(), StoreError>;

    /// The app that an unexpired token belongs to, if it is enabled, of kind tenant, and has the secret still.
    async fn find_tenant(&self, token: &TokenHash, now: OffsetDateTime) -> Result<Option<ClientId>, StoreError>;

    async fn add_ticket(&self, ticket: &NewTicket) -> Result<(), StoreError>;

    /// The session of an unused, unexpired ticket for this device that this tenant may redeem.
    async fn find_ticket(
        &self,
        ticket: &TokenHash,
        device_fingerprint: &str,
        tenant: &ClientId,
        now: OffsetDateTime,
    ) -> Result<Option<SessionId>, StoreError>;

    /// Uses up what [`Store::find_ticket`] finds and returns its session; of concurrent uses, exactly one gets it.
    async fn use_ticket(
        &self,
        ticket: &TokenHash,
        device_fingerprint: &str,
        tenant: &ClientId,
        now: OffsetDateTime,
    ) -> Result<Option<SessionId>, StoreError>;

    /// How the database is set up, beside what this program counts on with so many replicas. Changes nothing.
    async fn look_at_deployment(&self, replicas: u32) -> Result<Vec<Finding>, StoreError>;

    /// What an operator can do about an error, where more can be said than the error does.
    fn remedy(&self, error: &StoreError) -> Option<String>;

    /// Ends the connections; calls after this fail.
    async fn close(&self);
}
