//! What is read for one scrape: values that others hold and that change without anybody counting.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::ReasonLabels;
use crate::store::PoolState;
use crate::verifier::guard::GuardState;

#[derive(Debug)]
pub struct Sample {
    /// Every reason there is for not being ready, and whether it is one now.
    pub not_ready: Vec<(&'static str, bool)>,
    pub lost_log_lines: u64,
    /// `None` until the server has started.
    pub parts: Option<Parts>,
}

/// The parts of a server that has started.
#[derive(Debug)]
pub struct Parts {
    pub pool: PoolState,
    /// `None` until the database was asked for its time.
    pub clock_difference: Option<Duration>,
    /// Given up although logins were missing from them.
    pub limit_buckets_forgotten: u64,
    /// `None` where there is no limit of a day's calls.
    pub verifier_budget_left: Option<u64>,
    pub verifier_guard: GuardState,
    pub session_writer_queue: usize,
    pub session_writer_limit: usize,
    pub session_writer_healthy: bool,
    /// By state; of several keys in one, the oldest counts.
    pub signing_keys: Vec<(&'static str, Duration)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

impl Sample {
    pub(super) fn register(&self, registry: &mut Registry) {
        let ready = self.not_ready.iter().all(|(_, applies)| !applies);
        registry.register("oneclick_ready", "1 while /readyz says ready, else 0", flag(ready));
        let reasons = Family::<ReasonLabels, Gauge>::default();
        for (reason, applies) in &self.not_ready {
            reasons.get_or_create(&ReasonLabels { reason }).set(i64::from(*applies));
        }
        registry.register("oneclick_not_ready", "1 for each reason why this replica is not ready, else 0", reasons);
        registry.register(
            "oneclick_log_lines_lost",
            "Log lines thrown away because nobody read them fast enough",
            ConstCounter::new(self.lost_log_lines),
        );
        if let Some(parts) = &self.parts {
            parts.register(registry);
        }
    }
}

impl Parts {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "oneclick_session_writer_queue",
            "Places taken in the commit queue: each from a login's admission to its commit",
            count(self.session_writer_queue),
        );
        registry.register(
            "oneclick_session_writer_queue_limit",
            "Places in the commit queue; beyond it logins are refused",
            count(self.session_writer_limit),
        );
        registry.register(
            "oneclick_session_writer_healthy",
            "0 from a failed batch to the next one that is committed, else 1; while 0 logins are refused, but for one that tries",
            flag(self.session_writer_healthy),
        );
        registry.register(
            "oneclick_limit_buckets_forgotten",
            "Addresses, devices and apps whose logins were forgotten because too many others had to be remembered",
            ConstCounter::new(self.limit_buckets_forgotten),
        );
        if let Some(left) = self.verifier_budget_left {
            registry.register(
                "oneclick_verifier_budget_left",
                "Billed calls of the verifier that the day has left, as far as this replica knows",
                ConstGauge::new(i64::try_from(left).unwrap_or(i64::MAX)),
            );
        }
        register_guard(&self.verifier_guard, registry);
        let connections = Family::<StateLabels, Gauge>::default();
        for (state, connected) in [("idle", self.pool.idle), ("in_use", self.pool.in_use)] {
            connections.get_or_create(&StateLabels { state }).set(whole(connected));
        }
        registry.register("oneclick_database_connections", "Open connections to the database", connections);
        registry.register(
            "oneclick_database_connections_limit",
            "The most connections to the database that may be open",
            count(self.pool.limit),
        );
        registry.register(
            "oneclick_database_calls_waiting",
            "Calls of the database that wait for a connection",
            count(self.pool.waiting),
        );
        if let Some(difference) = self.clock_difference {
            registry.register(
                "oneclick_database_clock_difference_seconds",
                "How far this machine's clock is from the database's, in either direction",
                ConstGauge::new(difference.as_secs_f64()),
            );
        }
        let ages = Family::<StateLabels, Gauge>::default();
        for (state, age) in &self.signing_keys {
            let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            let oldest = ages.get_or_create_owned(&StateLabels { state });
            oldest.set(oldest.get().max(age));
        }
        registry.register(
            "oneclick_signing_key_age_seconds",
            "Time since a signing key was made; of several in one state, the oldest's",
            ages,
        );
    }
}

fn register_guard(guard: &GuardState, registry: &mut Registry) {
    registry.register(
        "oneclick_verifier_silent",
        "1 while the verifier gives no answers and only single logins try it, else 0",
        flag(guard.is_open),
    );
    registry.register(
        "oneclick_verifier_calls_per_second_limit",
        "Calls of the verifier that go out in a second because it throttles; 0 while it does not",
        ConstGauge::new(i64::from(guard.calls_per_second.unwrap_or_default())),
    );
    let kept_back = Family::<ReasonLabels, Counter>::default();
    for (reason, calls) in [("silent", guard.kept_from_silent), ("throttles", guard.kept_from_throttling)] {
        kept_back.get_or_create(&ReasonLabels { reason }).inc_by(calls);
    }
    registry.register(
        "oneclick_verifier_calls_kept_back",
        "Calls of the verifier that were not made, by what it is that they would have met",
        kept_back,
    );
}

fn flag(value: bool) -> ConstGauge<i64> {
    ConstGauge::new(i64::from(value))
}

fn count(value: usize) -> ConstGauge<i64> {
    ConstGauge::new(whole(value))
}

fn whole(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
