//! The command line: one subcommand for each thing an operator does. Exit code 0 only on success.

mod app;
pub mod config;
mod doctor;
mod healthcheck;
mod key;
mod memory;
mod migrate;
mod serve;
mod session;
mod user;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::app::StartError;
use crate::audit::{Actor, Event};
use crate::error_chain::Chain;
use crate::error_code::SUCCESS;
use crate::server::tls::PairError;
use crate::settings::{Settings, SettingsError};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// One-click login with the phone's own number.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// A settings file (TOML), also as ONECLICK_CONFIG; without one, the embedded defaults and the environment
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve logins (the default)
    Serve,
    /// Bring the database's schema to this version
    Migrate,
    /// Register and switch applications
    #[command(subcommand)]
    App(app::Command),
    /// List and revoke sessions
    #[command(subcommand)]
    Session(session::Command),
    /// Find, switch and erase users
    #[command(subcommand)]
    User(user::Command),
    /// List and change the keys that sign id_tokens, and those that keep the secrets
    #[command(subcommand)]
    Key(key::Command),
    /// Check or show the settings
    #[command(subcommand)]
    Config(config::Command),
    /// Look at a deployment and say what is wrong and what to do. Calls Alibaba Cloud once with an impossible token,
    /// which costs nothing: only returned numbers are charged
    Doctor(doctor::Arguments),
    /// Ask the running server whether it lives (or, with --ready, whether it takes logins)
    Healthcheck(healthcheck::Arguments),
}

/// Why a command failed, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One of the others, and what an operator can do about it.
    #[error("{}; {remedy}", Chain(.error.as_ref()))]
    WithRemedy { error: Box<CliError>, remedy: String },
    #[error("cannot listen on {key} = {address}")]
    Listen { key: &'static str, address: std::net::SocketAddr, source: io::Error },
    #[error("server.tls cannot be used")]
    Tls(#[from] PairError),
    #[error("cannot write the answer")]
    Output(#[from] io::Error),
    #[error("{0}")]
    Refused(String),
    #[error("the server was ended by a second signal")]
    Interrupted,
}

impl Cli {
    /// Runs the command to its end.
    pub async fn run(self) -> Result<(), CliError> {
        let config = self.config.as_deref();
        let command = self.command.unwrap_or(Command::Serve);
        // The server sets its own up, once it knows the settings.
        let _telemetry = (!matches!(command, Command::Serve)).then(telemetry::init_command);
        let Some(event) = command.audited() else { return command.run(config).await };
        let result = command.run(config).await;
        event.record(match &result {
            // An answer that could not be written is of something done.
            Ok(()) | Err(CliError::Output(_)) => SUCCESS,
            Err(CliError::Refused(_)) => "REFUSED",
            Err(_) => "FAILED",
        });
        result
    }
}

impl CliError {
    /// Whether all that went wrong is that nobody reads the answer any more.
    pub fn is_unheard(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    fn with_remedy(self, settings: &Settings) -> Self {
        let of_store = match &self {
            Self::Store(error) => Some(error),
            Self::Start(error) => error.of_store(),
            _ => None,
        };
        match of_store.and_then(|error| crate::app::remedy(settings, error)) {
            Some(remedy) => Self::WithRemedy { error: Box::new(self), remedy },
            None => self,
        }
    }
}

/// A command that works on the database: what goes wrong there is said with what to do about it.
async fn on_database(
    settings: Settings,
    command: impl AsyncFnOnce(&Settings) -> Result<(), CliError>,
) -> Result<(), CliError> {
    command(&settings).await.map_err(|error| error.with_remedy(&settings))
}

impl Command {
    async fn run(self, config: Option<&Path>) -> Result<(), CliError> {
        let settings = || Settings::from_process(config);
        let out = &mut io::stdout();
        match self {
            Self::Serve => on_database(settings()?, async |settings| serve::run(settings.clone()).await).await,
            Self::Migrate => on_database(settings()?, async |settings| migrate::run(settings, out).await).await,
            Self::App(command) => on_database(settings()?, async |on| app::run(command, on, out).await).await,
            Self::Session(command) => on_database(settings()?, async |on| session::run(command, on, out).await).await,
            Self::User(command) => on_database(settings()?, async |on| user::run(command, on, out).await).await,
            Self::Key(command) => on_database(settings()?, async |on| key::run(command, on, out).await).await,
            Self::Config(command) => config::run(&command, &settings()?, out).await,
            Self::Doctor(arguments) => doctor::run(&arguments, settings(), out).await,
            Self::Healthcheck(arguments) => {
                healthcheck::run(&arguments, Settings::management_listen(config)?, out).await
            }
        }
    }

    /// The event of an administrative act; its outcome is still to come.
    fn audited(&self) -> Option<Event> {
        let event = match self {
            Self::App(command) => command.audited()?,
            Self::Session(command) => command.audited()?,
            Self::User(command) => command.audited(),
            Self::Key(command) => command.audited()?,
            Self::Serve | Self::Migrate | Self::Config(_) | Self::Doctor(_) | Self::Healthcheck(_) => return None,
        };
        Some(Event { actor: Some(Actor::CommandLine), ..event })
    }
}

/// The least time that a command gives a statement: a person waits longer than a login, and on a busy SQLite file a
/// second process has to.
const PATIENCE_MS: u64 = 10_000;

/// The store for a command that works on its tables: there, and with the schema of this version.
async fn open_ready_store(settings: &Settings) -> Result<Arc<dyn Store>, CliError> {
    let mut settings = settings.clone();
    settings.database.statement_timeout_ms = settings.database.statement_timeout_ms.max(PATIENCE_MS);
    let settings = &settings;
    let store = crate::app::open_store(settings).await?;
    crate::app::prepare_schema(settings, &*store).await?;
    Ok(store)
}

fn say(out: &mut dyn Write, line: std::fmt::Arguments<'_>) -> Result<(), CliError> {
    Ok(writeln!(out, "{line}")?)
}
