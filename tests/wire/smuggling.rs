//! Requests whose length can be read in two ways. Whoever stands in front may read the other one: what follows in the
//! same bytes must never be answered.

use super::{CANARY, GET, Running, config};

async fn exchange_with_canary(server: &Running, request: &str) -> super::Closed {
    let closed = server.exchange(&[request.as_bytes(), CANARY].concat()).await;
    assert!(!closed.text().contains("canary"), "{request:?} let the canary through: {}", closed.text());
    assert!(closed.statuses().len() <= 1, "{request:?} was answered more than once: {}", closed.text());
    closed
}

#[tokio::test]
async fn a_length_that_can_be_read_in_two_ways_is_refused() {
    let server = Running::start(config()).await;
    for headers in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 3, 4\r\n",
        "Content-Length: 3, 3\r\n",
        "Content-Length: +3\r\n",
        "Content-Length: -3\r\n",
        "Content-Length: 0x3\r\n",
        "Content-Length: 3 3\r\n",
        "Content-Length: \r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: xchunked\r\n",
    ] {
        let request = format!("POST /length HTTP/1.1\r\nHost: a\r\n{headers}\r\nabc");
        assert_eq!(exchange_with_canary(&server, &request).await.statuses(), [400], "{headers:?}");
    }
    for headers in ["Transfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"] {
        let request = format!("POST /length HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n{headers}\r\n0\r\n\r\n");
        assert_eq!(exchange_with_canary(&server, &request).await.statuses(), [400], "HTTP/1.0 {headers:?}");
    }
    // The largest that fits stands for "chunked" in hyper.
    let request = format!("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\nabc", u64::MAX);
    assert_eq!(exchange_with_canary(&server, &request).await.statuses(), [400]);
    assert!(server.is_alive().await);
}

/// R7.
/// ASVS 4.2.1.
#[tokio::test]
async fn two_kinds_of_length_are_refused_and_end_the_connection() {
    let server = Running::start(config()).await;
    for headers in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "content-LENGTH: 5\r\nX: y\r\ntransfer-encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: nonsense\r\n",
    ] {
        let request = format!("POST /length HTTP/1.1\r\nHost: a\r\n{headers}\r\n3\r\nabc\r\n0\r\n\r\n");
        let closed = exchange_with_canary(&server, &request).await;
        assert_eq!(closed.statuses(), [400], "{headers:?}");
        assert!(closed.text().contains("connection: close"), "{headers:?}");
        assert!(closed.text().ends_with("two_lengths of /length"), "{headers:?}");
        // Behind another request, and a byte at a time.
        let mut client = server.connect().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.text(), "ok");
        let head = request.split_inclusive("\r\n\r\n").next().unwrap();
        for byte in head.as_bytes() {
            client.send(&[*byte]).await;
        }
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.closes()), (400, true), "{headers:?}");
    }
}

/// Where chunks end, somebody else may see another request begin.
/// ASVS 4.2.1.
#[tokio::test]
async fn nothing_is_read_behind_a_request_in_chunks() {
    let server = Running::start(config()).await;
    let request = "POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for request in [request.to_owned(), request.replace("0\r\n\r\n", "0\r\nA: b\n\r\n")] {
        let closed = exchange_with_canary(&server, &request).await;
        assert!(closed.statuses().len() <= 1 && !closed.text().contains("canary"), "{}", closed.text());
    }
    let closed = exchange_with_canary(&server, request).await;
    assert_eq!(closed.statuses(), [200]);
    assert!(closed.text().contains("connection: close"));
}

/// Heads that come together are looked at one by one.
#[tokio::test]
async fn a_pipelined_request_is_refused_for_what_a_single_one_is() {
    let server = Running::start(config()).await;
    for (second, status) in [
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("A: b\nContent-Length: 0\r\n\r\n", 400),
        ("Content-Length: 0\r\n\n", 400),
    ] {
        let second = format!("POST /length HTTP/1.1\r\nHost: a\r\n{second}");
        let first = b"POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
        let closed = server.exchange(&[GET, first, second.as_bytes(), CANARY].concat()).await;
        assert_eq!(closed.statuses(), [200, 200, status], "{second:?}");
        assert!(!closed.text().contains("canary"), "{second:?}");
    }
}

#[tokio::test]
async fn a_request_hidden_in_a_body_is_a_body() {
    let server = Running::start(config()).await;
    let canary = String::from_utf8_lossy(CANARY);
    let (length, hex) = (canary.len(), format!("{:x}", canary.len()));
    for (headers, body) in [
        (format!("Content-Length: {length}\r\n"), canary.to_string()),
        ("Transfer-Encoding: chunked\r\n".into(), format!("{hex}\r\n{canary}\r\n0\r\n\r\n")),
    ] {
        let request = format!("POST /length HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n{body}");
        let closed = server.exchange(request.as_bytes()).await;
        assert_eq!(closed.statuses(), [200], "{headers:?}");
        assert!(closed.text().ends_with(&format!("\r\n\r\n{length}")), "{headers:?}: {}", closed.text());
    }
}

#[tokio::test]
async fn broken_chunks_end_the_connection() {
    let server = Running::start(config()).await;
    for body in [
        "10000000000000000\r\nabc\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "\r\nabc\r\n0\r\n\r\n",
        "zz\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3;ext\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nab\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX: y\0\r\n\r\n",
    ] {
        let request = format!("POST /length HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let closed = exchange_with_canary(&server, &request).await;
        assert!(matches!(closed.statuses().as_slice(), [] | [400]), "{body:?}: {}", closed.text());
    }
    assert!(server.is_alive().await);
}

#[tokio::test]
async fn an_unread_body_is_never_taken_for_the_next_request() {
    let server = Running::start(config()).await;
    for request in [
        "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
        "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n",
    ] {
        let closed = exchange_with_canary(&server, request).await;
        assert_eq!(closed.statuses().len(), 1, "{request:?}");
        assert!(closed.text().contains("connection: close"), "{request:?} was promised more");
    }
}
