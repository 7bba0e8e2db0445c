//! The credentials of a RAM role, for the OIDC token that a Kubernetes cluster mounts into the pod (RRSA): the STS's
//! action `AssumeRoleWithOIDC`, which is not signed, as the token is the proof.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::fetch::{FetchError, Keys, Temporary, ask, parse};
use crate::clock::Clock;
use crate::verifier::aliyun::signature::canonical_query;
use crate::verifier::aliyun::transport::{self, Origin};
use crate::verifier::aliyun::{ConfigError, iso_8601};

const STS: &str = "the STS";
const ACTION: &str = "AssumeRoleWithOIDC";
const API_VERSION: &str = "2015-04-01";

/// The most that every role allows.
const DURATION_SECONDS: &str = "3600";

/// A cluster's token has 1 to 2 KiB; the STS takes 20,000 characters.
const MAX_TOKEN_BYTES: u64 = 20_000;

/// Which role, and what proves that it is ours.
pub struct OidcConfig {
    /// An origin, `https://sts.aliyuncs.com`, or one of the `sts-vpc` hosts.
    pub endpoint: String,
    /// For the whole exchange, from reading the file to the last byte of the answer.
    pub timeout: Duration,
    /// An http or https URL, possibly with a password.
    pub proxy: Option<String>,
    pub role_arn: String,
    pub provider_arn: String,
    /// Read at every refresh: the cluster replaces the token about every hour.
    pub token_path: PathBuf,
    pub session_name: String,
}

pub struct OidcRole {
    http: Client,
    origin: Origin,
    config: OidcConfig,
    clock: Clock,
}

/// By hand, like the next one, as the proxy's URL may carry a password.
impl fmt::Debug for OidcConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcConfig").field("role_arn", &self.role_arn).finish_non_exhaustive()
    }
}

impl fmt::Debug for OidcRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcRole").field("config", &self.config).finish_non_exhaustive()
    }
}

impl OidcRole {
    pub fn new(config: OidcConfig, clock: Clock) -> Result<Self, ConfigError> {
        let http = transport::client(config.timeout / 2, config.proxy.as_deref())?.pool_max_idle_per_host(0);
        let origin = Origin::parse(&config.endpoint).ok_or(ConfigError::StsEndpoint)?;
        Ok(Self { http: transport::build(http)?, origin, config, clock })
    }

    pub async fn fetch(&self) -> Result<Temporary, FetchError> {
        let limit = self.config.timeout;
        tokio::time::timeout(limit, self.exchange())
            .await
            .unwrap_or(Err(FetchError::Late { asked: "the OIDC token file or the STS", limit }))
    }

    async fn exchange(&self) -> Result<Temporary, FetchError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            credentials: Keys,
        }

        let token = self.token().await?;
        let timestamp = iso_8601(self.clock.now());
        let query = canonical_query(&[
            ("Action", ACTION),
            ("Format", "JSON"),
            ("Timestamp", &timestamp),
            ("Version", API_VERSION),
        ]);
        // In the body and not in the URL, which proxies and gateways write down.
        let form = canonical_query(&[
            ("DurationSeconds", DURATION_SECONDS),
            ("OIDCProviderArn", &self.config.provider_arn),
            ("OIDCToken", token.expose_secret()),
            ("RoleArn", &self.config.role_arn),
            ("RoleSessionName", &self.config.session_name),
        ]);
        let request = self.http.post(self.origin.url(&format!("/?{query}")));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let answer: Answer = parse(STS, &ask(request, STS).await?)?;
        answer.credentials.into_temporary(STS, self.clock.now())
    }

    async fn token(&self) -> Result<SecretString, FetchError> {
        let path = || self.config.token_path.clone();
        let unreadable = |source| FetchError::TokenFile { path: path(), source };
        let file = File::open(&self.config.token_path).await.map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(MAX_TOKEN_BYTES + 1).read_to_end(&mut bytes).await.map_err(unreadable)?;
        let token = String::from_utf8(bytes).unwrap_or_default();
        let token = token.trim();
        let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if plain && token.len() as u64 <= MAX_TOKEN_BYTES {
            Ok(SecretString::from(token))
        } else {
            Err(FetchError::NotAToken { path: path() })
        }
    }
}
