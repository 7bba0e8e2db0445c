//! How settings are shown without their secrets. It knows what a secret looks like inside a URL and nothing of keys.

use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

use crate::locale::Locale;

pub const REDACTED: &str = "[redacted]";

/// Parameters of a database URL that carry a secret, besides its user part.
const SECRET_PARAMETERS: [&str; 3] = ["password", "sslpassword", "passfile"];

/// Text that may or may not be wrapped as a secret.
pub trait Exposed {
    fn exposed(&self) -> &str;
}

impl Exposed for String {
    fn exposed(&self) -> &str {
        self
    }
}

impl Exposed for SecretString {
    fn exposed(&self) -> &str {
        self.expose_secret()
    }
}

pub fn secret<T, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|_| REDACTED).serialize(serializer)
}

pub fn url<T: Exposed, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|url| url_text(url.exposed())).serialize(serializer)
}

pub fn locale<S: Serializer>(value: &Locale, serializer: S) -> Result<S::Ok, S::Error> {
    let tag = match value {
        Locale::En => "en",
        Locale::Zh => "zh",
    };
    serializer.serialize_str(tag)
}

/// The URL without its password. Works on the text and not on a parsed URL, so that one with a stray `/` or `#` in its
/// password, which parses as something else, is not shown either.
pub fn url_text(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _password)) => format!("{name}:{REDACTED}@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    let rest = match rest.split_once('?') {
        Some((path, query)) => {
            let parameters: Vec<_> = query.split('&').map(parameter).collect();
            format!("{path}?{}", parameters.join("&"))
        }
        None => rest,
    };
    if scheme.is_empty() { rest } else { format!("{scheme}://{rest}") }
}

fn parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if SECRET_PARAMETERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) => {
            format!("{name}={REDACTED}")
        }
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_loses_its_password_and_nothing_else() {
        for (url, shown) in [
            ("postgres://u:canary@h:5432/d?sslmode=require", "postgres://u:[redacted]@h:5432/d?sslmode=require"),
            ("postgres://u:can/a#r?y@x@h/d", "postgres://u:[redacted]@h/d"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres:///d?host=/run&Password=canary&user=u", "postgres:///d?host=/run&Password=[redacted]&user=u"),
            ("sqlite://data/oneclick-login.db", "sqlite://data/oneclick-login.db"),
            ("u:canary@h", "u:[redacted]@h"),
            ("postgres://h:5432/d", "postgres://h:5432/d"),
        ] {
            assert_eq!(url_text(url), shown);
        }
    }
}
