//! The calls of one replica in each minute of the clock.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::over_limit::{Limit, OverLimit};

const MINUTE_NANOS: i128 = 60_000_000_000;

/// Counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Minute(i128);

#[derive(Debug)]
pub(super) struct MinuteBudget {
    limit: u32,
    clock: Clock,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    minute: Minute,
    calls: u32,
    /// That it is used up is said once.
    told: bool,
}

impl MinuteBudget {
    pub fn new(limit: u32, clock: Clock) -> Self {
        Self { limit, clock, used: Mutex::new(Used { minute: Minute(0), calls: 0, told: false }) }
    }

    pub fn take(&self) -> Result<Minute, OverLimit> {
        let now = self.clock.now().unix_timestamp_nanos();
        let minute = Minute(now.div_euclid(MINUTE_NANOS));
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.minute != minute {
            *used = Used { minute, calls: 0, told: false };
        }
        if used.calls < self.limit {
            used.calls += 1;
            return Ok(minute);
        }
        if !std::mem::replace(&mut used.told, true) {
            tracing::error!(
                limit = Limit::VerifierMinute.as_str(),
                calls = self.limit,
                "the minute's budget of verifier calls is used up: logins are refused until the next minute"
            );
        }
        let left = u64::try_from(MINUTE_NANOS - now.rem_euclid(MINUTE_NANOS)).unwrap_or(0);
        Err(OverLimit { limit: Limit::VerifierMinute, retry_after: Duration::from_nanos(left) })
    }

    pub fn give_back(&self, minute: Minute) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.minute == minute {
            used.calls = used.calls.saturating_sub(1);
        }
    }
}
