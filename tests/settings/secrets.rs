//! Secrets handed over as files, and canaries that must show up nowhere.

use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::{MASTER_KEY, from_text, from_variables, production, refused, told, variables, write};
use oneclick_login::cli::config;
use oneclick_login::settings::Settings;

#[test]
fn every_secret_is_read_from_the_file_that_is_named() {
    let folder = TempDir::new().unwrap();
    let url = write(&folder, "url", "postgres://u:p@h/d\n");
    let key = write(&folder, "key", &format!("{MASTER_KEY}\r\n"));
    let id = write(&folder, "id", "the-id");
    let secret = write(&folder, "secret", "the-secret\n\n");
    let token = write(&folder, "token", "the-token\n");
    let settings = from_variables(&[
        ("DATABASE_URL_FILE", url.to_str().unwrap()),
        ("ONECLICK_SECRETS__MASTER_KEY_FILE", key.to_str().unwrap()),
        ("ONECLICK_VERIFIER__ALIYUN__ACCESS_KEY_ID_FILE", id.to_str().unwrap()),
        ("ONECLICK_VERIFIER__ALIYUN__ACCESS_KEY_SECRET_FILE", secret.to_str().unwrap()),
        ("ONECLICK_VERIFIER__ALIYUN__SECURITY_TOKEN_FILE", token.to_str().unwrap()),
    ])
    .unwrap();
    assert_eq!(settings.database_url().expose_secret(), "postgres://u:p@h/d");
    assert_eq!(settings.secrets.master_key.unwrap().expose_secret(), MASTER_KEY);
    let aliyun = settings.verifier.aliyun;
    assert_eq!(aliyun.access_key_id.as_deref(), Some("the-id"));
    assert_eq!(aliyun.access_key_secret.unwrap().expose_secret(), "the-secret");
    assert_eq!(aliyun.security_token.unwrap().expose_secret(), "the-token");
}

#[test]
fn a_secret_given_both_ways_in_one_layer_is_refused() {
    let text = "[secrets]\nmaster_key = \"canary\"\nmaster_key_file = \"/x\"\n";
    refused(from_text(text, &[]), &["secrets.master_key_file", "settings.toml"]);
    let pairs = [("ONECLICK_DATABASE__URL", "postgres://h/d"), ("ONECLICK_DATABASE__URL_FILE", "/x")];
    refused(from_variables(&pairs), &["database.url_file", "ONECLICK_DATABASE__URL_FILE", "ONECLICK_DATABASE__URL"]);
    let pairs = [("DATABASE_URL", "postgres://h/d"), ("DATABASE_URL_FILE", "/x")];
    refused(from_variables(&pairs), &["database.url_file", "DATABASE_URL_FILE", "DATABASE_URL"]);
}

#[test]
fn a_later_layers_way_of_giving_a_secret_replaces_an_earlier_layers() {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, "url", "postgres://from-a-file/d\n");
    let path = path.to_str().unwrap();
    let url =
        |text: &str, pairs: &[(&str, &str)]| from_text(text, pairs).unwrap().database_url().expose_secret().to_owned();
    let direct = "[database]\nurl = \"postgres://direct/d\"\n";
    assert_eq!(url(direct, &[("DATABASE_URL_FILE", path)]), "postgres://from-a-file/d");
    let by_file = "[database]\nurl_file = \"/is/never/read\"\n";
    assert_eq!(url(by_file, &[("DATABASE_URL", "postgres://direct/d")]), "postgres://direct/d");
    let pairs = [("DATABASE_URL", "postgres://direct/d"), ("ONECLICK_DATABASE__URL_FILE", path)];
    assert_eq!(url("", &pairs), "postgres://from-a-file/d");
    // An empty one is one that was not set: it neither conflicts nor replaces.
    assert_eq!(url(direct, &[("DATABASE_URL_FILE", ""), ("ONECLICK_DATABASE__URL", "")]), "postgres://direct/d");
}

#[test]
fn a_secrets_file_that_is_missing_or_empty_is_refused_by_name() {
    let missing = from_variables(&[("ONECLICK_SECRETS__MASTER_KEY_FILE", "/no/such/key")]);
    refused(missing, &["secrets.master_key_file", "ONECLICK_SECRETS__MASTER_KEY_FILE", "/no/such/key", "No such file"]);
    let folder = TempDir::new().unwrap();
    let empty = write(&folder, "empty", "\n");
    refused(from_variables(&[("DATABASE_URL_FILE", empty.to_str().unwrap())]), &["database.url_file", "is empty"]);
}

