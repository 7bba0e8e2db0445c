//! The keys: the master key opens the data keys, and of the signing keys one is active, sound and followed in time.
//! Unlike a start, this makes none.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use super::database::failure;
use crate::app;
use crate::clock::{Clock, Utc};
use crate::error_chain::Chain;
use crate::finding::Finding;
use crate::keys::{KeysError, Lifecycle, Timing};
use crate::settings::Settings;
use crate::store::{SigningKeyRow, Store};
use crate::vault::{Vault, VaultError, not_wrapped_by_first};

/// How long after its time a rotation may still be on its way: servers look every 5 s.
const ROTATION_GRACE: Duration = Duration::from_secs(60);

/// What the JWK Set must have.
#[derive(Debug, PartialEq, Eq)]
pub enum ActiveKey {
    Unknown,
    /// None was made so far.
    Absent,
    Kid(String),
}

pub async fn look_at(
    settings: &Settings,
    store: &Arc<dyn Store>,
    clock: &Clock,
    findings: &mut Vec<Finding>,
) -> ActiveKey {
    let rows = match store.signing_keys().await {
        Ok(rows) => rows,
        Err(error) => {
            findings.push(failure("signing keys", "cannot be read", &**store, &error));
            return ActiveKey::Unknown;
        }
    };
    let timing = Timing::default();
    let lifecycle = Lifecycle::new(&rows, &timing);
    let active = lifecycle.active(clock.now());
    let (master_key, vault) = master_key(settings, &**store).await;
    findings.push(master_key);
    match (active, vault) {
        (None, _) => findings.push(Finding::ok("signing keys", "none yet; the first start makes one")),
        (Some(_), None) => {
            findings.push(Finding::skip("signing keys", "cannot be opened without the master key"));
        }
        (Some(active), Some(vault)) => match app::open_keys(settings, store, &Arc::new(vault), clock).await {
            Ok(_) => findings.push(schedule(settings, &lifecycle, active, clock.now())),
            Err(error) => findings.push(unsound(&error)),
        },
    }
    active.map_or(ActiveKey::Absent, |row| ActiveKey::Kid(row.kid.clone()))
}

/// The vault is there if the keys open.
async fn master_key(settings: &Settings, store: &dyn Store) -> (Finding, Option<Vault>) {
    const CHECK: &str = "master key";
    let rows = match store.data_keys().await {
        Ok(rows) => rows,
        Err(error) => return (failure(CHECK, "the data keys cannot be read", store, &error), None),
    };
    if rows.is_empty() {
        return (Finding::ok(CHECK, "nothing to open yet; the first start makes the data keys"), None);
    }
    let restore =
        "give secrets.master_key the key that this database was set up with (its copy is apart from the backups)";
    let master_keys = match app::known_master_keys(settings) {
        Ok(Some(master_keys)) => master_keys,
        Ok(None) => {
            let message = format!("{} is gone, and the data keys need it", app::DEVELOPMENT_MASTER_KEY);
            return (Finding::fail(CHECK, message, "bring it back, or delete ./data to begin anew"), None);
        }
        Err(error) => return (Finding::fail(CHECK, Chain(&error).to_string(), restore), None),
    };
    match (not_wrapped_by_first(&master_keys, &rows), Vault::unwrap(&master_keys, &rows)) {
        (Ok(0), Ok(vault)) => (Finding::ok(CHECK, format!("opens the {} data keys", rows.len())), Some(vault)),
        (Ok(others), Ok(vault)) => {
            let message = format!("{others} of the {} data keys are not wrapped by the first master key", rows.len());
            let advice = "run: oneclick-login key rewrap, once every replica has the first master key";
            (Finding::warn(CHECK, message, advice), Some(vault))
        }
        (_, Err(error @ VaultError::MissingDataKey { .. })) => {
            let message = Chain(&error).to_string();
            (Finding::warn(CHECK, message, "start the server, which makes it"), None)
        }
        (_, Err(error)) | (Err(error), _) => (Finding::fail(CHECK, Chain(&error).to_string(), restore), None),
    }
}

fn schedule(settings: &Settings, lifecycle: &Lifecycle<'_>, active: &SigningKeyRow, now: OffsetDateTime) -> Finding {
    const CHECK: &str = "signing keys";
    let SigningKeyRow { kid, alg, .. } = active;
    let lifetime = settings.id_token.key_lifetime();
    if lifetime.is_some_and(|lifetime| lifecycle.is_due(lifetime, now - ROTATION_GRACE)) {
        let message = format!("{kid} ({alg}) signs beyond id_token.key_lifetime_days, and no next key was made");
        let advice = "see why no server makes it (its log says \"signing keys\"), or run: oneclick-login key rotate";
        return Finding::warn(CHECK, message, advice);
    }
    let published = lifecycle.published(now).count();
    let next = match lifecycle.pending(now) {
        Some(next) => format!("the next one signs from {}", Utc(next.signs_from)),
        None => match lifetime {
            Some(lifetime) => format!("the next one is due by {}", Utc(active.signs_from + lifetime)),
            None => "the next one comes by command".to_owned(),
        },
    };
    Finding::ok(CHECK, format!("{kid} ({alg}) signs, its signature verifies, {published} published, {next}"))
}

fn unsound(error: &KeysError) -> Finding {
    let advice = "restore its row of the table signing_keys from a backup; or delete the row: tokens it signed are \
                  refused from then on, and the next start makes a key where none is left";
    Finding::fail("signing keys", Chain(error).to_string(), advice)
}
