//! Logins of one application and with one device fingerprint, and where in the order of checks the limits stand.

use std::time::Duration;

use super::{Peer, assert_over_limit};
use crate::support::app::{SEED_TOKEN, TestApp, login};

const SIX_OF_AN_APP: [(&str, &str); 2] =
    [("ONECLICK_LIMITS__LOGINS_PER_APP_PER_MINUTE", "6"), ("ONECLICK_LIMITS__APP_BURST", "2")];
const TWO_WITH_A_DEVICE: [(&str, &str); 1] = [("ONECLICK_LIMITS__LOGINS_PER_DEVICE_PER_MINUTE", "2")];

#[tokio::test]
async fn an_app_over_its_limit_is_told_when_to_come_again_and_its_token_works_then() {
    let peer = Peer::start().await;
    let app = peer.app(&SIX_OF_AN_APP).await;
    for token in ["first", "second"] {
        assert_eq!(app.log_in(token).await.status, 200);
    }
    for _ in 0..20 {
        assert_over_limit(&app.log_in("third").await, "10");
    }
    app.clock.advance(Duration::from_millis(4_500));
    assert_over_limit(&app.log_in("third").await, "6");
    app.clock.advance(Duration::from_millis(5_500));
    assert_eq!(app.log_in("third").await.status, 200);
    assert_over_limit(&app.log_in("fourth").await, "10");
    assert_eq!(peer.ledger().await, ["first", "second", "third"], "what is refused never reaches the verifier");
}

#[tokio::test]
async fn the_refusal_speaks_the_callers_language() {
    let app = TestApp::with(&TWO_WITH_A_DEVICE).await;
    for _ in 0..2 {
        app.log_in(SEED_TOKEN).await;
    }
    let refused = app.send(login(SEED_TOKEN).and("X-L", "zh-CN").build()).await;
    refused.assert_error(429, "IDAAS.SDK.COM.0429", "请求过于频繁,请稍后再试");
}

#[tokio::test]
async fn each_app_has_a_limit_of_its_own() {
    let app = TestApp::start().await;
    app.register_sdk_app("other", None).await;
    let app = TestApp::over(app.store.clone(), &SIX_OF_AN_APP).await;
    for _ in 0..2 {
        assert_eq!(app.log_in(SEED_TOKEN).await.status, 200);
    }
    assert_over_limit(&app.log_in(SEED_TOKEN).await, "10");
    assert_eq!(app.send(login(SEED_TOKEN).with("X-client-id", "other").build()).await.status, 200);
}

#[tokio::test]
async fn a_device_cannot_dodge_its_limit_by_anything_but_another_fingerprint() {
    let app = TestApp::with(&TWO_WITH_A_DEVICE).await;
    for _ in 0..2 {
        assert_eq!(app.log_in(SEED_TOKEN).await.status, 200);
    }
    let fingerprint = "156aysdna213sc50";
    for dodge in [
        login(SEED_TOKEN),
        login("sandbox:13900001234"),
        login(SEED_TOKEN).without("X-device-fingerprint").and("x-DEVICE-fingerprint", fingerprint),
        login(SEED_TOKEN).with("X-operating-sys-version", "another").with("X-agent", "another"),
        login(SEED_TOKEN).with("X-device-ip", "198.51.100.1").and("X-Forwarded-For", "198.51.100.2"),
        login(SEED_TOKEN).and("X-Request-Id", "another"),
    ] {
        assert_over_limit(&app.send(dodge.build()).await, "30");
    }
    assert_eq!(app.send(login(SEED_TOKEN).with("X-device-fingerprint", "another").build()).await.status, 200);
}

#[tokio::test]
async fn only_requests_that_passed_every_check_are_counted() {
    let app = TestApp::with(&TWO_WITH_A_DEVICE).await;
    for bad in [
        login(SEED_TOKEN).without("X-agent"),
        login(SEED_TOKEN).with("X-client-id", "nobody"),
        login(SEED_TOKEN).with("Content-Type", "text/plain"),
        login(SEED_TOKEN).body("{}"),
    ] {
        assert_eq!(app.send(bad.build()).await.status, 400);
    }
    for _ in 0..2 {
        assert_eq!(app.log_in(SEED_TOKEN).await.status, 200);
    }
    assert_eq!(app.send(login(SEED_TOKEN).body("{}").build()).await.status, 400, "the form is judged first");
    assert_over_limit(&app.log_in(SEED_TOKEN).await, "30");
}

#[tokio::test]
async fn a_limit_is_looked_at_before_the_store() {
    let app = TestApp::with(&TWO_WITH_A_DEVICE).await;
    app.store.close().await;
    for n in 0..2 {
        let answer = app.log_in(&format!("sandbox:13900001234:{n}")).await;
        assert_eq!(answer.error_code(), "IDAAS.SDK.COM.0002");
    }
    assert_over_limit(&app.log_in("sandbox:13900001234:2").await, "30");
}

#[tokio::test]
async fn a_refused_login_leaves_no_trace_in_the_store() {
    let app = TestApp::with(&[("ONECLICK_LIMITS__LOGINS_PER_DEVICE_PER_MINUTE", "1")]).await;
    app.log_in("sandbox:13900001234:a").await;
    assert_over_limit(&app.log_in("sandbox:13900001234:b").await, "60");
    app.clock.advance(Duration::from_secs(60));
    assert_eq!(app.log_in("sandbox:13900001234:b").await.status, 200, "the same token, unspent indeed");
}
