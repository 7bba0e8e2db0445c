//! A hand-written HTTP peer on a raw socket: it shows the bytes that arrived and misbehaves on demand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use oneclick_login::verifier::VerifierError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

/// What the peer does on every connection.
#[derive(Clone)]
pub enum Conduct {
    /// Writes these bytes after each request and keeps the connection; with no bytes, or part of an answer, it hangs.
    Answer(Vec<u8>),
    /// The same, once the test adds a permit for each answer.
    AnswerWhenLet(Vec<u8>, Arc<Semaphore>),
    /// Writes these bytes after the first request and closes.
    AnswerAndClose(Vec<u8>),
    /// The same, 0 to 200 µs later: about when the client reaches for the connection again.
    AnswerAndCloseSoon(Vec<u8>),
    /// Answers the first request of a connection; reads the second whole and resets.
    AnswerThenReset(Vec<u8>),
    /// Reads a request whole and resets.
    Reset,
    /// Resets without reading.
    ResetAtOnce,
    /// Accepts and never reads.
    Deaf,
    /// Reads whatever comes, answers these bytes and closes; for clients that speak TLS.
    Babble(Vec<u8>),
}

pub struct Peer {
    pub host: String,
    requests: mpsc::UnboundedReceiver<Received>,
    connections: Arc<AtomicUsize>,
}

/// A request as it stood on the wire.
#[derive(Debug, Clone)]
pub struct Received {
    pub request_line: String,
    /// In the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Peer {
    pub async fn start(conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let host = listener.local_addr().expect("a bound listener").to_string();
        let (sender, requests) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, conduct.clone(), sender.clone()));
            }
        });
        Self { host, requests, connections }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.host)
    }

    pub async fn next_request(&mut self) -> Received {
        self.requests.recv().await.expect("the peer outlives its test")
    }

    /// The requests that have arrived whole and were not yet looked at.
    pub fn requests(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, conduct: Conduct, received: mpsc::UnboundedSender<Received>) {
    match &conduct {
        Conduct::ResetAtOnce => return reset(stream),
        Conduct::Deaf => return std::future::pending().await,
        Conduct::Babble(bytes) => {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(bytes).await;
            return;
        }
        _ => {}
    }
    let mut served = 0;
    while let Some(request) = read_request(&mut stream).await {
        // A test that has ended no longer counts.
        let _ = received.send(request);
        served += 1;
        let written = match &conduct {
            Conduct::Answer(bytes) => stream.write_all(bytes).await,
            Conduct::AnswerWhenLet(bytes, permits) => {
                permits.acquire().await.expect("the semaphore is never closed").forget();
                stream.write_all(bytes).await
            }
            Conduct::AnswerAndClose(bytes) => {
                let _ = stream.write_all(bytes).await;
                return;
            }
            Conduct::AnswerAndCloseSoon(bytes) => {
                let _ = stream.write_all(bytes).await;
                let answered = Instant::now();
                let delay = Duration::from_micros(u64::from(rand_byte()) * 200 / 255);
                while answered.elapsed() < delay {
                    std::hint::spin_loop();
                }
                return;
            }
            Conduct::AnswerThenReset(bytes) if served == 1 => stream.write_all(bytes).await,
            _ => return reset(stream),
        };
        if written.is_err() {
            return;
        }
    }
}

fn rand_byte() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).expect("the operating system gives random bytes");
    byte[0]
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("a socket takes SO_LINGER");
}

/// A head up to its empty line. Anything behind it would be a body, and there must be none.
async fn read_request(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
        }
    }
    let head = String::from_utf8(bytes).expect("the client writes ASCII");
    assert_eq!(head.matches("\r\n\r\n").count(), 1, "something follows the head: {head}");
    let mut lines = head.trim_end().split("\r\n");
    let request_line = lines.next().unwrap_or_default().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').expect("a header has a colon");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    Some(Received { request_line, headers: lines.map(header).collect() })
}

impl Received {
    /// The values of one header.
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn only_header(&self, name: &str) -> &str {
        let values = self.header(name);
        assert_eq!(values.len(), 1, "{name}: {values:?}");
        values[0]
    }

    /// The query as it stood in the request line.
    pub fn raw_query(&self) -> &str {
        let target = self.request_line.strip_prefix("POST ").and_then(|rest| rest.strip_suffix(" HTTP/1.1"));
        target.and_then(|target| target.split_once('?')).expect("POST <path>?<query> HTTP/1.1").1
    }
}

/// An HTTP/1.1 answer with its length.
pub fn http(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into()
}

/// An error, the errors below it, each as people and as programmers read it.
pub fn everything_printed(error: &VerifierError) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!("\n{cause} {cause:?} {cause:#?}"));
        source = cause.source();
    }
    text
}
