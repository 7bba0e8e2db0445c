//! The circuit breaker in front of a verifier that gives no answers: closed or open, with single trials while it is open.
//! Any answer closes it, a refusal too; only silence opens it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
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
    /// Since the start.
    trials: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// The call that tries, by its number.
    trial: Option<u64>,
    back_off: Duration,
    not_before: Instant,
}

/// Leave to make a call, held as long as that lasts. A trial ends when it is dropped, which a panic does as well; if the
/// breaker is still open then, the next trial waits.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    /// The number of the trial that it is for, if it is for one.
    trial: Option<(&'a Silence, u64)>,
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some((silence, number)) = self.trial {
            silence.trial_ended(number, Instant::now());
        }
    }
}

impl Silence {
    /// `None` while the breaker is open, except for the one call that tries.
    pub fn enter(&self, now: Instant) -> Option<Pass<'_>> {
        let mut state = self.state();
        let State { trials, open, .. } = &mut *state;
        let Some(open) = open else { return Some(Pass { trial: None }) };
        if open.trial.is_some() || now < open.not_before {
            return None;
        }
        *trials += 1;
        open.trial = Some(*trials);
        Some(Pass { trial: Some((self, *trials)) })
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

    fn trial_ended(&self, number: u64, now: Instant) {
        if let Some(open) = &mut self.state().open
            && open.trial == Some(number)
        {
            open.trial = None;
            open.not_before = now + jittered(open.back_off);
            open.back_off = (open.back_off * 2).min(LONGEST_BACK_OFF);
        }
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
        self.open = Some(Open { trial: None, back_off: FIRST_BACK_OFF, not_before: now });
        true
    }
}

/// Up to a quarter more, so that the replicas, which find out together, do not try together. The standard library keys
/// each hasher anew, which is random enough for that.
fn jittered(time: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    time + time / 4 * u32::from(random.to_le_bytes()[0]) / 255
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn is_trial(pass: &Pass<'_>) -> bool {
        pass.trial.is_some()
    }

    #[test]
    fn calls_without_an_answer_open_it_and_any_answer_closes_it() {
        let now = Instant::now();
        let silence = Silence::default();
        for n in 1..=NO_ANSWERS {
            assert!(!is_trial(&silence.enter(now).unwrap()));
            assert_eq!(silence.no_answer(now), n == NO_ANSWERS);
        }
        assert!(silence.is_open());
        let trial = silence.enter(now);
        assert!(trial.as_ref().is_some_and(is_trial));
        assert!(silence.enter(now).is_none(), "one at a time");
        assert!(silence.answered(now));
        assert!(!is_trial(&silence.enter(now).unwrap()));
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

    #[tokio::test(start_paused = true)]
    async fn trials_without_an_answer_become_rare() {
        let start = Instant::now();
        let silence = Silence::default();
        assert!(silence.stalled(start, start));
        let mut tried = Vec::new();
        while start.elapsed() < Duration::from_secs(39) {
            if silence.enter(Instant::now()).is_some() {
                tried.push(start.elapsed().as_millis());
            }
            // Of the calls that were out already.
            silence.no_answer(Instant::now());
            advance(Duration::from_millis(10)).await;
        }
        assert_eq!(tried.len(), 7, "{tried:?}");
        let pauses: Vec<_> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (pause, least) in pauses.iter().zip([1_000, 2_000, 4_000, 8_000, 8_000, 8_000]) {
            assert!((least..=least * 5 / 4 + 10).contains(pause), "{pauses:?}");
        }
    }

    #[test]
    fn replicas_do_not_try_together() {
        let pauses: Vec<_> = (0..50).map(|_| jittered(LONGEST_BACK_OFF)).collect();
        let (shortest, longest) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
        assert!(*longest - *shortest > LONGEST_BACK_OFF / 8, "{pauses:?}");
    }

    #[test]
    fn a_trial_of_a_former_outage_does_not_end_one_of_this() {
        let now = Instant::now();
        let silence = Silence::default();
        silence.stalled(now, now);
        let former = silence.enter(now);
        assert!(silence.answered(now));
        silence.stalled(now + Duration::from_secs(1), now);
        let trial = silence.enter(now);
        assert!(trial.as_ref().is_some_and(is_trial));
        drop(former);
        assert!(silence.enter(now).is_none());
    }
}
