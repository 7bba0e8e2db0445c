//! The end, as an orchestrator and as a person at a terminal ask for it.

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::rows::Rows;
use crate::support::app::{Answer, SEED_TOKEN, login};
use crate::support::get_mobile::GetMobile;
use crate::support::program::{Program, Setup, eventually, read_to_end};

const AN_HOUR: &str = "3600";

fn with_delay(seconds: &str) -> Setup {
    Setup::new()
        .patient()
        .set("ONECLICK_SERVER__DRAIN_DELAY_SECONDS", seconds)
        .set("ONECLICK_SERVER__DRAIN_TIMEOUT_SECONDS", AN_HOUR)
}

/// A server with a login in flight whose token the peer has and answers when it is told to.
async fn with_a_login_in_flight(setup: Setup, token: &'static str) -> (Program, GetMobile, InFlight) {
    let peer = GetMobile::start().await;
    let program = peer.verifies_for(setup).start().await;
    let url = format!("http://{}", program.listen);
    let call = login(token);
    let (parts, _) = call.clone().build().into_parts();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request =
        client.request(parts.method, format!("{url}{}", parts.uri)).headers(parts.headers).body(call.body).send();
    let answer = tokio::spawn(async move {
        let response = request.await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: response.bytes().await?.to_vec() })
    });
    peer.wait_for(token).await;
    (program, peer, answer)
}

type InFlight = tokio::task::JoinHandle<Result<Answer, reqwest::Error>>;

async fn wait_until_draining(program: &Program) {
    eventually("draining", async || {
        let answer = program.health("/readyz").await;
        (answer.status == 503 && answer.json()["reasons"][0] == "draining").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_login_in_flight_finishes_and_the_program_ends_with_0() {
    for signal in [Signal::TERM, Signal::HUP, Signal::QUIT] {
        a_login_in_flight_survives(signal).await;
    }
}

async fn a_login_in_flight_survives(signal: Signal) {
    let token = "held-13900000001-signal";
    let (mut program, peer, answer) = with_a_login_in_flight(with_delay("0"), token).await;
    program.signal(signal);
    wait_until_draining(&program).await;
    eventually("the public port is closed", async || TcpStream::connect(program.listen).await.err().map(drop)).await;
    assert_eq!(program.health("/livez").await.status, 200);

    peer.release(1);
    let answer = answer.await.unwrap().unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, Some("close")), "{answer:?}");
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
    peer.assert_clean();
}

#[tokio::test]
async fn after_sigterm_it_is_not_ready_and_still_logs_in_until_the_gateway_has_noticed() {
    let program = with_delay(AN_HOUR).start().await;
    program.wait_until_ready().await;
    assert_eq!(program.log_in(SEED_TOKEN).await.header("connection"), None);
    program.signal(Signal::TERM);
    wait_until_draining(&program).await;
    for _ in 0..3 {
        let answer = program.log_in(SEED_TOKEN).await;
        assert_eq!((answer.status.as_u16(), answer.header("connection")), (200, Some("close")));
    }
    assert_eq!(program.health("/livez").await.status, 200);
}

/// As HAProxy does by default, in HTTP/1.0 without a `Host`.
#[tokio::test]
async fn a_gateway_that_asks_by_options_is_told_by_the_status_alone() {
    let program = with_delay(AN_HOUR).start().await;
    program.wait_until_ready().await;
    let ask = async |path: &str| {
        let mut stream = TcpStream::connect(program.management).await.unwrap();
        stream.write_all(format!("OPTIONS {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        read_to_end(stream).await
    };
    for path in ["/readyz", "/livez"] {
        let answer = ask(path).await;
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(answer.contains("allow: GET,HEAD,OPTIONS\r\n"), "{answer}");
    }
    program.signal(Signal::TERM);
    wait_until_draining(&program).await;
    let (ready, alive) = (ask("/readyz").await, ask("/livez").await);
    assert!(ready.starts_with("HTTP/1.0 503 ") && ready.ends_with("\r\n\r\n"), "{ready}");
    assert!(alive.starts_with("HTTP/1.0 200 "), "{alive}");
}

#[tokio::test]
async fn the_delay_ends_by_itself() {
    let mut program = with_delay("1").start().await;
    program.signal(Signal::TERM);
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_not_with_0() {
    for delay in ["0", AN_HOUR] {
        let (mut program, _peer, answer) =
            with_a_login_in_flight(with_delay(delay), "held-13900000001-second-signal").await;
        program.signal(Signal::TERM);
        wait_until_draining(&program).await;
        program.signal(Signal::TERM);
        let status = program.wait().await;
        assert_eq!((status.code(), program.stderr().lines().count()), (Some(1), 1), "{status}: {}", program.stderr());
        assert!(answer.await.unwrap().is_err(), "it was cut");
    }
}

#[tokio::test]
async fn an_interrupt_does_not_wait_for_the_delay() {
    let mut program = with_delay(AN_HOUR).start().await;
    program.signal(Signal::INT);
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
}

/// The peer has the token and the client is gone.
async fn abandoned_in_flight(token: &str) -> (Setup, Program, GetMobile) {
    let peer = GetMobile::start().await;
    let setup = peer.verifies_for(with_delay("0"));
    let program = setup.start().await;
    let mut client = program.connect().await;
    client.write_all(&super::wire::raw_login(token)).await.unwrap();
    peer.wait_for(token).await;
    drop(client);
    (setup, program, peer)
}

#[tokio::test]
async fn a_login_whose_client_is_gone_is_waited_for_too() {
    let token = "held-13900000001-abandoned";
    let (setup, mut program, peer) = abandoned_in_flight(token).await;
    program.signal(Signal::TERM);
    wait_until_listener_closed(&program).await;
    peer.release(1);
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
    assert_eq!(Rows::Sqlite(setup.sqlite_file()).sessions_of_token(token).await, 1);
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_a_login_whose_client_is_gone() {
    let (_setup, mut program, _peer) = abandoned_in_flight("held-13900000001-abandoned-twice").await;
    program.signal(Signal::TERM);
    wait_until_listener_closed(&program).await;
    let asked = tokio::time::Instant::now();
    program.signal(Signal::TERM);
    assert_eq!(program.wait().await.code(), Some(1), "{}", program.stderr());
    // The verifier's own time-out would end the wait after a minute.
    assert!(asked.elapsed().as_secs() < 20, "{:?}", asked.elapsed());
}

async fn wait_until_listener_closed(program: &Program) {
    eventually("the listener is closed", async || {
        program.log_lines().iter().any(|line| line["message"] == "listener closed").then_some(())
    })
    .await;
}
