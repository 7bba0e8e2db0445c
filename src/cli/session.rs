//! `session list | revoke`.

use std::io::Write;

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::{CliError, open_ready_store, say};
use crate::audit::{Act, Event};
use crate::clock::Clock;
use crate::ids::{ClientId, SessionId, UserId};
use crate::settings::Settings;
use crate::store::{SessionSummary, Store};

/// Sessions of an app are revoked in statements of this many, so that logins go on meanwhile.
const BATCH: u32 = 1_000;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List a user's unexpired sessions, newest first
    List {
        #[arg(long)]
        user: Uuid,
    },
    /// Revoke sessions: they are refused from the next request on, on every replica
    Revoke(Which),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// One session, by its id (the `sid` claim)
    #[arg(long)]
    id: Option<Uuid>,
    /// All sessions of a user
    #[arg(long)]
    user: Option<Uuid>,
    /// All sessions of an application
    #[arg(long, value_name = "CLIENT_ID", value_parser = super::app::client_id)]
    all_of_client: Option<ClientId>,
}

impl Command {
    pub(super) fn audited(&self) -> Option<Event> {
        match self {
            Self::List { .. } => None,
            Self::Revoke(Which { id, user, all_of_client }) => Some(Event {
                session: id.map(SessionId),
                user: user.map(UserId),
                app: all_of_client.clone(),
                ..Event::of(Act::RevokeSessions)
            }),
        }
    }
}

pub async fn run(command: Command, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let store = open_ready_store(settings).await?;
    match command {
        Command::List { user } => list(&*store, user, out).await?,
        Command::Revoke(which) => revoke(&*store, which, out).await?,
    }
    store.close().await;
    Ok(())
}

async fn list(store: &dyn Store, user: Uuid, out: &mut dyn Write) -> Result<(), CliError> {
    let sessions = store.sessions_of_user(UserId(user), Clock::system().now()).await?;
    say(out, format_args!("{:<36}  {:<7}  {:<32}  {:<28}  DEVICE", "ID", "STATE", "CLIENT ID", "OPENED AT"))?;
    for session in sessions {
        let SessionSummary { id, client_id, created_at, operating_sys_version, .. } = &session;
        let client_id = client_id.as_str();
        let opened = created_at.to_string();
        let state = state(&session);
        // A claim of the client's: nothing of it may steer a terminal.
        let device = operating_sys_version.escape_debug();
        say(out, format_args!("{id}  {state:<7}  {client_id:<32}  {opened:<28}  {device}"))?;
    }
    Ok(())
}

fn state(session: &SessionSummary) -> &'static str {
    match (session.revoked_at, session.epoch_is_current, session.first_used_at) {
        (Some(_), _, _) => "revoked",
        (None, false, _) => "ended",
        (None, true, None) => "unused",
        (None, true, Some(_)) => "used",
    }
}

async fn revoke(store: &dyn Store, which: Which, out: &mut dyn Write) -> Result<(), CliError> {
    let now = Clock::system().now();
    match which {
        Which { id: Some(id), .. } => {
            if !store.revoke_session(SessionId(id), now).await? {
                return Err(CliError::Refused(format!("no session has the id {id}")));
            }
            say(out, format_args!("revoked session {id}"))
        }
        Which { user: Some(user), .. } => {
            if !store.end_sessions_of_user(UserId(user), now).await? {
                return Err(CliError::Refused(format!("no user has the id {user}")));
            }
            say(out, format_args!("revoked all sessions of user {user}"))
        }
        Which { all_of_client: Some(client_id), .. } => {
            let mut revoked = 0;
            loop {
                match store.revoke_sessions_of_client(&client_id, now, BATCH).await? {
                    0 => break,
                    more => revoked += more,
                }
            }
            say(out, format_args!("revoked {revoked} sessions of app {client_id}"))
        }
        Which { id: None, user: None, all_of_client: None } => {
            Err(CliError::Refused("name a session, a user or an app".to_owned()))
        }
    }
}
