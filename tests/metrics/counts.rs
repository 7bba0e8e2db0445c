//! Real requests to the real router, and exactly what they count.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use oneclick_login::http::{JWKS_PATH, LOGIN_PATH};

use crate::support::app::{DEMO_CLIENT_ID, SEED_TOKEN, TestApp, login, with_session};
use crate::support::scrape::Scrape;

const REFRESH: &str = "/api/v2/sdk/sso/session-token/id-token";
const LOGOUT: &str = "/api/v2/sdk/logout";

fn logins(scrape: &Scrape, client_id: &str, code: &str) -> Option<f64> {
    scrape.find("oneclick_logins_total", &[("client_id", client_id), ("code", code)])
}

#[tokio::test]
async fn every_login_counts_once_by_app_and_outcome() {
    let app = TestApp::start().await;
    for token in [SEED_TOKEN, SEED_TOKEN, "sandbox:13900000001", "sandbox:13900000002", "sandbox:13900000002:again"] {
        assert_eq!(app.log_in(token).await.status, 200);
    }
    app.log_in("sandbox:invalid").await.error_code();
    app.log_in("sandbox:busy").await.error_code();
    app.send(login(SEED_TOKEN).without("X-agent").build()).await.error_code();
    app.send(login(SEED_TOKEN).with("X-client-id", "nobody").build()).await.error_code();
    app.send(login(SEED_TOKEN).without("X-client-id").build()).await.error_code();
    app.send(login(SEED_TOKEN).method(Method::GET).build()).await.error_code();

    let scrape = app.scrape().await;
    for (client_id, code, expected) in [
        (DEMO_CLIENT_ID, "SUCCESS", 5.0),
        (DEMO_CLIENT_ID, "IDAAS.SDK.LOGIN.1001", 1.0),
        (DEMO_CLIENT_ID, "IDAAS.SDK.COM.0002", 1.0),
        (DEMO_CLIENT_ID, "IDAAS.SDK.PARAM.0001", 1.0),
        ("unknown", "IDAAS.SDK.PARAM.0003", 1.0),
        ("unknown", "IDAAS.SDK.PARAM.0002", 1.0),
    ] {
        assert_eq!(logins(&scrape, client_id, code), Some(expected), "{client_id} {code}");
    }
    let all = scrape.samples().filter(|sample| sample.name == "oneclick_logins_total");
    assert_eq!(all.map(|sample| sample.value).sum::<f64>(), 10.0, "a GET is no login");

    assert_eq!(scrape.value("oneclick_users_registered_total", &[("client_id", DEMO_CLIENT_ID)]), 3.0);
    assert_eq!(scrape.value("oneclick_sessions_opened_total", &[]), 5.0);
    assert_eq!(scrape.value("oneclick_commits_total", &[("outcome", "ok")]), 5.0);
    assert_eq!(scrape.value("oneclick_commit_batch_size_sum", &[]), 5.0);
    assert_eq!(scrape.value("oneclick_commit_duration_seconds_count", &[]), 5.0);
    for (outcome, expected) in [("ok", 5.0), ("token_rejected", 1.0), ("busy", 1.0), ("ambiguous", 0.0)] {
        assert_eq!(scrape.value("oneclick_verifier_calls_total", &[("outcome", outcome)]), expected, "{outcome}");
    }
    assert_eq!(scrape.value("oneclick_verifier_billed_calls_total", &[]), 5.0);
    assert_eq!(scrape.value("oneclick_verifier_call_duration_seconds_count", &[]), 7.0);
    assert_eq!(scrape.value("oneclick_verifier_in_flight", &[]), 0.0);
    assert_eq!(scrape.value("oneclick_session_writer_queue", &[]), 0.0);
}

#[tokio::test]
async fn requests_count_by_method_route_and_status() {
    let app = TestApp::start().await;
    app.log_in(SEED_TOKEN).await;
    app.send(login(SEED_TOKEN).method(Method::PATCH).build()).await;
    app.get(JWKS_PATH).await;
    app.get("/.well-known/jwks.json").await;
    app.send(Request::post(JWKS_PATH).body(Body::empty()).unwrap()).await;
    app.get("/no/such/path?of=mine").await;

    let scrape = app.scrape().await;
    for (method, route, status) in [
        ("POST", LOGIN_PATH, "200"),
        ("OTHER", LOGIN_PATH, "405"),
        ("GET", JWKS_PATH, "200"),
        ("OTHER", JWKS_PATH, "405"),
        ("GET", "/.well-known/jwks.json", "200"),
        ("GET", "none", "404"),
    ] {
        let labels = [("method", method), ("route", route), ("status", status)];
        assert_eq!(scrape.value("oneclick_http_requests_total", &labels), 1.0);
    }
    let timed = |route| scrape.value("oneclick_http_request_duration_seconds_count", &[("route", route)]);
    assert_eq!((timed(LOGIN_PATH), timed("other")), (2.0, 4.0));
    assert_eq!(scrape.value("oneclick_jwks_requests_total", &[]), 2.0);
}

