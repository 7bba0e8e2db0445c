//! The files that are shipped: they load, and `default.toml` lists every key there is and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use oneclick_login::locale::Locale;
use oneclick_login::settings::{Environment, LogFormat, Provider, Settings, SigningAlg, reference};

use super::{config, from_variables, production};

#[test]
fn the_defaults_are_the_documented_ones() {
    let settings = from_variables(&[]).unwrap();
    assert_eq!(settings.environment, Environment::Development);
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.management_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(settings.database.max_connections, 16);
    assert!(!settings.database.transaction_pooler);
    assert_eq!(settings.verifier.provider, Provider::Sandbox);
    assert_eq!(settings.verifier.aliyun.endpoint, "https://dypnsapi.aliyuncs.com");
    assert!(settings.registration.auto_register);
    assert_eq!(settings.session.ttl_seconds, 432_000);
    assert_eq!(settings.id_token.ttl_seconds, 300);
    assert_eq!(settings.id_token.signing_alg, SigningAlg::Es256);
    assert_eq!(settings.id_token.key_lifetime_days, 90);
    assert_eq!(settings.i18n.default_locale, Locale::En);
    assert_eq!(settings.log.format, LogFormat::Auto);
}

#[test]
fn every_shipped_file_loads() {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(config("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        match name.as_str() {
            "production.toml" => assert_eq!(production(&[]).unwrap().environment, Environment::Production),
            _ => {
                let settings = Settings::load(Some(&config(&name)), &BTreeMap::new()).unwrap();
                assert_eq!(settings.environment, Environment::Development, "{name}");
            }
        }
        names.insert(name);
    }
    assert_eq!(names, BTreeSet::from(["default.toml", "development.toml", "production.toml"].map(str::to_owned)));
}

#[test]
fn the_default_file_lists_every_key_of_the_settings_and_nothing_else() {
    // Serialised as JSON, a key without a value is still there, as null.
    let shape = serde_json::to_value(from_variables(&[]).unwrap()).unwrap();
    let mut keys = BTreeSet::new();
    leaves(&shape, "", &mut keys);
    let listed: Vec<String> = reference().into_iter().map(|row| row.key).collect();
    let twin = |key: &String| key.strip_suffix("_file").is_some_and(|base| keys.contains(base));
    let direct: BTreeSet<String> = listed.iter().filter(|key| !twin(key)).cloned().collect();
    assert_eq!(direct, keys);
    let distinct: BTreeSet<_> = listed.iter().collect();
    assert_eq!(distinct.len(), listed.len(), "a key is listed twice");
}

fn leaves(value: &serde_json::Value, prefix: &str, keys: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().unwrap() {
        let key = format!("{prefix}{name}");
        match value.is_object() {
            true => leaves(value, &format!("{key}."), keys),
            false => assert!(keys.insert(key)),
        }
    }
}

/// ASVS 13.3.1.
#[test]
fn every_secret_can_be_given_as_a_file() {
    let keys: Vec<String> = reference().into_iter().map(|row| row.key).collect();
    // The files of server.tls have no twin: they are named for good.
    let twins: Vec<&str> = keys
        .iter()
        .filter_map(|key| key.strip_suffix("_file"))
        .filter(|base| keys.iter().any(|key| key == base))
        .collect();
    let expected = [
        "database.url",
        "verifier.aliyun.access_key_id",
        "verifier.aliyun.access_key_secret",
        "verifier.aliyun.security_token",
        "secrets.master_key",
    ];
    assert_eq!(twins, expected);
}

#[test]
fn the_reference_documents_every_key() {
    let rows = reference();
    let row = |key: &str| rows.iter().find(|row| row.key == key).unwrap();
    for row in &rows {
        assert!(row.comment.len() > 20 && row.comment.len() <= 118 && row.comment.ends_with('.'), "{row:?}");
    }
    assert_eq!(row("session.ttl_seconds").default.as_deref(), Some("432000"));
    assert_eq!(row("log.format").default.as_deref(), Some("\"auto\""));
    assert_eq!(row("secrets.master_key").default, None);
    let variable = row("verifier.aliyun.connect_timeout_ms").variable();
    assert_eq!(variable.as_deref(), Some("ONECLICK_VERIFIER__ALIYUN__CONNECT_TIMEOUT_MS"));
    assert_eq!(row("environment").variable().as_deref(), Some("ONECLICK_ENVIRONMENT"));
    assert_eq!(row("apps").variable(), None);
}

#[test]
fn development_derives_what_is_missing() {
    let written = ("ONECLICK_ENVIRONMENT", "development");
    let settings = from_variables(&[written, ("ONECLICK_SERVER__LISTEN", "0.0.0.0:8123")]).unwrap();
    assert_eq!(settings.issuer(), "http://localhost:8123/api/v1/oauth2");
    let settings = from_variables(&[written, ("ONECLICK_SERVER__LISTEN", "[::]:8123")]).unwrap();
    assert_eq!(settings.issuer(), "http://localhost:8123/api/v1/oauth2");
    let settings = from_variables(&[]).unwrap();
    assert_eq!(settings.issuer(), "http://127.0.0.1:8080/api/v1/oauth2");
    assert_eq!(secrecy::ExposeSecret::expose_secret(&settings.database_url()), "sqlite://data/oneclick-login.db");
    assert_eq!(settings.database_kind().as_str(), "sqlite");
    assert!(settings.master_keys().is_none());
    let apps = settings.apps();
    assert_eq!(apps.len(), 1);
    assert_eq!((apps[0].client_id.as_str(), apps[0].name.as_str()), ("nTo1eRIub60vPb54WeE6aojPwYwImtl4", "Demo app"));
}

/// ASVS 6.3.2.
#[test]
fn production_derives_nothing() {
    let settings = production(&[]).unwrap();
    assert_eq!(settings.issuer(), "https://login.example.com/api/v1/oauth2");
    assert_eq!(settings.database_kind().as_str(), "postgres");
    assert!(settings.apps().is_empty());
    assert!(settings.master_keys().is_some());
}
