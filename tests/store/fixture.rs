//! Rows to hand to a store, and questions to ask of its database.

use std::future::Future;
use std::sync::Arc;

use oneclick_login::device::Device;
use oneclick_login::ids::{ClientId, SessionId, UserId};
use oneclick_login::session_token::{SessionToken, TokenHash, random_alphanumeric, sha256};
use oneclick_login::store::{
    CandidateUser, NewSession, Opened, Outcome, PhoneIndex, SessionKey, Store, StoreError, StoredSession, UserStatus,
};
use oneclick_login::verifier::ReplayKey;
use time::{Duration, OffsetDateTime};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

pub const USERS: &str = "select count(*) from users";
pub const SESSIONS: &str = "select count(*) from sessions";

/// What every use of a session checks.
pub const LIVE_SESSIONS: &str = "select count(*) from sessions join users on users.id = sessions.user_id
    where sessions.revoked_at is null and users.status = 'active' and users.session_epoch = sessions.user_epoch";

pub fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(1_790_000_000_123_456_000).unwrap()
}

pub fn number(n: usize) -> PhoneIndex {
    PhoneIndex(sha256(format!("number {n}").as_bytes()))
}

pub fn replay_key(n: usize) -> ReplayKey {
    ReplayKey(sha256(format!("access token {n}").as_bytes()))
}

pub fn client_id() -> ClientId {
    ClientId::parse("nTo1eRIub60vPb54WeE6aojPwYwImtl4").unwrap()
}

/// A login like no other, of an app that registers users.
pub fn login(phone_index: PhoneIndex) -> NewSession {
    NewSession {
        id: SessionId::new(now()),
        token_hash: TokenHash(SessionToken::generate().hash().0),
        replay_key: Some(ReplayKey(sha256(random_alphanumeric(32).as_bytes()))),
        phone_index,
        candidate: Some(CandidateUser { id: UserId::new(now()), phone_sealed: vec![1; 43] }),
        client_id: client_id(),
        device: Device {
            operating_sys_version: "iOS 19.1".to_owned(),
            fingerprint: "a fingerprint".to_owned(),
            agent: "示例 App/1.0".to_owned(),
            ip: Some("2001:db8::7".parse().unwrap()),
        },
        created_at: now(),
        expires_at: now() + Duration::days(5),
        answer_sealed: Some(vec![2; 61]),
    }
}

/// Opens one session, whatever becomes of it.
pub async fn open(store: &Arc<dyn Store>, session: &NewSession) -> Outcome {
    let outcomes = store.open_sessions(std::slice::from_ref(session)).await.unwrap();
    <[Outcome; 1]>::try_from(outcomes).unwrap().into_iter().next().unwrap()
}

pub fn opened(outcome: &Outcome) -> &Opened {
    match outcome {
        Outcome::Opened(opened) => opened,
        other => panic!("not opened: {other:?}"),
    }
}

/// Registers the number's user.
pub async fn user(store: &Arc<dyn Store>, phone_index: PhoneIndex) -> UserId {
    opened(&open(store, &login(phone_index)).await).user.id
}

/// Opens a session of the number's user and gives it as it was handed in.
pub async fn session(store: &Arc<dyn Store>, phone_index: PhoneIndex) -> NewSession {
    let session = login(phone_index);
    opened(&open(store, &session).await);
    session
}

pub async fn find(store: &Arc<dyn Store>, key: SessionKey) -> Option<StoredSession> {
    store.find_session(key, now(), 0).await.unwrap()
}

/// What every use of a session checks, apart from its expiry.
pub fn is_live(session: &StoredSession) -> bool {
    session.revoked_at.is_none() && session.epoch_is_current && session.user.status == UserStatus::Active
}

/// Makes all calls at the same moment and gives what became of them, in the order in which they ended.
pub async fn concurrently<T, F>(calls: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let calls: Vec<_> = calls.into_iter().collect();
    let start = Arc::new(Barrier::new(calls.len()));
    let mut tasks = JoinSet::new();
    for call in calls {
        let start = Arc::clone(&start);
        tasks.spawn(async move {
            start.wait().await;
            call.await
        });
    }
    tasks.join_all().await
}

/// Opens all batches at the same moment and gives their outcomes in the order of the batches. A batch that lost
/// against another one or found no free connection is repeated, as the session writer does.
pub async fn open_concurrently(store: &Arc<dyn Store>, batches: Vec<Vec<NewSession>>) -> Vec<Vec<Outcome>> {
    let mut outcomes = concurrently(batches.into_iter().enumerate().map(|(index, batch)| {
        let store = Arc::clone(store);
        async move { (index, patiently(|| store.open_sessions(&batch)).await) }
    }))
    .await;
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcomes)| outcomes).collect()
}

/// Repeats a call that found no free connection: there are few of them.
pub async fn patiently<T, F>(call: impl Fn() -> F) -> T
where
    T: std::fmt::Debug,
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 0..50 {
        match call().await {
            Err(StoreError::Unavailable(_)) => {}
            result => return result.unwrap(),
        }
    }
    panic!("the store was never available");
}
