//! Requests that are not HTTP/1.1, or only nearly.

use std::time::Duration;

use oneclick_login::refusal::Refusal;

use super::{Closed, LARGE_BYTES, Running, config};

/// Refused: one answer or none, then the end, with the listener none the worse.
#[track_caller]
fn assert_refused(closed: &Closed, with: &[u16], what: &str) {
    match closed.statuses().as_slice() {
        [] => {}
        [status] => assert!(with.contains(status), "{what}: {}", closed.text()),
        _ => panic!("{what}: more than one answer: {}", closed.text()),
    }
}

#[tokio::test]
async fn too_long_a_head_is_answered_431_readably() {
    let server = Running::start(config()).await;
    let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ".to_vec();
    request.extend(std::iter::repeat_n(b'x', 64 * 1024));
    request.extend(b"\r\n\r\n");
    assert_eq!(server.exchange(&request).await.statuses(), [431]);

    let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ".to_vec();
    request.extend(std::iter::repeat_n(b'x', 8 * 1024));
    request.extend(b"\r\nConnection: close\r\n\r\n");
    assert_eq!(server.exchange(&request).await.statuses(), [200]);
}

#[tokio::test]
async fn more_than_64_headers_are_answered_431() {
    let server = Running::start(config()).await;
    for (headers, status) in [(62, 200), (63, 431), (1000, 431)] {
        let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".to_vec();
        for n in 0..headers {
            request.extend(format!("X-{n}: y\r\n").bytes());
        }
        request.extend(b"\r\n");
        assert_eq!(server.exchange(&request).await.statuses(), [status], "{headers} headers and two more");
    }
}

#[tokio::test]
async fn control_bytes_in_a_head_are_refused_wherever_they_stand() {
    let server = Running::start(config()).await;
    // CR and LF have tests of their own.
    let controls = (0..0x20).chain([0x7f]).filter(|byte| !matches!(byte, b'\t' | b'\n' | b'\r'));
    for byte in controls {
        for (before, after) in [
            (&b"G"[..], &b"T / HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
            (b"GET /a", b"b HTTP/1.1\r\nHost: a\r\n\r\n"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX-", b"y: z\r\n\r\n"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX-y: a", b"z\r\n\r\n"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX-y: ", b"\r\n\r\n"),
        ] {
            let closed = server.exchange(&[before, &[byte], after].concat()).await;
            assert_eq!(closed.statuses(), [400], "{byte:#04x} after {}", String::from_utf8_lossy(before));
        }
    }
    assert!(server.is_alive().await);
}

#[tokio::test]
async fn folded_and_broken_header_lines_are_refused() {
    let server = Running::start(config()).await;
    for broken in [
        "X-a: b\r\n folded\r\n",
        "X-a: b\r\n\tfolded\r\n",
        "X-a : b\r\n",
        ": b\r\n",
        "no colon\r\n",
        "X-a: b\rX-c: d\r\n",
        " X-a: b\r\n",
    ] {
        let closed = server.exchange(format!("GET / HTTP/1.1\r\nHost: a\r\n{broken}\r\n").as_bytes()).await;
        assert_eq!(closed.statuses(), [400], "{broken:?}");
    }
}

/// RFC 9112, 2.2 lets a server take it for the end of a line; who stands in front may not.
#[tokio::test]
async fn a_line_feed_alone_is_refused_wherever_it_ends_a_line() {
    let server = Running::start(config()).await;
    for head in [
        "GET /canary HTTP/1.1\nHost: a\r\n\r\n",
        "GET /canary HTTP/1.1\r\nHost: a\n\r\n",
        "GET /canary HTTP/1.1\r\nHost: a\r\nX: y\nZ: a\r\n\r\n",
        "GET /canary HTTP/1.1\r\nHost: a\r\n\n",
        "\nGET /canary HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let closed = server.exchange(&[head.as_bytes(), super::CANARY].concat()).await;
        assert_eq!(closed.statuses(), [400], "{head:?}");
        assert!(
            closed.text().contains("connection: close") && closed.text().contains("bare_line_feed of "),
            "{head:?}"
        );
    }
}

#[tokio::test]
async fn what_is_not_http_1_is_refused() {
    let server = Running::start(config()).await;
    for garbage in [
        &b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"[..],
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"\x00\x00\x00\x00\r\n\r\n",
    ] {
        let closed = server.exchange(garbage).await;
        assert_refused(&closed, &[400], &String::from_utf8_lossy(garbage));
    }
    assert!(server.is_alive().await);
}

#[tokio::test]
async fn what_is_refused_is_answered_at_once_and_its_reason_is_told() {
    let server = Running::start(config()).await;
    let long = format!("POST /a?{}", "x".repeat(16 * 1024));
    for (bytes, refusal, path) in [
        (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], Refusal::Http2, "/"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 8080\r\nGET / HTTP/1.1\r\n", Refusal::ProxyProtocol, "/"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Refusal::ProxyProtocol, "/"),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", Refusal::Tls, "/"),
        (b"nonsense\r\n", Refusal::Malformed, "/"),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", Refusal::Malformed, "/a"),
        (long.as_bytes(), Refusal::HeadTooLarge, "/a"),
    ] {
        let closed = server.exchange(bytes).await;
        let expected = format!("{} of {path}", refusal.as_str());
        assert!(closed.text().starts_with("HTTP/1.1 4") && closed.text().ends_with(&expected), "{}", closed.text());
        assert_eq!(server.refused().await, [refusal]);
    }
}

#[tokio::test]
async fn http_1_1_names_exactly_one_host() {
    let server = Running::start(config()).await;
    for hosts in
        ["", "Host:\r\n", "Host:   \r\n", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: a\r\nHost:\r\n"]
    {
        let request = format!("GET /canary HTTP/1.1\r\n{hosts}\r\nGET /canary HTTP/1.1\r\nHost: a\r\n\r\n");
        let closed = server.exchange(request.as_bytes()).await;
        assert_eq!(closed.statuses(), [400], "{hosts:?}");
        assert!(closed.text().ends_with("host of /canary"), "the injected answer");
        assert!(closed.text().contains("connection: close"));
    }
    // The target's own authority does not excuse a missing Host.
    let closed = server.exchange(b"GET http://a/canary HTTP/1.1\r\n\r\n").await;
    assert_eq!(closed.statuses(), [400]);
}

#[tokio::test]
async fn http_1_0_needs_no_host() {
    let server = Running::start(config()).await;
    let closed = server.exchange(b"GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(closed.statuses(), [200]);
    assert!(closed.text().ends_with("ok"));
    assert_eq!(server.exchange(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").await.statuses(), [400]);
}

#[tokio::test]
async fn connect_is_an_ordinary_request_without_a_route() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    client.send(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(matches!(answer.status, 404 | 405), "{}", answer.head);
}

#[tokio::test]
async fn an_upgrade_is_ignored() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    for _ in 0..2 {
        client.send(upgrade).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
    }
}

#[tokio::test]
async fn an_answer_is_whole_even_if_the_request_offered_an_upgrade_and_its_body_is_not_read() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    client.send(b"POST /large HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nContent-Length: 9\r\n\r\n").await;
    // Most of the answer is still to be sent when hyper thinks that it is done.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(client.answer().await.body.len(), LARGE_BYTES);
    assert_eq!(client.until_closed().await.bytes, b"");
}
