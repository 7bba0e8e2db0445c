//! Opening sessions, a batch at a time, in three small statements: open, register, settle. Each is its own commit, and
//! the ordinary batch needs only the first.
//!
//! No lock is taken on a user and no user row is written. Whether a session is live is decided where it is used: its
//! copy of the epoch must still be the user's.

use std::collections::BTreeMap;

use sqlx::FromRow;
use uuid::Uuid;

use super::connections::Caller;
use super::{PostgresStore, Statement};
use crate::ids::UserId;
use crate::store::{NewSession, Opened, Outcome, Profile, StoreError};
use crate::verifier::BoxError;

/// One to find out who is unknown, one after registering them, one for a user who was erased in between.
const MAX_ROUNDS: usize = 3;

/// Inserts a session for each row whose user is known and active, and tells what it knows of every known user. Status,
/// epoch and profile come from the very row version that the insert saw; on that rests the proof at `SET_STATUS` in
/// `users`, that no session opened here outlives a disabling.
///
/// `on conflict do nothing` has no target: with one, a violation of another unique key would fail the whole batch. The
/// order makes concurrent batches wait for each other's keys in one direction only; without it they deadlock.
///
/// `lateral … offset 0` leaves the planner no choice but to look each user up by the index. A prepared plan is kept for
/// long, and one that was made while the table was small would read all of it for every batch (tried: ten times slower
/// at 200,000 users).
const OPEN: &str = r"
with input as (
    select *
    from unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::timestamptz[], $11::timestamptz[], $12::bytea[])
         with ordinality
         as input (id, token_hash, access_token_hash, phone_index, client_id, operating_sys_version,
                   device_fingerprint, agent, device_ip, created_at, expires_at, answer_sealed, position)
),
known as (
    select *
    from input,
         lateral (
             select id as user_id, session_epoch, status, user_name, name, email
             from users
             where users.phone_index = input.phone_index
             offset 0
         ) as the_user
),
opened as (
    insert into sessions (id, token_hash, access_token_hash, user_id, user_epoch, client_id, operating_sys_version,
                          device_fingerprint, agent, device_ip, created_at, expires_at, answer_sealed)
    select id, token_hash, access_token_hash, user_id, session_epoch, client_id, operating_sys_version,
           device_fingerprint, agent, device_ip, created_at, expires_at, answer_sealed
    from known
    where status = 'active'
    order by access_token_hash, token_hash
    on conflict do nothing
    returning id
)
select known.position,
       known.user_id,
       known.user_name,
       known.name,
       known.email,
       known.status = 'active' as active,
       opened.id is not null as opened
from known
left join opened on opened.id = known.id";

/// Makes a user for each unknown number. Somebody else may be doing the same: whoever comes second waits for the first
/// to commit and inserts nothing, and a statement after this one sees who won (one within it would not).
const REGISTER: &str = r"
insert into users (id, phone_index, phone_sealed, created_at, updated_at)
select distinct on (phone_index)
       id, phone_index, phone_sealed, created_at, created_at
from unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::timestamptz[])
     with ordinality
     as candidate (id, phone_index, phone_sealed, created_at, position)
order by phone_index, position
on conflict do nothing";

/// Which of the sessions are there after all: those that an earlier try committed, whose answer was lost.
///
/// That try may have been committed here and on no standby yet (its backend was ended while it waited for one). So this
/// statement commits something of its own: its commit record lies behind the earlier one, and waits for the standby.
const SETTLE: &str = r"
with behind as materialized (
    select pg_logical_emit_message(true, 'oneclick-login', '')
)
select input.position,
       users.id as user_id,
       users.user_name,
       users.name,
       users.email,
       true as active,
       true as opened
from behind,
     unnest($1::bytea[]) with ordinality as input (token_hash, position),
     lateral (select user_id from sessions where sessions.token_hash = input.token_hash offset 0) as mine,
     lateral (select * from users where users.id = mine.user_id offset 0) as users";

/// Does what a login does to the tables, with every check and trigger on the way, and takes it back; what it commits is
/// the probe's own row, so that the commit itself is tried as well.
const PROBE: &str = r"
do $$
begin
    insert into write_probe (probed_at)
    values (now())
    on conflict (id) do update set probed_at = excluded.probed_at;
    begin
        insert into sessions (id, token_hash, access_token_hash, user_id, user_epoch, client_id,
                              operating_sys_version, device_fingerprint, agent, created_at, expires_at)
        select gen_random_uuid(), sha256(draw.bytes), sha256(draw.bytes),
               coalesce((select id from users where phone_index = draw.bytes), gen_random_uuid()), 0, 'probe',
               'probe', 'probe', 'probe', now(), now() + interval '1 second'
        from (select uuid_send(gen_random_uuid()) as bytes) as draw;
        raise exception sqlstate 'OC000';
    exception
        when sqlstate 'OC000' then null;
    end;
end
$$";

#[derive(FromRow)]
struct KnownRow {
    /// Counted from 1.
    position: i64,
    user_id: Uuid,
    user_name: Option<String>,
    name: Option<String>,
    email: Option<String>,
    active: bool,
    opened: bool,
}

