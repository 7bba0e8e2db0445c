//! Sessions after their opening: used, rotated, revoked, purged. Whether one is live is not judged here.

use time::OffsetDateTime;

use super::PostgresStore;
use crate::ids::{ClientId, SessionId};
use crate::store::{DeadAnswers, Rotation, StoreError};

/// A session that was used got its answer: it is not asked for any more.
const MARK_USED: &str = r"
update sessions
set first_used_at = $2,
    answer_sealed = null
where id = $1 and first_used_at is null";

/// Of concurrent rotations, one updates the row; the others wait for it and then find another token. A second run knows
/// its own first one by the successor, which was drawn for it.
const ROTATE: &str = r"
update sessions
set token_hash = $3,
    previous_token_hash = $2,
    successor_sealed = $4,
    rotated_at = $5,
    family_hash = $6,
    first_used_at = coalesce(first_used_at, $5),
    answer_sealed = null
where id = $1
  and (token_hash = $2 or token_hash = $3 and previous_token_hash = $2)
  and revoked_at is null
returning true";

/// It commits something even where the session is revoked already: perhaps by a try whose answer was lost, and that no
/// standby has (see `SETTLE` in `opening`).
const REVOKE: &str = r"
with revoked as (
    update sessions
    set revoked_at = $2
    where id = $1 and revoked_at is null
),
behind as materialized (
    select pg_logical_emit_message(true, 'oneclick-login', '')
)
select from behind, sessions where id = $1";

/// Batches that overlap lock in the same order, that of the index. It is asked for by name, as it were: the order is one
/// that only `sessions_unrevoked` has, so that the last batch of many does not wade through all those revoked before.
const REVOKE_OF_CLIENT: &str = r"
update sessions
set revoked_at = $2
where id = any (array(
    select sessions.id
    from sessions
    join users on users.id = sessions.user_id
              and users.session_epoch = sessions.user_epoch
              and users.status = 'active'
    where sessions.client_id = $1
      and sessions.revoked_at is null
      and sessions.expires_at > $2
    order by sessions.created_at
    limit $3
    for update of sessions
))
returning true";

/// Session ids begin with their time, so this walks the part of the primary key that was made within it.
const FORGET_ANSWERS: &str = r"
update sessions
set answer_sealed = null
where id = any (array(
    select id
    from sessions
    where id >= $1 and id < $2 and answer_sealed is not null
    order by id
    limit $3
    for update skip locked
))
returning true";

const FORGET_SUCCESSORS: &str = r"
update sessions
set successor_sealed = null
where id = any (array(
    select id
    from sessions
    where successor_sealed is not null and rotated_at < $1
    order by rotated_at
    limit $2
    for update skip locked
))
returning true";

/// The condition is the index `sessions_purge`, word for word. Replicas that purge at once pass over each other's rows.
/// An array, not a join: for that a plan made without looking at the limit would read the whole table.
const PURGE: &str = r"
delete from sessions
where id = any (array(
    select id
    from sessions
    where greatest(expires_at at time zone 'utc', created_at at time zone 'utc' + interval '2 hours')
          < $1 at time zone 'utc'
    order by greatest(expires_at at time zone 'utc', created_at at time zone 'utc' + interval '2 hours')
    limit $2
    for update skip locked
))
returning true";

impl PostgresStore {
    pub(super) async fn update_first_use(&self, id: SessionId, now: OffsetDateTime) -> Result<(), StoreError> {
        self.count(sqlx::query(MARK_USED).bind(id.0).bind(now)).await.map(drop)
    }

    pub(super) async fn update_token(&self, rotation: &Rotation) -> Result<bool, StoreError> {
        let statement = sqlx::query(ROTATE)
            .bind(rotation.id.0)
            .bind(rotation.current.0)
            .bind(rotation.successor.0)
            .bind(rotation.successor_sealed.as_slice())
            .bind(rotation.at)
            .bind(rotation.family.0);
        self.has_row(statement).await
    }

    pub(super) async fn update_revoked(&self, id: SessionId, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.has_row(sqlx::query(REVOKE).bind(id.0).bind(now)).await
    }

    pub(super) async fn update_revoked_of_client(
        &self,
        client_id: &ClientId,
        now: OffsetDateTime,
        limit: u32,
    ) -> Result<u64, StoreError> {
        let statement = sqlx::query(REVOKE_OF_CLIENT).bind(client_id.as_str()).bind(now).bind(i64::from(limit));
        self.count(statement).await
    }

    pub(super) async fn update_sealed_answers(&self, dead: &DeadAnswers, limit: u32) -> Result<u64, StoreError> {
        let (opened, limit) = (&dead.opened, i64::from(limit));
        let (from, to) = (SessionId::first_at(opened.start).0, SessionId::first_at(opened.end).0);
        Ok(self.count(sqlx::query(FORGET_ANSWERS).bind(from).bind(to).bind(limit)).await?
            + self.count(sqlx::query(FORGET_SUCCESSORS).bind(dead.rotated_before).bind(limit)).await?)
    }

    pub(super) async fn delete_dead_sessions(&self, now: OffsetDateTime, limit: u32) -> Result<u64, StoreError> {
        self.count(sqlx::query(PURGE).bind(now).bind(i64::from(limit))).await
    }
}
