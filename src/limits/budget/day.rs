//! The calls of all replicas in a day, UTC. They are counted in the store, but not one by one: a replica reserves a chunk
//! and takes its calls from that, and reserves the next one while there is something left of it, so that no login waits
//! for the database here as long as logins flow.
//!
//! Never more than the limit is called, whatever happens: a replica that ends takes what it has reserved, two chunks at
//! most, with it. And without the database nothing is reserved: the login is answered "busy", with its token unspent.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use time::{Date, OffsetDateTime};

use crate::clock::Clock;
use crate::over_limit::{Limit, OverLimit};
use crate::store::{Reservation, ReserveCalls, StoreError};
use crate::verifier::VerifierError;

/// A chunk is a thousandth of the limit: few reservations, and little that an idle replica keeps from the others. Below
/// 2000 it is one call, and nothing is reserved ahead: such a limit is used up to the last call, whoever gets the logins.
const CHUNKS: u64 = 1_000;

/// One reservation for so many calls is little work, also for the database of a large deployment.
const LARGEST_CHUNK: u64 = 1_000;

pub(super) struct DayBudget {
    store: Arc<dyn ReserveCalls>,
    clock: Clock,
    limit: u64,
    chunk: u32,
    stock: Mutex<Stock>,
}

/// What this replica has of a day.
struct Stock {
    day: Date,
    /// Reserved and not used.
    calls: u64,
    /// What was left for all after the last reservation; `None` before the first one of the day.
    left: Option<u64>,
    /// Logins that wait for a reservation.
    waiting: u32,
    /// The one that is under way.
    reserving: Option<Reserving>,
    /// That the day is used up is said once.
    told: bool,
}

/// Its outcome, for everybody who waits for it.
type Reserving = Shared<BoxFuture<'static, Result<(), Arc<StoreError>>>>;

impl DayBudget {
    pub fn new(limit: u64, store: Arc<dyn ReserveCalls>, clock: Clock) -> Self {
        let chunk = u32::try_from((limit / CHUNKS).clamp(1, LARGEST_CHUNK)).expect("no more than the largest chunk");
        let day = clock.now().date();
        let stock = Stock { day, calls: 0, left: None, waiting: 0, reserving: None, told: false };
        Self { store, clock, limit, chunk, stock: Mutex::new(stock) }
    }

    /// Takes one call and says out of which day.
    pub async fn take(self: &Arc<Self>) -> Result<Date, VerifierError> {
        loop {
            let (reserving, _waiting) = {
                let mut stock = self.stock();
                if stock.calls > 0 {
                    stock.calls -= 1;
                    if stock.calls < u64::from(self.chunk / 2) && stock.left != Some(0) {
                        drop(self.reserving(&mut stock));
                    }
                    return Ok(stock.day);
                }
                if stock.left == Some(0) {
                    return Err(VerifierError::OverBudget(self.used_up(&mut stock)));
                }
                stock.waiting += 1;
                (self.reserving(&mut stock), Waiting(self))
            };
            reserving.await.map_err(|error| VerifierError::BudgetUnknown(error.into()))?;
        }
    }

    /// Back into this replica's own stock; a call of another day is worth nothing any more.
    pub fn give_back(&self, day: Date) {
        let mut stock = self.stock();
        if stock.day == day {
            stock.calls += 1;
        }
    }

    /// Of the whole day, as far as it is known here.
    pub fn left(&self) -> u64 {
        let stock = self.stock();
        stock.left.map_or(self.limit, |left| left + stock.calls)
    }

    /// The stock of today.
    fn stock(&self) -> MutexGuard<'_, Stock> {
        let today = self.clock.now().date();
        let mut stock = self.stock.lock().unwrap_or_else(PoisonError::into_inner);
        if stock.day != today {
            (stock.day, stock.calls, stock.left, stock.told) = (today, 0, None, false);
        }
        stock
    }

    /// The reservation under way, or a new one. It is a task of its own: no login that goes away takes it along.
    fn reserving(self: &Arc<Self>, stock: &mut Stock) -> Reserving {
        let start = || {
            let budget = Arc::clone(self);
            let task = tokio::spawn(async move { budget.reserve().await });
            let ended = |ended: Result<_, tokio::task::JoinError>| {
                ended.unwrap_or_else(|failed| Err(Arc::new(StoreError::Other(failed.into()))))
            };
            task.map(ended).boxed().shared()
        };
        stock.reserving.get_or_insert_with(start).clone()
    }

    async fn reserve(&self) -> Result<(), Arc<StoreError>> {
        let _under_way = UnderWay(self);
        let (day, calls) = {
            let stock = self.stock();
            (stock.day, self.chunk.max(stock.waiting))
        };
        let Reservation { granted, left } = self.store.reserve_calls(day, calls, self.limit).await.map_err(Arc::new)?;
        let mut stock = self.stock();
        if stock.day == day {
            stock.calls += u64::from(granted);
            stock.left = Some(left);
        }
        Ok(())
    }

    fn used_up(&self, stock: &mut Stock) -> OverLimit {
        if !std::mem::replace(&mut stock.told, true) {
            tracing::error!(
                limit = Limit::VerifierDay.as_str(),
                calls = self.limit,
                "the day's budget of verifier calls is used up: logins are refused until the next day (UTC)"
            );
        }
        OverLimit { limit: Limit::VerifierDay, retry_after: until_tomorrow(self.clock.now()) }
    }
}

fn until_tomorrow(now: OffsetDateTime) -> Duration {
    Duration::from_secs(86_400).saturating_sub((now.time() - time::Time::MIDNIGHT).unsigned_abs())
}

/// A login that waits for a reservation is counted, however its waiting ends.
struct Waiting<'a>(&'a DayBudget);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.stock().waiting -= 1;
    }
}

/// Makes way for the next reservation, however this one ends.
struct UnderWay<'a>(&'a DayBudget);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.stock().reserving = None;
    }
}

impl fmt::Debug for DayBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DayBudget").field("limit", &self.limit).field("chunk", &self.chunk).finish_non_exhaustive()
    }
}
