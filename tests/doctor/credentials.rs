//! A role's credentials that cannot be had.

use serde_json::json;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::doctor;
use crate::support::program::Setup;

fn setup() -> Setup {
    Setup::new()
        .set("ONECLICK_VERIFIER__PROVIDER", "aliyun")
        .set("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", "http://127.0.0.1:1")
}

#[tokio::test]
async fn an_sts_that_refuses_the_role_is_quoted_by_its_code_and_no_call_is_made() {
    let sts = MockServer::start().await;
    let answer = json!({ "Code": "AuthenticationFail.OIDCToken.Expired", "Message": "canary" });
    Mock::given(any()).respond_with(ResponseTemplate::new(400).set_body_json(answer)).expect(1).mount(&sts).await;
    let setup = setup();
    std::fs::write(setup.folder().join("token"), "canary.of.oidc").unwrap();
    let setup = setup
        .set("ONECLICK_VERIFIER__ALIYUN__STS_ENDPOINT", sts.uri())
        .set("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r")
        .set("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p")
        .set("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "token");
    let report = doctor(&setup).await;
    let words = ["of the OIDC role", "AuthenticationFail.OIDCToken.Expired", "trust policy"];
    report.assert_fails("credentials", &words);
    report.assert_says("skip", "verifier", &["without credentials"]);
}

#[tokio::test]
async fn an_instance_without_a_metadata_service_is_told_what_to_look_at() {
    let setup = setup()
        .set("ONECLICK_VERIFIER__ALIYUN__CREDENTIALS", "ecs")
        .set("ONECLICK_VERIFIER__ALIYUN__ECS_METADATA_ENDPOINT", "http://127.0.0.1:1");
    let report = doctor(&setup).await;
    report.assert_fails("credentials", &["of the ECS instance's role", "cannot be reached", "has that RAM role"]);
}
