//! Users as an operator sees them. It must not know numbers in the clear, nor how sessions are opened.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Failure;
use crate::clock::{from_unix_micros, unix_micros};
use crate::ids::UserId;
use crate::store::{Profile, StoreError, User, UserKey, UserStatus};

#[derive(sqlx::FromRow)]
pub(super) struct ProfileRow {
    pub id: Uuid,
    user_name: Option<String>,
    name: Option<String>,
    email: Option<String>,
}

impl From<ProfileRow> for Profile {
    fn from(row: ProfileRow) -> Self {
        Self { id: UserId(row.id), user_name: row.user_name, name: row.name, email: row.email }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct UserRow {
    #[sqlx(flatten)]
    profile: ProfileRow,
    phone_sealed: Vec<u8>,
    status: String,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            profile: row.profile.into(),
            phone_sealed: row.phone_sealed,
            status: UserStatus::parse(&row.status).ok_or(StoreError::Corrupt { what: "user status" })?,
            created_at: from_unix_micros(row.created_at),
            updated_at: from_unix_micros(row.updated_at),
        })
    }
}

pub(super) async fn find(readers: &SqlitePool, key: UserKey) -> Result<Option<User>, Failure> {
    // An erased user has no number and is nobody's any more; only its id stays taken.
    let found = match key {
        UserKey::Id(id) => sqlx::query_as::<_, UserRow>(
            "select id, phone_sealed, user_name, name, email, status, created_at, updated_at
             from users
             where id = ? and status <> 'erased'",
        )
        .bind(id.0),
        UserKey::Phone(index) => sqlx::query_as(
            "select id, phone_sealed, user_name, name, email, status, created_at, updated_at
             from users
             where phone_index = ? and status <> 'erased'",
        )
        .bind(index.0.to_vec()),
    };
    Ok(found.fetch_optional(readers).await?.map(User::try_from).transpose()?)
}

/// Returns whether the user exists.
///
/// Why a login that races with a disabling can never leave a live session: a login copies the epoch from the same row
/// version in which it sees `active`, in one transaction with its insert, and this makes the version that is disabled
/// and the step of the epoch one and the same. Writers take turns, so a login comes wholly before, and its session has
/// an epoch below the step, or wholly after, and is refused. A session is live only while its copy equals the epoch of
/// now, and the epoch never falls: those below the step stay dead when the user is enabled again.
pub(super) async fn set_status(
    db: &mut SqliteConnection,
    id: UserId,
    status: UserStatus,
    now: OffsetDateTime,
) -> Result<bool, Failure> {
    let changed = sqlx::query(
        "update users
         set status = ?2,
             session_epoch = session_epoch + (?2 = 'disabled'),
             updated_at = ?3
         where id = ?1 and status not in (?2, 'erased')",
    )
    .bind(id.0)
    .bind(status.as_str())
    .bind(unix_micros(now))
    .execute(&mut *db)
    .await?;
    if changed.rows_affected() == 1 {
        return Ok(true);
    }
    let exists = sqlx::query_scalar("select exists (select 1 from users where id = ? and status <> 'erased')")
        .bind(id.0)
        .fetch_one(db)
        .await?;
    Ok(exists)
}

/// Returns whether the user exists.
pub(super) async fn end_sessions(db: &mut SqliteConnection, id: UserId, now: OffsetDateTime) -> Result<bool, Failure> {
    let ended = sqlx::query(
        "update users
         set session_epoch = session_epoch + 1,
             updated_at = ?2
         where id = ?1 and status <> 'erased'",
    )
    .bind(id.0)
    .bind(unix_micros(now))
    .execute(db)
    .await?;
    Ok(ended.rows_affected() == 1)
}
