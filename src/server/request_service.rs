//! What hyper calls for each request: the connection's view of it around the router. It must not know what is routed,
//! nor what a refusal looks like.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tower::Service;

use super::client_io::Activity;
use super::connection::Engine;
use crate::refusal::Refusal;

/// After this many requests a connection is closed, so that long-lived ones spread anew over the replicas.
const MAX_REQUESTS: u32 = 10_000;

pub(super) struct RequestService {
    engine: Arc<Engine>,
    peer: SocketAddr,
    activity: Arc<Activity>,
    requests: AtomicU32,
}

impl RequestService {
    pub(super) fn new(engine: Arc<Engine>, peer: SocketAddr, activity: Arc<Activity>) -> Self {
        Self { engine, peer, activity, requests: AtomicU32::new(0) }
    }

    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl hyper::service::Service<Request<Incoming>> for RequestService {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    // Boxed: hyper keeps room for the future in every connection, idle ones too.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let in_flight = InFlight::begin(self.activity.clone());
        let nth = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let worn_out = nth >= MAX_REQUESTS;
        let in_chunks = request.headers().contains_key(TRANSFER_ENCODING);
        let (engine, activity) = (self.engine.clone(), self.activity.clone());
        let peer = self.peer;
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            parts.extensions.insert(ConnectInfo(peer));
            let doorkeeper = &engine.doorkeeper;
            // Whether a body was left unread, too: hyper closes by itself after one, but only after it has promised to
            // stay, and a gateway would send the next request into a closed connection.
            let (mut response, closes) = if let Some(refusal) = activity.refusal() {
                (doorkeeper.refuse(&parts, refusal), true)
            } else if !names_one_host(parts.version, &parts.headers) {
                (doorkeeper.refuse(&parts, Refusal::Host), true)
            } else if let Some(response) = doorkeeper.turn_away(&parts) {
                // Then hyper discards it without waiting for anything.
                (response, !activity.has_body_come())
            } else {
                let body_ended = Arc::new(AtomicBool::new(body.is_end_stream()));
                let body = RequestBody { body, ended: body_ended.clone() };
                match engine.router.clone().call(Request::from_parts(parts, body)).await {
                    Ok(response) => (response, !body_ended.load(Ordering::Relaxed)),
                    Err(never) => match never {},
                }
            };
            // Nothing is read behind chunks: where they end, others may see another request begin. Gateways send lengths.
            if closes || in_chunks || worn_out || engine.shutdown.draining() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| AnswerBody { body, _in_flight: in_flight }))
        })
    }
}

/// RFC 9112, 3.2: exactly one `Host` in HTTP/1.1. HTTP/1.0 may do without, but two are two opinions there as well.
fn names_one_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => !host.as_bytes().trim_ascii().is_empty(),
        (None, _) => version == Version::HTTP_10,
        (Some(_), Some(_)) => false,
    }
}

/// Ends the request when the answer's last byte is handed over, or when all of it is dropped.
struct InFlight(Arc<Activity>);

impl InFlight {
    fn begin(activity: Arc<Activity>) -> Self {
        activity.request_begins();
        Self(activity)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.request_ends();
    }
}

/// The answer's body, which keeps its request in flight.
pub(super) struct AnswerBody {
    body: Body,
    _in_flight: InFlight,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The request's body, which notes that it was read to its end.
struct RequestBody {
    body: Incoming,
    ended: Arc<AtomicBool>,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let ended = match &frame {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if ended {
            self.ended.store(true, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (HOST, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn exactly_one_host_is_named() {
        for (version, values, right) in [
            (Version::HTTP_11, &["a"][..], true),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_11, &[""], false),
            (Version::HTTP_11, &["a", "a"], false),
            (Version::HTTP_11, &["a", ""], false),
            (Version::HTTP_10, &[], true),
            (Version::HTTP_10, &["a"], true),
            (Version::HTTP_10, &["a", "b"], false),
        ] {
            assert_eq!(names_one_host(version, &hosts(values)), right, "{version:?} {values:?}");
        }
    }
}
