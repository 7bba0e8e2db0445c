//! The credentials of the RAM role of the ECS instance we run on, from its metadata service in its second version: a
//! token first, by a method that a tricked HTTP client does not use.

use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, HeaderValue};
use reqwest::{Client, RequestBuilder};
use serde::Deserialize;

use super::fetch::{FetchError, Keys, Temporary, ask, parse, refused, word};
use crate::clock::Clock;
use crate::verifier::aliyun::ConfigError;
use crate::verifier::aliyun::transport::{self, Origin};

const TOKEN: &str = "the ECS metadata service, asked for a token,";
const ROLE: &str = "the ECS metadata service, asked for the role's name,";
const KEYS: &str = "the ECS metadata service, asked for the role's credentials,";

const TOKEN_PATH: &str = "/latest/api/token";
const ROLES_PATH: &str = "/latest/meta-data/ram/security-credentials/";
const TOKEN_TTL_SECONDS: &str = "21600";

#[derive(Debug)]
pub struct EcsConfig {
    /// An origin, `http://100.100.100.200`: an address of the instance's own host. No proxy leads there.
    pub endpoint: String,
    /// For the three requests together.
    pub timeout: Duration,
    /// Asked for where it is `None`: an instance has one role at most.
    pub role: Option<String>,
}

#[derive(Debug)]
pub struct EcsRole {
    http: Client,
    origin: Origin,
    config: EcsConfig,
    clock: Clock,
}

impl EcsRole {
    pub fn new(config: EcsConfig, clock: Clock) -> Result<Self, ConfigError> {
        let http = transport::client(config.timeout / 2, None)?.pool_max_idle_per_host(1);
        let origin = Origin::parse(&config.endpoint).ok_or(ConfigError::MetadataEndpoint)?;
        Ok(Self { http: transport::build(http)?, origin, config, clock })
    }

    pub async fn fetch(&self) -> Result<Temporary, FetchError> {
        let limit = self.config.timeout;
        tokio::time::timeout(limit, self.ask_for_all())
            .await
            .unwrap_or(Err(FetchError::Late { asked: "the ECS metadata service", limit }))
    }

    async fn ask_for_all(&self) -> Result<Temporary, FetchError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct State {
            code: String,
        }

        let token = self.token().await?;
        let role = match &self.config.role {
            Some(role) => role.clone(),
            None => role_name(word(ROLE, &ask(self.get(ROLES_PATH, &token), ROLE).await?)?)?,
        };
        let body = ask(self.get(&format!("{ROLES_PATH}{role}"), &token), KEYS).await?;
        if parse::<State>(KEYS, &body)?.code != "Success" {
            return Err(refused(KEYS, 200, &body));
        }
        parse::<Keys>(KEYS, &body)?.into_temporary(KEYS, self.clock.now())
    }

    async fn token(&self) -> Result<HeaderValue, FetchError> {
        let request = self
            .http
            .put(self.origin.url(TOKEN_PATH))
            .header("x-aliyun-ecs-metadata-token-ttl-seconds", TOKEN_TTL_SECONDS)
            .header(CONTENT_LENGTH, "0");
        let token = word(TOKEN, &ask(request, TOKEN).await?)?;
        let mut token = HeaderValue::try_from(token).map_err(|_| FetchError::Garbage { asked: TOKEN })?;
        token.set_sensitive(true);
        Ok(token)
    }

    fn get(&self, path: &str, token: &HeaderValue) -> RequestBuilder {
        self.http.get(self.origin.url(path)).header("x-aliyun-ecs-metadata-token", token)
    }
}

/// What may follow in the path: the alphabet of role names, and nothing that leads elsewhere.
fn role_name(name: String) -> Result<String, FetchError> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte));
    if plain && name.len() <= 64 && !name.starts_with('.') {
        Ok(name)
    } else {
        Err(FetchError::Garbage { asked: ROLE })
    }
}
