//! How a replica's calls are reserved from the day's budget, over a store that the test holds in its hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use oneclick_login::clock::Clock;
use oneclick_login::deadline::Deadline;
use oneclick_login::limits::budget::{Budget, Config};
use oneclick_login::store::{Reservation, ReserveCalls, StoreError};
use oneclick_login::verifier::{TokenState, VerifierError};
use time::{Date, OffsetDateTime};
use tokio::sync::Semaphore;

/// One day's budget, with a gate before it.
struct Ledger {
    reserved: AtomicU64,
    reservations: AtomicUsize,
    fails: AtomicBool,
    gate: Semaphore,
}

#[async_trait]
impl ReserveCalls for Ledger {
    async fn reserve_calls(&self, _: Date, calls: u32, limit: u64) -> Result<Reservation, StoreError> {
        self.gate.acquire().await.unwrap().forget();
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("as the test has it".into()));
        }
        self.reservations.fetch_add(1, Ordering::Relaxed);
        let granted = u64::from(calls).min(limit - self.reserved.load(Ordering::Relaxed));
        let reserved = self.reserved.fetch_add(granted, Ordering::Relaxed) + granted;
        Ok(Reservation { granted: u32::try_from(granted).unwrap(), left: limit - reserved })
    }
}

/// So many reservations are answered.
fn ledger(answered: usize) -> Arc<Ledger> {
    Arc::new(Ledger {
        reserved: AtomicU64::new(0),
        reservations: AtomicUsize::new(0),
        fails: AtomicBool::new(false),
        gate: Semaphore::new(answered),
    })
}

struct Replica {
    budget: Arc<Budget>,
    /// Whether its calls are billed.
    billed: bool,
    clock: Clock,
}

impl Replica {
    fn new(ledger: &Arc<Ledger>, per_day: u64) -> Self {
        let clock = Clock::manual(OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap());
        let config = Config { per_minute: None, per_day: std::num::NonZeroU64::new(per_day) };
        let budget = Arc::new(Budget::new(config, Arc::clone(ledger) as _, clock.clone()));
        Self { budget, billed: true, clock }
    }

    async fn call(&self) -> Result<(), VerifierError> {
        let mut permit = self.budget.reserve(Deadline::after(Duration::from_secs(60))).await?;
        permit.begin();
        if !self.billed {
            permit.was_not_billed();
        }
        Ok(())
    }

    /// How many calls are verified until the first that is not.
    async fn calls(&self) -> u64 {
        let mut calls = 0;
        while self.call().await.is_ok() {
            calls += 1;
        }
        calls
    }
}

#[tokio::test]
async fn a_thousandth_of_the_day_is_reserved_at_a_time_and_the_next_one_ahead() {
    let ledger = ledger(1);
    let replica = Replica::new(&ledger, 100_000);
    // The second reservation hangs, and no call waits for it as long as there is one in stock.
    for _ in 0..100 {
        replica.call().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(ledger.reservations.load(Ordering::Relaxed), 1);
    assert_eq!(replica.budget.left_today(), Some(99_900));
    let waits = tokio::time::timeout(Duration::from_millis(10), replica.call()).await;
    assert!(waits.is_err(), "the stock is used up");
    ledger.gate.add_permits(1);
    replica.call().await.unwrap();
    assert_eq!(ledger.reservations.load(Ordering::Relaxed), 2, "the one ahead was waited for, and no other made");
}

#[tokio::test]
async fn the_last_call_of_a_day_is_taken_however_large_the_chunks() {
    for limit in [1, 7, 1_999, 2_000, 12_345, 1_234_567] {
        let ledger = ledger(Semaphore::MAX_PERMITS);
        assert_eq!(Replica::new(&ledger, limit).calls().await, limit);
        assert!(ledger.reservations.load(Ordering::Relaxed) <= 2_001, "{limit}");
    }
}

#[tokio::test]
async fn a_replica_that_dies_takes_two_chunks_with_it_at_most() {
    for (limit, chunk) in [(100_000, 100), (50, 1)] {
        let ledger = ledger(Semaphore::MAX_PERMITS);
        for made in [1, limit / 4] {
            let dying = Replica::new(&ledger, limit);
            for _ in 0..made {
                dying.call().await.unwrap();
            }
            tokio::task::yield_now().await;
        }
        let made = 1 + limit / 4;
        let lost = limit - made - Replica::new(&ledger, limit).calls().await;
        assert!(lost <= 2 * 2 * chunk, "{lost} of {limit}");
        assert!(chunk > 1 || lost == 0, "a small limit is kept to the call");
    }
}

#[tokio::test]
async fn waiting_calls_share_a_reservation() {
    let ledger = ledger(0);
    let replica = Arc::new(Replica::new(&ledger, 500));
    let calls: Vec<_> = (0..300)
        .map(|_| {
            let replica = Arc::clone(&replica);
            tokio::spawn(async move { replica.call().await.is_ok() })
        })
        .collect();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    ledger.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    for call in calls {
        assert!(call.await.unwrap());
    }
    let reservations = ledger.reservations.load(Ordering::Relaxed);
    assert!(reservations <= 3, "{reservations} reservations for 300 calls that waited together");
    assert_eq!(ledger.reserved.load(Ordering::Relaxed), 300, "and not one call more than was wanted");
}

#[tokio::test]
async fn calls_that_go_away_while_they_wait_leave_nothing_behind() {
    let ledger = ledger(0);
    let replica = Replica::new(&ledger, 3);
    for _ in 0..5 {
        assert!(tokio::time::timeout(Duration::from_millis(5), replica.call()).await.is_err());
    }
    ledger.gate.add_permits(10);
    assert_eq!(replica.calls().await, 3);
}

#[tokio::test]
async fn a_failed_reservation_leaves_the_token_unspent_and_the_next_call_asks_again() {
    let ledger = ledger(Semaphore::MAX_PERMITS);
    let replica = Replica::new(&ledger, 10);
    ledger.fails.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let error = replica.call().await.unwrap_err();
        assert!(matches!(error, VerifierError::BudgetUnknown(_)), "{error:?}");
        assert_eq!(error.token_state(), TokenState::Unspent);
    }
    ledger.fails.store(false, Ordering::Relaxed);
    assert_eq!(replica.calls().await, 10);
}

#[tokio::test]
async fn calls_that_bring_no_number_cost_nothing_however_many() {
    let ledger = ledger(Semaphore::MAX_PERMITS);
    let replica = Replica { billed: false, ..Replica::new(&ledger, 2) };
    for _ in 0..1_000 {
        replica.call().await.unwrap();
    }
    assert_eq!(replica.budget.left_today(), Some(2));
}

#[tokio::test]
async fn what_is_left_of_a_day_is_worth_nothing_on_the_next() {
    let ledger = ledger(Semaphore::MAX_PERMITS);
    let replica = Replica::new(&ledger, 100_000);
    replica.call().await.unwrap();
    replica.clock.advance(Duration::from_secs(86_400));
    assert_eq!(replica.budget.left_today(), Some(100_000), "nothing is known of the new day");
    replica.call().await.unwrap();
    assert_eq!(ledger.reservations.load(Ordering::Relaxed), 2);
}
