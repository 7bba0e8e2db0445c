//! What this process counts, and how it is shown to Prometheus: the one place that knows the client library.
//!
//! Counters are made here, once per process, and handed to their owners as the app is composed; two decorators count
//! what passes the seams in front of the verifier and of the database. What has a value at any moment is not kept here
//! but read for each scrape and given as a [`Sample`].
//!
//! No label has more values than this code can name: paths are routes, methods and codes come from fixed lists, and of
//! apps only the first few have a label of their own. So a process shows fewer than 500 series, whoever calls.

mod client_labels;
mod exposition;
mod process;
mod requests;
mod sample;
mod sessions;
mod verifier;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
pub use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;

use crate::clock::unix_micros;
use crate::ids::ClientId;

use client_labels::ClientLabels;

pub use exposition::Format;
pub use requests::{Handled, RequestMetrics};
pub use sample::{Parts, Sample};
pub use sessions::{MeteredSessions, SessionCounters, SessionMetrics};
pub use verifier::{MeteredVerifier, VerifierMetrics};

/// Everything that is counted; clones of its parts count together.
pub struct Metrics {
    pub requests: RequestMetrics,
    pub sessions: SessionMetrics,
    pub verifier: VerifierMetrics,
    /// Of the API's listener, in seconds since 1970; 0 where it speaks no TLS.
    pub certificate_expires: AtomicI64,
    clients: ClientLabels,
    registry: Registry,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl Metrics {
    pub fn new(process_started: OffsetDateTime) -> Self {
        let clients = ClientLabels::default();
        let requests = RequestMetrics::new(&clients);
        let sessions = SessionMetrics::new(&clients);
        let verifier = VerifierMetrics::default();

        let mut registry = Registry::default();
        requests.register(&mut registry);
        verifier.register(&mut registry);
        sessions.register(&mut registry);
        let build = Family::<BuildLabels, ConstGauge, _>::new_with_constructor(|| ConstGauge::new(1));
        drop(build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }));
        registry.register("oneclick_build_info", "The running version, as a label; always 1", build);
        registry.register(
            "process_start_time_seconds",
            "When the process was started, in seconds since 1970",
            ConstGauge::new(unix_micros(process_started) as f64 / 1e6),
        );
        Self { requests, sessions, verifier, certificate_expires: AtomicI64::new(0), clients, registry }
    }

    /// Gives these apps, or as many of them as there is room for, a label of their own. What happens later in others'
    /// names takes the room that is left, and then counts as `other`.
    pub fn name_apps<'a>(&self, client_ids: impl IntoIterator<Item = &'a ClientId>) {
        for client_id in client_ids {
            let label = self.clients.label(Some(client_id));
            self.requests.show_app(&label);
            self.sessions.show_app(&label);
        }
    }

    /// All of it, with what was read just now.
    pub fn encode(&self, sample: &Sample, format: Format) -> String {
        let mut sampled = Registry::default();
        sample.register(&mut sampled);
        let certificate_expires = self.certificate_expires.load(Ordering::Relaxed);
        if certificate_expires != 0 {
            sampled.register(
                "oneclick_tls_certificate_expiry_timestamp_seconds",
                "When the certificate of the API's listener expires, in seconds since 1970",
                ConstGauge::new(certificate_expires),
            );
        }
        process::register(&mut sampled);
        exposition::write(&[&self.registry, &sampled], format)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// A family of histograms with the same buckets.
type Histograms<Labels> = Family<Labels, Histogram, fn() -> Histogram>;

/// The outcome of what did not fail.
const OK: &str = "ok";

/// A counter for each outcome. All are shown from the start, so that the first increase is seen as one.
fn outcomes(kinds_of_error: impl IntoIterator<Item = &'static str>) -> Family<OutcomeLabels, Counter> {
    let family = Family::default();
    for outcome in [OK].into_iter().chain(kinds_of_error) {
        drop(family.get_or_create(&OutcomeLabels { outcome }));
    }
    family
}
