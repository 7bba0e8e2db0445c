//! What the settings must fulfil beyond their types: ranges, deadlines that shrink inwards, addresses of the right form,
//! and what production refuses to start with. Messages name keys and limits, never a value that may be secret.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::error::Problem;
use super::{Aliyun, CredentialsKind, Environment, Provider, Settings};
use crate::client_address::TrustedProxies;
use crate::error_chain::Chain;
use crate::http::ISSUER_PATH;
use crate::ids::ClientId;
use crate::keys::LONGEST_ID_TOKEN_LIFE_SECONDS;
use crate::store::{StoreError, postgres, sqlite};
use crate::vault::{MasterKeyError, MasterKeys};

/// An upper bound for every deadline: a longer one is a mistaken unit.
const TEN_MINUTES_MS: u64 = 600_000;
const HOUR_SECONDS: u64 = 3_600;
const DAY_SECONDS: u64 = 86_400;
const TEN_YEARS_DAYS: u64 = 3_650;
/// Many times what one replica carries.
const MAX_LOGINS_PER_MINUTE: u64 = 10_000_000;
/// More than all people make.
const MAX_CALLS_PER_DAY: u64 = 1_000_000_000_000;
/// The store keeps a session's row, and with it the replay guard, for two hours at least.
const REPLAY_GUARD_SECONDS: u64 = 7_200;

/// Whoever is in between reads the role's password exchange, and may write a session for any user.
const EXPOSED: &str = "must have sslmode=verify-full (with sslrootcert=FILE for an authority of your own) in production, \
     where the database is on another machine; or set database.allow_plaintext to true, if something else protects the way";

/// All that is wrong, in the order of the keys. `environment_is_written` tells whether somebody set it.
pub fn problems(settings: &Settings, environment_is_written: bool) -> Vec<Problem> {
    let mut found = Findings(Vec::new());
    if settings.environment == Environment::Development && !environment_is_written {
        found.development_by_default(settings.server.listen);
    }
    found.ranges(settings);
    found.order(settings);
    found.bursts(settings);
    found.addresses(settings);
    found.secrets(settings);
    found.apps(settings);
    if settings.environment == Environment::Production {
        found.production(settings);
    }
    found.0
}

struct Findings(Vec<Problem>);

impl Findings {
    fn add(&mut self, key: &'static str, message: impl Into<String>) {
        // One message a key: the first says what to do, the others follow from it.
        if self.0.iter().all(|problem| problem.key != key) {
            self.0.push(Problem { key, message: message.into(), origin: None });
        }
    }

    fn require(&mut self, holds: bool, key: &'static str, message: &str) {
        if !holds {
            self.add(key, message);
        }
    }

