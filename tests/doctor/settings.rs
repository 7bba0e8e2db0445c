//! Settings that do not load, and those that do and are seldom meant.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::doctor;
use crate::support::program::Setup;

fn production() -> Setup {
    Setup::on("postgres://login:canary@127.0.0.1:1/login")
        .set("ONECLICK_ENVIRONMENT", "production")
        .set("ONECLICK_ID_TOKEN__ISSUER", "https://no-such-host.invalid/api/v1/oauth2")
        .set("ONECLICK_VERIFIER__PROVIDER", "aliyun")
        .set("ONECLICK_VERIFIER__ALIYUN__ENDPOINT", "https://127.0.0.1:1")
        .set("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-test")
        .set("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "canary")
        .set("ONECLICK_SERVER__TRUSTED_PROXIES", "10.0.0.0/16")
}

#[tokio::test]
async fn the_sandbox_in_production_is_a_failure_and_the_rest_waits_for_it() {
    let report = doctor(&production().set("ONECLICK_VERIFIER__PROVIDER", "sandbox")).await;
    report.assert_fails("settings", &["verifier.provider must not be sandbox", "config check"]);
    for check in ["database", "verifier", "issuer"] {
        report.assert_says("skip", check, &["before the settings are right"]);
    }
}

#[tokio::test]
async fn all_that_production_lacks_is_a_line_each() {
    let report = doctor(&Setup::new().set("ONECLICK_ENVIRONMENT", "production")).await;
    let said: Vec<_> = report.of("settings").into_iter().map(|[_, _, words]| words.as_str()).collect();
    for key in ["verifier.provider", "database.url", "id_token.issuer", "secrets.master_key"] {
        assert!(said.iter().any(|words| words.starts_with(key)), "{key}: {said:?}");
    }
    assert_eq!(report.ran.code, Some(1));
}

#[tokio::test]
async fn a_settings_file_that_cannot_be_read_is_named() {
    let report = doctor(&Setup::new().set("ONECLICK_CONFIG", "nowhere.toml")).await;
    report.assert_fails("settings", &["nowhere.toml", "No such file"]);
}

/// ASVS 13.3.2.
#[tokio::test]
async fn a_secrets_file_that_others_can_read_is_a_warning_with_the_command() {
    let setup = Setup::new();
    let path = setup.folder().join("master_key");
    std::fs::write(&path, "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=\n").unwrap();
    let setup = setup.set("ONECLICK_SECRETS__MASTER_KEY_FILE", path.to_str().unwrap());
    for (mode, others_can) in [(0o644, true), (0o640, true), (0o604, true), (0o600, false), (0o400, false)] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let report = doctor(&setup).await;
        let warned = report.of("settings").into_iter().any(|[verdict, _, words]| {
            verdict == "WARN" && words.ends_with(&format!("run: chmod go= {}", path.display()))
        });
        assert_eq!((warned, report.ran.code), (others_can, Some(0)), "{mode:o}: {:?}", report.ran);
    }
}

#[tokio::test]
async fn what_is_allowed_in_production_and_seldom_meant_is_a_warning() {
    let setup = production()
        .set("ONECLICK_LOG__FORMAT", "text")
        .unset("ONECLICK_SERVER__TRUSTED_PROXIES")
        .set("ONECLICK_ID_TOKEN__ISSUER", "https://localhost:1/api/v1/oauth2");
    let report = doctor(&setup).await;
    let lines = report.of("settings");
    let warned = |text: &str| lines.iter().any(|[verdict, _, words]| verdict == "WARN" && words.contains(text));
    for advice in ["set log.format to json", "the gateway's public address", "set server.trusted_proxies"] {
        assert!(warned(advice), "{advice}: {:?}", report.ran);
    }
    assert_eq!(doctor(&production()).await.of("settings").len(), 1);
}
