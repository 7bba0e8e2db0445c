//! The registered applications. It must not know who calls and what a secret looks like.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use time::OffsetDateTime;

use super::error::Failure;
use crate::clock::unix_micros;
use crate::ids::ClientId;
use crate::store::rows::stored_client_id;
use crate::store::{App, AppKind, SecretHash, StoreError};

#[derive(sqlx::FromRow)]
struct AppRow {
    client_id: String,
    name: String,
    kind: String,
    enabled: bool,
    auto_register: Option<bool>,
    secret_hash: Option<Vec<u8>>,
}

impl TryFrom<AppRow> for App {
    type Error = StoreError;

    fn try_from(row: AppRow) -> Result<Self, StoreError> {
        let secret_hash = row.secret_hash.map(<[u8; 32]>::try_from).transpose();
        Ok(Self {
            client_id: stored_client_id(row.client_id)?,
            name: row.name,
            kind: AppKind::parse(&row.kind).ok_or(StoreError::Corrupt { what: "kind of app" })?,
            enabled: row.enabled,
            auto_register: row.auto_register,
            secret_hash: secret_hash.map_err(|_| StoreError::Corrupt { what: "secret's hash" })?.map(SecretHash),
        })
    }
}

pub(super) async fn all(readers: &SqlitePool) -> Result<Vec<App>, Failure> {
    let rows: Vec<AppRow> = sqlx::query_as(
        "select client_id, name, kind, enabled, auto_register, secret_hash
         from apps
         order by client_id",
    )
    .fetch_all(readers)
    .await?;
    Ok(rows.into_iter().map(App::try_from).collect::<Result<_, _>>()?)
}

pub(super) async fn find(readers: &SqlitePool, client_id: &ClientId) -> Result<Option<App>, Failure> {
    let found: Option<AppRow> = sqlx::query_as(
        "select client_id, name, kind, enabled, auto_register, secret_hash
         from apps
         where client_id = ?",
    )
    .bind(client_id.as_str())
    .fetch_optional(readers)
    .await?;
    Ok(found.map(App::try_from).transpose()?)
}

/// Returns whether it is new.
pub(super) async fn add(db: &mut SqliteConnection, app: &App, now: OffsetDateTime) -> Result<bool, Failure> {
    let added = sqlx::query(
        "insert into apps (client_id, name, kind, enabled, auto_register, secret_hash, created_at, updated_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
         on conflict (client_id) do nothing",
    )
    .bind(app.client_id.as_str())
    .bind(app.name.as_str())
    .bind(app.kind.as_str())
    .bind(app.enabled)
    .bind(app.auto_register)
    .bind(app.secret_hash.as_ref().map(|hash| hash.0.as_slice()))
    .bind(unix_micros(now))
    .execute(db)
    .await?;
    Ok(added.rows_affected() == 1)
}

/// Returns whether it is new. The caller's transaction keeps the two statements together.
pub(super) async fn register(db: &mut SqliteConnection, app: &App, now: OffsetDateTime) -> Result<bool, Failure> {
    if add(db, app, now).await? {
        return Ok(true);
    }
    sqlx::query(
        "update apps
         set name = ?2,
             kind = ?3,
             auto_register = ?4,
             secret_hash = coalesce(?5, secret_hash),
             updated_at = ?6
         where client_id = ?1",
    )
    .bind(app.client_id.as_str())
    .bind(app.name.as_str())
    .bind(app.kind.as_str())
    .bind(app.auto_register)
    .bind(app.secret_hash.as_ref().map(|hash| hash.0.as_slice()))
    .bind(unix_micros(now))
    .execute(db)
    .await?;
    Ok(false)
}

/// Returns whether the app exists.
pub(super) async fn set_enabled(
    db: &mut SqliteConnection,
    client_id: &ClientId,
    enabled: bool,
    now: OffsetDateTime,
) -> Result<bool, Failure> {
    let changed = sqlx::query(
        "update apps
         set enabled = ?2,
             updated_at = ?3
         where client_id = ?1",
    )
    .bind(client_id.as_str())
    .bind(enabled)
    .bind(unix_micros(now))
    .execute(db)
    .await?;
    Ok(changed.rows_affected() == 1)
}
