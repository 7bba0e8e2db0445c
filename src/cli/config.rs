//! `config check` and `config print`: what the settings come to. Loading and checking them is `settings`' own; this
//! only says it, and can show no secret, since what it is given has none.

use std::io::{self, Write};

use clap::Subcommand;

use super::CliError;
use crate::limits::Rate;
use crate::settings::{REDACTED, Settings};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say whether the settings are valid, and what a start would use
    Check,
    /// Show the effective settings, without the secrets
    Print,
}

pub async fn run(command: &Command, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        Command::Check => {
            // The files are the server's: other commands run without them.
            if let Some(files) = settings.tls_files() {
                files.check().await?;
            }
            check(settings, out)?;
        }
        Command::Print => print(settings, out)?,
    }
    Ok(())
}

/// `config check`, once the settings have loaded: three lines that say what a start would use.
///
/// # Errors
/// When `out` cannot be written to.
pub fn check(settings: &Settings, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "settings are valid")?;
    writeln!(out, "{}", summary(settings))?;
    writeln!(out, "{}", limits(settings))
}

/// What a start would use.
pub fn summary(settings: &Settings) -> String {
    format!(
        "environment {}, store {}, verifier {}, issuer {}",
        settings.environment.as_str(),
        settings.database_kind().as_str(),
        settings.verifier.provider.as_str(),
        settings.issuer(),
    )
}

/// What is limited and what is not: a limit by address that is set need not be in force.
fn limits(settings: &Settings) -> String {
    let (logins, calls) = (settings.login_limits(), settings.verifier_budget());
    let rate = |rate: Option<Rate>| rate.map_or_else(off, |rate| rate.per_minute.to_string());
    let address = match logins.address {
        None if settings.trusted_proxies().is_empty() => "off (server.trusted_proxies is empty)".to_owned(),
        address => rate(address),
    };
    format!(
        "logins a minute: per app {}, per address {address}, per device {}; verifier calls: a minute {}, a day {}",
        rate(logins.app),
        rate(logins.device),
        calls.per_minute.map_or_else(off, |calls| calls.to_string()),
        calls.per_day.map_or_else(off, |calls| calls.to_string()),
    )
}

fn off() -> String {
    "off".to_owned()
}

/// `config print`: the effective settings as TOML. What is redacted is commented out, so that the output loads again as
/// a settings file that lacks exactly the secrets.
///
/// # Errors
/// When `out` cannot be written to.
pub fn print(settings: &Settings, out: &mut dyn Write) -> io::Result<()> {
    let mut section = String::new();
    for (key, value) in settings.shown() {
        let (its_section, name) = key.rsplit_once('.').unwrap_or(("", &key));
        if its_section != section {
            writeln!(out, "\n[{its_section}]")?;
            its_section.clone_into(&mut section);
        }
        let value = value.to_string();
        let comment = if value.contains(REDACTED) { "#" } else { "" };
        writeln!(out, "{comment}{name} = {value}")?;
    }
    Ok(())
}
