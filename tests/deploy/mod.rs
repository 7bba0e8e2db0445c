//! What is shipped for others to run the program with: it names settings, ports and times that the program has. Whether
//! those who read the files accept them is asked of their own tools in `.ci/run`.

mod ci;
mod image;
mod kubernetes;
mod systemd;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use oneclick_login::settings::{Environment, Settings};
use secrecy::ExposeSecret;
use tempfile::TempDir;

/// The secrets' files, by the names that all deployments give them.
const SECRETS: [(&str, &str); 4] = [
    ("database_url", "postgres://oneclick:word@db.internal/oneclick?sslmode=verify-full"),
    ("master_key", "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="),
    ("access_key_id", "LTAI-test"),
    ("access_key_secret", "secret-test"),
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn write_secrets(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (name, value) in SECRETS {
        fs::write(folder.join(name), format!("{value}\n")).unwrap();
    }
}

/// As a start of the program reads them; that they are valid for production is part of it.
#[track_caller]
fn production(file: &str, variables: &BTreeMap<String, String>) -> Settings {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("settings.toml");
    fs::write(&path, file).unwrap();
    let settings = Settings::load(Some(&path), variables).unwrap();
    assert_eq!(settings.environment, Environment::Production);
    settings
}

fn database_url(settings: &Settings) -> &str {
    settings.database.url.as_ref().expect("production has one").expose_secret()
}

/// How long the program may take to end in order.
fn longest_end(settings: &Settings) -> Duration {
    Duration::from_secs(settings.server.drain_delay_seconds + settings.server.drain_timeout_seconds)
}

/// More than that, for what comes after the last request.
const MARGIN: Duration = Duration::from_secs(5);
