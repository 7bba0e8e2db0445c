//! The wall clock, the one place that asks the system for the time. Tests hand in a clock that they turn themselves.
//!
//! Deadlines do not belong here: they run on tokio's monotonic timers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// Gives the time in UTC, in whole microseconds: what both stores keep, so a time read back equals the time written.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System { started: Instant },
    Manual(Arc<AtomicI64>),
}

impl Clock {
    pub fn system() -> Self {
        Self(Source::System { started: Instant::now() })
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it; clones move together.
    pub fn manual(start: OffsetDateTime) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(unix_micros(start)))))
    }

    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
            Source::System { .. } => from_unix_micros(unix_micros(OffsetDateTime::now_utc())),
            Source::Manual(micros) => from_unix_micros(micros.load(Ordering::SeqCst)),
        }
    }

    /// Since some moment that is the same for all clones. Never goes back, whatever is done to the time of day.
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System { started } => started.elapsed(),
            Source::Manual(micros) => Duration::from_micros(u64::try_from(micros.load(Ordering::SeqCst)).unwrap_or(0)),
        }
    }

    /// Moves a manual clock forward.
    ///
    /// # Panics
    /// On the system's clock, which nobody moves.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::System { .. } => panic!("the system's clock cannot be advanced"),
            Source::Manual(micros) => {
                let by = i64::try_from(by.as_micros()).expect("a test moves less than 292,000 years");
                micros.fetch_add(by, Ordering::SeqCst);
            }
        }
    }
}

/// Whether the clock is so far from the database's that no token may be signed by it: an id_token would have expired, or
/// not begun, where others check it. Readiness finds out; logins and refreshes ask. Clones tell the same.
#[derive(Debug, Clone, Default)]
pub struct ClockTrust(Arc<AtomicBool>);

impl ClockTrust {
    pub fn is_lost(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, is_lost: bool) {
        self.0.store(is_lost, Ordering::Relaxed);
    }
}

/// Microseconds since 1970, the form in which SQLite keeps a time.
pub fn unix_micros(at: OffsetDateTime) -> i64 {
    at.unix_timestamp() * 1_000_000 + i64::from(at.microsecond())
}

/// The inverse of [`unix_micros`]. A number outside of the years ±9999 becomes the Unix epoch, which is long expired.
pub fn from_unix_micros(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Shows a time as people and programs both read it, to the second: `2026-11-22T18:43:17Z`.
#[derive(Debug, Clone, Copy)]
pub struct Utc(pub OffsetDateTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.0.to_offset(time::UtcOffset::UTC);
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second) = at.to_hms();
        write!(f, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
    }
}
