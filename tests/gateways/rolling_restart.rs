//! A rolling restart behind the shipped nginx: one replica after the other is ended, started and awaited, under a steady
//! stream of logins, and nobody notices.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::client;
use super::nginx::Nginx;
use crate::support::app::login;
use crate::support::get_mobile::GetMobile;
use crate::support::postgres;
use crate::support::program::{Setup, exchange};
use crate::support::unprivileged::free_port;

/// R73. Two rounds, with a drain that is short for a test and longer than what nginx remembers of a refused connection.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_restarted_one_after_the_other_cost_no_request() {
    restart(2, |setup| setup.set("ONECLICK_SERVER__DRAIN_DELAY_SECONDS", "2")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes two minutes: ten rounds with the settings as delivered"]
async fn ten_rounds_of_restarts_cost_no_request() {
    restart(10, |setup| setup).await;
}

#[expect(clippy::print_stdout, reason = "the figures of a run that is started by hand")]
async fn restart(rounds: usize, with: impl Fn(Setup) -> Setup) {
    let database = postgres::database().await;
    let peer = GetMobile::start().await;
    let setups = [(); 2].map(|()| {
        let listen = format!("127.0.0.1:{}", free_port().unwrap());
        peer.verifies_for(with(Setup::on(database.url())).set("ONECLICK_SERVER__LISTEN", listen))
    });
    let mut replicas = [setups[0].start().await, setups[1].start().await];
    let nginx = Nginx::before([replicas[0].listen, replicas[1].listen]);

    let going_on = Arc::new(AtomicBool::new(true));
    let load = tokio::spawn({
        let (going_on, url) = (Arc::clone(&going_on), nginx.url());
        // The shipped limit is per address, and below what comes from one here.
        let clients: Vec<_> = (1..=4).map(|n| client(Ipv4Addr::new(127, 0, 0, n))).collect();
        async move {
            let mut ticks = interval(Duration::from_millis(10));
            let mut logins = JoinSet::new();
            for (n, client) in clients.iter().cycle().enumerate() {
                ticks.tick().await;
                if !going_on.load(Ordering::Relaxed) {
                    break;
                }
                let (client, url, token) = (client.clone(), url.clone(), format!("ok-139000000{:02}-{n}", n % 50));
                logins.spawn(async move { exchange(&client, &url, login(&token)).await.expect("nginx answers") });
            }
            logins.join_all().await
        }
    });
    for _ in 0..rounds {
        for (replica, setup) in replicas.iter_mut().zip(&setups) {
            replica.signal(Signal::TERM);
            assert!(replica.wait().await.success());
            *replica = setup.start().await;
            replica.wait_until_ready().await;
        }
    }
    going_on.store(false, Ordering::Relaxed);
    let answers = load.await.unwrap();
    let failed: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    println!("{} of {} failed", failed.len(), answers.len());
    assert!(failed.is_empty(), "{} of {} failed, the first: {:?}", failed.len(), answers.len(), failed[0]);
    assert!(answers.len() > rounds * 400, "{} logins", answers.len());
    peer.assert_clean();
    for line in nginx.logged(answers.len()).await {
        let reached = line.tries.iter().filter(|a_try| a_try.bytes_sent > 0).count();
        assert!(reached <= 1, "a POST went to two replicas: {line:?}");
    }
}
