//! The Alibaba Cloud client, the real type, against peers that answer, lie, hang and hang up.

mod answers;
mod bulkhead;
mod config;
mod connection;
mod credentials;
mod leaks;
mod peer;
mod tls;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use oneclick_login::clock::Clock;
use oneclick_login::ids::RequestId;
use oneclick_login::trace::TraceContext;
use oneclick_login::verifier::aliyun::{AliyunVerifier, Config, Credentials, StaticCredentials};
use oneclick_login::verifier::{AccessToken, CallContext, PhoneNumberVerifier, Verified, VerifierError};
use secrecy::SecretString;
use time::macros::datetime;

pub const ACCESS_KEY_ID: &str = "LTAI5tTESTaccessKeyId01";
pub const ACCESS_KEY_SECRET: &str = "canary-secret-0123456789ab";
pub const TOKEN: &str = "canary-token/+==";
pub const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
pub const SUCCESS: &str =
    r#"{"Code":"OK","Message":"OK","RequestId":"8906582E","GetMobileResultDTO":{"Mobile":"13900001234"}}"#;

/// Long enough for a busy machine to answer in; hung peers get [`SHORT`].
const PATIENT: Duration = Duration::from_secs(10);
pub const SHORT: Duration = Duration::from_millis(300);

pub fn config(endpoint: &str) -> Config {
    Config {
        endpoint: endpoint.to_owned(),
        timeout: PATIENT,
        connect_timeout: PATIENT / 2,
        max_in_flight: 8,
        proxy: None,
        credentials: Arc::new(StaticCredentials::new(credentials(None))),
    }
}

pub fn credentials(security_token: Option<&str>) -> Credentials {
    let security_token = security_token.map(SecretString::from);
    Credentials::new(ACCESS_KEY_ID, SecretString::from(ACCESS_KEY_SECRET), security_token)
        .expect("the tests' credentials have the form")
}

pub fn clock() -> Clock {
    Clock::manual(datetime!(2026-03-01 08:30:00 UTC))
}

pub fn verifier(config: Config) -> AliyunVerifier {
    AliyunVerifier::new(config, clock()).expect("the tests' configuration is valid")
}

/// A client that gives up on a peer soon.
pub fn impatient(endpoint: &str) -> AliyunVerifier {
    verifier(Config { timeout: SHORT, connect_timeout: SHORT / 2, ..config(endpoint) })
}

pub async fn verify(verifier: &AliyunVerifier) -> Result<Verified, VerifierError> {
    verify_token(verifier, TOKEN).await
}

pub async fn verify_token(verifier: &AliyunVerifier, token: &str) -> Result<Verified, VerifierError> {
    let token = AccessToken::parse(token).expect("the tests' tokens have the form");
    let request_id = RequestId::parse("request-1").expect("the tests' request id has the form");
    let trace = TraceContext::parse(TRACEPARENT).expect("the recommendation's own example");
    verifier.verify(&token, &CallContext { request_id, trace }).await
}
