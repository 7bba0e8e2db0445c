//! A peer behind a gateway that writes down what reaches it, byte for byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

#[derive(Debug, Clone, Copy)]
pub enum Conduct {
    /// 200, and the connection stays.
    Answers,
    /// The whole request is read, and the connection closed without a word.
    HangsUp,
    /// The whole request is read, and nothing is said.
    Waits,
}

pub struct Recorder {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    accepting: AbortHandle,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    /// Names in lower case, in the order in which they came.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// `None` unless it is there exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(header, _)| header == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }
}

impl Recorder {
    pub async fn start(conduct: Conduct) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let writing = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&writing);
                tokio::spawn(async move { serve(stream, conduct, &seen).await });
            }
        });
        Self { address, seen, accepting: accepting.abort_handle() }
    }

    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Until the connection ends. Gateways send a length, or no body.
async fn serve(mut stream: TcpStream, conduct: Conduct, seen: &Mutex<Vec<Request>>) -> Option<()> {
    let mut bytes = Vec::new();
    loop {
        let head_ends = loop {
            match bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at,
                None => more(&mut stream, &mut bytes).await?,
            }
        };
        let head = String::from_utf8_lossy(&bytes[..head_ends]).into_owned();
        bytes.drain(..head_ends + 4);
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let mut request = Request { line, headers, body: Vec::new() };
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        while bytes.len() < length {
            more(&mut stream, &mut bytes).await?;
        }
        request.body = bytes.drain(..length).collect();
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        match conduct {
            Conduct::Answers => {}
            Conduct::HangsUp => return None,
            Conduct::Waits => std::future::pending().await,
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nseen").await.ok()?;
    }
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    (stream.read_buf(bytes).await.ok()? > 0).then_some(())
}
