//! Refresh and log-out: the device, the app, rotation and its grace, limits, and what ends a session.

use std::collections::HashSet;
use std::time::Duration;

use axum::http::Method;
use oneclick_login::ids::{ClientId, SessionId, UserId};
use oneclick_login::store::UserStatus;
use uuid::Uuid;

use crate::support::app::{Answer, Call, SEED_TOKEN, TestApp, with_session};

const REFRESH: &str = "/api/v2/sdk/sso/session-token/id-token";
const LOGOUT: &str = "/api/v2/sdk/logout";
const INVALID: &str = "IDAAS.SDK.PARAM.0023";

async fn session_token(app: &TestApp) -> String {
    app.log_in(SEED_TOKEN).await.text("session_token")
}

async fn refresh(app: &TestApp, token: &str) -> Answer {
    app.send(with_session(REFRESH, token).build()).await
}

fn claim(answer: &Answer, name: &str) -> String {
    let token = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(answer.text("id_token")).unwrap();
    token.claims[name].as_str().unwrap().to_owned()
}

fn user_id(answer: &Answer) -> UserId {
    UserId(Uuid::parse_str(&claim(answer, "sub")).unwrap())
}

fn rotating(grace: &'static str) -> [(&'static str, &'static str); 2] {
    [("ONECLICK_SESSION__ROTATE_ON_REFRESH", "true"), ("ONECLICK_SESSION__ROTATION_GRACE_SECONDS", grace)]
}

async fn assert_dead(app: &TestApp, token: &str) {
    refresh(app, token).await.assert_error(400, INVALID, "Invalid or expired session token");
}

