//! What holds where a setting was left out. Only development derives anything; production has been refused by then.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use toml::{Table, Value};

use super::reference::{Reference, reference};
use super::{Aliyun, AppSetting, CredentialsChoice, DocsChoice, Environment, IdToken, Provider, Settings, redact};
use crate::apps::DEMO_CLIENT_ID;
use crate::client_address::TrustedProxies;
use crate::http::ISSUER_PATH;
use crate::limits::{self, budget};
use crate::server::tls;
use crate::vault::{MasterKeyError, MasterKeys};

const DEVELOPMENT_DATABASE: &str = "sqlite://data/oneclick-login.db";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    Postgres,
    Sqlite,
}

impl DatabaseKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

/// Where the credentials for Alibaba Cloud come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialsKind {
    /// An AccessKey in the settings.
    Static,
    /// A RAM role, for the cluster's OIDC token.
    Oidc,
    /// The RAM role of the ECS instance.
    Ecs,
}

impl Environment {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

impl Provider {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Aliyun => "aliyun",
        }
    }
}

impl Aliyun {
    /// What was chosen; else the first that is set up completely; else the one that was begun, so that its missing half
    /// is what is complained of.
    pub fn credentials_kind(&self) -> CredentialsKind {
        let oidc = [self.role_arn.is_some(), self.oidc_provider_arn.is_some(), self.oidc_token_path.is_some()];
        match self.credentials {
            CredentialsChoice::Static => CredentialsKind::Static,
            CredentialsChoice::Oidc => CredentialsKind::Oidc,
            CredentialsChoice::Ecs => CredentialsKind::Ecs,
            CredentialsChoice::Auto if self.access_key_id.is_some() || self.access_key_secret.is_some() => {
                CredentialsKind::Static
            }
            CredentialsChoice::Auto if oidc == [true; 3] => CredentialsKind::Oidc,
            CredentialsChoice::Auto if self.ecs_role.is_some() => CredentialsKind::Ecs,
            CredentialsChoice::Auto if oidc != [false; 3] => CredentialsKind::Oidc,
            CredentialsChoice::Auto => CredentialsKind::Static,
        }
    }
}

impl Settings {
    /// The `iss` claim. Where `server.listen` has port 0, write the bound address there before asking.
    pub fn issuer(&self) -> String {
        self.id_token.issuer.clone().unwrap_or_else(|| format!("{}{ISSUER_PATH}", self.local_url()))
    }

    /// The address to reach ourselves at: one that listens everywhere is reached as localhost.
    fn local_url(&self) -> String {
        let listen = self.server.listen;
        let scheme = if self.tls_files().is_some() { "https" } else { "http" };
        if listen.ip().is_unspecified() {
            format!("{scheme}://localhost:{}", listen.port())
        } else {
            format!("{scheme}://{listen}")
        }
    }

    /// What one call of the verifier may take at the most: the sandbox answers from memory.
    pub fn verifier_timeout(&self) -> Duration {
        match self.verifier.provider {
            Provider::Sandbox => Duration::ZERO,
            Provider::Aliyun => Duration::from_millis(self.verifier.aliyun.timeout_ms),
        }
    }

    /// Whether the API's description is served.
    pub fn serves_docs(&self) -> bool {
        match self.docs.serve {
            DocsChoice::Auto => self.environment == Environment::Development,
            DocsChoice::On => true,
            DocsChoice::Off => false,
        }
    }

    pub fn database_url(&self) -> SecretString {
        self.database.url.clone().unwrap_or_else(|| SecretString::from(DEVELOPMENT_DATABASE))
    }

    /// The database's URL without its password.
    pub fn shown_database_url(&self) -> String {
        redact::url_text(self.database_url().expose_secret())
    }

    pub fn database_kind(&self) -> DatabaseKind {
        if self.database_url().expose_secret().starts_with("sqlite:") {
            DatabaseKind::Sqlite
        } else {
            DatabaseKind::Postgres
        }
    }

    /// Whose word on a client's address is taken.
    pub fn trusted_proxies(&self) -> TrustedProxies {
        TrustedProxies::parse(self.server.trusted_proxies.iter().map(String::as_str)).unwrap_or_default()
    }

