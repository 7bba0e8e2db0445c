//! Tickets, renewal on a device's behalf, and administration, with a tenant token.

use std::time::Duration;

use axum::http::Method;
use oneclick_login::ids::ClientId;
use oneclick_login::store::{App, AppKind};
use oneclick_login::tenant::Secret;
use serde_json::{Value, json};

use crate::support::app::{Answer, DEMO_CLIENT_ID, SEED_TOKEN, TestApp, tenant_call, with_session};

pub const TENANT: &str = "tenant-one";
pub const TICKET: &str = "/api/v2/tenant/sso/session-token/sso-ticket";
const VERIFY: &str = "/api/v2/tenant/sso/sso-ticket/verify";
const RENEW: &str = "/api/v2/tenant/sso/session-token/refresh";
pub const BY_MOBILE: &str = "/api/v2/tenant/users/user-by-mobile";
const NO_TICKET: &str = "IDAAS.TENANT.TICKET.0001";

/// Registers a tenant and gives its secret.
pub async fn register(app: &TestApp, client_id: &str) -> Secret {
    let secret = Secret::generate();
    let tenant = App {
        client_id: ClientId::parse(client_id).unwrap(),
        name: "A service".to_owned(),
        kind: AppKind::Tenant,
        enabled: true,
        auto_register: None,
        secret_hash: Some(secret.hash()),
    };
    app.store.register_app(&tenant, app.clock.now()).await.unwrap();
    secret
}

pub async fn bearer(app: &TestApp) -> String {
    let secret = register(app, TENANT).await;
    super::tenant_token::request(app, TENANT, secret.expose()).await.text("access_token")
}

fn device() -> Value {
    json!({
        "operating_sys_version": "windows10.1.1", "device_fingerprint": "156aysdna213sc50",
        "device_ip": "192.168.1.2", "agent": "Mozilla/5.0"
    })
}

fn with_device(key: &str, value: &str) -> Value {
    let mut body = device();
    body[key] = json!(value);
    body
}

async fn call(app: &TestApp, path: &str, bearer: &str, body: &Value) -> Answer {
    app.send(tenant_call(path, bearer, body).build()).await
}

#[tokio::test]
async fn a_session_becomes_a_ticket_and_the_ticket_a_user_once() {
    let app = TestApp::start().await;
    let bearer = bearer(&app).await;
    let token = app.log_in(SEED_TOKEN).await.text("session_token");
    let ticket = call(&app, TICKET, &bearer, &with_device("session_token", &token)).await;
    assert_eq!((ticket.status.as_u16(), ticket.json()["expire"].as_u64()), (200, Some(300)), "{ticket:?}");
    let ticket = ticket.text("sso_ticket");
    let random = ticket.strip_prefix("ssoTicket-").unwrap();
    assert!(random.len() == 32 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()));

    let user = call(&app, VERIFY, &bearer, &with_device("sso_ticket", &ticket)).await;
    assert_eq!(user.status, 200, "{user:?}");
    let json = user.json();
    assert_eq!(json["mobile"], "+86-13800000001");
    assert_eq!(json["name"], "138****0001");
    assert_eq!(json["userName"], json["id"]);
    assert_eq!(json["email"], Value::Null);
    let again = call(&app, VERIFY, &bearer, &with_device("sso_ticket", &ticket)).await;
    again.assert_error(400, NO_TICKET, "Invalid or expired ticket");
}

#[tokio::test]
async fn a_ticket_is_for_its_device_and_its_time() {
    let app = TestApp::start().await;
    let bearer = bearer(&app).await;
    let token = app.log_in(SEED_TOKEN).await.text("session_token");
    let draw = async || call(&app, TICKET, &bearer, &with_device("session_token", &token)).await.text("sso_ticket");

    let ticket = draw().await;
    let mut elsewhere = with_device("sso_ticket", &ticket);
    elsewhere["device_fingerprint"] = json!("another");
    assert_eq!(call(&app, VERIFY, &bearer, &elsewhere).await.error_code(), NO_TICKET);
    let here = with_device("sso_ticket", &ticket);
    assert_eq!(call(&app, VERIFY, &bearer, &here).await.status, 200, "another device did not use it up");

    let ticket = draw().await;
    app.clock.advance(Duration::from_secs(300));
    assert_eq!(call(&app, VERIFY, &bearer, &with_device("sso_ticket", &ticket)).await.error_code(), NO_TICKET);
}

