//! Serves a router on a listener: connections up to a limit, time-outs for every way of being slow, and an end that
//! loses no request.
//!
//! `axum::serve` waits for a silent client for ever and accepts requests without a `Host`; so this is our own loop over
//! hyper's HTTP/1.1, in TLS if it is given a certificate. HTTP/2 ends at the gateway. It must not know the routes, the settings or the contract's
//! error bodies: what is refused before the routes is rendered by the [`Doorkeeper`] that it is given.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::request;
use axum::response::Response;
use tokio::net::TcpListener;

mod accept;
mod client_io;
mod connection;
mod head_scan;
mod parking;
mod peers;
mod request_service;
mod shutdown;
mod stream;
pub mod tls;

pub use shutdown::{Phase, Shutdown, Signal, signals};

use crate::client_address::TrustedProxies;
use crate::refusal::Refusal;

use accept::Connections;
use connection::Engine;
use tls::Tls;

#[derive(Debug, Clone)]
pub struct Config {
    /// For more, those that have been idle longest are closed; where none is idle, they wait.
    pub max_connections: usize,
    /// For more from one peer, which is an IPv4 address or an IPv6 /64, the new one is closed.
    pub max_connections_per_peer: usize,
    /// Peers that may have any number.
    pub exempt_peers: TrustedProxies,
    /// For a connection between requests. Longer than the gateway keeps an idle connection, or it sends requests into
    /// closed ones.
    pub idle_timeout: Duration,
    /// From the first byte of a request to the end of its headers; for the first request, from the accept.
    pub header_timeout: Duration,
    /// For a client that takes no byte of its answer.
    pub write_timeout: Duration,
    /// How long to go on accepting once asked to end.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that.
    pub drain_timeout: Duration,
}

/// Answers requests before the routes do.
pub trait Doorkeeper: Send + Sync {
    /// The answer to a request that the routes must not see. The connection is closed after it.
    fn refuse(&self, request: &request::Parts, refusal: Refusal) -> Response;

    /// The answer to a request that is not let in now; its body has not been read. `None` lets it in.
    fn turn_away(&self, _request: &request::Parts) -> Option<Response> {
        None
    }

    /// Is told of a connection that was closed without an answer.
    fn closed(&self, _refusal: Refusal, _peer: SocketAddr) {}
}

/// How the end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Ended {
    /// Connections that were still open at the end of the drain time-out, or when the end was to be at once.
    pub cut: usize,
}

/// A listener and what is served on it. Handlers find the client's address in `ConnectInfo<SocketAddr>`.
pub struct Server {
    listener: TcpListener,
    router: Router,
    config: Config,
    doorkeeper: Arc<dyn Doorkeeper>,
    tls: Option<Arc<Tls>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listener", &self.listener).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Server {
    pub fn new(listener: TcpListener, router: Router, config: Config, doorkeeper: Arc<dyn Doorkeeper>) -> Self {
        Self { listener, router, config, doorkeeper, tls: None }
    }

    /// Speaks TLS, if there is what that needs.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Arc<Tls>>) -> Self {
        self.tls = tls;
        self
    }

    /// # Errors
    /// As the socket's own.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` has run its course, which it does by itself once begun: after `drain_delay` the listener
    /// is closed, after `drain_timeout` what is left is cut. Must not be dropped before: that cuts everything.
    pub async fn run(self, shutdown: Shutdown) -> Ended {
        let Self { listener, router, config, doorkeeper, tls } = self;
        let address = listener.local_addr().ok().map(tracing::field::display);
        let engine = Engine::new(router, &config, doorkeeper, shutdown.clone()).with_tls(tls);
        let mut connections = Connections::new(Arc::new(engine), &config);

        let drained = async {
            shutdown.reached(Phase::Draining).await;
            tracing::info!(server.listen = address, "draining, still accepting");
            let _ = tokio::time::timeout(config.drain_delay, shutdown.reached(Phase::Closing)).await;
        };
        tokio::select! {
            never = connections.accept(&listener) => match never {},
            () = drained => shutdown.advance(Phase::Closing),
        }
        if let Err(error) = connections.empty_queue(listener) {
            tracing::warn!(
                server.listen = address,
                error = &error as &dyn std::error::Error,
                "connections that waited to be accepted may have been reset",
            );
        }
        tracing::info!(server.listen = address, connections.open = connections.open(), "listener closed");
        let cut = connections.end(config.drain_timeout).await;
        tracing::info!(server.listen = address, connections.cut = cut, "connections ended");
        Ended { cut }
    }
}
