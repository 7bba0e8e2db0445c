//! Turns single checks into a verdict that does not flap. Pure: what was found and when goes in, no clock, no I/O.

use std::time::Duration;

use tokio::time::Instant;

/// Why requests should go elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    Draining,
    Starting,
    DatabaseSilent,
    DatabaseTakesNoSessions,
    DatabaseReplaced,
    ClockDiffers,
    SigningKeysStale,
}

/// One answer that is lost, or a restart of the database that is over at once, must not take every replica out.
const DATABASE_PATIENCE: Duration = Duration::from_secs(3);

/// Good checks in a row that end a trouble: a database that answers now and then does not make a replica come and go.
const GOOD_CHECKS: u32 = 2;

impl Reason {
    pub const ALL: [Self; 7] = [
        Self::Draining,
        Self::Starting,
        Self::DatabaseSilent,
        Self::DatabaseTakesNoSessions,
        Self::DatabaseReplaced,
        Self::ClockDiffers,
        Self::SigningKeysStale,
    ];

    /// For a person.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Starting => "starting",
            Self::DatabaseSilent => "the database does not answer",
            Self::DatabaseTakesNoSessions => "the database takes no sessions",
            Self::DatabaseReplaced => "the database is another one",
            Self::ClockDiffers => "the clock differs from the database's",
            Self::SigningKeysStale => "the signing keys are stale",
        }
    }

    /// For a metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Starting => "starting",
            Self::DatabaseSilent => "database_silent",
            Self::DatabaseTakesNoSessions => "database_takes_no_sessions",
            Self::DatabaseReplaced => "database_replaced",
            Self::ClockDiffers => "clock_differs",
            Self::SigningKeysStale => "signing_keys_stale",
        }
    }

    /// For how long it must be found, check after check, before it counts.
    const fn patience(self) -> Duration {
        match self {
            Self::DatabaseSilent => DATABASE_PATIENCE,
            // Somebody's decision, or found out after a while, or a danger: tokens that no verifier takes.
            Self::Draining
            | Self::Starting
            | Self::DatabaseTakesNoSessions
            | Self::DatabaseReplaced
            | Self::SigningKeysStale
            | Self::ClockDiffers => Duration::ZERO,
        }
    }
}

/// The verdict on what the checks found so far.
#[derive(Debug)]
pub struct Judge {
    /// What the last check found, and since when it is found.
    found: Vec<(Reason, Instant)>,
    verdict: Vec<Reason>,
    good_checks: u32,
}

impl Judge {
    pub fn new() -> Self {
        Self { found: Vec::new(), verdict: vec![Reason::Starting], good_checks: 0 }
    }

    /// Why this replica is not ready.
    pub fn verdict(&self) -> &[Reason] {
        &self.verdict
    }

    /// Whether nothing is wrong and nothing was lately.
    pub fn is_calm(&self) -> bool {
        self.found.is_empty() && self.verdict.is_empty()
    }

    /// Takes in what a check found that began at `now`.
    pub fn check(&mut self, found: &[Reason], now: Instant) {
        let before = std::mem::take(&mut self.found);
        let since = |reason| before.iter().find(|(known, _)| *known == reason).map_or(now, |(_, since)| *since);
        self.found = found.iter().map(|reason| (*reason, since(*reason))).collect();

        let counts = |(reason, since): &(Reason, Instant)| now - *since >= reason.patience();
        let standing: Vec<_> = self.found.iter().filter(|found| counts(found)).map(|(reason, _)| *reason).collect();
        self.good_checks = if found.is_empty() { self.good_checks + 1 } else { 0 };
        if !standing.is_empty() {
            self.verdict = standing;
        } else if self.good_checks >= self.needed() {
            self.verdict.clear();
        }
    }

    /// A start needs no more than one: it has just read everything from the database.
    fn needed(&self) -> u32 {
        if self.verdict == [Reason::Starting] { 1 } else { GOOD_CHECKS }
    }
}

#[cfg(test)]
mod tests {
    use super::Reason::{ClockDiffers, DatabaseSilent, SigningKeysStale, Starting};
    use super::*;

    /// Checks at these milliseconds and what each finds → the verdict after each.
    fn verdicts(judge: &mut Judge, checks: &[(u64, &[Reason])]) -> Vec<Vec<Reason>> {
        let start = Instant::now();
        let verdict = |(at, found): &(u64, &[Reason])| {
            judge.check(found, start + Duration::from_millis(*at));
            judge.verdict().to_vec()
        };
        checks.iter().map(verdict).collect()
    }

    fn ready() -> Judge {
        let mut judge = Judge::new();
        assert_eq!(judge.verdict(), [Starting]);
        judge.check(&[], Instant::now());
        assert_eq!(judge.verdict(), [], "the first good check ends the start");
        judge
    }

    #[test]
    fn one_lost_answer_is_no_reason_and_three_seconds_of_silence_are() {
        const SILENT: &[Reason] = &[DatabaseSilent];
        let seen = verdicts(&mut ready(), &[(0, SILENT), (2_999, SILENT), (3_000, &[]), (3_250, SILENT)]);
        assert_eq!(seen, [[]; 4]);
        let seen = verdicts(&mut ready(), &[(0, SILENT), (2_999, SILENT), (3_000, SILENT)]);
        assert_eq!(seen, [vec![], vec![], SILENT.to_vec()]);
    }

    #[test]
    fn stale_keys_and_a_wrong_clock_count_at_once() {
        for reason in [SigningKeysStale, ClockDiffers] {
            assert_eq!(verdicts(&mut ready(), &[(0, &[reason])]), [[reason]]);
        }
    }

    #[test]
    fn it_comes_back_by_itself_after_two_good_checks_in_a_row() {
        let silent = [DatabaseSilent];
        let mut judge = ready();
        verdicts(&mut judge, &[(0, &silent), (3_000, &silent)]);
        let seen = verdicts(&mut judge, &[(0, &[]), (250, &silent), (500, &[]), (750, &silent), (1_000, &[])]);
        assert_eq!(seen, [silent; 5], "an answer now and then is not enough");
        assert_eq!(verdicts(&mut judge, &[(1_250, &[])]), [[]]);
        assert!(judge.is_calm());
    }

    #[test]
    fn a_start_whose_database_goes_away_again_says_so() {
        let silent = [DatabaseSilent];
        let seen = verdicts(&mut Judge::new(), &[(0, &silent), (1_000, &silent), (3_000, &silent)]);
        assert_eq!(seen, [[Starting], [Starting], silent]);
    }
}
