//! The login itself: what a user gets, and what becomes of tokens, users and apps.

use std::collections::HashSet;

use oneclick_login::ids::ClientId;
use oneclick_login::phone_number::PhoneNumber;
use oneclick_login::session_token::SessionToken;
use oneclick_login::store::{App, AppKind, UserKey, UserStatus};
use oneclick_login::vault::Vault;

use crate::support::app::{DEMO_CLIENT_ID, SEED_TOKEN, TestApp, login};

async fn user_of(app: &TestApp, number: &str) -> Option<oneclick_login::store::User> {
    let master_keys = app.settings.master_keys().unwrap().unwrap();
    let vault = Vault::open(&master_keys, &*app.store, app.clock.now()).await.unwrap();
    let index = vault.phone_index(&PhoneNumber::from_national(number).unwrap());
    app.store.find_user(UserKey::Phone(index)).await.unwrap()
}

#[tokio::test]
async fn the_documents_own_example_logs_in_and_answers_exactly_four_keys() {
    let app = TestApp::start().await;
    let answer = app.log_in(SEED_TOKEN).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let keys: HashSet<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, HashSet::from(["session_token", "expire", "status", "id_token"]));
    assert_eq!((json["status"].as_str(), json["expire"].as_u64()), (Some("SUCCESS"), Some(432_000)));
    assert!(SessionToken::parse(&answer.text("session_token")).is_some());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-access-token-state"), None);
    assert!(user_of(&app, "13800000001").await.is_some());
}

/// ASVS 7.2.4.
#[tokio::test]
async fn the_example_token_may_be_repeated_and_every_login_is_a_session_of_the_same_user() {
    let app = TestApp::start().await;
    let first = app.log_in(SEED_TOKEN).await;
    let second = app.log_in(SEED_TOKEN).await;
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 200));
    assert_ne!(first.text("session_token"), second.text("session_token"));
    assert_ne!(first.text("id_token"), second.text("id_token"));
}

#[tokio::test]
async fn any_other_token_works_once() {
    let app = TestApp::with(&[("ONECLICK_LOGIN__RETRY_WINDOW_SECONDS", "0")]).await;
    assert_eq!(app.log_in("sandbox:13900001234").await.status, 200);
    let again = app.log_in("sandbox:13900001234").await;
    let message = "The access_token is invalid, expired or already used, please obtain a new one";
    again.assert_error(400, "IDAAS.SDK.LOGIN.1001", message);
    assert_eq!(again.header("x-access-token-state"), Some("spent"));
    assert_eq!(app.log_in("sandbox:13900001234:again").await.status, 200);
}

#[tokio::test]
async fn a_token_that_opened_a_session_is_refused_by_a_replica_that_never_saw_it() {
    let strict = [("ONECLICK_LOGIN__RETRY_WINDOW_SECONDS", "0")];
    let one = TestApp::with(&strict).await;
    let other = TestApp::over(one.store.clone(), &strict).await;
    assert_eq!(one.log_in("sandbox:13900001234").await.status, 200);
    let again = other.log_in("sandbox:13900001234").await;
    assert_eq!(
        (again.error_code().as_str(), again.header("x-access-token-state")),
        ("IDAAS.SDK.LOGIN.1001", Some("spent"))
    );
}

#[tokio::test]
async fn an_unknown_number_is_registered_only_where_the_setting_or_the_app_says_so() {
    let app = TestApp::with(&[("ONECLICK_REGISTRATION__AUTO_REGISTER", "false")]).await;
    let refused = app.log_in("sandbox:13900000001").await;
    refused.assert_error(400, "IDAAS.SDK.USER.0001", "User not found");
    assert_eq!(refused.header("x-access-token-state"), Some("spent"));
    assert!(user_of(&app, "13900000001").await.is_none());

    app.register_sdk_app("registering", Some(true)).await;
    let replica = TestApp::over(app.store.clone(), &[("ONECLICK_REGISTRATION__AUTO_REGISTER", "false")]).await;
    let answer = replica.send(login("sandbox:13900000002").with("X-client-id", "registering").build()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(replica.log_in("sandbox:13900000002:2").await.status, 200, "known now, whatever app asks");
}

#[tokio::test]
async fn a_disabled_user_is_refused_and_comes_back_when_enabled() {
    let app = TestApp::start().await;
    app.log_in(SEED_TOKEN).await;
    let user = user_of(&app, "13800000001").await.unwrap().profile.id;
    assert!(app.store.set_user_status(user, UserStatus::Disabled, app.clock.now()).await.unwrap());
    let refused = app.log_in(SEED_TOKEN).await;
    refused.assert_error(400, "IDAAS.SDK.USER.0039", "User is disabled");
    assert_eq!(refused.header("x-access-token-state"), Some("spent"));
    assert!(app.store.set_user_status(user, UserStatus::Active, app.clock.now()).await.unwrap());
    assert_eq!(app.log_in(SEED_TOKEN).await.status, 200);
}

#[tokio::test]
async fn a_disabled_app_and_a_tenant_app_log_nobody_in() {
    let app = TestApp::start().await;
    let client_id = ClientId::parse(DEMO_CLIENT_ID).unwrap();
    assert!(app.store.set_app_enabled(&client_id, false, app.clock.now()).await.unwrap());
    let tenant = App {
        client_id: ClientId::parse("tenant").unwrap(),
        name: "Tenant".to_owned(),
        kind: AppKind::Tenant,
        enabled: true,
        auto_register: None,
        secret_hash: None,
    };
    app.store.register_app(&tenant, app.clock.now()).await.unwrap();
    let replica = TestApp::over(app.store.clone(), &[]).await;
    for client in [DEMO_CLIENT_ID, "tenant"] {
        let answer = replica.send(login(SEED_TOKEN).with("X-client-id", client).build()).await;
        assert_eq!(answer.error_code(), "IDAAS.SDK.PARAM.0003", "{client}");
    }
}

#[tokio::test]
async fn a_hundred_first_logins_of_one_number_make_one_user_and_are_all_answered() {
    let app = TestApp::start().await;
    let logins = (0..100).map(|n| {
        let (router, request) = (app.router.clone(), login(&format!("sandbox:13700000001:{n}")).build());
        tokio::spawn(async move { tower::ServiceExt::oneshot(router, request).await.unwrap() })
    });
    let mut subjects = HashSet::new();
    for login in logins.collect::<Vec<_>>() {
        let answer = crate::support::app::Answer::read(login.await.unwrap()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(answer.text("id_token"));
        subjects.insert(claims.unwrap().claims["sub"].as_str().unwrap().to_owned());
    }
    assert_eq!(subjects.len(), 1);
}
