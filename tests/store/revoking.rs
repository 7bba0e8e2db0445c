//! Revoking sessions, one or all of an app's, and listing a user's.

use std::sync::Arc;

use oneclick_login::ids::{ClientId, SessionId, UserId};
use oneclick_login::store::{NewSession, SessionKey, Store};
use time::Duration;

use super::Backend;
use super::fixture::{client_id, concurrently, find, login, now, number, open, opened, patiently, session, user};

async fn revoked_at(store: &Arc<dyn Store>, session: &NewSession) -> Option<time::OffsetDateTime> {
    find(store, SessionKey::Id(session.id)).await.unwrap().revoked_at
}

pub async fn revoking_is_idempotent_and_the_first_time_stands<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let (session, other) = (session(store, number(1)).await, session(store, number(1)).await);
    for minute in [2, 1, 3] {
        assert!(store.revoke_session(session.id, now() + Duration::minutes(minute)).await.unwrap());
        assert_eq!(revoked_at(store, &session).await, Some(now() + Duration::minutes(2)));
    }
    assert!(!store.revoke_session(SessionId::new(now()), now()).await.unwrap());
    assert_eq!(revoked_at(store, &other).await, None);
}

pub async fn the_live_sessions_of_an_app_are_revoked_batch_by_batch<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let ended = user(store, number(1)).await;
    store.end_sessions_of_user(ended, now()).await.unwrap();
    let revoked_before = session(store, number(1)).await;
    store.revoke_session(revoked_before.id, now() - Duration::hours(1)).await.unwrap();
    let expired = NewSession { created_at: now() - Duration::days(1), expires_at: now(), ..login(number(1)) };
    let elsewhere = NewSession { client_id: ClientId::parse("other").unwrap(), ..login(number(1)) };
    store.open_sessions(&[expired.clone(), elsewhere.clone()]).await.unwrap();
    let mut live = Vec::new();
    for n in 0..5 {
        live.push(session(store, number(n % 2)).await);
    }

    for expected in [2, 2, 1, 0, 0] {
        assert_eq!(store.revoke_sessions_of_client(&client_id(), now(), 2).await.unwrap(), expected);
    }
    for session in &live {
        assert_eq!(revoked_at(store, session).await, Some(now()));
    }
    assert_eq!(revoked_at(store, &revoked_before).await, Some(now() - Duration::hours(1)));
    assert_eq!(revoked_at(store, &expired).await, None);
    assert_eq!(revoked_at(store, &elsewhere).await, None);
    assert_eq!(subject.sql.count("select count(*) from sessions where revoked_at is not null").await, 6);
}

pub async fn concurrent_revocations_of_an_app_share_the_work_and_leave_none<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let batch: Vec<_> = (0..60).map(|n| login(number(n % 7))).collect();
    store.open_sessions(&batch).await.unwrap();
    let counts = concurrently((0..6).map(|_| {
        let store = Arc::clone(store);
        async move {
            let (app, mut revoked) = (client_id(), 0);
            loop {
                match patiently(|| store.revoke_sessions_of_client(&app, now(), 7)).await {
                    0 => return revoked,
                    some => revoked += some,
                }
            }
        }
    }))
    .await;
    assert_eq!(counts.iter().sum::<u64>(), 60);
    assert_eq!(subject.sql.count("select count(*) from sessions where revoked_at is null").await, 0);
}

pub async fn the_unexpired_sessions_of_a_user_are_listed_newest_first<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let id = user(store, number(1)).await;
    store.end_sessions_of_user(id, now()).await.unwrap();
    session(store, number(2)).await;
    let older = NewSession { created_at: now() - Duration::hours(1), ..login(number(1)) };
    let at_its_end = NewSession { created_at: now() - Duration::hours(1), expires_at: now(), ..login(number(1)) };
    let newer = NewSession { created_at: now() + Duration::hours(1), ..login(number(1)) };
    let mut ties = [login(number(1)), login(number(1))];
    ties.sort_by_key(|session| session.id);
    for session in [&at_its_end, &ties[0], &newer, &older, &ties[1]] {
        opened(&open(store, session).await);
    }
    store.revoke_session(older.id, now()).await.unwrap();
    store.mark_session_used(newer.id, now()).await.unwrap();

    let listed = store.sessions_of_user(id, now()).await.unwrap();
    let current: Vec<_> = listed.iter().filter(|session| session.epoch_is_current).map(|session| session.id).collect();
    assert_eq!(current, [newer.id, ties[1].id, ties[0].id, older.id]);
    assert_eq!(listed.len(), 5, "the one that was ended is listed, too");
    let (first, last) = (&listed[0], &listed[4]);
    assert_eq!((&first.client_id, first.operating_sys_version.as_str()), (&client_id(), "iOS 19.1"));
    assert_eq!((first.created_at, first.expires_at), (newer.created_at, newer.expires_at));
    assert_eq!((first.first_used_at, first.revoked_at), (Some(now()), None));
    assert_eq!((last.first_used_at, last.revoked_at), (None, Some(now())));
    assert!(store.sessions_of_user(UserId::new(now()), now()).await.unwrap().is_empty());
}

pub async fn no_more_than_a_hundred_sessions_are_listed<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    let batch = (0..110).map(|n| NewSession { created_at: now() + Duration::seconds(n), ..login(number(1)) });
    let batch: Vec<_> = batch.collect();
    let outcomes = store.open_sessions(&batch).await.unwrap();
    let listed = store.sessions_of_user(opened(&outcomes[0]).user.id, now()).await.unwrap();
    let newest: Vec<_> = batch.iter().rev().take(100).map(|session| session.id).collect();
    assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), newest);
}
