//! Opening sessions: a batch in one transaction that the caller holds. It must not know tokens or numbers.

use sqlx::sqlite::SqliteConnection;
use time::OffsetDateTime;

use super::error::Failure;
use super::users::ProfileRow;
use crate::clock::unix_micros;
use crate::store::{CandidateUser, NewSession, Opened, Outcome, Profile};

/// One outcome for each session. The caller commits, and nothing is opened before that; on an error it must not.
pub(super) async fn open(db: &mut SqliteConnection, sessions: &[NewSession]) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::with_capacity(sessions.len());
    for session in sessions {
        outcomes.push(open_one(db, session).await?);
    }
    Ok(outcomes)
}

/// The transaction has held the write lock since its beginning, so what is read here stays true until the commit:
/// the user that is not found may be registered, the one that is active may get a session.
async fn open_one(db: &mut SqliteConnection, session: &NewSession) -> Result<Outcome, Failure> {
    let owner = match find_owner(db, session).await? {
        Some(owner) => owner,
        None => match &session.candidate {
            Some(candidate) => register(db, session, candidate).await?,
            None => return Ok(Outcome::UserNotFound),
        },
    };
    if owner.status != "active" {
        return Ok(Outcome::UserDisabled);
    }
    if insert(db, session, &owner).await? {
        return Ok(opened(session, owner.profile.into()));
    }
    // One of its unique keys is taken: by itself, in an earlier try, or by another session with the same access token.
    let earlier = find_opened(db, session).await?;
    Ok(earlier.map_or(Outcome::TokenReplayed, |profile| opened(session, profile.into())))
}

/// Does what a login does to the tables, with every check on the way, and takes it back; what is left is the probe's own
/// row, so that the caller's commit is tried as well.
pub(super) async fn probe(db: &mut SqliteConnection, now: OffsetDateTime) -> Result<(), Failure> {
    sqlx::raw_sql(
        "savepoint probe;
         insert into sessions (id, token_hash, user_id, user_epoch, client_id, operating_sys_version,
                               device_fingerprint, agent, created_at, expires_at)
         select randomblob(16), randomblob(32),
                coalesce((select id from users where phone_index = zeroblob(32)), randomblob(16)), 0, 'probe', 'probe',
                'probe', 'probe', 0, 1;
         rollback to probe;
         release probe;",
    )
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "insert into write_probe (id, probed_at)
         values (1, ?)
         on conflict (id) do update set probed_at = excluded.probed_at",
    )
    .bind(unix_micros(now))
    .execute(db)
    .await?;
    Ok(())
}

fn opened(session: &NewSession, user: Profile) -> Outcome {
    // Not "registered just now": a repeated try must give the answer of the first one.
    let new_user = session.candidate.as_ref().is_some_and(|candidate| candidate.id == user.id);
    Outcome::Opened(Opened { user, new_user })
}

#[derive(sqlx::FromRow)]
struct OwnerRow {
    #[sqlx(flatten)]
    profile: ProfileRow,
    status: String,
    session_epoch: i64,
}

async fn find_owner(db: &mut SqliteConnection, session: &NewSession) -> Result<Option<OwnerRow>, Failure> {
    let found = sqlx::query_as(
        "select id, user_name, name, email, status, session_epoch
         from users
         where phone_index = ?",
    )
    .bind(session.phone_index.0.as_slice())
    .fetch_optional(db)
    .await?;
    Ok(found)
}

async fn register(
    db: &mut SqliteConnection,
    session: &NewSession,
    candidate: &CandidateUser,
) -> Result<OwnerRow, Failure> {
    let now = unix_micros(session.created_at);
    let registered = sqlx::query_as(
        "insert into users (id, phone_index, phone_sealed, status, session_epoch, created_at, updated_at)
         values (?1, ?2, ?3, 'active', 0, ?4, ?4)
         returning id, user_name, name, email, status, session_epoch",
    )
    .bind(candidate.id.0)
    .bind(session.phone_index.0.as_slice())
    .bind(candidate.phone_sealed.as_slice())
    .bind(now)
    .fetch_one(db)
    .await?;
    Ok(registered)
}

/// Returns false if a unique key is taken; any other constraint is an error.
async fn insert(db: &mut SqliteConnection, session: &NewSession, owner: &OwnerRow) -> Result<bool, Failure> {
    let device = &session.device;
    let inserted = sqlx::query(
        "insert into sessions (
             id,
             token_hash,
             access_token_hash,
             user_id,
             user_epoch,
             client_id,
             operating_sys_version,
             device_fingerprint,
             agent,
             device_ip,
             created_at,
             expires_at,
             answer_sealed
         )
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         on conflict do nothing",
    )
    .bind(session.id.0)
    .bind(session.token_hash.0.as_slice())
    .bind(session.replay_key.as_ref().map(|key| key.0.as_slice()))
    .bind(owner.profile.id)
    .bind(owner.session_epoch)
    .bind(session.client_id.as_str())
    .bind(device.operating_sys_version.as_str())
    .bind(device.fingerprint.as_str())
    .bind(device.agent.as_str())
    .bind(device.ip.map(|ip| ip.to_string()))
    .bind(unix_micros(session.created_at))
    .bind(unix_micros(session.expires_at))
    .bind(session.answer_sealed.as_deref())
    .execute(db)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn find_opened(db: &mut SqliteConnection, session: &NewSession) -> Result<Option<ProfileRow>, Failure> {
    let found = sqlx::query_as(
        "select users.id, users.user_name, users.name, users.email
         from sessions
         join users on users.id = sessions.user_id
         where sessions.token_hash = ?",
    )
    .bind(session.token_hash.0.as_slice())
    .fetch_optional(db)
    .await?;
    Ok(found)
}
