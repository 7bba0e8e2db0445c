//! The circuit breaker between admission and commit: closed, stalled, open. Pure: what happened and when goes in, no I/O.
//!
//! A failed batch opens it, and **only a batch that was committed closes it**. A probe that succeeds does not: it lets one
//! login try (half-open), since no probe can know all that a login needs. A batch that is out for long stalls it before
//! anybody knows whether it fails: logins then wait, with their tokens unspent, for what becomes of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// With logins about, one of them tries within this time of the first probe that succeeds. Where none has, they are perhaps
/// kept away by readiness.
const PROBED_LONG_ENOUGH: Duration = Duration::from_secs(2);

/// How long one trial keeps the others back. It may be waiting for a slow verifier.
const TRIAL_PATIENCE: Duration = Duration::from_secs(1);

/// After a trial that failed although the probe succeeded, the next one waits this long, then twice as long each time.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(8);

#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    /// Wakes whoever waits for a stall to end.
    changed: Notify,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    /// A batch is out for long.
    Stalled {
        since: Instant,
    },
    Open(Open),
}

#[derive(Debug)]
struct Open {
    since: Instant,
    /// From when on every probe has succeeded; `None` after one that failed, or a login that did.
    probed_since: Option<Instant>,
    /// The login that tries, and when it began.
    trial: Option<(u64, Instant)>,
    trials: u64,
    back_off: Duration,
    not_before: Instant,
}

/// What the breaker says to a login that wants to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Go on.
    Free,
    /// A batch is out for long: wait for what becomes of it.
    Stalled,
    /// Go on as the one login that tries.
    Trial(u64),
    Refused,
}

/// What a failed batch did to the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    JustOpened,
    StillOpen,
}

impl Breaker {
    /// Whether a login may begin. `waiting` are the logins that wait for their commit: while there are any, those are
    /// what is tried.
    pub fn enter(&self, waiting: usize, now: Instant) -> Entry {
        match &mut *self.state() {
            State::Closed => Entry::Free,
            State::Stalled { .. } => Entry::Stalled,
            State::Open(open) => open.enter(waiting, now),
        }
    }

    /// Whether [`Breaker::enter`] would not refuse.
    pub fn lets_in(&self, waiting: usize, now: Instant) -> bool {
        match &*self.state() {
            State::Closed | State::Stalled { .. } => true,
            State::Open(open) => open.may_try(waiting, now),
        }
    }

    /// The trial has ended, by whatever way; if it was committed or failed, that is known already.
    pub fn trial_ended(&self, number: u64) {
        if let State::Open(open) = &mut *self.state()
            && open.trial.is_some_and(|(current, _)| current == number)
        {
            open.trial = None;
        }
    }

    /// A batch is out for longer than batches are.
    pub fn stalled(&self, now: Instant) {
        let mut state = self.state();
        if matches!(*state, State::Closed) {
            *state = State::Stalled { since: now };
        }
    }

    pub fn failed(&self, now: Instant) -> Failed {
        let mut state = self.state();
        let since = match &mut *state {
            State::Open(open) => {
                open.failed(now);
                return Failed::StillOpen;
            }
            State::Stalled { since } => *since,
            State::Closed => now,
        };
        *state = State::Open(Open {
            since,
            probed_since: None,
            trial: None,
            trials: 0,
            back_off: FIRST_BACK_OFF,
            not_before: now,
        });
        self.changed.notify_waiters();
        Failed::JustOpened
    }

    /// Closes it; returns for how long it had been open.
    pub fn committed(&self, now: Instant) -> Option<Duration> {
        let mut state = self.state();
        let before = std::mem::take(&mut *state);
        match before {
            State::Closed => None,
            State::Stalled { .. } => {
                self.changed.notify_waiters();
                None
            }
            State::Open(open) => Some(now - open.since),
        }
    }

    /// The database answered a batch, if not with a commit: it does not hang.
    pub fn answered(&self) {
        let mut state = self.state();
        if matches!(*state, State::Stalled { .. }) {
            *state = State::Closed;
            self.changed.notify_waiters();
        }
    }

