//! The production verifier: Alibaba Cloud's number verification service, Dypnsapi, action `GetMobile`.
//!
//! A call is billed and its token works once, so a request is never repeated once a byte of it may have left, and every
//! failure says what is known of the token. It must not know the store, the login or HTTP answers of our own.

mod answer;
mod codes;
mod credentials;
mod diagnosis;
mod signature;
mod transport;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_LENGTH, HOST};
use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use self::signature::{Unsigned, canonical_query, content_sha256};
use self::transport::{BodyError, MAX_ANSWER_BYTES, Origin, read_body};
use super::{AccessToken, CallContext, PhoneNumberVerifier, Verified, VerifierError};
use crate::clock::Clock;
use crate::phone_number::PhoneNumber;
use crate::session_token::random_alphanumeric;

pub use self::codes::remedy;
pub use self::credentials::{
    Credentials, CredentialsSource, EcsConfig, EcsRole, InvalidCredentials, NoCredentials, OidcConfig, OidcRole,
    RefreshedCredentials, Role, StaticCredentials,
};
pub use self::diagnosis::Diagnosis;

const ACTION: &str = "GetMobile";
const API_VERSION: &str = "2017-05-25";

/// The service closes an idle connection after 25 s. Ours goes earlier, or a login would now and then be written into a
/// connection that is just being closed, and nobody could tell whether its token was taken.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

const NONCE_CHARS: usize = 32;

/// How to reach the service, and as whom.
pub struct Config {
    /// An origin, `https://dypnsapi.aliyuncs.com`: http or https, no path, query or user.
    pub endpoint: String,
    /// For a whole call, from connecting to the last byte of the answer.
    pub timeout: Duration,
    /// For name lookup, TCP and TLS together; shorter than `timeout`, since only a failure to connect leaves the token
    /// surely unspent.
    pub connect_timeout: Duration,
    /// The excess is turned away at once.
    pub max_in_flight: usize,
    /// An http or https URL, possibly with a password.
    pub proxy: Option<String>,
    pub credentials: Arc<dyn CredentialsSource>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("proxied", &self.proxy.is_some()).finish_non_exhaustive()
    }
}

/// What is wrong with a [`Config`]. The offending value is not repeated: URLs may carry passwords.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the endpoint is not an http or https URL of a host alone, such as https://dypnsapi.aliyuncs.com")]
    Endpoint,
    #[error("the STS endpoint is not an http or https URL of a host alone, such as https://sts.aliyuncs.com")]
    StsEndpoint,
    #[error("the metadata endpoint is not an http or https URL of a host alone, such as http://100.100.100.200")]
    MetadataEndpoint,
    #[error("the proxy is not an http or https URL of a host")]
    Proxy,
    #[error("the connect timeout must be above zero and below the timeout of the whole call")]
    Timeouts,
    #[error("the limit of calls in flight must be from 1 to {}", Semaphore::MAX_PERMITS)]
    MaxInFlight,
    #[error("the HTTP client cannot be built")]
    Client(#[source] reqwest::Error),
}

/// The client. One per process: it owns the connections and the limit of calls in flight.
pub struct AliyunVerifier {
    http: Client,
    origin: Origin,
    timeout: Duration,
    in_flight: Semaphore,
    credentials: Arc<dyn CredentialsSource>,
    clock: Clock,
}

impl AliyunVerifier {
    pub fn new(config: Config, clock: Clock) -> Result<Self, ConfigError> {
        if config.connect_timeout.is_zero() || config.connect_timeout >= config.timeout {
            return Err(ConfigError::Timeouts);
        }
        if !(1..=Semaphore::MAX_PERMITS).contains(&config.max_in_flight) {
            return Err(ConfigError::MaxInFlight);
        }
        Ok(Self {
            origin: Origin::parse(&config.endpoint).ok_or(ConfigError::Endpoint)?,
            http: transport::build(
                transport::client(config.connect_timeout, config.proxy.as_deref())?
                    .pool_idle_timeout(POOL_IDLE_TIMEOUT)
                    .pool_max_idle_per_host(config.max_in_flight),
            )?,
            timeout: config.timeout,
            in_flight: Semaphore::new(config.max_in_flight),
            credentials: config.credentials,
            clock,
        })
    }

