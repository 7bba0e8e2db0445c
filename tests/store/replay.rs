//! The replay guard: an access token opens one session, whoever presents it how often and where.

use oneclick_login::store::{NewSession, Outcome, UserStatus};

use super::Backend;
use super::fixture::{SESSIONS, login, now, number, open, open_concurrently, replay_key, user};

fn with_token(token: usize, number_of: usize) -> NewSession {
    NewSession { replay_key: Some(replay_key(token)), ..login(number(number_of)) }
}

fn count_opened(outcomes: &[Outcome]) -> usize {
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Opened(_) | Outcome::TokenReplayed)));
    outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Opened(_))).count()
}

pub async fn an_access_token_opens_one_session_only<B: Backend>() {
    let subject = B::migrated().await;
    let first = with_token(1, 1);
    let opened = open(&subject.store, &first).await;
    assert!(matches!(opened, Outcome::Opened(_)));
    for number in [1, 2] {
        let replayed = with_token(1, number);
        assert_eq!(open(&subject.store, &replayed).await, Outcome::TokenReplayed);
        assert_eq!(open(&subject.store, &replayed).await, Outcome::TokenReplayed, "the same for a repetition");
    }
    assert_eq!(open(&subject.store, &first).await, opened, "a repetition is no replay");
    assert_eq!(subject.sql.count(SESSIONS).await, 1);
}

pub async fn an_access_token_opens_one_session_only_within_one_batch<B: Backend>() {
    let subject = B::migrated().await;
    let batch = [with_token(1, 1), with_token(2, 1), with_token(1, 1), with_token(1, 2)];
    let outcomes = subject.store.open_sessions(&batch).await.unwrap();
    assert!(matches!(outcomes[1], Outcome::Opened(_)));
    assert_eq!(count_opened(&outcomes), 2);
    assert_eq!(subject.sql.count(SESSIONS).await, 2);
}

pub async fn an_access_token_opens_one_session_only_among_concurrent_batches<B: Backend>() {
    let subject = B::migrated().await;
    user(&subject.store, number(1)).await;
    for token in 0..20 {
        let batches = (0..8).map(|_| vec![with_token(token, 1)]).collect();
        assert_eq!(count_opened(&open_concurrently(&subject.store, batches).await.concat()), 1);
    }
    assert_eq!(subject.sql.count(SESSIONS).await, 21);
}

pub async fn logins_without_a_replay_key_may_be_repeated<B: Backend>() {
    let subject = B::migrated().await;
    let batch: Vec<_> = (0..3).map(|_| NewSession { replay_key: None, ..login(number(1)) }).collect();
    assert_eq!(count_opened(&subject.store.open_sessions(&batch).await.unwrap()), 3);
    assert_eq!(subject.sql.count(SESSIONS).await, 3);
}

pub async fn a_replayed_token_of_an_unknown_user_says_that_the_user_is_not_found<B: Backend>() {
    let subject = B::migrated().await;
    open(&subject.store, &with_token(1, 1)).await;
    let replayed = NewSession { candidate: None, ..with_token(1, 2) };
    assert_eq!(open(&subject.store, &replayed).await, Outcome::UserNotFound);
}

pub async fn a_replayed_token_of_a_disabled_user_says_that_the_user_is_disabled<B: Backend>() {
    let subject = B::migrated().await;
    open(&subject.store, &with_token(1, 1)).await;
    let disabled = user(&subject.store, number(2)).await;
    subject.store.set_user_status(disabled, UserStatus::Disabled, now()).await.unwrap();
    assert_eq!(open(&subject.store, &with_token(1, 2)).await, Outcome::UserDisabled);
}

pub async fn concurrent_batches_with_the_same_tokens_in_any_order_never_block_each_other_for_good<B: Backend>() {
    let subject = B::migrated().await;
    for round in 0..15 {
        // Tokens from a small pool, in an order that each batch draws for itself: most of them meet another batch's.
        let token = |batch: usize, row: usize| round * 40 + (row * (2 * batch + 3) + batch * 11) % 40;
        let batches = (0..8).map(|batch| (0..25).map(|row| with_token(token(batch, row), row % 5)).collect()).collect();
        let outcomes = open_concurrently(&subject.store, batches).await.concat();
        let tokens: std::collections::BTreeSet<_> =
            (0..8).flat_map(|batch| (0..25).map(move |row| token(batch, row))).collect();
        assert_eq!(count_opened(&outcomes), tokens.len());
    }
}
