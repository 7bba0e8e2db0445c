//! The real program with a role for its credentials: it starts without them, logs in once it has them, and asks the
//! metadata service past every proxy.

use serde_json::{Value, json};
use wiremock::matchers::{any, method};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{OIDC_TOKEN, PROVIDER_ARN, ROLE_ARN, refusal, sts_answer, token_file};
use crate::support::get_mobile::{ACCESS_KEY_ID, GetMobile};
use crate::support::program::{Setup, eventually};

const SECRET: &str = "canary-of-the-role";
const SECURITY_TOKEN: &str = "canary+security/token=";

/// A peer that wants these keys, and a program that is not given them.
async fn without_keys() -> (GetMobile, Setup) {
    let peer = GetMobile::with(SECRET, Some(SECURITY_TOKEN)).await;
    let mut setup = peer.verifies_for(Setup::new());
    for name in ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"] {
        setup = setup.unset(&format!("ALIBABA_CLOUD_{name}"));
    }
    (peer, setup)
}

/// Valid by the program's own clock, which nobody turns.
fn keys() -> Value {
    json!({
        "Code": "Success", "AccessKeyId": ACCESS_KEY_ID, "AccessKeySecret": SECRET,
        "SecurityToken": SECURITY_TOKEN, "Expiration": "2999-01-01T00:00:00Z",
    })
}

#[tokio::test]
async fn it_starts_while_the_sts_is_down_and_logs_in_once_it_is_not() {
    let (peer, setup) = without_keys().await;
    let (sts, token) = (MockServer::start().await, token_file(OIDC_TOKEN));
    Mock::given(any()).respond_with(refusal(503, "ServiceUnavailable")).mount(&sts).await;
    let mut program = setup
        .set("ONECLICK_VERIFIER__ALIYUN__STS_ENDPOINT", sts.uri())
        .set("ALIBABA_CLOUD_ROLE_ARN", ROLE_ARN)
        .set("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", PROVIDER_ARN)
        .set("ALIBABA_CLOUD_OIDC_TOKEN_FILE", token.path().to_str().unwrap())
        .start()
        .await;
    program.wait_until_ready().await;

    let answer = program.log_in("ok-13900000001").await;
    assert_eq!((answer.status.as_u16(), answer.error_code().as_str()), (500, "IDAAS.SDK.COM.0002"));
    assert_eq!(answer.header("x-access-token-state"), Some("unspent"));
    assert!(peer.ledger().is_empty());

    sts.reset().await;
    Mock::given(any()).respond_with(sts_answer(&keys())).mount(&sts).await;
    // The very same token: it was not spent.
    eventually("logged in", async || (program.log_in("ok-13900000001").await.status == 200).then_some(())).await;
    peer.assert_clean();
    assert_eq!(peer.ledger(), ["ok-13900000001"]);
    program.end().await;
    let said = program.stdout() + &program.stderr();
    assert!(said.contains("got credentials for Alibaba Cloud") && said.contains("ServiceUnavailable"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[tokio::test]
async fn the_metadata_service_is_asked_before_the_first_login_and_past_every_proxy() {
    let (peer, mut setup) = without_keys().await;
    let metadata = MockServer::start().await;
    Mock::given(method("PUT")).respond_with(ResponseTemplate::new(200).set_body_string("t")).mount(&metadata).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(keys())).mount(&metadata).await;
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        setup = setup.set(name, "http://127.0.0.1:1");
    }
    let mut program = setup
        .set("ONECLICK_VERIFIER__ALIYUN__ECS_METADATA_ENDPOINT", metadata.uri())
        .set("ALIBABA_CLOUD_ECS_METADATA", "a-role")
        .start()
        .await;
    assert_eq!(program.log_in("ok-13900000001").await.status, 200);
    peer.assert_clean();
    assert_eq!(metadata.received_requests().await.unwrap().len(), 2);
    program.end().await;
    assert!(!program.stdout().contains("canary"));
}
