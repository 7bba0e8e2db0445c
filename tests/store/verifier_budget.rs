//! The budget of billed calls: what is granted adds up to the limit, whoever asks and however much at a time.

use std::sync::Arc;

use oneclick_login::store::Reservation;
use time::{Date, Duration};

use super::Backend;
use super::fixture::{concurrently, now, patiently};

fn day() -> Date {
    now().date()
}

pub async fn a_days_calls_are_granted_up_to_its_limit_and_the_last_ones_in_part<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    for (granted, left) in [(4, 6), (4, 2), (2, 0), (0, 0), (0, 0)] {
        assert_eq!(store.reserve_calls(day(), 4, 10).await.unwrap(), Reservation { granted, left });
    }
}

pub async fn who_asks_for_more_than_the_limit_gets_the_limit<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    assert_eq!(store.reserve_calls(day(), 1_000, 3).await.unwrap(), Reservation { granted: 3, left: 0 });
    assert_eq!(store.reserve_calls(day(), 1, 3).await.unwrap(), Reservation { granted: 0, left: 0 });
}

pub async fn every_day_has_its_own_budget<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    for day in [day(), day() + Duration::DAY, day() - Duration::DAY] {
        assert_eq!(store.reserve_calls(day, 5, 5).await.unwrap(), Reservation { granted: 5, left: 0 });
    }
    assert_eq!(store.reserve_calls(day(), 1, 5).await.unwrap().granted, 0);
}

pub async fn a_limit_that_changes_counts_from_the_next_reservation_on<B: Backend>() {
    let subject = B::migrated().await;
    let store = &subject.store;
    assert_eq!(store.reserve_calls(day(), 10, 100).await.unwrap(), Reservation { granted: 10, left: 90 });
    assert_eq!(store.reserve_calls(day(), 10, 5).await.unwrap(), Reservation { granted: 0, left: 0 });
    assert_eq!(store.reserve_calls(day(), 10, 12).await.unwrap(), Reservation { granted: 2, left: 0 });
}

pub async fn of_many_concurrent_reservations_no_call_is_granted_twice<B: Backend>() {
    let subject = B::migrated().await;
    let granted = concurrently((0..100_u32).map(|n| {
        let store = Arc::clone(&subject.store);
        async move { patiently(|| store.reserve_calls(day(), n % 7 + 1, 200)).await.granted }
    }))
    .await;
    assert_eq!(granted.into_iter().sum::<u32>(), 200);
}
