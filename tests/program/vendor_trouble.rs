//! Alibaba Cloud throttles, or falls silent: what goes there is bounded, and everybody else keeps the token.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval};

use crate::support::app::Answer;
use crate::support::get_mobile::{GetMobile, QUOTA_PER_SECOND};
use crate::support::program::{Program, Setup, eventually};

/// Logins at a rate for so long, each with a token of its own, whatever is answered.
async fn offer(program: &Arc<Program>, (conduct, rate, lasts): (&str, u32, Duration)) -> Vec<(String, Answer)> {
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_secs(1) / rate);
    let (mut logins, mut sent) = (JoinSet::new(), 0);
    while begun.elapsed() < lasts {
        ticks.tick().await;
        sent += 1;
        let (program, token) = (Arc::clone(program), format!("{conduct}-1390000000{}-{conduct}{sent}", sent % 8));
        logins.spawn(async move {
            let answer = program.log_in(&token).await;
            (token, answer)
        });
    }
    logins.join_all().await
}

/// R40, R46.
/// ASVS 16.5.2.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_vendor_gets_about_a_seconds_logins_and_single_trials() {
    let peer = GetMobile::start().await;
    let program = Arc::new(peer.verifies_for(Setup::new()).start().await);
    assert_eq!(program.log_in("ok-13900000001-before").await.status, 200);
    let answers = offer(&program, ("hang", 40, Duration::from_secs(4))).await;
    let sent = peer.ledger().iter().filter(|token| token.starts_with("hang")).count();
    // A second's worth, a few trials, and what a busy machine adds.
    assert!((1..=40 * 3 / 2 + 5).contains(&sent), "{sent} of {}", answers.len());
    for (token, answer) in &answers {
        assert_eq!(answer.error_code(), "IDAAS.SDK.COM.0002");
        let was_sent = peer.ledger().contains(token);
        let state = if was_sent { "unknown" } else { "unspent" };
        assert_eq!(answer.header("x-access-token-state"), Some(state), "{token}");
    }
    assert_eq!(program.health("/readyz").await.status, 200, "all replicas would be gone at once");
    let mut tries = 0;
    eventually("it answers again", async || {
        tries += 1;
        let answer = program.log_in(&format!("ok-13900000001-after{tries}")).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let scrape = program.scrape().await;
    assert_eq!(scrape.value("oneclick_verifier_silent", &[]), 0.0);
    assert!(scrape.value("oneclick_verifier_calls_kept_back_total", &[("reason", "silent")]) > 50.0);
    let lines = program.log_lines();
    assert!(lines.iter().any(|line| line["message"] == "the verifier answers again"));
    peer.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_throttles_is_not_stormed() {
    let peer = GetMobile::start().await;
    let program = Arc::new(peer.verifies_for(Setup::new()).start().await);
    assert_eq!(program.log_in("ok-13900000001-before").await.status, 200);
    let answers = offer(&program, ("busy", 100, Duration::from_secs(3))).await;
    let sent = peer.ledger().iter().filter(|token| token.starts_with("busy")).count();
    // It takes nothing, so what goes there is the least that finds out when it does again: two a second.
    assert!((2..=30).contains(&sent), "{sent} of {}", answers.len());
    assert!(answers.iter().all(|(_, answer)| answer.header("x-access-token-state") == Some("unspent")));
    let scrape = program.scrape().await;
    assert!(scrape.value("oneclick_verifier_calls_kept_back_total", &[("reason", "throttles")]) > 100.0);
    assert!(scrape.value("oneclick_verifier_calls_per_second_limit", &[]) >= 2.0);
}

/// A login that is sent again at once, with the same token, as long as that is unspent and it was told nothing else.
async fn insist(program: &Program, token: &str) -> Answer {
    for _ in 0..20 {
        let answer = program.log_in(token).await;
        if answer.header("x-access-token-state") != Some("unspent") {
            return answer;
        }
    }
    program.log_in(token).await
}

/// R40. Clients that try again at once, and more of them than it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_throttles_gets_at_most_twice_what_it_takes_and_all_that_it_takes() {
    const SECONDS: u32 = 5;
    let peer = GetMobile::start().await;
    let program = Arc::new(peer.verifies_for(Setup::new()).start().await);
    let mut ticks = interval(Duration::from_secs(1) / (QUOTA_PER_SECOND * 3 / 2));
    let mut logins = JoinSet::new();
    for n in 0..QUOTA_PER_SECOND * 3 / 2 * SECONDS {
        ticks.tick().await;
        let program = Arc::clone(&program);
        logins.spawn(async move { insist(&program, &format!("quota-1390000{n:04}-once")).await.status == 200 });
    }
    let opened = logins.join_all().await.into_iter().filter(|opened| *opened).count();
    let (sent, whole) = (peer.ledger().len(), (QUOTA_PER_SECOND * SECONDS) as usize);
    // The runs of both begin and end within a second.
    let (most, least) = ((whole + QUOTA_PER_SECOND as usize) * 2, whole * 3 / 4);
    assert!(sent <= most && opened >= least, "{sent} calls, {opened} logins, of {whole}");
    peer.assert_well_signed();
}
