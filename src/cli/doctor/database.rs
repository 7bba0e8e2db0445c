//! The database: there, set up as it should be, at the same time as we are, with our schema, taking writes, and with an
//! application that may log users in. What a store knows of its own deployment it says itself.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use crate::app;
use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::finding::{Finding, Verdict};
use crate::keys::CLOCK_LIMIT;
use crate::readiness::CLOCK_WARNING;
use crate::settings::{DatabaseKind, Environment, Settings};
use crate::store::sqlite::SqliteStore;
use crate::store::{AppKind, Schema, Store, StoreError};

const CHECK: &str = "database";

/// The store, if what is kept there can be looked at.
pub async fn look_at(
    settings: &Settings,
    replicas: u32,
    clock: &Clock,
    findings: &mut Vec<Finding>,
) -> Option<Arc<dyn Store>> {
    if is_yet_to_be_made(settings) {
        let message = format!("{} is not there yet", settings.shown_database_url());
        findings.push(match settings.environment {
            Environment::Development => Finding::skip(CHECK, format!("{message}; the first start makes it")),
            Environment::Production => Finding::fail(CHECK, message, "run: oneclick-login migrate"),
        });
        return None;
    }
    let store = match app::open_store(settings).await {
        Ok(store) => store,
        Err(error) => {
            let message = format!("{}: {}", settings.shown_database_url(), Chain(&error));
            findings.push(Finding::fail(CHECK, message, "mend database.url, or what it names"));
            return None;
        }
    };
    let time = match difference(&*store, clock).await {
        Ok(difference) => difference,
        Err(error) => {
            let advice = store.remedy(&error).unwrap_or_else(|| "mend database.url, or what it names".to_owned());
            let message = format!("{}: {}", settings.shown_database_url(), Chain(&error));
            findings.push(Finding::fail(CHECK, message, advice));
            return None;
        }
    };
    match store.look_at_deployment(replicas).await {
        Ok(deployment) => findings.extend(deployment),
        Err(error) => findings.push(failure(CHECK, "cannot be asked for its settings", &*store, &error)),
    }
    if settings.database_kind() == DatabaseKind::Postgres {
        findings.push(agreement(time));
    }
    let version = store.check_schema().await;
    findings.push(schema(settings, &*store, &version));
    version.ok()?;
    if findings.iter().all(|finding| (finding.check, finding.verdict) != (CHECK, Verdict::Fail)) {
        findings.push(match store.probe_sessions(clock.now()).await {
            Ok(()) => Finding::ok("writes", "a row was written and committed"),
            Err(error) => failure("writes", "a row cannot be written", &*store, &error),
        });
    }
    Some(store)
}

/// At least one application must be able to log users in.
pub async fn apps(settings: &Settings, store: &dyn Store) -> Finding {
    let registered = match store.apps().await {
        Ok(apps) => apps,
        Err(error) => return failure("apps", "cannot be read", store, &error),
    };
    let to_come = settings.apps().into_iter();
    let to_come =
        to_come.filter(|app| registered.iter().all(|known| known.client_id.as_str() != app.client_id)).count();
    let enabled = registered.iter().filter(|app| app.enabled && app.kind == AppKind::Sdk).count();
    match (enabled, to_come) {
        (0, 0) => Finding::warn(
            "apps",
            "no application may log users in",
            "run: oneclick-login app register --client-id ID --name NAME, or app enable",
        ),
        (_, 0) => Finding::ok("apps", format!("{enabled} may log users in")),
        (_, _) => Finding::ok("apps", format!("{enabled} may log users in, {to_come} more with the next start")),
    }
}

fn is_yet_to_be_made(settings: &Settings) -> bool {
    settings.database_kind() == DatabaseKind::Sqlite
        && SqliteStore::is_there(settings.database_url().expose_secret()).is_ok_and(|there| !there)
}

/// Positive where the database's clock is ahead. The answer was made half way between the question and now.
async fn difference(store: &dyn Store, clock: &Clock) -> Result<time::Duration, StoreError> {
    // The first question may open a connection, which takes its time on one side only.
    store.database_time().await?;
    let asked = clock.now();
    let theirs = store.database_time().await?;
    let answered = clock.now();
    Ok(theirs - (asked + (answered - asked) / 2))
}

fn agreement(difference: time::Duration) -> Finding {
    let apart = difference.unsigned_abs();
    let message = format!("the database's clock is {}", how_far(difference));
    let advice = "run a time service (chrony, NTP) on this machine and on the database's";
    if apart > CLOCK_LIMIT {
        let limit = CLOCK_LIMIT.as_secs();
        Finding::fail("clock", format!("{message}: beyond {limit} s a replica takes no logins"), advice)
    } else if apart > CLOCK_WARNING {
        Finding::warn("clock", message, advice)
    } else {
        Finding::ok("clock", format!("within {} ms of the database's", apart.as_millis() + 1))
    }
}

/// `1.5 s ahead of ours`.
pub fn how_far(ahead: time::Duration) -> String {
    let side = if ahead.is_negative() { "behind" } else { "ahead of" };
    let apart = Duration::from_millis(u64::try_from(ahead.unsigned_abs().as_millis()).unwrap_or(u64::MAX));
    format!("{} s {side} ours", apart.as_secs_f64())
}

fn schema(settings: &Settings, store: &dyn Store, version: &Result<Schema, StoreError>) -> Finding {
    match (version, settings.environment) {
        (Ok(Schema::Current), _) => Finding::ok("schema", "up to date"),
        (Ok(Schema::Newer), _) => Finding::warn(
            "schema",
            "a newer version of this program has migrated the database, which this one still works with",
            "run that version here, too",
        ),
        (Err(error @ StoreError::Schema(_)), Environment::Development) => {
            Finding::warn("schema", Chain(error).to_string(), "or start the server, which does that in development")
        }
        (Err(error @ StoreError::Schema(_)), Environment::Production) => {
            Finding::fail("schema", Chain(error).to_string(), "with a DATABASE_URL whose role owns the database")
        }
        (Err(error), _) => failure("schema", "cannot be read", store, error),
    }
}

pub fn failure(check: &'static str, what: &str, store: &dyn Store, error: &StoreError) -> Finding {
    let advice = store.remedy(error).unwrap_or_else(|| "see the database's log, then run doctor again".to_owned());
    Finding::fail(check, format!("{what}: {}", Chain(error)), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_a_warning_and_then_a_failure_in_both_directions() {
        let look = |milliseconds: i64| agreement(time::Duration::milliseconds(milliseconds));
        for (milliseconds, verdict, words) in [
            (25, Verdict::Ok, "within 26 ms"),
            (-2_000, Verdict::Ok, "within 2001 ms"),
            (-2_001, Verdict::Warn, "2.001 s behind ours"),
            (30_000, Verdict::Warn, "30 s ahead of ours"),
            (30_001, Verdict::Fail, "beyond 30 s a replica takes no logins"),
        ] {
            let finding = look(milliseconds);
            assert_eq!(finding.verdict, verdict, "{finding}");
            assert!(finding.message.contains(words), "{finding}");
        }
    }
}
