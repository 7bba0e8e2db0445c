//! Sessions after their opening: used, rotated, revoked, purged. Whether one is live is not judged here.

use sqlx::sqlite::SqliteConnection;
use time::OffsetDateTime;

use super::error::Failure;
use crate::clock::unix_micros;
use crate::ids::{ClientId, SessionId};
use crate::store::{DeadAnswers, Rotation};

pub(super) async fn mark_used(db: &mut SqliteConnection, id: SessionId, now: OffsetDateTime) -> Result<(), Failure> {
    // A session that was used got its answer: it is not asked for any more.
    sqlx::query("update sessions set first_used_at = ?2, answer_sealed = null where id = ?1 and first_used_at is null")
        .bind(id.0)
        .bind(unix_micros(now))
        .execute(db)
        .await?;
    Ok(())
}

/// Of concurrent rotations, the first to get the writer changes the token, and the others do not find it any more.
pub(super) async fn rotate(db: &mut SqliteConnection, rotation: &Rotation) -> Result<bool, Failure> {
    let rotated = sqlx::query(
        "update sessions
         set token_hash = ?3,
             previous_token_hash = token_hash,
             successor_sealed = ?4,
             rotated_at = ?5,
             family_hash = ?6,
             first_used_at = coalesce(first_used_at, ?5),
             answer_sealed = null
         where id = ?1 and token_hash = ?2 and revoked_at is null",
    )
    .bind(rotation.id.0)
    .bind(rotation.current.0.as_slice())
    .bind(rotation.successor.0.as_slice())
    .bind(rotation.successor_sealed.as_slice())
    .bind(unix_micros(rotation.at))
    .bind(rotation.family.0.as_slice())
    .execute(db)
    .await?;
    Ok(rotated.rows_affected() == 1)
}

/// Session ids begin with their time, so the first walks the part of the primary key that was made within it.
pub(super) async fn forget_answers(db: &mut SqliteConnection, dead: &DeadAnswers, limit: u32) -> Result<u64, Failure> {
    let answers = sqlx::query(
        "update sessions
         set answer_sealed = null
         where id in (
             select id
             from sessions
             where id >= ?1 and id < ?2 and answer_sealed is not null
             order by id
             limit ?3
         )",
    )
    .bind(SessionId::first_at(dead.opened.start).0)
    .bind(SessionId::first_at(dead.opened.end).0)
    .bind(limit)
    .execute(&mut *db)
    .await?;
    let successors = sqlx::query(
        "update sessions
         set successor_sealed = null
         where id in (
             select id
             from sessions
             where successor_sealed is not null and rotated_at < ?1
             order by rotated_at
             limit ?2
         )",
    )
    .bind(unix_micros(dead.rotated_before))
    .bind(limit)
    .execute(db)
    .await?;
    Ok(answers.rows_affected() + successors.rows_affected())
}

/// Returns whether the session exists.
pub(super) async fn revoke(db: &mut SqliteConnection, id: SessionId, now: OffsetDateTime) -> Result<bool, Failure> {
    let revoked = sqlx::query("update sessions set revoked_at = coalesce(revoked_at, ?2) where id = ?1")
        .bind(id.0)
        .bind(unix_micros(now))
        .execute(db)
        .await?;
    Ok(revoked.rows_affected() == 1)
}

pub(super) async fn revoke_of_client(
    db: &mut SqliteConnection,
    client_id: &ClientId,
    now: OffsetDateTime,
    limit: u32,
) -> Result<u64, Failure> {
    let revoked = sqlx::query(
        "update sessions
         set revoked_at = ?2
         where id in (
             select sessions.id
             from sessions
             join users on users.id = sessions.user_id
                       and users.session_epoch = sessions.user_epoch
                       and users.status = 'active'
             where sessions.client_id = ?1
               and sessions.revoked_at is null
               and sessions.expires_at > ?2
             order by sessions.created_at
             limit ?3
         )",
    )
    .bind(client_id.as_str())
    .bind(unix_micros(now))
    .bind(limit)
    .execute(db)
    .await?;
    Ok(revoked.rows_affected())
}

/// The condition is the index `sessions_purge`, word for word; the 7,200,000,000 microseconds are two hours.
pub(super) const PURGE: &str = "
    delete from sessions
    where id in (
        select id
        from sessions
        where max(expires_at, created_at + 7200000000) < ?1
        order by max(expires_at, created_at + 7200000000)
        limit ?2
    )";

pub(super) async fn purge(db: &mut SqliteConnection, now: OffsetDateTime, limit: u32) -> Result<u64, Failure> {
    let purged = sqlx::query(PURGE).bind(unix_micros(now)).bind(limit).execute(db).await?;
    Ok(purged.rows_affected())
}
