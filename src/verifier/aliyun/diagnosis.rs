//! A trial call, for whoever sets the service up: does Alibaba Cloud take our calls, and does its clock agree with ours?
//! It must not know who asks.

use reqwest::header::{DATE, HeaderMap};
use time::format_description::well_known::Rfc2822;
use time::{Duration, OffsetDateTime};
use tokio::time::timeout;

use super::{AliyunVerifier, answer, late, not_answered, not_read, read_body};
use crate::ids::RequestId;
use crate::phone_number::PhoneNumber;
use crate::trace::TraceContext;
use crate::verifier::{AccessToken, CallContext, VerifierError};

/// No client SDK makes such a token, so there is no number behind it, and nothing is charged for it.
const IMPOSSIBLE_TOKEN: &str = "oneclick-login-doctor";

/// What a trial call came to.
#[derive(Debug)]
pub struct Diagnosis {
    /// [`VerifierError::TokenRejected`] is as it should be: all that comes before the token was right.
    pub outcome: Result<PhoneNumber, VerifierError>,
    /// How far the service's clock is ahead of ours, to the second; `None` where no answer told.
    pub clock_ahead: Option<Duration>,
}

impl AliyunVerifier {
    /// Calls `GetMobile` with a token that cannot exist, under the deadline of any other call.
    pub async fn diagnose(&self) -> Diagnosis {
        let mut clock_ahead = None;
        let call = async {
            let token = AccessToken::parse(IMPOSSIBLE_TOKEN).expect("the token has the form of one");
            let call = CallContext { request_id: RequestId::new(self.clock.now()), trace: TraceContext::root(false) };
            let response = self.signed_request(&token, &call)?.send().await.map_err(not_answered)?;
            clock_ahead = date(response.headers()).map(|theirs| theirs - self.clock.now());
            let http_status = response.status().as_u16();
            answer::read(http_status, &read_body(response).await.map_err(not_read)?)
        };
        let outcome = timeout(self.timeout, call).await.unwrap_or_else(|_| Err(late(self.timeout)));
        Diagnosis { outcome, clock_ahead }
    }
}

/// RFC 9110's `Sun, 06 Nov 1994 08:49:37 GMT`, which differs from RFC 2822's form in the name of the zone alone.
fn date(headers: &HeaderMap) -> Option<OffsetDateTime> {
    let text = headers.get(DATE)?.to_str().ok()?.strip_suffix(" GMT")?;
    OffsetDateTime::parse(&format!("{text} +0000"), &Rfc2822).ok()
}

/// What an operator can do about a refusal of this deployment, by its `Code`.
pub fn remedy(code: &str) -> &'static str {
    match code.split('.').next().unwrap_or_default() {
        "SignatureDoesNotMatch" | "IncompleteSignature" => {
            "the AccessKey secret is not the one of the AccessKey id: set verifier.aliyun.access_key_secret anew"
        }
        "InvalidAccessKeyId" => {
            "the AccessKey does not exist or is disabled: make one for the RAM user, or enable it in the RAM console"
        }
        "InvalidTimeStamp" => "set this machine's clock: calls are signed with the time, which may be 15 minutes off",
        "SignatureNonceUsed" => "something between here and Alibaba Cloud sends requests twice: look at the proxy",
        "InvalidSecurityToken" | "MissingSecurityToken" => {
            "temporary credentials have expired or are not whole: set verifier.aliyun.security_token along with its \
             AccessKey, or let a role give them"
        }
        "NoPermission" | "Forbidden" | "RamPermissionDeny" => PERMISSION,
        "InsufficientBalance" => ARREARS,
        "FUNCTION_NOT_OPENED" | "BIZ_NOT_OPEN_ERROR" => SUBSCRIPTION,
        "Unsupported" => ACCOUNT,
        "EntityNotExist" | "QueryFail" | "VerifySchemeNotExist" | "SceneQueryFail" => {
            "the scheme does not exist in this account: make it in the console of number verification, and give the app its key"
        }
        "SchemeNotPassed" => "the scheme is not approved yet: see its state in the console of number verification",
        "InvalidParameter" => {
            "a parameter of the call is refused: see that verifier.aliyun.endpoint is that of Dypnsapi"
        }
        "MissingAccessToken" => "the access token got lost on the way: look at the proxy",
        _ => match code {
            "isv.RAM_PERMISSION_DENY" | "isp.RAM_PERMISSION_DENY" | "isv.FORBIDDEN_ACTION" => PERMISSION,
            "isv.PRODUCT_UNSUBSCRIBE" | "isv.PRODUCT_UN_SUBSCRIPT" => SUBSCRIPTION,
            "isv.OUT_OF_SERVICE" | "isv.AMOUNT_NOT_ENOUGH" => ARREARS,
            "isv.ACCOUNT_NOT_EXISTS" | "isv.ACCOUNT_ABNORMAL" => ACCOUNT,
            "isv.INVALID_APP" => {
                "the app's scheme belongs to another Alibaba Cloud account than the AccessKey: use an AccessKey of that \
                 account; only then compare package name and signature, or bundle id"
            }
            _ => {
                "compare the scheme in the console of number verification with the app: its package name and signature, or bundle id"
            }
        },
    }
}

