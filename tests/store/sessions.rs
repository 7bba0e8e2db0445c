//! Finding a session by what is known of it, and noting its first use.

use oneclick_login::ids::{SessionId, UserId};
use oneclick_login::session_token::TokenHash;
use oneclick_login::store::{NewSession, SessionKey, UserKey, UserStatus};
use time::Duration;

use super::Backend;
use super::fixture::{find, is_live, login, now, number, open, opened, replay_key, session};

pub async fn a_session_is_found_by_id_by_token_and_by_access_token_as_it_was_opened<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let first = session(store, number(1)).await;
    session(store, number(1)).await;
    session(store, number(2)).await;
    let user = store.find_user(UserKey::Phone(number(1))).await.unwrap().unwrap();
    for key in
        [SessionKey::Id(first.id), SessionKey::Token(first.token_hash), SessionKey::Replay(first.replay_key.unwrap())]
    {
        let found = find(store, key).await.unwrap();
        assert_eq!((found.id, &found.user), (first.id, &user));
        assert_eq!((&found.client_id, &found.device_fingerprint), (&first.client_id, &first.device.fingerprint));
        assert_eq!((found.created_at, found.expires_at), (first.created_at, first.expires_at));
        assert_eq!((found.first_used_at, found.revoked_at), (None, None));
        assert_eq!(found.answer_sealed, first.answer_sealed);
        assert!(found.epoch_is_current && found.superseded.is_none());
        assert_eq!(found.newer_live, 0, "nothing was to be counted");
    }
}

pub async fn a_session_that_is_not_there_is_not_found<B: Backend>() {
    let subject = B::migrated().await;
    let unguarded = NewSession { replay_key: None, ..login(number(1)) };
    open(&subject.store, &unguarded).await;
    for key in [
        SessionKey::Id(SessionId::new(now())),
        SessionKey::Token(TokenHash([7; 32])),
        // What one column holds is not found in another.
        SessionKey::Token(TokenHash(replay_key(1).0)),
        SessionKey::Replay(replay_key(1)),
    ] {
        assert!(find(&subject.store, key).await.is_none(), "{key:?}");
    }
}

pub async fn a_session_past_its_time_or_of_a_disabled_user_is_found_and_says_so<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let session = session(store, number(1)).await;
    let key = SessionKey::Token(session.token_hash);
    let found = store.find_session(key, session.expires_at + Duration::days(1), 1).await.unwrap().unwrap();
    assert_eq!(found.expires_at, session.expires_at);

    store.set_user_status(found.user.profile.id, UserStatus::Disabled, now()).await.unwrap();
    let found = find(store, key).await.unwrap();
    assert_eq!((found.user.status, found.epoch_is_current), (UserStatus::Disabled, false));
    store.set_user_status(found.user.profile.id, UserStatus::Active, now()).await.unwrap();
    let found = find(store, key).await.unwrap();
    assert_eq!((found.user.status, found.epoch_is_current), (UserStatus::Active, false));
}

pub async fn the_first_use_of_a_session_stands<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let used = session(store, number(1)).await;
    let unused = session(store, number(1)).await;
    for minute in [3, 1, 5] {
        store.mark_session_used(used.id, now() + Duration::minutes(minute)).await.unwrap();
        let found = find(store, SessionKey::Id(used.id)).await.unwrap();
        assert_eq!(found.first_used_at, Some(now() + Duration::minutes(3)));
    }
    store.mark_session_used(SessionId::new(now()), now()).await.unwrap();
    assert_eq!(find(store, SessionKey::Id(unused.id)).await.unwrap().first_used_at, None);
}

pub async fn ending_the_sessions_of_a_user_leaves_the_user_active_and_later_logins_alive<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let ended = [session(store, number(1)).await, session(store, number(1)).await];
    let other = session(store, number(2)).await;
    let id = opened(&open(store, &ended[0]).await).user.id;
    let later = now() + Duration::hours(1);
    assert!(store.end_sessions_of_user(id, later).await.unwrap());
    assert!(!store.end_sessions_of_user(UserId::new(now()), later).await.unwrap());

    for session in &ended {
        assert!(!is_live(&find(store, SessionKey::Id(session.id)).await.unwrap()));
    }
    assert!(is_live(&find(store, SessionKey::Id(other.id)).await.unwrap()));
    let user = store.find_user(UserKey::Id(id)).await.unwrap().unwrap();
    assert_eq!((user.status, user.updated_at), (UserStatus::Active, later));
    let after = session(store, number(1)).await;
    assert!(is_live(&find(store, SessionKey::Id(after.id)).await.unwrap()));
}
