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
}
