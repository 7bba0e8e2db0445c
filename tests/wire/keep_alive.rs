//! Many requests on one connection.

use super::{GET, Running, config};

#[tokio::test]
async fn a_hundred_pipelined_requests_are_answered_in_order() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    let requests: Vec<u8> =
        (0..100).flat_map(|n| format!("GET /number/{n} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()).collect();
    client.send(&requests).await;
    for n in 0..100 {
        assert_eq!(client.answer().await.text(), n.to_string());
    }
}

#[tokio::test]
async fn bodies_and_pipelining_do_not_mix_up() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    let mut requests = Vec::new();
    for n in 0..50 {
        requests.extend(format!("POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: {n}\r\n\r\n").bytes());
        requests.extend(std::iter::repeat_n(b'x', n));
    }
    client.send(&requests).await;
    for n in 0..50 {
        let answer = client.answer().await;
        assert_eq!(answer.text(), n.to_string());
        assert!(!answer.closes());
    }
}

#[tokio::test]
async fn two_thousand_requests_share_a_connection() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    for _ in 0..2000 {
        client.send(GET).await;
        let answer = client.answer().await;
        assert!(answer.status == 200 && !answer.closes());
    }
}

#[tokio::test]
async fn a_connection_is_closed_with_its_ten_thousandth_answer() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    let batch = GET.repeat(100);
    for round in 1..=100 {
        client.send(&batch).await;
        for request in 1..=100 {
            let answer = client.answer().await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.closes(), (round, request) == (100, 100));
        }
    }
    assert_eq!(client.until_closed().await.bytes, b"");
}

#[tokio::test]
async fn a_client_that_asks_to_close_is_closed() {
    let server = Running::start(config()).await;
    let closed = server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(closed.statuses(), [200]);
}

#[tokio::test]
async fn handlers_are_told_who_is_calling() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    let address = client.stream.local_addr().expect("connected").to_string();
    client.send(b"GET /peer HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.text(), address);
}

#[tokio::test]
async fn a_panic_is_one_requests_own() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    client.send(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 500);
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 200);

    let closed = server.exchange(b"GET /uncaught HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(closed.bytes, b"");
    assert!(server.is_alive().await);
    client.send(GET).await;
    assert_eq!(client.answer().await.status, 200, "other connections do not notice");
}
