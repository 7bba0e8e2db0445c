//! Erasing a user: nothing of the person is left, and what guards against misuse is.

use std::sync::Arc;

use oneclick_login::device::Device;
use oneclick_login::ids::UserId;
use oneclick_login::session_token::{FamilyHash, TokenHash};
use oneclick_login::store::{CandidateUser, NewSession, Outcome, Rotation, SessionKey, UserKey, UserStatus};
use time::Duration;

use super::fixture::{LIVE_SESSIONS, SESSIONS, concurrently, find, login, now, number, open, opened, session, user};
use super::tickets::ticket;
use super::{Backend, Subject};

const NAMES: &str = "update users set user_name = 'canary-login', name = 'canary-name', email = 'canary@example.com'";

/// A user with all that can be known of one: names, sessions with devices, a rotation, a ticket.
async fn known_user(subject: &Subject) -> (UserId, NewSession) {
    let device = Device {
        operating_sys_version: "canary-system".to_owned(),
        fingerprint: "canary-fingerprint".to_owned(),
        agent: "canary-agent".to_owned(),
        ip: Some("192.0.2.77".parse().unwrap()),
    };
    let candidate = CandidateUser { id: UserId::new(now()), phone_sealed: vec![0xc1; 43] };
    let session = NewSession { device, candidate: Some(candidate), ..login(number(1)) };
    let store = &subject.store;
    let id = opened(&open(store, &session).await).user.id;
    subject.sql.execute(NAMES).await;
    let mut ticket = ticket("canary", session.id);
    ticket.device_fingerprint = "canary-ticket".to_owned();
    store.add_ticket(&ticket).await.unwrap();
    assert!(store.rotate_session(&rotation(&session)).await.unwrap());
    let unused = NewSession { answer_sealed: Some(vec![0xc2; 61]), ..login(number(1)) };
    opened(&open(store, &unused).await);
    (id, session)
}

fn rotation(session: &NewSession) -> Rotation {
    Rotation {
        family: FamilyHash([7; 32]),
        id: session.id,
        current: session.token_hash,
        successor: TokenHash([5; 32]),
        successor_sealed: vec![0xc3; 61],
        at: now(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a dump of every table tells of the known user.
async fn traces(subject: &Subject) -> Vec<String> {
    let sought = [hex(&number(1).0), hex(&[0xc1; 43]), hex(&[0xc2; 61]), hex(&[0xc3; 61])];
    let named = ["canary-login", "canary-name", "canary@example.com", "192.0.2.77"];
    let device = ["canary-system", "canary-fingerprint", "canary-agent", "canary-ticket"];
    let dump = subject.sql.dump().await;
    let sought = sought.into_iter().chain(named.into_iter().chain(device).map(str::to_owned));
    sought.filter(|sought| dump.contains(sought)).collect()
}

pub async fn an_erased_user_leaves_no_trace_in_any_table<B: Backend>() {
    let subject = B::migrated().await;
    let (id, _) = known_user(&subject).await;
    assert_eq!(traces(&subject).await.len(), 12, "the dump shows what there is");
    assert!(subject.store.erase_user(id, now()).await.unwrap());
    assert_eq!(traces(&subject).await, [""; 0]);
    assert_eq!(subject.sql.count("select count(*) from tickets").await, 0);
}

pub async fn erasing_one_user_leaves_the_others_alone<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let (id, kept) = known_user(&subject).await;
    let other = user(store, number(2)).await;
    assert!(store.erase_user(other, now()).await.unwrap());
    assert_eq!(traces(&subject).await.len(), 12);
    assert!(find(store, SessionKey::Id(kept.id)).await.unwrap().revoked_at.is_none());
    assert!(store.find_user(UserKey::Id(id)).await.unwrap().is_some());
}

pub async fn the_number_of_an_erased_user_registers_afresh<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let (id, _) = known_user(&subject).await;
    store.erase_user(id, now()).await.unwrap();
    assert_eq!(open(store, &NewSession { candidate: None, ..login(number(1)) }).await, Outcome::UserNotFound);
    let again = opened(&open(store, &login(number(1))).await).clone();
    assert!(again.new_user && again.user.id != id);
    assert_eq!((again.user.user_name, again.user.name, again.user.email), (None, None, None));
    assert_eq!(subject.sql.count("select count(*) from users where status = 'erased'").await, 1, "the tombstone");
}

pub async fn an_erased_user_and_its_sessions_are_absent_everywhere<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let (id, session) = known_user(&subject).await;
    assert!(store.erase_user(id, now()).await.unwrap());
    assert_eq!(subject.sql.count(LIVE_SESSIONS).await, 0);
    for key in [
        SessionKey::Id(session.id),
        SessionKey::Token(session.token_hash),
        SessionKey::Token(rotation(&session).successor),
        SessionKey::Replay(session.replay_key.unwrap()),
    ] {
        assert!(find(store, key).await.is_none(), "{key:?}");
    }
    assert!(store.sessions_of_user(id, now()).await.unwrap().is_empty());
    for key in [UserKey::Id(id), UserKey::Phone(number(1))] {
        assert_eq!(store.find_user(key).await.unwrap(), None);
    }
    for status in [UserStatus::Active, UserStatus::Disabled] {
        assert!(!store.set_user_status(id, status, now()).await.unwrap());
    }
    assert!(!store.end_sessions_of_user(id, now()).await.unwrap());
    assert!(!store.erase_user(id, now() + Duration::HOUR).await.unwrap());
    let next = Rotation { current: rotation(&session).successor, successor: TokenHash([6; 32]), ..rotation(&session) };
    assert!(!store.rotate_session(&next).await.unwrap(), "nothing is sealed into it any more");
    assert_eq!(traces(&subject).await, [""; 0]);
}

