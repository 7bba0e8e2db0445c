//! Gives each request its id and its span. Everything logged while the request is worked on carries them.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use time::OffsetDateTime;
use tracing::Instrument;
use tracing::field::Empty;

use super::Http;
use crate::ids::RequestId;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id on its way through the headers.
pub(super) struct HeaderId(pub(super) RequestId);

impl HeaderId {
    /// Keeps the gateway's id where it has the right form, otherwise makes one.
    pub(super) fn of(headers: &HeaderMap, now: OffsetDateTime) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|value| RequestId::parse(value.to_str().ok()?));
        Self(given.unwrap_or_else(|| RequestId::new(now)))
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(self.0.as_str()) {
            headers.insert(REQUEST_ID, value);
        }
    }
}

/// Opens the request's span and answers with its id.
pub async fn assign(State(http): State<Http>, mut request: Request, next: Next) -> Response {
    let id = HeaderId::of(request.headers(), http.clock.now());
    let span = tracing::info_span!(
        "request",
        request.id = %id.0,
        app.client_id = Empty,
        user.id = Empty,
        user.new = Empty,
    );
    request.extensions_mut().insert(id.0.clone());
    let mut response = next.run(request).instrument(span).await;
    id.write(response.headers_mut());
    response
}
