//! Users, as an operator finds and disables them. An erased user is a tombstone and counts as absent.

use sqlx::FromRow;
use time::OffsetDateTime;
use uuid::Uuid;

use super::PostgresStore;
use crate::ids::UserId;
use crate::store::{Profile, StoreError, User, UserKey, UserStatus};

const BY_ID: &str = r"
select id, phone_sealed, user_name, name, email, status, created_at, updated_at
from users
where id = $1 and status <> 'erased'";

const BY_PHONE: &str = r"
select id, phone_sealed, user_name, name, email, status, created_at, updated_at
from users
where phone_index = $1 and status <> 'erased'";

/// Why a login that races with a disabling can never leave a live session, with no lock between them:
///
/// 1. A login copies the epoch from the same row version in which it sees `active` (`OPEN` in `opening`).
/// 2. A user's row versions form one sequence, in which the epoch never falls, and this statement makes the version that
///    is disabled and the step of the epoch one and the same. So an active version has an epoch either below the step,
///    and comes before the disabling, or not below it, and comes after an enabling.
/// 3. A session is live only while its copy equals the epoch of now.
///
/// A login that read an active version from before the disabling carries an epoch below the step. However late it
/// inserts and commits, its session is dead from the moment this commits, and stays dead when the user is enabled again.
const SET_STATUS: &str = r"
with changed as (
    update users
    set status = $2,
        session_epoch = session_epoch + case when $2 = 'disabled' then 1 else 0 end,
        updated_at = $3
    where id = $1 and status <> $2 and status <> 'erased'
)
select from users where id = $1 and status <> 'erased'";

const END_SESSIONS: &str = r"
update users
set session_epoch = session_epoch + 1,
    updated_at = $2
where id = $1 and status <> 'erased'
returning true";

#[derive(FromRow)]
pub(super) struct UserRow {
    id: Uuid,
    phone_sealed: Option<Vec<u8>>,
    user_name: Option<String>,
    name: Option<String>,
    email: Option<String>,
    status: String,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            profile: Profile { id: UserId(row.id), user_name: row.user_name, name: row.name, email: row.email },
            phone_sealed: row.phone_sealed.ok_or(StoreError::Corrupt { what: "phone number" })?,
            status: UserStatus::parse(&row.status).ok_or(StoreError::Corrupt { what: "user status" })?,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

impl PostgresStore {
    pub(super) async fn select_user(&self, key: UserKey) -> Result<Option<User>, StoreError> {
        let statement = match key {
            UserKey::Id(id) => sqlx::query(BY_ID).bind(id.0),
            UserKey::Phone(index) => sqlx::query(BY_PHONE).bind(index.0),
        };
        self.fetch::<UserRow>(statement).await?.pop().map(User::try_from).transpose()
    }

    pub(super) async fn update_user_status(
        &self,
        id: UserId,
        status: UserStatus,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let statement = sqlx::query(SET_STATUS).bind(id.0).bind(status.as_str()).bind(now);
        self.has_row(statement).await
    }

    pub(super) async fn update_user_epoch(&self, id: UserId, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.has_row(sqlx::query(END_SESSIONS).bind(id.0).bind(now)).await
    }
}
