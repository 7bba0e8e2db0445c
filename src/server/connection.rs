//! One connection, from accept to close. It must not know the other connections, nor what limits their number.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::client_io::{Activity, ClientIo};
use super::head_scan::{MAX_HEAD_BYTES, MAX_HEADERS, TLS_HANDSHAKE};
use super::parking::ParkingLot;
use super::request_service::RequestService;
use super::shutdown::{Phase, Shutdown};
use super::stream::{Stream, first_byte};
use super::tls::{self, Tls};
use super::{Config, Doorkeeper};
use crate::refusal::Refusal;

/// What hyper buffers of a body or an answer; no smaller than the largest head.
const MAX_BUFFER_BYTES: usize = MAX_HEAD_BYTES;

/// How long a connection without a request is kept once the end has come. A request may be on its way on it, and one that
/// meets a closed connection is lost: nobody may repeat a POST. Those that are in use close with their next answer.
const LAST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// A connection that has no request for so long, or twice that, is parked, without hyper's two buffers of 8 KiB. Soon, so
/// that of many that come together few hold them at once: the allocator gives little back to the system later.
const PARK_AFTER: Duration = Duration::from_millis(100);

/// One that is in use is looked at less and less often, down to once in this time: a look costs as much as a small request.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What all connections of a listener share.
pub(super) struct Engine {
    pub(super) router: Router,
    pub(super) doorkeeper: Arc<dyn Doorkeeper>,
    pub(super) shutdown: Shutdown,
    pub(super) parking: Arc<ParkingLot>,
    idle_timeout: Duration,
    http: http1::Builder,
    header_timeout: Duration,
    write_timeout: Duration,
    last_request_grace: Duration,
    tls: Option<Arc<Tls>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    pub(super) fn new(router: Router, config: &Config, doorkeeper: Arc<dyn Doorkeeper>, shutdown: Shutdown) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            // hyper has one timer for an idle connection and for a head; the head's own is in `ClientIo`.
            .header_read_timeout(config.idle_timeout)
            .max_buf_size(MAX_BUFFER_BYTES)
            .max_headers(MAX_HEADERS);
        Self {
            // Done once here, or axum does it for every request.
            router: router.with_state(()),
            doorkeeper,
            shutdown,
            parking: Arc::default(),
            idle_timeout: config.idle_timeout,
            http,
            header_timeout: config.header_timeout,
            write_timeout: config.write_timeout,
            last_request_grace: LAST_REQUEST_GRACE.min(config.drain_timeout / 2),
            tls: None,
        }
    }

    pub(super) fn with_tls(self, tls: Option<Arc<Tls>>) -> Self {
        Self { tls, ..self }
    }

    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        // Without it an answer in two writes can wait 40 ms for the client's acknowledgement.
        let _ = stream.set_nodelay(true);
        let activity = Arc::new(Activity::default());
        let mut patience = Instant::now() + self.header_timeout;
        let Some((stream, misdirected)) = self.stream(stream, peer, patience).await else { return };
        let mut io = ClientIo::new(stream, activity.clone(), self.header_timeout, self.write_timeout);
        io.expect(patience, misdirected);
        let mut service = RequestService::new(self.clone(), peer, activity.clone());
        while self.is_woken(io.readable(), patience).await {
            match self.serve_until_idle(io, service, &activity).await {
                Some((idle, of_it)) => (io, service) = (idle, of_it),
                None => return,
            }
            if activity.has_had_bytes() {
                patience = Instant::now() + self.idle_timeout;
            }
        }
        if !activity.has_had_bytes() && Instant::now() >= patience {
            self.doorkeeper.closed(Refusal::Silent, peer);
        }
    }

    /// What HTTP is spoken on, and whether only to refuse it: on a TLS listener after the handshake, for which there is as
    /// much time as for the first request's head.
    async fn stream(&self, tcp: TcpStream, peer: SocketAddr, patience: Instant) -> Option<(Stream, Option<Refusal>)> {
        let Some(tls) = &self.tls else { return Some((Stream::Plain(tcp), None)) };
        let speaks = async {
            first_byte(&tcp).await;
        };
        if !self.is_woken(speaks, patience).await {
            if Instant::now() >= patience {
                self.doorkeeper.closed(Refusal::Silent, peer);
            }
            return None;
        }
        if first_byte(&tcp).await? != TLS_HANDSHAKE {
            return Some((Stream::Plain(tcp), Some(Refusal::PlainHttp)));
        }
        match tokio::time::timeout_at(patience, tls.acceptor().accept(tcp)).await {
            Ok(Ok(stream)) => return Some((Stream::Tls(Box::new(stream)), None)),
            Ok(Err(error)) => {
                if tls::is_handshake_error(&error) {
                    self.doorkeeper.closed(Refusal::Handshake, peer);
                }
                tracing::debug!(client.address = %peer, error = &error as &dyn std::error::Error, "handshake failed");
            }
            Err(_) => self.doorkeeper.closed(Refusal::HeaderTimeout, peer),
        }
        None
    }

    /// Waits, parked, for a request; false if the connection is to be closed instead.
    async fn is_woken(&self, readable: impl Future<Output = ()>, patience: Instant) -> bool {
        let mut parked = self.parking.park();
        tokio::select! {
            biased;
            () = readable => true,
            () = tokio::time::sleep_until(patience) => false,
            () = parked.must_go() => false,
            () = self.idle_must_close() => false,
        }
    }

    /// Serves the requests that come; gives the connection back once none has come for a while, and nothing once it is
    /// closed.
    async fn serve_until_idle(
        &self,
        io: ClientIo,
        service: RequestService,
        activity: &Activity,
    ) -> Option<(ClientIo, RequestService)> {
        let peer = service.peer();
        let mut connection = Box::new(self.http.serve_connection(TokioIo::new(io), service));
        let mut ended = tokio::select! {
            // A request that has arrived is read before an idle connection is closed.
            biased;
            ended = &mut *connection => ended,
            () = self.idle_must_close() => {
                Pin::new(&mut *connection).graceful_shutdown();
                (&mut *connection).await
            }
            () = idle_for_a_while(activity) => {
                // hyper holds nothing that was read: it gets whole requests only.
                let parts = connection.into_parts();
                return Some((parts.io.into_inner(), parts.service));
            }
        };
        if ended.is_ok() && !activity.is_shut_down() {
            // hyper leaves a connection that carried an `Upgrade` header as it is, the end of the answer unsent, for
            // the one who upgrades it. Nobody does; polled once more it flushes and closes.
            ended = (&mut *connection).await;
        }
        if activity.refusal() == Some(Refusal::HeaderTimeout) {
            self.doorkeeper.closed(Refusal::HeaderTimeout, peer);
        }
        if let Err(error) = ended {
            if error.is_parse() {
                // Not seen by `HeadScan`, which reads as hyper does.
                self.doorkeeper.closed(Refusal::Malformed, peer);
            }
            tracing::debug!(client.address = %peer, error = &error as &dyn std::error::Error, "connection failed");
        }
        None
    }

    async fn idle_must_close(&self) {
        self.shutdown.reached(Phase::Closing).await;
        tokio::time::sleep(self.last_request_grace).await;
    }
}

/// Returns once no request has begun between two looks, and none is under way.
async fn idle_for_a_while(activity: &Activity) {
    let (mut pause, mut before) = (PARK_AFTER, None);
    loop {
        tokio::time::sleep(pause).await;
        let now = activity.idle_after();
        if now.is_some() && now == before {
            return;
        }
        let in_use = now.is_none() || before.is_some();
        pause = if in_use { (pause * 2).min(LONGEST_PAUSE) } else { PARK_AFTER };
        before = now;
    }
}
