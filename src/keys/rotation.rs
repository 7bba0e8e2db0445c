//! Changes of the keys: the next one, one at once, and the end of one. Knows the store and the vault.

use time::OffsetDateTime;

use super::error::KeysError;
use super::lifecycle::KeyState;
use super::signing_key::{SigningAlg, SigningKey, SigningKeyError};
use super::{Keys, Lifecycle};
use crate::clock::Utc;
use crate::store::SigningKeyRow;
use crate::vault::Vault;

/// How often a replacement that cannot wait yields to rotations that were quicker.
const TRIES: usize = 5;

/// A key that was added to sign later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    pub kid: String,
    pub signs_from: OffsetDateTime,
}

/// A key that signs at once, and those that went for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    pub kid: String,
    pub removed: Vec<String>,
}

impl Keys {
    /// Adds the next key, which is published from now on and signs after [`super::Timing::lead`]. Refused while one is
    /// pending, also where another replica has just been quicker.
    pub async fn rotate(&self, alg: SigningAlg, now: OffsetDateTime) -> Result<Rotated, KeysError> {
        let generation = next_generation(&self.lifecycle(&self.unpending(now).await?));
        let key = generate(alg).await?;
        let signs_from = now + self.config.timing.lead();
        let times = Times { created_at: now, signs_from };
        if !self.store.add_signing_key(&row(&key, &self.vault, generation, times)?).await? {
            self.unpending(now).await?;
            return Err(KeysError::Contended);
        }
        let kid = key.kid().to_owned();
        tracing::info!(
            key.id = kid,
            key.alg = alg.as_str(),
            key.signs_from = %Utc(signs_from),
            "added the next signing key"
        );
        self.refresh(now).await?;
        Ok(Rotated { kid, signs_from })
    }

    /// Puts a new key in the place of all others, because one of them may be in wrong hands.
    ///
    /// This breaks the promise that every token verifies, for the sake of a greater one. The other replicas follow
    /// within their refresh interval and sign with the removed key until then. A verifier that meets the new key fetches
    /// the JWK Set again if it fetches on an unknown `kid`, as most libraries do; else it refuses tokens for as long as
    /// it keeps its copy, a max-age at most, and for that long it also still takes tokens made with the old key. Tokens
    /// handed out before are refused from then on. Sessions live on: a client gets a new id_token for its
    /// session_token.
    ///
    /// The new key is stored first, so there is always one; if removing fails half way, run it again.
    pub async fn rotate_compromised(&self, alg: SigningAlg, now: OffsetDateTime) -> Result<Replaced, KeysError> {
        let key = generate(alg).await?;
        let kid = key.kid().to_owned();
        let generation = self.add_at_once(&key, now).await?;
        tracing::warn!(key.id = kid, key.alg = alg.as_str(), "a new signing key replaces all others at once");
        let mut removed = Vec::new();
        for row in self.store.signing_keys().await? {
            if row.generation < generation && self.store.remove_signing_key(&row.kid).await? {
                tracing::warn!(key.id = row.kid, "removed a signing key before its time");
                removed.push(row.kid);
            }
        }
        self.refresh(now).await?;
        Ok(Replaced { kid, removed })
    }

    async fn add_at_once(&self, key: &SigningKey, now: OffsetDateTime) -> Result<u32, KeysError> {
        let times = Times { created_at: now, signs_from: now };
        for _ in 0..TRIES {
            let rows = self.store.signing_keys().await?;
            let generation = next_generation(&self.lifecycle(&rows));
            if self.store.add_signing_key(&row(key, &self.vault, generation, times)?).await? {
                return Ok(generation);
            }
        }
        Err(KeysError::Contended)
    }

    /// Removes a key that is gone. Refused while a token of it may live: until when, the error says.
    pub async fn remove(&self, kid: &str, now: OffsetDateTime) -> Result<(), KeysError> {
        let rows = self.store.signing_keys().await?;
        let lifecycle = self.lifecycle(&rows);
        let kid = || kid.to_owned();
        let row = rows.iter().find(|row| row.kid == kid()).ok_or_else(|| KeysError::NoSuchKey { kid: kid() })?;
        match (lifecycle.state(row, now), lifecycle.published_until(row)) {
            (KeyState::Retiring, Some(until)) => return Err(KeysError::StillNeeded { kid: kid(), until }),
            (KeyState::Next | KeyState::Active | KeyState::Retiring, _) => {
                return Err(KeysError::InUse { kid: kid() });
            }
            (KeyState::Gone, _) => {}
        }
        if self.store.remove_signing_key(&row.kid).await? {
            tracing::info!(key.id = row.kid, "removed a signing key on request");
        }
        self.refresh(now).await
    }

    /// The keys, if none of them is pending.
    async fn unpending(&self, now: OffsetDateTime) -> Result<Vec<SigningKeyRow>, KeysError> {
        let rows = self.store.signing_keys().await?;
        match self.lifecycle(&rows).pending(now) {
            Some(row) => Err(KeysError::Pending { kid: row.kid.clone(), signs_from: row.signs_from }),
            None => Ok(rows),
        }
    }
}

/// Makes a key away from the threads that serve: RSA may take a second.
pub(super) async fn generate(alg: SigningAlg) -> Result<SigningKey, KeysError> {
    let made = tokio::task::spawn_blocking(move || SigningKey::generate(alg)).await;
    made.unwrap_or(Err(SigningKeyError::Crypto)).map_err(KeysError::Generate)
}

/// The first key of all signs at once: no verifier can have a set without it.
pub(super) fn first_row(key: &SigningKey, vault: &Vault, now: OffsetDateTime) -> Result<SigningKeyRow, KeysError> {
    row(key, vault, 1, Times { created_at: now, signs_from: now })
}

#[derive(Clone, Copy)]
struct Times {
    created_at: OffsetDateTime,
    signs_from: OffsetDateTime,
}

fn next_generation(lifecycle: &Lifecycle<'_>) -> u32 {
    lifecycle.newest().map_or(1, |row| row.generation + 1)
}

fn row(key: &SigningKey, vault: &Vault, generation: u32, times: Times) -> Result<SigningKeyRow, KeysError> {
    Ok(SigningKeyRow {
        kid: key.kid().to_owned(),
        generation,
        alg: key.alg().as_str().to_owned(),
        private_key_wrapped: vault.wrap_signing_key(key.kid(), &key.to_pkcs8().map_err(KeysError::Generate)?),
        public_jwk: key.public_jwk().to_string(),
        created_at: times.created_at,
        signs_from: times.signs_from,
    })
}
