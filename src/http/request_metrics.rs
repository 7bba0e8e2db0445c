//! Counts every request and every login. Beside the access log, and like it: routes, not paths, and nothing that a
//! client can make up.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use super::device::CLIENT_ID;
use super::error::Failure;
use super::{Http, JWKS_PATH, LOGIN_PATH, WELL_KNOWN_JWKS_PATH};
use crate::ids::ClientId;
use crate::metrics::Handled;

pub async fn count(State(http): State<Http>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let is_login = route == LOGIN_PATH && method == Method::POST;
    let client_id = is_login.then(|| request.headers().get(CLIENT_ID).cloned()).flatten();
    let response = next.run(request).await;

    let requests = &http.metrics.requests;
    requests.count(&Handled {
        method: method_label(&method, response.status()),
        route,
        route_group: group(route),
        status: response.status().as_u16(),
        duration: started.elapsed(),
    });
    if is_login {
        let client_id = client_id.and_then(|value| ClientId::parse(value.to_str().ok()?).ok());
        let registered = client_id.filter(|client_id| http.apps.has_sdk_app(client_id));
        let failure = response.extensions().get::<Failure>();
        requests.count_login(registered.as_ref(), failure.map(|failure| failure.code.number()));
    }
    if let Some(limit) = response.extensions().get::<Failure>().and_then(|failure| failure.limit) {
        requests.count_over_limit(limit);
    }
    let is_read = method == Method::GET || method == Method::HEAD;
    if is_read && (route == JWKS_PATH || route == WELL_KNOWN_JWKS_PATH) {
        requests.count_jwks_request();
    }
    response
}

/// The methods that some route takes, where this one does; all else is one.
fn method_label(method: &Method, status: StatusCode) -> &'static str {
    if status == StatusCode::METHOD_NOT_ALLOWED {
        return "OTHER";
    }
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "OTHER",
    }
}

/// Durations are summed up by what a request is for: a histogram is many series.
fn group(route: &str) -> &'static str {
    match route {
        LOGIN_PATH => LOGIN_PATH,
        _ if route.starts_with("/api/v2/sdk/") => "/api/v2/sdk/*",
        _ if route.starts_with("/api/v2/tenant/") => "/api/v2/tenant/*",
        _ => "other",
    }
}
