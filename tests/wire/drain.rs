//! The end: nothing that was asked in time goes unanswered.

use std::time::Duration;

use tokio::net::TcpStream;

use super::{GET, Running, config};
use oneclick_login::server::{Config, Ended, Phase, Signal};

const SLOW: &[u8] = b"GET /slow/600 HTTP/1.1\r\nHost: a\r\n\r\n";
const ENDLESS: &[u8] = b"GET /slow/600000 HTTP/1.1\r\nHost: a\r\n\r\n";

/// Time for the server to take what was sent; nothing fails if it was too short, but then less is tested.
const A_MOMENT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_request_in_flight_finishes_and_its_connection_closes() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    client.send(SLOW).await;
    tokio::time::sleep(A_MOMENT).await;
    server.shutdown.signalled(Signal::Terminate);
    let answer = client.answer().await;
    assert_eq!(answer.text(), "slow");
    assert!(answer.closes());
    assert_eq!(client.until_closed().await.bytes, b"");
    drop(client);
    assert_eq!(server.end().await, Ended { cut: 0 });
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_the_port_is_free() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    client.answer().await;
    server.shutdown.signalled(Signal::Interrupt);
    assert_eq!(client.until_closed().await.bytes, b"");
    drop(client);
    let address = server.address;
    assert_eq!(server.end().await, Ended { cut: 0 });
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn during_the_delay_new_connections_are_served_and_idle_ones_stay() {
    let server = Running::start(Config { drain_delay: Duration::from_secs(60), ..config() }).await;
    let mut idle = server.connect().await;
    idle.send(GET).await;
    assert!(!idle.answer().await.closes());

    server.shutdown.signalled(Signal::Terminate);
    assert!(server.shutdown.draining());
    assert!(idle.stays_open_for(Duration::from_millis(300)).await);
    let mut new = server.connect().await;
    for client in [&mut new, &mut idle] {
        client.send(GET).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200);
        assert!(answer.closes());
        assert_eq!(client.until_closed().await.bytes, b"");
    }
    assert_eq!(server.shutdown.phase(), Phase::Draining);
}

#[tokio::test]
async fn after_the_delay_it_closes_by_itself() {
    let server = Running::start(Config { drain_delay: Duration::from_millis(200), ..config() }).await;
    server.shutdown.signalled(Signal::Terminate);
    let shutdown = server.shutdown.clone();
    assert_eq!(server.end().await, Ended { cut: 0 });
    assert_eq!(shutdown.phase(), Phase::Closing);
}

#[tokio::test]
async fn an_interrupt_does_not_wait_for_the_delay() {
    let server = Running::start(Config { drain_delay: Duration::from_secs(600), ..config() }).await;
    server.shutdown.signalled(Signal::Interrupt);
    assert_eq!(server.end().await, Ended { cut: 0 });
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_cut_and_counted() {
    let server = Running::start(Config { drain_timeout: Duration::from_millis(300), ..config() }).await;
    let mut clients = [server.connect().await, server.connect().await];
    for client in &mut clients {
        client.send(ENDLESS).await;
    }
    tokio::time::sleep(A_MOMENT).await;
    server.shutdown.signalled(Signal::Terminate);
    assert_eq!(server.end().await, Ended { cut: 2 });
    assert_eq!(clients[0].until_closed().await.bytes, b"");
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_anything() {
    for delay in [Duration::ZERO, Duration::from_secs(600)] {
        let server = Running::start(Config { drain_delay: delay, ..config() }).await;
        let mut client = server.connect().await;
        client.send(ENDLESS).await;
        tokio::time::sleep(A_MOMENT).await;
        server.shutdown.signalled(Signal::Terminate);
        tokio::time::sleep(A_MOMENT).await;
        assert!(!server.ended.is_finished());
        server.shutdown.signalled(Signal::Terminate);
        assert_eq!(server.end().await, Ended { cut: 1 });
    }
}

#[tokio::test]
async fn what_waits_in_the_queue_is_served_before_the_listener_closes() {
    let server = Running::start(Config { max_connections: 1, ..config() }).await;
    let mut busy = server.connect().await;
    busy.send(SLOW).await;
    tokio::time::sleep(A_MOMENT).await;
    let mut queued = Vec::new();
    for _ in 0..20 {
        let mut client = server.connect().await;
        client.send(GET).await;
        queued.push(client);
    }
    server.shutdown.signalled(Signal::Terminate);
    for client in &mut queued {
        let answer = client.answer().await;
        assert_eq!(answer.status, 200);
        assert!(answer.closes());
    }
    assert_eq!(busy.answer().await.text(), "slow");
    drop((busy, queued));
    assert_eq!(server.end().await, Ended { cut: 0 });
}

#[tokio::test]
async fn a_connection_opened_just_before_the_end_has_its_first_request_answered() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    tokio::time::sleep(A_MOMENT).await;
    server.shutdown.signalled(Signal::Terminate);
    tokio::time::sleep(A_MOMENT).await;
    client.send(GET).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.closes());
}

#[tokio::test]
async fn a_request_that_meets_the_end_on_an_idle_connection_is_answered() {
    let server = Running::start(config()).await;
    let mut client = server.connect().await;
    client.send(GET).await;
    assert!(!client.answer().await.closes());
    server.shutdown.signalled(Signal::Interrupt);
    tokio::time::sleep(A_MOMENT).await;
    client.send(GET).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 200);
    assert!(answer.closes());
}

#[tokio::test]
async fn a_silent_connection_does_not_hold_up_the_end() {
    let server = Running::start(config()).await;
    let _silent = server.connect().await;
    tokio::time::sleep(A_MOMENT).await;
    server.shutdown.signalled(Signal::Terminate);
    assert_eq!(server.end().await, Ended { cut: 0 });
}