    pub fn probed(&self, succeeded: bool, now: Instant) {
        if let State::Open(open) = &mut *self.state() {
            open.probed_since = succeeded.then(|| open.probed_since.unwrap_or(now));
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(*self.state(), State::Open(_))
    }

    /// For how long no batch has been committed although some were tried; zero while all is well, and once nothing is
    /// missing but a login that tries: a gateway sends none to a replica that says that it is in trouble.
    pub fn troubled_for(&self, now: Instant) -> Duration {
        match &*self.state() {
            State::Closed => Duration::ZERO,
            State::Open(open) if open.awaits_a_login(now) => Duration::ZERO,
            State::Stalled { since } | State::Open(Open { since, .. }) => now - *since,
        }
    }

    /// Waits until it is not stalled any more.
    pub async fn unstalled(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if !matches!(*self.state(), State::Stalled { .. }) {
                return;
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn may_try(&self, waiting: usize, now: Instant) -> bool {
        let busy = self.trial.is_some_and(|(_, since)| now - since < TRIAL_PATIENCE);
        self.probed_since.is_some() && waiting == 0 && !busy && now >= self.not_before
    }

    fn awaits_a_login(&self, now: Instant) -> bool {
        let probed = self.probed_since.is_some_and(|since| now - since >= PROBED_LONG_ENOUGH);
        probed && now >= self.not_before
    }

    fn enter(&mut self, waiting: usize, now: Instant) -> Entry {
        if !self.may_try(waiting, now) {
            return Entry::Refused;
        }
        self.trials += 1;
        self.trial = Some((self.trials, now));
        Entry::Trial(self.trials)
    }

    fn failed(&mut self, now: Instant) {
        let was_tried = self.probed_since.take().is_some() && self.trial.is_some();
        if was_tried {
            self.not_before = now + self.back_off;
            self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(at: Instant) -> Breaker {
        let breaker = Breaker::default();
        assert_eq!(breaker.failed(at), Failed::JustOpened);
        assert_eq!(breaker.enter(0, at), Entry::Refused);
        breaker
    }

    #[test]
    fn a_probe_lets_one_login_try_and_only_its_commit_closes() {
        let now = Instant::now();
        let breaker = opened(now);
        breaker.probed(true, now);
        assert!(breaker.is_open(), "a probe closes nothing");
        assert_eq!(breaker.enter(0, now), Entry::Trial(1));
        assert_eq!(breaker.enter(0, now), Entry::Refused, "one at a time");
        assert_eq!(breaker.committed(now + Duration::from_secs(2)), Some(Duration::from_secs(2)));
        assert_eq!(breaker.enter(0, now), Entry::Free);
        assert_eq!(breaker.committed(now), None);
    }

    #[test]
    fn where_probes_succeed_and_no_login_comes_to_try_it_says_no_trouble() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let breaker = opened(start);
        let troubled = |at: u32| breaker.troubled_for(start + second * at);
        assert_eq!(troubled(5), second * 5);
        breaker.probed(true, start + second * 5);
        breaker.probed(true, start + second * 6);
        assert_eq!((troubled(6), troubled(7)), (second * 6, Duration::ZERO));
        breaker.probed(false, start + second * 8);
        assert_eq!(troubled(8), second * 8);
        breaker.probed(true, start + second * 9);
        assert_eq!(breaker.enter(0, start + second * 12), Entry::Trial(1));
        breaker.failed(start + second * 12);
        assert_eq!(troubled(12), second * 12, "it was tried in vain");
    }

    #[test]
    fn logins_that_wait_for_their_commit_are_the_trial() {
        let now = Instant::now();
        let breaker = opened(now);
        breaker.probed(true, now);
        assert_eq!(breaker.enter(1, now), Entry::Refused);
        assert_eq!(breaker.enter(0, now), Entry::Trial(1));
    }

    #[test]
    fn a_trial_that_comes_to_nothing_makes_way_and_one_that_is_slow_does_so_in_time() {
        let now = Instant::now();
        let breaker = opened(now);
        breaker.probed(true, now);
        assert_eq!(breaker.enter(0, now), Entry::Trial(1));
        breaker.trial_ended(1);
        assert_eq!(breaker.enter(0, now), Entry::Trial(2));
        assert_eq!(breaker.enter(0, now + TRIAL_PATIENCE), Entry::Trial(3));
        breaker.trial_ended(2);
        assert_eq!(breaker.enter(0, now + TRIAL_PATIENCE), Entry::Refused, "the third is still trying");
    }

    #[test]
    fn trials_that_fail_where_probes_succeed_become_rare() {
        let start = Instant::now();
        let breaker = opened(start);
        let tried: Vec<u128> = (0..20_000)
            .filter_map(|ms| {
                let now = start + Duration::from_millis(ms);
                breaker.probed(true, now);
                let Entry::Trial(number) = breaker.enter(0, now) else { return None };
                assert_eq!(breaker.failed(now), Failed::StillOpen);
                breaker.trial_ended(number);
                Some((now - start).as_millis())
            })
            .collect();
        assert_eq!(tried, [0, 1_000, 3_000, 7_000, 15_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_holds_logins_back_until_the_batch_is_committed_or_fails() {
        let breaker = Breaker::default();
        breaker.unstalled().await;
        for commits in [true, false] {
            breaker.stalled(Instant::now());
            assert_eq!(breaker.enter(0, Instant::now()), Entry::Stalled);
            let ends = async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                assert_eq!(breaker.troubled_for(Instant::now()), Duration::from_millis(300));
                if commits {
                    assert_eq!(breaker.committed(Instant::now()), None);
                } else {
                    breaker.failed(Instant::now());
                }
            };
            tokio::join!(ends, breaker.unstalled());
            assert_eq!(breaker.is_open(), !commits);
        }
        assert_eq!(breaker.troubled_for(Instant::now()), Duration::from_millis(300), "counted from the stall on");
    }
}
