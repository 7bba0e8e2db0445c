//! The budget of billed calls through the real router. What counts is the peer's ledger: exactly so many calls reach the
//! verifier as the budget has, and what is refused never does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use oneclick_login::store::postgres::{Config, PostgresStore};
use tokio::sync::Barrier;

use super::{Peer, assert_over_limit, beside};
use crate::support::app::{Answer, TestApp, login};
use crate::support::postgres::database;

/// The tests' clock stands at 14:13:20.
const REST_OF_THE_MINUTE: &str = "40";
const AN_HOUR: &str = "3600";

fn per_minute(calls: &str) -> [(&str, &str); 1] {
    [("ONECLICK_LIMITS__VERIFIER_CALLS_PER_MINUTE", calls)]
}

fn per_day(calls: &str) -> [(&str, &str); 1] {
    [("ONECLICK_LIMITS__VERIFIER_CALLS_PER_DAY", calls)]
}

#[tokio::test]
async fn a_minutes_budget_ends_with_its_last_call_and_begins_anew_with_the_minute() {
    let peer = Peer::start().await;
    let app = peer.app(&per_minute("3")).await;
    for token in ["a", "b", "c"] {
        assert_eq!(app.log_in(token).await.status, 200);
    }
    for _ in 0..10 {
        assert_over_limit(&app.log_in("d").await, REST_OF_THE_MINUTE);
    }
    assert_eq!(peer.ledger().await, ["a", "b", "c"]);
    app.clock.advance(Duration::from_secs(40));
    for token in ["d", "e", "f"] {
        assert_eq!(app.log_in(token).await.status, 200, "{token}, unspent until now");
    }
    assert_over_limit(&app.log_in("g").await, "60");
    assert_eq!(peer.ledger().await.len(), 6);
}

#[tokio::test]
async fn a_days_budget_ends_with_its_last_call_and_begins_anew_with_the_day() {
    let peer = Peer::start().await;
    let app = peer.app(&per_day("3")).await;
    for token in ["a", "b", "c"] {
        assert_eq!(app.log_in(token).await.status, 200);
    }
    for _ in 0..10 {
        assert_over_limit(&app.log_in("d").await, AN_HOUR);
    }
    app.clock.advance(Duration::from_secs(35_200 - 90));
    assert_over_limit(&app.log_in("d").await, "90");
    assert_eq!(peer.ledger().await, ["a", "b", "c"]);
    app.clock.advance(Duration::from_secs(90));
    assert_eq!(app.log_in("d").await.status, 200);
}

#[tokio::test]
async fn a_restart_does_not_begin_the_day_anew() {
    let peer = Peer::start().await;
    let app = peer.app(&per_day("2")).await;
    assert_eq!(app.log_in("a").await.status, 200);
    let restarted = TestApp::over(app.store.clone(), &beside(&peer.variables(), &per_day("2"))).await;
    assert_eq!(restarted.log_in("b").await.status, 200);
    assert_over_limit(&restarted.log_in("c").await, AN_HOUR);
    assert_over_limit(&app.log_in("d").await, AN_HOUR);
}

#[tokio::test]
async fn only_what_may_be_billed_is_counted() {
    let peer = Peer::start().await;
    for budget in [per_minute("2"), per_day("2")] {
        let app = peer.app(&budget).await;
        for free in ["rejected", "ambiguous", "misconfigured", "busy"] {
            for n in 0..3 {
                assert_ne!(app.log_in(&format!("{free}-{n}")).await.status, 429, "{free}");
            }
        }
        for billed in ["garbage", "masked"] {
            // After a refusal for too many calls, two a second go out.
            tokio::time::sleep(std::time::Duration::from_millis(600)).await;
            assert_eq!(app.log_in(billed).await.status, 500, "{billed}");
        }
        assert_eq!(app.log_in("one too many").await.status, 400, "a space is no token");
        assert_eq!(app.log_in("one-too-many").await.status, 429);
    }
    assert!(!peer.ledger().await.contains(&"one-too-many".to_owned()));
}

#[tokio::test]
async fn what_the_day_refuses_is_not_counted_in_the_minute() {
    let peer = Peer::start().await;
    let both = [per_minute("2"), per_day("1")].concat();
    let app = peer.app(&both).await;
    assert_eq!(app.log_in("a").await.status, 200);
    for _ in 0..5 {
        assert_over_limit(&app.log_in("b").await, AN_HOUR);
    }
}

