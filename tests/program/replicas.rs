//! Two replicas on one Postgres: what must hold between processes that share nothing but the database.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::rows::{Rows, subject};
use crate::support::app::Answer;
use crate::support::get_mobile::GetMobile;
use crate::support::postgres::{self, TestDatabase};
use crate::support::program::{Program, Setup};

async fn two(setup: &Setup) -> [Arc<Program>; 2] {
    // One after the other would be a different test: at the first start both make keys.
    let (one, other) = tokio::join!(setup.start(), setup.start());
    [Arc::new(one), Arc::new(other)]
}

/// Every token at both replicas at once; the answers by token.
async fn everywhere_at_once(replicas: &[Arc<Program>; 2], tokens: &[String]) -> Vec<(String, Vec<Answer>)> {
    let mut rounds = JoinSet::new();
    for token in tokens.iter().cloned() {
        let [one, other] = replicas.clone();
        rounds.spawn(async move {
            let (a, b, c) = tokio::join!(one.log_in(&token), other.log_in(&token), one.log_in(&token));
            (token, vec![a, b, c])
        });
    }
    rounds.join_all().await
}

fn sessions(database: &TestDatabase) -> Rows {
    Rows::Postgres(database.url())
}

#[tokio::test]
async fn one_token_at_both_replicas_at_once_logs_in_once() {
    let database = postgres::database().await;
    let peer = GetMobile::start().await;
    let replicas = two(&peer.verifies_for(Setup::on(database.url()).patient())).await;
    let tokens: Vec<String> = (0..50).map(|n| format!("ok-139000000{n:02}-everywhere+/=")).collect();
    for (token, answers) in everywhere_at_once(&replicas, &tokens).await {
        let logged_in = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(logged_in, 1, "{token}: {answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!((answer.status.as_u16(), answer.error_code().as_str()), (400, "IDAAS.SDK.LOGIN.1001"));
        }
        assert_eq!(sessions(&database).sessions_of_token(&token).await, 1);
    }
}

#[tokio::test]
async fn a_verifier_that_accepts_a_token_twice_still_opens_one_session() {
    let database = postgres::database().await;
    let peer = GetMobile::start().await;
    let replicas = two(&peer.verifies_for(Setup::on(database.url()).patient())).await;
    let tokens: Vec<String> = (0..50).map(|n| format!("sloppy-139000000{:02}-{n}", n % 7)).collect();
    for (token, answers) in everywhere_at_once(&replicas, &tokens).await {
        let logged_in = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(logged_in, 1, "{token}: {answers:?}");
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            assert_eq!((answer.status.as_u16(), answer.error_code().as_str()), (400, "IDAAS.SDK.LOGIN.1001"));
            assert_eq!(answer.header("x-access-token-state"), Some("spent"));
        }
        assert_eq!(sessions(&database).sessions_of_token(&token).await, 1);
    }
    assert_eq!(sessions(&database).users().await, 7);
    assert_eq!(peer.ledger().len(), 150, "each request asked the verifier, none was repeated");
}

#[tokio::test]
async fn a_thousand_first_logins_of_one_number_at_once_are_one_user_and_a_thousand_answers() {
    let database = postgres::database().await;
    let replicas = two(&Setup::on(database.url()).patient()).await;
    let mut logins = JoinSet::new();
    for n in 0..1000 {
        let replica = Arc::clone(&replicas[n % 2]);
        logins.spawn(async move { replica.log_in(&format!("sandbox:13700000001:{n}")).await });
    }
    let answers = logins.join_all().await;
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!(refused.is_empty(), "{} refused, the first: {:?}", refused.len(), refused[0]);
    let subjects: HashSet<_> = answers.iter().map(subject).collect();
    let tokens: HashSet<_> = answers.iter().map(|answer| answer.text("session_token")).collect();
    assert_eq!((answers.len(), subjects.len(), tokens.len()), (1000, 1, 1000));
    assert_eq!(sessions(&database).users().await, 1);
    let user = subjects.into_iter().next();
    assert!(sessions(&database).users_of_sessions(&answers).await.into_iter().all(|found| found == user));
}

#[tokio::test]
async fn both_publish_the_same_keys_and_see_each_others_users() {
    let database = postgres::database().await;
    let replicas = two(&Setup::on(database.url()).patient()).await;
    let keys = [replicas[0].get("/api/v1/oauth2/keys").await, replicas[1].get("/api/v1/oauth2/keys").await];
    assert_eq!((&keys[0].body, keys[0].header("etag")), (&keys[1].body, keys[1].header("etag")));
    let one = replicas[0].log_in("sandbox:13900000001:1").await;
    let other = replicas[1].log_in("sandbox:13900000001:2").await;
    assert_eq!(subject(&one), subject(&other));
    // A sandbox forgets; the database does not.
    let again = replicas[1].log_in("sandbox:13900000001:1").await;
    assert_eq!(again.error_code(), "IDAAS.SDK.LOGIN.1001");
}
