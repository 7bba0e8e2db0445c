//! What nginx answers itself: in the contract's form, and true about the token. And what it never does: send a POST
//! twice.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::nginx::{Nginx, Try};
use super::recorder::{Conduct, Recorder};
use crate::support::app::login;
use crate::support::program::eventually;

/// An address that refuses connections for as long as the socket lives.
fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_as_the_service_would() {
    let recorder = Recorder::start(Conduct::Answers).await;
    let nginx = Nginx::before([recorder.address; 2]);
    let answer = nginx.send(login("").body(vec![b'x'; 16 * 1024 + 1])).await;
    answer.assert_error(413, "IDAAS.SDK.COM.0413", "Request body is too large");
    assert_eq!(answer.header("x-access-token-state"), Some("unspent"));
    assert_eq!(answer.header("retry-after"), None);
    assert!(recorder.seen().is_empty());

    assert_eq!(nginx.send(login("").body(vec![b'x'; 16 * 1024])).await.status, 200, "as large as may be");
    assert_eq!(nginx.send(login("").with("X-agent", "x".repeat(15 * 1024))).await.status, 200, "a head as large");
}

#[tokio::test]
async fn without_any_replica_the_answer_is_busy_and_the_token_unspent() {
    let ((_one, one), (_other, other)) = (refusing(), refusing());
    let nginx = Nginx::before([one, other]);
    // At first both are tried, then neither is, for a while.
    for _ in 0..10 {
        let answer = nginx.log_in("token").await;
        answer.assert_error(500, "IDAAS.SDK.COM.0002", "System busy, please try again later");
        assert_eq!(answer.header("x-access-token-state"), Some("unspent"), "{answer:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let keys = nginx.get("/api/v1/oauth2/keys").await;
    assert_eq!((keys.error_code().as_str(), keys.header("x-access-token-state")), ("IDAAS.SDK.COM.0002", None));
}

#[tokio::test]
async fn a_replica_that_refuses_the_connection_costs_no_login() {
    let (_dead, dead) = refusing();
    let recorder = Recorder::start(Conduct::Answers).await;
    let nginx = Nginx::before([dead, recorder.address]);
    for _ in 0..10 {
        assert_eq!(nginx.log_in("token").await.status, 200);
    }
    assert_eq!(recorder.seen().len(), 10);
    let logged = nginx.logged(10).await;
    let moved_on = logged.iter().filter(|line| line.tries.len() == 2).count();
    assert!(moved_on > 0, "the dead one was tried: {logged:?}");
}

#[tokio::test]
async fn a_post_of_which_a_byte_went_out_is_never_sent_again() {
    let broken = Recorder::start(Conduct::HangsUp).await;
    let whole = Recorder::start(Conduct::Answers).await;
    let nginx = Nginx::before([broken.address, whole.address]);
    let mut failed = 0;
    for n in 0..4 {
        let answer = nginx.log_in(&format!("token-{n}")).await;
        if answer.status != 200 {
            answer.assert_error(500, "IDAAS.SDK.COM.0002", "System busy, please try again later");
            assert_eq!(answer.header("x-access-token-state"), Some("unknown"), "{answer:?}");
            failed += 1;
        }
    }
    assert_eq!((failed, broken.seen().len(), whole.seen().len()), (2, 2, 2), "each went to one of them, once");
    for line in nginx.logged(4).await {
        assert!(matches!(&*line.tries, [Try { bytes_sent: 1.., .. }]), "{line:?}");
    }
    // What may be asked twice is.
    assert_eq!(nginx.get("/api/v1/oauth2/keys").await.status, 200);
    assert_eq!(nginx.get("/api/v1/oauth2/keys").await.status, 200);
    assert_eq!(broken.seen().len(), 3);
}

#[tokio::test]
async fn one_address_that_asks_for_too_much_is_told_so_in_the_contracts_form() {
    let recorder = Recorder::start(Conduct::Answers).await;
    let nginx = Arc::new(Nginx::before([recorder.address; 2]));
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let nginx = Arc::clone(&nginx);
        clients.spawn(async move {
            for _ in 0..500 {
                let answer = nginx.log_in("token").await;
                if answer.status != 200 {
                    return Some(answer);
                }
            }
            None
        });
    }
    let refused = clients.join_all().await.into_iter().flatten().next().expect("more than is let through");
    refused.assert_error(429, "IDAAS.SDK.COM.0429", "Too many requests, please try again later");
    assert_eq!(refused.header("x-access-token-state"), Some("unspent"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(recorder.seen().len() >= 500, "a burst is let through");
}

#[tokio::test]
async fn one_address_that_asks_for_too_much_at_once_is_told_so_while_others_wait_in_peace() {
    const AT_ONCE: usize = 256;
    let recorder = Recorder::start(Conduct::Waits).await;
    let nginx = Arc::new(Nginx::before([recorder.address; 2]));
    let mut waiting = JoinSet::new();
    for n in 0..AT_ONCE {
        let nginx = Arc::clone(&nginx);
        waiting.spawn(async move { nginx.log_in(&format!("token-{n}")).await });
    }
    eventually("all of them are there", async || (recorder.seen().len() == AT_ONCE).then_some(())).await;
    let refused = nginx.log_in("one-more").await;
    refused.assert_error(429, "IDAAS.SDK.COM.0429", "Too many requests, please try again later");
    assert_eq!(refused.header("x-access-token-state"), Some("unspent"));
    assert_eq!(recorder.seen().len(), AT_ONCE);
    let elsewhere = Arc::clone(&nginx);
    waiting.spawn(async move { elsewhere.send_from(Ipv4Addr::new(127, 0, 0, 2), login("another")).await });
    eventually("another address is let through", async || (recorder.seen().len() > AT_ONCE).then_some(())).await;
}
