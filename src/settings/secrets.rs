//! Secrets handed over as files: `master_key_file` beside `master_key`. A key has a file twin where
//! `config/default.toml` lists one; what the secrets open is not known here.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use toml::Value;

use super::error::{Origin, SettingsError};
use super::layers::{Entry, Keys, Layer, odd_beginning};

const SUFFIX: &str = "_file";

/// Puts `upper` over `lower`: a key replaces itself and its file twin.
pub fn merge(lower: &mut Layer, upper: Layer) -> Result<(), SettingsError> {
    for (key, entry) in &upper {
        if let Some(value) = key.strip_suffix(SUFFIX).and_then(|base| upper.get(base)) {
            let message = format!("sets what {} sets as well", value.origin);
            let message =
                if value.origin == entry.origin { "stands beside the value itself".to_owned() } else { message };
            return Err(SettingsError::Value { key: key.clone(), origin: entry.origin.clone(), message });
        }
    }
    for (key, entry) in upper {
        let twin = key.strip_suffix(SUFFIX).map_or_else(|| format!("{key}{SUFFIX}"), str::to_owned);
        lower.remove(&twin);
        lower.insert(key, entry);
    }
    Ok(())
}

/// Reads every file that is named and puts its text in place of the name. Returns the files, by the key they are for.
pub fn read_files(layer: &mut Layer, known: &Keys) -> Result<BTreeMap<String, PathBuf>, SettingsError> {
    let mut files = BTreeMap::new();
    let is_twin = |key: &&String| key.strip_suffix(SUFFIX).is_some_and(|base| known.has(base));
    let keys: Vec<String> = layer.keys().filter(is_twin).cloned().collect();
    for key in keys {
        let Some(entry) = layer.remove(&key) else { continue };
        let path = PathBuf::from(entry.value.as_str().unwrap_or_default());
        let text = match read(&path) {
            Ok(text) => text,
            Err(source) => return Err(SettingsError::SecretFile { key, origin: entry.origin, path, source }),
        };
        let base = key.strip_suffix(SUFFIX).unwrap_or(&key).to_owned();
        if let Some(fault) = fault(&text, &base) {
            let message = format!("the file it names, {}, {fault}", Origin::File(path));
            return Err(SettingsError::Value { key, origin: entry.origin, message });
        }
        files.insert(base.clone(), path.clone());
        layer.insert(base, Entry { value: Value::String(text), origin: Origin::File(path) });
    }
    Ok(files)
}

/// What an editor or a tool may have put into a secret's file.
fn fault(text: &str, key: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty".to_owned());
    }
    if let Some(odd) = odd_beginning(text) {
        return Some(format!("begins with {odd}"));
    }
    // Master keys may be several, by lines.
    (key != "secrets.master_key" && text.contains('\n')).then(|| "has more than one line".to_owned())
}

/// The text of a file, without the newlines at its end.
pub fn read(path: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(path)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
