//! Finding sessions, with their users: one by what a caller presents, all of a user for an operator.

use sqlx::sqlite::SqlitePool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Failure;
use super::users::UserRow;
use crate::clock::{from_unix_micros, unix_micros};
use crate::ids::{SessionId, UserId};
use crate::store::rows::stored_client_id;
use crate::store::{SessionKey, SessionSummary, StoreError, StoredSession, Superseded};

/// Four of the five branches have a null to look for, which costs nothing; each uses its own unique index. Newer
/// sessions are a range of `sessions_user` that ends at the limit (with `limit 0` it is not even begun).
pub(super) const FIND: &str = "
    with found as (
        select id, false as superseded from sessions where id = ?1
        union all
        select id, false from sessions where token_hash = ?2
        union all
        select id, true from sessions where previous_token_hash = ?2
        union all
        select id, false from sessions where access_token_hash = ?3
        union all
        select id, false from sessions where family_hash = ?6
        order by superseded
        limit 1
    )
    select sessions.id as session_id,
           sessions.client_id,
           sessions.device_fingerprint,
           sessions.created_at as opened_at,
           sessions.expires_at,
           sessions.first_used_at,
           sessions.revoked_at,
           sessions.answer_sealed,
           sessions.rotated_at,
           sessions.successor_sealed,
           found.superseded,
           users.session_epoch = sessions.user_epoch as epoch_is_current,
           users.id,
           users.phone_sealed,
           users.user_name,
           users.name,
           users.email,
           users.status,
           users.created_at,
           users.updated_at,
           (
               select count(*)
               from (
                   select newer.id
                   from sessions as newer
                   where newer.user_id = sessions.user_id
                     and (newer.created_at, newer.id) > (sessions.created_at, sessions.id)
                     and newer.expires_at > ?4
                     and newer.revoked_at is null
                     and newer.user_epoch = users.session_epoch
                   limit ?5
               )
           ) as newer_live
    from found
    join sessions on sessions.id = found.id
    join users on users.id = sessions.user_id
    where users.status <> 'erased'";

#[derive(sqlx::FromRow)]
struct FoundRow {
    session_id: Uuid,
    client_id: String,
    device_fingerprint: String,
    opened_at: i64,
    expires_at: i64,
    first_used_at: Option<i64>,
    revoked_at: Option<i64>,
    answer_sealed: Option<Vec<u8>>,
    rotated_at: Option<i64>,
    successor_sealed: Option<Vec<u8>>,
    superseded: bool,
    epoch_is_current: bool,
    newer_live: i64,
    #[sqlx(flatten)]
    user: UserRow,
}

impl TryFrom<FoundRow> for StoredSession {
    type Error = StoreError;

    fn try_from(row: FoundRow) -> Result<Self, StoreError> {
        let successor_sealed = row.successor_sealed;
        let rotated_at = row.rotated_at.map(from_unix_micros);
        let superseded = rotated_at.map(|rotated_at| Superseded { rotated_at, successor_sealed });
        if row.superseded && superseded.is_none() {
            return Err(StoreError::Corrupt { what: "rotation" });
        }
        Ok(Self {
            id: SessionId(row.session_id),
            user: row.user.try_into()?,
            epoch_is_current: row.epoch_is_current,
            client_id: stored_client_id(row.client_id)?,
            device_fingerprint: row.device_fingerprint,
            created_at: from_unix_micros(row.opened_at),
            expires_at: from_unix_micros(row.expires_at),
            first_used_at: row.first_used_at.map(from_unix_micros),
            revoked_at: row.revoked_at.map(from_unix_micros),
            answer_sealed: row.answer_sealed,
            superseded: superseded.filter(|_| row.superseded),
            newer_live: u32::try_from(row.newer_live).unwrap_or(u32::MAX),
        })
    }
}

#[derive(sqlx::FromRow)]
struct SummaryRow {
    id: Uuid,
    client_id: String,
    operating_sys_version: String,
    created_at: i64,
    expires_at: i64,
    first_used_at: Option<i64>,
    revoked_at: Option<i64>,
    epoch_is_current: bool,
}

impl TryFrom<SummaryRow> for SessionSummary {
    type Error = StoreError;

    fn try_from(row: SummaryRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: SessionId(row.id),
            client_id: stored_client_id(row.client_id)?,
            operating_sys_version: row.operating_sys_version,
            created_at: from_unix_micros(row.created_at),
            expires_at: from_unix_micros(row.expires_at),
            first_used_at: row.first_used_at.map(from_unix_micros),
            revoked_at: row.revoked_at.map(from_unix_micros),
            epoch_is_current: row.epoch_is_current,
        })
    }
}

pub(super) async fn find(
    readers: &SqlitePool,
    key: SessionKey,
    now: OffsetDateTime,
    count_newer_to: u32,
) -> Result<Option<StoredSession>, Failure> {
    let (id, token, replay_key, family) = match key {
        SessionKey::Id(id) => (Some(id.0), None, None, None),
        SessionKey::Token(token) => (None, Some(token.0.to_vec()), None, None),
        SessionKey::Replay(key) => (None, None, Some(key.0.to_vec()), None),
        SessionKey::Family(family) => (None, None, None, Some(family.0.to_vec())),
    };
    let found: Option<FoundRow> = sqlx::query_as(FIND)
        .bind(id)
        .bind(token)
        .bind(replay_key)
        .bind(unix_micros(now))
        .bind(count_newer_to)
        .bind(family)
        .fetch_optional(readers)
        .await?;
    Ok(found.map(StoredSession::try_from).transpose()?)
}

pub(super) async fn of_user(
    readers: &SqlitePool,
    id: UserId,
    now: OffsetDateTime,
) -> Result<Vec<SessionSummary>, Failure> {
    let rows: Vec<SummaryRow> = sqlx::query_as(
        "select sessions.id,
                sessions.client_id,
                sessions.operating_sys_version,
                sessions.created_at,
                sessions.expires_at,
                sessions.first_used_at,
                sessions.revoked_at,
                users.session_epoch = sessions.user_epoch as epoch_is_current
         from users
         join sessions on sessions.user_id = users.id
         where users.id = ?1
           and users.status <> 'erased'
           and sessions.expires_at > ?2
         order by sessions.created_at desc, sessions.id desc
         limit 100",
    )
    .bind(id.0)
    .bind(unix_micros(now))
    .fetch_all(readers)
    .await?;
    Ok(rows.into_iter().map(SessionSummary::try_from).collect::<Result<_, _>>()?)
}
