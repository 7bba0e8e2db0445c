//! How settings are shown without their secrets. It knows what a secret looks like inside a URL and nothing of keys.

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

use crate::locale::Locale;

pub const REDACTED: &str = "[redacted]";

/// Parameters of a database URL whose values may be shown.
const SHOWN_PARAMETERS: [&str; 6] = ["sslmode", "host", "port", "dbname", "application_name", "target_session_attrs"];

/// Of these the name alone. Any other name may be the rest of a password with a `&` in it.
const KNOWN_PARAMETERS: [&str; 8] =
    ["user", "password", "passfile", "sslpassword", "sslkey", "sslcert", "sslrootcert", "options"];

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

/// The URL with what is known to be no secret. Works on the text and not on a parsed URL, so that one with a stray `/`,
/// `?` or `#` in its password, which parses as something else, is not shown either.
pub fn url_text(url: &str) -> String {
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (scheme, rest) = url.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).unwrap_or(("", url));
    let user_alone_is_shown = matches!(scheme, "postgres" | "postgresql");
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{}", after_scheme(rest, user_alone_is_shown))
}

/// A user without a password is a name to Postgres; to a proxy it may be the whole secret.
fn after_scheme(text: &str, user_alone_is_shown: bool) -> String {
    let Some((user, host)) = text.rsplit_once('@') else { return host_and_on(text) };
    let (name, more) = user.split_at(user.find([':', '/', '?', '#', '@']).unwrap_or(user.len()));
    let shown = match more {
        "" if user_alone_is_shown => name.to_owned(),
        "" => REDACTED.to_owned(),
        _ => format!("{name}:{REDACTED}"),
    };
    // That `@` may belong to a parameter's value, and what is behind it as well.
    if more.contains('?') { shown } else { format!("{shown}@{}", host_and_on(host)) }
}

fn host_and_on(text: &str) -> String {
    let (text, fragment) = text.split_once('#').map_or((text, ""), |(text, _)| (text, REDACTED));
    let hash = if fragment.is_empty() { "" } else { "#" };
    match text.split_once('?') {
        Some((path, query)) => {
            let parameters: Vec<_> = query.split('&').map(parameter).collect();
            format!("{path}?{}{hash}{fragment}", parameters.join("&"))
        }
        None => format!("{text}{hash}{fragment}"),
    }
}

fn parameter(parameter: &str) -> String {
    let Some((name, value)) = parameter.split_once('=') else { return REDACTED.to_owned() };
    let name = percent_decode_str(name).decode_utf8_lossy();
    let is_in = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
    match (is_in(&SHOWN_PARAMETERS), is_in(&KNOWN_PARAMETERS)) {
        (true, _) => format!("{name}={value}"),
        (false, true) => format!("{name}={REDACTED}"),
        (false, false) => REDACTED.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_what_is_known_to_be_no_secret() {
        for (url, shown) in [
            ("postgres://u:canary@h:5432/d?sslmode=require", "postgres://u:[redacted]@h:5432/d?sslmode=require"),
            ("postgres://u:can/a#r@y@h/d", "postgres://u:[redacted]@h/d"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            (
                "postgres:///d?host=/run&Password=canary&user=u",
                "postgres:///d?host=/run&Password=[redacted]&user=[redacted]",
            ),
            ("postgres://h/d?passw%6Frd=canary&%68ost=x", "postgres://h/d?password=[redacted]&host=x"),
            (
                "postgres://h/d?sslkey=-----BEGIN%20KEY-----%0Acanary=&sslmode=require",
                "postgres://h/d?sslkey=[redacted]&sslmode=require",
            ),
            (
                "postgres://h/d?password=can&canary=1&canary&port=1",
                "postgres://h/d?password=[redacted]&[redacted]&[redacted]&port=1",
            ),
            ("postgres://h/d?sslmode=require#canary", "postgres://h/d?sslmode=require#[redacted]"),
            ("sqlite://data/oneclick-login.db", "sqlite://data/oneclick-login.db"),
            ("u:canary@h", "u:[redacted]@h"),
            ("u:can://ary@h", "u:[redacted]@h"),
            ("postgres://h:5432/d", "postgres://h:5432/d"),
            ("http://me:canary@p:3128", "http://me:[redacted]@p:3128"),
            ("http://canary@p:3128", "http://[redacted]@p:3128"),
            ("http://p:3128", "http://p:3128"),
        ] {
            assert_eq!(url_text(url), shown);
        }
    }

    /// It may end the password, or stand in the value of a parameter.
    #[test]
    fn nothing_is_shown_behind_an_at_sign_that_a_question_mark_precedes() {
        for (url, shown) in [
            ("postgres://u:p@h/d?password=can@ary4", "postgres://u:[redacted]"),
            ("postgres://h/d?password=can@ary4", "postgres://h:[redacted]"),
            ("postgres:///d?password=can@ary4", "postgres://:[redacted]"),
            ("postgres://u:can/a#r?y@x@h/d", "postgres://u:[redacted]"),
        ] {
            assert_eq!(url_text(url), shown);
        }
    }
}