#[tokio::test]
async fn a_ticket_that_was_asked_for_with_a_client_id_is_for_the_tenant_that_asked() {
    let app = TestApp::start().await;
    let owner = bearer(&app).await;
    let secret = register(&app, "another").await;
    let other = super::tenant_token::request(&app, "another", secret.expose()).await.text("access_token");
    let token = app.log_in(SEED_TOKEN).await.text("session_token");
    for (client_id, redeemed_by_other) in [(None, 200), (Some(DEMO_CLIENT_ID), 400)] {
        let mut body = with_device("session_token", &token);
        if let Some(client_id) = client_id {
            body["client_id"] = json!(client_id);
        }
        let ticket = with_device("sso_ticket", &call(&app, TICKET, &owner, &body).await.text("sso_ticket"));
        assert_eq!(call(&app, VERIFY, &other, &ticket).await.status, redeemed_by_other);
        let left_for_owner = if redeemed_by_other == 200 { 400 } else { 200 };
        assert_eq!(call(&app, VERIFY, &owner, &ticket).await.status, left_for_owner);
    }
}

/// ASVS 2.3.1.
#[tokio::test]
async fn a_ticket_is_worth_nothing_once_its_session_has_ended() {
    let app = TestApp::start().await;
    let bearer = bearer(&app).await;
    let token = app.log_in(SEED_TOKEN).await.text("session_token");
    let ticket = call(&app, TICKET, &bearer, &with_device("session_token", &token)).await.text("sso_ticket");
    app.send(with_session("/api/v2/sdk/logout", &token).build()).await;
    assert_eq!(call(&app, VERIFY, &bearer, &with_device("sso_ticket", &ticket)).await.error_code(), NO_TICKET);
    let dead = call(&app, TICKET, &bearer, &with_device("session_token", &token)).await;
    assert_eq!(dead.error_code(), "IDAAS.SDK.PARAM.0023");
}

