//! How many logins may be under way at once: as many as are answered in time, found out by their delay and not by their
//! number. A standing queue, of logins before their commit or of tasks before the processor, lowers the limit (as CoDel,
//! RFC 8289, finds one: by the least delay of an interval); without one the limit grows again.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Shared;

/// A delay that even the luckiest of an interval had is a queue that does not end by itself.
const TARGET: Duration = Duration::from_millis(20);

const TICKS: u32 = 10;
/// Between two looks at how late this task is woken.
const TICK: Duration = Duration::from_millis(10);

/// Fewer would leave batches small and the database idle.
const LEAST: usize = 64;

/// What is left of the limit after an interval, in parts of 256: the delay decides in between.
const SLOWEST_DECREASE: u128 = 224;
const FASTEST_DECREASE: u128 = 128;

#[derive(Debug)]
pub(super) struct DelayLimit {
    most: usize,
    limit: AtomicUsize,
    taken: AtomicUsize,
    /// Of the logins whose batch set out in this interval, the one that waited least, microseconds.
    least_wait_us: AtomicU64,
    /// A login was refused in this interval.
    reached: AtomicBool,
}

impl DelayLimit {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            limit: AtomicUsize::new(most),
            taken: AtomicUsize::new(0),
            least_wait_us: AtomicU64::new(u64::MAX),
            reached: AtomicBool::new(false),
        }
    }

    /// Takes a place if there is one.
    pub fn take(&self) -> bool {
        let limit = self.limit.load(Ordering::Relaxed);
        let take = |taken| (taken < limit).then_some(taken + 1);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if !taken {
            self.reached.store(true, Ordering::Relaxed);
        }
        taken
    }

    pub fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn has_room(&self) -> bool {
        let room = self.taken() < self.limit.load(Ordering::Relaxed);
        if !room {
            self.reached.store(true, Ordering::Relaxed);
        }
        room
    }

    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub fn current(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// So long a login waited until its batch set out.
    pub fn waited(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.least_wait_us.fetch_min(micros, Ordering::Relaxed);
    }

    /// Ends an interval, in which this process was woken at least so late.
    pub fn adjust(&self, least_lag: Duration) {
        let least_wait = match self.least_wait_us.swap(u64::MAX, Ordering::Relaxed) {
            u64::MAX => Duration::ZERO,
            micros => Duration::from_micros(micros),
        };
        let reached = self.reached.swap(false, Ordering::Relaxed);
        let (delay, limit) = (least_lag.max(least_wait), self.current());
        let limit = if delay > TARGET {
            let left = (256 * TARGET.as_micros() / delay.as_micros()).clamp(FASTEST_DECREASE, SLOWEST_DECREASE);
            let left = usize::try_from(left).unwrap_or(256);
            (limit.min(self.taken()) * left / 256).max(LEAST)
        } else if reached {
            limit + limit / 16 + 1
        } else {
            limit
        };
        self.limit.store(limit.min(self.most), Ordering::Relaxed);
    }
}

/// Adjusts the limit, interval after interval, for as long as there is a queue.
pub(super) async fn keep_adjusting(shared: Weak<Shared>) {
    loop {
        let mut least_lag = Duration::MAX;
        for _ in 0..TICKS {
            let due = Instant::now() + TICK;
            sleep_until(due).await;
            least_lag = least_lag.min(due.elapsed());
        }
        let Some(shared) = shared.upgrade() else { return };
        shared.limit.adjust(least_lag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_TIME: Duration = Duration::from_millis(2);

    fn limit_of(most: usize, taken: usize) -> DelayLimit {
        let limit = DelayLimit::new(most);
        (0..taken).for_each(|_| assert!(limit.take()));
        limit
    }

    #[test]
    fn without_delay_there_is_room_for_as_many_as_are_allowed() {
        let limit = limit_of(100, 100);
        assert!(!limit.take() && !limit.has_room());
        limit.adjust(IN_TIME);
        assert_eq!((limit.current(), limit.taken()), (100, 100));
        limit.give_back();
        assert!(limit.has_room() && limit.take());
    }

    #[test]
    fn a_standing_queue_of_either_kind_lowers_it_and_the_longer_the_queue_the_faster() {
        for (wait_ms, lag_ms, left) in [(21, 0, 875), (0, 21, 875), (30, 30, 664), (400, 0, 500), (0, 60_000, 500)] {
            let limit = limit_of(4_096, 1_000);
            limit.waited(Duration::from_millis(wait_ms));
            limit.waited(Duration::from_millis(wait_ms + 1_000));
            limit.adjust(Duration::from_millis(lag_ms));
            assert_eq!(limit.current(), left, "{wait_ms} {lag_ms}");
        }
    }

    #[test]
    fn one_that_was_lucky_is_enough_to_leave_it() {
        let limit = limit_of(4_096, 1_000);
        limit.waited(Duration::from_millis(900));
        limit.waited(Duration::from_millis(1));
        limit.adjust(IN_TIME);
        assert_eq!(limit.current(), 4_096);
    }

    #[test]
    fn it_stops_at_a_few_batches_and_comes_back_when_it_is_reached_without_delay() {
        let limit = limit_of(4_096, 64);
        for _ in 0..50 {
            limit.adjust(Duration::from_secs(1));
        }
        assert_eq!(limit.current(), LEAST);
        limit.adjust(IN_TIME);
        assert_eq!(limit.current(), LEAST, "nobody needed more");
        let mut intervals = 0;
        while limit.current() < 4_096 {
            while limit.take() {}
            limit.adjust(IN_TIME);
            intervals += 1;
        }
        assert!((60..80).contains(&intervals), "{intervals} intervals are about seven seconds");
    }
}
