//! From the layers to [`Settings`]: merge, read the secrets' files, give every value its type, check them together.
//!
//! `load` touches nothing but the files that are named, so that tests hand the environment in.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use secrecy::SecretString;
use toml::{Table, Value};

use super::error::{Origin, Problem, SettingsError};
use super::layers::{self, Layer};
use super::{Settings, check, secrets};

impl Settings {
    /// Loads from the process's environment; `file` is what `--config` named.
    ///
    /// # Errors
    /// The first thing that is wrong, or all inconsistencies together.
    pub fn from_process(file: Option<&Path>) -> Result<Self, SettingsError> {
        Self::load(file, &unicode(std::env::vars_os())?)
    }

    /// Defaults ← `ALIBABA_CLOUD_*` ← the file ← `DATABASE_URL` ← `ONECLICK_*`. `ONECLICK_CONFIG` names the file if
    /// `file` does not.
    ///
    /// # Errors
    /// The first thing that is wrong, or all inconsistencies together.
    pub fn load(file: Option<&Path>, variables: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        let (mut layer, keys) = layers::defaults();
        secrets::merge(&mut layer, keys.alibaba_variables(variables)?)?;
        let named = variables.get(layers::FILE_VARIABLE).filter(|name| !name.is_empty()).map(Path::new);
        if let Some(path) = file.or(named) {
            secrets::merge(&mut layer, keys.file(path)?)?;
        }
        secrets::merge(&mut layer, keys.database_variables(variables)?)?;
        secrets::merge(&mut layer, keys.variables(variables)?)?;
        drop_foreign_token(&mut layer);
        let secret_files = secrets::read_files(&mut layer, &keys)?;

        let settings = Self { secret_files, ..typed(&layer)? };
        let environment = layer.get("environment").map(|entry| &entry.origin);
        let mut problems = check::problems(&settings, environment.is_some_and(|origin| *origin != Origin::Defaults));
        if problems.is_empty() {
            return Ok(settings);
        }
        for problem in &mut problems {
            let origin = layer.get(problem.key).map(|entry| entry.origin.clone());
            problem.origin = origin.filter(|origin| *origin != Origin::Defaults);
        }
        Err(SettingsError::Inconsistent(problems))
    }

    /// The URL, read again if a file holds it; with the checks of a start.
    ///
    /// # Errors
    /// If the file cannot be read, or a start would refuse what it says.
    pub fn database_url_again(&self) -> Result<SecretString, SettingsError> {
        let key = "database.url";
        let Some(path) = self.secret_files.get(key) else { return Ok(self.database_url()) };
        let unreadable = |source| SettingsError::ReadAgain { key, path: path.clone(), source };
        let url = SecretString::from(secrets::read(path).map_err(unreadable)?);
        let mut again = self.clone();
        again.database.url = Some(url.clone());
        let origin = Some(Origin::File(path.clone()));
        let problem = check::problems(&again, true).into_iter().find(|problem| problem.key == key);
        problem.map_or(Ok(url), |problem| Err(SettingsError::Inconsistent(vec![Problem { origin, ..problem }])))
    }
}

/// The variables that could be ours. A name that is not Unicode is not; a value that is not is an error here, where
/// `std::env::vars` would panic over anybody's variable.
fn unicode(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<BTreeMap<String, String>, SettingsError> {
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| ["ONECLICK_", "DATABASE_URL", "ALIBABA_CLOUD_"].iter().any(|ours| name.starts_with(ours)))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(SettingsError::Value {
                key: "a value".to_owned(),
                origin: Origin::Variable(name),
                message: "it is not UTF-8".to_owned(),
            }),
        })
        .collect()
}

/// An STS token belongs to one AccessKey: Alibaba's variable must not be paired with an id that settings name.
fn drop_foreign_token(layer: &mut Layer) {
    let from = |key: &str, variable: &str| {
        layer.get(key).is_some_and(|entry| entry.origin == Origin::Variable(variable.to_owned()))
    };
    if from("verifier.aliyun.security_token", "ALIBABA_CLOUD_SECURITY_TOKEN")
        && !from("verifier.aliyun.access_key_id", "ALIBABA_CLOUD_ACCESS_KEY_ID")
    {
        layer.remove("verifier.aliyun.security_token");
    }
}

fn typed(layer: &Layer) -> Result<Settings, SettingsError> {
    let mut root = Table::new();
    for (key, entry) in layer {
        insert(&mut root, key, entry.value.clone());
    }
    serde_path_to_error::deserialize(Value::Table(root)).map_err(|error| {
        let path = error.path().to_string();
        let (key, origin) = layer
            .iter()
            .find(|(key, _)| path.strip_prefix(key.as_str()).is_some_and(|rest| !rest.starts_with(name_character)))
            .map_or((path.clone(), Origin::Defaults), |(key, entry)| (key.clone(), entry.origin.clone()));
        SettingsError::Value { key, origin, message: error.into_inner().message().to_owned() }
    })
}

fn name_character(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn a_variable_that_is_not_utf_8_matters_only_if_it_is_ours() {
        let broken = || OsString::from_vec(vec![b'k', 0xff]);
        let others = vec![("PS1".into(), broken()), (broken(), "v".into()), ("DATABASE_URL".into(), "x".into())];
        assert_eq!(unicode(others.into_iter()).unwrap().into_keys().collect::<Vec<_>>(), ["DATABASE_URL"]);
        let ours = vec![("ONECLICK_SECRETS__MASTER_KEY".into(), broken())];
        let error = unicode(ours.into_iter()).unwrap_err().to_string();
        assert_eq!(error, "a value in the variable ONECLICK_SECRETS__MASTER_KEY: it is not UTF-8");
    }
}
