//! Requests as they are seen at the edge: what was asked, what was answered, how long it took. It must not know paths.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::client_labels::ClientLabels;
use super::{Histograms, ReasonLabels};
use crate::error_code::SUCCESS;
use crate::ids::ClientId;
use crate::over_limit::Limit;
use crate::refusal::Refusal;

/// From an answer out of memory to the longest a request may take, seconds.
const DURATIONS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug, Clone)]
pub struct RequestMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Histograms<RouteLabels>,
    logins: Family<LoginLabels, Counter>,
    over_limit: Family<LimitLabels, Counter>,
    others_over_limit: Family<LimitLabels, Counter>,
    /// For who turns logins away before they are read.
    pub turned_away: Counter,
    jwks_requests: Counter,
    refused: Family<ReasonLabels, Counter>,
    clients: ClientLabels,
}

/// A request that was answered. Everything in it is from a fixed list, nothing is a caller's.
#[derive(Debug, Clone, Copy)]
pub struct Handled<'a> {
    pub method: &'static str,
    pub route: &'a str,
    /// Under which durations are summed up: fewer than there are routes.
    pub route_group: &'static str,
    pub status: u16,
    pub duration: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    client_id: Arc<str>,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

impl RequestMetrics {
    pub(super) fn new(clients: &ClientLabels) -> Self {
        let refused = Family::default();
        for refusal in Refusal::ALL {
            drop(refused.get_or_create(&ReasonLabels { reason: refusal.as_str() }));
        }
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATIONS)),
            logins: Family::default(),
            over_limit: by_limit(&Limit::OF_LOGINS),
            others_over_limit: by_limit(&Limit::OF_OTHERS),
            turned_away: Counter::default(),
            jwks_requests: Counter::default(),
            refused,
            clients: clients.clone(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "oneclick_logins",
            "Logins that were answered, by application and outcome: SUCCESS or the answer's error_code",
            self.logins.clone(),
        );
        registry.register(
            "oneclick_logins_over_limit",
            "Logins that were refused because a limit was reached, by limit",
            self.over_limit.clone(),
        );
        registry.register(
            "oneclick_calls_over_limit",
            "Calls other than logins that were refused because a limit was reached, by limit",
            self.others_over_limit.clone(),
        );
        registry.register(
            "oneclick_logins_turned_away",
            "Logins that were refused before their body was read: overload, or a database that takes no sessions",
            self.turned_away.clone(),
        );
        registry.register("oneclick_http_requests", "Requests that were answered", self.requests.clone());
        registry.register(
            "oneclick_http_refused",
            "Requests and connections that never reached the routes, by reason",
            self.refused.clone(),
        );
        registry.register(
            "oneclick_http_request_duration_seconds",
            "From a request's head to its answer",
            self.durations.clone(),
        );
        registry.register("oneclick_jwks_requests", "Requests for the JWK Set", self.jwks_requests.clone());
    }

    pub(super) fn show_app(&self, client_id: &Arc<str>) {
        drop(self.logins.get_or_create(&LoginLabels { client_id: Arc::clone(client_id), code: SUCCESS }));
    }

    pub fn count(&self, handled: &Handled<'_>) {
        let Handled { method, route, route_group, status, duration } = *handled;
        self.requests.get_or_create(&RequestLabels { method, route: route.to_owned(), status }).inc();
        self.durations.get_or_create(&RouteLabels { route: route_group }).observe(duration.as_secs_f64());
    }

    /// `client_id` is that of a registered app, `error_code` that of a login that failed.
    pub fn count_login(&self, client_id: Option<&ClientId>, error_code: Option<&'static str>) {
        let client_id = self.clients.label(client_id);
        self.logins.get_or_create(&LoginLabels { client_id, code: error_code.unwrap_or(SUCCESS) }).inc();
    }

    pub fn count_over_limit(&self, limit: Limit) {
        let counters = if Limit::OF_LOGINS.contains(&limit) { &self.over_limit } else { &self.others_over_limit };
        counters.get_or_create(&LimitLabels { limit: limit.as_str() }).inc();
    }

    pub fn count_refused(&self, refusal: Refusal) {
        self.refused.get_or_create(&ReasonLabels { reason: refusal.as_str() }).inc();
    }

    pub fn count_jwks_request(&self) {
        self.jwks_requests.inc();
    }
}

/// Each limit is shown from the beginning on.
fn by_limit(limits: &[Limit]) -> Family<LimitLabels, Counter> {
    let counters = Family::default();
    for limit in limits {
        drop(counters.get_or_create(&LimitLabels { limit: limit.as_str() }));
    }
    counters
}
