//! `key list | rotate | remove | rewrap`.

use std::io::Write;
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};

use super::{CliError, open_ready_store, say};
use crate::app::{self, StartError};
use crate::audit::{Act, Event};
use crate::clock::{Clock, Utc};
use crate::keys::{Keys, Lifecycle, Replaced, Rotated, SigningAlg, Timing};
use crate::settings::Settings;
use crate::store::Store;
use crate::vault::{Rewrapped, rewrap};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the signing keys, with their states and times
    List,
    /// Make the next signing key; it is published now and signs once every verifier has it
    Rotate {
        /// The new key's algorithm; without it, that of id_token.signing_alg
        #[arg(long)]
        alg: Option<Alg>,
        /// A key may be in wrong hands: sign with a new one at once and remove all others. Tokens handed out before are
        /// refused from then on, and verifiers that keep a copy of the keys may refuse new ones for some minutes
        #[arg(long)]
        compromised: bool,
    },
    /// Remove a signing key whose last token has died (the server does so by itself)
    Remove {
        // One in 64 begins with a hyphen.
        #[arg(long, allow_hyphen_values = true)]
        kid: String,
    },
    /// Wrap the data keys anew, under the first of the master keys
    Rewrap,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Alg {
    #[value(name = "ES256")]
    Es256,
    #[value(name = "RS256")]
    Rs256,
    #[value(name = "EdDSA")]
    EdDsa,
}

impl Command {
    pub(super) fn audited(&self) -> Option<Event> {
        match self {
            Self::List => None,
            Self::Rotate { compromised: false, .. } => Some(Event::of(Act::RotateKey)),
            Self::Rotate { compromised: true, .. } => Some(Event::of(Act::ReplaceKeys)),
            Self::Remove { kid } => Some(Event { key: Some(kid.clone()), ..Event::of(Act::RemoveKey) }),
            Self::Rewrap => Some(Event::of(Act::RewrapKeys)),
        }
    }
}

impl From<Alg> for SigningAlg {
    fn from(alg: Alg) -> Self {
        match alg {
            Alg::Es256 => Self::Es256,
            Alg::Rs256 => Self::Rs256,
            Alg::EdDsa => Self::EdDsa,
        }
    }
}

pub async fn run(command: Command, settings: &Settings, out: &mut dyn Write) -> Result<(), CliError> {
    let store = open_ready_store(settings).await?;
    match command {
        Command::List => list(&*store, out).await?,
        Command::Rotate { alg, compromised } => {
            let alg = alg.map_or(settings.id_token.signing_alg, SigningAlg::from);
            rotate(&open_keys(settings, &store).await?, alg, compromised, out).await?;
            if alg != settings.id_token.signing_alg {
                let (alg, setting) = (alg.as_str(), settings.id_token.signing_alg.as_str());
                say(out, format_args!("set id_token.signing_alg to {alg}: a start with {setting} rotates back"))?;
            }
        }
        Command::Remove { kid } => {
            let keys = open_keys(settings, &store).await?;
            keys.remove(&kid, Clock::system().now()).await.map_err(StartError::from)?;
            say(out, format_args!("removed the key {kid}"))?;
        }
        Command::Rewrap => {
            let master_keys = app::master_keys(settings).map_err(StartError::from)?;
            let Rewrapped { rewrapped, untouched } = rewrap(&master_keys, &*store).await.map_err(StartError::from)?;
            say(out, format_args!("rewrapped {rewrapped} data keys; {untouched} were under the first master key"))?;
        }
    }
    store.close().await;
    Ok(())
}

/// Needs no secret: states and times are not wrapped.
async fn list(store: &dyn Store, out: &mut dyn Write) -> Result<(), CliError> {
    let (rows, now, timing) = (store.signing_keys().await?, Clock::system().now(), Timing::default());
    let lifecycle = Lifecycle::new(&rows, &timing);
    say(
        out,
        format_args!(
            "{:<43}  {:<5}  {:<8}  {:<20}  {:<20}  PUBLISHED UNTIL",
            "KID", "ALG", "STATE", "CREATED", "SIGNS FROM"
        ),
    )?;
    for row in &rows {
        let state = lifecycle.state(row, now).as_str();
        let until = lifecycle.published_until(row).map_or_else(|| "replaced".to_owned(), |at| Utc(at).to_string());
        let (kid, alg, created, signs_from) = (&row.kid, &row.alg, Utc(row.created_at), Utc(row.signs_from));
        say(out, format_args!("{kid:<43}  {alg:<5}  {state:<8}  {created}  {signs_from}  {until}"))?;
    }
    Ok(())
}

async fn rotate(keys: &Keys, alg: SigningAlg, compromised: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let now = Clock::system().now();
    let name = alg.as_str();
    if compromised {
        let Replaced { kid, removed } = keys.rotate_compromised(alg, now).await.map_err(StartError::from)?;
        for old in removed {
            say(out, format_args!("removed the key {old}"))?;
        }
        return say(out, format_args!("the key {kid} ({name}) signs from now on; servers follow within seconds"));
    }
    let Rotated { kid, signs_from } = keys.rotate(alg, now).await.map_err(StartError::from)?;
    let signs_from = Utc(signs_from);
    say(out, format_args!("the key {kid} ({name}) is published now and signs from {signs_from} on"))
}

/// The keys, for a command that changes them: only with a clock that is right.
async fn open_keys(settings: &Settings, store: &Arc<dyn Store>) -> Result<Keys, StartError> {
    let clock = Clock::system();
    let vault = Arc::new(app::open_vault(settings, &**store, &clock).await?);
    let keys = app::open_keys(settings, store, &vault, &clock).await?;
    keys.check_clock(clock.now()).await?;
    Ok(keys)
}
