//! Batches as such.

use oneclick_login::device::Device;
use oneclick_login::store::{NewSession, Outcome, UserStatus};

use super::Backend;
use super::fixture::{SESSIONS, USERS, login, now, number, open, opened, replay_key, user};

pub async fn an_empty_batch_has_no_outcomes<B: Backend>() {
    let subject = B::migrated().await;
    assert_eq!(subject.store.open_sessions(&[]).await.unwrap(), []);
}

pub async fn a_mixed_batch_keeps_its_order<B: Backend>() {
    let subject = B::migrated().await;
    let known = user(&subject.store, number(1)).await;
    let disabled = user(&subject.store, number(2)).await;
    subject.store.set_user_status(disabled, UserStatus::Disabled, now()).await.unwrap();
    let used = NewSession { replay_key: Some(replay_key(1)), ..login(number(1)) };
    open(&subject.store, &used).await;

    let batch = [
        login(number(2)),
        login(number(3)),
        NewSession { candidate: None, ..login(number(4)) },
        NewSession { replay_key: used.replay_key, ..login(number(1)) },
        login(number(1)),
        login(number(3)),
        used.clone(),
        NewSession { candidate: None, ..login(number(3)) },
    ];
    let outcomes = subject.store.open_sessions(&batch).await.unwrap();
    assert_eq!(outcomes[0], Outcome::UserDisabled);
    assert_eq!(outcomes[2], Outcome::UserNotFound);
    assert_eq!(outcomes[3], Outcome::TokenReplayed);
    assert_eq!(opened(&outcomes[4]).user.id, known);
    assert_eq!(opened(&outcomes[6]).user.id, known);
    let registered = opened(&outcomes[1]);
    assert_eq!(registered.user, opened(&outcomes[5]).user);
    assert_eq!([&outcomes[1], &outcomes[5]].iter().filter(|outcome| opened(outcome).new_user).count(), 1);
    // The number is unknown as the batch begins, and this row's app does not register users: either answer is true.
    assert!(outcomes[7] == Outcome::UserNotFound || opened(&outcomes[7]).user == registered.user);
}

pub async fn a_full_batch_is_opened_whole<B: Backend>() {
    let subject = B::migrated().await;
    let batch: Vec<_> = (0..128).map(|n| login(number(n))).collect();
    let outcomes = subject.store.open_sessions(&batch).await.unwrap();
    for (session, outcome) in batch.iter().zip(&outcomes) {
        assert_eq!(opened(outcome).user.id, session.candidate.as_ref().unwrap().id);
    }
    assert_eq!((subject.sql.count(USERS).await, subject.sql.count(SESSIONS).await), (128, 128));
}

pub async fn a_session_is_stored_as_it_was_handed_in<B: Backend>() {
    let subject = B::migrated().await;
    let full = login(number(1));
    let device = Device { ip: None, ..full.device.clone() };
    let sparse = NewSession { replay_key: None, answer_sealed: None, device, ..login(number(1)) };
    subject.store.open_sessions(&[full, sparse]).await.unwrap();
    let stored = "select count(*) from sessions
        where client_id = 'nTo1eRIub60vPb54WeE6aojPwYwImtl4' and operating_sys_version = 'iOS 19.1'
          and device_fingerprint = 'a fingerprint' and agent = '示例 App/1.0' and user_epoch = 0
          and length(token_hash) = 32 and created_at < expires_at
          and revoked_at is null and first_used_at is null and rotated_at is null
          and previous_token_hash is null and successor_sealed is null";
    assert_eq!(subject.sql.count(stored).await, 2);
    let full = "select count(*) from sessions
        where device_ip = '2001:db8::7' and length(access_token_hash) = 32 and length(answer_sealed) = 61";
    assert_eq!(subject.sql.count(full).await, 1);
    let sparse = "select count(*) from sessions
        where device_ip is null and access_token_hash is null and answer_sealed is null";
    assert_eq!(subject.sql.count(sparse).await, 1);
}
