//! The keys that sign calls to Alibaba Cloud, and the seam behind which they may change while the server runs.
//!
//! It must not know settings, the environment or what is signed.

mod ecs;
mod fetch;
mod fixed;
mod oidc;
mod refresh;

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

pub use self::ecs::{EcsConfig, EcsRole};
pub use self::fixed::StaticCredentials;
pub use self::oidc::{OidcConfig, OidcRole};
pub use self::refresh::{RefreshedCredentials, Role};

/// An access key: fixed, or temporary with a security token.
#[derive(Clone)]
pub struct Credentials {
    access_key_id: String,
    access_key_secret: SecretString,
    security_token: Option<SecretString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{part} must not be empty, begin or end with white space, or have characters that cannot stand in a header")]
pub struct InvalidCredentials {
    /// Which of the three, by the name of its field; never its content.
    pub part: &'static str,
}

impl Credentials {
    /// A newline pasted along is refused here, at start, and not as a signature that never matches.
    pub fn new(
        access_key_id: impl Into<String>,
        access_key_secret: SecretString,
        security_token: Option<SecretString>,
    ) -> Result<Self, InvalidCredentials> {
        let access_key_id = access_key_id.into();
        require("access_key_id", fits_a_header(&access_key_id))?;
        // The secret is only a key of the HMAC: inside, any character will do.
        let secret = access_key_secret.expose_secret();
        require("access_key_secret", !secret.is_empty() && secret.trim() == secret)?;
        require("security_token", security_token.as_ref().is_none_or(|token| fits_a_header(token.expose_secret())))?;
        Ok(Self { access_key_id, access_key_secret, security_token })
    }

    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    pub fn access_key_secret(&self) -> &SecretString {
        &self.access_key_secret
    }

    pub fn security_token(&self) -> Option<&SecretString> {
        self.security_token.as_ref()
    }
}

fn fits_a_header(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn require(part: &'static str, met: bool) -> Result<(), InvalidCredentials> {
    if met { Ok(()) } else { Err(InvalidCredentials { part }) }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The id is no secret by itself, yet half of a pair: it stays out of logs too.
        f.debug_struct("Credentials").field("temporary", &self.security_token.is_some()).finish_non_exhaustive()
    }
}

/// Where the client takes its credentials from, once for every call.
///
/// It never waits: a source that refreshes does so on its own, beside the logins, and keeps the last credentials it
/// got. If they have expired, Alibaba Cloud says so, and that is the alarm.
pub trait CredentialsSource: fmt::Debug + Send + Sync {
    fn current(&self) -> Result<Arc<Credentials>, NoCredentials>;
}

/// A source that refreshes has none so far. The reason names what failed and carries nothing of an answer but its code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCredentials {
    /// They are being fetched, or could not be for a reason that may pass.
    #[error("no credentials for Alibaba Cloud yet: {reason}")]
    NotYet { reason: String },
    /// Asking again alone will not help: the set-up is wrong.
    #[error("no credentials for Alibaba Cloud: {reason}")]
    Refused { reason: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_credentials_are_refused_by_the_name_of_the_part_and_not_by_its_content() {
        let secret = |text: &str| SecretString::from(text.to_owned());
        let refused = |result: Result<Credentials, InvalidCredentials>| result.unwrap_err().to_string();
        for bad in ["", "canary\n", " canary"] {
            for error in [
                refused(Credentials::new(bad, secret("s"), None)),
                refused(Credentials::new("id", secret(bad), None)),
                refused(Credentials::new("id", secret("s"), Some(secret(bad)))),
            ] {
                assert!(!error.contains("canary"), "{error}");
            }
        }
        refused(Credentials::new("canáry", secret("s"), None));
    }

    #[test]
    fn debug_shows_no_part_of_the_credentials() {
        let secret = |text: &str| SecretString::from(text.to_owned());
        let credentials = Credentials::new("canary1", secret("canary2"), Some(secret("canary3"))).unwrap();
        let source = StaticCredentials::new(credentials.clone());
        assert!(!format!("{credentials:?}{source:?}").contains("canary"));
    }
}
