//! The limits of logins, through the real router with a clock that tests turn; and the budget of billed calls, where what
//! counts is what reached the verifier.

mod addresses;
mod budget;
mod logins;
mod others;
mod reservations;

use serde_json::json;
use wiremock::matchers::{any, query_param_contains};
use wiremock::{Mock, MockServer, ResponseTemplate};

use crate::support::app::{Answer, TestApp};

/// A peer of the verifier's that takes every token, save those that say otherwise, and never forgets one.
struct Peer(MockServer);

impl Peer {
    async fn start() -> Self {
        let server = MockServer::start().await;
        let number = json!({ "Code": "OK", "GetMobileResultDTO": { "Mobile": "13900001234" } });
        let refused = |code: &str| json!({ "Code": code, "RequestId": "8906582E-6722" });
        for (word, answer) in [
            ("masked", json!({ "Code": "OK", "GetMobileResultDTO": { "Mobile": "139****1234" } })),
            ("rejected", refused("isv.TOKEN_INVALID")),
            ("ambiguous", refused("isp.UNKNOWN")),
            ("misconfigured", refused("isv.OUT_OF_SERVICE")),
            ("busy", refused("Throttling.User")),
            ("garbage", json!("garbage")),
        ] {
            let response = ResponseTemplate::new(200).set_body_json(answer);
            Mock::given(query_param_contains("AccessToken", word)).respond_with(response).mount(&server).await;
        }
        Mock::given(any()).respond_with(ResponseTemplate::new(200).set_body_json(number)).mount(&server).await;
        Self(server)
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("ONECLICK_VERIFIER__PROVIDER", "aliyun".to_owned()),
            ("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", self.0.uri()),
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-test".to_owned()),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret-test".to_owned()),
        ]
    }

    /// An application that verifies its tokens here.
    async fn app(&self, variables: &[(&str, &str)]) -> TestApp {
        let own = self.variables();
        TestApp::with(&beside(&own, variables)).await
    }

    /// Every token that arrived, in order.
    async fn ledger(&self) -> Vec<String> {
        let requests = self.0.received_requests().await.expect("wiremock records them");
        let token = |request: &wiremock::Request| {
            request.url.query_pairs().find(|(name, _)| name == "AccessToken").map(|(_, token)| token.into_owned())
        };
        requests.iter().filter_map(token).collect()
    }
}

fn beside<'a>(own: &'a [(&'a str, String)], others: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    own.iter().map(|(name, value)| (*name, value.as_str())).chain(others.iter().copied()).collect()
}

/// Refused for so many seconds, with nothing spent.
#[track_caller]
fn assert_over_limit(answer: &Answer, seconds: &str) {
    answer.assert_error(429, "IDAAS.SDK.COM.0429", "Too many requests, please try again later");
    assert_eq!(answer.header("retry-after"), Some(seconds));
    assert_eq!(answer.header("x-access-token-state"), Some("unspent"));
}
