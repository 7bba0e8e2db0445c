//! Whether this replica should be sent requests. Looks at the database, at the signing keys and at draining, never at
//! the verifier: its trouble would take all replicas out at once.
//!
//! A check asks the database and the keys once; the `judge` makes a verdict of many. Draining, and whether the database
//! takes sessions, need no check.

mod judge;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::clock::{Clock, ClockTrust};
use crate::commit_queue::CommitQueue;
use crate::error_chain::Chain;
use crate::keys::{CLOCK_LIMIT, Keys};
use crate::limits::Limits;
use crate::limits::budget::Budget;
use crate::store::{Store, StoreError};
use crate::verifier::guard::Guard;

pub use judge::Reason;

use judge::Judge;

/// Between checks while all is well.
const CALM_INTERVAL: Duration = Duration::from_secs(1);

/// Between checks while something is wrong or was lately: a replica is to be back within a second of its database.
const ALERT_INTERVAL: Duration = Duration::from_millis(250);

/// A commit that fails or hangs is usually over at the next try. Until then logins are refused with their tokens unspent,
/// so a second of it costs nobody anything.
const SESSIONS_PATIENCE: Duration = Duration::from_secs(1);

/// The store has time limits of its own; this one keeps the checks going whatever it does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// From this difference to the database's clock on, a warning is logged.
pub const CLOCK_WARNING: Duration = Duration::from_secs(2);

/// The state that `/readyz` shows. It exists before the database can be reached.
#[derive(Debug)]
pub struct Readiness {
    draining: AtomicBool,
    watched: OnceLock<Watched>,
    verdict: RwLock<Vec<Reason>>,
    clock_difference: RwLock<Option<Duration>>,
}

/// What readiness depends on, and metrics show, once the server has started.
#[derive(Clone)]
pub struct Watched {
    pub store: Arc<dyn Store>,
    pub keys: Arc<Keys>,
    pub commit_queue: CommitQueue,
    /// Shown only: a limit that is reached is no reason to go elsewhere.
    pub limits: Arc<Limits>,
    pub budget: Arc<Budget>,
    /// Shown only: a verifier that is silent is so for all replicas. `None` with the sandbox.
    pub guard: Option<Arc<Guard>>,
    pub clock: Clock,
    /// Told to those who sign.
    pub clock_trust: ClockTrust,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            draining: AtomicBool::new(false),
            watched: OnceLock::new(),
            verdict: RwLock::new(vec![Reason::Starting]),
            clock_difference: RwLock::new(None),
        }
    }
}

impl Readiness {
    /// From now on not ready, whatever else.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why requests should go elsewhere; empty when ready.
    pub fn reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            reasons.push(Reason::Draining);
        }
        reasons.extend_from_slice(&self.verdict.read().unwrap_or_else(PoisonError::into_inner));
        if self.watched.get().is_some_and(Watched::takes_no_sessions) {
            reasons.push(Reason::DatabaseTakesNoSessions);
        }
        reasons
    }

    /// What is watched, once the server has started.
    pub fn watched(&self) -> Option<&Watched> {
        self.watched.get()
    }

    /// How far the database's clock was from ours when it was last asked.
    pub fn clock_difference(&self) -> Option<Duration> {
        *self.clock_difference.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what there is to watch. The first time counts.
    pub fn started(&self, watched: Watched) {
        self.watched.get_or_init(|| watched);
    }

    /// Checks again and again, until it is dropped, what [`Readiness::started`] was given.
    pub async fn watch(&self) {
        let Some(watched) = self.watched.get() else { return };
        let mut judge = Judge::new();
        let mut announced = self.reasons();
        loop {
            let checked_at = Instant::now();
            let found = self.check(watched).await;
            judge.check(&found, checked_at);
            judge.verdict().clone_into(&mut self.verdict.write().unwrap_or_else(PoisonError::into_inner));
            self.announce(&mut announced);
            let calm = judge.is_calm() && watched.commit_queue.troubled_for().is_zero();
            sleep(if calm { CALM_INTERVAL } else { ALERT_INTERVAL }).await;
        }
    }

    async fn check(&self, watched: &Watched) -> Vec<Reason> {
        let mut found = Vec::new();
        match timeout(ANSWER_TIMEOUT, watched.store.database_time()).await {
            Ok(Ok(theirs)) => {
                let difference = (theirs - watched.clock.now()).unsigned_abs();
                *self.clock_difference.write().unwrap_or_else(PoisonError::into_inner) = Some(difference);
                if difference > CLOCK_WARNING {
                    let difference_ms = u64::try_from(difference.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(difference_ms, "the clock differs from the database's");
                }
                watched.clock_trust.set(difference > CLOCK_LIMIT);
                if difference > CLOCK_LIMIT {
                    found.push(Reason::ClockDiffers);
                }
            }
            Ok(Err(StoreError::Replaced)) => {}
            // Our own calls are many. Of the database it says nothing.
            Ok(Err(StoreError::Busy)) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %Chain(&error), "the database does not answer");
                found.push(Reason::DatabaseSilent);
            }
            Err(_) => {
                tracing::warn!("the database does not answer");
                found.push(Reason::DatabaseSilent);
            }
        }
        let replaced =
            matches!(timeout(ANSWER_TIMEOUT, watched.store.check_identity()).await, Ok(Err(StoreError::Replaced)));
        watched.commit_queue.suspend(replaced);
        if replaced {
            if !self.reasons().contains(&Reason::DatabaseReplaced) {
                tracing::error!(error = %StoreError::Replaced, "logins are refused");
            }
            found.push(Reason::DatabaseReplaced);
        }
        if watched.keys.is_stale() {
            found.push(Reason::SigningKeysStale);
        }
        found
    }

    /// Says what has changed since it was last said.
    fn announce(&self, announced: &mut Vec<Reason>) {
        let reasons = self.reasons();
        if *announced == reasons {
            return;
        }
        if reasons.is_empty() {
            tracing::info!("ready");
        } else {
            let texts: Vec<_> = reasons.iter().map(|reason| reason.as_str()).collect();
            tracing::warn!(reasons = texts.join("; "), "not ready");
        }
        *announced = reasons;
    }
}

impl Watched {
    /// Asked anew each time: the commit queue's breaker has its own way of not flapping, as only a commit closes it.
    fn takes_no_sessions(&self) -> bool {
        self.commit_queue.troubled_for() >= SESSIONS_PATIENCE
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("store", &self.store.kind()).finish_non_exhaustive()
    }
}
