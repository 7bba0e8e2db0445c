//! A login whose answer was lost is answered once more, to the same device of the same app and to nobody else.

use std::collections::HashSet;
use std::time::Duration;

use oneclick_login::ids::UserId;
use oneclick_login::store::UserStatus;
use uuid::Uuid;

use crate::support::app::{Answer, TestApp, login, with_session};

const TOKEN: &str = "sandbox:13900001234:once";
const REJECTED: &str = "IDAAS.SDK.LOGIN.1001";

#[tokio::test]
async fn the_same_device_gets_the_same_session_token_and_a_new_id_token() {
    let app = TestApp::start().await;
    let replica = TestApp::over(app.store.clone(), &[]).await;
    let first = app.log_in(TOKEN).await;
    app.clock.advance(Duration::from_secs(20));
    replica.clock.advance(Duration::from_secs(20));
    for app in [&app, &replica] {
        let again = app.log_in(TOKEN).await;
        assert_eq!(again.status, 200, "{again:?}");
        assert_eq!(again.text("session_token"), first.text("session_token"));
        assert_ne!(again.text("id_token"), first.text("id_token"));
        assert_eq!(again.json()["expire"], 432_000 - 20);
        assert_eq!(again.json()["status"], "SUCCESS");
    }
}

#[tokio::test]
async fn the_window_ends() {
    let app = TestApp::start().await;
    app.log_in(TOKEN).await;
    app.clock.advance(Duration::from_secs(60));
    assert_eq!(app.log_in(TOKEN).await.status, 200);
    app.clock.advance(Duration::from_micros(1));
    let late = app.log_in(TOKEN).await;
    assert_eq!((late.error_code().as_str(), late.header("x-access-token-state")), (REJECTED, Some("spent")));
}

#[tokio::test]
async fn the_window_is_a_setting_and_may_be_shut() {
    let off = TestApp::with(&[("ONECLICK_LOGIN__RETRY_WINDOW_SECONDS", "0")]).await;
    off.log_in(TOKEN).await;
    assert_eq!(off.log_in(TOKEN).await.error_code(), REJECTED);

    let long = TestApp::with(&[("ONECLICK_LOGIN__RETRY_WINDOW_SECONDS", "600")]).await;
    long.log_in(TOKEN).await;
    long.clock.advance(Duration::from_secs(600));
    assert_eq!(long.log_in(TOKEN).await.status, 200);
}

#[tokio::test]
async fn another_device_and_another_app_get_nothing() {
    let app = TestApp::start().await;
    app.register_sdk_app("other", None).await;
    let app = TestApp::over(app.store.clone(), &[]).await;
    app.log_in(TOKEN).await;
    for foreign in [login(TOKEN).with("X-device-fingerprint", "another"), login(TOKEN).with("X-client-id", "other")] {
        assert_eq!(app.send(foreign.build()).await.error_code(), REJECTED);
    }
    assert_eq!(app.log_in(TOKEN).await.status, 200);
}

#[tokio::test]
async fn a_session_that_was_used_or_has_ended_is_not_given_again() {
    let app = TestApp::start().await;
    let token = |n: u8| format!("sandbox:13900001234:{n}");

    let used = app.log_in(&token(1)).await.text("session_token");
    app.send(with_session("/api/v2/sdk/sso/session-token/id-token", &used).build()).await;
    assert_eq!(app.log_in(&token(1)).await.error_code(), REJECTED);

    let ended = app.log_in(&token(2)).await.text("session_token");
    app.send(with_session("/api/v2/sdk/logout", &ended).build()).await;
    assert_eq!(app.log_in(&token(2)).await.error_code(), REJECTED);

    let login = app.log_in(&token(3)).await;
    let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(login.text("id_token")).unwrap().claims;
    let user = UserId(Uuid::parse_str(claims["sub"].as_str().unwrap()).unwrap());
    app.store.set_user_status(user, UserStatus::Disabled, app.clock.now()).await.unwrap();
    assert_eq!(app.log_in(&token(3)).await.error_code(), REJECTED);
}

#[tokio::test]
async fn twins_in_flight_share_one_session() {
    let app = TestApp::start().await;
    let replica = TestApp::over(app.store.clone(), &[]).await;
    let calls = (0..100).map(|n| {
        let router = if n % 2 == 0 { app.router.clone() } else { replica.router.clone() };
        let request = login("sandbox:slow:50:13900001234:twin").build();
        tokio::spawn(async move { Answer::read(tower::ServiceExt::oneshot(router, request).await.unwrap()).await })
    });
    let mut tokens = HashSet::new();
    let mut id_tokens = HashSet::new();
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        tokens.insert(answer.text("session_token"));
        id_tokens.insert(answer.text("id_token"));
    }
    assert_eq!((tokens.len(), id_tokens.len()), (1, 100));
}

/// Whatever the window for lost answers is: the token is presented once.
/// ASVS 2.3.2.
#[tokio::test]
async fn a_token_in_flight_is_not_presented_again_by_another_device_or_app() {
    for window in ["60", "0"] {
        let app = TestApp::start().await;
        app.register_sdk_app("other", None).await;
        let app = TestApp::over(app.store.clone(), &[("ONECLICK_LOGIN__RETRY_WINDOW_SECONDS", window)]).await;
        let token = "sandbox:slow:500:13900001234:several";
        let calls = [("X-device-fingerprint", "a"), ("X-device-fingerprint", "b"), ("X-client-id", "other")];
        let calls = calls.map(|(name, value)| {
            let (router, request) = (app.router.clone(), login(token).with(name, value).build());
            tokio::spawn(async move { Answer::read(tower::ServiceExt::oneshot(router, request).await.unwrap()).await })
        });
        let mut refused = Vec::new();
        for call in calls {
            let answer = call.await.unwrap();
            if answer.status != 200 {
                refused.push((answer.error_code(), answer.header("x-access-token-state").map(str::to_owned)));
            }
        }
        assert_eq!(refused, vec![(REJECTED.to_owned(), Some("spent".to_owned())); 2], "window {window}");
        let scrape = app.scrape().await;
        let calls = scrape.samples().filter(|sample| sample.name == "oneclick_verifier_calls_total");
        assert_eq!(calls.map(|sample| sample.value).sum::<f64>(), 1.0, "window {window}");
    }
}
