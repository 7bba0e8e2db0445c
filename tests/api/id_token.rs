//! The id_token as a stranger sees it: verified from the JWK Set alone.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use oneclick_login::clock::Clock;
use serde_json::{Value, json};

use crate::support::app::{DEMO_CLIENT_ID, ISSUER, SEED_TOKEN, TestApp};
use crate::support::python;

async fn claims(app: &TestApp, token: &str, alg: Algorithm) -> Value {
    let keys: JwkSet = serde_json::from_slice(&app.get("/api/v1/oauth2/keys").await.body).unwrap();
    let header = decode_header(token).unwrap();
    assert_eq!((header.alg, header.typ.as_deref()), (alg, Some("JWT")));
    let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut rules = Validation::new(alg);
    rules.set_audience(&[DEMO_CLIENT_ID]);
    rules.set_issuer(&[ISSUER]);
    // The clock of the test is not the verifier's.
    rules.validate_exp = false;
    decode::<Value>(token, &key, &rules).unwrap().claims
}

/// ASVS 9.2.4.
#[tokio::test]
async fn it_carries_the_contracts_claims() {
    let app = TestApp::start().await;
    let token = app.log_in(SEED_TOKEN).await.text("id_token");
    let claims = claims(&app, &token, Algorithm::ES256).await;
    let now = app.clock.now().unix_timestamp();

    let names: BTreeSet<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "iss",
        "aud",
        "sub",
        "iat",
        "exp",
        "nbf",
        "jti",
        "id",
        "userName",
        "name",
        "mobile",
        "phone_number",
        "phone_number_verified",
        "auth_time",
        "sid",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    assert_eq!(claims["iat"], now - 2, "some verifiers' clocks are late, and they look at it");
    assert_eq!(claims["auth_time"], now);
    assert_eq!(claims["nbf"], now - 122);
    assert_eq!(claims["exp"], now + 298);
    assert_eq!(claims["aud"], DEMO_CLIENT_ID);
    assert_eq!((&claims["id"], &claims["userName"]), (&claims["sub"], &claims["sub"]));
    assert_eq!(claims["name"], "138****0001");
    assert_eq!(claims["mobile"], "+86-13800000001");
    assert_eq!(claims["phone_number"], "+8613800000001");
    assert_eq!(claims["phone_number_verified"], true);
    assert_eq!(claims["jti"].as_str().unwrap().len(), 22);
    assert!(!claims["sub"].as_str().unwrap().contains("138"));
}

#[tokio::test]
async fn the_subject_is_stable_and_the_session_and_the_token_ids_are_not() {
    let app = TestApp::start().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let token = app.log_in(SEED_TOKEN).await.text("id_token");
        seen.push(claims(&app, &token, Algorithm::ES256).await);
    }
    assert_eq!(seen[0]["sub"], seen[1]["sub"]);
    assert_ne!(seen[0]["sid"], seen[1]["sid"]);
    assert_ne!(seen[0]["jti"], seen[1]["jti"]);
}

#[tokio::test]
async fn every_algorithm_verifies_from_the_published_keys() {
    for (name, alg) in [("RS256", Algorithm::RS256), ("EdDSA", Algorithm::EdDSA)] {
        let app = TestApp::with(&[("ONECLICK_ID_TOKEN__SIGNING_ALG", name)]).await;
        let token = app.log_in(SEED_TOKEN).await.text("id_token");
        assert_eq!(claims(&app, &token, alg).await["iss"], ISSUER);
    }
}

/// Each library with its defaults, and the README's lines.
#[tokio::test]
async fn libraries_take_a_fresh_token_though_their_clock_is_a_second_behind() {
    let app = TestApp::start().await;
    let jwks: Value = serde_json::from_slice(&app.get("/api/v1/oauth2/keys").await.body).unwrap();
    let readme = include_str!("../../README.md");
    let sample = readme.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the sample");
    let python =
        tokio::task::spawn_blocking(|| python::environment("api/verifiers.txt").join("bin/python")).await.unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/verifiers.py");
    for (seconds_behind, takers) in
        [(0, "pyjwt authlib joserfc readme"), (1, "pyjwt authlib joserfc readme"), (30, "readme")]
    {
        let ahead = Clock::system().now() + Duration::from_secs(seconds_behind) - app.clock.now();
        app.clock.advance(ahead.unsigned_abs());
        let token = app.log_in(SEED_TOKEN).await.text("id_token");
        let given = json!({
            "token": token, "jwks": jwks, "sample": sample, "audience": DEMO_CLIENT_ID, "issuer": ISSUER
        });
        let mut child = Command::new(&python);
        let mut child =
            child.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
        let said = child.wait_with_output().unwrap();
        let (taken, refused) =
            (String::from_utf8(said.stdout).unwrap(), String::from_utf8_lossy(&said.stderr).into_owned());
        let taken: Vec<_> = taken.split_whitespace().collect();
        assert_eq!(taken.join(" "), takers, "{seconds_behind} s behind: {refused}");
    }
}

#[tokio::test]
async fn both_lifetimes_are_settings() {
    let app =
        TestApp::with(&[("ONECLICK_ID_TOKEN__TTL_SECONDS", "60"), ("ONECLICK_SESSION__TTL_SECONDS", "3600")]).await;
    let answer = app.log_in(SEED_TOKEN).await;
    assert_eq!(answer.json()["expire"], 3600);
    let claims = claims(&app, &answer.text("id_token"), Algorithm::ES256).await;
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
}

#[tokio::test]
async fn a_second_replica_signs_with_the_same_key_and_publishes_the_same_set() {
    let one = TestApp::start().await;
    let other = TestApp::over(one.store.clone(), &[("ONECLICK_ID_TOKEN__SIGNING_ALG", "RS256")]).await;
    let (a, b) = (one.get("/api/v1/oauth2/keys").await, other.get("/api/v1/oauth2/keys").await);
    assert_eq!((&a.body, a.header("etag")), (&b.body, b.header("etag")));
    let token = other.log_in(SEED_TOKEN).await.text("id_token");
    claims(&one, &token, Algorithm::ES256).await;
}