    fn ranges(&mut self, settings: &Settings) {
        let Settings { server, database, login, limits, session, id_token, .. } = settings;
        let aliyun = &settings.verifier.aliyun;
        for (key, value, least, most) in [
            ("server.max_connections", server.max_connections as u64, 1, 1_000_000),
            ("server.max_connections_per_peer", server.max_connections_per_peer as u64, 0, 1_000_000),
            ("server.idle_timeout_seconds", server.idle_timeout_seconds, 1, HOUR_SECONDS),
            ("server.header_timeout_seconds", server.header_timeout_seconds, 1, HOUR_SECONDS),
            ("server.body_timeout_ms", server.body_timeout_ms, 1, TEN_MINUTES_MS),
            ("server.request_timeout_ms", server.request_timeout_ms, 1, TEN_MINUTES_MS),
            ("server.drain_delay_seconds", server.drain_delay_seconds, 0, HOUR_SECONDS),
            ("server.drain_timeout_seconds", server.drain_timeout_seconds, 1, HOUR_SECONDS),
            ("database.max_connections", u64::from(database.max_connections), 1, 1_000),
            ("database.statement_timeout_ms", database.statement_timeout_ms, 1, TEN_MINUTES_MS),
            ("database.phase_timeout_ms", database.phase_timeout_ms, 1, TEN_MINUTES_MS),
            ("verifier.aliyun.timeout_ms", aliyun.timeout_ms, 1, TEN_MINUTES_MS),
            ("verifier.aliyun.connect_timeout_ms", aliyun.connect_timeout_ms, 1, TEN_MINUTES_MS),
            ("verifier.aliyun.max_in_flight", aliyun.max_in_flight as u64, 1, 1_000_000),
            ("login.retry_window_seconds", login.retry_window_seconds, 0, REPLAY_GUARD_SECONDS),
            ("login.max_in_flight", login.max_in_flight as u64, 1, 1_000_000),
            ("login.max_batch", login.max_batch as u64, 1, 1_000),
            ("limits.logins_per_app_per_minute", limits.logins_per_app_per_minute.into(), 0, MAX_LOGINS_PER_MINUTE),
            ("limits.app_burst", limits.app_burst.into(), 0, MAX_LOGINS_PER_MINUTE),
            (
                "limits.logins_per_address_per_minute",
                limits.logins_per_address_per_minute.into(),
                0,
                MAX_LOGINS_PER_MINUTE,
            ),
            ("limits.address_burst", limits.address_burst.into(), 0, MAX_LOGINS_PER_MINUTE),
            (
                "limits.logins_per_device_per_minute",
                limits.logins_per_device_per_minute.into(),
                0,
                MAX_LOGINS_PER_MINUTE,
            ),
            ("limits.device_burst", limits.device_burst.into(), 0, MAX_LOGINS_PER_MINUTE),
            ("limits.verifier_calls_per_minute", limits.verifier_calls_per_minute.into(), 0, MAX_LOGINS_PER_MINUTE),
            ("limits.verifier_calls_per_day", limits.verifier_calls_per_day, 0, MAX_CALLS_PER_DAY),
            ("session.ttl_seconds", session.ttl_seconds, 1, TEN_YEARS_DAYS * DAY_SECONDS),
            ("session.rotation_grace_seconds", session.rotation_grace_seconds, 0, HOUR_SECONDS),
            ("id_token.ttl_seconds", id_token.ttl_seconds, 1, LONGEST_ID_TOKEN_LIFE_SECONDS),
            ("id_token.key_lifetime_days", id_token.key_lifetime_days, 0, TEN_YEARS_DAYS),
        ] {
            if !(least..=most).contains(&value) {
                self.add(key, format!("must be {least} to {most}"));
            }
        }
    }

    /// Deadlines shrink inwards, so that the innermost one that is late says what was late.
    fn order(&mut self, settings: &Settings) {
        let Settings { server, database, login, session, .. } = settings;
        let aliyun = &settings.verifier.aliyun;
        let request = ("server.request_timeout_ms", server.request_timeout_ms);
        let call = ("verifier.aliyun.timeout_ms", aliyun.timeout_ms);
        let connect = ("verifier.aliyun.connect_timeout_ms", aliyun.connect_timeout_ms);
        let phase = ("database.phase_timeout_ms", database.phase_timeout_ms);
        let statement = ("database.statement_timeout_ms", database.statement_timeout_ms);
        let idle = ("server.idle_timeout_seconds", server.idle_timeout_seconds);
        let head = ("server.header_timeout_seconds", server.header_timeout_seconds);
        let grace = ("session.rotation_grace_seconds", session.rotation_grace_seconds);
        let lifetime = ("session.ttl_seconds", session.ttl_seconds);
        let batch = ("login.max_batch", login.max_batch as u64);
        let admitted = ("login.max_in_flight", login.max_in_flight as u64);

        let (api, management) = (server.listen, server.management_listen);
        let overlap = api.ip() == management.ip() || api.ip().is_unspecified() || management.ip().is_unspecified();
        let apart = api.port() != management.port() || api.port() == 0 || !overlap;
        self.require(apart, "server.management_listen", "must differ from server.listen");
        let tls = &server.tls;
        let message = "must be set where the other of server.tls is";
        let (certificate, private_key) = (tls.certificate_file.is_some(), tls.private_key_file.is_some());
        self.require(certificate || !private_key, "server.tls.certificate_file", message);
        self.require(private_key || !certificate, "server.tls.private_key_file", message);
        self.greater(idle, head);
        self.at_least(request, sum_of_a_logins_stages(settings));
        self.greater(call, connect);
        self.at_least(phase, statement);
        self.at_least(admitted, batch);
        self.greater(lifetime, grace);
    }