    /// What the API's listener needs to speak TLS, where it does.
    pub fn tls_files(&self) -> Option<tls::Files> {
        let tls = &self.server.tls;
        let (certificate, private_key) = (tls.certificate_file.clone()?, tls.private_key_file.clone()?);
        Some(tls::Files { certificate, private_key })
    }

    /// A quarter of the connections unless it says otherwise: enough for a gateway that nobody has declared.
    pub fn max_connections_per_peer(&self) -> usize {
        match self.server.max_connections_per_peer {
            0 => (self.server.max_connections / 4).max(1),
            most => most,
        }
    }

    /// Peers that may have any number of connections: gateways, and this machine.
    pub fn exempt_peers(&self) -> TrustedProxies {
        let proxies = self.server.trusted_proxies.iter().map(String::as_str);
        TrustedProxies::parse(["127.0.0.0/8", "::1"].into_iter().chain(proxies)).unwrap_or_default()
    }

    /// The limits in force. Without declared proxies there is none by address: everybody behind a gateway that nobody
    /// declared would be one address.
    pub fn login_limits(&self) -> limits::Config {
        let settings = &self.limits;
        let knows_addresses = !self.trusted_proxies().is_empty();
        let by_address = |per_minute, burst| rate(per_minute, burst).filter(|_| knows_addresses);
        limits::Config {
            app: rate(settings.logins_per_app_per_minute, settings.app_burst),
            address: by_address(settings.logins_per_address_per_minute, settings.address_burst),
            device: rate(settings.logins_per_device_per_minute, settings.device_burst),
            rejected_tokens: by_address(settings.rejected_tokens_per_address_per_minute, 0),
            session_calls: by_address(settings.session_calls_per_address_per_minute, 0),
            wrong_secrets: by_address(settings.wrong_secrets_per_address_per_minute, 0),
            look_ups: rate(settings.look_ups_per_tenant_per_minute, 0),
        }
    }

    pub fn verifier_budget(&self) -> budget::Config {
        budget::Config {
            per_minute: NonZeroU32::new(self.limits.verifier_calls_per_minute),
            per_day: NonZeroU64::new(self.limits.verifier_calls_per_day),
        }
    }

    /// The applications to register at start: the configured ones, and in development the demo app.
    pub fn apps(&self) -> Vec<AppSetting> {
        let mut apps = self.apps.clone();
        if self.environment == Environment::Development && apps.iter().all(|app| app.client_id != DEMO_CLIENT_ID) {
            apps.push(AppSetting {
                client_id: DEMO_CLIENT_ID.to_owned(),
                name: "Demo app".to_owned(),
                auto_register: None,
            });
        }
        apps
    }

    /// Every key that has a value, derived ones included, in the order of `config/default.toml`; secrets are
    /// [`super::REDACTED`], and so are passwords inside URLs.
    pub fn shown(&self) -> Vec<(String, Value)> {
        let mut effective = self.clone();
        effective.id_token.issuer = Some(self.issuer());
        effective.database.url = Some(self.database_url());
        effective.apps = self.apps();
        let table = Table::try_from(&effective).expect("settings are text, booleans and integers that TOML can hold");
        let value = |row: Reference| lookup(&table, &row.key).cloned().map(|value| (row.key, value));
        reference().into_iter().filter_map(value).collect()
    }

    /// `None` where none is set, which only development may leave so: then a key is made once and kept beside the data.
    /// One that is set and cannot be read is an error, never none.
    pub fn master_keys(&self) -> Option<Result<MasterKeys, MasterKeyError>> {
        self.secrets.master_key.as_ref().map(|text| MasterKeys::parse(text.expose_secret()))
    }
}

impl IdToken {
    /// `None` where signing keys change by command only.
    pub fn key_lifetime(&self) -> Option<Duration> {
        (self.key_lifetime_days > 0).then(|| Duration::from_secs(self.key_lifetime_days * 86_400))
    }
}

fn rate(per_minute: u32, burst: u32) -> Option<limits::Rate> {
    let per_minute = NonZeroU32::new(per_minute)?;
    Some(limits::Rate { per_minute, burst: NonZeroU32::new(burst).unwrap_or(per_minute) })
}

fn lookup<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let mut names = key.split('.');
    let first = table.get(names.next()?)?;
    names.try_fold(first, |at, name| at.get(name))
}
