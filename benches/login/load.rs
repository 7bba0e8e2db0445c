//! The load: a closed loop of logins over keep-alive connections, from bytes that are made once. It measures latency as
//! a client sees it, and counts nothing but 200 as a login.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oneclick_login::http::LOGIN_PATH;
use oneclick_login::settings::DEMO_CLIENT_ID;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::peer::find;

/// Users, all of whom come back again and again.
const NUMBERS: u64 = 10_000;

pub const NUMBER_DIGITS: usize = 11;
const FIRST_NUMBER: u64 = 13_800_000_000;

/// About the length of a real access token.
const TOKEN_BYTES: usize = 300;

/// What the tokens look like, and which was the last.
#[derive(Debug, Clone)]
pub struct Load {
    token_prefix: &'static str,
    logins: Arc<AtomicU64>,
}

/// Logins under way on some connections, until they are stopped.
#[derive(Debug)]
pub struct Running {
    state: Arc<State>,
    connections: JoinSet<Vec<Duration>>,
}

#[derive(Debug, Default)]
struct State {
    logged_in: AtomicU64,
    refused: AtomicU64,
    /// Whether latencies are kept.
    measuring: AtomicBool,
    stopping: AtomicBool,
}

impl Load {
    /// `token_prefix` is what a token has before the number.
    pub fn new(token_prefix: &'static str) -> Self {
        Self { token_prefix, logins: Arc::default() }
    }

    /// One login for each number.
    pub async fn register_everybody(&self, server: SocketAddr, connections: usize) {
        let running = self.run(server, connections);
        while running.logged_in() < NUMBERS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        running.stop().await;
    }

    pub fn run(&self, server: SocketAddr, connections: usize) -> Running {
        let state = Arc::new(State::default());
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            tasks.spawn(self.clone().log_in_again_and_again(server, Arc::clone(&state)));
        }
        Running { state, connections: tasks }
    }

    /// A complete request with a token that was never used.
    pub fn request(&self) -> Request {
        let mut request = Request::template();
        self.renew(&mut request);
        request
    }

    /// Gives the request another such token.
    pub fn renew(&self, request: &mut Request) {
        self.put_token(&mut request.bytes[request.token_at..]);
    }

    async fn log_in_again_and_again(self, server: SocketAddr, state: Arc<State>) -> Vec<Duration> {
        let mut request = Request::template();
        let mut latencies = Vec::new();
        let mut connection = Connection::open(server).await;
        while !state.stopping.load(Ordering::Relaxed) {
            self.renew(&mut request);
            let started = Instant::now();
            let answer = connection.log_in(&request.bytes).await;
            let counter = if answer.logged_in { &state.logged_in } else { &state.refused };
            counter.fetch_add(1, Ordering::Relaxed);
            if state.measuring.load(Ordering::Relaxed) {
                latencies.push(started.elapsed());
            }
            if answer.last {
                connection = Connection::open(server).await;
            }
        }
        latencies
    }

    fn put_token(&self, place: &mut [u8]) {
        let login = self.logins.fetch_add(1, Ordering::Relaxed);
        let number = FIRST_NUMBER + login % NUMBERS;
        let token = format!("{}{number}:{login:016x}", self.token_prefix);
        place[..token.len()].copy_from_slice(token.as_bytes());
    }
}

impl Running {
    pub fn logged_in(&self) -> u64 {
        self.state.logged_in.load(Ordering::Relaxed)
    }

    /// On a machine that is busy with other things a statement may take longer than the server allows it.
    pub fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::Relaxed)
    }

    pub fn keep_latencies(&self, keep: bool) {
        self.state.measuring.store(keep, Ordering::Relaxed);
    }

    /// Waits for the logins under way; the latencies that were kept, sorted.
    pub async fn stop(self) -> Vec<Duration> {
        self.state.stopping.store(true, Ordering::Relaxed);
        let mut latencies = self.connections.join_all().await.concat();
        latencies.sort_unstable();
        latencies
    }
}

/// A request, and where in it the token goes.
pub struct Request {
    pub bytes: Vec<u8>,
    token_at: usize,
}

impl Request {
    fn template() -> Self {
        let token = "A9/+".repeat(TOKEN_BYTES / 4);
        let body = format!(r#"{{"access_token":"{token}"}}"#);
        let head = format!(
            "POST {LOGIN_PATH} HTTP/1.1\r\nHost: login.example.com\r\nContent-Type: application/json\r\n\
         X-client-id: {DEMO_CLIENT_ID}\r\nX-operating-sys-version: iOS 18.5\r\n\
         X-device-fingerprint: 5f0c6f1e-5f5f-4c5b-9a3e-0f6a2b8f8a11\r\n\
         X-agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15\r\n\
         X-device-ip: 203.0.113.7\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let bytes = [head.into_bytes(), body.into_bytes()].concat();
        let token_at = find(&bytes, token.as_bytes()).unwrap();
        Self { bytes, token_at }
    }
}

pub struct Answer {
    pub logged_in: bool,
    /// Of a login that was refused: its token may be used again.
    pub unspent: bool,
    /// The connection is closed after it.
    pub last: bool,
}

pub struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    pub async fn open(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).await.expect("the server accepts connections");
        stream.set_nodelay(true).unwrap();
        Self { stream, answer: Vec::with_capacity(8 * 1024) }
    }

    pub async fn log_in(&mut self, request: &[u8]) -> Answer {
        self.stream.write_all(request).await.unwrap();
        self.answer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.answer).await.unwrap();
            assert!(read > 0, "the server closed a connection in the middle of a login");
            let Some(head_bytes) = find(&self.answer, b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.answer[..head_bytes]).unwrap();
            let body_bytes: usize = header(head, "content-length: ").expect("a length").parse().unwrap();
            if self.answer.len() < head_bytes + 4 + body_bytes {
                continue;
            }
            return Answer {
                logged_in: head.starts_with("HTTP/1.1 200 "),
                unspent: header(head, "x-access-token-state: ") == Some("unspent"),
                last: header(head, "connection: ") == Some("close"),
            };
        }
    }
}

/// hyper writes names in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name))
}
