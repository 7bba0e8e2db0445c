//! Calls a second to a verifier that throttles. A refusal lowers the rate, though never below what the verifier took of
//! late; without one it grows, and ever faster. Without a refusal for a while there is no limit. Pure: what happened and
//! when goes in.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Over this time it is counted what the verifier took.
const WINDOW: Duration = Duration::from_secs(1);

/// The rate changes at most this often: refusals come in bunches.
const STEP: Duration = Duration::from_millis(200);

/// What is left of the rate after a refusal, if the verifier took no more than that.
const DECREASE: f64 = 0.9;

/// What a step without a refusal adds to the rate: little at first, near the limit that was met, and twice as much with
/// every second without one, since that limit is then gone. At the most the rate doubles.
const FIRST_INCREASE: f64 = 0.01;

/// Always let through, each second, so that the limit can be found again.
const LEAST_RATE: f64 = 2.0;

/// Calls that may go out at once: those of 100 ms, since logins do not come evenly.
const BURST_SECONDS: f64 = 0.1;
const LEAST_BURST: f64 = 2.0;

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
    /// Whether a call was kept back since the rate changed. A rate that nobody reaches does not grow.
    is_reached: bool,
    filled_at: Instant,
    began_at: Instant,
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
        state.limit.as_mut().is_none_or(|limit| limit.lets_in(now))
    }

    /// The verifier took a call, whatever it said of the token.
    pub fn answered(&self, now: Instant) {
        let mut state = self.state();
        state.taken.push_back(now);
        let taken = state.taken_lately(now);
        let Some(limit) = &mut state.limit else { return };
        if now - limit.began_at <= WINDOW {
            // It refuses at once and answers later: these calls were out when it began to refuse.
            limit.rate = limit.rate.max(taken);
        } else if now - limit.changed_at > STEP && now - limit.throttled_at > STEP && limit.is_reached {
            limit.change(limit.rate * limit.growth(now), now);
        }
    }

    /// The verifier sent a call away. Returns the rate where there was no limit before.
    pub fn throttled(&self, now: Instant) -> Option<u32> {
        let mut state = self.state();
        let taken = state.taken_lately(now);
        match &mut state.limit {
            Some(limit) => {
                limit.throttled_at = now;
                if now - limit.changed_at > STEP {
                    limit.change((limit.rate * DECREASE).max(taken), now);
                }
                None
            }
            None => {
                let limit = Limit::new(taken.max(LEAST_RATE), now);
                let rate = limit.rate as u32;
                state.limit = Some(limit);
                Some(rate)
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
    fn taken_lately(&mut self, now: Instant) -> f64 {
        while self.taken.front().is_some_and(|at| now - *at > WINDOW) {
            self.taken.pop_front();
        }
        self.taken.len() as f64
    }
}

impl Limit {
    fn new(rate: f64, now: Instant) -> Self {
        Self { rate, credit: 0.0, is_reached: false, filled_at: now, began_at: now, changed_at: now, throttled_at: now }
    }

    fn lets_in(&mut self, now: Instant) -> bool {
        self.fill(now);
        if self.credit < 1.0 {
            self.is_reached = true;
            return false;
        }
        self.credit -= 1.0;
        true
    }

    fn fill(&mut self, now: Instant) {
        let burst = (self.rate * BURST_SECONDS).max(LEAST_BURST);
        self.credit = (now - self.filled_at).as_secs_f64().mul_add(self.rate, self.credit).min(burst);
        self.filled_at = now;
    }

    fn growth(&self, now: Instant) -> f64 {
        let seconds_without_refusal = (now - self.throttled_at).as_secs_f64();
        1.0 + (FIRST_INCREASE * seconds_without_refusal.exp2()).min(1.0)
    }

    fn change(&mut self, rate: f64, now: Instant) {
        self.fill(now);
        self.rate = rate.max(LEAST_RATE);
        self.is_reached = false;
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
