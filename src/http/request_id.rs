//! Gives each request its id and its span. Everything logged while the request is worked on carries them.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use tracing::field::Empty;

use super::Http;
use crate::ids::RequestId;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Keeps the gateway's id where it has the right form, otherwise makes one; answers with it.
pub async fn assign(State(http): State<Http>, mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| RequestId::parse(value.to_str().ok()?))
        .unwrap_or_else(|| RequestId::new(http.clock.now()));
    let value = HeaderValue::from_str(id.as_str());
    let span = tracing::info_span!(
        "request",
        request.id = %id,
        app.client_id = Empty,
        user.id = Empty,
        user.new = Empty,
    );
    request.extensions_mut().insert(id);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = value {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
