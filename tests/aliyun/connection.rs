//! Connections that fail, before the request and after it: what becomes of the token, and that nothing is sent again.

use std::time::{Duration, Instant};

use oneclick_login::verifier::{TokenState, VerifierError};
use tokio::net::TcpListener;

use super::peer::{Conduct, Peer, http};
use super::{SHORT, SUCCESS, config, impatient, verifier, verify, verify_token};

fn assert_unknown(result: Result<impl std::fmt::Debug, VerifierError>) -> String {
    let error = result.expect_err("there was no usable answer");
    assert!(matches!(error, VerifierError::NoAnswer { .. }), "{error:?}");
    assert_eq!(error.token_state(), TokenState::Unknown);
    error.to_string()
}

fn assert_unspent(result: Result<impl std::fmt::Debug, VerifierError>) {
    let error = result.expect_err("there was no connection");
    assert!(matches!(error, VerifierError::Unreachable(_)), "{error:?}");
    assert_eq!(error.token_state(), TokenState::Unspent);
}

async fn closed_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("a bound listener").to_string()
}

#[tokio::test]
async fn a_refused_connection_leaves_the_token_unspent_and_the_next_call_recovers() {
    let host = closed_port().await;
    let verifier = verifier(config(&format!("http://{host}")));
    assert_unspent(verify(&verifier).await);
    let listener = TcpListener::bind(&host).await.unwrap();
    let answered = tokio::spawn(async move { listener.accept().await.is_ok() });
    let call = verify(&verifier);
    tokio::pin!(call);
    tokio::select! {
        accepted = answered => assert!(accepted.unwrap()),
        result = &mut call => { let _ = result; }
    }
}

#[tokio::test]
async fn an_unknown_host_leaves_the_token_unspent() {
    assert_unspent(verify(&impatient("http://no-such-host.invalid")).await);
}

#[tokio::test]
async fn a_tls_handshake_that_hangs_leaves_the_token_unspent() {
    let mut peer = Peer::start(Conduct::Answer(Vec::new())).await;
    let started = Instant::now();
    assert_unspent(verify(&impatient(&format!("https://{}", peer.host))).await);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn a_tls_handshake_that_fails_leaves_the_token_unspent() {
    for answer in [b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), b"\x15\x03\x03\x00\x02\x02\x28".to_vec(), Vec::new()] {
        let peer = Peer::start(Conduct::Babble(answer)).await;
        assert_unspent(verify(&verifier(config(&format!("https://{}", peer.host)))).await);
        assert_eq!(peer.connections(), 1);
    }
}

#[tokio::test]
async fn a_proxy_that_opens_no_tunnel_leaves_the_token_unspent() {
    let refusing =
        Peer::start(Conduct::Babble(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".to_vec())).await;
    for proxy in [refusing.endpoint(), format!("http://{}", closed_port().await)] {
        let mut config = config("https://dypnsapi.test");
        config.proxy = Some(proxy);
        assert_unspent(verify(&verifier(config)).await);
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_leaves_the_token_unknown_at_the_deadline() {
    let peer = Peer::start(Conduct::Deaf).await;
    let started = Instant::now();
    let error = assert_unknown(verify(&impatient(&peer.endpoint())).await);
    assert!(error.contains("300 ms"), "{error}");
    assert!(started.elapsed() >= SHORT);
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_hangs_leaves_the_token_unknown_at_the_deadline_and_its_connection_is_not_used_again() {
    let whole = http("200 OK", SUCCESS);
    let head_ends = whole.len() - SUCCESS.len();
    for length in [0, 20, head_ends, whole.len() - 1] {
        let mut peer = Peer::start(Conduct::Answer(whole[..length].to_vec())).await;
        let verifier = impatient(&peer.endpoint());
        for calls in 1..=2 {
            let started = Instant::now();
            assert_unknown(verify(&verifier).await);
            assert!(started.elapsed() >= SHORT, "after {length} bytes");
            assert_eq!(peer.requests().len(), 1, "after {length} bytes");
            assert_eq!(peer.connections(), calls, "after {length} bytes");
        }
    }
}

#[tokio::test]
async fn a_reset_after_the_request_leaves_the_token_unknown_and_sends_nothing_again() {
    let mut peer = Peer::start(Conduct::Reset).await;
    let verifier = verifier(config(&peer.endpoint()));
    for round in 1..=200 {
        assert_unknown(verify(&verifier).await);
        assert_eq!(peer.requests().len(), 1, "in round {round}");
        assert_eq!(peer.connections(), round);
    }
}

#[tokio::test]
async fn a_reset_after_a_request_on_a_reused_connection_sends_nothing_again() {
    let mut peer = Peer::start(Conduct::AnswerThenReset(http("200 OK", SUCCESS))).await;
    let verifier = verifier(config(&peer.endpoint()));
    for round in 1..=100 {
        verify_token(&verifier, &format!("first-{round}")).await.unwrap();
        assert_unknown(verify_token(&verifier, &format!("second-{round}")).await);
        assert_eq!(peer.requests().len(), 2, "in round {round}");
        assert_eq!(peer.connections(), round);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_closed_at_its_reuse_lets_a_token_be_processed_at_most_once() {
    let mut peer = Peer::start(Conduct::AnswerAndCloseSoon(http("200 OK", SUCCESS))).await;
    let verifier = verifier(config(&peer.endpoint()));
    let mut answered = 0;
    for round in 0..2_000 {
        match verify_token(&verifier, &format!("token-{round}")).await {
            Ok(_) => answered += 1,
            Err(error) => assert_eq!(error.token_state(), TokenState::Unknown, "{error:?}"),
        }
    }
    let mut queries: Vec<_> = peer.requests().iter().map(|request| request.raw_query().to_owned()).collect();
    let processed = queries.len();
    queries.sort();
    queries.dedup();
    assert_eq!(queries.len(), processed, "a token was processed twice");
    // A request into a connection that was just closed is neither answered nor sent again, so these are the same.
    assert_eq!(answered, processed);
}

#[tokio::test]
async fn a_reset_before_anything_was_read_is_not_taken_for_a_failure_to_connect() {
    let mut peer = Peer::start(Conduct::ResetAtOnce).await;
    let verifier = verifier(config(&peer.endpoint()));
    for _ in 0..50 {
        assert_unknown(verify(&verifier).await);
    }
    assert_eq!(peer.connections(), 50);
    assert!(peer.requests().is_empty());
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_not_http_leaves_the_token_unknown() {
    let whole = http("200 OK", SUCCESS);
    for answer in [
        whole[..whole.len() - 1].to_vec(),
        whole[..20].to_vec(),
        Vec::new(),
        b"\x00\xff\xfe garbage\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n0123456789".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n".to_vec(),
    ] {
        let mut peer = Peer::start(Conduct::AnswerAndClose(answer.clone())).await;
        assert_unknown(verify(&verifier(config(&peer.endpoint()))).await);
        assert_eq!(peer.requests().len(), 1, "{}", String::from_utf8_lossy(&answer));
    }
}
