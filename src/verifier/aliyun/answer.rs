//! Reads what Alibaba Cloud answers to `GetMobile`: the table of its codes, and the number.
//!
//! It must not know how the answer got here. The `Message` is never looked at: that of `SignatureDoesNotMatch` echoes
//! the canonical request, the access token with it.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::phone_number::PhoneNumber;
use crate::verifier::VerifierError;

/// What a `Code` means for the token and for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// There is a number, and the token is spent.
    Number,
    TokenRejected,
    Ambiguous,
    Misconfigured,
    Busy,
    /// Down, or a word that is not in the table; the public list of codes is not complete.
    NoAnswer,
}

/// The one table of codes.
///
/// The HTTP status does not take part: the same business error is seen with 200 and with 400, throttling with 400, 429
/// and 503. A 5xx with a code from the table means what the code says, any other means [`Meaning::NoAnswer`].
pub fn classify(code: &str) -> Meaning {
    match code {
        "OK" => Meaning::Number,

        "isv.TOKEN_INVALID"
        | "isv.ACCESS_CODE_ILLEGAL"
        | "isv.TOKEN_UNAUTHORIZED_USED"
        | "isv.INVALID_PARAMETERS"
        | "isv.CSRF_CHECK_FAILED" => Meaning::TokenRejected,

        // Seen when a token is used a second time.
        "isp.UNKNOWN" => Meaning::Ambiguous,

        // The scheme and the app that are registered with the vendor.
        "isv.VERIFY_SCHEME_NOT_EXIST"
        | "isv.VERIFY_SCHEME_CONFLICT"
        | "isv.PACK_SIGN_CONFLICT"
        | "isv.BUNDLE_ID_CONFLICT"
        | "isv.SCENE_QUERY_FAIL"
        | "isv.INVALID_APP"
        | "VerifySchemeNotExist"
        | "SceneQueryFail"
        | "SchemeNotPassed"
        | "PackageSignedConflict"
        | "EntityNotExist.SceneCode"
        | "QueryFail.SceneCode" => Meaning::Misconfigured,
        // The account: permissions, subscription, arrears.
        "isv.RAM_PERMISSION_DENY"
        | "isp.RAM_PERMISSION_DENY"
        | "isv.PRODUCT_UNSUBSCRIBE"
        | "isv.PRODUCT_UN_SUBSCRIPT"
        | "isv.OUT_OF_SERVICE"
        | "isv.ACCOUNT_NOT_EXISTS"
        | "isv.ACCOUNT_ABNORMAL"
        | "isv.AMOUNT_NOT_ENOUGH"
        | "isv.FORBIDDEN_ACTION"
        | "NoPermission"
        | "RamPermissionDeny"
        | "InsufficientBalance"
        | "FUNCTION_NOT_OPENED"
        | "BIZ_NOT_OPEN_ERROR"
        | "Unsupported.Account" => Meaning::Misconfigured,
        // The gateway in front: our keys, our clock, our signature.
        "MissingAccessToken"
        | "InvalidAccessKeyId.NotFound"
        | "InvalidAccessKeyId.Inactive"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "SignatureNonceUsed"
        | "MissingSecurityToken" => Meaning::Misconfigured,
        _ if begins_with_any(
            code,
            &["InvalidTimeStamp.", "InvalidSecurityToken.", "Forbidden.", "InvalidParameter."],
        ) =>
        {
            Meaning::Misconfigured
        }

        "isp.QPS_LIMIT" | "ServiceUnavailable" => Meaning::Busy,
        _ if begins_with_any(code, &["Throttling"]) => Meaning::Busy,

        "isp.SYSTEM_ERROR" | "UnknowError" | "InternalError" => Meaning::NoAnswer,
        _ => Meaning::NoAnswer,
    }
}

fn begins_with_any(code: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| code.starts_with(prefix))
}

/// The number in an answer, or what its absence means.
pub fn read(http_status: u16, body: &[u8]) -> Result<PhoneNumber, VerifierError> {
    let envelope: Envelope = serde_json::from_slice(body).map_err(|error| VerifierError::NoAnswer {
        // Not as the source: serde's text quotes the value it stumbled on, which may be the number or the token.
        reason: format!("HTTP {http_status}, not the JSON of an answer ({:?} error)", error.classify()),
        source: None,
    })?;
    let code = bounded(&envelope.code);
    let request_id = bounded(envelope.request_id.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default());
    tracing::debug!(
        http.status = http_status,
        aliyun.code = code,
        aliyun.request_id = request_id,
        "GetMobile answered"
    );
    let reason = format!("HTTP {http_status}, code {code}, request {request_id}");
    match classify(&envelope.code) {
        Meaning::Number => read_number(body),
        Meaning::TokenRejected => Err(VerifierError::TokenRejected { code }),
        Meaning::Ambiguous => Err(VerifierError::Ambiguous { code }),
        Meaning::Misconfigured => Err(VerifierError::Misconfigured { code }),
        Meaning::Busy => Err(VerifierError::Throttled { reason }),
        Meaning::NoAnswer => Err(VerifierError::NoAnswer { reason, source: None }),
    }
}

