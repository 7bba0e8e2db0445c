//! A database that accepts connections and says nothing, as one does whose packets a firewall drops: every command ends
//! with a line that says so, and the server waits and says for what.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::support::program::{Setup, eventually};

/// What a person takes for an answer and not for a hang, on a machine that has other things to do.
const FEW_SECONDS: Duration = Duration::from_secs(10);

async fn silent() -> (TcpListener, String) {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:canary@{}/d", silent.local_addr().unwrap());
    (silent, url)
}

#[tokio::test]
async fn every_command_ends_within_seconds_and_says_why() {
    let (_silent, url) = silent().await;
    let id = "01900000-0000-7000-8000-000000000000";
    for setup in [Setup::on(&url), Setup::on(&url).in_production()] {
        for command in [
            &["migrate"][..],
            &["app", "list"],
            &["app", "register", "--client-id", "shop", "--name", "The shop"],
            &["user", "find", "--mobile", "13800000001"],
            &["session", "list", "--user", id],
            &["key", "list"],
        ] {
            let asked = Instant::now();
            let ran = setup.run(command).await;
            assert!(asked.elapsed() < FEW_SECONDS, "{command:?}: {:?}", asked.elapsed());
            assert_eq!(ran.code, Some(1), "{command:?}: {ran:?}");
            let said = ran.stderr.trim_end();
            assert!(said.contains("no answer from the database within 1s"), "{command:?}: {said}");
            assert!(!said.contains('\n') && !said.contains("canary"), "{command:?}: {said}");
        }
    }
}

#[tokio::test]
async fn the_server_says_what_it_waits_for_and_goes_on_trying() {
    let (silent, url) = silent().await;
    for setup in [Setup::on(&url), Setup::on(&url).in_production()] {
        let mut program = setup.spawn();
        program.wait_until_alive().await;
        let begun = Instant::now();
        eventually("it says more than once what it waits for", async || {
            let lines = program.log_lines();
            let waiting = lines.iter().filter(|line| line["message"] == "waiting for the database");
            let causes: Vec<_> = waiting.map(|line| line["error"].as_str().unwrap()).collect();
            causes.iter().all(|cause| cause.contains("no answer from the database within 1s")).then_some(())?;
            (causes.len() > 1).then_some(())
        })
        .await;
        assert!(begun.elapsed() < FEW_SECONDS, "{:?}", begun.elapsed());
        assert_eq!(program.health("/livez").await.status, 200);
        assert_eq!(program.health("/readyz").await.status, 503);
    }
    drop(silent);
}
