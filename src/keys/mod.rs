//! The signing keys this replica knows, and the JWK Set it publishes. Knows the store and the vault, not claims.
//!
//! A key is *next* while it is published and does not sign, then *active*, then *retiring* until its last token has
//! died, then *gone*. None of this is stored: a row holds a generation and the time from which it signs, and the rest
//! follows from the rows and the clock ([`Lifecycle`]). So a rotation is one insert, nothing has to be promoted by
//! anybody, and replicas that see the same rows agree. Each works from a snapshot in memory; neither a signature nor the
//! JWK Set needs the database.
//!
//! # Why every token verifies
//!
//! Clocks first: a replica more than [`CLOCK_LIMIT`] from the database's clock is not ready, so those of two ready
//! replicas differ by 60 s at most. No time is compared across replicas but by the rules below, which allow for that.
//!
//! *No key signs before all verifiers have it.* A replica publishes a key as soon as it reads of it, whatever its clock
//! says; it reads every 5 s, and with a snapshot older than `stale_after` (150 s) it is not ready. So 150 s after the
//! insert no ready replica serves a set without the key, and 150 + 300 s after it no verifier that keeps to `max-age`
//! holds one. The key signs 600 s after it was made by its maker's clock, at the earliest 540 s after by the clock that
//! is most ahead of it. The 90 s between are for a slow commit and for the gateway to notice who is not ready.
//!
//! *A replica that knows of no next key does not sign on.* It would have to be behind by 540 s; it left at 150.
//!
//! *No key goes while a token of it lives.* The last replica to sign with it stops when *its* clock shows
//! `signs_from` of the successor, so no `exp` is later than that time and the longest life of a token. Published it is
//! for 300 + 60 s more: 60 for a clock that is ahead of the verifier's, 300 for what verifiers add by themselves.
//!
//! *A clock that jumps* makes its replica not ready within a second. Going back, it signs with no older key than
//! before; and it adds and removes no key ([`Keys::check_clock`]).
//!
//! [`Keys::rotate_compromised`] is the exception, and says so.

mod error;
mod lifecycle;
mod rotation;
mod signing_key;
mod snapshot;
mod timing;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

pub use error::KeysError;
pub use lifecycle::{KeyState, Lifecycle};
pub use rotation::{Replaced, Rotated};
pub use signing_key::{SigningAlg, SigningKey, SigningKeyError};
use snapshot::Pairs;
pub use snapshot::{JwkSetDocument, KeySnapshot};
pub use timing::{CLOCK_LIMIT, JWKS_MAX_AGE_SECONDS, LONGEST_ID_TOKEN_LIFE_SECONDS, Timing};

use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::store::{SigningKeyRow, Store};
use crate::vault::Vault;

pub struct Keys {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    config: Config,
    snapshot: RwLock<Arc<KeySnapshot>>,
    /// One reading at a time, so that an earlier one never replaces a later one.
    reading: Mutex<()>,
    /// Whether this start has compared `config.signing_alg` with the newest key.
    alg_compared: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// What the first key is made for, and what [`Keys::tend`] rotates to once after a start, if the newest key is for
    /// another and none is pending. Only once: replicas with an old and a new setting must not rotate back and forth.
    pub signing_alg: SigningAlg,
    /// After how long a key gives way to the next one; `None`: only by command.
    pub key_lifetime: Option<Duration>,
    pub timing: Timing,
}

impl Keys {
    /// Reads the keys of the store; the first replica of all makes the first key.
    pub async fn open(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        config: Config,
        now: OffsetDateTime,
    ) -> Result<Self, KeysError> {
        let mut read_at = Instant::now();
        let mut rows = store.signing_keys().await?;
        if rows.is_empty() {
            let key = rotation::generate(config.signing_alg).await?;
            let stored = store.add_signing_key(&rotation::first_row(&key, &vault, now)?).await?;
            tracing::info!(key.id = key.kid(), key.alg = key.alg().as_str(), stored, "made the first signing key");
            read_at = Instant::now();
            rows = store.signing_keys().await?;
        }
        let lifecycle = Lifecycle::new(&rows, &config.timing);
        let snapshot = Arc::new(KeySnapshot::new(&lifecycle, now, &vault, &Pairs::new(), read_at)?);
        let (snapshot, reading) = (RwLock::new(snapshot), Mutex::default());
        Ok(Self { store, vault, config, snapshot, reading, alg_compared: AtomicBool::new(false) })
    }

