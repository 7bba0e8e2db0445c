//! Ten thousand uses at once of one secret, over two replicas on one Postgres: whatever happens to the single request,
//! what may exist once exists once.
//!
//! So many at once are more than the database connections serve in time; those that are turned away get COM.0002, which
//! is as it should be. What counts is what the others get.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use sqlx::Row;
use tokio::sync::Barrier;

use crate::support::app::{Answer, Call, TestApp, login, tenant_call, with_session};
use crate::support::postgres::{self, TestDatabase};

const USES: usize = 10_000;

struct Replicas {
    apps: [TestApp; 2],
    database: TestDatabase,
}

impl Replicas {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let database = postgres::database().await;
        let one = TestApp::over(Arc::new(database.store()), variables).await;
        let other = TestApp::over(Arc::new(database.store()), variables).await;
        Self { apps: [one, other], database }
    }

    /// Sends `USES` requests at once, every other one to the other replica.
    async fn use_at_once(&self, request: impl Fn(usize) -> Request<Body>) -> Vec<Answer> {
        let start = Arc::new(Barrier::new(USES));
        let uses: Vec<_> = (0..USES)
            .map(|n| {
                let (router, request, start) = (self.apps[n % 2].router.clone(), request(n), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    Answer::read(tower::ServiceExt::oneshot(router, request).await.unwrap()).await
                })
            })
            .collect();
        let mut answers = Vec::with_capacity(USES);
        for used in uses {
            answers.push(used.await.unwrap());
        }
        answers
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query(query).fetch_one(&mut self.database.connection().await).await.unwrap().get(0)
    }
}

/// How often each code was answered; 200 counts as "200".
fn tally(answers: &[Answer]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for answer in answers {
        let code = if answer.status == 200 { "200".to_owned() } else { answer.error_code() };
        *tally.entry(code).or_default() += 1;
    }
    tally
}

fn session_tokens(answers: &[Answer]) -> HashSet<String> {
    answers.iter().filter(|answer| answer.status == 200).map(|answer| answer.text("session_token")).collect()
}

fn only_these(tally: &BTreeMap<String, usize>, allowed: &[&str]) {
    assert!(tally.keys().all(|code| allowed.contains(&code.as_str())), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_access_token_from_one_device_opens_one_session_and_all_its_answers_are_that_session() {
    let replicas = Replicas::start(&[]).await;
    let answers = replicas.use_at_once(|_| login("sandbox:13900001234:race").build()).await;
    let tally = tally(&answers);
    only_these(&tally, &["200", "IDAAS.SDK.COM.0002"]);
    assert!(tally["200"] > USES / 2, "{tally:?}");
    assert_eq!(session_tokens(&answers).len(), 1, "{tally:?}");
    assert_eq!(replicas.count("select count(*) from sessions").await, 1);
    assert_eq!(replicas.count("select count(*) from users").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_access_token_from_ten_thousand_devices_opens_one_session_for_one_of_them() {
    let replicas = Replicas::start(&[]).await;
    let device = |n: usize| format!("device-{n}");
    let answers = replicas
        .use_at_once(|n| login("sandbox:13900001234:race").with("X-device-fingerprint", device(n)).build())
        .await;
    let tally = tally(&answers);
    only_these(&tally, &["200", "IDAAS.SDK.LOGIN.1001", "IDAAS.SDK.COM.0002"]);
    assert!(tally.get("200").copied().unwrap_or(0) <= 1, "{tally:?}");
    assert!(replicas.count("select count(*) from sessions").await <= 1, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_session_token_rotates_to_one_successor() {
    let rotating = [("ONECLICK_SESSION__ROTATE_ON_REFRESH", "true")];
    let replicas = Replicas::start(&rotating).await;
    let token = replicas.apps[0].log_in("sandbox:13900001234:race").await.text("session_token");
    let refresh = "/api/v2/sdk/sso/session-token/id-token";
    let answers = replicas.use_at_once(|_| with_session(refresh, &token).build()).await;
    let tally = tally(&answers);
    only_these(&tally, &["200", "IDAAS.SDK.COM.0002"]);
    let successors = session_tokens(&answers);
    assert_eq!(successors.len(), 1, "{tally:?}");
    assert!(!successors.contains(&token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_ticket_is_redeemed_exactly_once() {
    let replicas = Replicas::start(&[]).await;
    let app = &replicas.apps[0];
    let bearer = crate::api::tenants::bearer(app).await;
    let token = app.log_in("sandbox:13900001234:race").await.text("session_token");
    let body = |key: &str, value: &str| json!({ "operating_sys_version": "1", "device_fingerprint": "156aysdna213sc50", key: value });
    let draw = tenant_call("/api/v2/tenant/sso/session-token/sso-ticket", &bearer, &body("session_token", &token));
    let ticket = app.send(draw.build()).await.text("sso_ticket");
    let redeem: Call = tenant_call("/api/v2/tenant/sso/sso-ticket/verify", &bearer, &body("sso_ticket", &ticket));
    let answers = replicas.use_at_once(|_| redeem.clone().build()).await;
    let tally = tally(&answers);
    only_these(&tally, &["200", "IDAAS.TENANT.TICKET.0001", "IDAAS.SDK.COM.0002"]);
    assert_eq!(tally.get("200"), Some(&1), "{tally:?}");
}
