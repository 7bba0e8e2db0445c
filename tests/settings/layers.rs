//! Which layer wins, and what is said about a key or a value that does not belong.

use std::path::Path;

use secrecy::ExposeSecret;

use super::{from_text, from_variables, refused, variables, write};
use oneclick_login::settings::{Environment, Provider, Settings};
use tempfile::TempDir;

#[test]
fn the_environment_goes_before_the_file_and_the_file_before_the_defaults() {
    let text = "[session]\nttl_seconds = 100\n[id_token]\nttl_seconds = 200\n";
    let settings = from_text(text, &[("ONECLICK_SESSION__TTL_SECONDS", "300")]).unwrap();
    assert_eq!(settings.session.ttl_seconds, 300);
    assert_eq!(settings.id_token.ttl_seconds, 200);
    assert_eq!(settings.session.rotation_grace_seconds, 30);
}

#[test]
fn a_file_named_by_argument_goes_before_one_named_by_variable() {
    let folder = TempDir::new().unwrap();
    let one = write(&folder, "one.toml", "[session]\nttl_seconds = 111\n");
    let two = write(&folder, "two.toml", "[session]\nttl_seconds = 222\n");
    let named = variables(&[("ONECLICK_CONFIG", two.to_str().unwrap())]);
    assert_eq!(Settings::load(Some(&one), &named).unwrap().session.ttl_seconds, 111);
    assert_eq!(Settings::load(None, &named).unwrap().session.ttl_seconds, 222);
    assert_eq!(from_variables(&[("ONECLICK_CONFIG", "")]).unwrap().session.ttl_seconds, 432_000);
}

#[test]
fn variables_have_the_types_of_their_keys() {
    let settings = from_variables(&[
        ("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", "http://127.0.0.1:9"),
        ("ONECLICK_VERIFIER__PROVIDER", "sandbox"),
        ("ONECLICK_database__Transaction_Pooler", "true"),
        ("ONECLICK_LOGIN__RETRY_WINDOW_SECONDS", "0"),
    ])
    .unwrap();
    assert_eq!(settings.verifier.aliyun.endpoint, "http://127.0.0.1:9");
    assert_eq!(settings.verifier.provider, Provider::Sandbox);
    assert!(settings.database.transaction_pooler);
    assert_eq!(settings.login.retry_window_seconds, 0);
}

#[test]
fn a_list_is_an_array_in_a_file_and_has_commas_in_a_variable() {
    let text = "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]\n";
    let listed = |text: &str, pairs: &[(&str, &str)]| from_text(text, pairs).unwrap().server.trusted_proxies;
    assert_eq!(listed(text, &[]), ["10.0.0.0/8", "fd00::/8"]);
    let name = "ONECLICK_SERVER__TRUSTED_PROXIES";
    assert_eq!(listed(text, &[(name, "192.0.2.1")]), ["192.0.2.1"]);
    assert_eq!(listed("", &[(name, " 10.0.0.0/8,fd00::/8, ")]), ["10.0.0.0/8", "fd00::/8"]);
    assert_eq!(listed(text, &[(name, "")]), ["10.0.0.0/8", "fd00::/8"], "an empty variable was not set");
    assert!(listed(text, &[(name, ",")]).is_empty());
    assert!(listed("", &[]).is_empty());
}

