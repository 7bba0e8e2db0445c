//! Alibaba Cloud's side: a call that is refused, or does not arrive, and a clock that is off.

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::net::TcpListener;
use wiremock::matchers::{method, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{Report, doctor};
use crate::support::program::Setup;
use crate::support::tls::untrusted_tls_peer;
use oneclick_login::clock::Clock;

fn setup(endpoint: String) -> Setup {
    Setup::new()
        .set("ONECLICK_VERIFIER__PROVIDER", "aliyun")
        .set("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", endpoint)
        .set("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-test")
        .set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "canary-secret")
}

async fn answered(answer: ResponseTemplate) -> Report {
    let peer = MockServer::start().await;
    let impossible = query_param("AccessToken", "oneclick-login-doctor");
    Mock::given(method("POST")).and(impossible).respond_with(answer).expect(1).mount(&peer).await;
    doctor(&setup(peer.uri())).await
}

fn refusal(status: u16, code: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({
        "Code": code, "RequestId": "8906582E", "Message": "canary: the string to sign is canary",
    }))
}

fn dated(seconds_ahead: i64) -> ResponseTemplate {
    let at: OffsetDateTime = Clock::system().now() + time::Duration::seconds(seconds_ahead);
    let date = at.format(&Rfc2822).unwrap().replace("+0000", "GMT");
    refusal(400, "isv.TOKEN_INVALID").insert_header("date", date)
}

#[tokio::test]
async fn a_refusal_of_the_call_is_said_by_its_code_with_what_to_do_and_without_their_message() {
    for (status, code, advice) in [
        (400, "SignatureDoesNotMatch", "set verifier.aliyun.access_key_secret anew"),
        (404, "InvalidAccessKeyId.NotFound", "does not exist or is disabled"),
        (400, "InvalidTimeStamp.Expired", "set this machine's clock"),
        (400, "InvalidSecurityToken.Expired", "set verifier.aliyun.security_token"),
        (403, "NoPermission", "dypns:GetMobile"),
        (200, "isv.RAM_PERMISSION_DENY", "dypns:GetMobile"),
        (200, "isv.PRODUCT_UNSUBSCRIBE", "subscribe the account to number verification"),
        (200, "isv.OUT_OF_SERVICE", "in arrears"),
        (400, "isv.AMOUNT_NOT_ENOUGH", "in arrears"),
        (400, "FUNCTION_NOT_OPENED", "subscribe the account to number verification"),
        (400, "BIZ_NOT_OPEN_ERROR", "subscribe the account to number verification"),
        (400, "RamPermissionDeny", "dypns:GetMobile"),
        (400, "isv.FORBIDDEN_ACTION", "dypns:GetMobile"),
        (400, "Unsupported.Account", "the account is locked or not the one"),
        (400, "isv.INVALID_APP", "the app's scheme belongs to another Alibaba Cloud account than the AccessKey"),
        (200, "isv.VERIFY_SCHEME_NOT_EXIST", "the scheme does not exist in this account"),
        (400, "EntityNotExist.SceneCode", "the scheme does not exist in this account"),
        (400, "QueryFail.SceneCode", "the scheme does not exist in this account"),
        (400, "VerifySchemeNotExist", "the scheme does not exist in this account"),
        (400, "SceneQueryFail", "the scheme does not exist in this account"),
        (400, "SchemeNotPassed", "not approved yet"),
        (200, "isv.PACK_SIGN_CONFLICT", "compare the scheme in the console"),
        (400, "PackageSignedConflict", "compare the scheme in the console"),
        (400, "InvalidParameter.MissingSceneCode", "that verifier.aliyun.endpoint is that of Dypnsapi"),
    ] {
        answered(refusal(status, code)).await.assert_fails("verifier", &["refuses our calls", code, advice]);
    }
}

#[tokio::test]
async fn a_token_that_is_called_bad_is_as_it_should_be() {
    for code in ["isv.TOKEN_INVALID", "isv.INVALID_PARAMETERS"] {
        let report = answered(refusal(200, code)).await;
        report.assert_says("ok", "verifier", &["takes our calls", code]);
        report.assert_says("ok", "credentials", &["AccessKey"]);
        report.assert_says("ok", "their clock", &[]);
        assert_eq!(report.ran.code, Some(0), "{:?}", report.ran);
    }
}

#[tokio::test]
async fn an_answer_that_leaves_something_open_is_a_warning() {
    answered(refusal(200, "isp.UNKNOWN")).await.assert_warns("verifier", &["isp.UNKNOWN", "from a real device"]);
    answered(refusal(429, "Throttling.User")).await.assert_warns("verifier", &["Throttling.User", "a higher quota"]);
}

#[tokio::test]
async fn whoever_is_not_alibaba_cloud_is_found_out() {
    let number = json!({ "Code": "OK", "GetMobileResultDTO": { "Mobile": "13900001234" } });
    let generous = answered(ResponseTemplate::new(200).set_body_json(number)).await;
    generous.assert_fails("verifier", &["that is not Alibaba Cloud", "https://dypnsapi.aliyuncs.com"]);
    assert!(!generous.ran.stdout.contains("13900001234"));
    let page = answered(ResponseTemplate::new(200).set_body_string("<html>canary</html>")).await;
    page.assert_fails("verifier", &["not the JSON of an answer", "what stands in between"]);
}

#[tokio::test]
async fn the_clock_is_compared_with_the_date_of_the_answer() {
    for seconds in [-1200, -660, 660, 1200] {
        let side = if seconds < 0 { "behind ours" } else { "ahead of ours" };
        answered(dated(seconds)).await.assert_fails("their clock", &[side, "no call is taken", "NTP"]);
    }
    for seconds in [-300, -60, 60, 300] {
        answered(dated(seconds)).await.assert_warns("their clock", &["NTP"]);
    }
    for seconds in [-15, 15] {
        answered(dated(seconds)).await.assert_says("ok", "their clock", &[]);
    }
}

#[tokio::test]
async fn a_call_that_does_not_arrive_is_told_apart_by_where_it_ended() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, _peer) = untrusted_tls_peer().await;
    for (endpoint, words) in [
        (format!("http://{nobody}"), ["refused", "nothing listens there"]),
        ("http://no-such-host.invalid".to_owned(), ["dns error", "the name, or the DNS"]),
        (format!("https://localhost:{port}"), ["certificate", "CA certificates"]),
        (format!("http://{}", silent.local_addr().unwrap()), ["not complete within 400 ms", "firewall"]),
    ] {
        let impatient = setup(endpoint)
            .set("ONECLICK_VERIFIER__ALIYUN__TIMEOUT_MS", "400")
            .set("ONECLICK_VERIFIER__ALIYUN__CONNECT_TIMEOUT_MS", "300");
        doctor(&impatient).await.assert_fails("verifier", &words);
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_run_or_opens_no_way_is_named() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refusing = MockServer::start().await;
    for proxy in [format!("http://u:canary@{nobody}"), refusing.uri()] {
        let setup = setup("https://dypnsapi.test".to_owned()).set("ONECLICK_VERIFIER__ALIYUN__PROXY", proxy);
        doctor(&setup).await.assert_fails("verifier", &["(the way leads through verifier.aliyun.proxy)"]);
    }
}
