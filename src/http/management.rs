//! `/livez`, `/readyz` and `/metrics`, on the management listener only: for whoever operates this, not for clients.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::metrics::{Format, Metrics, Parts, Sample};
use crate::readiness::{Readiness, Reason, Watched};

/// What the management listener shows. It exists before the database can be reached.
#[derive(Debug, Clone)]
pub struct Management {
    pub readiness: Arc<Readiness>,
    pub metrics: Arc<Metrics>,
    /// Log lines that were thrown away since the start.
    pub lost_log_lines: fn() -> u64,
}

/// The management routes.
pub fn router(management: Management) -> Router {
    Router::new()
        .route("/livez", get(livez).options(livez_options))
        .route("/readyz", get(readyz).options(readyz_options))
        .route("/metrics", get(metrics))
        .with_state(management)
}

/// 200 as long as the process can answer at all; depends on nothing.
async fn livez() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// 200 when this replica should be sent requests, otherwise 503 with the reasons.
async fn readyz(State(management): State<Management>) -> Response {
    let reasons: Vec<_> = management.readiness.reasons().into_iter().map(Reason::as_str).collect();
    if reasons.is_empty() {
        Json(json!({ "status": "ready" })).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not ready", "reasons": reasons }))).into_response()
    }
}

/// HAProxy asks so unless it is told otherwise: the status alone says it.
async fn livez_options() -> Response {
    options(StatusCode::OK)
}

async fn readyz_options(State(management): State<Management>) -> Response {
    let ready = management.readiness.reasons().is_empty();
    options(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
}

fn options(status: StatusCode) -> Response {
    (status, [(ALLOW, "GET,HEAD,OPTIONS")]).into_response()
}

/// OpenMetrics for whoever accepts it, else Prometheus' own text.
async fn metrics(State(management): State<Management>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted_by(&accept.collect::<Vec<_>>().join(","));
    let text = management.metrics.encode(&management.sample(), format);
    ([(CONTENT_TYPE, format.content_type())], text).into_response()
}

impl Management {
    fn sample(&self) -> Sample {
        let reasons = self.readiness.reasons();
        Sample {
            not_ready: Reason::ALL.map(|reason| (reason.label(), reasons.contains(&reason))).to_vec(),
            lost_log_lines: (self.lost_log_lines)(),
            parts: self.readiness.watched().map(|watched| self.parts(watched)),
        }
    }

    fn parts(&self, watched: &Watched) -> Parts {
        let Watched { store, keys, commit_queue, limits, budget, guard, clock, clock_trust: _ } = watched;
        let (keys, now) = (keys.snapshot(), clock.now());
        Parts {
            pool: store.pool_state(),
            clock_difference: self.readiness.clock_difference(),
            limit_buckets_forgotten: limits.forgotten(),
            verifier_budget_left: budget.left_today(),
            verifier_guard: guard.as_ref().map(|guard| guard.state()).unwrap_or_default(),
            session_writer_queue: commit_queue.taken(),
            session_writer_limit: commit_queue.limit(),
            session_writer_healthy: commit_queue.is_healthy(),
            signing_keys: keys.made.iter().map(|(state, at)| (state.as_str(), (now - *at).unsigned_abs())).collect(),
        }
    }
}