const PERMISSION: &str =
    "attach a policy to the RAM user or role that allows the action dypns:GetMobile on all resources (*)";
const SUBSCRIPTION: &str = "subscribe the account to number verification (Dypnsapi) in Alibaba Cloud's console";
const ACCOUNT: &str =
    "the account is locked or not the one that has the service: look at it in Alibaba Cloud's console";
const ARREARS: &str = "top up the account: it is in arrears";

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read_in_the_form_that_http_demands() {
        let read = |text: &'static str| date(&HeaderMap::from_iter([(DATE, HeaderValue::from_static(text))]));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(datetime!(1994-11-06 08:49:37 UTC)));
        for other in ["", "1994-11-06T08:49:37Z", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 CET"] {
            assert_eq!(read(other), None, "{other}");
        }
        assert_eq!(date(&HeaderMap::new()), None);
    }

    #[test]
    fn a_family_of_codes_has_one_remedy() {
        for (codes, expected) in [
            (
                &[
                    "Forbidden.RAM",
                    "NoPermission",
                    "isp.RAM_PERMISSION_DENY",
                    "RamPermissionDeny",
                    "isv.FORBIDDEN_ACTION",
                ][..],
                PERMISSION,
            ),
            (&["isv.AMOUNT_NOT_ENOUGH", "isv.OUT_OF_SERVICE", "InsufficientBalance"], ARREARS),
            (&["FUNCTION_NOT_OPENED", "BIZ_NOT_OPEN_ERROR", "isv.PRODUCT_UNSUBSCRIBE"], SUBSCRIPTION),
            (&["Unsupported.Account", "isv.ACCOUNT_ABNORMAL"], ACCOUNT),
        ] {
            for code in codes {
                assert_eq!(remedy(code), expected, "{code}");
            }
        }
        for code in ["EntityNotExist.SceneCode", "QueryFail.SceneCode", "VerifySchemeNotExist", "SceneQueryFail"] {
            assert!(remedy(code).contains("scheme does not exist"), "{code}");
        }
        assert!(remedy("isv.INVALID_APP").starts_with("the app's scheme belongs to another Alibaba Cloud account"));
        assert!(remedy("SchemeNotPassed").contains("not approved"));
        assert!(remedy("InvalidParameter.MissingSceneCode").contains("parameter"));
        assert!(remedy("PackageSignedConflict").contains("package name"));
        for code in ["InvalidAccessKeyId.NotFound", "InvalidAccessKeyId.Inactive"] {
            assert!(remedy(code).contains("AccessKey does not exist or is disabled"), "{code}");
        }
    }
}
