//! Whether this replica should be sent requests. Looks at the database and at draining, never at the verifier: its
//! trouble would take all replicas out at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::keys::{CLOCK_LIMIT, Keys};
use crate::session_writer::SessionWriter;
use crate::store::Store;

/// How often the database is asked for its time.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// For how long the database may be silent: one answer that is lost must not take every replica out at once.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);

/// From this difference to the database's clock on, a warning is logged.
pub const CLOCK_WARNING: Duration = Duration::from_secs(2);

/// The state that `/readyz` shows. It exists before the database can be reached.
#[derive(Debug, Default)]
pub struct Readiness {
    draining: AtomicBool,
    watched: OnceLock<Watched>,
    database: RwLock<Option<Seen>>,
}

/// The database's last answer.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: Instant,
    /// Between its clock and ours.
    difference: Duration,
}

/// What readiness depends on once the server has started.
#[derive(Clone)]
pub struct Watched {
    pub store: Arc<dyn Store>,
    pub keys: Arc<Keys>,
    pub session_writer: SessionWriter,
    pub clock: Clock,
}

impl Readiness {
    /// From now on not ready, whatever else.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why requests should go elsewhere; empty when ready.
    pub fn reasons(&self) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            reasons.push("draining");
        }
        let Some(watched) = self.watched.get() else {
            reasons.push("starting");
            return reasons;
        };
        match *self.database.read().unwrap_or_else(PoisonError::into_inner) {
            Some(seen) if seen.at.elapsed() <= SILENCE_LIMIT => {
                if seen.difference > CLOCK_LIMIT {
                    reasons.push("the clock differs from the database's");
                }
            }
            Some(_) | None => reasons.push("the database does not answer"),
        }
        if !watched.session_writer.is_healthy() {
            reasons.push("the database takes no sessions");
        }
        if watched.keys.is_stale() {
            reasons.push("the signing keys are stale");
        }
        reasons
    }

    /// Watches the database until it is dropped.
    pub async fn watch(&self, watched: Watched) {
        let watched = self.watched.get_or_init(|| watched);
        let mut ticks = tokio::time::interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match watched.store.database_time().await {
                Ok(theirs) => {
                    let difference = (theirs - watched.clock.now()).unsigned_abs();
                    if difference > CLOCK_WARNING {
                        let difference_ms = u64::try_from(difference.as_millis()).unwrap_or(u64::MAX);
                        tracing::warn!(difference_ms, "the clock differs from the database's");
                    }
                    let seen = Seen { at: Instant::now(), difference };
                    *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(seen);
                }
                Err(error) => tracing::warn!(error = %Chain(&error), "the database does not answer"),
            }
        }
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("store", &self.store.kind()).finish_non_exhaustive()
    }
}
