//! Token buckets for many keys in memory that never grows: governor's algorithm over a table of fixed size.
//!
//! A bucket is one number, the moment at which it will be full again (governor's "theoretical arrival time"). One that is
//! full already and one that was never used are the same, so an empty place in the table is a bucket that became full
//! at the beginning of time. It must not know what the keys stand for, and does not keep them: only a hash under a key
//! drawn at start, so that nobody can choose what shares a place, and a dump of memory names no device.

use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use crate::clock::Clock;

/// Buckets that share a lock; a key's bucket is in the one set that its hash names. With sixteen, a table that is half
/// full turns hardly a key away from its set.
const SET_SIZE: usize = 16;

/// One bucket for each key, all with the same rate.
pub struct Buckets {
    limiter: RateLimiter<KeyHash, Table, Monotonic, NoOpMiddleware<Nanos>>,
    hasher: RandomState,
    table: Table,
    /// The limiter counts its time from here.
    began: Nanos,
    /// A bucket that is full so much later, or less, has a token.
    tolerance: Nanos,
}

/// How fast a bucket fills, and how much is in a full one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub per_minute: NonZeroU32,
    pub burst: NonZeroU32,
}

impl Buckets {
    /// Memory for `capacity` keys is taken now, 17 bytes for each, and no more ever.
    pub fn new(rate: Rate, capacity: usize, clock: Clock) -> Self {
        let quota = Quota::per_minute(rate.per_minute).allow_burst(rate.burst);
        let table = Table::new(capacity);
        let clock = Monotonic(clock);
        let began = clock.now();
        let limiter = RateLimiter::new(quota, table.clone(), clock);
        let tolerance = (quota.replenish_interval() * (quota.burst_size().get() - 1)).into();
        Self { limiter, hasher: RandomState::new(), table, began, tolerance }
    }

    /// Takes one token out of the key's bucket, or says how long until there is one.
    pub fn take(&self, key: &impl Hash) -> Result<(), Duration> {
        let key = KeyHash(self.hasher.hash_one(key));
        let now = self.limiter.clock().now();
        self.limiter.check_key(&key).map_err(|until| until.wait_time_from(now))
    }

    /// Whether there is a token in the key's bucket, or else how long until there is. Takes none.
    pub fn ask(&self, key: &impl Hash) -> Result<(), Duration> {
        let now = self.limiter.clock().now().saturating_sub(self.began);
        let free_at = self.table.full_at(self.hasher.hash_one(key)).saturating_sub(self.tolerance);
        if now >= free_at { Ok(()) } else { Err(free_at.saturating_sub(now).into()) }
    }

    /// How many buckets were given up although a whole token or more was missing from them.
    pub fn forgotten(&self) -> u64 {
        self.table.forgotten.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct KeyHash(u64);

/// A hash of 0 is that of every place that is still empty. That is as good as any: what stands there is a full bucket.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    key: u64,
    full_at: u64,
}

/// Where a set has no place for a new key, the fullest bucket of the set gives way and starts anew if its key comes back.
/// Mostly it is full, and nothing is lost. Otherwise every other bucket of the set is emptier still: to have a bucket
/// forgotten that is used up, an attacker must use up sixteen others in its set, which is sixteen times what it gains,
/// and cannot know which keys those are.
#[derive(Clone)]
struct Table {
    sets: Arc<[Mutex<[Bucket; SET_SIZE]>]>,
    forgotten: Arc<AtomicU64>,
}

impl Table {
    fn new(capacity: usize) -> Self {
        let sets = (0..capacity.div_ceil(SET_SIZE).max(1)).map(|_| Mutex::default()).collect();
        Self { sets, forgotten: Arc::default() }
    }

    fn set_of(&self, key: u64) -> MutexGuard<'_, [Bucket; SET_SIZE]> {
        let place = usize::try_from(key % self.sets.len() as u64).expect("less than the number of sets");
        self.sets[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full_at(&self, key: u64) -> Nanos {
        let set = self.set_of(key);
        set.iter().find(|bucket| bucket.key == key).map_or(0, |bucket| bucket.full_at).into()
    }
}

impl StateStore for Table {
    type Key = KeyHash;

