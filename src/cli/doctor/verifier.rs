//! The verifier: credentials are had, Alibaba Cloud takes our calls, and its clock agrees with ours.

use std::sync::Arc;
use std::time::Duration;

use super::database::how_far;
use super::network;
use crate::app::verifier::{aliyun, role_credentials};
use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::finding::Finding;
use crate::settings::{CredentialsKind, Provider, Settings};
use crate::verifier::VerifierError;
use crate::verifier::aliyun::{CredentialsSource, Diagnosis, NoCredentials, RefreshedCredentials, remedy};

const CHECK: &str = "verifier";

/// Signatures carry the time, and 15 minutes are the limit: from here on something is wrong with a clock …
const CLOCK_WARNING: Duration = Duration::from_secs(30);

/// … and from here on calls are about to be refused.
const CLOCK_FAILURE: Duration = Duration::from_secs(10 * 60);

pub async fn look_at(settings: &Settings, clock: &Clock) -> Vec<Finding> {
    if settings.verifier.provider == Provider::Sandbox {
        return vec![Finding::skip(CHECK, "the sandbox, which asks nobody")];
    }
    let role = match role_credentials(settings, clock) {
        Ok(role) => role,
        Err(error) => return vec![Finding::fail(CHECK, Chain(&error).to_string(), "mend verifier.aliyun")],
    };
    let mut findings = Vec::new();
    if let Some(role) = &role {
        let (finding, obtained) = credentials_of(settings, role).await;
        findings.push(finding);
        if !obtained {
            findings.push(Finding::skip(CHECK, "cannot be called without credentials"));
            return findings;
        }
    }
    let verifier = match aliyun(settings, clock, role.as_ref()) {
        Ok(verifier) => verifier,
        Err(error) => return vec![Finding::fail(CHECK, Chain(&error).to_string(), "mend verifier.aliyun")],
    };
    if role.is_none() {
        findings.push(Finding::ok("credentials", "an AccessKey in the settings"));
    }
    let Diagnosis { outcome, clock_ahead } = verifier.diagnose().await;
    findings.push(call(settings, outcome.map(drop)));
    findings.extend(clock_ahead.map(agreement));
    findings
}

async fn credentials_of(settings: &Settings, role: &Arc<RefreshedCredentials>) -> (Finding, bool) {
    const CHECK: &str = "credentials";
    let (whose, advice) = match settings.verifier.aliyun.credentials_kind() {
        CredentialsKind::Oidc => (
            "of the OIDC role",
            "compare role_arn, oidc_provider_arn and the role's trust policy, and see that verifier.aliyun.sts_endpoint \
             can be reached from here",
        ),
        CredentialsKind::Ecs | CredentialsKind::Static => (
            "of the ECS instance's role",
            "see that the instance has that RAM role, and that verifier.aliyun.ecs_metadata_endpoint can be reached",
        ),
    };
    role.refresh_if_due().await;
    match role.current() {
        Ok(_) => (Finding::ok(CHECK, whose), true),
        Err(NoCredentials::NotYet { reason } | NoCredentials::Refused { reason }) => {
            (Finding::fail(CHECK, format!("none {whose}: {reason}"), advice), false)
        }
    }
}

fn call(settings: &Settings, outcome: Result<(), VerifierError>) -> Finding {
    let endpoint = &settings.verifier.aliyun.endpoint;
    match outcome {
        Err(VerifierError::TokenRejected { code }) => {
            let message = format!("{endpoint} takes our calls (an impossible token came back as {code})");
            Finding::ok(CHECK, message)
        }
        Err(VerifierError::Ambiguous { code }) => Finding::warn(
            CHECK,
            format!("{endpoint} takes our calls, but an impossible token came back as {code}"),
            "log in once from a real device before you rely on it",
        ),
        Err(VerifierError::Misconfigured { code }) => {
            Finding::fail(CHECK, format!("{endpoint} refuses our calls: {code}"), remedy(&code))
        }
        Err(
            error @ (VerifierError::Busy { .. }
            | VerifierError::Throttled { .. }
            | VerifierError::OverBudget(_)
            | VerifierError::BudgetUnknown(_)),
        ) => {
            let advice = "run doctor again; if it stays so, ask for a higher quota";
            Finding::warn(CHECK, format!("{endpoint}: {}", Chain(&error)), advice)
        }
        Err(error @ (VerifierError::Unreachable(_) | VerifierError::NoAnswer { .. })) => {
            let chain = Chain(&error).to_string();
            let advice = match settings.verifier.aliyun.proxy {
                Some(_) => format!("{} (the way leads through verifier.aliyun.proxy)", network::remedy(&chain)),
                None => network::remedy(&chain).to_owned(),
            };
            Finding::fail(CHECK, format!("{endpoint}: {chain}"), advice)
        }
        Ok(()) | Err(VerifierError::NotANumber | VerifierError::UnsupportedNumber) => Finding::fail(
            CHECK,
            format!("{endpoint} gave a number for a token that cannot exist: that is not Alibaba Cloud"),
            "set verifier.aliyun.endpoint to https://dypnsapi.aliyuncs.com",
        ),
    }
}

fn agreement(ahead: time::Duration) -> Finding {
    const CHECK: &str = "their clock";
    let message = format!("Alibaba Cloud's clock is {}", how_far(ahead));
    let advice = "run a time service (chrony, NTP) on this machine";
    let apart = ahead.unsigned_abs();
    if apart >= CLOCK_FAILURE {
        Finding::fail(CHECK, format!("{message}: from 15 minutes on no call is taken"), advice)
    } else if apart >= CLOCK_WARNING {
        Finding::warn(CHECK, message, advice)
    } else {
        Finding::ok(CHECK, "Alibaba Cloud's clock agrees with ours")
    }
}
