//! Stands in front of a verifier and keeps calls from it that would be in vain: it paces them to what a verifier takes
//! that throttles, and lets single trials go out to one that is silent. Whoever is kept back is told "busy", and its token
//! is unspent.

mod pace;
mod silence;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{AccessToken, CallContext, PhoneNumberVerifier, ReplayKey, Verified, VerifierError};
use pace::Pace;
use silence::Silence;

/// A call that is out for so many ticks, with no answer to any other meanwhile, is one to a silent verifier: `GetMobile`
/// takes 100 to 300 ms. Ticks, not time: while this process gets no processor it makes none.
const STALL_TICKS: u32 = 4;
const TICK: Duration = Duration::from_millis(250);

pub struct Guard {
    verifier: Arc<dyn PhoneNumberVerifier>,
    silence: Silence,
    pace: Pace,
    kept_from_silent: AtomicU64,
    kept_from_throttling: AtomicU64,
}

/// What the guard does at a moment, for whoever watches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuardState {
    /// Only trials go out.
    pub is_open: bool,
    /// Calls a second that the verifier takes; `None` while it has not throttled lately.
    pub calls_per_second: Option<u32>,
    /// Calls that were not made since the start.
    pub kept_from_silent: u64,
    pub kept_from_throttling: u64,
}

impl Guard {
    pub fn new(verifier: Arc<dyn PhoneNumberVerifier>) -> Self {
        Self {
            verifier,
            silence: Silence::default(),
            pace: Pace::default(),
            kept_from_silent: AtomicU64::new(0),
            kept_from_throttling: AtomicU64::new(0),
        }
    }

    pub fn state(&self) -> GuardState {
        GuardState {
            is_open: self.silence.is_open(),
            calls_per_second: self.pace.calls_per_second(),
            kept_from_silent: self.kept_from_silent.load(Ordering::Relaxed),
            kept_from_throttling: self.kept_from_throttling.load(Ordering::Relaxed),
        }
    }

    /// Waits for the call, and says when it is out for long.
    async fn call(&self, token: &AccessToken, call: &CallContext, began: Instant) -> Result<Verified, VerifierError> {
        let stall = async {
            for _ in 0..STALL_TICKS {
                sleep(TICK).await;
            }
        };
        let verified = self.verifier.verify(token, call);
        tokio::pin!(verified);
        tokio::select! {
            biased;
            done = &mut verified => return done,
            () = stall => {
                if self.silence.stalled(began, Instant::now()) {
                    tracing::error!("the verifier is silent: only single logins are tried until it answers");
                }
            }
        }
        verified.await
    }

    fn note(&self, verified: &Result<Verified, VerifierError>) {
        let now = Instant::now();
        match verified {
            Err(VerifierError::NoAnswer { .. } | VerifierError::Unreachable(_)) => {
                if self.silence.no_answer(now) {
                    tracing::error!("the verifier gives no answers: only single logins are tried until it does");
                }
                return;
            }
            Err(VerifierError::Throttled { .. }) => {
                if let Some(calls_per_second) = self.pace.throttled(now) {
                    tracing::warn!(calls_per_second, "the verifier throttles: calls are paced");
                }
            }
            // Refused here, without a call.
            Err(VerifierError::Busy { .. } | VerifierError::OverBudget(_) | VerifierError::BudgetUnknown(_)) => return,
            Ok(_)
            | Err(
                VerifierError::TokenRejected { .. }
                | VerifierError::Ambiguous { .. }
                | VerifierError::Misconfigured { .. }
                | VerifierError::NotANumber
                | VerifierError::UnsupportedNumber,
            ) => self.pace.answered(now),
        }
        if self.silence.answered(now) {
            tracing::info!("the verifier answers again");
        }
    }
}

#[async_trait]
impl PhoneNumberVerifier for Guard {
    async fn verify(&self, token: &AccessToken, call: &CallContext) -> Result<Verified, VerifierError> {
        let began = Instant::now();
        let Some(_pass) = self.silence.enter(began) else {
            self.kept_from_silent.fetch_add(1, Ordering::Relaxed);
            return Err(VerifierError::Busy { reason: "it is silent, and single logins try it".to_owned() });
        };
        if !self.pace.enter(began) {
            self.kept_from_throttling.fetch_add(1, Ordering::Relaxed);
            return Err(VerifierError::Busy { reason: "it throttles, and its share of calls is used up".to_owned() });
        }
        let verified = self.call(token, call, began).await;
        self.note(&verified);
        verified
    }

    fn replay_key(&self, token: &AccessToken) -> Option<ReplayKey> {
        self.verifier.replay_key(token)
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("state", &self.state()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
