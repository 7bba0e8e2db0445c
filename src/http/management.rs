//! `/livez` and `/readyz`, on the management listener only.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::readiness::{Readiness, Reason};

/// The management routes.
pub fn router(readiness: Arc<Readiness>) -> Router {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(readiness)
}

/// 200 as long as the process can answer at all; depends on nothing.
async fn livez() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// 200 when this replica should be sent requests, otherwise 503 with the reasons.
async fn readyz(State(readiness): State<Arc<Readiness>>) -> Response {
    let reasons: Vec<_> = readiness.reasons().into_iter().map(Reason::as_str).collect();
    if reasons.is_empty() {
        Json(json!({ "status": "ready" })).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "status": "not ready", "reasons": reasons }))).into_response()
    }
}
