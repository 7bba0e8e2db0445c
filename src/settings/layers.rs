//! The layers as flat maps from a dotted key to its value and where it came from. Which keys there are, and the type of
//! each, is taken from `config/default.toml`; what they mean is not known here.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::error::{Origin, SettingsError};
use super::reference::{DEFAULT_TOML, reference};

const PREFIX: &str = "ONECLICK_";

const QUOTES: [char; 2] = ['"', '\''];

/// Names the settings file.
pub const FILE_VARIABLE: &str = "ONECLICK_CONFIG";

/// Variables of other people's making that fill a key of ours.
const DATABASE: [(&str, &str); 2] = [("DATABASE_URL", "database.url"), ("DATABASE_URL_FILE", "database.url_file")];
const ALIBABA: [(&str, &str); 8] = [
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "verifier.aliyun.access_key_id"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "verifier.aliyun.access_key_secret"),
    ("ALIBABA_CLOUD_SECURITY_TOKEN", "verifier.aliyun.security_token"),
    ("ALIBABA_CLOUD_ROLE_ARN", "verifier.aliyun.role_arn"),
    ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "verifier.aliyun.oidc_provider_arn"),
    ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "verifier.aliyun.oidc_token_path"),
    ("ALIBABA_CLOUD_ROLE_SESSION_NAME", "verifier.aliyun.role_session_name"),
    ("ALIBABA_CLOUD_ECS_METADATA", "verifier.aliyun.ecs_role"),
];

pub type Layer = BTreeMap<String, Entry>;

/// Without `Debug`, since the value may be a secret.
pub struct Entry {
    pub value: Value,
    pub origin: Origin,
}

/// The type a key has. An optional one is always text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Integer,
    Text,
    OptionalText,
    /// Of text; in a variable with commas between.
    List,
    Tables,
}

impl Kind {
    fn of(key: &str, default: &Value) -> Self {
        match default {
            Value::Boolean(_) => Self::Boolean,
            Value::Integer(_) => Self::Integer,
            Value::Array(_) if key == "apps" => Self::Tables,
            Value::Array(_) => Self::List,
            _ => Self::Text,
        }
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Boolean => value.is_bool(),
            Self::Integer => value.is_integer(),
            Self::Text | Self::OptionalText => value.is_str(),
            Self::List => value.as_array().is_some_and(|values| values.iter().all(Value::is_str)),
            Self::Tables => value.is_array(),
        }
    }

    fn parse(self, text: &str) -> Option<Value> {
        match self {
            Self::Boolean => text.parse().ok().map(Value::Boolean),
            Self::Integer => text.parse().ok().map(Value::Integer),
            Self::Text | Self::OptionalText => Some(Value::String(text.to_owned())),
            Self::List => {
                Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().into())
            }
            Self::Tables => None,
        }
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Boolean => "must be true or false",
            Self::Integer => "must be a whole number",
            Self::Text | Self::OptionalText => "must be a string",
            Self::List => "must be an array of strings, or in a variable text with commas between",
            Self::Tables => "must be an array of tables, in a file",
        }
    }
}

/// The keys there are.
#[derive(Debug)]
pub struct Keys(BTreeMap<String, Kind>);

/// The embedded defaults, and the keys they declare.
pub fn defaults() -> (Layer, Keys) {
    let table: Table = DEFAULT_TOML.parse().expect("the embedded defaults are TOML, as a test has seen");
    let mut layer = Layer::new();
    flatten(table, "", &mut |key, value| {
        layer.insert(key, Entry { value, origin: Origin::Defaults });
        None::<()>
    });
    let kind = |key: &str| layer.get(key).map_or(Kind::OptionalText, |entry| Kind::of(key, &entry.value));
    let keys = reference().into_iter().map(|row| (row.key.clone(), kind(&row.key))).collect();
    (layer, Keys(keys))
}

/// Calls `leaf` for everything that is not a table, and for empty tables, so that a section whose keys are all optional
/// is still there; stops at its first answer.
fn flatten<E>(table: Table, prefix: &str, leaf: &mut impl FnMut(String, Value) -> Option<E>) -> Option<E> {
    table.into_iter().find_map(|(name, value)| {
        let key = format!("{prefix}{name}");
        match value {
            Value::Table(inner) if !inner.is_empty() => flatten(inner, &format!("{key}."), leaf),
            value => leaf(key, value),
        }
    })
}

impl Keys {
    /// The file that was named.
    pub fn file(&self, path: &Path) -> Result<Layer, SettingsError> {
        let mut layer = Layer::new();
        let failure = flatten(read(path)?, "", &mut |key, value| {
            if value.is_table() && self.is_section(&key) {
                return None;
            }
            self.put(&mut layer, key, Origin::File(path.to_owned()), |kind| kind.holds(&value).then_some(value)).err()
        });
        failure.map_or(Ok(layer), Err)
    }

