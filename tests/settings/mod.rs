//! Settings from files and the environment, with the environment handed in: no test changes the process's own.

mod checks;
mod credentials;
mod files;
mod layers;
mod printing;
mod secrets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use oneclick_login::settings::{Settings, SettingsError};
use tempfile::TempDir;

/// 32 bytes of the letter k.
const MASTER_KEY: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";

/// All that `config/production.toml` leaves to the environment.
const PRODUCTION: [(&str, &str); 5] = [
    ("DATABASE_URL", "postgres://login:word@db.internal/login?sslmode=verify-full"),
    ("ONECLICK_ID_TOKEN__ISSUER", "https://login.example.com/api/v1/oauth2"),
    ("ONECLICK_SECRETS__MASTER_KEY", MASTER_KEY),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAI-test"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret-test"),
];

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// From the defaults and these variables.
fn from_variables(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::load(None, &variables(pairs))
}

/// From a file with this text and these variables.
fn from_text(text: &str, pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let folder = TempDir::new().unwrap();
    Settings::load(Some(&write(&folder, "settings.toml", text)), &variables(pairs))
}

/// `config/production.toml` with its variables, and these on top; an empty one takes the variable away.
fn production(changes: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let mut all = variables(&PRODUCTION);
    all.extend(variables(changes));
    all.retain(|_, value| !value.is_empty());
    Settings::load(Some(&config("production.toml")), &all)
}

fn config(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// The error and its sources, as `main` prints them.
fn told(result: Result<Settings, SettingsError>) -> String {
    let error = result.expect_err("the settings should have been refused");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    assert!(!text.contains('\n'), "an error is one line: {text:?}");
    text
}

/// Asserts that loading failed with an error that names every one of these.
#[track_caller]
fn refused(result: Result<Settings, SettingsError>, names: &[&str]) {
    let text = told(result);
    for name in names {
        assert!(text.contains(name), "{name:?} is not named in: {text}");
    }
}
