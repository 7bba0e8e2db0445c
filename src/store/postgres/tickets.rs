//! One-time tickets. It must not know who may ask for one, nor whether its session is still live.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::PostgresStore;
use crate::ids::{ClientId, SessionId};
use crate::session_token::TokenHash;
use crate::store::{NewTicket, StoreError};

/// A ticket that is there already is this very one: the caller repeats an insert whose answer was lost.
const INSERT: &str = r"
insert into tickets (ticket_hash, session_id, client_id, device_fingerprint, redeemable_by, created_at, expires_at)
values ($1, $2, $3, $4, $5, $6, $7)
on conflict (ticket_hash) do nothing";

const FIND: &str = r"
select session_id
from tickets
where ticket_hash = $1
  and device_fingerprint = $2
  and (redeemable_by is null or redeemable_by = $4)
  and used_at is null
  and expires_at > $3";

/// Of concurrent uses, one updates the row; the others wait for it and then find `used_at` set. A second run would find
/// its own first one, and cannot tell it from another's.
const USE: &str = r"
update tickets
set used_at = $3
where ticket_hash = $1
  and device_fingerprint = $2
  and (redeemable_by is null or redeemable_by = $4)
  and used_at is null
  and expires_at > $3
returning session_id";

/// Replicas that purge at once pass over each other's rows.
const PURGE: &str = r"
delete from tickets
where ticket_hash = any (array(
    select ticket_hash
    from tickets
    where expires_at <= $1
    order by expires_at
    limit $2
    for update skip locked
))
returning true";

#[derive(FromRow)]
struct TicketRow {
    session_id: Uuid,
}

impl PostgresStore {
    pub(super) async fn insert_ticket(&self, ticket: &NewTicket) -> Result<(), StoreError> {
        let statement = sqlx::query(INSERT)
            .bind(ticket.ticket_hash.0)
            .bind(ticket.session_id.0)
            .bind(ticket.client_id.as_str())
            .bind(ticket.device_fingerprint.as_str())
            .bind(ticket.redeemable_by.as_ref().map(ClientId::as_str))
            .bind(ticket.created_at)
            .bind(ticket.expires_at);
        self.count(statement).await.map(drop)
    }

    pub(super) async fn select_ticket(
        &self,
        ticket: &TokenHash,
        device_fingerprint: &str,
        tenant: &ClientId,
        now: OffsetDateTime,
    ) -> Result<Option<SessionId>, StoreError> {
        let statement = sqlx::query(FIND).bind(ticket.0).bind(device_fingerprint).bind(now).bind(tenant.as_str());
        let found: Option<TicketRow> = self.fetch(statement).await?.pop();
        Ok(found.map(|row| SessionId(row.session_id)))
    }

    pub(super) async fn consume_ticket(
        &self,
        ticket: &TokenHash,
        device_fingerprint: &str,
        tenant: &ClientId,
        now: OffsetDateTime,
    ) -> Result<Option<SessionId>, StoreError> {
        let statement = sqlx::query(USE).bind(ticket.0).bind(device_fingerprint).bind(now).bind(tenant.as_str());
        let used: Option<TicketRow> = self.fetch_once(statement).await?.pop();
        Ok(used.map(|row| SessionId(row.session_id)))
    }

    pub(super) async fn delete_expired_tickets(&self, now: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
        self.count(sqlx::query(PURGE).bind(now).bind(i64::from(limit))).await
    }
}
