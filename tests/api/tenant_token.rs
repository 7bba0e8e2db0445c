//! The tenant token, in OAuth 2's own form.

use std::time::Duration;

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oneclick_login::ids::ClientId;
use serde_json::json;

use super::tenants::{TENANT, register};
use crate::support::app::{Answer, Call, DEMO_CLIENT_ID, TestApp, tenant_call};

const PATH: &str = "/api/v2/tenant/token";
const PROBE: &str = "/api/v2/tenant/users/user-by-mobile";

pub fn call(client_id: &str, secret: &str) -> Call {
    let basic = STANDARD.encode(format!("{client_id}:{secret}"));
    Call {
        method: Method::POST,
        path: PATH.to_owned(),
        headers: vec![
            ("Authorization".to_owned(), format!("Basic {basic}").into_bytes()),
            ("Content-Type".to_owned(), b"application/x-www-form-urlencoded".to_vec()),
        ],
        body: b"grant_type=client_credentials".to_vec(),
    }
}

pub async fn request(app: &TestApp, client_id: &str, secret: &str) -> Answer {
    app.send(call(client_id, secret).build()).await
}

async fn is_good(app: &TestApp, token: &str) -> bool {
    let answer = app.send(tenant_call(PROBE, token, &json!({ "mobile": "13800000001" })).build()).await;
    answer.error_code() != "IDAAS.TENANT.COM.0401"
}

async fn assert_refused(app: &TestApp, call: Call, status: u16, error: &str) {
    let answer = app.send(call.build()).await;
    assert_eq!((answer.status.as_u16(), &*answer.text("error")), (status, error), "{answer:?}");
    assert!(answer.text("error_description").len() > 20);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let challenge = (status == 401).then_some("Basic realm=\"tenant\"");
    assert_eq!(answer.header("www-authenticate"), challenge);
}

#[tokio::test]
async fn a_tenant_gets_an_opaque_token_for_half_an_hour() {
    let app = TestApp::start().await;
    let secret = register(&app, TENANT).await;
    let answer = request(&app, TENANT, secret.expose()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.text("access_token");
    assert_eq!(answer.json(), json!({ "access_token": token, "token_type": "Bearer", "expires_in": 1800 }));
    assert!(token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    app.clock.advance(Duration::from_secs(1799));
    assert!(is_good(&app, &token).await);
    app.clock.advance(Duration::from_secs(1));
    assert!(!is_good(&app, &token).await);
}

/// ASVS 10.4.10.
#[tokio::test]
async fn whoever_is_not_a_tenant_with_its_secret_is_an_invalid_client() {
    let app = TestApp::start().await;
    let secret = register(&app, TENANT).await;
    let secret = secret.expose();
    for (client_id, secret) in
        [(TENANT, "wrong"), (TENANT, ""), ("nobody", secret), (DEMO_CLIENT_ID, secret), ("!", secret)]
    {
        assert_refused(&app, call(client_id, secret), 401, "invalid_client").await;
    }
    let good = || call(TENANT, secret);
    assert_refused(&app, good().without("Authorization"), 401, "invalid_client").await;
    assert_refused(&app, good().with("Authorization", "Bearer x"), 401, "invalid_client").await;
    assert_refused(&app, good().with("Authorization", "Basic !!!"), 401, "invalid_client").await;
}

/// ASVS 10.4.4.
#[tokio::test]
async fn a_malformed_request_is_told_so_in_oauths_words() {
    let app = TestApp::start().await;
    let secret = register(&app, TENANT).await;
    let good = || call(TENANT, secret.expose());
    assert_refused(&app, good().body("grant_type=password"), 400, "unsupported_grant_type").await;
    assert_refused(&app, good().body(""), 400, "invalid_request").await;
    assert_refused(&app, good().body("grant_type="), 400, "invalid_request").await;
    let twice = "grant_type=client_credentials&grant_type=client_credentials";
    assert_refused(&app, good().body(twice), 400, "invalid_request").await;
    assert_refused(&app, good().with("Content-Type", "application/json"), 400, "invalid_request").await;
    assert_refused(&app, good().method(Method::GET), 405, "invalid_request").await;
    assert_refused(&app, good().body(vec![b'x'; 20_000]), 413, "invalid_request").await;
}

#[tokio::test]
async fn a_token_dies_with_its_app_and_with_a_new_secret() {
    let app = TestApp::start().await;
    let secret = register(&app, TENANT).await;
    let token = request(&app, TENANT, secret.expose()).await.text("access_token");
    let client_id = ClientId::parse(TENANT).unwrap();
    for (enabled, good) in [(false, false), (true, true)] {
        app.store.set_app_enabled(&client_id, enabled, app.clock.now()).await.unwrap();
        assert_eq!(is_good(&app, &token).await, good);
    }
    register(&app, TENANT).await;
    assert!(!is_good(&app, &token).await);
    assert_refused(&app, call(TENANT, secret.expose()), 401, "invalid_client").await;
}
