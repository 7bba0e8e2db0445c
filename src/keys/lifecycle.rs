//! What each key does at a moment, from its times and its neighbours'. Pure: rows and `now` in, no I/O, no key material.

use time::OffsetDateTime;

use super::timing::Timing;
use crate::store::SigningKeyRow;

/// Where a key stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and signs later.
    Next,
    Active,
    /// Signs no more; its tokens may live.
    Retiring,
    /// No token of it lives: no longer published, and removed by whoever comes first.
    Gone,
}

impl KeyState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Gone => "gone",
        }
    }
}

/// The keys of the store, seen through the lifetimes.
#[derive(Debug, Clone, Copy)]
pub struct Lifecycle<'a> {
    rows: &'a [SigningKeyRow],
    timing: &'a Timing,
}

impl<'a> Lifecycle<'a> {
    pub const fn new(rows: &'a [SigningKeyRow], timing: &'a Timing) -> Self {
        Self { rows, timing }
    }

    pub fn newest(&self) -> Option<&'a SigningKeyRow> {
        self.rows.iter().max_by_key(|row| row.generation)
    }

    /// The highest generation whose time has come. Where none has, the lowest: the one key there is was made by a
    /// replica whose clock is ahead of ours.
    pub fn active(&self, now: OffsetDateTime) -> Option<&'a SigningKeyRow> {
        let begun = self.rows.iter().filter(|row| row.signs_from <= now).max_by_key(|row| row.generation);
        begun.or_else(|| self.rows.iter().min_by_key(|row| row.generation))
    }

    /// The newest key, where it does not sign yet.
    pub fn pending(&self, now: OffsetDateTime) -> Option<&'a SigningKeyRow> {
        self.newest().filter(|row| self.state(row, now) == KeyState::Next)
    }

    /// All keys that a verifier may need. A key is published as soon as it is seen, whatever our clock says of its
    /// making.
    pub fn published(&self, now: OffsetDateTime) -> impl Iterator<Item = &'a SigningKeyRow> {
        let lifecycle = *self;
        self.rows.iter().filter(move |row| lifecycle.state(row, now) != KeyState::Gone)
    }

    /// Until when a key is published; `None` while no later one exists.
    pub fn published_until(&self, row: &SigningKeyRow) -> Option<OffsetDateTime> {
        let later = self.rows.iter().filter(|other| other.generation > row.generation);
        later.min_by_key(|other| other.generation).map(|successor| successor.signs_from + self.timing.afterlife())
    }

    pub fn state(&self, row: &SigningKeyRow, now: OffsetDateTime) -> KeyState {
        let Some(active) = self.active(now) else { return KeyState::Gone };
        if row.generation > active.generation {
            return KeyState::Next;
        }
        if row.generation == active.generation {
            return KeyState::Active;
        }
        match self.published_until(row) {
            Some(until) if until <= now => KeyState::Gone,
            _ => KeyState::Retiring,
        }
    }

    /// Whether the next key should be made now, so that it signs when the newest one's lifetime ends.
    pub fn is_due(&self, lifetime: std::time::Duration, now: OffsetDateTime) -> bool {
        let due = |row: &SigningKeyRow| row.signs_from + lifetime.saturating_sub(self.timing.lead()) <= now;
        self.pending(now).is_none() && self.newest().is_some_and(due)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    /// Keys of the generations 1, 2, … that sign from these seconds.
    fn rows(signs_from: &[i64]) -> Vec<SigningKeyRow> {
        let row = |(generation, from): (u32, &i64)| SigningKeyRow {
            kid: format!("key-{generation}"),
            generation,
            alg: "ES256".to_owned(),
            private_key_wrapped: Vec::new(),
            public_jwk: String::new(),
            created_at: at(0),
            signs_from: at(*from),
        };
        (1..).zip(signs_from).map(row).collect()
    }

    fn states(rows: &[SigningKeyRow], now: i64) -> Vec<KeyState> {
        let timing = Timing::default();
        let lifecycle = Lifecycle::new(rows, &timing);
        rows.iter().map(|row| lifecycle.state(row, at(now))).collect()
    }

    #[test]
    fn a_key_is_next_then_active_then_retiring_then_gone_each_from_the_very_second() {
        use KeyState::{Active, Gone, Next, Retiring};
        let rows = rows(&[1_000, 5_000]);
        let gone = 5_000 + 86_400 + 300 + 60;
        for (now, expected) in [
            (1_000, [Active, Next]),
            (4_999, [Active, Next]),
            (5_000, [Retiring, Active]),
            (gone - 1, [Retiring, Active]),
            (gone, [Gone, Active]),
        ] {
            assert_eq!(states(&rows, now), expected, "at {now}");
        }
    }

    #[test]
    fn a_key_counts_its_end_from_its_own_successor() {
        use KeyState::{Active, Gone, Retiring};
        let rows = rows(&[0, 1_000, 2_000]);
        assert_eq!(states(&rows, 1_000 + 86_760 - 1), [Retiring, Retiring, Active]);
        assert_eq!(states(&rows, 1_000 + 86_760), [Gone, Retiring, Active]);
        assert_eq!(states(&rows, 2_000 + 86_760), [Gone, Gone, Active]);
    }

    #[test]
    fn on_a_replica_whose_clock_is_behind_the_first_key_signs_at_once() {
        assert_eq!(states(&rows(&[1_000]), 940), [KeyState::Active]);
        assert_eq!(states(&rows(&[1_000, 1_600]), 940), [KeyState::Active, KeyState::Next]);
        let timing = Timing::default();
        assert!(Lifecycle::new(&rows(&[1_000]), &timing).pending(at(940)).is_none());
    }

    #[test]
    fn the_next_key_is_due_so_that_it_signs_when_the_lifetime_ends() {
        let (timing, lifetime) = (Timing::default(), Duration::from_secs(10_000));
        let one = rows(&[1_000]);
        let due = |rows: &[SigningKeyRow], now| Lifecycle::new(rows, &timing).is_due(lifetime, at(now));
        assert!(!due(&one, 1_000 + 10_000 - 600 - 1));
        assert!(due(&one, 1_000 + 10_000 - 600));
        assert!(!due(&rows(&[1_000, 11_000]), 10_999), "one is pending");
        assert!(!due(&rows(&[1_000, 11_000]), 11_000), "it has just begun");
        assert!(!due(&[], 0));
    }
}
