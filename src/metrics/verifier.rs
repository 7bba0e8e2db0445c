//! Calls of the verifier: how many, with what outcome, how long they take and what they will roughly cost.

use std::sync::Arc;

use async_trait::async_trait;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::{OK, OutcomeLabels, outcomes};
use crate::verifier::{AccessToken, CallContext, PhoneNumberVerifier, ReplayKey, Verified, VerifierError};

/// Around the 100 to 300 ms of `GetMobile`, up to the default of `verifier.aliyun.timeout_ms`, seconds.
const DURATIONS: [f64; 10] = [0.01, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0];

#[derive(Debug, Clone)]
pub struct VerifierMetrics {
    calls: Family<OutcomeLabels, Counter>,
    duration: Histogram,
    billed: Counter,
    in_flight: Gauge,
    in_flight_limit: Gauge,
}

impl Default for VerifierMetrics {
    fn default() -> Self {
        Self {
            calls: outcomes(VerifierError::KINDS),
            duration: Histogram::new(DURATIONS),
            billed: Counter::default(),
            in_flight: Gauge::default(),
            in_flight_limit: Gauge::default(),
        }
    }
}

impl VerifierMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let Self { calls, duration, billed, in_flight, in_flight_limit } = self;
        registry.register("oneclick_verifier_calls", "Calls of the verifier, by outcome", calls.clone());
        registry.register(
            "oneclick_verifier_call_duration_seconds",
            "How long a call of the verifier takes, whatever its outcome",
            duration.clone(),
        );
        registry.register(
            "oneclick_verifier_billed_calls",
            "Calls that returned a number, which is what Alibaba Cloud bills: an estimate",
            billed.clone(),
        );
        registry.register("oneclick_verifier_in_flight", "Calls of the verifier under way", in_flight.clone());
        registry.register(
            "oneclick_verifier_in_flight_limit",
            "The most calls of the verifier that may be under way",
            in_flight_limit.clone(),
        );
    }

    /// Puts the counters in front of a verifier that lets so many calls be under way.
    pub fn meter(&self, verifier: Arc<dyn PhoneNumberVerifier>, in_flight_limit: usize) -> MeteredVerifier {
        self.in_flight_limit.set(i64::try_from(in_flight_limit).unwrap_or(i64::MAX));
        MeteredVerifier { verifier, metrics: self.clone() }
    }
}

/// Passes everything on and counts it.
pub struct MeteredVerifier {
    verifier: Arc<dyn PhoneNumberVerifier>,
    metrics: VerifierMetrics,
}

#[async_trait]
impl PhoneNumberVerifier for MeteredVerifier {
    async fn verify(&self, token: &AccessToken, call: &CallContext) -> Result<Verified, VerifierError> {
        let metrics = &self.metrics;
        let in_flight = InFlight::begin(&metrics.in_flight);
        let started = Instant::now();
        let result = self.verifier.verify(token, call).await;
        drop(in_flight);
        metrics.duration.observe(started.elapsed().as_secs_f64());
        let outcome = result.as_ref().map_or_else(VerifierError::kind, |_| OK);
        metrics.calls.get_or_create(&OutcomeLabels { outcome }).inc();
        if matches!(result, Ok(_) | Err(VerifierError::UnsupportedNumber)) {
            metrics.billed.inc();
        }
        result
    }

    fn replay_key(&self, token: &AccessToken) -> Option<ReplayKey> {
        self.verifier.replay_key(token)
    }
}

/// A call that is under way until it is dropped, which a panic does as well.
struct InFlight<'a>(&'a Gauge);

impl<'a> InFlight<'a> {
    fn begin(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl std::fmt::Debug for MeteredVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MeteredVerifier")
    }
}
