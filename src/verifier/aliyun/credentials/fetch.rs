//! What asking for a role's credentials has in common, whoever is asked: one bounded answer, how the keys stand in it,
//! and what can go wrong.
//!
//! No error carries a body, a header or a URL: what fails is named in our own words, with the peer's `Code` at most.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::RequestBuilder;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use super::{Credentials, InvalidCredentials, NoCredentials};
use crate::verifier::aliyun::answer::bounded;
use crate::verifier::aliyun::transport::{BodyError, MAX_ANSWER_BYTES, read_body};

/// An access key with its end.
#[derive(Debug)]
pub struct Temporary {
    pub credentials: Credentials,
    pub expires_at: OffsetDateTime,
}

/// Why there are no new credentials. `asked` is who did not give them, in our words.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("cannot read the OIDC token file {path:?}")]
    TokenFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the OIDC token file {path:?} does not hold a token alone")]
    NotAToken { path: PathBuf },
    #[error("{asked} cannot be reached, or broke off")]
    Connection {
        asked: &'static str,
        #[source]
        source: reqwest::Error,
    },
    #[error("{asked} gave no answer within {} ms", limit.as_millis())]
    Late { asked: &'static str, limit: Duration },
    #[error("{asked} answered HTTP {http_status}, code {code}, request {request_id}")]
    Refused { asked: &'static str, http_status: u16, code: String, request_id: String },
    #[error("{asked} answered more than {MAX_ANSWER_BYTES} bytes")]
    TooLong { asked: &'static str },
    #[error("{asked} answered something else than was asked for")]
    Garbage { asked: &'static str },
    #[error("{asked} answered credentials that cannot be used")]
    Unusable {
        asked: &'static str,
        #[source]
        source: InvalidCredentials,
    },
    #[error("{asked} answered credentials that have expired by our clock")]
    Expired { asked: &'static str },
}

impl FetchError {
    /// Whether somebody must act, and waiting is not enough.
    fn is_lasting(&self) -> bool {
        match self {
            Self::TokenFile { .. } | Self::NotAToken { .. } => true,
            Self::Refused { http_status, code, .. } => {
                (400..500).contains(http_status) && *http_status != 429 && !code.starts_with("Throttling")
            }
            Self::Connection { .. }
            | Self::Late { .. }
            | Self::TooLong { .. }
            | Self::Garbage { .. }
            | Self::Unusable { .. }
            | Self::Expired { .. } => false,
        }
    }

    /// What a login is told that finds no credentials because of this.
    pub fn no_credentials(&self) -> NoCredentials {
        let reason = self.to_string();
        if self.is_lasting() { NoCredentials::Refused { reason } } else { NoCredentials::NotYet { reason } }
    }
}

/// The body of an answer with status 200.
pub async fn ask(request: RequestBuilder, asked: &'static str) -> Result<Vec<u8>, FetchError> {
    let connection = |error: reqwest::Error| FetchError::Connection { asked, source: error.without_url() };
    let response = request.send().await.map_err(connection)?;
    let http_status = response.status().as_u16();
    let body = read_body(response).await.map_err(|error| match error {
        BodyError::TooLong => FetchError::TooLong { asked },
        BodyError::BrokeOff(source) => FetchError::Connection { asked, source },
    })?;
    if http_status == 200 { Ok(body) } else { Err(refused(asked, http_status, &body)) }
}

/// The answer's own word for why not, if it has one; the `Message` is not looked at, it may quote the request.
pub fn refused(asked: &'static str, http_status: u16, body: &[u8]) -> FetchError {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let word = |key: &str| bounded(answer[key].as_str().unwrap_or_default());
    FetchError::Refused { asked, http_status, code: word("Code"), request_id: word("RequestId") }
}

/// Without serde's own words as the source: they quote what they stumbled on.
pub fn parse<T: DeserializeOwned>(asked: &'static str, body: &[u8]) -> Result<T, FetchError> {
    serde_json::from_slice(body).map_err(|_| FetchError::Garbage { asked })
}

/// A text that is a header's value or part of a path, around it at most white space.
pub fn word(asked: &'static str, body: &[u8]) -> Result<String, FetchError> {
    let text = std::str::from_utf8(body).unwrap_or_default().trim();
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok(text.to_owned()) } else { Err(FetchError::Garbage { asked }) }
}

/// The keys as the STS and the metadata service both write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Keys {
    access_key_id: String,
    access_key_secret: SecretString,
    security_token: SecretString,
    #[serde(with = "time::serde::rfc3339")]
    expiration: OffsetDateTime,
}

impl Keys {
    pub fn into_temporary(self, asked: &'static str, now: OffsetDateTime) -> Result<Temporary, FetchError> {
        if self.expiration <= now {
            return Err(FetchError::Expired { asked });
        }
        let credentials = Credentials::new(self.access_key_id, self.access_key_secret, Some(self.security_token))
            .map_err(|source| FetchError::Unusable { asked, source })?;
        Ok(Temporary { credentials, expires_at: self.expiration })
    }
}
