//! `AssumeRoleWithOIDC`: the request as it leaves, and what becomes of every answer.

use std::collections::BTreeMap;

use oneclick_login::verifier::aliyun::{ConfigError, OidcConfig, OidcRole};
use serde_json::json;
use wiremock::matchers::{any, method};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{
    EXPIRES_AT, OIDC_TOKEN, PROVIDER_ARN, ROLE_ARN, assert_has, assert_not_yet, assert_refused, clock, first_try, keys,
    oidc, oidc_config, refusal, sts_answer, token_file,
};
use crate::aliyun::SHORT;
use crate::aliyun::peer::{Conduct, Peer};

async fn sts(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(response).mount(&server).await;
    server
}

fn form(request: &Request) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

#[tokio::test]
async fn the_role_is_asked_for_by_an_unsigned_post_with_the_token_in_its_body() {
    let server = sts(sts_answer(&keys("one", EXPIRES_AT))).await;
    // Editors and echo leave a newline behind.
    let token = token_file(format!("{OIDC_TOKEN}\n"));
    let source = oidc(oidc_config(&server.uri(), &token), &clock());
    assert_eq!(first_try(&source).await, Ok(()));
    assert_has(&source, "one");

    let requests = server.received_requests().await.unwrap();
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", "/"));
    let query = "Action=AssumeRoleWithOIDC&Format=JSON&Timestamp=2026-03-01T08%3A30%3A00Z&Version=2015-04-01";
    assert_eq!(request.url.query(), Some(query));
    let expected = [
        ("DurationSeconds", "3600"),
        ("OIDCProviderArn", PROVIDER_ARN),
        ("OIDCToken", OIDC_TOKEN),
        ("RoleArn", ROLE_ARN),
        ("RoleSessionName", "a-session"),
    ];
    assert_eq!(form(request), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
    let length = request.headers["content-length"].to_str().unwrap();
    assert_eq!(length, request.body.len().to_string());
    for absent in ["authorization", "cookie", "accept-encoding", "x-acs-security-token"] {
        assert!(!request.headers.contains_key(absent), "{absent}");
    }
}

#[tokio::test]
async fn a_proxy_carries_the_question_if_one_is_configured() {
    let proxy = sts(sts_answer(&keys("one", EXPIRES_AT))).await;
    let token = token_file(OIDC_TOKEN);
    let config = OidcConfig { proxy: Some(proxy.uri()), ..oidc_config("http://sts.test", &token) };
    let source = oidc(config, &clock());
    assert_eq!(first_try(&source).await, Ok(()));
    let requests = proxy.received_requests().await.unwrap();
    assert_eq!(requests[0].headers["host"], "sts.test");
}

#[tokio::test]
async fn a_token_file_without_a_token_is_named_and_nobody_is_asked() {
    let server = sts(sts_answer(&keys("one", EXPIRES_AT))).await;
    let too_long = "x".repeat(20_001);
    let endless = "x".repeat(5_000_000);
    for content in ["", " \n", "canary canary", "canary\ncanary", "canár", &too_long, &endless] {
        let token = token_file(content);
        let refused = first_try(&oidc(oidc_config(&server.uri(), &token), &clock())).await;
        let path = token.path().to_str().unwrap();
        assert_refused(refused, &format!("the OIDC token file {path:?} does not hold a token alone"));
    }
    let token = token_file([b'x', 0xff]);
    assert_refused(first_try(&oidc(oidc_config(&server.uri(), &token), &clock())).await, "does not hold a token");
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing")] {
        let config = OidcConfig { token_path: path.clone(), ..oidc_config(&server.uri(), &token) };
        let reason = format!("cannot read the OIDC token file {path:?}");
        assert_refused(first_try(&oidc(config, &clock())).await, &reason);
    }
    assert!(server.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_refusal_is_told_by_status_and_code_and_whether_waiting_may_help() {
    let token = token_file(OIDC_TOKEN);
    for (status, code) in [
        (400, "InvalidParameter.OIDCToken"),
        (400, "AuthenticationFail.OIDCToken.Expired"),
        (403, "NoPermission"),
        (404, "EntityNotExist.Role"),
        (401, ""),
    ] {
        let server = sts(refusal(status, code)).await;
        let refused = first_try(&oidc(oidc_config(&server.uri(), &token), &clock())).await;
        let code = if code.is_empty() { "-" } else { code };
        assert_refused(refused, &format!("the STS answered HTTP {status}, code {code}, request 3D57EAD2"));
    }
    for (status, code) in [(400, "Throttling.User"), (429, "x"), (500, "InternalError"), (503, "ServiceUnavailable")] {
        let server = sts(refusal(status, code)).await;
        let refused = first_try(&oidc(oidc_config(&server.uri(), &token), &clock())).await;
        assert_not_yet(refused, &format!("the STS answered HTTP {status}, code {code}"));
    }
    let server = sts(ResponseTemplate::new(502).set_body_string("<html>canary</html>")).await;
    let refused = first_try(&oidc(oidc_config(&server.uri(), &token), &clock())).await;
    assert_not_yet(refused, "the STS answered HTTP 502, code -, request -");
}

#[tokio::test]
async fn what_is_not_an_answer_gives_no_credentials() {
    let token = token_file(OIDC_TOKEN);
    let mut bodies: Vec<String> =
        ["", "null", "[]", "{}", "canary", r#"{"Credentials":null}"#].map(str::to_owned).into();
    for (key, value) in [
        ("AccessKeyId", json!(null)),
        ("AccessKeySecret", json!(1)),
        ("SecurityToken", json!(null)),
        ("Expiration", json!("in an hour")),
        ("Expiration", json!(1_772_357_400)),
    ] {
        let mut keys = keys("one", EXPIRES_AT);
        keys[key] = value;
        bodies.push(json!({ "Credentials": keys }).to_string());
    }
    for body in bodies {
        let server = sts(ResponseTemplate::new(200).set_body_string(body)).await;
        let tried = first_try(&oidc(oidc_config(&server.uri(), &token), &clock())).await;
        assert_not_yet(tried, "the STS answered something else than was asked for");
    }
    for (key, value) in
        [("AccessKeyId", ""), ("AccessKeySecret", " s"), ("SecurityToken", "a\nb"), ("SecurityToken", "")]
    {
        let mut keys = keys("one", EXPIRES_AT);
        keys[key] = json!(value);
        let server = sts(sts_answer(&keys)).await;
        let tried = first_try(&oidc(oidc_config(&server.uri(), &token), &clock())).await;
        assert_not_yet(tried, "the STS answered credentials that cannot be used");
    }
    let server = sts(sts_answer(&keys("one", "2026-03-01T08:30:00Z"))).await;
    let tried = first_try(&oidc(oidc_config(&server.uri(), &token), &clock())).await;
    assert_not_yet(tried, "have expired by our clock");
}

#[tokio::test]
async fn an_answer_that_never_ends_is_not_read_and_a_late_one_not_waited_for() {
    let token = token_file(OIDC_TOKEN);
    let server = sts(ResponseTemplate::new(200).set_body_string(" ".repeat(10_000_000))).await;
    let tried = first_try(&oidc(oidc_config(&server.uri(), &token), &clock())).await;
    assert_not_yet(tried, "the STS answered more than 65536 bytes");

    let late = sts(sts_answer(&keys("one", EXPIRES_AT)).set_delay(SHORT * 20)).await;
    let deaf = Peer::start(Conduct::Deaf).await;
    for endpoint in [late.uri(), deaf.endpoint()] {
        let config = OidcConfig { timeout: SHORT, ..oidc_config(&endpoint, &token) };
        assert_not_yet(first_try(&oidc(config, &clock())).await, "no answer within 300 ms");
    }
}

#[tokio::test]
async fn a_connection_that_fails_is_told_as_one() {
    let token = token_file(OIDC_TOKEN);
    let resets = Peer::start(Conduct::ResetAtOnce).await;
    let babbles = Peer::start(Conduct::Babble(b"not HTTP".to_vec())).await;
    let breaks = Peer::start(Conduct::Babble(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_vec())).await;
    let tls = format!("https://{}", babbles.host);
    for endpoint in [resets.endpoint(), babbles.endpoint(), breaks.endpoint(), tls, "http://127.0.0.1:1".to_owned()] {
        let tried = first_try(&oidc(oidc_config(&endpoint, &token), &clock())).await;
        assert_not_yet(tried, "the STS cannot be reached, or broke off");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = sts(sts_answer(&keys("one", EXPIRES_AT))).await;
    let token = token_file(OIDC_TOKEN);
    for status in [301, 302, 303, 307, 308] {
        let server = sts(ResponseTemplate::new(status).insert_header("location", elsewhere.uri())).await;
        let tried = first_try(&oidc(oidc_config(&server.uri(), &token), &clock())).await;
        assert_not_yet(tried, &format!("the STS answered HTTP {status}"));
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_token_file_is_read_again_at_every_refresh() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(refusal(503, "ServiceUnavailable")).mount(&server).await;
    let (token, clock) = (token_file("first-token"), clock());
    let source = oidc(oidc_config(&server.uri(), &token), &clock);
    for content in ["first-token", "second-token", "third-token"] {
        std::fs::write(&token, content).unwrap();
        source.refresh_if_due().await;
        clock.advance(super::minutes(1));
    }
    let requests = server.received_requests().await.unwrap();
    let tokens: Vec<_> = requests.iter().map(|request| form(request)["OIDCToken"].clone()).collect();
    assert_eq!(tokens, ["first-token", "second-token", "third-token"]);
}

#[tokio::test]
async fn an_endpoint_is_an_origin_and_nothing_more() {
    let token = token_file(OIDC_TOKEN);
    for bad in ["", "sts.aliyuncs.com", "https://sts.aliyuncs.com/path", "https://u:canary@sts.aliyuncs.com"] {
        let error = OidcRole::new(oidc_config(bad, &token), clock()).expect_err("this endpoint is wrong");
        assert!(matches!(error, ConfigError::StsEndpoint), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
