//! The public keys and the discovery document.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::support::app::{ISSUER, TestApp};

#[tokio::test]
async fn the_key_set_is_served_on_both_paths_with_public_members_only() {
    let app = TestApp::start().await;
    let keys = app.get("/api/v1/oauth2/keys").await;
    assert_eq!(keys.status, 200);
    assert_eq!(keys.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(keys.header("content-type"), Some("application/json"));
    assert_eq!(keys.header("access-control-allow-origin"), Some("*"), "for pages that verify");
    assert_eq!(keys.body, app.get("/.well-known/jwks.json").await.body);
    let json = keys.json();
    let key = json["keys"][0].as_object().unwrap();
    let mut members: Vec<_> = key.keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
}

#[tokio::test]
async fn a_client_that_has_the_set_is_told_so() {
    let app = TestApp::start().await;
    let etag = app.get("/api/v1/oauth2/keys").await.header("etag").unwrap().to_owned();
    for (sent, status) in
        [(etag.clone(), 304), (format!("W/{etag}"), 304), (format!("\"x\", {etag}"), 304), ("\"x\"".to_owned(), 200)]
    {
        let request = Request::get("/api/v1/oauth2/keys").header("If-None-Match", &sent).body(Body::empty()).unwrap();
        let answer = app.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.header("etag")), (status, Some(etag.as_str())), "{sent}");
        assert_eq!(answer.body.is_empty(), status == 304);
    }
}

#[tokio::test]
async fn discovery_leads_to_the_keys() {
    let app = TestApp::start().await;
    let answer = app.get("/api/v1/oauth2/.well-known/openid-configuration").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let discovery = answer.json();
    assert_eq!(discovery["issuer"], ISSUER);
    assert_eq!(discovery["jwks_uri"], "https://login.example.com/api/v1/oauth2/keys");
    assert_eq!(discovery["id_token_signing_alg_values_supported"], json!(["ES256"]));
    assert_eq!(discovery["subject_types_supported"], json!(["public"]));
}
