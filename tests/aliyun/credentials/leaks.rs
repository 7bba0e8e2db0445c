//! The OIDC token, the metadata token and the keys that are answered show up in no error, `Debug` or log line.

use oneclick_login::verifier::aliyun::{CredentialsSource, OidcConfig, RefreshedCredentials};
use serde_json::json;
use wiremock::matchers::{any, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{EXPIRES_AT, OIDC_TOKEN, clock, ecs, ecs_config, keys, minutes, oidc, oidc_config, sts_answer, token_file};
use crate::aliyun::peer::{Conduct, Peer};
use crate::support::log::Log;

fn printed(source: &RefreshedCredentials) -> String {
    match source.current() {
        Ok(credentials) => format!("{source:?} {source:#?} {credentials:?}"),
        Err(error) => format!("{source:?} {source:#?} {error} {error:?}"),
    }
}

/// Distinct in each part, and all of them echoed.
fn answers() -> Vec<ResponseTemplate> {
    let echo = format!("canary {OIDC_TOKEN} Bearer canary");
    let mut answers = vec![sts_answer(&keys("canary", EXPIRES_AT))];
    for key in ["AccessKeyId", "AccessKeySecret", "SecurityToken", "Expiration"] {
        for value in [json!(echo), json!([echo]), json!("canary\n"), json!(null)] {
            let mut keys = keys("canary", EXPIRES_AT);
            keys[key] = value;
            answers.push(sts_answer(&keys));
        }
    }
    for status in [200, 302, 400, 503] {
        let answer = || ResponseTemplate::new(status).insert_header("location", format!("/{OIDC_TOKEN}"));
        answers.push(answer().set_body_json(json!({ "Code": "Failed", "Message": echo, "RequestId": [echo] })));
        answers.push(answer().set_body_json(json!({ "Code": [echo] })));
        answers.push(answer().set_body_json(json!({ "Credentials": { "AccessKeySecret": "canary" } })));
        answers.push(answer().set_body_string(echo.clone()));
        answers.push(answer().set_body_string(" ".repeat(100_000) + &echo));
    }
    answers
}

#[tokio::test]
async fn nothing_that_is_printed_shows_a_token_or_a_key() {
    let log = Log::default();
    let _guard = log.listen();
    let token = token_file(OIDC_TOKEN);
    let mut text = String::new();
    for answer in answers() {
        let server = MockServer::start().await;
        Mock::given(method("PUT"))
            .respond_with(ResponseTemplate::new(200).set_body_string("canary"))
            .mount(&server)
            .await;
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let clock = clock();
        for source in [
            oidc(oidc_config(&server.uri(), &token), &clock),
            ecs(ecs_config(&server.uri(), Some("a-role")), &clock),
            ecs(ecs_config(&server.uri(), None), &clock),
        ] {
            source.refresh_if_due().await;
            text += &printed(&source);
        }
        clock.advance(minutes(1));
    }
    for conduct in [Conduct::ResetAtOnce, Conduct::Babble(format!("HTTP/1.1 {OIDC_TOKEN}\r\n\r\n").into_bytes())] {
        let peer = Peer::start(conduct).await;
        let source = oidc(oidc_config(&peer.endpoint(), &token), &clock());
        source.refresh_if_due().await;
        text += &printed(&source);
    }
    for content in [format!("{OIDC_TOKEN} {OIDC_TOKEN}"), "canary\u{fffd}".to_owned()] {
        let token = token_file(content);
        let source = oidc(oidc_config("http://127.0.0.1:1", &token), &clock());
        source.refresh_if_due().await;
        text += &printed(&source);
    }
    let proxied = OidcConfig {
        proxy: Some("http://user:canary@127.0.0.1:1".to_owned()),
        ..oidc_config("https://sts.test", &token)
    };
    text += &format!("{proxied:?}");
    let source = oidc(proxied, &clock());
    source.refresh_if_due().await;
    text += &printed(&source);

    let lines = log.lines();
    for expected in ["got credentials for Alibaba Cloud", "code Failed", "cannot be used", "TRACE hyper_util"] {
        assert!(lines.contains(expected), "{expected} not in: {lines}");
    }
    for secret in ["canary", "c2ln", "eyJ"] {
        for shown in [&text, &lines] {
            let at = shown.find(secret);
            assert_eq!(at, None, "{secret} in: …{}", at.map_or("", |at| &shown[at.saturating_sub(300)..]));
        }
    }
}
