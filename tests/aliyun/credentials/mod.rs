//! Credentials that a role gives: asked for by the real types, of an STS and a metadata service that answer, refuse,
//! lie and hang.

mod ecs;
mod leaks;
mod oidc;
mod program;
mod refresh;

use std::time::Duration;

use oneclick_login::clock::Clock;
use oneclick_login::verifier::aliyun::{
    Credentials, CredentialsSource, EcsConfig, EcsRole, NoCredentials, OidcConfig, OidcRole, RefreshedCredentials, Role,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use wiremock::ResponseTemplate;

use super::{PATIENT, clock};

const ROLE_ARN: &str = "acs:ram::1234567890123456:role/oneclick-login";
const PROVIDER_ARN: &str = "acs:ram::1234567890123456:oidc-provider/ack-rrsa-c1";
const OIDC_TOKEN: &str = "eyJhbGciOi.canary-oidc+token/=.c2ln";

/// What [`clock`] shows, and an hour later.
const EXPIRES_AT: &str = "2026-03-01T09:30:00Z";

fn token_file(content: impl AsRef<[u8]>) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(&file, content).unwrap();
    file
}

fn oidc_config(endpoint: &str, token: &NamedTempFile) -> OidcConfig {
    OidcConfig {
        endpoint: endpoint.to_owned(),
        timeout: PATIENT,
        proxy: None,
        role_arn: ROLE_ARN.to_owned(),
        provider_arn: PROVIDER_ARN.to_owned(),
        token_path: token.path().to_owned(),
        session_name: "a-session".to_owned(),
    }
}

fn ecs_config(endpoint: &str, role: Option<&str>) -> EcsConfig {
    EcsConfig { endpoint: endpoint.to_owned(), timeout: PATIENT, role: role.map(str::to_owned) }
}

fn oidc(config: OidcConfig, clock: &Clock) -> RefreshedCredentials {
    let role = OidcRole::new(config, clock.clone()).expect("the tests' configuration is valid");
    RefreshedCredentials::new(Role::Oidc(role), clock.clone())
}

fn ecs(config: EcsConfig, clock: &Clock) -> RefreshedCredentials {
    let role = EcsRole::new(config, clock.clone()).expect("the tests' configuration is valid");
    RefreshedCredentials::new(Role::Ecs(role), clock.clone())
}

/// What is known after one try by a source that has just been made.
async fn first_try(source: &RefreshedCredentials) -> Result<(), NoCredentials> {
    source.refresh_if_due().await;
    source.current().map(|_| ())
}

/// Keys with the name in each of their parts.
fn keys(name: &str, expires_at: &str) -> Value {
    json!({
        "AccessKeyId": format!("STS.id-{name}"),
        "AccessKeySecret": format!("secret-{name}"),
        "SecurityToken": format!("token+{name}/="),
        "Expiration": expires_at,
    })
}

fn sts_answer(keys: &Value) -> ResponseTemplate {
    let user = json!({ "AssumedRoleId": "33157794895460****:a-session", "Arn": "acs:ram::1:role/r/a-session" });
    ResponseTemplate::new(200).set_body_json(json!({
        "RequestId": "3D57EAD2", "AssumedRoleUser": user, "Credentials": keys,
        "OIDCTokenInfo": { "Subject": "system:serviceaccount:login:login", "Issuer": "https://oidc.test" },
    }))
}

fn refusal(http_status: u16, code: &str) -> ResponseTemplate {
    ResponseTemplate::new(http_status)
        .set_body_json(json!({ "Code": code, "RequestId": "3D57EAD2", "Message": "canary", "HostId": "sts.test" }))
}

#[track_caller]
fn assert_has(source: &RefreshedCredentials, name: &str) {
    let credentials: &Credentials = &source.current().expect("there are credentials");
    assert_eq!(credentials.access_key_id(), format!("STS.id-{name}"));
    assert_eq!(credentials.access_key_secret().expose_secret(), format!("secret-{name}"));
    assert_eq!(credentials.security_token().unwrap().expose_secret(), format!("token+{name}/="));
}

/// Waiting may help.
#[track_caller]
fn assert_not_yet(result: Result<(), NoCredentials>, reason: &str) {
    let error = result.expect_err("there should be no credentials");
    assert!(matches!(error, NoCredentials::NotYet { .. }) && error.to_string().contains(reason), "{error:?}");
}

/// Somebody must act.
#[track_caller]
fn assert_refused(result: Result<(), NoCredentials>, reason: &str) {
    let error = result.expect_err("there should be no credentials");
    assert!(matches!(error, NoCredentials::Refused { .. }) && error.to_string().contains(reason), "{error:?}");
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
