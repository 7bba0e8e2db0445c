//! What can be wrong with settings, in words that name the key and the place it was set. Never a secret's value:
//! no variant has a field for one.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::error_chain::one_line;

/// Where a value came from, as errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `config/default.toml`, embedded.
    Defaults,
    File(PathBuf),
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("the embedded defaults"),
            Self::File(path) => write!(f, "{}", one_line(&path.to_string_lossy())),
            Self::Variable(name) => write!(f, "the variable {}", one_line(name)),
        }
    }
}

/// Each variant is one line when displayed; print the sources too, they say what the operating system said.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the settings file {}", Origin::File(path.clone()))]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Carries the parser's message and never its excerpt: the line may hold a secret.
    #[error("{} line {line} column {column}: {message}", Origin::File(path.clone()))]
    Syntax { path: PathBuf, line: usize, column: usize, message: String },
    #[error("unknown key {} in {origin}", one_line(key))]
    UnknownKey { key: String, origin: Origin },
    #[error("{key} in {origin}: {}", one_line(message))]
    Value { key: String, origin: Origin, message: String },
    #[error("{key} in {origin}: cannot read the file it names, {}", Origin::File(path.clone()))]
    SecretFile {
        key: String,
        origin: Origin,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Met while the server runs.
    #[error("cannot read {key} again from the file {}", Origin::File(path.clone()))]
    ReadAgain {
        key: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Inconsistent(Vec<Problem>),
}

/// One value that cannot stand, alone or beside the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub key: &'static str,
    /// Reads on from the key: "must be …".
    pub message: String,
    /// Where the key was set, unless it is unset or a default.
    pub origin: Option<Origin>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, one_line(&self.message))?;
        match &self.origin {
            Some(origin) => write!(f, " (set in {origin})"),
            None => Ok(()),
        }
    }
}
