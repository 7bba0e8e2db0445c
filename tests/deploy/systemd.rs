//! The systemd unit beside the program's settings.

use std::collections::BTreeMap;
use std::time::Duration;

use tempfile::TempDir;

use super::{MARGIN, SECRETS, database_url, longest_end, production, read, write_secrets};

fn values(key: &str) -> Vec<String> {
    let unit = read("deploy/systemd/oneclick-login.service");
    let prefix = format!("{key}=");
    unit.lines().filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned)).collect()
}

#[test]
fn its_settings_are_production_and_its_secrets_are_credentials() {
    let credentials = TempDir::new().unwrap();
    write_secrets(credentials.path());
    let loaded: Vec<_> = values("LoadCredential").iter().map(|it| it.split_once(':').unwrap().0.to_owned()).collect();
    assert_eq!(loaded, SECRETS.map(|(name, _)| name));

    let mut variables: BTreeMap<String, String> = values("Environment")
        .iter()
        .map(|variable| variable.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.replace("%d", credentials.path().to_str().unwrap())))
        .collect();
    assert_eq!(variables.remove("ONECLICK_CONFIG").unwrap(), "/etc/oneclick-login/settings.toml");
    let issuer = "\n[id_token]\nissuer = \"https://login.example.com/api/v1/oauth2\"\n";
    let settings = production(&(read("config/production.toml") + issuer), &variables);
    assert_eq!(database_url(&settings), SECRETS[0].1);
    assert!(settings.verifier.aliyun.access_key_secret.is_some());

    let [patience] = values("TimeoutStopSec").try_into().unwrap();
    let patience = Duration::from_secs(patience.strip_suffix('s').unwrap().parse().unwrap());
    assert!(patience >= longest_end(&settings) + MARGIN, "{patience:?}");
    let [descriptors] = values("LimitNOFILE").try_into().unwrap();
    assert!(descriptors.parse::<usize>().unwrap() > settings.server.max_connections + 1000);
    assert_eq!(values("LimitCORE"), ["0"]);
}

#[test]
fn the_schema_comes_before_the_server() {
    assert_eq!(values("ExecStartPre"), ["/usr/local/bin/oneclick-login migrate"]);
    assert_eq!(values("ExecStart"), ["/usr/local/bin/oneclick-login serve"]);
}