#[tokio::test]
async fn equal_logins_in_flight_take_one_call() {
    let app = TestApp::with(&per_day("1")).await;
    let twins = send_at_once(&[&app], 50, |_| "sandbox:slow:200:13900001234".to_owned()).await;
    assert_eq!(tally(&twins), BTreeMap::from([(200, 50)]));
}

/// ASVS 2.3.4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_under_load_call_exactly_as_often_as_the_day_allows() {
    const LOGINS: usize = 400;
    let peer = Peer::start().await;
    for (round, limit) in [10, 137, 399].into_iter().enumerate() {
        let database = database().await;
        let called_before = peer.ledger().await.len();
        let text = limit.to_string();
        let mut replicas = Vec::new();
        for _ in 0..2 {
            let config = Config { statement_timeout: Duration::from_secs(10), ..database.config() };
            let store = Arc::new(PostgresStore::connect(&config).unwrap());
            let patient = [
                ("ONECLICK_LIMITS__VERIFIER_CALLS_PER_DAY", text.as_str()),
                ("ONECLICK_SERVER__REQUEST_TIMEOUT_MS", "120000"),
                ("ONECLICK_VERIFIER__ALIYUN__TIMEOUT_MS", "60000"),
                ("ONECLICK_DATABASE__PHASE_TIMEOUT_MS", "30000"),
            ];
            replicas.push(TestApp::over(store, &beside(&peer.variables(), &patient)).await);
        }
        let [one, other] = &replicas[..] else { panic!("two") };
        let answers = send_at_once(&[one, other], LOGINS, |n| format!("{round}-{n}")).await;
        let expected = BTreeMap::from([(200, limit), (429, LOGINS - limit)]);
        assert_eq!(tally(&answers), expected);
        assert_eq!(peer.ledger().await.len() - called_before, limit);
    }
}

#[tokio::test]
async fn where_the_budget_cannot_be_asked_nothing_is_called_and_the_token_is_unspent() {
    let peer = Peer::start().await;
    let database = database().await;
    let app = TestApp::over(Arc::new(database.store()), &beside(&peer.variables(), &per_day("10"))).await;
    let rename = |from, to| sqlx::AssertSqlSafe(format!("alter table {from} rename to {to}"));
    let mut connection = database.connection().await;
    sqlx::query(rename("verifier_budget", "gone")).execute(&mut connection).await.unwrap();
    let answer = app.log_in("a").await;
    answer.assert_error(500, "IDAAS.SDK.COM.0002", "System busy, please try again later");
    assert_eq!(answer.header("x-access-token-state"), Some("unspent"));
    assert!(answer.header("retry-after").is_some());
    assert!(peer.ledger().await.is_empty());
    sqlx::query(rename("gone", "verifier_budget")).execute(&mut connection).await.unwrap();
    assert_eq!(app.log_in("a").await.status, 200);
}

#[tokio::test]
async fn without_a_budget_nothing_is_reserved() {
    let app = TestApp::start().await;
    for n in 0..200 {
        assert_eq!(app.log_in(&format!("sandbox:13900001234:{n}")).await.status, 200);
    }
    let reservation = app.store.reserve_calls(app.clock.now().date(), 1, 10).await.unwrap();
    assert_eq!((reservation.granted, reservation.left), (1, 9));
}

/// So many logins at the same moment, by turns to each of the replicas.
async fn send_at_once(replicas: &[&TestApp], logins: usize, token: impl Fn(usize) -> String) -> Vec<Answer> {
    let start = Arc::new(Barrier::new(logins));
    let calls: Vec<_> = (0..logins)
        .map(|n| {
            let (router, request) = (replicas[n % replicas.len()].router.clone(), login(&token(n)).build());
            let start = Arc::clone(&start);
            tokio::spawn(async move {
                start.wait().await;
                Answer::read(tower::ServiceExt::oneshot(router, request).await.unwrap()).await
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(logins);
    for call in calls {
        answers.push(call.await.unwrap());
    }
    // A peer blocks its thread while it is dropped. A task that has done all that tokio lets it do in one go would then wait
    // for its next turn for ever.
    tokio::task::yield_now().await;
    answers
}

fn tally(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut tally = BTreeMap::new();
    for answer in answers {
        *tally.entry(answer.status.as_u16()).or_default() += 1;
    }
    tally
}
