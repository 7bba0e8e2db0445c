//! Raw sockets: what the server does with clients that no HTTP library would be. The routers are small ones of these
//! tests' own; the real routes are tested elsewhere.

mod drain;
mod early_answers;
mod keep_alive;
mod limits;
mod malformed;
mod slow_clients;
mod smuggling;
mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use oneclick_login::client_address::TrustedProxies;
use oneclick_login::refusal::Refusal;
use oneclick_login::server::tls::Tls;
use oneclick_login::server::{Config, Doorkeeper, Ended, Server, Shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;

/// Nothing here takes this long unless it hangs: generous, for the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(10);

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A request that must never be answered when it stands behind a malformed one.
const CANARY: &[u8] = b"GET /canary HTTP/1.1\r\nHost: a\r\n\r\n";

const LARGE_BYTES: usize = 32 * 1024 * 1024;

/// Long enough that a test must not meet a time-out which it does not shorten.
fn config() -> Config {
    Config {
        max_connections: 100,
        max_connections_per_peer: 1000,
        exempt_peers: TrustedProxies::default(),
        idle_timeout: Duration::from_secs(60),
        header_timeout: Duration::from_secs(60),
        write_timeout: Duration::from_secs(60),
        drain_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(60),
    }
}

fn router() -> Router {
    Router::new()
        .route("/", get(async || "ok"))
        .route("/canary", get(async || "canary"))
        .route("/length", post(async |body: Bytes| body.len().to_string()))
        .route("/refuse", post(async || (StatusCode::PAYLOAD_TOO_LARGE, "too large to read")))
        .route("/slow/{ms}", get(slow))
        .route("/large", any(async || vec![b'x'; LARGE_BYTES]))
        .route("/number/{n}", get(async |Path(n): Path<u32>| n.to_string()))
        .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
        .route("/panic", get(panics))
        .layer(CatchPanicLayer::new())
        .route("/uncaught", get(panics))
}

async fn slow(Path(ms): Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "slow"
}

async fn panics() -> &'static str {
    panic!("on purpose")
}

/// Answers with the reason and the path, and notes the reason.
#[derive(Default)]
struct Door(Arc<Mutex<Vec<Refusal>>>);

impl Doorkeeper for Door {
    fn refuse(&self, request: &Parts, refusal: Refusal) -> Response {
        self.0.lock().unwrap().push(refusal);
        let status = match refusal {
            Refusal::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        (status, format!("{} of {}", refusal.as_str(), request.uri.path())).into_response()
    }

    fn closed(&self, refusal: Refusal, _: SocketAddr) {
        self.0.lock().unwrap().push(refusal);
    }

    fn turn_away(&self, request: &Parts) -> Option<Response> {
        (request.uri.path() == "/full").then(|| (StatusCode::SERVICE_UNAVAILABLE, "full").into_response())
    }
}

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    ended: JoinHandle<Ended>,
    refused: Arc<Mutex<Vec<Refusal>>>,
}

impl Running {
    async fn start(config: Config) -> Self {
        Self::start_with(config, None).await
    }

    async fn start_with(config: Config, tls: Option<Arc<Tls>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        let door = Door::default();
        let refused = Arc::clone(&door.0);
        let server = Server::new(listener, router(), config, Arc::new(door)).with_tls(tls);
        let ended = tokio::spawn(server.run(shutdown.clone()));
        Self { address, shutdown, ended, refused }
    }

    async fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).await.expect("the server listens"))
    }

    /// On a connection of its own.
    async fn exchange(&self, request: &[u8]) -> Closed {
        let mut client = self.connect().await;
        client.send(request).await;
        client.until_closed().await
    }

    /// What was refused since this was asked last; waits for it, for a connection ends a little later than its client sees.
    async fn refused(&self) -> Vec<Refusal> {
        let end = Instant::now() + PATIENCE;
        while self.refused.lock().unwrap().is_empty() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        std::mem::take(&mut self.refused.lock().unwrap())
    }

    async fn is_alive(&self) -> bool {
        let mut client = self.connect().await;
        client.send(GET).await;
        client.answer().await.status == 200
    }

    async fn end(self) -> Ended {
        timeout(PATIENCE, self.ended).await.expect("the server ends").expect("the server does not panic")
    }
}

struct Client {
    stream: TcpStream,
    /// Read, but not taken yet.
    buffer: Vec<u8>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn closes(&self) -> bool {
        self.head.contains("\r\nconnection: close\r\n")
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

/// All that came before the end of a connection.
struct Closed {
    bytes: Vec<u8>,
}

impl Closed {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn statuses(&self) -> Vec<u16> {
        self.text().split("HTTP/1.").skip(1).map(|rest| rest[2..5].parse().expect("a status")).collect()
    }
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("taken in time").expect("the connection stands");
    }

    /// False at the end of the connection, which a reset is as well.
    async fn read_more(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.expect("neither bytes nor an end");
        read.is_ok_and(|n| n > 0)
    }

    async fn answer(&mut self) -> Answer {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.read_more().await, "closed without an answer");
        };
        let head = String::from_utf8(self.buffer.drain(..head_end).collect()).expect("a head is ASCII");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |value| value.parse().expect("a length"));
        while self.buffer.len() < length {
            assert!(self.read_more().await, "closed in the middle of an answer");
        }
        let body = self.buffer.drain(..length).collect();
        Answer { status: head[9..12].parse().expect("a status"), head, body }
    }

    async fn until_closed(&mut self) -> Closed {
        while self.read_more().await {}
        Closed { bytes: std::mem::take(&mut self.buffer) }
    }

    /// Whether nothing comes for so long, neither bytes nor an end.
    async fn stays_open_for(&mut self, duration: Duration) -> bool {
        timeout(duration, self.stream.read_buf(&mut self.buffer)).await.is_err()
    }
}
