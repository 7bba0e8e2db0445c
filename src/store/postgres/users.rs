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

/// The epoch moves in the row version that changes the status. A login that read the version before copied the epoch
/// before, so its session is dead as soon as this commits, and stays dead when the user is enabled again.
const SET_STATUS: &str = r"
with changed as (
    update users
    set status = $2,
        session_epoch = session_epoch + case when $2 = 'disabled' then 1 else 0 end,
        updated_at = $3
    where id = $1 and status <> $2 and status <> 'erased'
)
select exists (select from users where id = $1 and status <> 'erased')";

#[derive(FromRow)]
struct UserRow {
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
        let (exists,) = self.fetch_one(statement).await?;
        Ok(exists)
    }
}
