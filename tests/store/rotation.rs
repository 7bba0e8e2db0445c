//! Replacing a session's token: one successor for each, and one way back.

use std::sync::Arc;

use oneclick_login::ids::SessionId;
use oneclick_login::session_token::{FamilyHash, TokenHash, sha256};
use oneclick_login::store::{DeadAnswers, NewSession, Rotation, SessionKey, StoreError};
use time::Duration;

use super::Backend;
use super::fixture::{concurrently, find, login, now, number, open, patiently, session};

fn token(name: &str) -> TokenHash {
    TokenHash(sha256(name.as_bytes()))
}

const FAMILY: FamilyHash = FamilyHash([3; 32]);

fn rotation(session: &NewSession, current: TokenHash, successor: &str) -> Rotation {
    Rotation {
        id: session.id,
        current,
        successor: token(successor),
        successor_sealed: successor.as_bytes().to_vec(),
        family: FAMILY,
        at: now() + Duration::hours(1),
    }
}

pub async fn a_rotated_session_is_found_by_its_token_by_the_one_before_and_by_its_family<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let session = session(store, number(1)).await;
    let first = rotation(&session, session.token_hash, "second");
    assert!(store.rotate_session(&first).await.unwrap());

    for key in [SessionKey::Token(token("second")), SessionKey::Id(session.id)] {
        let found = find(store, key).await.unwrap();
        assert!(found.id == session.id && found.superseded.is_none());
        assert_eq!(found.first_used_at, Some(first.at));
    }
    let found = find(store, SessionKey::Token(session.token_hash)).await.unwrap();
    let superseded = found.superseded.unwrap();
    assert_eq!(found.id, session.id);
    assert_eq!((superseded.rotated_at, superseded.successor_sealed), (first.at, Some(b"second".to_vec())));

    let second = Rotation { at: first.at + Duration::hours(1), ..rotation(&session, token("second"), "third") };
    assert!(store.rotate_session(&second).await.unwrap());
    assert!(find(store, SessionKey::Token(session.token_hash)).await.is_none());
    assert_eq!(find(store, SessionKey::Family(FAMILY)).await.unwrap().id, session.id);
    assert!(find(store, SessionKey::Family(FamilyHash([4; 32]))).await.is_none());
    let superseded = find(store, SessionKey::Token(token("second"))).await.unwrap().superseded.unwrap();
    assert_eq!((superseded.rotated_at, superseded.successor_sealed), (second.at, Some(b"third".to_vec())));
    let found = find(store, SessionKey::Token(token("third"))).await.unwrap();
    assert_eq!(found.first_used_at, Some(first.at), "the first use stands");
    assert!(find(store, SessionKey::Replay(session.replay_key.unwrap())).await.is_some());
}

pub async fn only_the_current_token_of_an_unrevoked_session_is_rotated<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let (session, other) = (session(store, number(1)).await, session(store, number(1)).await);
    assert!(!store.rotate_session(&rotation(&session, token("never"), "next")).await.unwrap());
    assert!(!store.rotate_session(&rotation(&session, other.token_hash, "next")).await.unwrap());
    let stranger = NewSession { id: SessionId::new(now()), ..session.clone() };
    assert!(!store.rotate_session(&rotation(&stranger, session.token_hash, "next")).await.unwrap());

    store.revoke_session(session.id, now()).await.unwrap();
    assert!(!store.rotate_session(&rotation(&session, session.token_hash, "next")).await.unwrap());
    assert!(find(store, SessionKey::Token(token("next"))).await.is_none());
    let found = find(store, SessionKey::Token(session.token_hash)).await.unwrap();
    assert!(found.superseded.is_none() && found.first_used_at.is_none());
}

pub async fn a_successor_that_is_another_sessions_token_is_refused<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let (session, other) = (session(store, number(1)).await, session(store, number(1)).await);
    let bad = Rotation { successor: other.token_hash, ..rotation(&session, session.token_hash, "next") };
    assert!(matches!(store.rotate_session(&bad).await, Err(StoreError::Data(_))));
    assert!(find(store, SessionKey::Token(session.token_hash)).await.unwrap().superseded.is_none());
}

pub async fn of_many_concurrent_rotations_of_one_token_exactly_one_gives_the_successor<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let session = session(store, number(1)).await;
    let rotations = (0..64).map(|n| rotation(&session, session.token_hash, &format!("successor {n}")));
    let outcomes = concurrently(rotations.map(|rotation| {
        let store = Arc::clone(store);
        async move { (patiently(|| store.rotate_session(&rotation)).await, rotation) }
    }))
    .await;
    let winners: Vec<_> = outcomes.iter().filter(|(rotated, _)| *rotated).collect();
    let [(_, winner)] = winners[..] else { panic!("{} successors", winners.len()) };
    assert!(find(store, SessionKey::Token(winner.successor)).await.unwrap().superseded.is_none());
    let superseded = find(store, SessionKey::Token(session.token_hash)).await.unwrap().superseded.unwrap();
    assert_eq!(superseded.successor_sealed, Some(winner.successor_sealed.clone()));
    for (_, loser) in outcomes.iter().filter(|(rotated, _)| !rotated) {
        assert!(find(store, SessionKey::Token(loser.successor)).await.is_none());
    }
}

/// The session writer repeats a batch whose answer was lost; meanwhile the session may have been used.
pub async fn opening_a_rotated_session_again_opens_no_second_one<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let guarded = login(number(1));
    open(store, &guarded).await;
    assert!(store.rotate_session(&rotation(&guarded, guarded.token_hash, "next")).await.unwrap());
    open(store, &guarded).await;
    assert_eq!(subject.sql.count(super::fixture::SESSIONS).await, 1);
}

pub async fn sealed_answers_go_at_the_first_use_or_when_nobody_may_ask_for_them<B: Backend>() {
    const SEALED: &str = "select count(answer_sealed) from sessions";
    const SUCCESSORS: &str = "select count(successor_sealed) from sessions";
    let subject = B::migrated().await;
    let store = &subject.store;
    let used = session(store, number(1)).await;
    store.mark_session_used(used.id, now()).await.unwrap();
    assert_eq!(subject.sql.count(SEALED).await, 0);
    let rotated = session(store, number(2)).await;
    let rotation = rotation(&rotated, rotated.token_hash, "second");
    assert!(store.rotate_session(&rotation).await.unwrap());
    assert_eq!((subject.sql.count(SEALED).await, subject.sql.count(SUCCESSORS).await), (0, 1));

    session(store, number(3)).await;
    let (early, late) = (now() - Duration::hours(1)..now(), now()..now() + Duration::SECOND);
    for (opened, rotated_before, left) in
        [(early, rotation.at, (1, 1)), (late, rotation.at + Duration::MICROSECOND, (0, 0))]
    {
        while store.forget_answers(&DeadAnswers { opened: opened.clone(), rotated_before }, 1).await.unwrap() > 0 {}
        assert_eq!((subject.sql.count(SEALED).await, subject.sql.count(SUCCESSORS).await), left);
    }
    let found = find(store, SessionKey::Token(rotated.token_hash)).await.unwrap();
    assert_eq!(found.superseded.unwrap().successor_sealed, None);
}