#[tokio::test]
async fn sessions_count_as_they_are_refreshed_revoked_and_answered_again() {
    let app = TestApp::start().await;
    let token = "sandbox:13900001234:once";
    let session_token = app.log_in(token).await.text("session_token");
    assert_eq!(app.log_in(token).await.text("session_token"), session_token);
    for _ in 0..3 {
        assert_eq!(app.send(with_session(REFRESH, &session_token).build()).await.status, 200);
    }
    for _ in 0..2 {
        assert_eq!(app.send(with_session(LOGOUT, &session_token).build()).await.status, 200);
    }
    assert_ne!(app.send(with_session(REFRESH, &session_token).build()).await.status, 200);

    let scrape = app.scrape().await;
    assert_eq!(scrape.value("oneclick_answers_repeated_total", &[]), 1.0);
    assert_eq!(logins(&scrape, DEMO_CLIENT_ID, "SUCCESS"), Some(2.0));
    assert_eq!(scrape.value("oneclick_sessions_opened_total", &[]), 1.0);
    assert_eq!(scrape.value("oneclick_sessions_refreshed_total", &[]), 3.0);
    assert_eq!(scrape.value("oneclick_sessions_revoked_total", &[]), 1.0, "the second log-out ended nothing");
}

#[tokio::test]
async fn what_has_a_value_at_any_moment_is_read_for_the_scrape() {
    let app = TestApp::with(&[("ONECLICK_LOGIN__MAX_IN_FLIGHT", "777")]).await;
    app.clock.advance(Duration::from_secs(90));
    let scrape = app.scrape().await;
    assert_eq!(scrape.value("oneclick_signing_key_age_seconds", &[("state", "active")]), 90.0);
    assert_eq!(scrape.value("oneclick_session_writer_queue_limit", &[]), 777.0);
    assert_eq!(scrape.value("oneclick_session_writer_healthy", &[]), 1.0);
    assert_eq!(scrape.value("oneclick_verifier_in_flight_limit", &[]), 777.0);
    assert_eq!(scrape.value("oneclick_database_connections_limit", &[]), 5.0, "four readers and the writer");
    assert!(scrape.value("oneclick_database_connections", &[("state", "idle")]) >= 1.0);
    assert_eq!(scrape.value("oneclick_ready", &[]), 0.0);
    assert_eq!(scrape.value("oneclick_not_ready", &[("reason", "starting")]), 1.0, "nothing runs in the background");
    assert_eq!(scrape.value("oneclick_not_ready", &[("reason", "draining")]), 0.0);
    assert_eq!(scrape.value("oneclick_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert_eq!(scrape.value("process_start_time_seconds", &[]), 1_790_000_000.0);
}

#[tokio::test]
async fn a_login_over_a_limit_counts_by_the_limit_and_is_no_call_of_the_verifier() {
    let limits =
        [("ONECLICK_LIMITS__LOGINS_PER_DEVICE_PER_MINUTE", "3"), ("ONECLICK_LIMITS__VERIFIER_CALLS_PER_DAY", "2")];
    let app = TestApp::with(&limits).await;
    for n in 0..8 {
        app.log_in(&format!("sandbox:13900001234:{n}")).await;
    }
    let scrape = app.scrape().await;
    for (limit, refused) in
        [("app", 0.0), ("address", 0.0), ("device", 5.0), ("verifier_minute", 0.0), ("verifier_day", 1.0)]
    {
        assert_eq!(scrape.value("oneclick_logins_over_limit_total", &[("limit", limit)]), refused, "{limit}");
    }
    assert_eq!(logins(&scrape, DEMO_CLIENT_ID, "IDAAS.SDK.COM.0429"), Some(6.0));
    assert_eq!(scrape.value("oneclick_verifier_calls_total", &[("outcome", "ok")]), 2.0);
    assert_eq!(scrape.value("oneclick_verifier_budget_left", &[]), 0.0);
    assert_eq!(scrape.value("oneclick_limit_buckets_forgotten_total", &[]), 0.0);
}
