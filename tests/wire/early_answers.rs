//! Answers that are given before the request's body has come: the client must be able to read them.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::{GET, PATIENCE, Running, config};

const MEBIBYTE: usize = 1024 * 1024;

#[tokio::test]
async fn a_client_that_sends_a_mebibyte_reads_the_whole_413() {
    let server = Running::start(config()).await;
    for _ in 0..20 {
        let mut client = server.connect().await;
        client.send(format!("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: {MEBIBYTE}\r\n\r\n").as_bytes()).await;
        client.send(&vec![b'x'; MEBIBYTE]).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text()), (413, "too large to read"));
        assert!(answer.closes());
    }
}

#[tokio::test]
async fn a_client_that_is_still_sending_when_the_answer_comes_may_finish_and_read_it() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    client.send(b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 40960\r\n\r\n").await;
    // A reset would fail one of these, and many clients then do not look for an answer.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.send(&[b'x'; 4096]).await;
    }
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (413, "too large to read"));
}

#[tokio::test]
async fn a_client_that_sends_endlessly_is_cut() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    client.send(b"POST /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let chunk = [b"10000\r\n", vec![b'x'; 0x10000].as_slice(), b"\r\n"].concat();
    let sending = async {
        let mut sent = 0;
        while client.stream.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        sent
    };
    let sent = timeout(PATIENCE, sending).await.expect("the server stops reading and closes");
    // What fits into the buffers of both kernels, but nothing like an unbounded stream.
    assert!(sent < 64 * MEBIBYTE, "{sent} bytes");
}

#[tokio::test]
async fn a_refused_host_is_readable_behind_a_large_body() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    client.send(format!("POST / HTTP/1.1\r\nContent-Length: {MEBIBYTE}\r\n\r\n").as_bytes()).await;
    client.send(&vec![b'x'; MEBIBYTE]).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (400, "host of /"));
}

#[tokio::test]
async fn nobody_is_asked_for_a_body_that_is_refused() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    client.send(b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 413);
    assert!(answer.closes());
}

#[tokio::test]
async fn a_body_that_is_wanted_is_asked_for() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    client.send(b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 100);
    client.send(b"abc").await;
    let answer = client.answer().await;
    assert_eq!(answer.text(), "3");
    assert!(!answer.closes());
}

/// What is turned away at the door costs little, on either side: the connection stays where the body is small.
#[tokio::test]
async fn a_request_that_is_turned_away_keeps_its_connection_if_its_body_has_come() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    for body in ["", "{}", &"x".repeat(4_000)] {
        let head = format!("POST /full HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        client.send(&[head.as_bytes(), body.as_bytes()].concat()).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text(), answer.closes()), (503, "full", false));
        client.send(GET).await;
        assert_eq!(client.answer().await.text(), "ok", "the next request is not taken for the body");
    }
}

#[tokio::test]
async fn a_request_that_is_turned_away_is_answered_before_its_body_comes() {
    let server = Running::start(config()).await;
    for length in ["Content-Length: 10", "Content-Length: 20000", "Transfer-Encoding: chunked"] {
        let mut client = server.connect().await;
        client.send(format!("POST /full HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n").as_bytes()).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text(), answer.closes()), (503, "full", true), "{length}");
        assert_eq!(client.until_closed().await.bytes, b"", "{length}");
    }
}
