//! `user find | disable | enable | erase`.

use std::io::Write;

use clap::Subcommand;
use uuid::Uuid;

use super::{CliError, open_ready_store, say};
use crate::audit::{Act, Event};
use crate::clock::Clock;
use crate::ids::UserId;
use crate::phone_number::{InvalidPhoneNumber, PhoneNumber};
use crate::settings::Settings;
use crate::store::{UserKey, UserStatus};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Find a user by number
    Find {
        /// 13800000001, +8613800000001 or +86-13800000001
        #[arg(long, value_parser = number)]
        mobile: PhoneNumber,
    },
    /// Refuse a user's logins and end all sessions of the user
    Disable {
        #[arg(long)]
        id: Uuid,
    },
    /// Let a user log in again; ended sessions stay ended
    Enable {
        #[arg(long)]
        id: Uuid,
    },
    /// Take everything personal of a user away for good; the number registers afresh, as another user
    Erase {
        #[arg(long)]
        id: Uuid,
    },
}

impl Command {
    pub(super) fn audited(&self) -> Event {
        match self {
            Self::Find { mobile } => Event { number: Some(mobile.clone()), ..Event::of(Act::FindUser) },
            Self::Disable { id } => Event { user: Some(UserId(*id)), ..Event::of(Act::DisableUser) },
            Self::Enable { id } => Event { user: Some(UserId(*id)), ..Event::of(Act::EnableUser) },
            Self::Erase { id } => Event { user: Some(UserId(*id)), ..Event::of(Act::EraseUser) },
        }
    }
}

fn number(text: &str) -> Result<PhoneNumber, InvalidPhoneNumber> {
    PhoneNumber::parse(text)
}

pub async fn run(command: Command, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let store = open_ready_store(settings).await?;
    let clock = Clock::system();
    match command {
        Command::Find { mobile } => {
            let vault = crate::app::open_vault(settings, &*store, &clock).await?;
            let user = store.find_user(UserKey::Phone(vault.phone_index(&mobile))).await?;
            let user = user.ok_or_else(|| CliError::Refused(format!("no user has the number {}", mobile.masked())))?;
            let id = user.profile.id.to_string();
            say(out, format_args!("id          {id}"))?;
            say(out, format_args!("user name   {}", user.profile.user_name.as_deref().unwrap_or(&id)))?;
            say(out, format_args!("name        {}", user.profile.name.unwrap_or_else(|| mobile.masked())))?;
            say(out, format_args!("mobile      {}", mobile.masked()))?;
            say(out, format_args!("status      {}", user.status.as_str()))?;
            say(out, format_args!("created at  {}", user.created_at))?;
        }
        Command::Disable { id } => {
            known(store.set_user_status(UserId(id), UserStatus::Disabled, clock.now()).await?, id)?;
            say(out, format_args!("disabled user {id}"))?;
        }
        Command::Enable { id } => {
            known(store.set_user_status(UserId(id), UserStatus::Active, clock.now()).await?, id)?;
            say(out, format_args!("enabled user {id}"))?;
        }
        Command::Erase { id } => {
            known(store.erase_user(UserId(id), clock.now()).await?, id)?;
            say(out, format_args!("erased user {id}"))?;
        }
    }
    store.close().await;
    Ok(())
}

fn known(exists: bool, id: Uuid) -> Result<(), CliError> {
    if exists { Ok(()) } else { Err(CliError::Refused(format!("no user has the id {id}"))) }
}
