//! The settings: all that keeps them from loading, and what is allowed and seldom meant.

use std::path::Path;

use url::{Host, Url};

use crate::cli::config;
use crate::error_chain::Chain;
use crate::finding::Finding;
use crate::settings::{Environment, LogFormat, Settings, SettingsError};

const CHECK: &str = "settings";

pub fn problems(error: &SettingsError) -> Vec<Finding> {
    let advice = "change it, then see with: oneclick-login config check";
    match error {
        SettingsError::Inconsistent(problems) => {
            problems.iter().map(|problem| Finding::fail(CHECK, problem.to_string(), advice)).collect()
        }
        other => vec![Finding::fail(CHECK, Chain(other).to_string(), advice)],
    }
}

pub fn look_at(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(CHECK, config::summary(settings))];
    findings.extend(settings.secret_files.iter().filter(|path| is_readable_by_others(path)).map(|path| {
        let path = path.display();
        Finding::warn(
            CHECK,
            format!("{path}, which holds a secret, can be read by others than its owner"),
            format!("run: chmod 600 {path} (in Kubernetes set defaultMode: 0400 on the volume)"),
        )
    }));
    if settings.environment == Environment::Production {
        findings.extend(unlike_production(settings));
    }
    findings
}

fn unlike_production(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if settings.log.format == LogFormat::Text {
        let message = "log.format is text, which is made for a person at a terminal";
        findings.push(Finding::warn(CHECK, message, "set log.format to json where logs are collected"));
    }
    let issuer = settings.issuer();
    if names_this_machine(&issuer) {
        let message = format!("id_token.issuer, {issuer}, means another machine on each machine");
        findings.push(Finding::warn(CHECK, message, "set it to the gateway's public address"));
    }
    if settings.limits.logins_per_address_per_minute > 0 && settings.trusted_proxies().is_empty() {
        let message = "logins are not limited by client address, as no gateway is declared";
        let advice = "set server.trusted_proxies to the gateway's addresses, or to 127.0.0.1 if nobody is in front";
        findings.push(Finding::warn(CHECK, message, advice));
    }
    findings
}

fn names_this_machine(url: &str) -> bool {
    match Url::parse(url).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unspecified(),
        None => false,
    }
}

#[cfg(unix)]
fn is_readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    path.metadata().is_ok_and(|file| file.mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_readable_by_others(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::names_this_machine;

    #[test]
    fn an_address_of_this_machine_is_seen_in_every_form() {
        for own in ["localhost", "login.localhost:8443", "127.0.0.1", "127.1.2.3", "[::1]:8443", "0.0.0.0"] {
            assert!(names_this_machine(&format!("https://{own}/api/v1/oauth2")), "{own}");
        }
        for other in ["login.example.com", "localhost.example.com", "10.0.0.1", "[2001:db8::1]"] {
            assert!(!names_this_machine(&format!("https://{other}/api/v1/oauth2")), "{other}");
        }
    }
}
