//! Erasing a user: everything personal goes, from every table. What stays says nothing of a person: the id, so that it
//! is never given to somebody else, and of the sessions the hashes of their tokens, for the replay guard.

use sqlx::sqlite::SqliteConnection;
use time::OffsetDateTime;

use super::error::Failure;
use crate::clock::unix_micros;
use crate::ids::UserId;

/// The caller's transaction makes one of the three statements; a login comes wholly before them or wholly after.
/// Returns whether there was a user to erase.
pub(super) async fn erase(db: &mut SqliteConnection, id: UserId, now: OffsetDateTime) -> Result<bool, Failure> {
    let erased = sqlx::query(
        "update users
         set phone_index = null,
             phone_sealed = null,
             user_name = null,
             name = null,
             email = null,
             status = 'erased',
             session_epoch = session_epoch + 1,
             updated_at = ?2
         where id = ?1 and status <> 'erased'",
    )
    .bind(id.0)
    .bind(unix_micros(now))
    .execute(&mut *db)
    .await?;
    if erased.rows_affected() == 0 {
        return Ok(false);
    }
    // Revoked besides being outdated: a rotation that comes after this must not seal anything into the row.
    sqlx::query(
        "update sessions
         set operating_sys_version = '',
             device_fingerprint = '',
             agent = '',
             device_ip = null,
             answer_sealed = null,
             successor_sealed = null,
             revoked_at = coalesce(revoked_at, ?2)
         where user_id = ?1",
    )
    .bind(id.0)
    .bind(unix_micros(now))
    .execute(&mut *db)
    .await?;
    sqlx::query("delete from tickets where session_id in (select id from sessions where user_id = ?)")
        .bind(id.0)
        .execute(db)
        .await?;
    Ok(true)
}
