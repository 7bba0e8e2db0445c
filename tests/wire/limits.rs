//! The number of connections.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{GET, PATIENCE, Running, config};
use oneclick_login::client_address::TrustedProxies;
use oneclick_login::refusal::Refusal;
use oneclick_login::server::Config;

const GET_AND_CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn at_the_limit_the_next_connection_waits_and_is_served_when_one_leaves() {
    let server = Running::start(Config { max_connections: 2, ..config() }).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    for client in [&mut first, &mut second] {
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 200);
    }

    // Both are busy.
    for client in [&mut first, &mut second] {
        client.send(b"GET /slow/60000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    let mut third = server.connect().await;
    third.send(GET).await;
    assert!(third.stays_open_for(Duration::from_millis(600)).await, "neither served nor dropped");

    drop(first);
    assert_eq!(third.answer().await.status, 200);
}

#[tokio::test]
async fn a_panic_gives_its_place_back() {
    let server = Running::start(Config { max_connections: 1, ..config() }).await;
    for _ in 0..3 {
        assert_eq!(server.exchange(b"GET /uncaught HTTP/1.1\r\nHost: a\r\n\r\n").await.bytes, b"");
    }
    assert!(server.is_alive().await);
}

#[tokio::test]
async fn places_come_back_from_every_kind_of_end() {
    let server =
        Running::start(Config { max_connections: 3, header_timeout: Duration::from_millis(50), ..config() }).await;
    for _ in 0..10 {
        drop(server.connect().await);
        server.exchange(b"GET / HT").await;
        server.exchange(b"nonsense\r\n\r\n").await;
        let mut leaves_early = server.connect().await;
        leaves_early.send(b"GET /slow/60000 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    assert!(server.is_alive().await);
}

/// R11.
#[tokio::test]
async fn at_the_limit_the_connection_that_has_been_idle_longest_makes_way() {
    let server = Running::start(Config { max_connections: 3, ..config() }).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 200);
        clients.push(client);
    }
    // The first is used once more, and the second is then the one that has been idle longest. All are parked by now.
    tokio::time::sleep(Duration::from_millis(600)).await;
    clients[0].send(GET).await;
    assert_eq!(clients[0].answer().await.status, 200);
    let mut fourth = server.connect().await;
    fourth.send(GET).await;
    assert_eq!(fourth.answer().await.status, 200);
    assert_eq!(clients[1].until_closed().await.bytes, b"");
    let (first, rest) = clients.split_at_mut(1);
    for client in [&mut first[0], &mut rest[1]] {
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 200, "the others stay");
    }
}

/// ASVS 15.2.2.
#[tokio::test]
async fn connections_that_say_nothing_make_way_for_one_that_speaks() {
    let server = Running::start(config()).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(server.connect().await);
    }
    let start = Instant::now();
    assert!(server.is_alive().await);
    assert!(start.elapsed() < Duration::from_secs(5), "long before the header time-out");
    assert_eq!(silent[0].until_closed().await.bytes, b"", "the one that came first");
    assert!(silent[99].stays_open_for(Duration::from_millis(50)).await);
}

/// Half heads do not make way; they leave at the header time-out.
#[tokio::test]
async fn half_heads_hold_all_places_for_the_header_timeout_at_the_longest() {
    let server = Running::start(Config { header_timeout: Duration::from_millis(500), ..config() }).await;
    let mut half = Vec::new();
    for _ in 0..100 {
        let mut client = server.connect().await;
        client.send(b"G").await;
        half.push(client);
    }
    assert!(server.is_alive().await);
}

#[tokio::test]
async fn a_peer_gets_no_more_than_its_share_unless_it_is_exempt() {
    let share = Config { max_connections_per_peer: 3, ..config() };
    let exempt_peers = TrustedProxies::parse(["127.0.0.0/8"]).expect("a network");
    let exempt = Config { exempt_peers, ..share.clone() };
    for (config, served) in [(share, 3), (exempt, 5)] {
        let server = Running::start(config).await;
        let mut clients = Vec::new();
        for _ in 0..served {
            let mut client = server.connect().await;
            client.send(GET).await;
            assert_eq!(client.answer().await.status, 200);
            clients.push(client);
        }
        if served == 3 {
            assert_eq!(server.connect().await.until_closed().await.bytes, b"");
            assert_eq!(server.refused().await, [Refusal::TooManyConnections]);
            clients.pop();
            let place_again = async { while server.exchange(GET_AND_CLOSE).await.statuses() != [200] {} };
            timeout(PATIENCE, place_again).await.expect("the place comes back");
        }
    }
}

/// A connection that was parked goes on where it was, however its next request comes.
#[tokio::test]
async fn a_parked_connection_serves_its_next_request() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        client.send(&GET[..10]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.send(&[&GET[10..], GET].concat()).await;
        for _ in 0..2 {
            assert_eq!(client.answer().await.text(), "ok");
        }
    }
}
