//! The limit of calls in flight: who is turned away, and that every way a call can end gives its place back.

use std::sync::Arc;
use std::time::Duration;

use oneclick_login::verifier::aliyun::{AliyunVerifier, Config};
use oneclick_login::verifier::{TokenState, VerifierError};
use tokio::sync::Semaphore;

use super::peer::{Conduct, Peer, http};
use super::{SHORT, SUCCESS, config, verifier, verify};

fn two_at_a_time(endpoint: &str, timeout: Duration) -> Arc<AliyunVerifier> {
    Arc::new(verifier(Config { timeout, connect_timeout: timeout / 2, max_in_flight: 2, ..config(endpoint) }))
}

#[tokio::test]
async fn the_third_of_two_calls_is_turned_away_at_once_and_sends_nothing() {
    let permits = Arc::new(Semaphore::new(0));
    let conduct = Conduct::AnswerWhenLet(http("200 OK", SUCCESS), Arc::clone(&permits));
    let mut peer = Peer::start(conduct).await;
    let verifier = two_at_a_time(&peer.endpoint(), Duration::from_secs(10));
    for _ in 0..3 {
        let calls = [(); 2].map(|()| {
            let verifier = Arc::clone(&verifier);
            tokio::spawn(async move { verify(&verifier).await })
        });
        peer.next_request().await;
        peer.next_request().await;

        let error = verify(&verifier).await.unwrap_err();
        assert!(matches!(error, VerifierError::Busy { .. }), "{error:?}");
        assert_eq!(error.token_state(), TokenState::Unspent);
        assert!(peer.requests().is_empty());

        permits.add_permits(2);
        for call in calls {
            call.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_place_returns_when_a_call_times_out() {
    let peer = Peer::start(Conduct::Deaf).await;
    let verifier = two_at_a_time(&peer.endpoint(), SHORT);
    for _ in 0..3 {
        let (first, second) = tokio::join!(verify(&verifier), verify(&verifier));
        for result in [first, second] {
            assert!(matches!(result, Err(VerifierError::NoAnswer { .. })), "{result:?}");
        }
    }
}

#[tokio::test]
async fn a_place_returns_when_the_caller_gives_up() {
    let mut peer = Peer::start(Conduct::Answer(Vec::new())).await;
    let verifier = two_at_a_time(&peer.endpoint(), Duration::from_secs(10));
    for _ in 0..5 {
        tokio::select! {
            result = verify(&verifier) => panic!("a mute peer was understood: {result:?}"),
            _ = peer.next_request() => {}
        }
    }
}

#[tokio::test]
async fn a_place_returns_when_a_connection_fails() {
    let peer = Peer::start(Conduct::Reset).await;
    let verifier = two_at_a_time(&peer.endpoint(), Duration::from_secs(10));
    for _ in 0..5 {
        assert!(matches!(verify(&verifier).await, Err(VerifierError::NoAnswer { .. })));
    }
}
