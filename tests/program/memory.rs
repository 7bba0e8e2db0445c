//! What clients that nobody knows can make the program hold in memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::tls::with_tls;
use crate::support::app::login;
use crate::support::program::{Program, Setup};

const ENDLESS: usize = 500;

async fn open(program: &Program, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(program.connect().await);
    }
    streams
}

/// R2: an idle connection costs about 5 KiB; what is measured has the share of those that were not parked yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_connections_hold_hardly_any_memory() {
    const CONNECTIONS: usize = 1_000;
    let program = Setup::new().start().await;
    assert_eq!(program.log_in("sandbox:13900000001:warm").await.status, 200);
    sleep(Duration::from_secs(3)).await;
    let before = program.resident_kib();
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = program.connect().await;
        // As they come in life: not all at once.
        sleep(Duration::from_millis(3)).await;
        stream.write_all(b"GET /api/v1/oauth2/jwks HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        streams.push(stream);
    }
    // Until they are parked.
    sleep(Duration::from_secs(1)).await;
    let each = (program.resident_kib() - before) as f64 / CONNECTIONS as f64;
    drop(streams);
    assert!(each <= 9.0, "{each} KiB each: it was 19");
}

/// What a connection holds in KiB at worst, plain and in TLS: as large a head as there may be, and all of the largest body
/// but its end. The manifests' limit of memory is made of it, as is the README's figure.
pub const MOST_KIB: i64 = 80;
pub const MOST_KIB_IN_TLS: i64 = 120;

/// A login that never ends, with a byte in each chunk: kept as they come, those are thirty times as many in memory.
fn endless_login() -> Vec<u8> {
    let (parts, _) = login("").build().into_parts();
    let mut head = format!("POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", parts.uri);
    for (name, value) in &parts.headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    for n in 0..50 {
        head.push_str(&format!("X-filler-{n}: {}\r\n", "x".repeat(280)));
    }
    assert!(head.len() > 15_000);
    format!("{head}\r\n{}", "1\r\n \r\n".repeat(16_300)).into_bytes()
}

/// ASVS 15.2.2.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_head_with_a_body_in_one_byte_chunks_holds_hardly_more_than_its_bytes() {
    let program = unhurried(Setup::new()).start().await;
    assert_eq!(program.log_in("sandbox:13900000001:warm").await.status, 200);
    let before = program.resident_kib();
    let streams = open(&program, ENDLESS).await;
    let each = grown_by(&program, before, streams).await;
    assert!(each <= MOST_KIB, "{each} KiB each: it was 475");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_tls_it_holds_what_the_sessions_need_besides() {
    let (setup, pair) = with_tls();
    let program = unhurried(setup).start().await;
    let before = program.resident_kib();
    let mut streams = Vec::new();
    for stream in open(&program, ENDLESS).await {
        streams.push(pair.connect(stream).await.unwrap());
    }
    let each = grown_by(&program, before, streams).await;
    assert!(each <= MOST_KIB_IN_TLS, "{each} KiB each");
}

/// Or the first would have been answered before the last has sent all.
fn unhurried(setup: Setup) -> Setup {
    setup.set("ONECLICK_SERVER__BODY_TIMEOUT_MS", "30000").set("ONECLICK_SERVER__HEADER_TIMEOUT_SECONDS", "30")
}

/// By how many KiB for each of these the program has grown once they have sent what never ends.
async fn grown_by<S: AsyncWrite + Unpin + Send + 'static>(program: &Program, before: i64, streams: Vec<S>) -> i64 {
    let request = Arc::new(endless_login());
    let mut sending = JoinSet::new();
    for mut stream in streams {
        let request = Arc::clone(&request);
        sending.spawn(async move {
            stream.write_all(&request).await.unwrap();
            stream.flush().await.unwrap();
            stream
        });
    }
    let streams = sending.join_all().await;
    sleep(Duration::from_secs(2)).await;
    let more = program.resident_kib() - before;
    let count = streams.len() as i64;
    more / count
}

/// R99: neither a core file nor, for other users, what it would hold.
#[tokio::test]
async fn a_crash_leaves_no_core_with_keys_and_numbers_in_it() {
    let program = Setup::new().start().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}