#[test]
fn what_an_editor_leaves_in_a_secrets_file_is_named() {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, "secret", "");
    for key in ["SECRETS__MASTER_KEY", "VERIFIER__ALIYUN__ACCESS_KEY_SECRET"] {
        let name = format!("ONECLICK_{key}_FILE");
        for (text, fault) in [
            (format!("\u{feff}{MASTER_KEY}\n"), "begins with a byte order mark (BOM)"),
            (format!("\"{MASTER_KEY}\"\n"), "begins with a quotation mark"),
            (format!("'{MASTER_KEY}'"), "begins with a quotation mark"),
        ] {
            std::fs::write(&path, text).unwrap();
            refused(from_variables(&[(&name, path.to_str().unwrap())]), &[&name, path.to_str().unwrap(), fault]);
        }
        std::fs::write(&path, format!("{MASTER_KEY}\r\n\n\n")).unwrap();
        assert!(from_variables(&[(&name, path.to_str().unwrap())]).is_ok(), "newlines at the end are nobody's");
    }
    std::fs::write(&path, "\nLTAI-test\n").unwrap();
    let name = "ONECLICK_VERIFIER__ALIYUN__ACCESS_KEY_ID_FILE";
    refused(from_variables(&[(name, path.to_str().unwrap())]), &[name, "has more than one line"]);
}

/// Distinct texts that look like what they stand for.
const CANARIES: [(&str, &str); 6] = [
    (
        "ONECLICK_DATABASE__URL",
        "postgres://login:canary-password@db/login?sslmode=verify-full&password=canary-parameter",
    ),
    ("ONECLICK_VERIFIER__ALIYUN__PROXY", "http://proxy:canary-proxy@proxy.internal:3128"),
    ("ONECLICK_VERIFIER__ALIYUN__ACCESS_KEY_ID", "canary-id"),
    ("ONECLICK_VERIFIER__ALIYUN__ACCESS_KEY_SECRET", "canary-secret"),
    ("ONECLICK_VERIFIER__ALIYUN__SECURITY_TOKEN", "canary-token"),
    (
        "ONECLICK_SECRETS__MASTER_KEY",
        "canarycanarycanarycanarycanarycanarycanary0=,canary1canary1canary1canary1canary1canary10=",
    ),
];

#[test]
fn no_secret_is_shown_by_debug_nor_by_config_print_nor_by_config_check() {
    let settings = production(&CANARIES).unwrap();
    let mut shown = Vec::new();
    config::print(&settings, &mut shown).unwrap();
    config::check(&settings, &mut shown).unwrap();
    let shown = format!("{}{settings:?}{:?}", String::from_utf8(shown).unwrap(), settings.master_keys());
    assert!(shown.contains("login.example.com"));
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn no_secret_is_shown_by_an_error() {
    for (name, value) in CANARIES {
        // Wrong in itself, or beside something that is wrong.
        for changes in [
            [(name, &*format!("{value} canary")), ("ONECLICK_SESSION__TTL_SECONDS", "0")],
            [(name, value), ("ONECLICK_SERVER__LISTEN", "x")],
            [(name, value), ("ONECLICK_SERVER__LISTEN__X", "x")],
        ] {
            let text = told(production(&changes));
            assert!(!text.contains("canary"), "{text}");
        }
    }
    for url in ["canary", "mysql://u:canary@h/d", "postgres://u:can#ary@h/d", "postgres://u:p@h:canary/d"] {
        let text = told(from_variables(&[("DATABASE_URL", url)]));
        assert!(text.contains("database.url") && text.contains("DATABASE_URL"), "{text}");
        assert!(!text.contains("canary") && !text.contains("ary@"), "{text}");
    }
}

#[test]
fn a_syntax_error_does_not_quote_the_line_it_stands_in() {
    for line in [
        "master_key = canary",
        "master_key = \"canary",
        "master_key = \"canary\" canary",
        "master_key = 'canary'\nmaster_key = 'canary'",
        "master_key \"canary\"",
        "master_key = \"\\canary\"",
    ] {
        let folder = TempDir::new().unwrap();
        let path = write(&folder, "settings.toml", &format!("[secrets]\n{line}\n"));
        let error = Settings::load(Some(&path), &variables(&[])).unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(text.contains("settings.toml") && !text.contains("canary"), "{text}");
        }
    }
}
