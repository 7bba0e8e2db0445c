//! Postgres comes late, goes away, and falls silent; the program stays and takes logins again by itself.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::forwarder::{Forwarder, State};
use super::rows::{Rows, subject};
use crate::support::get_mobile::GetMobile;
use crate::support::postgres;
use crate::support::program::{Program, Setup, eventually};

/// From the moment the database can be reached to the first login. Half a second where nothing else runs; the rest is
/// the share of a busy machine.
const RECOVERY: Duration = Duration::from_secs(10);

async fn not_ready(program: &Program, reason: &str) {
    eventually("not ready", async || {
        let answer = program.health("/readyz").await;
        let reasons = answer.json()["reasons"].to_string();
        (answer.status == 503 && reasons.contains(reason)).then_some(())
    })
    .await;
}

/// Logs in with one new token after the other until it works; whatever else is answered is COM.0002.
async fn until_it_works(program: &Program, name: &str) -> Duration {
    let begun = Instant::now();
    let mut tries = 0;
    eventually("logged in", async || {
        tries += 1;
        let answer = program.log_in(&format!("ok-13900000001-{name}{tries}")).await;
        if answer.status == 200 {
            return Some(());
        }
        assert_eq!((answer.status.as_u16(), answer.error_code().as_str()), (500, "IDAAS.SDK.COM.0002"));
        None
    })
    .await;
    begun.elapsed()
}

#[tokio::test]
async fn it_waits_for_a_database_that_is_down_at_the_start() {
    let database = postgres::database().await;
    let forwarder = Forwarder::start(&database, State::Down).await;
    let mut program = Setup::on(forwarder.url()).spawn();
    program.wait_until_alive().await;
    not_ready(&program, "starting").await;
    assert_eq!(program.health("/livez").await.status, 200);
    eventually("it says what it waits for", async || {
        let lines = program.log_lines();
        lines.iter().any(|line| line["message"] == "waiting for the database").then_some(())
    })
    .await;

    forwarder.turn(State::Through).await;
    let came = Instant::now();
    program.wait_until_listening().await;
    program.wait_until_ready().await;
    assert!(came.elapsed() < RECOVERY, "{:?}", came.elapsed());
    assert_eq!(program.log_in("sandbox:13900000001").await.status, 200);
}

#[tokio::test]
async fn while_it_waits_the_public_port_refuses_and_a_signal_ends_it() {
    let database = postgres::database().await;
    let forwarder = Forwarder::start(&database, State::Down).await;
    let mut program = Setup::on(forwarder.url()).spawn();
    program.wait_until_alive().await;
    not_ready(&program, "starting").await;
    assert!(TcpStream::connect(program.listen).await.is_err());
    let scrape = program.scrape().await;
    assert_eq!(scrape.value("oneclick_ready", &[]), 0.0);
    assert_eq!(scrape.value("oneclick_not_ready", &[("reason", "starting")]), 1.0);

    let management = program.management.to_string();
    let asking = Setup::new().set("ONECLICK_SERVER__MANAGEMENT_LISTEN", management);
    assert_eq!(asking.run(&["healthcheck"]).await.code, Some(0), "a restart would not help");
    assert_eq!(asking.run(&["healthcheck", "--ready"]).await.code, Some(1));

    program.signal(Signal::TERM);
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
}

#[tokio::test]
async fn cut_connections_cost_only_the_logins_of_that_time() {
    let database = postgres::database().await;
    let forwarder = Forwarder::start(&database, State::Through).await;
    let peer = GetMobile::start().await;
    let program = peer.verifies_for(Setup::on(forwarder.url())).start().await;
    program.wait_until_ready().await;
    let first = program.log_in("ok-13900000001-before").await;
    assert_eq!(first.status, 200);

    for round in 0..3 {
        forwarder.turn(State::Down).await;
        for n in 0..20 {
            let answer = program.log_in(&format!("ok-13900000001-down{round}{n}")).await;
            assert_eq!((answer.status.as_u16(), answer.error_code().as_str()), (500, "IDAAS.SDK.COM.0002"));
        }
        let spent = peer.ledger().iter().filter(|token| token.contains(&format!("down{round}"))).count();
        assert_eq!(
            spent, 1,
            "a dead database must not burn billed tokens: the first finds out, the others are turned away"
        );
        not_ready(&program, "the database takes no sessions").await;
        assert_eq!(program.health("/livez").await.status, 200);

        forwarder.turn(State::Through).await;
        let took = until_it_works(&program, &format!("up{round}-")).await;
        assert!(took < RECOVERY, "{took:?}");
        program.wait_until_ready().await;
    }
    let last = program.log_in("ok-13900000001-after").await;
    assert_eq!(subject(&first), subject(&last));
    peer.assert_clean();
}

#[tokio::test]
async fn a_login_that_the_cut_catches_after_its_token_is_spent_is_never_a_200_without_its_row() {
    let database = postgres::database().await;
    let forwarder = Forwarder::start(&database, State::Through).await;
    let peer = GetMobile::start().await;
    let program = peer.verifies_for(Setup::on(forwarder.url())).start().await;
    let rows = Rows::Postgres(database.url());

    let tokens: Vec<String> = (0..8).map(|n| format!("held-1390000000{n}-caught")).collect();
    let program = Arc::new(program);
    let mut logins = JoinSet::new();
    for token in tokens.clone() {
        let program = Arc::clone(&program);
        logins.spawn(async move { program.log_in(&token).await });
    }
    for token in &tokens {
        peer.wait_for(token).await;
    }
    forwarder.turn(State::Down).await;
    peer.release(tokens.len());
    for answer in logins.join_all().await {
        assert_eq!((answer.status.as_u16(), answer.error_code().as_str()), (500, "IDAAS.SDK.COM.0002"));
        assert_eq!(answer.header("x-access-token-state"), Some("unknown"));
    }
    forwarder.turn(State::Through).await;
    until_it_works(&program, "up").await;
    for token in &tokens {
        assert_eq!(rows.sessions_of_token(token).await, 0, "{token}");
    }
}

#[tokio::test]
async fn a_database_that_falls_silent_is_left_for_one_that_answers() {
    let database = postgres::database().await;
    let forwarder = Forwarder::start(&database, State::Through).await;
    let peer = GetMobile::start().await;
    let program = peer.verifies_for(Setup::on(forwarder.url())).start().await;
    program.wait_until_ready().await;
    assert_eq!(program.log_in("ok-13900000001-before").await.status, 200);

    forwarder.turn(State::BlackHole).await;
    for n in 0..5 {
        let asked = Instant::now();
        let answer = program.log_in(&format!("ok-13900000001-silent{n}")).await;
        assert_eq!((answer.status.as_u16(), answer.error_code().as_str()), (500, "IDAAS.SDK.COM.0002"));
        assert!(asked.elapsed() < RECOVERY, "{:?}", asked.elapsed());
    }
    not_ready(&program, "the database takes no sessions").await;

    forwarder.turn(State::Through).await;
    let took = until_it_works(&program, "healthy").await;
    assert!(took < RECOVERY, "{took:?}");
    program.wait_until_ready().await;
    peer.assert_clean();
}
