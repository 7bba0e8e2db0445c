//! The one setting that a probe needs, read past all others: whether a container is healthy must not depend on settings
//! that only its server was given, nor on what somebody has broken in them since.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::error::{Origin, SettingsError};
use super::layers;
use super::{ADDRESS_FORM, Settings};

const KEY: &str = "server.management_listen";

impl Settings {
    /// `server.management_listen`, from the environment, else from the file that `--config` or `ONECLICK_CONFIG` named,
    /// else the default.
    ///
    /// # Errors
    /// If it is not an address, or is looked for in a file that cannot be read.
    pub fn management_listen(file: Option<&Path>) -> Result<SocketAddr, SettingsError> {
        let named = |(name, value): (OsString, OsString)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            (!value.is_empty() && layers::key_of_variable(&name)? == KEY).then_some((value, Origin::Variable(name)))
        };
        if let Some((text, origin)) = std::env::vars_os().find_map(named) {
            return address(&text, origin);
        }
        let named = std::env::var_os(layers::FILE_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
        if let Some(path) = file.or(named.as_deref())
            && let Some(text) = layers::read(path)?.get("server").and_then(|server| server.get("management_listen"))
        {
            return address(text.as_str().unwrap_or_default(), Origin::File(path.to_owned()));
        }
        let default = layers::defaults().0.remove(KEY).and_then(|entry| entry.value.as_str().map(str::to_owned));
        address(&default.unwrap_or_default(), Origin::Defaults)
    }
}

fn address(text: &str, origin: Origin) -> Result<SocketAddr, SettingsError> {
    text.parse().map_err(|_| SettingsError::Value { key: KEY.to_owned(), origin, message: ADDRESS_FORM.to_owned() })
}
