//! The Bearer tokens of tenant apps. It must not know secrets, nor what a tenant may do.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use time::OffsetDateTime;

use super::error::Failure;
use crate::clock::unix_micros;
use crate::ids::ClientId;
use crate::session_token::TokenHash;
use crate::store::NewTenantToken;
use crate::store::rows::stored_client_id;

pub(super) async fn add(db: &mut SqliteConnection, token: &NewTenantToken) -> Result<(), Failure> {
    // A token that is there already is this very one: the caller repeats an insert whose answer was lost.
    sqlx::query(
        "insert into tenant_tokens (token_hash, client_id, secret_hash, created_at, expires_at)
         values (?, ?, ?, ?, ?)
         on conflict (token_hash) do nothing",
    )
    .bind(token.token_hash.0.as_slice())
    .bind(token.client_id.as_str())
    .bind(token.secret_hash.0.as_slice())
    .bind(unix_micros(token.created_at))
    .bind(unix_micros(token.expires_at))
    .execute(db)
    .await?;
    Ok(())
}

/// The app is looked at with every use, so that whatever ends a token does so at once.
pub(super) async fn find_tenant(
    readers: &SqlitePool,
    token: &TokenHash,
    now: OffsetDateTime,
) -> Result<Option<ClientId>, Failure> {
    let found: Option<String> = sqlx::query_scalar(
        "select apps.client_id
         from tenant_tokens
         join apps on apps.client_id = tenant_tokens.client_id
                  and apps.secret_hash = tenant_tokens.secret_hash
         where tenant_tokens.token_hash = ?1
           and tenant_tokens.expires_at > ?2
           and apps.kind = 'tenant'
           and apps.enabled",
    )
    .bind(token.0.to_vec())
    .bind(unix_micros(now))
    .fetch_optional(readers)
    .await?;
    Ok(found.map(stored_client_id).transpose()?)
}

pub(super) async fn purge(db: &mut SqliteConnection, now: OffsetDateTime, limit: u32) -> Result<u64, Failure> {
    let purged = sqlx::query(
        "delete from tenant_tokens
         where token_hash in (
             select token_hash
             from tenant_tokens
             where expires_at <= ?1
             order by expires_at
             limit ?2
         )",
    )
    .bind(unix_micros(now))
    .bind(limit)
    .execute(db)
    .await?;
    Ok(purged.rows_affected())
}
