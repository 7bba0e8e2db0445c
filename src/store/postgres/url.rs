//! Reads a Postgres URL as libpq does: one host or several, sockets, IPv6 addresses, parameters.
//!
//! The one place that does: sqlx knows one host, keeps the brackets of an IPv6 address, and logs parameters it does not
//! know with their values. So it is given a URL per host that is put together here, of parameters that it knows.

mod parameters;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::atomic::AtomicUsize;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

use self::parameters::Parameters;
use crate::store::StoreError;

/// Shown in `pg_stat_activity`, unless the URL names another one.
const APPLICATION_NAME: &str = "oneclick-login";

pub(super) struct Target {
    /// In the order they are tried; at least one.
    pub hosts: Vec<PgConnectOptions>,
    pub session: SessionTarget,
    /// Which host took the last connection.
    pub last: AtomicUsize,
}

/// Which server is taken, of those that accept a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionTarget {
    /// The first. What one host stands for unless the URL asks for more.
    Any,
    /// The first that takes writes: `target_session_attrs=read-write` or `primary`. What several hosts stand for unless
    /// the URL asks for less: this program writes, and libpq's own default would settle on a standby.
    ReadWrite,
}

/// Reads on from `database.url`. Quotes names of parameters and files, never what may be a part of the password.
#[derive(Debug, thiserror::Error)]
enum InvalidUrl {
    #[error(
        "must be of the form postgres://user:password@host:port/database?sslmode=…, \
         with special characters (in a password, or an @ anywhere) as %XX and an IPv6 address in brackets"
    )]
    Form,
    #[error("must give each port as a number from 1 to 65535")]
    Port,
    #[error("must give one port for all hosts, or one for each")]
    PortCount,
    #[error("must give hostaddr as IP addresses, and without host")]
    HostAddress,
    #[error("must have disable, prefer, require, verify-ca or verify-full as sslmode (or PGSSLMODE)")]
    SslMode,
    #[error("must have any, read-write or primary as target_session_attrs: this program writes")]
    SessionTarget,
    #[error("must have a number as statement-cache-capacity")]
    CacheCapacity,
    #[error("must have both sslcert and sslkey, or neither")]
    ClientCertificate,
    #[error("names a file as {parameter} that cannot be read: {path} ({error})")]
    File { parameter: &'static str, path: String, error: std::io::Error },
    #[error("has the parameter {name}, which is not supported: {why}")]
    Unsupported { name: String, why: &'static str },
    #[error("has a parameter that is not known{}", .0.as_ref().map(|name| format!(": {name}")).unwrap_or_default())]
    Unknown(Option<String>),
}

/// # Errors
/// If the URL cannot be read, or asks for what this program cannot do. The error shows nothing of the password.
pub(super) fn parse(url: &SecretString) -> Result<Target, StoreError> {
    read(url.expose_secret(), |name| std::env::var(name).ok()).map_err(|error| StoreError::Url(error.to_string()))
}

fn read(url: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Target, InvalidUrl> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")).ok_or(InvalidUrl::Form)?;
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = before_query.split_once('/').unwrap_or((before_query, ""));
    // A password with a special character in it looks like the end of the authority.
    if rest.contains(|c: char| c == '#' || c.is_control()) || database.contains('@') || query.contains('@') {
        return Err(InvalidUrl::Form);
    }
    let (user, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));

    let mut parameters = Parameters::default();
    if let Some(user) = user {
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        parameters.set("user", decoded(name)?);
        parameters.set("password", decoded(password)?);
    }
    let hosts = hosts.split(',').map(host_and_port).collect::<Result<Vec<_>, _>>()?;
    let list = |of: fn(&(String, String)) -> &str| hosts.iter().map(of).collect::<Vec<_>>().join(",");
    parameters.set("host", list(|(host, _)| host));
    parameters.set("port", list(|(_, port)| port));
    parameters.set("dbname", decoded(database.trim_start_matches('/'))?);
    parameters.add_query(query)?;
    parameters.add_environment(environment);
    parameters.check()?;
    target(&parameters)
}

/// `host:port` of an authority, either of which may be empty.
fn host_and_port(text: &str) -> Result<(String, String), InvalidUrl> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']').ok_or(InvalidUrl::Form)?;
            let address = decoded(address)?;
            let without_zone = address.split('%').next().unwrap_or_default();
            without_zone.parse::<Ipv6Addr>().map_err(|_| InvalidUrl::Form)?;
            (address, port)
        }
        None if text.contains(['[', ']']) => return Err(InvalidUrl::Form),
        None => {
            let (host, port) = text.find(':').map_or((text, ""), |colon| text.split_at(colon));
            (decoded(host)?, port)
        }
    };
    match port.strip_prefix(':') {
        Some(port) => Ok((host, port.to_owned())),
        None if port.is_empty() => Ok((host, String::new())),
        None => Err(InvalidUrl::Form),
    }
}

fn decoded(text: &str) -> Result<String, InvalidUrl> {
    let text = percent_decode_str(text).decode_utf8().map(Cow::into_owned).map_err(|_| InvalidUrl::Form)?;
    // Ends a value in the protocol: what follows would be read as a parameter.
    if text.contains('\0') { Err(InvalidUrl::Form) } else { Ok(text) }
}

fn target(parameters: &Parameters) -> Result<Target, InvalidUrl> {
    let hosts: Vec<&str> = match (parameters.get("host"), parameters.get("hostaddr")) {
        (Some(hosts), None) => hosts.split(',').collect(),
        (None, None) => vec![""],
        (None, Some(addresses)) if addresses.split(',').all(|address| address.parse::<IpAddr>().is_ok()) => {
            addresses.split(',').collect()
        }
        (_, Some(_)) => return Err(InvalidUrl::HostAddress),
    };
    let ports: Vec<&str> = parameters.get("port").unwrap_or_default().split(',').collect();
    let valid = |port: &str| port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0);
    if !ports.iter().all(|port| valid(port)) {
        return Err(InvalidUrl::Port);
    }
    if ports.len() != 1 && ports.len() != hosts.len() {
        return Err(InvalidUrl::PortCount);
    }
    let session = match parameters.get("target_session_attrs") {
        Some("any") => SessionTarget::Any,
        Some("read-write" | "primary") => SessionTarget::ReadWrite,
        Some(_) => return Err(InvalidUrl::SessionTarget),
        None if hosts.len() > 1 => SessionTarget::ReadWrite,
        None => SessionTarget::Any,
    };
    let ports = ports.iter().cycle();
    let hosts =
        hosts.iter().zip(ports).map(|(host, port)| options(host, port, parameters)).collect::<Result<_, _>>()?;
    Ok(Target { hosts, session, last: AtomicUsize::new(0) })
}

/// By a URL, since sqlx looks up `.pgpass` only for one.
fn options(host: &str, port: &str, parameters: &Parameters) -> Result<PgConnectOptions, InvalidUrl> {
    let place = [("host", host), ("port", port)].into_iter().filter(|(_, value)| !value.is_empty());
    let pairs = place.chain(parameters.for_sqlx()).map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    let url = format!("postgres:///?{}", pairs.collect::<Vec<_>>().join("&"));
    let options = PgConnectOptions::from_str(&url).map_err(|_| InvalidUrl::Form)?;
    let named = options.get_application_name().is_some();
    let options = if named { options } else { options.application_name(APPLICATION_NAME) };
    // A parameter that poolers refuse, and that concerns types which are not used here.
    Ok(options.extra_float_digits(None))
}

fn encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}
