//! `doctor`: looks at a deployment from where it is to run, and says what is wrong and what to do about it.
//!
//! It changes nothing but the one row that shows whether the database takes writes, and goes on where it can: what was
//! found first is seldom all. Each file here looks at one thing; the words are in the findings.

mod database;
mod issuer;
mod keys;
mod network;
mod settings;
mod tls;
mod verifier;

use std::io::Write;
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::{CliError, say};
use crate::clock::Clock;
use crate::finding::{Finding, Verdict};
use crate::settings::{Settings, SettingsError};

use self::keys::ActiveKey;

/// For all that is asked of the database, whose own limits are shorter, unless a setting makes them very long.
const DATABASE_LIMIT: Duration = Duration::from_secs(10);

/// For all that is asked of Alibaba Cloud: credentials, then a call.
const VERIFIER_LIMIT: Duration = Duration::from_secs(15);

#[derive(Debug, Args)]
pub struct Arguments {
    /// How many replicas are to share the database's connections
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    replicas: u32,
    /// Print each finding as a JSON object
    #[arg(long)]
    json: bool,
}

/// Fails where a finding does. Settings that cannot be loaded are a finding like any other.
pub async fn run(
    arguments: &Arguments,
    settings: Result<Settings, SettingsError>,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let findings = examine(settings, arguments.replicas).await;
    for finding in &findings {
        if arguments.json {
            let json = serde_json::to_string(finding).expect("a finding is text");
            say(out, format_args!("{json}"))?;
        } else {
            say(out, format_args!("{:<4}  {:<12}  {finding}", finding.verdict.as_str(), finding.check))?;
        }
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Fail).count() {
        0 => Ok(()),
        failures => Err(CliError::Refused(format!("failures found: {failures}"))),
    }
}

async fn examine(settings: Result<Settings, SettingsError>, replicas: u32) -> Vec<Finding> {
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => {
            let unseen = |check| Finding::skip(check, "cannot be looked at before the settings are right");
            return settings::problems(&error)
                .into_iter()
                .chain(["database", "verifier", "issuer"].map(unseen))
                .collect();
        }
    };
    let clock = Clock::system();
    let mut findings = settings::look_at(&settings);
    findings.extend(tls::look_at(&settings, clock.now()).await);
    let (stored, verifier) =
        tokio::join!(look_at_stored(&settings, replicas, &clock), look_at_verifier(&settings, &clock));
    let (database, active_key) = stored;
    findings.extend(database);
    findings.extend(verifier);
    findings.push(issuer::look_at(&settings, &active_key).await);
    findings
}

/// The database and what is kept there.
async fn look_at_stored(settings: &Settings, replicas: u32, clock: &Clock) -> (Vec<Finding>, ActiveKey) {
    let mut findings = Vec::new();
    let look = async {
        let Some(store) = database::look_at(settings, replicas, clock, &mut findings).await else {
            return ActiveKey::Unknown;
        };
        findings.push(database::apps(settings, &*store).await);
        let active_key = keys::look_at(settings, &store, clock, &mut findings).await;
        store.close().await;
        active_key
    };
    let active_key = timeout(DATABASE_LIMIT, look).await.unwrap_or_else(|_| {
        let message = format!("no end of the checks within {} s", DATABASE_LIMIT.as_secs());
        findings.push(Finding::fail("database", message, "look at the load of the database, and at the network to it"));
        ActiveKey::Unknown
    });
    (findings, active_key)
}

async fn look_at_verifier(settings: &Settings, clock: &Clock) -> Vec<Finding> {
    timeout(VERIFIER_LIMIT, verifier::look_at(settings, clock)).await.unwrap_or_else(|_| {
        let message = format!("no end of the checks within {} s", VERIFIER_LIMIT.as_secs());
        vec![Finding::fail("verifier", message, "look at the network to verifier.aliyun.endpoint")]
    })
}
