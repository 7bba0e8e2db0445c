//! Reads what Alibaba Cloud answers to `GetMobile`.
//!
//! It must not know how the answer got here. The `Message` is never looked at: that of `SignatureDoesNotMatch` echoes
//! the canonical request, the access token with it.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::codes::{Meaning, classify};
use crate::phone_number::PhoneNumber;
use crate::verifier::VerifierError;

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
        Meaning::Misconfigured(_) => Err(VerifierError::Misconfigured { code }),
        Meaning::Busy => Err(VerifierError::Throttled { reason }),
        Meaning::NoAnswer => Err(VerifierError::NoAnswer { reason, source: None }),
    }
}

fn read_number(body: &[u8]) -> Result<PhoneNumber, VerifierError> {
    let success: Success = serde_json::from_slice(body).map_err(|_| VerifierError::NotANumber)?;
    let mobile = &success.result.mobile;
    PhoneNumber::from_national(mobile).map_err(|_| {
        if PhoneNumber::is_of_another_kind(mobile) {
            VerifierError::UnsupportedNumber
        } else {
            VerifierError::NotANumber
        }
    })
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