impl PostgresStore {
    pub(super) async fn open_batch(&self, sessions: &[NewSession]) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = BTreeMap::new();
        let mut pending: Vec<usize> = (0..sessions.len()).collect();
        for _ in 0..MAX_ROUNDS {
            if pending.is_empty() {
                break;
            }
            let known = self.fetch_known(open(&at(sessions, &pending)), &pending).await?;
            let mut unsettled = Vec::new();
            let mut unknown = Vec::new();
            for index in pending {
                match (known.get(&index), &sessions[index].candidate) {
                    (Some(row), _) if row.opened => drop(outcomes.insert(index, row.outcome(&sessions[index]))),
                    (Some(row), _) if !row.active => drop(outcomes.insert(index, Outcome::UserDisabled)),
                    (Some(_), _) => unsettled.push(index),
                    (None, Some(_)) => unknown.push(index),
                    (None, None) => drop(outcomes.insert(index, Outcome::UserNotFound)),
                }
            }
            if !unsettled.is_empty() {
                let mine = self.fetch_known(settle(&at(sessions, &unsettled)), &unsettled).await?;
                // Mine is there: an earlier try was committed. Otherwise the access token's is, and is another's.
                outcomes.extend(unsettled.into_iter().map(|index| {
                    let mine = mine.get(&index).map(|row| row.outcome(&sessions[index]));
                    (index, mine.unwrap_or(Outcome::TokenReplayed))
                }));
            }
            if !unknown.is_empty() {
                self.fetch_for::<()>(Caller::Login, register(&at(sessions, &unknown))).await?;
            }
            pending = unknown;
        }
        if pending.is_empty() {
            Ok(outcomes.into_values().collect())
        } else {
            Err(StoreError::Conflict(BoxError::from("users that were registered are gone again")))
        }
    }

    pub(super) async fn probe_opening(&self) -> Result<(), StoreError> {
        self.fetch_for::<()>(Caller::Control, sqlx::query(PROBE)).await.map(drop)
    }

    /// Runs a statement over the sessions at `indices` and gives its rows by index.
    async fn fetch_known(
        &self,
        statement: Statement<'_>,
        indices: &[usize],
    ) -> Result<BTreeMap<usize, KnownRow>, StoreError> {
        let rows: Vec<KnownRow> = self.fetch_for(Caller::Login, statement).await?;
        let index_of = |row: &KnownRow| indices.get(usize::try_from(row.position - 1).ok()?).copied();
        rows.into_iter().map(|row| Ok((index_of(&row).ok_or(StoreError::Corrupt { what: "position" })?, row))).collect()
    }
}

impl KnownRow {
    fn outcome(&self, session: &NewSession) -> Outcome {
        let id = UserId(self.user_id);
        // The id drawn for this login came back, so this login registered the user; a repetition finds the same.
        let new_user = session.candidate.as_ref().is_some_and(|candidate| candidate.id == id);
        let user =
            Profile { id, user_name: self.user_name.clone(), name: self.name.clone(), email: self.email.clone() };
        Outcome::Opened(Opened { user, new_user })
    }
}

fn at<'s>(sessions: &'s [NewSession], indices: &[usize]) -> Vec<&'s NewSession> {
    indices.iter().map(|index| &sessions[*index]).collect()
}

fn column<'s, T>(sessions: &[&'s NewSession], value: impl Fn(&'s NewSession) -> T) -> Vec<T> {
    sessions.iter().copied().map(value).collect()
}

fn open<'q>(sessions: &[&NewSession]) -> Statement<'q> {
    sqlx::query(OPEN)
        .bind(column(sessions, |session| session.id.0))
        .bind(column(sessions, |session| &session.token_hash.0[..]))
        .bind(column(sessions, |session| session.replay_key.as_ref().map(|key| &key.0[..])))
        .bind(column(sessions, |session| &session.phone_index.0[..]))
        .bind(column(sessions, |session| session.client_id.as_str()))
        .bind(column(sessions, |session| session.device.operating_sys_version.as_str()))
        .bind(column(sessions, |session| session.device.fingerprint.as_str()))
        .bind(column(sessions, |session| session.device.agent.as_str()))
        .bind(column(sessions, |session| session.device.ip.map(|ip| ip.to_string())))
        .bind(column(sessions, |session| session.created_at))
        .bind(column(sessions, |session| session.expires_at))
        .bind(column(sessions, |session| session.answer_sealed.as_deref()))
}

fn register<'q>(sessions: &[&NewSession]) -> Statement<'q> {
    let candidates: Vec<_> =
        sessions.iter().filter_map(|session| Some((session, session.candidate.as_ref()?))).collect();
    sqlx::query(REGISTER)
        .bind(candidates.iter().map(|(_, candidate)| candidate.id.0).collect::<Vec<_>>())
        .bind(candidates.iter().map(|(session, _)| &session.phone_index.0[..]).collect::<Vec<_>>())
        .bind(candidates.iter().map(|(_, candidate)| candidate.phone_sealed.as_slice()).collect::<Vec<_>>())
        .bind(candidates.iter().map(|(session, _)| session.created_at).collect::<Vec<_>>())
}

fn settle<'q>(sessions: &[&NewSession]) -> Statement<'q> {
    sqlx::query(SETTLE).bind(column(sessions, |session| &session.token_hash.0[..]))
}