    pub fn snapshot(&self) -> Arc<KeySnapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows the store. On an error the last snapshot stays in use.
    pub async fn refresh(&self, now: OffsetDateTime) -> Result<(), KeysError> {
        self.read(now).await.map(drop)
    }

    async fn read(&self, now: OffsetDateTime) -> Result<Vec<SigningKeyRow>, KeysError> {
        let _turn = self.reading.lock().await;
        let read_at = Instant::now();
        let rows = self.store.signing_keys().await?;
        let parsed = self.snapshot();
        let snapshot = KeySnapshot::new(&self.lifecycle(&rows), now, &self.vault, &parsed.pairs, read_at)?;
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        Ok(rows)
    }

    fn lifecycle<'a>(&'a self, rows: &'a [SigningKeyRow]) -> Lifecycle<'a> {
        Lifecycle::new(rows, &self.config.timing)
    }

    /// How long ago the store was asked for what the snapshot shows.
    pub fn age(&self) -> Duration {
        self.snapshot().read_at.elapsed()
    }

    /// Whether the snapshot is too old to be relied on; then this replica must not be sent requests.
    pub fn is_stale(&self) -> bool {
        self.age() > self.config.timing.stale_after
    }

    /// Follows the store and does what is due by `now`: removes keys that are gone, and makes the next one. Every
    /// replica tries; the generation makes one of them win.
    pub async fn tend(&self, now: OffsetDateTime) -> Result<(), KeysError> {
        let chores = self.chores(&self.read(now).await?, now);
        self.carry_out(chores, now).await
    }

    /// Tends the keys until it is dropped, as long as the clock is right: with a wrong one it only follows.
    pub async fn keep_fresh(&self, clock: &Clock) {
        let mut ticks = tokio::time::interval(self.config.timing.refresh_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.round(clock.now()).await {
                tracing::warn!(error = %Chain(&error), "cannot keep up with the signing keys");
            }
        }
    }

    async fn round(&self, now: OffsetDateTime) -> Result<(), KeysError> {
        let chores = self.chores(&self.read(now).await?, now);
        if !chores.is_empty() {
            self.check_clock(now).await?;
        }
        self.carry_out(chores, now).await
    }

    /// Fails where `now` is further than [`CLOCK_LIMIT`] from the database's time. To be called before the keys are
    /// changed: a time from a wrong clock would make a key sign unpublished, or remove one that is needed.
    pub async fn check_clock(&self, now: OffsetDateTime) -> Result<(), KeysError> {
        let difference = (self.store.database_time().await? - now).unsigned_abs();
        let difference_seconds = difference.as_secs();
        if difference > CLOCK_LIMIT { Err(KeysError::Clock { difference_seconds }) } else { Ok(()) }
    }

    fn chores(&self, rows: &[SigningKeyRow], now: OffsetDateTime) -> Chores {
        let lifecycle = self.lifecycle(rows);
        let gone = rows.iter().filter(|row| lifecycle.state(row, now) == KeyState::Gone).map(|row| row.kid.clone());
        let newest_alg = lifecycle.newest().and_then(|row| SigningAlg::parse(&row.alg));
        let is_due = self.config.key_lifetime.is_some_and(|lifetime| lifecycle.is_due(lifetime, now));
        let wanted = self.config.signing_alg;
        let differs = newest_alg.is_some_and(|alg| alg != wanted) && lifecycle.pending(now).is_none();
        let rotate_to = if self.alg_compared.load(Ordering::Relaxed) || !differs {
            // Not to the setting's: it may be another one on another replica.
            newest_alg.filter(|_| is_due)
        } else {
            Some(wanted)
        };
        Chores { gone: gone.collect(), rotate_to }
    }

    async fn carry_out(&self, chores: Chores, now: OffsetDateTime) -> Result<(), KeysError> {
        for kid in chores.gone {
            if self.store.remove_signing_key(&kid).await? {
                tracing::info!(key.id = kid, "removed a signing key whose last token has died");
            }
        }
        match chores.rotate_to.map(|alg| self.rotate(alg, now)) {
            None => {}
            Some(rotation) => match rotation.await {
                // Another replica was first.
                Ok(_) | Err(KeysError::Pending { .. }) => {}
                Err(error) => return Err(error),
            },
        }
        self.alg_compared.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// What is to be done about the keys.
struct Chores {
    gone: Vec<String>,
    rotate_to: Option<SigningAlg>,
}

impl Chores {
    fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.rotate_to.is_none()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("config", &self.config).field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}