    /// A burst belongs to a rate.
    fn bursts(&mut self, settings: &Settings) {
        let limits = &settings.limits;
        for (key, burst, rate, per_minute) in [
            ("limits.app_burst", limits.app_burst, "logins_per_app_per_minute", limits.logins_per_app_per_minute),
            (
                "limits.address_burst",
                limits.address_burst,
                "logins_per_address_per_minute",
                limits.logins_per_address_per_minute,
            ),
            (
                "limits.device_burst",
                limits.device_burst,
                "logins_per_device_per_minute",
                limits.logins_per_device_per_minute,
            ),
        ] {
            if burst > 0 && per_minute == 0 {
                self.add(key, format!("must be 0 while limits.{rate} is 0, which is no limit"));
            }
        }
    }

    fn greater(&mut self, (key, value): (&'static str, u64), (other, bound): (&str, u64)) {
        if value <= bound {
            self.add(key, format!("({value}) must be greater than {other} ({bound})"));
        }
    }

    fn at_least(&mut self, (key, value): (&'static str, u64), (other, bound): (&str, u64)) {
        if value < bound {
            self.add(key, format!("({value}) must be at least {other} ({bound})"));
        }
    }

    fn addresses(&mut self, settings: &Settings) {
        if let Some(url) = &settings.database.url {
            self.database_url(url);
        }
        if let Err((index, why)) = TrustedProxies::parse(settings.server.trusted_proxies.iter().map(String::as_str)) {
            self.add("server.trusted_proxies", format!("number {}: {why}", index + 1));
        }
        let aliyun = &settings.verifier.aliyun;
        let message = "must be an http:// or https:// URL without user, query or fragment";
        self.require(plain_url(&aliyun.endpoint), "verifier.aliyun.endpoint", message);
        self.require(plain_url(&aliyun.sts_endpoint), "verifier.aliyun.sts_endpoint", message);
        self.require(plain_url(&aliyun.ecs_metadata_endpoint), "verifier.aliyun.ecs_metadata_endpoint", message);
        let session = ram_name(&aliyun.role_session_name) && aliyun.role_session_name.len() >= 2;
        self.require(
            session,
            "verifier.aliyun.role_session_name",
            "must be 2 to 64 of the characters a-z A-Z 0-9 . _ - @",
        );
        let role = aliyun.ecs_role.as_deref().is_none_or(ram_name);
        self.require(role, "verifier.aliyun.ecs_role", "must be a role's name alone: 1 to 64 of a-z A-Z 0-9 . _ - @");
        let proxy = aliyun.proxy.as_deref().is_none_or(|proxy| http_url(proxy).is_some());
        self.require(proxy, "verifier.aliyun.proxy", "must be an http:// or https:// URL");
        if let Some(issuer) = &settings.id_token.issuer {
            self.require(plain_url(issuer), "id_token.issuer", message);
            let message = "must end in /api/v1/oauth2, without a slash behind it";
            self.require(issuer.ends_with(ISSUER_PATH), "id_token.issuer", message);
        }
    }

    /// By the reader that the store itself uses: what a start would refuse is refused here.
    fn database_url(&mut self, url: &SecretString) {
        let text = url.expose_secret();
        let read = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            postgres::check_url(url)
        } else if text.starts_with("sqlite://") {
            sqlite::check_url(text)
        } else {
            Err(StoreError::Url("must begin with postgres://, postgresql:// or sqlite://".to_owned()))
        };
        match read {
            Ok(()) => {}
            Err(StoreError::Url(message)) => self.add("database.url", message),
            Err(error) => self.add("database.url", format!("cannot be used: {}", Chain(&error))),
        }
    }

    fn secrets(&mut self, settings: &Settings) {
        if let Some(text) = &settings.secrets.master_key {
            match MasterKeys::parse(text.expose_secret()) {
                Ok(_) => {}
                Err(MasterKeyError::Repeated) => self.add("secrets.master_key", "must not list a key twice"),
                Err(MasterKeyError::Form | MasterKeyError::File { .. }) => self.add(
                    "secrets.master_key",
                    "must be exactly 32 bytes in base64, as from openssl rand -base64 32; or several, by commas or lines",
                ),
            }
        }
        if settings.verifier.provider == Provider::Aliyun {
            self.credentials(&settings.verifier.aliyun);
        }
    }

    fn credentials(&mut self, aliyun: &Aliyun) {
        let (key, oidc) = match aliyun.credentials_kind() {
            CredentialsKind::Static => (true, false),
            CredentialsKind::Oidc => (false, true),
            CredentialsKind::Ecs => (false, false),
        };
        let message = "must be set where verifier.provider is aliyun, unless a role gives the credentials";
        self.require(!key || aliyun.access_key_id.is_some(), "verifier.aliyun.access_key_id", message);
        self.require(!key || aliyun.access_key_secret.is_some(), "verifier.aliyun.access_key_secret", message);
        let message = "must be set where an OIDC role gives the credentials";
        self.require(!oidc || aliyun.role_arn.is_some(), "verifier.aliyun.role_arn", message);
        self.require(!oidc || aliyun.oidc_provider_arn.is_some(), "verifier.aliyun.oidc_provider_arn", message);
        self.require(!oidc || aliyun.oidc_token_path.is_some(), "verifier.aliyun.oidc_token_path", message);
    }

    fn apps(&mut self, settings: &Settings) {
        let mut seen = BTreeSet::new();
        for (index, app) in settings.apps.iter().enumerate() {
            if let Err(error) = ClientId::parse(&*app.client_id) {
                self.add("apps", format!("number {}: {error}", index + 1));
            }
            if app.name.trim().is_empty() {
                self.add("apps", format!("number {}: an app needs a name", index + 1));
            }
            if !seen.insert(&app.client_id) {
                self.add("apps", format!("number {}: client id {} is listed twice", index + 1, app.client_id));
            }
        }
    }

    /// Whoever forgets to set it must not take made-up numbers from a network.
    fn development_by_default(&mut self, listen: SocketAddr) {
        let message = format!(
            "is not set, and server.listen = {listen} is open to other machines: write environment = \"production\", or \
             environment = \"development\" where anybody may log in with any number (also as ONECLICK_ENVIRONMENT)"
        );
        self.require(listen.ip().to_canonical().is_loopback(), "environment", &message);
    }

    fn production(&mut self, settings: &Settings) {
        let sandbox = settings.verifier.provider == Provider::Sandbox;
        self.require(!sandbox, "verifier.provider", "must not be sandbox in production: it accepts made-up numbers");
        let endpoint = is_https(&settings.verifier.aliyun.endpoint);
        self.require(endpoint, "verifier.aliyun.endpoint", "must be an https:// URL in production");
        let sts = is_https(&settings.verifier.aliyun.sts_endpoint);
        self.require(sts, "verifier.aliyun.sts_endpoint", "must be an https:// URL in production");
        let database = settings.database.url.is_some();
        self.require(database, "database.url", "must be set in production, also as DATABASE_URL");
        if let (Some(url), false) = (&settings.database.url, settings.database.allow_plaintext) {
            self.require(!postgres::is_exposed(url), "database.url", EXPOSED);
        }
        let message = "must be an https:// URL in production";
        self.require(settings.id_token.issuer.as_deref().is_some_and(is_https), "id_token.issuer", message);
        let key = settings.secrets.master_key.is_some();
        self.require(key, "secrets.master_key", "must be set in production");
    }
}

/// What a login may need from the last byte of its body to its answer, stage after stage. A request that has less time
/// could be answered "unknown" although its session is there. The sandbox answers from memory.
fn sum_of_a_logins_stages(settings: &Settings) -> (&'static str, u64) {
    let (database, call) = (&settings.database, settings.verifier.aliyun.timeout_ms);
    let commit = database.phase_timeout_ms;
    match settings.verifier.provider {
        Provider::Sandbox => ("database.phase_timeout_ms", commit),
        Provider::Aliyun if settings.limits.verifier_calls_per_day > 0 => (
            "verifier.aliyun.timeout_ms + database.phase_timeout_ms + database.statement_timeout_ms, for the day's budget",
            call.saturating_add(commit).saturating_add(database.statement_timeout_ms),
        ),
        Provider::Aliyun => ("verifier.aliyun.timeout_ms + database.phase_timeout_ms", call.saturating_add(commit)),
    }
}

/// Stricter than the parser, which mends white space, backslashes and missing slashes: others read the same text.
fn http_url(text: &str) -> Option<Url> {
    let mended = text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\');
    let written_out = text.starts_with("http://") || text.starts_with("https://");
    Url::parse(text).ok().filter(|url| written_out && !mended && url.has_host())
}

fn is_https(text: &str) -> bool {
    http_url(text).is_some_and(|url| url.scheme() == "https")
}

fn plain_url(text: &str) -> bool {
    http_url(text).is_some_and(|url| {
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
    })
}

/// Names of roles and of sessions become part of a path and of an ARN.
fn ram_name(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte));
    (1..=64).contains(&text.len()) && plain && !text.starts_with('.')
}