    /// Our own variables.
    pub fn variables(&self, variables: &BTreeMap<String, String>) -> Result<Layer, SettingsError> {
        let mut layer = Layer::new();
        // An empty one was handed on unset, also where the key has a default.
        for (name, text) in variables.iter().filter(|(_, text)| !text.is_empty()) {
            let Some(key) = key_of_variable(name) else {
                self.refuse_misspelt(name)?;
                continue;
            };
            if let Some(earlier) = layer.get(&key) {
                let message = format!("is also set in {}", earlier.origin);
                return Err(SettingsError::Value { key, origin: Origin::Variable(name.clone()), message });
            }
            self.put_text(&mut layer, key, name, text)?;
        }
        Ok(layer)
    }

    /// One that would be ours with `__` in the right place: the limit that somebody means to set must not be unset.
    fn refuse_misspelt(&self, name: &str) -> Result<(), SettingsError> {
        let meant = |key: &&String| key.replace('.', "_").to_uppercase();
        let Some(rest) = name.strip_prefix(PREFIX).map(str::to_uppercase) else { return Ok(()) };
        match self.0.keys().filter(|key| key.contains('.')).find(|key| meant(key) == rest) {
            Some(key) => Err(SettingsError::Value {
                key: key.clone(),
                origin: Origin::Variable(name.to_owned()),
                message: format!("is set by {PREFIX}{}", key.replace('.', "__").to_uppercase()),
            }),
            None => Ok(()),
        }
    }

    /// `DATABASE_URL` and its file.
    pub fn database_variables(&self, variables: &BTreeMap<String, String>) -> Result<Layer, SettingsError> {
        self.conventional(&DATABASE, variables)
    }

    /// Alibaba Cloud's own credential variables, which fill what nobody else has set.
    pub fn alibaba_variables(&self, variables: &BTreeMap<String, String>) -> Result<Layer, SettingsError> {
        self.conventional(&ALIBABA, variables)
    }

    fn conventional(
        &self,
        names: &[(&str, &str)],
        variables: &BTreeMap<String, String>,
    ) -> Result<Layer, SettingsError> {
        let mut layer = Layer::new();
        for (name, key) in names {
            if let Some(text) = variables.get(*name).filter(|text| !text.is_empty()) {
                self.put_text(&mut layer, (*key).to_owned(), name, text)?;
            }
        }
        Ok(layer)
    }

    /// Of a variable.
    fn put_text(&self, layer: &mut Layer, key: String, name: &str, text: &str) -> Result<(), SettingsError> {
        let origin = Origin::Variable(name.to_owned());
        if let Some(odd) = odd_beginning(text) {
            let hint = if text.starts_with(QUOTES) { ": docker's --env-file keeps quotes" } else { "" };
            return Err(SettingsError::Value { key, origin, message: format!("it begins with {odd}{hint}") });
        }
        self.put(layer, key, origin, |kind| kind.parse(text))
    }

    fn put(
        &self,
        layer: &mut Layer,
        key: String,
        origin: Origin,
        value: impl FnOnce(Kind) -> Option<Value>,
    ) -> Result<(), SettingsError> {
        let Some(kind) = self.0.get(&key).copied() else {
            return if self.is_section(&key) {
                Err(SettingsError::Value { key, origin, message: "must be a section with keys".to_owned() })
            } else {
                Err(SettingsError::UnknownKey { key, origin })
            };
        };
        let Some(value) = value(kind) else {
            return Err(SettingsError::Value { key, origin, message: kind.expected().to_owned() });
        };
        if let Some(odd) = value.as_str().and_then(odd_beginning) {
            return Err(SettingsError::Value { key, origin, message: format!("it begins with {odd}") });
        }
        // Compose files hand on unset variables as empty ones: an empty optional key is one that was not set.
        if kind != Kind::OptionalText || value.as_str() != Some("") {
            layer.insert(key, Entry { value, origin });
        }
        Ok(())
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn is_section(&self, key: &str) -> bool {
        let prefix = format!("{key}.");
        self.0.keys().any(|known| known.starts_with(&prefix))
    }
}

/// The key that a variable would set: `ONECLICK_ENVIRONMENT` and all that have a `__` are ours. Kubernetes injects
/// others with our prefix, of which none is like a key.
pub fn key_of_variable(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PREFIX).filter(|rest| rest.contains("__") || *rest == "ENVIRONMENT")?;
    Some(rest.to_lowercase().replace("__", "."))
}

/// What no value begins with, and editors and tools put there.
pub fn odd_beginning(text: &str) -> Option<&'static str> {
    if text.starts_with(QUOTES) {
        return Some("a quotation mark");
    }
    text.starts_with('\u{feff}').then_some("a byte order mark (BOM)")
}

/// A settings file as it stands.
pub fn read(path: &Path) -> Result<Table, SettingsError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error| syntax(path, &text, &error))
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
    SettingsError::Syntax {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
        message: error.message().to_owned(),
    }
}
