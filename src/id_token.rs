//! The id_token: its claims and their signing. Knows the keys, not sessions, storage or HTTP.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use time::OffsetDateTime;

use crate::ids::{ClientId, SessionId};
use crate::keys::{Keys, SigningKeyError};
use crate::phone_number::PhoneNumber;
use crate::store::Profile;

/// Verifiers whose clocks are behind ours accept a fresh token all the same: the vendor's own figure.
const NOT_BEFORE_LEEWAY_SECONDS: i64 = 120;

/// `iat` lies this far back, and `exp` and `nbf` with it: PyJWT, Authlib, joserfc and ruby-jwt refuse a token whose `iat` is
/// ahead of their clock, be it by a second. Clocks that are further apart take the verifier's own leeway.
const ISSUED_AT_LEEWAY_SECONDS: i64 = 2;

#[derive(Debug)]
pub struct IdTokens {
    keys: Arc<Keys>,
    issuer: String,
    ttl_seconds: u64,
}

/// Of whom, for whom and since when a token speaks.
#[derive(Debug)]
pub struct Subject<'a> {
    pub user: &'a Profile,
    pub number: &'a PhoneNumber,
    pub client_id: &'a ClientId,
    pub session_id: SessionId,
    /// When the user logged in.
    pub auth_time: OffsetDateTime,
}

/// The contract's claims, section 3. `email` is there only where the user has one.
#[derive(Debug, Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: &'a str,
    auth_time: i64,
    sid: &'a str,
    id: &'a str,
    #[serde(rename = "userName")]
    user_name: &'a str,
    name: &'a str,
    mobile: &'a str,
    phone_number: &'a str,
    phone_number_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
}

impl IdTokens {
    /// `ttl_seconds` is at most some hours; the settings see to that.
    pub const fn new(keys: Arc<Keys>, issuer: String, ttl_seconds: u64) -> Self {
        Self { keys, issuer, ttl_seconds }
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs a token for `subject`, valid from `now`, with the key that is active then.
    pub fn issue(&self, subject: &Subject<'_>, now: OffsetDateTime) -> Result<String, SigningKeyError> {
        let id = subject.user.id.to_string();
        let iat = now.unix_timestamp() - ISSUED_AT_LEEWAY_SECONDS;
        let claims = Claims {
            iss: &self.issuer,
            aud: subject.client_id.as_str(),
            sub: &id,
            iat,
            nbf: iat - NOT_BEFORE_LEEWAY_SECONDS,
            exp: iat.saturating_add_unsigned(self.ttl_seconds),
            jti: &random_jti(),
            auth_time: subject.auth_time.unix_timestamp(),
            sid: &subject.session_id.to_string(),
            id: &id,
            user_name: subject.user.user_name.as_deref().unwrap_or(&id),
            name: &subject.user.name.clone().unwrap_or_else(|| subject.number.masked()),
            mobile: &subject.number.mobile(),
            phone_number: &subject.number.e164(),
            phone_number_verified: true,
            email: subject.user.email.as_deref(),
        };
        let json = serde_json::to_vec(&claims).expect("strings, integers and a boolean always serialize");
        self.keys.snapshot().signer(now).sign(&json)
    }
}

fn random_jti() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    URL_SAFE_NO_PAD.encode(bytes)
}
