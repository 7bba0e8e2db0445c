//! What stands at the issuer's address: we, an older copy of us, somebody else, or nobody.

use serde_json::json;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Report, doctor};
use crate::support::program::Setup;
use crate::support::tls::untrusted_tls_peer;

const DISCOVERY: &str = "/api/v1/oauth2/.well-known/openid-configuration";

fn expecting(issuer: &str) -> Setup {
    Setup::new().set("ONECLICK_ID_TOKEN__ISSUER", issuer)
}

/// With a database that has a key, before a gateway that gives these answers.
async fn doctor_at(gateway: &MockServer, discovery: ResponseTemplate) -> Report {
    Mock::given(path(DISCOVERY)).respond_with(discovery).mount(gateway).await;
    let setup = expecting(&format!("{}/api/v1/oauth2", gateway.uri()));
    setup.start().await.end().await;
    doctor(&setup).await
}

#[tokio::test]
async fn the_server_of_another_database_has_other_keys() {
    let other = Setup::new().start().await;
    let setup = expecting(&format!("http://{}/api/v1/oauth2", other.listen));
    let words = ["has 1 keys", "works on this database", "a cache in between"];
    setup.start().await.end().await;
    doctor(&setup).await.assert_fails("issuer", &words);
    let unstarted = expecting(&format!("http://{}/api/v1/oauth2", other.listen));
    doctor(&unstarted).await.assert_says("skip", "issuer", &["cannot be compared without the database's"]);
}

#[tokio::test]
async fn a_server_with_another_issuer_says_which() {
    let setup = expecting("https://elsewhere.example/api/v1/oauth2");
    let server = setup.start().await;
    let expected = setup.set("ONECLICK_ID_TOKEN__ISSUER", format!("http://{}/api/v1/oauth2", server.listen));
    let words = ["its issuer is \"https://elsewhere.example/api/v1/oauth2\"", "set id_token.issuer alike"];
    doctor(&expected).await.assert_fails("issuer", &words);
}

#[tokio::test]
async fn a_set_from_before_a_rotation_lacks_the_key_that_signs() {
    let gateway = MockServer::start().await;
    let issuer = format!("{}/api/v1/oauth2", gateway.uri());
    let old = json!({ "keys": [{ "kid": "old" }, { "kid": "older" }] });
    Mock::given(path("/keys")).respond_with(ResponseTemplate::new(200).set_body_json(old)).mount(&gateway).await;
    let discovery = json!({ "issuer": issuer, "jwks_uri": format!("{}/keys", gateway.uri()) });
    let report = doctor_at(&gateway, ResponseTemplate::new(200).set_body_json(discovery)).await;
    report.assert_fails("issuer", &["has 2 keys", "a cache in between ignores max-age: clear it"]);
}

#[tokio::test]
async fn somebody_else_at_the_address_is_a_failure() {
    for (answer, words) in [
        (ResponseTemplate::new(404), ["answers 404", "see where the gateway leads"]),
        (ResponseTemplate::new(301).insert_header("location", "/x"), ["answers 301", "see where the gateway leads"]),
        (ResponseTemplate::new(200).set_body_string("<html>"), ["something else than JSON", "another server is there"]),
    ] {
        doctor_at(&MockServer::start().await, answer).await.assert_fails("issuer", &words);
    }
}

#[tokio::test]
async fn a_gateway_without_a_server_behind_it_is_no_failure() {
    let report = doctor_at(&MockServer::start().await, ResponseTemplate::new(503)).await;
    report.assert_says("skip", "issuer", &["answers 503", "the gateway finds no server"]);
    assert_eq!(report.ran.code, Some(0));
}

#[tokio::test]
async fn a_certificate_that_verifiers_would_not_believe_is_a_failure() {
    let (port, _peer) = untrusted_tls_peer().await;
    let report = doctor(&expecting(&format!("https://localhost:{port}/api/v1/oauth2"))).await;
    report.assert_fails("issuer", &["certificate", "valid and for this host"]);
}
