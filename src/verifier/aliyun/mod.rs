//! The production verifier: Alibaba Cloud's number verification service, Dypnsapi, action `GetMobile`.
//!
//! A call is billed and its token works once, so a request is never repeated once a byte of it may have left, and every
//! failure says what is known of the token. It must not know the store, the login or HTTP answers of our own.

mod answer;
mod credentials;
mod signature;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_LENGTH, HOST};
use reqwest::{Client, Proxy, RequestBuilder, Response, Url};
use secrecy::ExposeSecret;
use time::macros::format_description;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use self::signature::{Unsigned, canonical_query, content_sha256};
use super::{AccessToken, PhoneNumberVerifier, Verified, VerifierError};
use crate::clock::Clock;
use crate::ids::RequestId;
use crate::phone_number::PhoneNumber;
use crate::session_token::random_alphanumeric;

pub use self::credentials::{Credentials, CredentialsSource, InvalidCredentials, StaticCredentials};

const ACTION: &str = "GetMobile";
const API_VERSION: &str = "2017-05-25";

/// The service closes an idle connection after 25 s. Ours goes earlier, or a login would now and then be written into a
/// connection that is just being closed, and nobody could tell whether its token was taken.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// A real answer is below 1 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

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
            http: http_client(&config)?,
            timeout: config.timeout,
            in_flight: Semaphore::new(config.max_in_flight),
            credentials: config.credentials,
            clock,
        })
    }

    async fn get_mobile(&self, token: &AccessToken, request_id: &RequestId) -> Result<PhoneNumber, VerifierError> {
        let response = self.signed_request(token, request_id).send().await.map_err(not_answered)?;
        let http_status = response.status().as_u16();
        answer::read(http_status, &read_body(response).await?)
    }

    fn signed_request(&self, token: &AccessToken, request_id: &RequestId) -> RequestBuilder {
        let credentials = self.credentials.current();
        let query = canonical_query(&[("AccessToken", token.expose()), ("OutId", request_id.as_str())]);
        let date = self
            .clock
            .now()
            .format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
            .expect("a date and time has every part of this format");
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
        let request = self.http.post(format!("{}://{}/?{query}", self.origin.scheme, self.origin.host));
        let request = headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
        // A POST without a body carries no length unless told, and the service's gateway wants one.
        request.header("authorization", authorization).header(CONTENT_LENGTH, "0")
    }
}

#[async_trait]
impl PhoneNumberVerifier for AliyunVerifier {
    async fn verify(&self, token: &AccessToken, request_id: &RequestId) -> Result<Verified, VerifierError> {
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return Err(VerifierError::Busy { reason: "too many calls are in flight from here".to_owned() });
        };
        let started = Instant::now();
        let result = timeout(self.timeout, self.get_mobile(token, request_id)).await.unwrap_or_else(|_| {
            let reason = format!("not complete within {} ms", self.timeout.as_millis());
            Err(VerifierError::NoAnswer { reason, source: None })
        });
        tracing::debug!(
            duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            verifier.outcome = result.as_ref().map_or_else(VerifierError::kind, |_| "verified"),
            "GetMobile ended"
        );
        result.map(|number| Verified { number, replay_key: Some(token.replay_key()) })
    }
}

impl fmt::Debug for AliyunVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AliyunVerifier").field("host", &self.origin.host).finish_non_exhaustive()
    }
}

/// The part of an endpoint that calls are made of.
struct Origin {
    scheme: String,
    /// With the port where it is not the scheme's own: the `host` header, sent and signed.
    host: String,
}

impl Origin {
    fn parse(endpoint: &str) -> Option<Self> {
        let url = parse_http_url(endpoint)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        if !(bare && anonymous) {
            return None;
        }
        let host = url.host_str()?;
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Some(Self { scheme: url.scheme().to_owned(), host })
    }
}

fn parse_http_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// A client without the habits that could send a token twice, or to somebody else: no retries, no redirects, no proxy
/// but the configured one, no cookies, no decompression (no feature for either), HTTP/1.1 only.
fn http_client(config: &Config) -> Result<Client, ConfigError> {
    let builder = Client::builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .tls_backend_rustls()
        .http1_only()
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(config.connect_timeout)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(config.max_in_flight)
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .no_proxy();
    let builder = match &config.proxy {
        None => builder,
        Some(proxy) => {
            let url = parse_http_url(proxy).ok_or(ConfigError::Proxy)?;
            builder.proxy(Proxy::all(url).map_err(|_| ConfigError::Proxy)?)
        }
    };
    builder.build().map_err(|error| ConfigError::Client(error.without_url()))
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

async fn read_body(mut response: Response) -> Result<Vec<u8>, VerifierError> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER_BYTES => body.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                let reason = format!("the answer is longer than {MAX_ANSWER_BYTES} bytes");
                return Err(VerifierError::NoAnswer { reason, source: None });
            }
            Ok(None) => return Ok(body),
            Err(error) => {
                let reason = "the answer broke off".to_owned();
                return Err(VerifierError::NoAnswer { reason, source: Some(error.without_url().into()) });
            }
        }
    }
}