#[tokio::test]
async fn a_session_token_gives_a_new_id_token_of_the_same_session() {
    let app = TestApp::start().await;
    let login = app.log_in(SEED_TOKEN).await;
    app.clock.advance(Duration::from_secs(100));
    let answer = refresh(&app, &login.text("session_token")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let keys: HashSet<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, HashSet::from(["session_token", "expire", "id_token"]));
    assert_eq!(answer.text("session_token"), login.text("session_token"));
    assert_eq!(json["expire"], 432_000 - 100);
    assert_eq!((claim(&answer, "sub"), claim(&answer, "sid")), (claim(&login, "sub"), claim(&login, "sid")));
    assert_ne!(claim(&answer, "jti"), claim(&login, "jti"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn the_token_may_come_under_either_name_but_once() {
    let app = TestApp::start().await;
    let token = session_token(&app).await;
    let other_name = || with_session(REFRESH, &token).without("session-token").and("X-session-token", &token);
    assert_eq!(app.send(other_name().build()).await.status, 200);
    for twice in [with_session(REFRESH, &token).and("session-token", &token), other_name().and("session-token", &token)]
    {
        let message = "The session-token parameter format is incorrect";
        app.send(twice.build()).await.assert_error(400, "IDAAS.SDK.COMMON.1002", message);
    }
    for blank in ["", "  "] {
        let message = "Parameter session-token cannot be left blank";
        refresh(&app, blank).await.assert_error(400, "IDAAS.SDK.COMMON.1001", message);
    }
}

#[tokio::test]
async fn the_device_block_is_checked_before_the_token() {
    let app = TestApp::start().await;
    let call = || with_session(REFRESH, "nonsense");
    let code = async |call: Call| app.send(call.build()).await.error_code();
    assert_eq!(code(call().without("X-agent")).await, "IDAAS.SDK.PARAM.0001");
    assert_eq!(code(call().without("X-client-id")).await, "IDAAS.SDK.PARAM.0002");
    assert_eq!(code(call().with("X-client-id", "nobody")).await, "IDAAS.SDK.PARAM.0003");
    assert_eq!(code(call()).await, INVALID);
    assert_eq!(code(call().method(Method::GET)).await, "IDAAS.SDK.COM.0405");
}

/// ASVS 2.2.3, 7.2.1.
#[tokio::test]
async fn a_session_belongs_to_its_device_and_its_app() {
    let app = TestApp::start().await;
    app.register_sdk_app("other", None).await;
    let replica = TestApp::over(app.store.clone(), &[]).await;
    let token = session_token(&app).await;
    for path in [REFRESH, LOGOUT] {
        for foreign in [
            with_session(path, &token).with("X-device-fingerprint", "another"),
            with_session(path, &token).with("X-client-id", "other"),
        ] {
            assert_eq!(replica.send(foreign.build()).await.error_code(), INVALID);
        }
    }
    assert_eq!(refresh(&app, &token).await.status, 200, "nothing of that ended it");
}

/// ASVS 7.3.2, 10.4.8.
#[tokio::test]
async fn a_session_ends_on_the_second() {
    let app = TestApp::with(&[("ONECLICK_SESSION__TTL_SECONDS", "3600")]).await;
    let token = session_token(&app).await;
    app.clock.advance(Duration::from_secs(3599));
    assert_eq!(refresh(&app, &token).await.json()["expire"], 1);
    app.clock.advance(Duration::from_secs(1));
    assert_dead(&app, &token).await;
}

/// ASVS 7.4.1.
#[tokio::test]
async fn logging_out_ends_the_session_on_every_replica_and_may_be_repeated() {
    for method in [Method::GET, Method::POST] {
        let app = TestApp::start().await;
        let replica = TestApp::over(app.store.clone(), &[]).await;
        let token = session_token(&app).await;
        for _ in 0..2 {
            let answer = app.send(with_session(LOGOUT, &token).method(method.clone()).build()).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{answer:?}");
        }
        assert_dead(&replica, &token).await;
        let unknown = app.send(with_session(LOGOUT, &"x".repeat(32)).method(method).build()).await;
        assert_eq!(unknown.error_code(), INVALID);
    }
}

/// ASVS 7.4.2.
#[tokio::test]
async fn disabling_ends_sessions_for_good_on_every_replica() {
    let app = TestApp::start().await;
    let replica = TestApp::over(app.store.clone(), &[]).await;
    let login = app.log_in(SEED_TOKEN).await;
    let (token, user) = (login.text("session_token"), user_id(&login));
    app.store.set_user_status(user, UserStatus::Disabled, app.clock.now()).await.unwrap();
    refresh(&replica, &token).await.assert_error(400, "IDAAS.SDK.USER.0039", "User is disabled");
    app.store.set_user_status(user, UserStatus::Active, app.clock.now()).await.unwrap();
    assert_dead(&replica, &token).await;
    assert_eq!(app.log_in(SEED_TOKEN).await.status, 200);
}

#[tokio::test]
async fn an_expired_or_foreign_session_of_a_disabled_user_says_nothing_of_the_user() {
    let app = TestApp::with(&[("ONECLICK_SESSION__TTL_SECONDS", "60")]).await;
    let login = app.log_in(SEED_TOKEN).await;
    let token = login.text("session_token");
    app.store.set_user_status(user_id(&login), UserStatus::Disabled, app.clock.now()).await.unwrap();
    let foreign = with_session(REFRESH, &token).with("X-device-fingerprint", "another");
    assert_eq!(app.send(foreign.build()).await.error_code(), INVALID);
    app.clock.advance(Duration::from_secs(60));
    assert_dead(&app, &token).await;
}

/// ASVS 7.4.5.
#[tokio::test]
async fn an_operator_ends_one_session_or_all_of_a_user_or_of_an_app() {
    let app = TestApp::start().await;
    let now = app.clock.now();
    let first = app.log_in(SEED_TOKEN).await;
    let second = session_token(&app).await;
    let id = SessionId(Uuid::parse_str(&claim(&first, "sid")).unwrap());
    assert!(app.store.revoke_session(id, now).await.unwrap());
    assert_dead(&app, &first.text("session_token")).await;
    assert_eq!(refresh(&app, &second).await.status, 200);

    assert!(app.store.end_sessions_of_user(user_id(&first), now).await.unwrap());
    assert_dead(&app, &second).await;

    let third = session_token(&app).await;
    let client_id = ClientId::parse(crate::support::app::DEMO_CLIENT_ID).unwrap();
    assert_eq!(app.store.revoke_sessions_of_client(&client_id, now, 10).await.unwrap(), 1);
    assert_dead(&app, &third).await;
}

#[tokio::test]
async fn with_rotation_each_refresh_replaces_the_token_and_the_grace_repeats_the_answer() {
    let app = TestApp::with(&rotating("30")).await;
    let first = session_token(&app).await;
    let second = refresh(&app, &first).await.text("session_token");
    assert_ne!(first, second);
    app.clock.advance(Duration::from_secs(30));
    assert_eq!(refresh(&app, &first).await.text("session_token"), second, "within the grace");
    app.clock.advance(Duration::from_micros(1));
    assert_dead(&app, &first).await;

    assert_dead(&app, &second).await;
}

/// RFC 9700, 4.14.2. ASVS 10.4.5.
#[tokio::test]
async fn a_token_that_comes_again_after_its_grace_ends_the_session_whichever_of_its_tokens_it_is() {
    for age in 1..=3 {
        let app = TestApp::with(&rotating("30")).await;
        let mut tokens = vec![session_token(&app).await];
        for _ in 0..age {
            tokens.push(refresh(&app, &tokens[tokens.len() - 1]).await.text("session_token"));
            app.clock.advance(Duration::from_secs(31));
        }
        // A stranger's token of the same form ends nothing.
        assert_dead(&app, &"x".repeat(32)).await;
        let scrape = app.scrape().await;
        assert_eq!(scrape.value("oneclick_sessions_reused_total", &[]), 0.0);
        assert_dead(&app, &tokens[0]).await;
        assert_dead(&app, &tokens[tokens.len() - 1]).await;
        let scrape = app.scrape().await;
        assert_eq!(scrape.value("oneclick_sessions_reused_total", &[]), 1.0, "age {age}");
    }
}

#[tokio::test]
async fn a_token_from_before_the_last_one_ends_the_session_at_once() {
    let app = TestApp::with(&rotating("30")).await;
    let first = session_token(&app).await;
    let second = refresh(&app, &first).await.text("session_token");
    let third = refresh(&app, &second).await.text("session_token");
    assert_eq!(refresh(&app, &second).await.text("session_token"), third, "within the grace");
    assert_dead(&app, &first).await;
    assert_dead(&app, &third).await;
}

#[tokio::test]
async fn of_many_concurrent_rotations_of_one_token_all_get_the_same_successor() {
    let app = TestApp::with(&rotating("30")).await;
    let replica = TestApp::over(app.store.clone(), &rotating("30")).await;
    let token = session_token(&app).await;
    let calls = (0..64).map(|n| {
        let router = if n % 2 == 0 { app.router.clone() } else { replica.router.clone() };
        let request = with_session(REFRESH, &token).build();
        tokio::spawn(async move { Answer::read(tower::ServiceExt::oneshot(router, request).await.unwrap()).await })
    });
    let mut successors = HashSet::new();
    for call in calls.collect::<Vec<_>>() {
        successors.insert(call.await.unwrap().text("session_token"));
    }
    assert_eq!(successors.len(), 1);
}

#[tokio::test]
async fn a_client_that_lost_the_rotated_token_can_still_log_out_within_the_grace() {
    let app = TestApp::with(&rotating("30")).await;
    let first = session_token(&app).await;
    let second = refresh(&app, &first).await.text("session_token");
    assert_eq!(app.send(with_session(LOGOUT, &first).build()).await.status, 200);
    assert_dead(&app, &second).await;
}

/// ASVS 7.1.2.
#[tokio::test]
async fn only_the_newest_sessions_are_live_where_their_number_is_limited() {
    let app = TestApp::with(&[("ONECLICK_SESSION__MAX_PER_USER", "2")]).await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(session_token(&app).await);
        app.clock.advance(Duration::from_secs(1));
    }
    assert_dead(&app, &tokens[0]).await;
    for live in &tokens[1..] {
        assert_eq!(refresh(&app, live).await.status, 200);
    }
    app.send(with_session(LOGOUT, &tokens[2]).build()).await;
    assert_eq!(refresh(&app, &tokens[0]).await.status, 200, "there is room again");
}

#[tokio::test]
async fn an_erased_users_session_is_unknown_and_the_number_is_somebody_new() {
    let app = TestApp::start().await;
    let before = app.log_in(SEED_TOKEN).await;
    assert!(app.store.erase_user(user_id(&before), app.clock.now()).await.unwrap());
    assert_dead(&app, &before.text("session_token")).await;
    let after = app.log_in(SEED_TOKEN).await;
    assert_eq!(after.status, 200);
    assert_ne!(claim(&after, "sub"), claim(&before, "sub"));
}
