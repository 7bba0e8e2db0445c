//! Counting the newer live sessions of a session's user.

use oneclick_login::ids::SessionId;
use oneclick_login::store::{NewSession, SessionKey};
use time::Duration;

use super::fixture::{login, now, number, open, opened};
use super::{Backend, Subject};

/// A session of the number's user, opened some minutes from now.
async fn opened_after(subject: &Subject, minutes: i64) -> NewSession {
    let created_at = now() + Duration::minutes(minutes);
    let session = NewSession { id: SessionId::new(created_at), created_at, ..login(number(1)) };
    opened(&open(&subject.store, &session).await);
    session
}

async fn newer(subject: &Subject, session: &NewSession, up_to: u32) -> u32 {
    let key = SessionKey::Token(session.token_hash);
    subject.store.find_session(key, now(), up_to).await.unwrap().unwrap().newer_live
}

pub async fn newer_sessions_are_counted_up_to_the_limit<B: Backend>() {
    let subject = B::migrated().await;
    let mut sessions = Vec::new();
    for minutes in [2, 0, 4, 1, 3] {
        sessions.push(opened_after(&subject, minutes).await);
    }
    sessions.sort_by_key(|session| session.created_at);
    for (older, session) in sessions.iter().enumerate() {
        let expected = u32::try_from(4 - older).unwrap();
        for limit in [0, 1, 2, 4, 5, u32::MAX] {
            assert_eq!(newer(&subject, session, limit).await, expected.min(limit), "of {older}, up to {limit}");
        }
        let by_id = subject.store.find_session(SessionKey::Id(session.id), now(), 9).await.unwrap().unwrap();
        assert_eq!(by_id.newer_live, expected);
    }
}

pub async fn of_sessions_opened_at_the_same_moment_the_id_says_which_is_newer<B: Backend>() {
    let subject = B::migrated().await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(opened_after(&subject, 0).await);
    }
    sessions.sort_by_key(|session| session.id);
    for (older, session) in sessions.iter().enumerate() {
        assert_eq!(newer(&subject, session, 9).await, u32::try_from(5 - older).unwrap());
    }
}

pub async fn sessions_that_are_dead_or_another_users_do_not_count<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    // Ended with all that the user had by then, though they are newer than the one that asks.
    for _ in 0..2 {
        let ended = opened_after(&subject, 10).await;
        let id = opened(&open(store, &ended).await).user.id;
        store.end_sessions_of_user(id, now()).await.unwrap();
    }
    let subject_session = opened_after(&subject, 0).await;
    let revoked = opened_after(&subject, 11).await;
    store.revoke_session(revoked.id, now()).await.unwrap();
    let created_at = now() + Duration::minutes(1);
    for expires_at in [now() + Duration::minutes(2), now() + Duration::minutes(3)] {
        opened(&open(store, &NewSession { created_at, expires_at, ..login(number(1)) }).await);
    }
    opened(&open(store, &NewSession { created_at, ..login(number(2)) }).await);

    let key = SessionKey::Id(subject_session.id);
    for (at, expected) in [(0, 2), (119, 2), (120, 1), (179, 1), (180, 0)] {
        let found = store.find_session(key, now() + Duration::seconds(at), 9).await.unwrap().unwrap();
        assert_eq!(found.newer_live, expected, "after {at} s");
    }
}
