//! What happens to sessions, and what opening them costs the database.

use std::sync::Arc;

use async_trait::async_trait;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::client_labels::ClientLabels;
use super::{OK, OutcomeLabels, outcomes};
use crate::store::{NewSession, OpenSessions, Opened, Outcome, StoreError};

/// Sessions in one commit, up to the default of `login.max_batch`.
const BATCH_SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Around the 2 to 10 ms of a commit that is synced, up to what the database phase and its repetition may take, seconds.
const COMMIT_DURATIONS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0];

#[derive(Debug, Clone)]
pub struct SessionMetrics {
    batch_size: Histogram,
    commit_duration: Histogram,
    commits: Family<OutcomeLabels, Counter>,
    opened: Counter,
    users_registered: Family<AppLabels, Counter>,
    /// For who uses sessions.
    pub counters: SessionCounters,
    clients: ClientLabels,
}

#[derive(Debug, Clone, Default)]
pub struct SessionCounters {
    pub refreshed: Counter,
    pub revoked: Counter,
    pub reused: Counter,
    pub answers_repeated: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AppLabels {
    client_id: Arc<str>,
}

impl SessionMetrics {
    pub(super) fn new(clients: &ClientLabels) -> Self {
        Self {
            batch_size: Histogram::new(BATCH_SIZES),
            commit_duration: Histogram::new(COMMIT_DURATIONS),
            commits: outcomes(StoreError::KINDS),
            opened: Counter::default(),
            users_registered: Family::default(),
            counters: SessionCounters::default(),
            clients: clients.clone(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let Self { batch_size, commit_duration, commits, opened, users_registered, counters, clients: _ } = self;
        let SessionCounters { refreshed, revoked, reused, answers_repeated } = counters;
        registry.register(
            "oneclick_users_registered",
            "Users who were registered by a login, by application",
            users_registered.clone(),
        );
        registry.register(
            "oneclick_answers_repeated",
            "Logins that got an earlier login's answer once more, because it was lost",
            answers_repeated.clone(),
        );
        registry.register("oneclick_sessions_opened", "Sessions that were opened", opened.clone());
        registry.register("oneclick_sessions_refreshed", "id_tokens for a session_token", refreshed.clone());
        registry.register("oneclick_sessions_revoked", "Sessions that were ended by logging out", revoked.clone());
        registry.register(
            "oneclick_sessions_reused",
            "Sessions that were ended because a token that had been replaced came again",
            reused.clone(),
        );
        registry.register("oneclick_commit_batch_size", "Logins that were written together", batch_size.clone());
        registry.register(
            "oneclick_commit_duration_seconds",
            "From handing a batch of logins to the database to its answer",
            commit_duration.clone(),
        );
        registry.register("oneclick_commits", "Batches of logins, by what became of them", commits.clone());
    }

    pub(super) fn show_app(&self, client_id: &Arc<str>) {
        drop(self.users_registered.get_or_create(&AppLabels { client_id: Arc::clone(client_id) }));
    }

    /// Puts the counters in front of a store.
    pub fn meter(&self, store: Arc<dyn OpenSessions>) -> MeteredSessions {
        MeteredSessions { store, metrics: self.clone() }
    }

    fn count_opened(&self, session: &NewSession, opened: &Opened) {
        self.opened.inc();
        if opened.new_user {
            let client_id = self.clients.label(Some(&session.client_id));
            self.users_registered.get_or_create(&AppLabels { client_id }).inc();
        }
    }
}

/// Passes everything on and counts it. A session counts once, as an answer that is an error never says "opened" and the
/// repetition of a batch is another call.
pub struct MeteredSessions {
    store: Arc<dyn OpenSessions>,
    metrics: SessionMetrics,
}

#[async_trait]
impl OpenSessions for MeteredSessions {
    async fn open_sessions(&self, sessions: &[NewSession]) -> Result<Vec<Outcome>, StoreError> {
        let metrics = &self.metrics;
        let started = Instant::now();
        let written = self.store.open_sessions(sessions).await;
        metrics.commit_duration.observe(started.elapsed().as_secs_f64());
        metrics.batch_size.observe(sessions.len() as f64);
        let outcome = written.as_ref().map_or_else(StoreError::kind, |_| OK);
        metrics.commits.get_or_create(&OutcomeLabels { outcome }).inc();
        for (session, outcome) in sessions.iter().zip(written.iter().flatten()) {
            if let Outcome::Opened(opened) = outcome {
                metrics.count_opened(session, opened);
            }
        }
        written
    }

    async fn probe_sessions(&self, now: OffsetDateTime) -> Result<(), StoreError> {
        self.store.probe_sessions(now).await
    }
}

impl std::fmt::Debug for MeteredSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MeteredSessions")
    }
}
