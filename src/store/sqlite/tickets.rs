//! One-time tickets. It must not know who may ask for one, nor whether its session is still live.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Failure;
use crate::clock::unix_micros;
use crate::ids::{ClientId, SessionId};
use crate::session_token::TokenHash;
use crate::store::NewTicket;

pub(super) async fn add(db: &mut SqliteConnection, ticket: &NewTicket) -> Result<(), Failure> {
    // A ticket that is there already is this very one: the caller repeats an insert whose answer was lost.
    sqlx::query(
        "insert into tickets (ticket_hash, session_id, client_id, device_fingerprint, redeemable_by, created_at, expires_at)
         values (?, ?, ?, ?, ?, ?, ?)
         on conflict (ticket_hash) do nothing",
    )
    .bind(ticket.ticket_hash.0.as_slice())
    .bind(ticket.session_id.0)
    .bind(ticket.client_id.as_str())
    .bind(ticket.device_fingerprint.as_str())
    .bind(ticket.redeemable_by.as_ref().map(ClientId::as_str))
    .bind(unix_micros(ticket.created_at))
    .bind(unix_micros(ticket.expires_at))
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn find(
    db: &SqlitePool,
    ticket: &TokenHash,
    device_fingerprint: &str,
    tenant: &ClientId,
    now: OffsetDateTime,
) -> Result<Option<SessionId>, Failure> {
    let session: Option<Uuid> = sqlx::query_scalar(
        "select session_id
         from tickets
         where ticket_hash = ?1
           and device_fingerprint = ?2
           and (redeemable_by is null or redeemable_by = ?4)
           and used_at is null
           and expires_at > ?3",
    )
    .bind(ticket.0.as_slice())
    .bind(device_fingerprint)
    .bind(unix_micros(now))
    .bind(tenant.as_str())
    .fetch_optional(db)
    .await?;
    Ok(session.map(SessionId))
}

/// Of concurrent uses, the first to get the writer sets `used_at`, which the others then find.
pub(super) async fn consume(
    db: &mut SqliteConnection,
    ticket: &TokenHash,
    device_fingerprint: &str,
    tenant: &ClientId,
    now: OffsetDateTime,
) -> Result<Option<SessionId>, Failure> {
    let session: Option<Uuid> = sqlx::query_scalar(
        "update tickets
         set used_at = ?3
         where ticket_hash = ?1
           and device_fingerprint = ?2
           and (redeemable_by is null or redeemable_by = ?4)
           and used_at is null
           and expires_at > ?3
         returning session_id",
    )
    .bind(ticket.0.as_slice())
    .bind(device_fingerprint)
    .bind(unix_micros(now))
    .bind(tenant.as_str())
    .fetch_optional(db)
    .await?;
    Ok(session.map(SessionId))
}

pub(super) async fn purge(db: &mut SqliteConnection, now: OffsetDateTime, limit: u32) -> Result<u64, Failure> {
    let purged = sqlx::query(
        "delete from tickets
         where ticket_hash in (
             select ticket_hash
             from tickets
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
