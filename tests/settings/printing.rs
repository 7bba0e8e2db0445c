//! `config check` and `config print`.

use tempfile::TempDir;

use super::{PRODUCTION, from_text, from_variables, production, variables, write};
use oneclick_login::cli::config;
use oneclick_login::settings::{Settings, reference};

fn printed(settings: &Settings) -> String {
    let mut out = Vec::new();
    config::print(settings, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn check_says_that_the_settings_are_valid_and_what_a_start_would_use() {
    let said = |settings: &Settings| {
        let mut out = Vec::new();
        config::check(settings, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let expected = "settings are valid\n\
        environment development, store sqlite, verifier sandbox, issuer http://127.0.0.1:8080/api/v1/oauth2\n\
        logins a minute: per app off, per address off (server.trusted_proxies is empty), per device off; \
        verifier calls: a minute off, a day off\n";
    assert_eq!(said(&from_variables(&[]).unwrap()), expected);
    let expected = "settings are valid\n\
        environment production, store postgres, verifier aliyun, issuer https://login.example.com/api/v1/oauth2\n\
        logins a minute: per app 6000, per address 600, per device 10; verifier calls: a minute 500, a day 100000\n";
    let limited = production(&[
        ("ONECLICK_SERVER__TRUSTED_PROXIES", "10.0.0.0/8"),
        ("ONECLICK_LIMITS__LOGINS_PER_APP_PER_MINUTE", "6000"),
        ("ONECLICK_LIMITS__LOGINS_PER_DEVICE_PER_MINUTE", "10"),
        ("ONECLICK_LIMITS__VERIFIER_CALLS_PER_MINUTE", "500"),
        ("ONECLICK_LIMITS__VERIFIER_CALLS_PER_DAY", "100000"),
    ]);
    assert_eq!(said(&limited.unwrap()), expected);
}

#[test]
fn what_is_printed_loads_again_as_the_same_settings() {
    let text = "[[apps]]\nclient_id = \"an-app\"\nname = \"An \\\"app\\\"\"\nauto_register = false\n";
    let variables =
        [("ONECLICK_I18N__DEFAULT_LOCALE", "zh"), ("ONECLICK_SERVER__TRUSTED_PROXIES", "10.0.0.7,fd00::/8")];
    let settings = from_text(text, &variables).unwrap();
    let first = printed(&settings);
    assert!(first.contains("client_id = \"an-app\"") && first.contains("Demo app"), "{first}");
    let second = printed(&from_text(&first, &[]).unwrap());
    assert_eq!(first, second);
}

#[test]
fn what_is_printed_in_production_loads_again_with_the_secrets_alone() {
    let first = printed(&production(&[]).unwrap());
    assert!(
        first.contains("#url = \"postgres://login:[redacted]@db.internal/login?sslmode=verify-full\"\n"),
        "{first}"
    );
    assert!(first.contains("#master_key = \"[redacted]\"\n"), "{first}");
    assert!(first.contains("#access_key_secret = \"[redacted]\"\n"), "{first}");
    let folder = TempDir::new().unwrap();
    let path = write(&folder, "printed.toml", &first);
    let again = Settings::load(Some(&path), &variables(&PRODUCTION)).unwrap();
    assert_eq!(printed(&again), first);
}

#[test]
fn printing_keeps_the_order_of_the_default_file() {
    let text = printed(&from_variables(&[]).unwrap());
    let names: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    let rows = reference();
    let unset = [
        "proxy",
        "access_key_id",
        "access_key_secret",
        "security_token",
        "role_arn",
        "oidc_provider_arn",
        "oidc_token_path",
        "ecs_role",
        "master_key",
    ];
    let expected: Vec<&str> = rows
        .iter()
        .map(|row| row.key.rsplit('.').next().unwrap())
        .filter(|name| !name.ends_with("_file") && !unset.contains(name))
        .collect();
    assert_eq!(names, expected);
}
