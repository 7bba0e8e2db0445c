//! What never reached the routes leaves a trace: a counter by reason, and of each reason a line now and then, for anybody
//! can send garbage as fast as the network carries it. What can be answered gets the contract's form.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::response::Response;

use super::error::{Failure, refuse_malformed, refuse_unread};
use super::now_and_then::NowAndThen;
use crate::clock::Clock;
use crate::error_code::ErrorCode;
use crate::locale::Locale;
use crate::metrics::Metrics;
use crate::refusal::Refusal;

pub struct Refusals {
    /// Where it is listened, for the lines.
    listen: SocketAddr,
    metrics: Arc<Metrics>,
    clock: Clock,
    default_locale: Locale,
    lines: [NowAndThen; Refusal::ALL.len()],
}

impl Refusals {
    pub fn new(listen: SocketAddr, metrics: Arc<Metrics>, clock: Clock, default_locale: Locale) -> Self {
        Self { listen, metrics, clock, default_locale, lines: Default::default() }
    }

    /// The answer to a request that the routes must not see.
    pub fn refuse(&self, request: &Parts, refusal: Refusal) -> Response {
        let now = self.clock.now();
        let failure = match refusal {
            // These are requests, and have a line each like all others.
            Refusal::Host | Refusal::TwoLengths => {
                self.metrics.requests.count_refused(refusal);
                let header = if refusal == Refusal::Host { "Host" } else { "Transfer-Encoding" };
                return refuse_malformed(request, header, self.default_locale, now);
            }
            Refusal::HeadTooLarge => Failure::new(ErrorCode::HeadTooLarge),
            Refusal::Malformed
            | Refusal::BareLineFeed
            | Refusal::ProxyProtocol
            | Refusal::Tls
            | Refusal::PlainHttp
            | Refusal::Handshake
            | Refusal::Http2
            | Refusal::HeaderTimeout
            | Refusal::Silent
            | Refusal::TooManyConnections => Failure::format("head"),
        };
        let peer = request.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        self.note(refusal, peer);
        refuse_unread(request, &failure.closing(), self.default_locale, now)
    }

    /// A connection was closed without an answer.
    pub fn closed(&self, refusal: Refusal, peer: SocketAddr) {
        self.note(refusal, Some(peer));
    }

    fn note(&self, refusal: Refusal, peer: Option<SocketAddr>) {
        self.metrics.requests.count_refused(refusal);
        let line = Refusal::ALL.iter().zip(&self.lines).find(|(other, _)| **other == refusal);
        if let Some(times) = line.and_then(|(_, line)| line.count()) {
            tracing::warn!(
                reason = refusal.as_str(),
                times,
                client.address = peer.map(|peer| tracing::field::display(peer.ip().to_canonical())),
                server.listen = %self.listen,
                "refused before the routes: {}",
                refusal.explanation(),
            );
        }
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusals").field("listen", &self.listen).finish_non_exhaustive()
    }
}
