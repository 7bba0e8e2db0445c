//! Opening the same sessions again: what a caller does who does not know what became of the last try.

use oneclick_login::store::NewSession;

use super::Backend;
use super::fixture::{SESSIONS, USERS, login, number, open, open_concurrently, opened};

pub async fn the_same_row_again_gives_the_same_outcome_and_no_second_session<B: Backend>() {
    let subject = B::migrated().await;
    let (first, second) = (login(number(1)), login(number(1)));
    let before = [open(&subject.store, &first).await, open(&subject.store, &second).await];
    let after = [open(&subject.store, &first).await, open(&subject.store, &second).await];
    assert_eq!(before, after);
    assert_eq!(before.map(|outcome| opened(&outcome).new_user), [true, false]);
    assert_eq!((subject.sql.count(USERS).await, subject.sql.count(SESSIONS).await), (1, 2));
}

pub async fn the_same_row_twice_in_one_batch_is_one_session_with_two_equal_outcomes<B: Backend>() {
    let subject = B::migrated().await;
    let guarded = login(number(1));
    let unguarded = NewSession { replay_key: None, ..login(number(2)) };
    let batch = [guarded.clone(), unguarded.clone(), guarded, unguarded];
    for _ in 0..2 {
        let outcomes = subject.store.open_sessions(&batch).await.unwrap();
        assert!(outcomes.iter().all(|outcome| opened(outcome).new_user));
        assert_eq!(outcomes[..2], outcomes[2..]);
        assert_eq!((subject.sql.count(USERS).await, subject.sql.count(SESSIONS).await), (2, 2));
    }
}

pub async fn a_repetition_that_overlaps_the_first_try_settles_on_the_same_outcome<B: Backend>() {
    let subject = B::migrated().await;
    for round in 0..20 {
        let batch: Vec<_> = (0..6).map(|n| login(number(round * 6 + n))).collect();
        let backwards = batch.iter().rev().cloned().collect();
        let mut outcomes = open_concurrently(&subject.store, vec![batch, backwards]).await;
        outcomes[1].reverse();
        assert_eq!(outcomes[0], outcomes[1]);
        assert!(outcomes[0].iter().all(|outcome| opened(outcome).new_user));
    }
    assert_eq!((subject.sql.count(USERS).await, subject.sql.count(SESSIONS).await), (120, 120));
}

pub async fn a_repetition_of_a_batch_of_which_a_part_was_committed_completes_it<B: Backend>() {
    let subject = B::migrated().await;
    let batch: Vec<_> = (0..4).map(|n| login(number(n))).collect();
    let committed = subject.store.open_sessions(&batch[1..3]).await.unwrap();
    let outcomes = subject.store.open_sessions(&batch).await.unwrap();
    assert_eq!(outcomes[1..3], committed);
    assert!(outcomes.iter().all(|outcome| opened(outcome).new_user));
    assert_eq!((subject.sql.count(USERS).await, subject.sql.count(SESSIONS).await), (4, 4));
}
