//! What every code and every malformed answer becomes.

use oneclick_login::verifier::{TokenState, VerifierError};
use serde_json::json;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{SUCCESS, config, verifier, verify};

async fn answer_to(response: ResponseTemplate) -> Result<String, VerifierError> {
    let server = MockServer::start().await;
    Mock::given(method("POST")).respond_with(response).expect(1).mount(&server).await;
    verify(&verifier(config(&server.uri()))).await.map(|verified| verified.number.e164())
}

fn json_answer(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.to_owned(), "application/json;charset=utf-8")
}

const TOKEN_REJECTED: &[&str] = &[
    "isv.TOKEN_INVALID",
    "isv.ACCESS_CODE_ILLEGAL",
    "isv.TOKEN_UNAUTHORIZED_USED",
    "isv.INVALID_PARAMETERS",
    "isv.CSRF_CHECK_FAILED",
];
const AMBIGUOUS: &[&str] = &["isp.UNKNOWN"];
const MISCONFIGURED: &[&str] = &[
    "isv.VERIFY_SCHEME_NOT_EXIST",
    "isv.VERIFY_SCHEME_CONFLICT",
    "isv.PACK_SIGN_CONFLICT",
    "isv.BUNDLE_ID_CONFLICT",
    "isv.SCENE_QUERY_FAIL",
    "isv.INVALID_APP",
    "isv.RAM_PERMISSION_DENY",
    "isp.RAM_PERMISSION_DENY",
    "isv.PRODUCT_UNSUBSCRIBE",
    "isv.PRODUCT_UN_SUBSCRIPT",
    "isv.OUT_OF_SERVICE",
    "isv.ACCOUNT_NOT_EXISTS",
    "isv.ACCOUNT_ABNORMAL",
    "MissingAccessToken",
    "InvalidAccessKeyId.NotFound",
    "InvalidAccessKeyId.Inactive",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "InvalidTimeStamp.Expired",
    "InvalidTimeStamp.Format",
    "SignatureNonceUsed",
    "InvalidSecurityToken.Expired",
    "InvalidSecurityToken.Malformed",
    "MissingSecurityToken",
    "NoPermission",
    "Forbidden.RAM",
    "InsufficientBalance",
    "isv.FORBIDDEN_ACTION",
    "isv.AMOUNT_NOT_ENOUGH",
    "EntityNotExist.SceneCode",
    "QueryFail.SceneCode",
    "InvalidParameter.MissingSceneCode",
    "InvalidParameter.SceneCode",
    "Unsupported.Account",
    "RamPermissionDeny",
    "FUNCTION_NOT_OPENED",
    "BIZ_NOT_OPEN_ERROR",
    "VerifySchemeNotExist",
    "SceneQueryFail",
    "SchemeNotPassed",
    "PackageSignedConflict",
];
const BUSY: &[&str] = &["Throttling", "Throttling.User", "Throttling.Api", "isp.QPS_LIMIT", "ServiceUnavailable"];
const NO_ANSWER: &[&str] =
    &["isp.SYSTEM_ERROR", "UnknowError", "InternalError", "isv.NEVER_HEARD_OF", "ok", "", "Recommend"];

#[tokio::test]
async fn every_code_of_the_table_means_the_same_with_every_http_status() {
    let classes = [
        (TOKEN_REJECTED, "token_rejected", TokenState::Spent),
        (AMBIGUOUS, "ambiguous", TokenState::Unknown),
        (MISCONFIGURED, "misconfigured", TokenState::Unspent),
        (BUSY, "throttled", TokenState::Unspent),
        (NO_ANSWER, "no_answer", TokenState::Unknown),
    ];
    let server = MockServer::start().await;
    let verifier = verifier(config(&server.uri()));
    for (codes, kind, token_state) in classes {
        for code in codes {
            for status in [200, 400, 403, 429, 500, 503] {
                server.reset().await;
                let body = json!({
                    "Code": code, "Message": "m", "RequestId": "r-1", "HostId": "dypnsapi.aliyuncs.com",
                    "Recommend": "https://example.com",
                });
                let response = json_answer(status, &body.to_string());
                Mock::given(method("POST")).respond_with(response).expect(1).mount(&server).await;
                let error = verify(&verifier).await.unwrap_err();
                assert_eq!((error.kind(), error.token_state()), (kind, token_state), "{status} {code}: {error}");
                assert!(error.to_string().contains(code), "{status} {code}: {error}");
                server.verify().await;
            }
        }
    }
}

#[tokio::test]
async fn a_success_is_a_number_whatever_the_http_status() {
    for status in [200, 400, 500] {
        let server = MockServer::start().await;
        Mock::given(method("POST")).respond_with(json_answer(status, SUCCESS)).expect(1).mount(&server).await;
        let verified = verify(&verifier(config(&server.uri()))).await.unwrap();
        assert_eq!(verified.number.e164(), "+8613900001234");
    }
}

