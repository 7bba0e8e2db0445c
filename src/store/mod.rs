//! The narrow trait in front of the database, one small family of methods for each table.
//!
//! Two implementations, both on sqlx and both under one test suite: [`postgres`] for production and [`sqlite`] as the
//! embedded default. A store knows rows and SQL; it must not know numbers in the clear, tokens, HTTP or settings.

pub mod postgres;
pub mod sqlite;

mod error;
mod rows;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::ids::{ClientId, UserId};

pub use error::StoreError;
pub use rows::*;

/// Everything the server keeps. All times are the caller's; every method is one short transaction with a time limit.
#[async_trait]
pub trait Store: Send + Sync {
    /// `postgres` or `sqlite`, for people.
    fn kind(&self) -> &'static str;

    /// Brings the schema to this program's version. One migrator at a time; the others wait for it.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Fails with [`StoreError::Schema`] where the schema is absent, older, or changed in a way we cannot work with.
    async fn check_schema(&self) -> Result<(), StoreError>;

    /// The database's own clock: proves that it answers, and shows how far it is from ours.
    async fn database_time(&self) -> Result<OffsetDateTime, StoreError>;

    /// Writes and commits one small row: proves that the database takes writes again after it failed to.
    async fn probe_write(&self, now: OffsetDateTime) -> Result<(), StoreError>;

    /// Opens sessions, finding or registering their users; one outcome for each, in the order of the input.
    ///
    /// Durable when it returns. Safe to repeat with the same rows, whatever became of the last try. On
    /// [`StoreError::Data`] nothing is known to be opened and the caller repeats the rows one by one.
    async fn open_sessions(&self, sessions: &[NewSession]) -> Result<Vec<Outcome>, StoreError>;

    async fn find_user(&self, key: UserKey) -> Result<Option<User>, StoreError>;

    /// Disabling also ends every session of the user for good: it adds one to the user's session epoch. Returns
    /// whether the user exists; setting the status it already has changes nothing.
    async fn set_user_status(&self, id: UserId, status: UserStatus, now: OffsetDateTime) -> Result<bool, StoreError>;

    /// All applications, by client id.
    async fn apps(&self) -> Result<Vec<App>, StoreError>;

    /// Adds the app, or gives the one with its client id this name, kind and registration rule (`enabled` and a
    /// secret stay as they are). Returns whether it is new.
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

    /// All signing keys that are published, in the order of their `kid`.
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError>;

    /// Stores a signing key unless one is in its state already (one active, one next). Returns whether it was stored.
    async fn add_signing_key(&self, key: &SigningKeyRow) -> Result<bool, StoreError>;

    /// What an operator should change about the database, a line each, with the statement to run.
    async fn deployment_warnings(&self) -> Result<Vec<String>, StoreError>;

    /// Ends the connections; calls after this fail.
    async fn close(&self);
}