    fn measure_and_replace<T, F, E>(&self, &KeyHash(key): &KeyHash, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut set = self.set_of(key);
        if let Some(bucket) = set.iter_mut().find(|bucket| bucket.key == key) {
            let (outcome, full_at) = measure(Some(bucket.full_at.into()))?;
            bucket.full_at = full_at.as_u64();
            return Ok(outcome);
        }
        let (outcome, full_at) = measure(None)?;
        let full_at = full_at.as_u64();
        if let Some(fullest) = set.iter_mut().min_by_key(|bucket| bucket.full_at) {
            // As much is missing as from the new one: at least the token that was just taken.
            if fullest.full_at >= full_at {
                self.forgotten.fetch_add(1, Ordering::Relaxed);
            }
            *fullest = Bucket { key, full_at };
        }
        Ok(outcome)
    }
}

/// Not the time of day, which somebody may set back: all buckets would be empty for as long.
struct Monotonic(Clock);

impl governor::clock::Clock for Monotonic {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.monotonic().into()
    }
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buckets").field("forgotten", &self.forgotten()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(per_minute: u32, burst: u32) -> Rate {
        Rate { per_minute: NonZeroU32::new(per_minute).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    fn buckets(rate: Rate, capacity: usize) -> (Buckets, Clock) {
        let clock = Clock::manual(OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap());
        (Buckets::new(rate, capacity, clock.clone()), clock)
    }

    /// How many tokens there are at this moment.
    fn drain(buckets: &Buckets, key: &str) -> usize {
        std::iter::repeat_with(|| buckets.take(&key)).take_while(Result::is_ok).count()
    }

    #[test]
    fn a_bucket_gives_its_burst_at_once_and_then_its_rate_and_says_how_long_to_wait() {
        let (buckets, clock) = buckets(rate(60, 10), 100);
        assert_eq!(drain(&buckets, "a"), 10);
        assert_eq!(buckets.take(&"a"), Err(SECOND));
        assert_eq!(drain(&buckets, "b"), 10, "another key, another bucket");
        clock.advance(SECOND / 2);
        assert_eq!(buckets.take(&"a"), Err(SECOND / 2));
        clock.advance(SECOND / 2);
        assert_eq!(drain(&buckets, "a"), 1);
        clock.advance(SECOND * 4);
        assert_eq!(drain(&buckets, "a"), 4);
        clock.advance(SECOND * 1_000);
        assert_eq!(drain(&buckets, "a"), 10, "a full bucket does not overflow");
    }

    #[test]
    fn asking_takes_nothing_and_says_what_taking_would() {
        let (buckets, clock) = buckets(rate(60, 3), 100);
        for _ in 0..3 {
            assert_eq!((buckets.ask(&"a"), buckets.ask(&"a")), (Ok(()), Ok(())));
            buckets.take(&"a").unwrap();
        }
        for wait in [SECOND, SECOND / 2] {
            assert_eq!((buckets.ask(&"a"), buckets.take(&"a")), (Err(wait), Err(wait)));
            clock.advance(SECOND / 2);
        }
        assert_eq!((buckets.ask(&"a"), buckets.take(&"a"), buckets.ask(&"a")), (Ok(()), Ok(()), Err(SECOND)));
    }

    #[test]
    fn being_refused_costs_nothing() {
        let (buckets, clock) = buckets(rate(1, 1), 100);
        buckets.take(&"a").unwrap();
        for _ in 0..1_000 {
            assert_eq!(buckets.take(&"a"), Err(SECOND * 60));
        }
        clock.advance(SECOND * 60);
        assert_eq!(buckets.take(&"a"), Ok(()));
    }

    #[test]
    fn a_million_keys_take_the_memory_that_was_taken_at_the_start() {
        const CAPACITY: usize = 1 << 16;
        let (buckets, _) = buckets(rate(60, 10), CAPACITY);
        let table = Table::new(CAPACITY);
        assert!(size_of_val(&*table.sets) <= 17 * CAPACITY, "{}", size_of_val(&*table.sets));
        assert_eq!(drain(&buckets, "used up"), 10);
        for key in 0..1_000_000_u32 {
            buckets.take(&key).unwrap();
        }
        // Far more were used than there is room for, so most were given up; each lacked no more than those that came.
        let most = 1_000_000 - CAPACITY as u64;
        assert!(buckets.forgotten() >= most, "{}", buckets.forgotten());
        assert_eq!(drain(&buckets, "used up"), 0, "a flood of new keys does not fill a bucket that was used up");
    }

    #[test]
    fn buckets_that_are_full_again_make_room_and_nothing_is_forgotten() {
        let (buckets, clock) = buckets(rate(60, 10), 1 << 10);
        for _ in 0..100 {
            for key in 0..512_u32 {
                let _ = buckets.take(&(clock.now(), key));
            }
            clock.advance(SECOND);
        }
        assert!(buckets.forgotten() < 100, "{} of 51200", buckets.forgotten());
    }

    #[test]
    fn a_bucket_that_is_used_up_outlasts_all_but_a_set_of_others_that_are_used_up() {
        let (buckets, _) = buckets(rate(60, 10), SET_SIZE);
        assert_eq!(drain(&buckets, "first"), 10);
        for other in 1..SET_SIZE {
            assert_eq!(drain(&buckets, &format!("other {other}")), 10);
        }
        assert_eq!((drain(&buckets, "first"), buckets.forgotten()), (0, 0));
        assert_eq!(drain(&buckets, "one too many"), 10);
        assert_eq!(buckets.forgotten(), 1);
    }

    #[test]
    fn concurrent_logins_of_one_key_get_its_burst_and_no_more() {
        let (buckets, _) = buckets(rate(60, 100), 100);
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| drain(&buckets, "raced"))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(granted, 100);
    }
}
