//! Erasing a user: everything personal goes, from every table. What stays says nothing of a person: the id, so that it
//! is never given to somebody else, and of the sessions the hashes of their tokens, for the replay guard.

use time::OffsetDateTime;

use super::PostgresStore;
use crate::ids::UserId;
use crate::store::StoreError;

/// One statement, so one transaction behind a pooler, too. The sessions are revoked besides being outdated: a rotation
/// under way waits for the row, then finds it revoked, and seals nothing into it any more.
const ERASE: &str = r"
with erased as (
    update users
    set phone_index = null,
        phone_sealed = null,
        user_name = null,
        name = null,
        email = null,
        status = 'erased',
        session_epoch = session_epoch + 1,
        updated_at = $2
    where id = $1 and status <> 'erased'
    returning id
),
stripped as (
    update sessions
    set operating_sys_version = '',
        device_fingerprint = '',
        agent = '',
        device_ip = null,
        answer_sealed = null,
        successor_sealed = null,
        revoked_at = coalesce(revoked_at, $2)
    from erased
    where sessions.user_id = erased.id
),
cut as (
    delete from tickets
    using erased, sessions
    where sessions.user_id = erased.id and tickets.session_id = sessions.id
)
select from erased";

/// A login takes no lock on its user, so one that read the user just before the erasing can insert its session just
/// after. That session is dead (its epoch is the one before), but its device is still in it: this takes it away. A login
/// is over within seconds; the day is for purges that did not run.
const ERASE_LATE: &str = r"
update sessions
set operating_sys_version = '',
    device_fingerprint = '',
    agent = '',
    device_ip = null,
    answer_sealed = null,
    successor_sealed = null,
    revoked_at = coalesce(revoked_at, $1)
where id = any (array(
    select sessions.id
    from users
    join sessions on sessions.user_id = users.id
    where users.status = 'erased'
      and users.updated_at > $1 - interval '1 day'
      and sessions.device_fingerprint <> ''
    limit $2
    for update of sessions skip locked
))";

impl PostgresStore {
    pub(super) async fn erase(&self, id: UserId, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.has_row_once(sqlx::query(ERASE).bind(id.0).bind(now)).await
    }

    pub(super) async fn erase_late_sessions(&self, now: OffsetDateTime, limit: u32) -> Result<(), StoreError> {
        self.count(sqlx::query(ERASE_LATE).bind(now).bind(i64::from(limit))).await.map(drop)
    }
}