pub async fn nobody_cannot_be_erased<B: Backend>() {
    let subject = B::migrated().await;
    assert!(!subject.store.erase_user(UserId::new(now()), now()).await.unwrap());
}

pub async fn a_disabled_user_can_be_erased<B: Backend>() {
    let subject = B::migrated().await;
    let (id, _) = known_user(&subject).await;
    subject.store.set_user_status(id, UserStatus::Disabled, now()).await.unwrap();
    assert!(subject.store.erase_user(id, now()).await.unwrap());
    assert_eq!(traces(&subject).await, [""; 0]);
}

pub async fn erasing_is_not_a_status_to_be_set<B: Backend>() {
    let subject = B::migrated().await;
    let id = user(&subject.store, number(1)).await;
    assert!(subject.store.set_user_status(id, UserStatus::Erased, now()).await.is_err());
    assert_eq!(subject.store.find_user(UserKey::Id(id)).await.unwrap().unwrap().status, UserStatus::Active);
    assert_eq!(subject.sql.count(LIVE_SESSIONS).await, 1);
}

pub async fn the_access_tokens_of_an_erased_user_open_no_other_session<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let session = session(store, number(1)).await;
    let id = opened(&open(store, &session).await).user.id;
    store.erase_user(id, now()).await.unwrap();
    let replayed = NewSession { replay_key: session.replay_key, ..login(number(1)) };
    assert_eq!(open(store, &replayed).await, Outcome::TokenReplayed);
    assert_eq!(store.purge(session.expires_at, 100).await.unwrap(), 0, "until its time");
    assert_eq!(subject.sql.count(SESSIONS).await, 1);
}

pub async fn of_concurrent_erasings_one_finds_the_user<B: Backend>() {
    let subject = B::migrated().await;
    let id = user(&subject.store, number(1)).await;
    let erased = concurrently((0..6).map(|_| {
        let store = Arc::clone(&subject.store);
        async move { store.erase_user(id, now()).await.unwrap() }
    }))
    .await;
    assert_eq!(erased.into_iter().filter(|erased| *erased).count(), 1);
    assert_eq!(subject.sql.count("select session_epoch from users").await, 1);
}
