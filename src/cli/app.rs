//! `app register | list | enable | disable`.

use std::io::Write;

use clap::{Subcommand, ValueEnum};

use super::{CliError, open_ready_store, say};
use crate::audit::{Act, Event};
use crate::clock::Clock;
use crate::ids::{ClientId, InvalidClientId};
use crate::settings::Settings;
use crate::store::{App, AppKind};
use crate::tenant::Secret;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Register an application, or change the one with this client id
    Register {
        #[arg(long, value_parser = client_id)]
        client_id: ClientId,
        #[arg(long)]
        name: String,
        /// `sdk` logs users in; `tenant` is a service of yours that uses the tenant interfaces. Without it an app keeps
        /// its kind, and a new one is sdk
        #[arg(long)]
        kind: Option<Kind>,
        /// Whether unknown numbers become users; without it `registration.auto_register` decides
        #[arg(long)]
        auto_register: Option<Switch>,
        /// Give a tenant a new secret; its tokens die with the old one. The first secret is made without being asked
        #[arg(long)]
        new_secret: bool,
    },
    /// List the applications
    List,
    /// Let an application log users in again
    Enable {
        #[arg(long, value_parser = client_id)]
        client_id: ClientId,
    },
    /// Refuse an application's logins
    Disable {
        #[arg(long, value_parser = client_id)]
        client_id: ClientId,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    Sdk,
    Tenant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

impl Command {
    pub(super) fn audited(&self) -> Option<Event> {
        let (act, client_id) = match self {
            Self::Register { client_id, new_secret: true, .. } => (Act::RenewSecret, client_id),
            Self::Register { client_id, new_secret: false, .. } => (Act::RegisterApp, client_id),
            Self::List => return None,
            Self::Enable { client_id } => (Act::EnableApp, client_id),
            Self::Disable { client_id } => (Act::DisableApp, client_id),
        };
        Some(Event { app: Some(client_id.clone()), ..Event::of(act) })
    }
}

pub(super) fn client_id(text: &str) -> Result<ClientId, InvalidClientId> {
    ClientId::parse(text)
}

pub async fn run(command: Command, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let store = open_ready_store(settings).await?;
    let now = Clock::system().now();
    match command {
        Command::Register { client_id, name, kind, auto_register, new_secret } => {
            let known = store.find_app(&client_id).await?;
            let kind = match (kind, &known) {
                (Some(Kind::Sdk), _) | (None, None) => AppKind::Sdk,
                (Some(Kind::Tenant), _) => AppKind::Tenant,
                (None, Some(app)) => app.kind,
            };
            let auto_register = auto_register.map(|switch| switch == Switch::On);
            if new_secret && kind == AppKind::Sdk {
                return Err(CliError::Refused("an app of kind sdk has no secret".to_owned()));
            }
            let has_secret = known.is_some_and(|app| app.secret_hash.is_some());
            let secret = (kind == AppKind::Tenant && (new_secret || !has_secret)).then(Secret::generate);
            let secret_hash = secret.as_ref().map(Secret::hash);
            let app = App { client_id, name, kind, enabled: true, auto_register, secret_hash };
            let done = if store.register_app(&app, now).await? { "registered" } else { "updated" };
            say(out, format_args!("{done} app {}", app.client_id))?;
            if let Some(secret) = secret {
                say(out, format_args!("secret, shown this once: {}", secret.expose()))?;
            }
        }
        Command::List => {
            say(
                out,
                format_args!("{:<64}  {:<6}  {:<7}  {:<13}  NAME", "CLIENT ID", "KIND", "ENABLED", "AUTO REGISTER"),
            )?;
            for app in store.apps().await? {
                let enabled = if app.enabled { "yes" } else { "no" };
                let auto_register = match app.auto_register {
                    None => "inherit",
                    Some(true) => "on",
                    Some(false) => "off",
                };
                let (id, kind, name) = (app.client_id.as_str(), app.kind.as_str(), app.name);
                say(out, format_args!("{id:<64}  {kind:<6}  {enabled:<7}  {auto_register:<13}  {name}"))?;
            }
        }
        Command::Enable { client_id } => {
            known(store.set_app_enabled(&client_id, true, now).await?, &client_id)?;
            say(out, format_args!("enabled app {client_id}"))?;
        }
        Command::Disable { client_id } => {
            known(store.set_app_enabled(&client_id, false, now).await?, &client_id)?;
            say(out, format_args!("disabled app {client_id}"))?;
        }
    }
    store.close().await;
    Ok(())
}

fn known(exists: bool, client_id: &ClientId) -> Result<(), CliError> {
    if exists { Ok(()) } else { Err(CliError::Refused(format!("no app has the client id {client_id}"))) }
}
