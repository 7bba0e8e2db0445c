//! Gives each request its id, its place in a trace, and its span. Everything logged while the request is worked on
//! carries both ids.
//!
//! The ids come from the gateway. What anybody else chose would stand in the audit stream and go to Alibaba Cloud: it is
//! only noted, as `request.id_given`.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use time::OffsetDateTime;
use tracing::Instrument;
use tracing::field::Empty;

use super::Http;
use super::access_log::standard_method;
use super::device::only;
use super::error::Failure;
use crate::error_code::ErrorCode;
use crate::ids::RequestId;
use crate::trace::{Attribute, Trace, TraceContext};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: &str = "traceparent";

/// A request's id on its way through the headers.
pub(super) struct HeaderId(pub(super) RequestId);

impl HeaderId {
    /// Keeps the gateway's id where it has the right form, otherwise makes one.
    pub(super) fn of(headers: &HeaderMap, now: OffsetDateTime) -> Self {
        Self::given(headers).unwrap_or_else(|| Self::made(now))
    }

    pub(super) fn made(now: OffsetDateTime) -> Self {
        Self(RequestId::new(now))
    }

    fn given(headers: &HeaderMap) -> Option<Self> {
        headers.get(REQUEST_ID).and_then(|value| RequestId::parse(value.to_str().ok()?)).map(Self)
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(self.0.as_str()) {
            headers.insert(REQUEST_ID, value);
        }
    }
}

/// The caller's span. `tracestate` is neither read nor sent on: what it says is for the services in front of us, and the
/// next one is in somebody else's house.
fn caller_of(headers: &HeaderMap) -> Option<TraceContext> {
    only(headers, TRACEPARENT).and_then(TraceContext::parse)
}

/// Opens the request's span and answers with its id.
pub async fn assign(State(http): State<Http>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    let given = HeaderId::given(request.headers());
    let (kept, noted, caller) = if peer.is_none_or(|peer| http.trusted_proxies.takes_ids_from(peer)) {
        (given, None, caller_of(request.headers()))
    } else {
        (None, given, None)
    };
    let id = kept.unwrap_or_else(|| HeaderId::made(http.clock.now()));
    let trace = Trace::begin(caller, http.recorder.as_ref());
    let span = tracing::info_span!(
        "request",
        request.id = %id.0,
        request.id_given = noted.map(|id| tracing::field::display(id.0)),
        trace.id = %trace.id(),
        app.client_id = Empty,
        user.id = Empty,
        user.new = Empty,
    );
    request.extensions_mut().insert(id.0.clone());
    request.extensions_mut().insert(trace.clone());
    let mut recorded = trace.is_recorded().then(|| Recorded::of(&request, trace, &id.0));
    let mut response = next.run(request).instrument(span).await;
    id.write(response.headers_mut());
    if let Some(recorded) = &mut recorded {
        recorded.answer = Some((response.status(), Failure::code_of(&response)));
    }
    response
}

/// A request of a trace that is recorded; dropped, it is told to the recorder, be it that the client was gone before.
struct Recorded {
    trace: Trace,
    method: Option<&'static str>,
    route: Option<MatchedPath>,
    id: RequestId,
    answer: Option<(StatusCode, Option<ErrorCode>)>,
}

impl Recorded {
    fn of(request: &Request, trace: Trace, id: &RequestId) -> Self {
        let route = request.extensions().get::<MatchedPath>().cloned();
        Self { trace, method: standard_method(request.method()), route, id: id.clone(), answer: None }
    }
}

/// In the words of OpenTelemetry's conventions for HTTP.
impl Drop for Recorded {
    fn drop(&mut self) {
        let text = |text: &str| Attribute::Text(text.to_owned());
        let mut name = self.method.unwrap_or("HTTP").to_owned();
        let method = text(self.method.unwrap_or("_OTHER"));
        let mut attributes = vec![("http.request.method", method), ("request.id", text(self.id.as_str()))];
        if let Some(route) = &self.route {
            name = format!("{name} {}", route.as_str());
            attributes.push(("http.route", text(route.as_str())));
        }
        let (status, code) = self.answer.unzip();
        attributes
            .extend(status.map(|status| ("http.response.status_code", Attribute::Number(status.as_u16().into()))));
        // A client's mistake is no error of ours.
        let error = match (status, code.flatten()) {
            (None, _) => Some("abandoned"),
            (Some(status), Some(code)) if status.is_server_error() => Some(code.number()),
            _ => None,
        };
        self.trace.end(name, attributes, error);
    }
}