#[tokio::test]
async fn of_a_hundred_concurrent_uses_of_a_ticket_one_gets_the_user() {
    let app = TestApp::start().await;
    let bearer = bearer(&app).await;
    let token = app.log_in(SEED_TOKEN).await.text("session_token");
    let ticket = call(&app, TICKET, &bearer, &with_device("session_token", &token)).await.text("sso_ticket");
    let uses = (0..100).map(|_| {
        let request = tenant_call(VERIFY, &bearer, &with_device("sso_ticket", &ticket)).build();
        let router = app.router.clone();
        tokio::spawn(async move { tower::ServiceExt::oneshot(router, request).await.unwrap().status().as_u16() })
    });
    let mut granted = 0;
    for used in uses.collect::<Vec<_>>() {
        granted += usize::from(used.await.unwrap() == 200);
    }
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn a_tenant_renews_a_session_on_the_devices_behalf() {
    let app = TestApp::start().await;
    let bearer = bearer(&app).await;
    let login = app.log_in(SEED_TOKEN).await;
    let body = with_device("session_token", &login.text("session_token"));
    let renewed = call(&app, RENEW, &bearer, &body).await;
    assert_eq!(renewed.status, 200, "{renewed:?}");
    assert_eq!(renewed.text("session_token"), login.text("session_token"));
    let mut other_app = body.clone();
    other_app["client_id"] = json!("other");
    assert_eq!(call(&app, RENEW, &bearer, &other_app).await.error_code(), "IDAAS.SDK.PARAM.0023");
}

#[tokio::test]
async fn a_body_without_its_device_or_its_token_is_refused() {
    let app = TestApp::start().await;
    let bearer = bearer(&app).await;
    let mut body = with_device("session_token", &"x".repeat(32));
    body["device_fingerprint"] = json!(" ");
    assert_eq!(call(&app, TICKET, &bearer, &body).await.error_code(), "IDAAS.SDK.PARAM.0001");
    let blank = call(&app, TICKET, &bearer, &device()).await;
    blank.assert_error(400, "IDAAS.SDK.COMMON.1001", "Parameter session_token cannot be left blank");
    let mut body = with_device("session_token", &"x".repeat(32));
    body["device_fingerprint"] = json!("x".repeat(257));
    assert_eq!(call(&app, TICKET, &bearer, &body).await.error_code(), "IDAAS.SDK.COMMON.1002");
    let number = json!({ "sso_ticket": 1 });
    assert_eq!(call(&app, VERIFY, &bearer, &number).await.error_code(), "IDAAS.SDK.COMMON.1007");
}

#[tokio::test]
async fn a_tenant_finds_disables_and_enables_a_user() {
    let app = TestApp::start().await;
    let bearer = bearer(&app).await;
    let token = app.log_in(SEED_TOKEN).await.text("session_token");
    for mobile in ["13800000001", "+86-13800000001"] {
        let user = call(&app, BY_MOBILE, &bearer, &json!({ "mobile": mobile })).await;
        assert_eq!(user.status, 200, "{user:?}");
        let json = user.json();
        let mut keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        let expected = ["created_at", "disabled", "email", "mobile", "name", "updated_at", "user_id", "user_name"];
        assert_eq!(keys, expected);
        assert_eq!((json["mobile"].as_str(), json["disabled"].as_bool()), (Some("+86-13800000001"), Some(false)));
        assert_eq!(json["created_at"].as_str().map(str::len), Some("2026-09-21 14:13:20".len()));
    }
    let id = call(&app, BY_MOBILE, &bearer, &json!({ "mobile": "13800000001" })).await.text("user_id");

    let put = |verb: &str| {
        let path = format!("/api/v2/tenant/users/{id}/{verb}");
        tenant_call(&path, &bearer, &json!({})).method(Method::PUT).build()
    };
    assert_eq!(app.send(put("disable")).await.json(), json!({ "user_id": id }));
    let refused = app.send(with_session("/api/v2/sdk/sso/session-token/id-token", &token).build()).await;
    assert_eq!(refused.error_code(), "IDAAS.SDK.USER.0039");
    assert_eq!(call(&app, BY_MOBILE, &bearer, &json!({ "mobile": "13800000001" })).await.json()["disabled"], true);
    assert_eq!(app.send(put("enable")).await.json(), json!({ "user_id": id }));
    assert_eq!(app.log_in(SEED_TOKEN).await.status, 200);
}

#[tokio::test]
async fn an_unknown_user_is_not_found() {
    let app = TestApp::start().await;
    let bearer = bearer(&app).await;
    let unknown = call(&app, BY_MOBILE, &bearer, &json!({ "mobile": "13900000000" })).await;
    unknown.assert_error(400, "IDAAS.TENANT.USER.0001", "User not found");
    for id in ["01a20486-cb78-79c6-9b81-e20b46c4bc8e", "nonsense", "%ff", "%00"] {
        let path = format!("/api/v2/tenant/users/{id}/disable");
        let answer = app.send(tenant_call(&path, &bearer, &json!({})).method(Method::PUT).build()).await;
        assert_eq!(answer.error_code(), "IDAAS.TENANT.USER.0001", "{id}");
    }
    let malformed = call(&app, BY_MOBILE, &bearer, &json!({ "mobile": "138" })).await;
    malformed.assert_error(400, "IDAAS.SDK.COMMON.1002", "The mobile parameter format is incorrect");
}

/// ASVS 8.2.1, 8.3.1.
#[tokio::test]
async fn every_tenant_path_wants_a_bearer_before_anything_else() {
    let app = TestApp::start().await;
    let disable = "/api/v2/tenant/users/x/disable";
    for (path, method) in [
        (TICKET, Method::POST),
        (VERIFY, Method::POST),
        (RENEW, Method::POST),
        (BY_MOBILE, Method::POST),
        (disable, Method::PUT),
        ("/api/v2/tenant/users/x/enable", Method::PUT),
    ] {
        let call = || tenant_call(path, "nonsense", &json!({})).method(method.clone()).body("not json");
        for call in [
            call(),
            call().without("Authorization"),
            call().with("Authorization", "Basic x"),
            call().and("Authorization", "Bearer y"),
        ] {
            let answer = app.send(call.build()).await;
            answer.assert_error(401, "IDAAS.TENANT.COM.0401", "Invalid or expired tenant token");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_disabled_apps_sessions_are_worth_nothing_to_a_tenant_either() {
    let app = TestApp::start().await;
    let bearer = bearer(&app).await;
    let token = app.log_in(SEED_TOKEN).await.text("session_token");
    let demo = ClientId::parse(crate::support::app::DEMO_CLIENT_ID).unwrap();
    app.store.set_app_enabled(&demo, false, app.clock.now()).await.unwrap();
    let replica = TestApp::over(app.store.clone(), &[]).await;
    let body = with_device("session_token", &token);
    for path in [TICKET, RENEW] {
        assert_eq!(call(&replica, path, &bearer, &body).await.error_code(), "IDAAS.SDK.PARAM.0023", "{path}");
    }
    let with_zero = with_device("device_fingerprint", "a\0b");
    let ticket = json!({ "sso_ticket": "ssoTicket-x" });
    let mut body = with_zero;
    body["sso_ticket"] = ticket["sso_ticket"].clone();
    assert_eq!(call(&app, VERIFY, &bearer, &body).await.error_code(), "IDAAS.SDK.COMMON.1002");
}
