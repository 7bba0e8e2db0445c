//! Calls a second to a verifier that throttles: what it took of late, a little less with each refusal, a little more as
//! long as there is none (additive increase, multiplicative decrease). Without a refusal for a while there is no limit.
//! Pure: what happened and when goes in.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Over this time it is counted what the verifier took.
const WINDOW: Duration = Duration::from_secs(1);

/// The rate changes at most this often: refusals come in bunches.
const STEP: Duration = Duration::from_millis(200);

/// What is left of the rate after a refusal.
const DECREASE: f64 = 0.9;

/// How much the rate grows by in each step without one: as much as 5 % a second.
const INCREASE: f64 = 1.01;

/// Always let through, each second, so that the limit can be found again.
const LEAST_RATE: f64 = 2.0;

/// Calls that may go out at once.
const BURST: f64 = 2.0;

/// Without a refusal for so long there is no limit any more.
const FORGET_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the verifier took calls, within the window.
    taken: VecDeque<Instant>,
    limit: Option<Limit>,
}

#[derive(Debug)]
struct Limit {
    rate: f64,
    /// Calls that may go out now.
    credit: f64,
    filled_at: Instant,
    changed_at: Instant,
    throttled_at: Instant,
}

impl Pace {
    /// Whether a call may go out now.
    pub fn enter(&self, now: Instant) -> bool {
        let mut state = self.state();
        if state.limit.as_ref().is_some_and(|limit| now - limit.throttled_at > FORGET_AFTER) {
            state.limit = None;
        }
        let Some(limit) = &mut state.limit else { return true };
        limit.fill(now);
        let lets_in = limit.credit >= 1.0;
        if lets_in {
            limit.credit -= 1.0;
        }
        lets_in
    }

    /// The verifier took a call, whatever it said of the token.
    pub fn answered(&self, now: Instant) {
        let mut state = self.state();
        state.taken.push_back(now);
        state.forget(now);
        if let Some(limit) = &mut state.limit
            && now - limit.throttled_at > STEP
            && now - limit.changed_at > STEP
        {
            limit.change(INCREASE, now);
        }
    }

    /// The verifier sent a call away. Returns the rate where there was no limit before.
    pub fn throttled(&self, now: Instant) -> Option<u32> {
        let mut state = self.state();
        state.forget(now);
        let taken = state.taken.len() as f64;
        match &mut state.limit {
            Some(limit) => {
                limit.throttled_at = now;
                if now - limit.changed_at > STEP {
                    limit.change(DECREASE, now);
                }
                None
            }
            None => {
                let rate = taken.max(LEAST_RATE);
                let limit = Limit { rate, credit: 0.0, filled_at: now, changed_at: now, throttled_at: now };
                state.limit = Some(limit);
                Some(rate as u32)
            }
        }
    }

    pub fn calls_per_second(&self) -> Option<u32> {
        self.state().limit.as_ref().map(|limit| limit.rate as u32)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        while self.taken.front().is_some_and(|at| now - *at > WINDOW) {
            self.taken.pop_front();
        }
    }
}

impl Limit {
    fn fill(&mut self, now: Instant) {
        self.credit = ((now - self.filled_at).as_secs_f64().mul_add(self.rate, self.credit)).min(BURST);
        self.filled_at = now;
    }

    fn change(&mut self, factor: f64, now: Instant) {
        self.fill(now);
        self.rate = (self.rate * factor).max(LEAST_RATE);
        self.changed_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A verifier that takes so many calls a second, evenly, under clients that ask two thousand times a second for as
    /// long; gives the calls that went out and those that were taken.
    fn run(pace: &Pace, start: Instant, (takes, seconds): (f64, u64)) -> (u64, u64) {
        let (mut credit, mut sent, mut taken) = (takes, 0, 0);
        for half_ms in 0..seconds * 2_000 {
            let now = start + Duration::from_micros(half_ms * 500);
            credit = (credit + takes / 2_000.0).min(takes);
            if !pace.enter(now) {
                continue;
            }
            sent += 1;
            if credit >= 1.0 {
                credit -= 1.0;
                taken += 1;
                pace.answered(now);
            } else {
                pace.throttled(now);
            }
        }
        (sent, taken)
    }

    #[test]
    fn a_verifier_that_throttles_gets_hardly_more_than_it_takes_and_all_that_it_takes() {
        for takes in [10.0, 60.0, 300.0] {
            let pace = Pace::default();
            let (sent, taken) = run(&pace, Instant::now(), (takes, 10));
            let whole = takes * 10.0;
            assert!((sent as f64) < whole * 1.5, "{takes}: {sent} sent");
            assert!((taken as f64) > whole * 0.85, "{takes}: {taken} taken");
        }
    }

    #[test]
    fn one_that_takes_more_again_is_given_more_and_forgotten_in_the_end() {
        let pace = Pace::default();
        let start = Instant::now();
        assert!((0..10_000).all(|_| pace.enter(start)), "no limit before a refusal");
        run(&pace, start, (20.0, 5));
        let low = pace.calls_per_second().unwrap();
        run(&pace, start + Duration::from_secs(5), (2_000.0, 20));
        let high = pace.calls_per_second().unwrap();
        assert!(low < 30 && high > 2 * low, "{low} {high}");
        assert!(pace.enter(start + Duration::from_secs(5 + 61)));
        assert_eq!(pace.calls_per_second(), None);
    }
}
