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
    let secret_files = settings.secret_files.values().chain(&settings.server.tls.private_key_file);
    findings.extend(secret_files.filter_map(|path| readable_by_others(path)));
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
fn readable_by_others(path: &Path) -> Option<Finding> {
    use std::os::unix::fs::MetadataExt;
    let file = path.metadata().ok()?;
    let is_ours = file.uid() == rustix::process::geteuid().as_raw();
    let remedy = open_to_others(file.mode(), is_ours)?;
    let path = path.display();
    let message = format!("{path}, which holds a secret, can be read by others than who needs it");
    Some(Finding::warn(CHECK, message, format!("run: chmod {remedy} {path}")))
}

#[cfg(not(unix))]
fn readable_by_others(_path: &Path) -> Option<Finding> {
    None
}

/// What closes the file, if it is open. One of somebody else's, such as one that Kubernetes or systemd has mounted, is
/// readable to us by its group.
#[cfg(unix)]
const fn open_to_others(mode: u32, is_ours: bool) -> Option<&'static str> {
    match (is_ours, mode & 0o077, mode & 0o007) {
        (true, 1.., _) => Some("go="),
        (false, _, 1..) => Some("o="),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{names_this_machine, open_to_others};

    #[test]
    fn an_address_of_this_machine_is_seen_in_every_form() {
        for own in ["localhost", "login.localhost:8443", "127.0.0.1", "127.1.2.3", "[::1]:8443", "0.0.0.0"] {
            assert!(names_this_machine(&format!("https://{own}/api/v1/oauth2")), "{own}");
        }
        for other in ["login.example.com", "localhost.example.com", "10.0.0.1", "[2001:db8::1]"] {
            assert!(!names_this_machine(&format!("https://{other}/api/v1/oauth2")), "{other}");
        }
    }

    #[test]
    fn a_secrets_file_is_for_its_owner_and_a_mounted_one_for_its_group() {
        for (mode, ours, others) in [
            (0o100_600, None, None),
            (0o100_400, None, None),
            (0o100_440, Some("go="), None),
            (0o100_604, Some("go="), Some("o=")),
            (0o100_644, Some("go="), Some("o=")),
        ] {
            assert_eq!((open_to_others(mode, true), open_to_others(mode, false)), (ours, others), "{mode:o}");
        }
    }
}
