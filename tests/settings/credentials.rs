//! Where the credentials for Alibaba Cloud come from: what auto comes to, and what each choice needs.

use std::path::Path;

use super::{from_text, from_variables, production, refused, told};
use oneclick_login::settings::{CredentialsKind, Settings};

const PROVIDER: (&str, &str) = ("ONECLICK_VERIFIER__PROVIDER", "aliyun");
const KEYS: [(&str, &str); 2] = [("ALIBABA_CLOUD_ACCESS_KEY_ID", "id"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret")];
const OIDC: [(&str, &str); 3] = [
    ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/login"),
    ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/c1"),
    ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/var/run/token"),
];
const ECS: [(&str, &str); 1] = [("ALIBABA_CLOUD_ECS_METADATA", "login")];

fn choice(name: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![PROVIDER, ("ONECLICK_VERIFIER__ALIYUN__CREDENTIALS", name)]
}

fn kind(settings: &Settings) -> CredentialsKind {
    settings.verifier.aliyun.credentials_kind()
}

#[test]
fn auto_takes_the_first_that_is_set_up() {
    use CredentialsKind::{Ecs, Oidc, Static};
    for (keys, oidc, ecs, expected) in [
        (true, true, true, Static),
        (true, true, false, Static),
        (true, false, true, Static),
        (true, false, false, Static),
        (false, true, true, Oidc),
        (false, true, false, Oidc),
        (false, false, true, Ecs),
    ] {
        for mut variables in [vec![PROVIDER], choice("auto")] {
            for (given, group) in [(keys, &KEYS[..]), (oidc, &OIDC), (ecs, &ECS)] {
                variables.extend(group.iter().filter(|_| given));
            }
            assert_eq!(kind(&from_variables(&variables).unwrap()), expected, "{variables:?}");
        }
    }
    // Half of an OIDC role beside a whole ECS role is none.
    let half = [&[PROVIDER][..], &OIDC[..2], &ECS].concat();
    assert_eq!(kind(&from_variables(&half).unwrap()), Ecs);
}

#[test]
fn auto_says_what_is_missing_of_what_was_begun() {
    let with = |group: &[(&str, &str)]| told(from_variables(&[&[PROVIDER], group].concat()));
    let nothing = with(&[]);
    assert!(nothing.contains("access_key_id") && nothing.contains("access_key_secret"), "{nothing}");
    assert!(nothing.contains("unless a role gives the credentials"), "{nothing}");
    let half_a_key = with(&[&KEYS[..1], &OIDC, &ECS].concat());
    assert!(half_a_key.contains("access_key_secret") && !half_a_key.contains("access_key_id"), "{half_a_key}");
    let half_a_role = with(&OIDC[1..]);
    assert!(half_a_role.contains("verifier.aliyun.role_arn must be set"), "{half_a_role}");
    assert!(!half_a_role.contains("oidc_") && !half_a_role.contains("access_key"), "{half_a_role}");
}

#[test]
fn a_choice_needs_its_own_settings_whatever_else_is_there() {
    let with =
        |name, groups: &[&[(&'static str, &'static str)]]| from_variables(&[choice(name), groups.concat()].concat());
    for (name, own, others) in
        [("static", &KEYS[..], [&OIDC[..], &ECS]), ("oidc", &OIDC, [&KEYS, &ECS]), ("ecs", &[], [&KEYS, &OIDC])]
    {
        let settings = with(name, &[own, others[0], others[1]]).unwrap();
        assert_eq!(format!("{:?}", kind(&settings)).to_lowercase(), name);
        assert!(with(name, &[own]).is_ok(), "{name}");
    }
    refused(with("static", &[&OIDC, &ECS]), &["verifier.aliyun.access_key_id", "verifier.aliyun.access_key_secret"]);
    let missing = ["verifier.aliyun.role_arn", "verifier.aliyun.oidc_provider_arn", "verifier.aliyun.oidc_token_path"];
    refused(with("oidc", &[&KEYS, &ECS]), &missing);
    refused(with("imds", &[&KEYS]), &["verifier.aliyun.credentials", "unknown variant `imds`"]);
    // The sandbox signs nothing.
    assert!(from_variables(&[("ONECLICK_VERIFIER__ALIYUN__CREDENTIALS", "oidc")]).is_ok());
}

#[test]
fn alibabas_variables_of_roles_fill_what_nobody_set() {
    let named = [&OIDC[..], &ECS, &[("ALIBABA_CLOUD_ROLE_SESSION_NAME", "their-session")]].concat();
    let aliyun = from_variables(&named).unwrap().verifier.aliyun;
    assert_eq!(aliyun.role_arn.as_deref(), Some("acs:ram::1:role/login"));
    assert_eq!(aliyun.oidc_provider_arn.as_deref(), Some("acs:ram::1:oidc-provider/c1"));
    assert_eq!(aliyun.oidc_token_path.as_deref(), Some(Path::new("/var/run/token")));
    assert_eq!(aliyun.ecs_role.as_deref(), Some("login"));
    assert_eq!(aliyun.role_session_name, "their-session");

    let text = "[verifier.aliyun]\nrole_arn = \"ours\"\nrole_session_name = \"our-session\"\n";
    let aliyun = from_text(text, &named).unwrap().verifier.aliyun;
    assert_eq!((aliyun.role_arn.as_deref(), &*aliyun.role_session_name), (Some("ours"), "our-session"));

    let empty = named.iter().map(|(name, _)| (*name, "")).collect::<Vec<_>>();
    let aliyun = from_variables(&empty).unwrap().verifier.aliyun;
    assert_eq!((aliyun.role_arn, aliyun.ecs_role, &*aliyun.role_session_name), (None, None, "oneclick-login"));
}

#[test]
fn names_and_endpoints_have_a_form_that_can_work() {
    for name in ["a", "a b", "a/b", "..", &"x".repeat(65)] {
        let variable = ("ONECLICK_VERIFIER__ALIYUN__ROLE_SESSION_NAME", name);
        refused(from_variables(&[variable]), &["verifier.aliyun.role_session_name", variable.0]);
    }
    for name in ["a/b", "../x", "a b", "a?b", &"x".repeat(65)] {
        let variable = ("ALIBABA_CLOUD_ECS_METADATA", name);
        refused(from_variables(&[variable]), &["verifier.aliyun.ecs_role", variable.0]);
    }
    for key in ["sts_endpoint", "ecs_metadata_endpoint"] {
        let name = format!("ONECLICK_VERIFIER__ALIYUN__{}", key.to_uppercase());
        for endpoint in ["sts.aliyuncs.com", "https://u:canary@sts.test", "https://sts.test/?x"] {
            refused(from_variables(&[(&name, endpoint)]), &[&format!("verifier.aliyun.{key} must be an http"), &name]);
        }
    }
}

#[test]
fn production_asks_the_sts_by_https_only_and_the_metadata_service_by_http() {
    let http = ("ONECLICK_VERIFIER__ALIYUN__STS_ENDPOINT", "http://sts.test");
    refused(production(&[http]), &["verifier.aliyun.sts_endpoint must be an https:// URL in production"]);
    let keyless = [("ALIBABA_CLOUD_ACCESS_KEY_ID", ""), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "")];
    let settings = production(&[&keyless[..], &OIDC].concat()).unwrap();
    assert_eq!(kind(&settings), CredentialsKind::Oidc);
    assert_eq!(settings.verifier.aliyun.sts_endpoint, "https://sts.aliyuncs.com");
    let settings = production(&[&keyless[..], &ECS].concat()).unwrap();
    assert_eq!(kind(&settings), CredentialsKind::Ecs);
    assert_eq!(settings.verifier.aliyun.ecs_metadata_endpoint, "http://100.100.100.200");
}
