//! The one table of Alibaba Cloud's codes: what each means for the token and for us, and what an operator does about
//! those that refuse the deployment.
//!
//! The HTTP status does not take part: the same business error is seen with 200 and with 400, throttling with 400, 429
//! and 503. The public lists of codes are not complete.

use Meaning::{Ambiguous, Busy, Misconfigured, NoAnswer, Number, TokenRejected};

/// What a `Code` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// There is a number, and the token is spent.
    Number,
    TokenRejected,
    Ambiguous,
    /// Somebody must act; this says how.
    Misconfigured(&'static str),
    Busy,
    /// Down, or a word that is not in the table.
    NoAnswer,
}

/// A word that ends in `*` stands for a family of codes: all that begin so.
const TABLE: &[(&[&str], Meaning)] = &[
    (&["OK"], Number),
    (
        &[
            "isv.TOKEN_INVALID",
            "isv.ACCESS_CODE_ILLEGAL",
            "isv.TOKEN_UNAUTHORIZED_USED",
            "isv.INVALID_PARAMETERS",
            "isv.CSRF_CHECK_FAILED",
        ],
        TokenRejected,
    ),
    // Seen when a token is used a second time.
    (&["isp.UNKNOWN"], Ambiguous),
    (&["isp.QPS_LIMIT", "ServiceUnavailable", "Throttling*"], Busy),
    (&["isp.SYSTEM_ERROR", "UnknowError", "InternalError"], NoAnswer),
    // The scheme and the app that are registered with them.
    (
        &["isv.INVALID_APP"],
        Misconfigured(
            "the app's scheme belongs to another Alibaba Cloud account than the AccessKey: use an AccessKey of that \
             account; only then compare package name and signature, or bundle id",
        ),
    ),
    (
        &[
            "isv.VERIFY_SCHEME_NOT_EXIST",
            "isv.SCENE_QUERY_FAIL",
            "VerifySchemeNotExist",
            "SceneQueryFail",
            "EntityNotExist.SceneCode",
            "QueryFail.SceneCode",
        ],
        Misconfigured(
            "the scheme does not exist in this account: make it in the console of number verification, and give the \
             app its key",
        ),
    ),
    (
        &["isv.VERIFY_SCHEME_CONFLICT", "isv.PACK_SIGN_CONFLICT", "isv.BUNDLE_ID_CONFLICT", "PackageSignedConflict"],
        Misconfigured(
            "compare the scheme in the console of number verification with the app: its package name and signature, \
             or bundle id",
        ),
    ),
    (
        &["SchemeNotPassed"],
        Misconfigured("the scheme is not approved yet: see its state in the console of number verification"),
    ),
    // The account.
    (
        &[
            "isv.RAM_PERMISSION_DENY",
            "isp.RAM_PERMISSION_DENY",
            "RamPermissionDeny",
            "isv.FORBIDDEN_ACTION",
            "NoPermission",
            "Forbidden.*",
        ],
        Misconfigured(
            "attach a policy to the RAM user or role that allows the action dypns:GetMobile on all resources (*)",
        ),
    ),
    (
        &["isv.PRODUCT_UNSUBSCRIBE", "isv.PRODUCT_UN_SUBSCRIPT", "FUNCTION_NOT_OPENED", "BIZ_NOT_OPEN_ERROR"],
        Misconfigured("subscribe the account to number verification (Dypnsapi) in Alibaba Cloud's console"),
    ),
    (
        &["isv.OUT_OF_SERVICE", "isv.AMOUNT_NOT_ENOUGH", "InsufficientBalance"],
        Misconfigured("top up the account: it is in arrears, or its package of calls is used up"),
    ),
    (
        &["isv.ACCOUNT_NOT_EXISTS", "isv.ACCOUNT_ABNORMAL", "Unsupported.Account"],
        Misconfigured(
            "the account is locked or not the one that has the service: look at it in Alibaba Cloud's console",
        ),
    ),
    // The gateway in front: our keys, our clock, our signature, our call.
    (
        &["InvalidAccessKeyId.NotFound", "InvalidAccessKeyId.Inactive"],
        Misconfigured(
            "the AccessKey does not exist or is disabled: make one for the RAM user, or enable it in the RAM console",
        ),
    ),
    (
        &["SignatureDoesNotMatch", "IncompleteSignature"],
        Misconfigured(
            "the AccessKey secret is not the one of the AccessKey id: set verifier.aliyun.access_key_secret anew",
        ),
    ),
    (
        &["InvalidTimeStamp.*"],
        Misconfigured("set this machine's clock: calls are signed with the time, which may be 15 minutes off"),
    ),
    (
        &["SignatureNonceUsed"],
        Misconfigured("something between here and Alibaba Cloud sends requests twice: look at the proxy"),
    ),
    (
        &["InvalidSecurityToken.*", "MissingSecurityToken"],
        Misconfigured(
            "temporary credentials have expired or are not whole: set verifier.aliyun.security_token along with its \
             AccessKey, or let a role give them",
        ),
    ),
    (&["MissingAccessToken"], Misconfigured("the access token got lost on the way: look at the proxy")),
    (
        &["InvalidParameter.*"],
        Misconfigured("a parameter of the call is refused: see that verifier.aliyun.endpoint is that of Dypnsapi"),
    ),
];

pub fn classify(code: &str) -> Meaning {
    let is_named = |words: &[&str]| {
        words.iter().any(|word| word.strip_suffix('*').map_or(code == *word, |family| code.starts_with(family)))
    };
    TABLE.iter().find(|(words, _)| is_named(words)).map_or(NoAnswer, |(_, meaning)| *meaning)
}

/// What an operator can do about a refusal of this deployment.
pub fn remedy(code: &str) -> &'static str {
    match classify(code) {
        Misconfigured(remedy) => remedy,
        Number | TokenRejected | Ambiguous | Busy | NoAnswer => {
            "look the code up in the documentation of number verification (Dypnsapi)"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_code_has_two_meanings() {
        let words: Vec<&str> = TABLE.iter().flat_map(|(words, _)| words.iter().copied()).collect();
        assert_eq!(words.iter().collect::<HashSet<_>>().len(), words.len());
        for (words, meaning) in TABLE {
            for word in *words {
                assert_eq!(classify(&word.replace('*', "Whatever")), *meaning, "{word}");
            }
        }
    }

    #[test]
    fn a_family_of_codes_is_the_family_and_not_its_neighbours() {
        for code in ["Throttling", "Throttling.User", "Throttling.Api.Whatever"] {
            assert_eq!(classify(code), Busy, "{code}");
        }
        for code in ["InvalidTimeStamp.Expired", "InvalidSecurityToken.Malformed", "Forbidden.RAM"] {
            assert!(matches!(classify(code), Misconfigured(_)), "{code}");
        }
        for code in ["", "ok", "OK ", "isv.TOKEN_INVALID2", "xThrottling", "InvalidTimeStampX", "ISP.UNKNOWN", "*"] {
            assert_eq!(classify(code), NoAnswer, "{code}");
        }
    }
}
