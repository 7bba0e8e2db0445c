//! Gives each request its id, its place in a trace, and its span. Everything logged while the request is worked on
//! carries both ids.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use time::OffsetDateTime;
use tracing::Instrument;
use tracing::field::Empty;

use super::Http;
use super::device::only;
use crate::ids::RequestId;
use crate::trace::TraceContext;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: &str = "traceparent";

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

/// The request's own span: a new one of the caller's trace, if there is one, else the first of a new trace.
///
/// `tracestate` is neither read nor sent on: what it says is for the services in front of us, and the next one is in
/// somebody else's house.
pub(super) fn trace_of(headers: &HeaderMap) -> TraceContext {
    let caller = only(headers, TRACEPARENT).and_then(TraceContext::parse);
    caller.map_or_else(|| TraceContext::root(false), TraceContext::child)
}

/// Opens the request's span and answers with its id.
pub async fn assign(State(http): State<Http>, mut request: Request, next: Next) -> Response {
    let id = HeaderId::of(request.headers(), http.clock.now());
    let trace = trace_of(request.headers());
    let span = tracing::info_span!(
        "request",
        request.id = %id.0,
        trace.id = %trace.trace_id,
        app.client_id = Empty,
        user.id = Empty,
        user.new = Empty,
    );
    request.extensions_mut().insert(id.0.clone());
    request.extensions_mut().insert(trace);
    let mut response = next.run(request).instrument(span).await;
    id.write(response.headers_mut());
    response
}
