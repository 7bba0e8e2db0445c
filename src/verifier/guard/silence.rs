//! The circuit breaker in front of a verifier that gives no answers: closed or open, with single trials while it is open.
//! Pure: what happened and when goes in. Any answer closes it, a refusal too; only silence opens it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many calls without an answer, and with no answer to any other between, are silence.
const NO_ANSWERS: u32 = 5;

/// After a trial without an answer the next one waits this long, then twice as long each time.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(8);

#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    answered_at: Option<Instant>,
    no_answers: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    trials: u64,
    /// The call that tries.
    trial: Option<u64>,
    back_off: Duration,
    not_before: Instant,
}

/// What a call that wants to begin is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Free,
    /// As the one call that tries.
    Trial(u64),
    Refused,
}

impl Silence {
    pub fn enter(&self, now: Instant) -> Entry {
        let mut state = self.state();
        let Some(open) = &mut state.open else { return Entry::Free };
        if open.trial.is_some() || now < open.not_before {
            return Entry::Refused;
        }
        open.trials += 1;
        open.trial = Some(open.trials);
        Entry::Trial(open.trials)
    }

    pub fn trial_ended(&self, trial: u64) {
        if let Some(open) = &mut self.state().open
            && open.trial == Some(trial)
        {
            open.trial = None;
        }
    }

    /// A call that began then is still out. Returns whether that opens the breaker.
    pub fn stalled(&self, began: Instant, now: Instant) -> bool {
        let mut state = self.state();
        let others_answered = state.answered_at.is_some_and(|at| at >= began);
        !others_answered && state.open_now(now)
    }

    /// A call has ended without an answer. Returns whether that opens the breaker.
    pub fn no_answer(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.no_answers += 1;
        if let Some(open) = &mut state.open {
            if open.trial.is_some() && now >= open.not_before {
                open.not_before = now + jittered(open.back_off, open.trials);
                open.back_off = (open.back_off * 2).min(LONGEST_BACK_OFF);
            }
            return false;
        }
        state.no_answers >= NO_ANSWERS && state.open_now(now)
    }

    /// Returns whether that closes the breaker.
    pub fn answered(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.answered_at = Some(now);
        state.no_answers = 0;
        state.open.take().is_some()
    }

    pub fn is_open(&self) -> bool {
        self.state().open.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open_now(&mut self, now: Instant) -> bool {
        if self.open.is_some() {
            return false;
        }
        self.open = Some(Open { trials: 0, trial: None, back_off: FIRST_BACK_OFF, not_before: now });
        true
    }
}

/// Up to a quarter more, so that replicas do not try in step. Which part of it the count of trials decides: replicas
/// seldom agree on that, and no randomness is needed.
fn jittered(time: Duration, trials: u64) -> Duration {
    let quarters = u32::try_from(trials.wrapping_mul(0x9E37_79B9) % 64).unwrap_or(0);
    time + time * quarters / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_without_an_answer_open_it_and_any_answer_closes_it() {
        let now = Instant::now();
        let silence = Silence::default();
        for n in 1..=NO_ANSWERS {
            assert_eq!(silence.enter(now), Entry::Free);
            assert_eq!(silence.no_answer(now), n == NO_ANSWERS);
        }
        assert!(silence.is_open());
        assert_eq!(silence.enter(now), Entry::Trial(1));
        assert_eq!(silence.enter(now), Entry::Refused, "one at a time");
        assert!(silence.answered(now));
        assert_eq!(silence.enter(now), Entry::Free);
        for _ in 1..NO_ANSWERS {
            assert!(!silence.no_answer(now));
        }
        assert!(!silence.answered(now), "an answer between starts the count anew");
        assert!(!silence.no_answer(now));
    }

    #[test]
    fn a_call_that_is_out_for_long_opens_it_unless_others_are_answered() {
        let began = Instant::now();
        let later = began + Duration::from_secs(1);
        let silence = Silence::default();
        silence.answered(began + Duration::from_millis(1));
        assert!(!silence.stalled(began, later), "others were answered meanwhile");
        assert!(silence.stalled(began + Duration::from_millis(2), later));
        assert!(!silence.stalled(began + Duration::from_millis(2), later), "it is open already");
    }

    #[test]
    fn trials_without_an_answer_become_rare() {
        let start = Instant::now();
        let silence = Silence::default();
        assert!(silence.stalled(start, start));
        let tried: Vec<u64> = (0..40_000)
            .filter(|ms| {
                let now = start + Duration::from_millis(*ms);
                let Entry::Trial(trial) = silence.enter(now) else { return false };
                silence.no_answer(now);
                silence.trial_ended(trial);
                true
            })
            .collect();
        assert_eq!(tried.len(), 7, "{tried:?}");
        let pauses: Vec<u64> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (pause, least) in pauses.iter().zip([1_000, 2_000, 4_000, 8_000, 8_000, 8_000]) {
            assert!((least..=least * 5 / 4).contains(pause), "{pauses:?}");
        }
    }

    #[test]
    fn a_trial_that_ends_by_itself_makes_way() {
        let now = Instant::now();
        let silence = Silence::default();
        silence.stalled(now, now);
        let Entry::Trial(trial) = silence.enter(now) else { panic!("no trial") };
        silence.trial_ended(trial + 1);
        assert_eq!(silence.enter(now), Entry::Refused);
        silence.trial_ended(trial);
        assert_eq!(silence.enter(now), Entry::Trial(2));
    }
}
