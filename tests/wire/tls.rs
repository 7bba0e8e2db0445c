//! TLS on the listener: handshakes that do not come, what is not TLS, and connections that wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use oneclick_login::clock::Clock;
use oneclick_login::refusal::Refusal;
use oneclick_login::server::Config;
use oneclick_login::server::tls::{Files, Looks, Tls};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::{GET, LARGE_BYTES, PATIENCE, Running, config};
use crate::support::tls::MadePair;

struct Scene {
    server: Running,
    pair: MadePair,
    folder: TempDir,
    tls: Arc<Tls>,
    looks: Looks,
}

impl Scene {
    async fn start(config: Config) -> Self {
        let (folder, pair) = (tempfile::tempdir().unwrap(), MadePair::new());
        pair.write(folder.path());
        let files = Files { certificate: folder.path().join("tls.crt"), private_key: folder.path().join("tls.key") };
        let (tls, looks) = Tls::open(files, Clock::system()).await.unwrap();
        let tls = Arc::new(tls);
        Self { server: Running::start_with(config, Some(Arc::clone(&tls))).await, pair, folder, tls, looks }
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.server.address).await.unwrap()
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.pair.connect(self.tcp().await).await.unwrap()
    }

    /// As the server does, every few seconds.
    async fn look_twice(&mut self) {
        for _ in 0..2 {
            self.tls.look(&mut self.looks).await;
        }
    }
}

async fn get(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(GET).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok") {
        assert!(timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().unwrap() > 0, "closed");
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn requests_come_one_after_another_and_after_a_rest() {
    let scene = Scene::start(config()).await;
    let mut stream = scene.connect().await;
    for pause in [0, 0, 600, 600] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        assert!(get(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
}

#[tokio::test]
async fn an_answer_that_fills_the_socket_is_whole() {
    let scene = Scene::start(config()).await;
    let mut stream = scene.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Also the end is told, so that nobody can cut an answer short.
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(answer.len() > LARGE_BYTES);
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_at_the_write_timeout() {
    let write_timeout = Duration::from_millis(300);
    let scene = Scene::start(Config { max_connections: 1, write_timeout, ..config() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut deaf = scene.pair.connect(socket.connect(scene.server.address).await.unwrap()).await.unwrap();
    deaf.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    // There is one place only.
    assert!(get(&mut scene.connect().await).await.contains("200"));
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_closed_at_the_header_timeout() {
    let header_timeout = Duration::from_millis(300);
    let scene = Scene::start(Config { header_timeout, ..config() }).await;
    for (begun, refusal) in [(&b""[..], Refusal::Silent), (b"\x16\x03\x01", Refusal::HeaderTimeout)] {
        let (mut tcp, start) = (scene.tcp().await, Instant::now());
        tcp.write_all(begun).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.expect("closed");
        assert!(answer.is_empty() && start.elapsed() >= Duration::from_millis(290));
        assert_eq!(scene.server.refused().await, [refusal]);
    }
    // After the handshake, too: its time and the first head's are one.
    let mut stream = scene.connect().await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed");
    assert_eq!(scene.server.refused().await, [Refusal::Silent]);
}

#[tokio::test]
async fn connections_before_their_handshake_and_idle_ones_make_way() {
    let scene = Scene::start(Config { max_connections: 2, ..config() }).await;
    let (mut silent, mut idle) = (scene.tcp().await, scene.connect().await);
    assert!(get(&mut idle).await.contains("200"));
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut third = scene.connect().await;
    assert!(get(&mut third).await.contains("200"));
    let mut end = Vec::new();
    timeout(PATIENCE, silent.read_to_end(&mut end)).await.unwrap().unwrap();
    let mut fourth = scene.connect().await;
    assert!(get(&mut fourth).await.contains("200"));
    let _ = timeout(PATIENCE, idle.read_to_end(&mut end)).await.expect("closed");
    assert!(get(&mut fourth).await.contains("200"));
}

#[tokio::test]
async fn plain_http_is_refused_in_plain_http() {
    let scene = Scene::start(config()).await;
    let closed = scene.server.exchange(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
    assert_eq!(closed.statuses(), [400]);
    assert!(closed.text().ends_with("plain_http of /a"), "{}", closed.text());
    assert_eq!(scene.server.refused().await, [Refusal::PlainHttp]);
    assert_eq!(scene.server.exchange(b"nonsense\r\n").await.statuses(), [400]);
    assert_eq!(scene.server.refused().await, [Refusal::Malformed]);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_certificate_is_told_of() {
    let scene = Scene::start(config()).await;
    assert!(MadePair::new().connect(scene.tcp().await).await.is_err());
    assert_eq!(scene.server.refused().await, [Refusal::Handshake]);
}

#[tokio::test]
async fn a_new_pair_is_for_new_connections_and_a_bad_one_for_none() {
    let mut scene = Scene::start(config()).await;
    let mut old = scene.connect().await;
    let first = std::mem::replace(&mut scene.pair, MadePair::new());
    scene.pair.write(scene.folder.path());
    scene.tls.look(&mut scene.looks).await;
    first.connect(scene.tcp().await).await.expect("seen once only, it may be half a change");
    scene.tls.look(&mut scene.looks).await;
    assert!(get(&mut scene.connect().await).await.contains("200"));
    assert!(first.connect(scene.tcp().await).await.is_err());
    assert!(get(&mut old).await.contains("200"));

    let certificate = scene.folder.path().join("tls.crt");
    for bad in [first.certificate.clone(), "nonsense".to_owned(), String::new()] {
        std::fs::write(&certificate, bad).unwrap();
        scene.look_twice().await;
        assert!(get(&mut scene.connect().await).await.contains("200"));
    }
    std::fs::remove_file(&certificate).unwrap();
    scene.look_twice().await;
    assert!(get(&mut scene.connect().await).await.contains("200"));
    first.write(scene.folder.path());
    scene.look_twice().await;
    first.connect(scene.tcp().await).await.expect("a good pair is taken again");
}