    async fn get_mobile(&self, token: &AccessToken, call: &CallContext) -> Result<PhoneNumber, VerifierError> {
        let response = self.signed_request(token, call)?.send().await.map_err(not_answered)?;
        let http_status = response.status().as_u16();
        answer::read(http_status, &read_body(response).await.map_err(not_read)?)
    }

    fn signed_request(&self, token: &AccessToken, call: &CallContext) -> Result<RequestBuilder, VerifierError> {
        let credentials = self.credentials.current().map_err(not_signed)?;
        let query = canonical_query(&[("AccessToken", token.expose()), ("OutId", call.request_id.as_str())]);
        let date = iso_8601(self.clock.now());
        let nonce = random_alphanumeric(NONCE_CHARS);
        let empty_sha256 = content_sha256(b"");
        let mut headers = vec![
            (HOST.as_str(), self.origin.host.as_str()),
            ("x-acs-action", ACTION),
            ("x-acs-content-sha256", empty_sha256.as_str()),
            ("x-acs-date", date.as_str()),
            ("x-acs-signature-nonce", nonce.as_str()),
            ("x-acs-version", API_VERSION),
        ];
        if let Some(security_token) = credentials.security_token() {
            headers.push(("x-acs-security-token", security_token.expose_secret()));
        }
        let authorization = Unsigned { method: "POST", canonical_query: &query, headers: &headers, body: b"" }
            .authorization(&credentials);

        // The query goes into the URL as it was signed; the URL library leaves percent-encoded text alone.
        let request = self.http.post(self.origin.url(&format!("/?{query}")));
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        // For whoever traces on their side; not signed, as the rules name every header that is.
        let request = request.header("traceparent", call.trace.to_string());
        // A POST without a body carries no length unless told, and the service's gateway wants one.
        Ok(request.header("authorization", authorization).header(CONTENT_LENGTH, "0"))
    }
}

#[async_trait]
impl PhoneNumberVerifier for AliyunVerifier {
    async fn verify(&self, token: &AccessToken, call: &CallContext) -> Result<Verified, VerifierError> {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Err(VerifierError::Busy { reason: "too many calls are in flight from here".to_owned() });
        };
        let started = Instant::now();
        let result =
            timeout(self.timeout, self.get_mobile(token, call)).await.unwrap_or_else(|_| Err(late(self.timeout)));
        tracing::debug!(
            duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            verifier.outcome = result.as_ref().map_or_else(VerifierError::kind, |_| "verified"),
            "GetMobile ended"
        );
        result.map(|number| Verified { number })
    }
}

impl fmt::Debug for AliyunVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AliyunVerifier").field("host", &self.origin.host).finish_non_exhaustive()
    }
}

/// Sorts a failure before the answer's head. reqwest prints the URL, and the token in it, unless it is taken out.
///
/// `is_connect` is name lookup, TCP, a proxy's tunnel and TLS: all before a request is handed to a connection, reused
/// connections excluded. `is_builder` is a request that could not be made. Anything else may have left bytes behind.
fn not_answered(error: reqwest::Error) -> VerifierError {
    let error = error.without_url();
    if error.is_connect() || error.is_builder() {
        VerifierError::Unreachable(error.into())
    } else {
        VerifierError::NoAnswer { reason: "the connection failed".to_owned(), source: Some(error.into()) }
    }
}

fn late(limit: Duration) -> VerifierError {
    VerifierError::NoAnswer { reason: format!("not complete within {} ms", limit.as_millis()), source: None }
}

fn not_read(error: BodyError) -> VerifierError {
    match error {
        BodyError::TooLong => {
            let reason = format!("the answer is longer than {MAX_ANSWER_BYTES} bytes");
            VerifierError::NoAnswer { reason, source: None }
        }
        BodyError::BrokeOff(error) => {
            VerifierError::NoAnswer { reason: "the answer broke off".to_owned(), source: Some(error.into()) }
        }
    }
}

/// Before the first credentials, a call is not tried. Where waiting will not help, it is the set-up that must be looked
/// at, as with any other refusal of Alibaba Cloud's.
fn not_signed(error: NoCredentials) -> VerifierError {
    match error {
        NoCredentials::NotYet { .. } => VerifierError::Busy { reason: error.to_string() },
        NoCredentials::Refused { .. } => VerifierError::Misconfigured { code: error.to_string() },
    }
}

/// The form in which Alibaba Cloud wants a time.
fn iso_8601(at: OffsetDateTime) -> String {
    at.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
        .expect("a date and time has every part of this format")
}