#[tokio::test]
async fn an_unlisted_code_is_logged_with_the_request_id() {
    let error = answer_to(json_answer(400, r#"{"Code":"isv.NEW","RequestId":"8906582E"}"#)).await.unwrap_err();
    assert_eq!(error.to_string(), "no usable answer from the verifier: HTTP 400, code isv.NEW, request 8906582E");
}

#[tokio::test]
async fn a_success_without_a_plain_mobile_number_is_never_a_user_and_the_token_is_spent() {
    let bodies = [
        "139****1234",
        "1390000123",
        "139000012345",
        "23900001234",
        "+8613900001234",
        "8613900001234",
        "１３９００００１２３４",
        "1390000123a",
        " 13900001234",
        "",
    ]
    .map(|mobile| json!({ "Code": "OK", "GetMobileResultDTO": { "Mobile": mobile } }).to_string());
    let strange = [
        r#"{"Code":"OK"}"#,
        r#"{"Code":"OK","GetMobileResultDTO":null}"#,
        r#"{"Code":"OK","GetMobileResultDTO":{}}"#,
        r#"{"Code":"OK","GetMobileResultDTO":"13900001234"}"#,
        r#"{"Code":"OK","GetMobileResultDTO":["13900001234"]}"#,
        r#"{"Code":"OK","GetMobileResultDTO":{"Mobile":13900001234}}"#,
        r#"{"Code":"OK","GetMobileResultDTO":{"Mobile":null}}"#,
        r#"{"Code":"OK","GetMobileResultDTO":{"mobile":"13900001234"}}"#,
        r#"{"Code":"OK","GetMobileResultDTO":{"Mobile":"13900001234","Mobile":"13900001235"}}"#,
        r#"{"Code":"OK","GetMobileResultDTO":{"Mobile":"13900001234"},"GetMobileResultDTO":{"Mobile":"13900001235"}}"#,
        r#"{"Code":"OK","Mobile":"13900001234"}"#,
    ];
    for body in bodies.iter().map(String::as_str).chain(strange) {
        let result = answer_to(json_answer(200, body)).await;
        assert!(matches!(result, Err(VerifierError::NotANumber)), "{body}: {result:?}");
    }
}

#[tokio::test]
async fn a_whole_number_of_another_kind_is_told_apart_from_junk_and_the_token_is_spent() {
    for mobile in ["+852-91234567", "+85291234567", "0085291234567", "85291234567", "886912345678", "1064812345678"] {
        let body = json!({ "Code": "OK", "GetMobileResultDTO": { "Mobile": mobile } }).to_string();
        let error = answer_to(json_answer(200, &body)).await.unwrap_err();
        assert!(matches!(error, VerifierError::UnsupportedNumber), "{mobile}: {error:?}");
        assert_eq!((error.token_state(), error.may_be_billed()), (TokenState::Spent, true));
        assert!(!error.to_string().contains(mobile));
    }
}

#[tokio::test]
async fn what_is_not_the_json_of_an_answer_leaves_the_token_unknown() {
    let bodies = [
        "",
        "null",
        "[]",
        r#"["OK"]"#,
        r#""13900001234""#,
        "{}",
        r#"{"Code":null}"#,
        r#"{"Code":200,"GetMobileResultDTO":{"Mobile":"13900001234"}}"#,
        r#"{"Code":"isv.TOKEN_INVALID","Code":"OK","GetMobileResultDTO":{"Mobile":"13900001234"}}"#,
        r#"{"GetMobileResultDTO":{"Mobile":"13900001234"}}"#,
        r#"{"Code":"OK","GetMobileResultDTO":{"Mobile":"13900001234"}"#,
        r#"{"Code":"OK","GetMobileResultDTO":{"Mobile":"13900001234"}} x"#,
        "<html><body><h1>502 Bad Gateway</h1></body></html>",
        "Code=OK&Mobile=13900001234",
    ];
    for body in bodies {
        for status in [200, 400, 502] {
            let error = answer_to(json_answer(status, body)).await.unwrap_err();
            assert!(matches!(error, VerifierError::NoAnswer { .. }), "{status} {body}: {error:?}");
            assert!(error.to_string().contains(&format!("HTTP {status}")), "{error}");
        }
    }
}

#[tokio::test]
async fn compressed_bytes_that_nobody_asked_for_are_no_answer() {
    // `gzip` of SUCCESS's first bytes; the rest does not matter, nothing unpacks it.
    let packed = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0x56, 0x72, 0xce, 0x4f, 0x49, 0x55, 0xb2, 0x52, 0xf2];
    let response = ResponseTemplate::new(200).insert_header("content-encoding", "gzip").set_body_bytes(packed);
    assert!(matches!(answer_to(response).await, Err(VerifierError::NoAnswer { .. })));
}

#[tokio::test]
async fn an_answer_of_64_kib_is_read_and_a_longer_one_is_not() {
    let padded = |length: usize| format!("{SUCCESS}{}", " ".repeat(length - SUCCESS.len()));
    assert_eq!(answer_to(json_answer(200, &padded(64 * 1024))).await.unwrap(), "+8613900001234");
    for length in [64 * 1024 + 1, 10 * 1024 * 1024] {
        let error = answer_to(json_answer(200, &padded(length))).await.unwrap_err();
        assert!(matches!(&error, VerifierError::NoAnswer { reason, .. } if reason.contains("longer")), "{error}");
    }
}

/// ASVS 15.3.2.
#[tokio::test]
async fn a_redirect_is_not_followed_and_a_cookie_is_not_kept() {
    let elsewhere = MockServer::start().await;
    for status in [301, 302, 303, 307, 308] {
        let server = MockServer::start().await;
        let response = ResponseTemplate::new(status)
            .insert_header("location", format!("{}/?AccessToken=x", elsewhere.uri()))
            .insert_header("set-cookie", "a=b");
        Mock::given(method("POST")).respond_with(response).mount(&server).await;
        let verifier = verifier(config(&server.uri()));
        for _ in 0..2 {
            assert!(matches!(verify(&verifier).await, Err(VerifierError::NoAnswer { .. })), "{status}");
        }
        let requests = server.received_requests().await.unwrap();
        assert_eq!(requests.len(), 2, "{status}");
        assert!(requests.iter().all(|request| !request.headers.contains_key("cookie")), "{status}");
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}
