//! What clients that nobody knows can make the program hold in memory.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::app::login;
use crate::support::program::{Program, Setup};

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

/// A byte at a time is thirty times as many bytes in memory, if each is kept as it came.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_in_one_byte_chunks_hold_no_more_than_their_bytes() {
    const CONNECTIONS: usize = 200;
    let program = Setup::new().start().await;
    assert_eq!(program.log_in("sandbox:13900000001:warm").await.status, 200);
    let before = program.resident_kib();
    let (parts, _) = login("").build().into_parts();
    let mut head = format!("POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", parts.uri);
    for (name, value) in &parts.headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let request = format!("{head}\r\n{}", "1\r\n \r\n".repeat(16_300));
    let mut sending = JoinSet::new();
    for mut stream in open(&program, CONNECTIONS).await {
        let request = request.clone();
        sending.spawn(async move {
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        });
    }
    let streams = sending.join_all().await;
    // Within the time that a body has.
    sleep(Duration::from_secs(2)).await;
    let more = program.resident_kib() - before;
    drop(streams);
    // About 40 KiB each: the body, and what hyper and the allocator have. It was 475.
    assert!(more <= 80 * CONNECTIONS as i64, "{more} KiB more");
}

/// R99: neither a core file nor, for other users, what it would hold.
#[tokio::test]
async fn a_crash_leaves_no_core_with_keys_and_numbers_in_it() {
    let program = Setup::new().start().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", program.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}
