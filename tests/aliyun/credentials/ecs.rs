//! The metadata service of an ECS instance: its questions in their order, and what becomes of every answer.

use oneclick_login::verifier::aliyun::{ConfigError, EcsConfig, EcsRole};
use serde_json::{Value, json};
use wiremock::matchers::{any, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{EXPIRES_AT, assert_has, assert_not_yet, assert_refused, clock, ecs, ecs_config, first_try, keys};
use crate::aliyun::SHORT;

const ROLES: &str = "/latest/meta-data/ram/security-credentials/";

fn text(text: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_string(text)
}

fn success(name: &str) -> Value {
    let mut answer = keys(name, EXPIRES_AT);
    answer["Code"] = json!("Success");
    answer["LastUpdated"] = json!("2026-03-01T03:30:00Z");
    answer
}

/// Hands a token out and, to whoever shows it, these.
async fn metadata(role_name: ResponseTemplate, credentials: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    let token = ("x-aliyun-ecs-metadata-token", "metadata-token==");
    Mock::given(method("PUT"))
        .and(path("/latest/api/token"))
        .and(header("x-aliyun-ecs-metadata-token-ttl-seconds", "21600"))
        .and(header("content-length", "0"))
        .respond_with(text(token.1))
        .mount(&server)
        .await;
    for (at, response) in [(ROLES.to_owned(), role_name), (format!("{ROLES}a-role"), credentials)] {
        let asked = Mock::given(method("GET")).and(path(at)).and(header(token.0, token.1));
        asked.respond_with(response).mount(&server).await;
    }
    server
}

async fn asked(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    requests.iter().map(|request| format!("{} {}", request.method, request.url.path())).collect()
}

#[tokio::test]
async fn a_token_is_fetched_first_and_with_it_the_credentials_of_the_configured_role() {
    let server = metadata(ResponseTemplate::new(404), ResponseTemplate::new(200).set_body_json(success("one"))).await;
    let source = ecs(ecs_config(&server.uri(), Some("a-role")), &clock());
    assert_eq!(first_try(&source).await, Ok(()));
    assert_has(&source, "one");
    assert_eq!(asked(&server).await, ["PUT /latest/api/token".to_owned(), format!("GET {ROLES}a-role")]);
}

#[tokio::test]
async fn a_role_that_is_not_configured_is_asked_for() {
    let server = metadata(text("a-role\n"), ResponseTemplate::new(200).set_body_json(success("one"))).await;
    let source = ecs(ecs_config(&server.uri(), None), &clock());
    assert_eq!(first_try(&source).await, Ok(()));
    assert_has(&source, "one");
    assert_eq!(
        asked(&server).await,
        ["PUT /latest/api/token".to_owned(), format!("GET {ROLES}"), format!("GET {ROLES}a-role")]
    );
}

#[tokio::test]
async fn what_is_no_roles_name_is_never_part_of_a_path() {
    let too_long = "x".repeat(65);
    for name in ["", "..", "../../api", "a/b", "a b", "a-role\nanother", "a?b", "<html>", &too_long] {
        let server = metadata(text(name), ResponseTemplate::new(200).set_body_json(success("one"))).await;
        let tried = first_try(&ecs(ecs_config(&server.uri(), None), &clock())).await;
        assert_not_yet(tried, "asked for the role's name, answered something else");
        assert_eq!(asked(&server).await.len(), 2, "{name}");
    }
}

#[tokio::test]
async fn without_a_token_the_first_version_of_the_service_is_not_tried() {
    for response in [ResponseTemplate::new(404), ResponseTemplate::new(200), text("two words"), text("a\r\nb: c")] {
        let server = MockServer::start().await;
        Mock::given(method("PUT")).respond_with(response).mount(&server).await;
        let tried = first_try(&ecs(ecs_config(&server.uri(), Some("a-role")), &clock())).await;
        assert!(tried.unwrap_err().to_string().contains("asked for a token, answered"));
        assert_eq!(asked(&server).await, ["PUT /latest/api/token"]);
    }
}

#[tokio::test]
async fn an_instance_without_the_role_is_a_wrong_set_up() {
    let server = metadata(ResponseTemplate::new(404), ResponseTemplate::new(404)).await;
    let tried = first_try(&ecs(ecs_config(&server.uri(), None), &clock())).await;
    assert_refused(tried, "asked for the role's name, answered HTTP 404");
    let tried = first_try(&ecs(ecs_config(&server.uri(), Some("a-role")), &clock())).await;
    assert_refused(tried, "asked for the role's credentials, answered HTTP 404");
}

#[tokio::test]
async fn what_is_not_an_answer_gives_no_credentials() {
    let mut failed = success("one");
    failed["Code"] = json!("Failed");
    let mut expired = success("one");
    expired["Expiration"] = json!("2026-03-01T08:29:59Z");
    let mut broken = success("one");
    broken["SecurityToken"] = json!(null);
    let json = |body: &Value| ResponseTemplate::new(200).set_body_json(body);
    for (response, reason) in [
        (json(&failed), "answered HTTP 200, code Failed"),
        (json(&expired), "have expired by our clock"),
        (json(&broken), "something else than was asked for"),
        (json(&keys("one", EXPIRES_AT)), "something else than was asked for"),
        (text("<html>canary</html>"), "something else than was asked for"),
        (text(&" ".repeat(10_000_000)), "more than 65536 bytes"),
        (ResponseTemplate::new(503), "answered HTTP 503"),
    ] {
        let server = metadata(text("a-role"), response).await;
        assert_not_yet(first_try(&ecs(ecs_config(&server.uri(), Some("a-role")), &clock())).await, reason);
    }
}

#[tokio::test]
async fn one_time_out_is_for_all_three_questions_together() {
    let slow = |response: ResponseTemplate| response.set_delay(SHORT * 2 / 3);
    let answer = ResponseTemplate::new(200).set_body_json(success("one"));
    let server = metadata(slow(text("a-role")), slow(answer)).await;
    let config = EcsConfig { timeout: SHORT, ..ecs_config(&server.uri(), None) };
    assert_not_yet(first_try(&ecs(config, &clock())).await, "the ECS metadata service gave no answer within 300 ms");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = MockServer::start().await;
    let there = ResponseTemplate::new(200).set_body_json(success("one"));
    Mock::given(any()).respond_with(there).mount(&elsewhere).await;
    let redirect = || ResponseTemplate::new(302).insert_header("location", elsewhere.uri());
    let server = metadata(redirect(), redirect()).await;
    for role in [None, Some("a-role")] {
        assert_not_yet(first_try(&ecs(ecs_config(&server.uri(), role), &clock())).await, "answered HTTP 302");
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_endpoint_is_an_origin_and_nothing_more() {
    for bad in ["", "100.100.100.200", "http://100.100.100.200/latest", "http://u:canary@100.100.100.200"] {
        let error = EcsRole::new(ecs_config(bad, None), clock()).expect_err("this endpoint is wrong");
        assert!(matches!(error, ConfigError::MetadataEndpoint), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
