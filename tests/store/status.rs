//! Disabled users, and the sessions that die with the disabling.

use std::sync::Arc;

use oneclick_login::ids::UserId;
use oneclick_login::store::{Outcome, SessionKey, UserKey, UserStatus};
use time::Duration;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::Backend;
use super::fixture::{LIVE_SESSIONS, SESSIONS, find, is_live, login, now, number, open, opened, user};

pub async fn a_disabled_user_is_refused_and_gets_no_session<B: Backend>() {
    let subject = B::migrated().await;
    let id = user(&subject.store, number(1)).await;
    let later = now() + Duration::hours(1);
    assert!(subject.store.set_user_status(id, UserStatus::Disabled, later).await.unwrap());
    assert_eq!(open(&subject.store, &login(number(1))).await, Outcome::UserDisabled);
    assert_eq!(subject.sql.count(SESSIONS).await, 1);
    let user = subject.store.find_user(UserKey::Id(id)).await.unwrap().unwrap();
    assert_eq!((user.status, user.created_at, user.updated_at), (UserStatus::Disabled, now(), later));
}

pub async fn a_repetition_after_the_disabling_is_refused<B: Backend>() {
    let subject = B::migrated().await;
    let session = login(number(1));
    let id = opened(&open(&subject.store, &session).await).user.id;
    subject.store.set_user_status(id, UserStatus::Disabled, now()).await.unwrap();
    assert_eq!(open(&subject.store, &session).await, Outcome::UserDisabled);
}

pub async fn disabling_ends_every_session_and_enabling_revives_none<B: Backend>() {
    let subject = B::migrated().await;
    let id = user(&subject.store, number(1)).await;
    user(&subject.store, number(1)).await;
    assert_eq!(subject.sql.count(LIVE_SESSIONS).await, 2);
    for status in [UserStatus::Disabled, UserStatus::Active] {
        assert!(subject.store.set_user_status(id, status, now()).await.unwrap());
        assert_eq!(subject.sql.count(LIVE_SESSIONS).await, 0);
    }
    user(&subject.store, number(1)).await;
    assert_eq!(subject.sql.count(LIVE_SESSIONS).await, 1, "a login after the enabling copies the epoch of then");
}

pub async fn a_status_that_is_there_already_changes_nothing<B: Backend>() {
    let subject = B::migrated().await;
    let id = user(&subject.store, number(1)).await;
    let disabled_at = now() + Duration::hours(1);
    assert!(subject.store.set_user_status(id, UserStatus::Active, disabled_at).await.unwrap());
    assert_eq!(subject.sql.count(LIVE_SESSIONS).await, 1);
    for hour in 1..4 {
        assert!(subject.store.set_user_status(id, UserStatus::Disabled, now() + Duration::hours(hour)).await.unwrap());
    }
    assert_eq!(subject.sql.count("select session_epoch from users").await, 1);
    let user = subject.store.find_user(UserKey::Id(id)).await.unwrap().unwrap();
    assert_eq!(user.updated_at, disabled_at);
}

pub async fn a_status_of_nobody_is_not_set<B: Backend>() {
    let subject = B::migrated().await;
    assert!(!subject.store.set_user_status(UserId::new(now()), UserStatus::Disabled, now()).await.unwrap());
}

pub async fn a_login_racing_with_the_disabling_leaves_no_live_session<B: Backend>() {
    const LOGINS: usize = 6;
    let subject = B::migrated().await;
    let id = user(&subject.store, number(1)).await;
    let mut outcomes_seen = [0_usize; 2];
    for round in 0..80 {
        let start = Arc::new(Barrier::new(LOGINS + 1));
        let mut logins = JoinSet::new();
        for _ in 0..LOGINS {
            let (store, start) = (Arc::clone(&subject.store), Arc::clone(&start));
            logins.spawn(async move {
                let login = login(number(1));
                start.wait().await;
                (login.token_hash, open(&store, &login).await)
            });
        }
        start.wait().await;
        tokio::time::sleep(std::time::Duration::from_micros(round * 40)).await;
        subject.store.set_user_status(id, UserStatus::Disabled, now()).await.unwrap();
        let logins = logins.join_all().await;
        for status in [UserStatus::Disabled, UserStatus::Active] {
            subject.store.set_user_status(id, status, now()).await.unwrap();
            for (token, _) in &logins {
                let found = find(&subject.store, SessionKey::Token(*token)).await;
                assert!(found.is_none_or(|session| !is_live(&session)), "round {round}");
            }
        }
        for (_, outcome) in logins {
            outcomes_seen[usize::from(outcome == Outcome::UserDisabled)] += 1;
        }
        assert_eq!(subject.sql.count(LIVE_SESSIONS).await, 0, "round {round}");
    }
    assert_eq!(outcomes_seen.iter().sum::<usize>(), 80 * LOGINS);
    assert!(outcomes_seen[0] > 0, "some login was quicker than the disabling");
}