fn read_number(body: &[u8]) -> Result<PhoneNumber, VerifierError> {
    let success: Success = serde_json::from_slice(body).map_err(|_| VerifierError::NotANumber)?;
    PhoneNumber::from_national(&success.result.mobile).map_err(|_| VerifierError::NotANumber)
}

// `_rest` makes serde insist on an object: a derived struct without it is also read from an array.

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Code")]
    code: String,
    #[serde(rename = "RequestId")]
    request_id: Option<serde_json::Value>,
    #[serde(flatten)]
    _rest: HashMap<String, IgnoredAny>,
}

/// Apart from [`Envelope`], so that a strange number does not hide a `Code` that says the token is spent.
#[derive(Deserialize)]
struct Success {
    #[serde(rename = "GetMobileResultDTO")]
    result: GetMobileResult,
    #[serde(flatten)]
    _rest: HashMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct GetMobileResult {
    #[serde(rename = "Mobile")]
    mobile: String,
    #[serde(flatten)]
    _rest: HashMap<String, IgnoredAny>,
}

/// The peer's word in a form that is safe in a log line: at most 64 characters of `[A-Za-z0-9._-]`.
pub fn bounded(word: &str) -> String {
    const MAX_CHARS: usize = 64;
    let safe = |char: char| if char.is_ascii_alphanumeric() || "._-".contains(char) { char } else { '_' };
    if word.is_empty() { "-".to_owned() } else { word.chars().take(MAX_CHARS).map(safe).collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::verifier::TokenState;

    #[test]
    fn whatever_says_that_our_set_up_is_wrong_leaves_the_token_unspent() {
        for code in [
            "isv.FORBIDDEN_ACTION",
            "EntityNotExist.SceneCode",
            "QueryFail.SceneCode",
            "InvalidParameter.MissingSceneCode",
            "InvalidParameter.SceneCode",
            "Unsupported.Account",
            "RamPermissionDeny",
            "FUNCTION_NOT_OPENED",
            "isv.AMOUNT_NOT_ENOUGH",
            "BIZ_NOT_OPEN_ERROR",
            "VerifySchemeNotExist",
            "SceneQueryFail",
            "SchemeNotPassed",
            "PackageSignedConflict",
            "isv.INVALID_APP",
        ] {
            let error = read(400, serde_json::json!({ "Code": code }).to_string().as_bytes()).unwrap_err();
            assert!(matches!(&error, VerifierError::Misconfigured { code: seen } if seen == code), "{error:?}");
            assert_eq!((error.token_state(), error.may_be_billed()), (TokenState::Unspent, false), "{code}");
        }
        for code in ["UnknowError", "InternalError", "isp.SYSTEM_ERROR"] {
            assert_eq!(classify(code), Meaning::NoAnswer, "{code}");
        }
    }

    #[test]
    fn a_rule_for_a_family_of_codes_takes_the_family_and_not_its_neighbours() {
        for code in ["Throttling", "Throttling.User", "Throttling.Api.Whatever"] {
            assert_eq!(classify(code), Meaning::Busy, "{code}");
        }
        for code in ["InvalidTimeStamp.Expired", "InvalidSecurityToken.Malformed", "Forbidden.RAM"] {
            assert_eq!(classify(code), Meaning::Misconfigured, "{code}");
        }
        for code in ["", "ok", "OK ", "isv.TOKEN_INVALID2", "xThrottling", "InvalidTimeStampX", "ISP.UNKNOWN"] {
            assert_eq!(classify(code), Meaning::NoAnswer, "{code}");
        }
    }

    #[test]
    fn a_code_in_an_error_is_short_and_plain() {
        let code = format!("line\nbreak \u{1b}[31m{}", "x".repeat(1000));
        let body = serde_json::json!({ "Code": code, "RequestId": "é\"" }).to_string();
        let error = read(400, body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("code line_break___31mxxx") && error.ends_with("request __"), "{error}");
        assert!(error.len() < 200, "{error}");
    }

    proptest! {
        #[test]
        fn no_body_makes_a_panic_or_a_number_out_of_junk(body: Vec<u8>, mobile: String) {
            prop_assert!(read(200, &body).is_err());
            let body = serde_json::json!({ "Code": "OK", "GetMobileResultDTO": { "Mobile": mobile } }).to_string();
            prop_assert_eq!(read(200, body.as_bytes()).is_ok(), PhoneNumber::from_national(&mobile).is_ok());
        }
    }
}
