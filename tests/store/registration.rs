//! Finding a user by number, or registering one.

use std::collections::BTreeSet;

use oneclick_login::store::{NewSession, Outcome, Profile, UserKey, UserStatus};

use super::Backend;
use super::fixture::{SESSIONS, USERS, login, now, number, open, open_concurrently, opened, user};

pub async fn an_unknown_number_is_registered_once_and_found_ever_after<B: Backend>() {
    let subject = B::migrated().await;
    let first = login(number(1));
    let candidate = first.candidate.clone().unwrap();
    let registered = opened(&open(&subject.store, &first).await).clone();
    assert!(registered.new_user);
    assert_eq!(registered.user, Profile { id: candidate.id, user_name: None, name: None, email: None });

    let found = opened(&open(&subject.store, &login(number(1))).await).clone();
    assert!(!found.new_user);
    assert_eq!(found.user, registered.user);
    let unregistering = NewSession { candidate: None, ..login(number(1)) };
    assert_eq!(opened(&open(&subject.store, &unregistering).await), &found);

    for key in [UserKey::Id(candidate.id), UserKey::Phone(number(1))] {
        let user = subject.store.find_user(key).await.unwrap().unwrap();
        assert_eq!(user.profile, found.user);
        assert_eq!(user.phone_sealed, candidate.phone_sealed);
        assert_eq!(user.status, UserStatus::Active);
        assert_eq!((user.created_at, user.updated_at), (now(), now()));
    }
    assert_eq!(subject.store.find_user(UserKey::Phone(number(2))).await.unwrap(), None);
    assert_eq!((subject.sql.count(USERS).await, subject.sql.count(SESSIONS).await), (1, 3));
}

pub async fn the_profile_of_the_user_comes_back_with_the_session<B: Backend>() {
    let subject = B::migrated().await;
    let id = user(&subject.store, number(1)).await;
    subject.sql.execute("update users set user_name = 'zhang', name = '张三', email = 'z@example.com'").await;
    let expected = Profile {
        id,
        user_name: Some("zhang".to_owned()),
        name: Some("张三".to_owned()),
        email: Some("z@example.com".to_owned()),
    };
    let session = login(number(1));
    assert_eq!(opened(&open(&subject.store, &session).await).user, expected);
    assert_eq!(opened(&open(&subject.store, &session).await).user, expected, "the same for a repetition");
}

pub async fn an_unknown_number_is_not_found_where_registration_is_off_and_leaves_no_row<B: Backend>() {
    let subject = B::migrated().await;
    let session = NewSession { candidate: None, ..login(number(1)) };
    assert_eq!(open(&subject.store, &session).await, Outcome::UserNotFound);
    assert_eq!((subject.sql.count(USERS).await, subject.sql.count(SESSIONS).await), (0, 0));
}

pub async fn hundreds_of_concurrent_first_logins_of_one_number_make_one_user<B: Backend>() {
    let subject = B::migrated().await;
    let batches = (0..20).map(|_| (0..12).map(|_| login(number(1))).collect()).collect();
    let outcomes = open_concurrently(&subject.store, batches).await.concat();
    assert_eq!(outcomes.len(), 240);
    let users: BTreeSet<_> = outcomes.iter().map(|outcome| opened(outcome).user.id).collect();
    assert_eq!(users.len(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| opened(outcome).new_user).count(), 1);
    assert_eq!((subject.sql.count(USERS).await, subject.sql.count(SESSIONS).await), (1, 240));
}

pub async fn concurrent_first_logins_of_many_numbers_in_any_order_make_each_user_once<B: Backend>() {
    let subject = B::migrated().await;
    // Every batch names the same numbers from another one on, some of them backwards.
    let batch = |shift: usize| {
        let mut batch: Vec<_> = (0..30).map(|n| login(number((n + shift * 7) % 30))).collect();
        if shift.is_multiple_of(2) {
            batch.reverse();
        }
        batch
    };
    let outcomes = open_concurrently(&subject.store, (0..10).map(batch).collect()).await.concat();
    assert_eq!(outcomes.iter().filter(|outcome| opened(outcome).new_user).count(), 30);
    assert_eq!((subject.sql.count(USERS).await, subject.sql.count(SESSIONS).await), (30, 300));
}
