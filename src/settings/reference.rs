//! `config/default.toml` read as documentation: which keys there are, their defaults and what they are for.
//!
//! It reads the file's text line by line, by the convention the file's head states, and knows nothing of values.

/// The single source of defaults.
pub(super) const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// One key, as the README's table shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// With its section: `verifier.aliyun.timeout_ms`.
    pub key: String,
    /// As TOML; `None` where the key is optional and unset.
    pub default: Option<String>,
    pub comment: String,
}

impl Reference {
    /// The variable that sets the key; `None` for `apps`, which only a file can.
    pub fn variable(&self) -> Option<String> {
        match self.key.as_str() {
            "apps" => None,
            "environment" => Some("ONECLICK_ENVIRONMENT".to_owned()),
            key => Some(format!("ONECLICK_{}", key.replace('.', "__").to_uppercase())),
        }
    }
}

/// Every key, in the order of `config/default.toml`.
pub fn reference() -> Vec<Reference> {
    let mut rows = Vec::new();
    let mut section = String::new();
    let mut comment = String::new();
    for line in DEFAULT_TOML.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        } else if let Some(text) = line.strip_prefix("# ") {
            text.clone_into(&mut comment);
        } else if let Some((name, value)) = line.split_once(" = ") {
            let (name, default) = match name.strip_prefix('#') {
                Some(name) => (name, None),
                None => (name, Some(value.to_owned())),
            };
            rows.push(Reference { key: format!("{section}{name}"), default, comment: std::mem::take(&mut comment) });
        }
    }
    rows
}
