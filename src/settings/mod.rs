//! Settings: embedded defaults, then the file that was named, then the environment. The only place that reads either.
//!
//! This file holds the shape. It must not know what the settings are used for beyond their own consistency.
//! Serialising it, like its `Debug`, shows no secret: that is how `config print` cannot leak one.

mod check;
mod effective;
mod error;
mod layers;
mod load;
mod probe;
mod redact;
mod reference;
mod secrets;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::locale::Locale;

pub use crate::apps::DEMO_CLIENT_ID;
pub use crate::keys::SigningAlg;

pub use effective::{CredentialsKind, DatabaseKind};
pub use error::{Origin, Problem, SettingsError};
pub use redact::REDACTED;
pub use reference::{Reference, reference};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub environment: Environment,
    pub server: Server,
    pub database: Database,
    pub verifier: Verifier,
    pub registration: Registration,
    pub login: Login,
    pub limits: Limits,
    pub session: Session,
    pub id_token: IdToken,
    pub i18n: I18n,
    pub docs: Docs,
    pub secrets: Secrets,
    pub log: Log,
    /// Registered at start if absent; never changed by it.
    #[serde(default)]
    pub apps: Vec<AppSetting>,
    /// Files that secrets were read from, by the secret's key.
    #[serde(skip)]
    pub secret_files: BTreeMap<String, PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    Development,
    Production,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    #[serde(deserialize_with = "address")]
    pub management_listen: SocketAddr,
    /// As text; [`Settings::trusted_proxies`] reads them.
    pub trusted_proxies: Vec<String>,
    pub max_connections: usize,
    /// 0: a quarter of them.
    pub max_connections_per_peer: usize,
    pub idle_timeout_seconds: u64,
    pub header_timeout_seconds: u64,
    pub body_timeout_ms: u64,
    /// From the last byte of a request's body to its answer.
    pub request_timeout_ms: u64,
    /// After SIGTERM: how long to answer "not ready" and still accept, so that the gateway notices.
    pub drain_delay_seconds: u64,
    /// After that: how long requests in flight may take to end.
    pub drain_timeout_seconds: u64,
    pub tls: Tls,
}

/// Both or neither. The files are read when they are used, and again after each change.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub certificate_file: Option<PathBuf>,
    pub private_key_file: Option<PathBuf>,
}

/// Others write `:8080` or the port alone for "on all addresses".
const ADDRESS_FORM: &str = "must be an address and a port, such as 127.0.0.1:8080, or 0.0.0.0:8080 for all addresses";

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom(ADDRESS_FORM))
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgres://…` or `sqlite://…`; unset: `./data/oneclick-login.db` in development, an error in production.
    #[serde(serialize_with = "redact::url")]
    pub url: Option<SecretString>,
    pub max_connections: u32,
    /// Behind PgBouncer in transaction mode: unnamed statements, no startup options.
    pub transaction_pooler: bool,
    /// In production, over the network.
    pub allow_plaintext: bool,
    pub statement_timeout_ms: u64,
    /// Of a request's time, kept for its commit.
    pub phase_timeout_ms: u64,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Verifier {
    pub provider: Provider,
    pub aliyun: Aliyun,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    Sandbox,
    Aliyun,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Aliyun {
    pub endpoint: String,
    pub timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub max_in_flight: usize,
    /// An HTTP proxy to reach Alibaba Cloud through; proxy variables of the environment are not read.
    #[serde(serialize_with = "redact::url")]
    pub proxy: Option<String>,
    pub credentials: CredentialsChoice,
    #[serde(serialize_with = "redact::secret")]
    pub access_key_id: Option<String>,
    #[serde(serialize_with = "redact::secret")]
    pub access_key_secret: Option<SecretString>,
    #[serde(serialize_with = "redact::secret")]
    pub security_token: Option<SecretString>,
    pub role_arn: Option<String>,
    pub oidc_provider_arn: Option<String>,
    /// Not `…_file`: what is in it is read again at every refresh, not once when the settings are.
    pub oidc_token_path: Option<PathBuf>,
    pub role_session_name: String,
    pub sts_endpoint: String,
    pub ecs_role: Option<String>,
    pub ecs_metadata_endpoint: String,
}

/// What signs the calls to Alibaba Cloud; `effective` says what auto comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialsChoice {
    Auto,
    Static,
    Oidc,
    Ecs,
}

/// By hand, since a proxy's address may carry a password.
impl fmt::Debug for Aliyun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aliyun")
            .field("endpoint", &self.endpoint)
            .field("timeout_ms", &self.timeout_ms)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("max_in_flight", &self.max_in_flight)
            .field("proxy", &self.proxy.as_deref().map(redact::url_text))
            .field("credentials", &self.credentials)
            .field("access_key_id", &self.access_key_id.as_ref().map(|_| REDACTED))
            .field("access_key_secret", &self.access_key_secret)
            .field("security_token", &self.security_token)
            .field("role_arn", &self.role_arn)
            .field("oidc_provider_arn", &self.oidc_provider_arn)
            .field("oidc_token_path", &self.oidc_token_path)
            .field("role_session_name", &self.role_session_name)
            .field("sts_endpoint", &self.sts_endpoint)
            .field("ecs_role", &self.ecs_role)
            .field("ecs_metadata_endpoint", &self.ecs_metadata_endpoint)
            .finish()
    }
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    pub auto_register: bool,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub retry_window_seconds: u64,
    /// Logins that may be between admission and their commit; the excess is answered at once.
    pub max_in_flight: usize,
    /// The most logins one commit carries.
    pub max_batch: usize,
}

/// 0 is no limit; a burst of 0 is a whole minute's worth.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub logins_per_app_per_minute: u32,
    pub app_burst: u32,
    pub logins_per_address_per_minute: u32,
    pub address_burst: u32,
    pub logins_per_device_per_minute: u32,
    pub device_burst: u32,
    pub rejected_tokens_per_address_per_minute: u32,
    pub session_calls_per_address_per_minute: u32,
    pub wrong_secrets_per_address_per_minute: u32,
    pub look_ups_per_tenant_per_minute: u32,
    /// Of each replica.
    pub verifier_calls_per_minute: u32,
    /// Of all replicas together.
    pub verifier_calls_per_day: u64,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    pub ttl_seconds: u64,
    pub rotate_on_refresh: bool,
    pub rotation_grace_seconds: u64,
    /// The newest so many sessions of a user are live; 0: any number.
    pub max_per_user: u32,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IdToken {
    /// Ends in `/api/v1/oauth2`; unset in development: derived from `server.listen`.
    pub issuer: Option<String>,
    pub ttl_seconds: u64,
    pub signing_alg: SigningAlg,
    /// After how long a signing key gives way to the next one; 0: only by command.
    pub key_lifetime_days: u64,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct I18n {
    #[serde(serialize_with = "redact::locale")]
    pub default_locale: Locale,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Docs {
    pub serve: DocsChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DocsChoice {
    /// In development, and not in production.
    Auto,
    On,
    Off,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Secrets {
    /// 32 bytes, base64; several, separated by commas or lines, while the key is changed. Unset in development: made
    /// once and kept in `./data`.
    #[serde(serialize_with = "redact::secret")]
    pub master_key: Option<SecretString>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    Json,
    Text,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AppSetting {
    pub client_id: String,
    pub name: String,
    #[serde(default)]
    pub auto_register: Option<bool>,
}
