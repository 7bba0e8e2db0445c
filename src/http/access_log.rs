//! One line for each request, and the one place where a failure's cause is logged.

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use super::error::Failure;
use crate::error_chain::Chain;
use crate::over_limit::Limit;

/// Logs the route's pattern rather than the path, which a client chooses.
pub async fn record(request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = standard_method(request.method()).unwrap_or("OTHER");
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;

    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let status = response.status().as_u16();
    let duration_ms = started.elapsed().as_micros() as f64 / 1_000.0;
    let failure = response.extensions().get::<Failure>();
    let code = failure.map(|failure| failure.code.number());
    let token_state = failure.and_then(|failure| failure.token_state).map(|state| state.as_str());
    let limit = failure.and_then(|failure| failure.limit).map(Limit::as_str);
    let cause = failure.and_then(|failure| failure.cause.as_ref()).map(|cause| Chain(&**cause).to_string());
    if response.status().is_server_error() {
        tracing::error!(
            http.method = method,
            http.route = route,
            http.status = status,
            duration_ms,
            error.code = code,
            error.cause = cause,
            access_token.state = token_state,
            "request failed"
        );
    } else {
        tracing::info!(
            http.method = method,
            http.route = route,
            http.status = status,
            duration_ms,
            error.code = code,
            error.cause = cause,
            access_token.state = token_state,
            limit,
            "request"
        );
    }
    response
}

/// A method's name, unless a client made it up.
pub(super) fn standard_method(method: &Method) -> Option<&'static str> {
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"].into_iter().find(|name| *name == method.as_str())
}
