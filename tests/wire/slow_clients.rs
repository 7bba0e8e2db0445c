//! Clients that say nothing, too little or too slowly, and such that do not listen.

use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use super::{Client, GET, PATIENCE, Running, config};
use oneclick_login::refusal::Refusal;
use oneclick_login::server::Config;

const SHORT: Duration = Duration::from_millis(300);

/// Timers may fire a little early by another clock's reckoning.
const JUST_UNDER_SHORT: Duration = Duration::from_millis(290);

fn short_header() -> Config {
    Config { header_timeout: SHORT, ..config() }
}

#[tokio::test]
async fn a_silent_connection_is_closed_at_the_header_timeout() {
    let server = Running::start(short_header()).await;
    let mut client = server.connect().await;
    let start = Instant::now();
    assert_eq!(client.until_closed().await.bytes, b"");
    assert!(start.elapsed() >= JUST_UNDER_SHORT);
    assert_eq!(server.refused().await, [Refusal::Silent]);
}

#[tokio::test]
async fn the_first_heads_time_runs_from_the_accept() {
    let server = Running::start(Config { header_timeout: SHORT * 4, ..config() }).await;
    let start = Instant::now();
    let mut client = server.connect().await;
    assert!(client.stays_open_for(SHORT * 3).await);
    client.send(&GET[..9]).await;
    assert_eq!(client.until_closed().await.bytes, b"");
    assert!(start.elapsed() < SHORT * 6, "the first byte bought no more time");
}

#[tokio::test]
async fn half_a_head_is_closed_at_the_header_timeout() {
    for half in [&b"G"[..], b"\r\n", b"GET / HTTP/1.1\r\nHo", b"GET / HTTP/1.1\r\nHost: a\r\n"] {
        let server = Running::start(short_header()).await;
        let mut client = server.connect().await;
        let start = Instant::now();
        client.send(half).await;
        assert_eq!(client.until_closed().await.bytes, b"");
        assert!(start.elapsed() >= JUST_UNDER_SHORT);
        assert_eq!(server.refused().await, [Refusal::HeaderTimeout]);
    }
}

#[tokio::test]
async fn a_dripping_head_gets_no_more_time_than_a_stalled_one() {
    let server = Running::start(short_header()).await;
    let mut client = server.connect().await;
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Drip: ").await;
    let start = Instant::now();
    while client.stays_open_for(Duration::from_millis(20)).await {
        // The send may fail at the very end.
        let _ = client.stream.try_write(b"x");
        assert!(start.elapsed() < PATIENCE);
    }
    assert!(start.elapsed() >= JUST_UNDER_SHORT);
    assert_eq!(client.buffer, b"");
}

#[tokio::test]
async fn a_head_in_pieces_is_fine_within_the_header_timeout() {
    let server = Running::start(Config { header_timeout: Duration::from_secs(5), ..config() }).await;
    let mut client = server.connect().await;
    for piece in GET.chunks(5) {
        client.send(piece).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(client.answer().await.status, 200);
}

#[tokio::test]
async fn every_head_on_a_connection_has_the_header_timeout_of_its_own() {
    let server = Running::start(short_header()).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send(&GET[..9]).await;
        tokio::time::sleep(SHORT / 3).await;
        client.send(&GET[9..]).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let start = Instant::now();
    client.send(&GET[..9]).await;
    assert_eq!(client.until_closed().await.bytes, b"");
    assert!(start.elapsed() >= JUST_UNDER_SHORT);
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout_and_ends_at_the_idle_timeout() {
    let server = Running::start(Config { idle_timeout: Duration::from_millis(1200), ..short_header() }).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 200);
    assert!(client.stays_open_for(SHORT * 2).await);
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 200);

    let start = Instant::now();
    assert_eq!(client.until_closed().await.bytes, b"");
    assert!(start.elapsed() >= Duration::from_millis(1100));
}

#[tokio::test]
async fn a_slow_handler_and_a_slow_body_are_not_under_the_header_timeout() {
    let server = Running::start(short_header()).await;
    let mut client = server.connect().await;
    client.send(b"GET /slow/700 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), "slow");

    client.send(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na").await;
    for piece in [b"b", b"c"] {
        tokio::time::sleep(SHORT).await;
        client.send(piece).await;
    }
    assert_eq!(client.answer().await.text(), "3");
    assert!(client.stays_open_for(SHORT * 2).await, "the body was not taken for a head");
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_at_the_write_timeout() {
    // One place only: that the second client is served proves that the first has left.
    let server = Running::start(Config { max_connections: 1, write_timeout: SHORT, ..config() }).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let mut deaf = Client::new(socket.connect(server.address).await.expect("the server listens"));
    deaf.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(server.is_alive().await);
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_steadily_gets_all_of_it() {
    let server = Running::start(Config { write_timeout: Duration::from_secs(2), ..config() }).await;
    let mut client = server.connect().await;
    client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(client.read_more().await);
    }
    assert_eq!(client.answer().await.body.len(), super::LARGE_BYTES);
}