#[test]
fn what_kubernetes_injects_is_ignored() {
    let settings = from_variables(&[
        ("ONECLICK_LOGIN_SERVICE_HOST", "10.0.0.1"),
        ("ONECLICK_LOGIN_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("ONECLICK_LOGIN_PORT", "tcp://10.0.0.1:8080"),
        ("ONECLICK_LOGIN_SERVICE_PORT_HTTP", "8080"),
        ("ONECLICK_PORT", "tcp://10.0.0.1:8080"),
        ("ONECLICK_ENVIRONMENT", "development"),
        ("PATH", "/bin"),
    ]);
    assert_eq!(settings.unwrap().environment, Environment::Development);
}

#[test]
fn a_variable_with_an_underscore_too_few_is_refused_with_the_name_that_is_meant() {
    for (name, meant) in [
        ("ONECLICK_LIMITS_VERIFIER_CALLS_PER_DAY", "ONECLICK_LIMITS__VERIFIER_CALLS_PER_DAY"),
        ("ONECLICK_SERVER_LISTEN", "ONECLICK_SERVER__LISTEN"),
        ("ONECLICK_SECRETS_MASTER_KEY_FILE", "ONECLICK_SECRETS__MASTER_KEY_FILE"),
        ("ONECLICK_VERIFIER_ALIYUN_TIMEOUT_MS", "ONECLICK_VERIFIER__ALIYUN__TIMEOUT_MS"),
        ("ONECLICK_verifier_aliyun_proxy", "ONECLICK_VERIFIER__ALIYUN__PROXY"),
    ] {
        refused(from_variables(&[(name, "5")]), &[name, &format!("is set by {meant}")]);
    }
    let half = "ONECLICK_VERIFIER__ALIYUN_TIMEOUT_MS";
    refused(from_variables(&[(half, "5")]), &["unknown key verifier.aliyun_timeout_ms", half]);
}

#[test]
fn an_unknown_key_is_named_with_the_place_it_stands_in() {
    refused(from_text("[server]\nlisten_on = \"x\"\n", &[]), &["unknown key server.listen_on", "settings.toml"]);
    refused(from_text("[sever]\nlisten = \"x\"\n", &[]), &["unknown key sever.listen", "settings.toml"]);
    refused(from_text("[sever]\n", &[]), &["unknown key sever", "settings.toml"]);
    refused(from_text("listen = 1\n", &[]), &["unknown key listen", "settings.toml"]);
    refused(from_text("\"a\\nb\\u001b\" = 1\n", &[]), &["unknown key a\\nb\\u{1b}"]);
    let name = "ONECLICK_SERVER__LISTEN_ON";
    refused(
        from_variables(&[(name, "x")]),
        &["unknown key server.listen_on", "the variable ONECLICK_SERVER__LISTEN_ON"],
    );
    refused(from_variables(&[("ONECLICK_APPS__0", "x")]), &["unknown key apps.0", "ONECLICK_APPS__0"]);
    refused(from_text("[[apps]]\nclient_id = \"a\"\nname = \"A\"\nsecret = \"x\"\n", &[]), &["apps", "secret"]);
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_the_place_it_stands_in() {
    let cases = [
        ("session = 5\n", "session", "must be a section"),
        ("[session]\nttl_seconds = \"5\"\n", "session.ttl_seconds", "must be a whole number"),
        ("[session]\nrotate_on_refresh = 1\n", "session.rotate_on_refresh", "must be true or false"),
        ("[server.listen]\nport = 1\n", "server.listen.port", "unknown key"),
        ("[secrets]\nmaster_key = 12345678\n", "secrets.master_key", "must be a string"),
        ("apps = \"x\"\n", "apps", "must be an array of tables"),
        ("apps = [1]\n", "apps", "invalid type"),
        ("[server]\ntrusted_proxies = \"10.0.0.1\"\n", "server.trusted_proxies", "must be an array of strings"),
        ("[server]\ntrusted_proxies = [10]\n", "server.trusted_proxies", "must be an array of strings"),
        ("[log]\nformat = \"xml\"\n", "log.format", "unknown variant `xml`, expected one of `auto`, `json`, `text`"),
        ("[server]\nlisten = \"localhost\"\n", "server.listen", "must be an address and a port"),
        ("[session]\nttl_seconds = -1\n", "session.ttl_seconds", "invalid value"),
    ];
    for (text, key, message) in cases {
        refused(from_text(text, &[]), &[key, message, "settings.toml"]);
    }
    let cases = [
        ("ONECLICK_SESSION__TTL_SECONDS", "5 days", "session.ttl_seconds"),
        ("ONECLICK_SESSION__ROTATE_ON_REFRESH", "yes", "session.rotate_on_refresh"),
        ("ONECLICK_SERVER__LISTEN", "8080", "server.listen"),
        ("ONECLICK_DATABASE__MAX_CONNECTIONS", "99999999999", "database.max_connections"),
        ("ONECLICK_ENVIRONMENT", "staging", "environment"),
        ("ONECLICK_VERIFIER__PROVIDER", "twilio", "verifier.provider"),
        ("ONECLICK_I18N__DEFAULT_LOCALE", "fr", "i18n.default_locale"),
    ];
    for (name, value, key) in cases {
        refused(from_variables(&[(name, value)]), &[key, name]);
    }
}

#[test]
fn an_empty_variable_is_one_that_was_not_set() {
    let empty: Vec<String> = oneclick_login::settings::reference()
        .iter()
        .filter_map(|row| row.variable())
        .chain(["ONECLICK_CONFIG".into()])
        .collect();
    let empty: Vec<(&str, &str)> = empty.iter().map(|name| (name.as_str(), "")).collect();
    let settings = from_text("[session]\nttl_seconds = 100\n", &empty[..empty.len() - 1]).unwrap();
    assert_eq!((settings.session.ttl_seconds, settings.environment), (100, Environment::Development));
    assert_eq!(from_variables(&empty).unwrap().session.ttl_seconds, 432_000);
}

#[test]
fn a_variable_that_begins_with_a_quotation_mark_is_refused() {
    for name in [
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ONECLICK_VERIFIER__ALIYUN__ACCESS_KEY_SECRET",
        "ONECLICK_SECRETS__MASTER_KEY",
        "DATABASE_URL",
        "ONECLICK_SESSION__TTL_SECONDS",
        "ONECLICK_ENVIRONMENT",
        "ONECLICK_SERVER__TRUSTED_PROXIES",
    ] {
        for value in ["\"5\"", "'5'", "\""] {
            refused(
                from_variables(&[(name, value)]),
                &[name, "it begins with a quotation mark: docker's --env-file keeps quotes"],
            );
        }
    }
    let text = "[verifier.aliyun]\naccess_key_secret = \"'canary'\"\n";
    refused(from_text(text, &[]), &["verifier.aliyun.access_key_secret in", "it begins with a quotation mark"]);
    refused(from_variables(&[("DATABASE_URL", "\u{feff}sqlite://x")]), &["DATABASE_URL", "byte order mark"]);
}

#[test]
fn an_address_without_its_first_half_is_refused_with_an_example() {
    for (name, key) in [
        ("ONECLICK_SERVER__LISTEN", "server.listen"),
        ("ONECLICK_SERVER__MANAGEMENT_LISTEN", "server.management_listen"),
    ] {
        for value in [":8080", "8080", "localhost:8080"] {
            refused(from_variables(&[(name, value)]), &[key, name, "or 0.0.0.0:8080 for all addresses"]);
        }
    }
}

#[test]
fn a_key_set_by_two_variables_is_refused() {
    let pairs = [("ONECLICK_SESSION__TTL_SECONDS", "5"), ("ONECLICK_session__ttl_seconds", "6")];
    refused(from_variables(&pairs), &["session.ttl_seconds", "ONECLICK_SESSION__TTL_SECONDS"]);
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_is_named() {
    refused(Settings::load(Some(Path::new("/nowhere.toml")), &variables(&[])), &["/nowhere.toml", "No such file"]);
    refused(from_text("[server]\nlisten = x\n", &[]), &["settings.toml line 2 column 10"]);
}

#[test]
fn the_database_url_of_our_own_name_goes_before_the_common_one() {
    let common = ("DATABASE_URL", "postgres://common/a");
    let own = ("ONECLICK_DATABASE__URL", "postgres://own/a");
    let text = "[database]\nurl = \"postgres://file/a\"\n";
    let url = |pairs: &[(&str, &str)]| from_text(text, pairs).unwrap().database_url().expose_secret().to_owned();
    assert_eq!(url(&[]), "postgres://file/a");
    assert_eq!(url(&[("DATABASE_URL", "")]), "postgres://file/a");
    assert_eq!(url(&[common]), "postgres://common/a");
    assert_eq!(url(&[common, own]), "postgres://own/a");
}

#[test]
fn alibabas_own_variables_fill_what_nobody_set() {
    let alibaba = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "their-id"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "their-secret"),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", "their-token"),
    ];
    let aliyun = from_variables(&alibaba).unwrap().verifier.aliyun;
    assert_eq!(aliyun.access_key_id.as_deref(), Some("their-id"));
    assert_eq!(aliyun.access_key_secret.unwrap().expose_secret(), "their-secret");
    assert_eq!(aliyun.security_token.unwrap().expose_secret(), "their-token");

    // Their token belongs to their id: beside our id it would be refused by Alibaba Cloud.
    let text = "[verifier.aliyun]\naccess_key_id = \"our-id\"\naccess_key_secret = \"our-secret\"\n";
    let aliyun = from_text(text, &alibaba).unwrap().verifier.aliyun;
    assert_eq!(aliyun.access_key_id.as_deref(), Some("our-id"));
    assert_eq!(aliyun.access_key_secret.unwrap().expose_secret(), "our-secret");
    assert!(aliyun.security_token.is_none());
}
