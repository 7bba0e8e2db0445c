//! The signing keys this replica knows, and the JWK Set it publishes. Knows the store and the vault, not claims.
//!
//! State lives in the database, so replicas agree; each works from a snapshot in memory, so that neither a signature
//! nor the JWK Set needs the database.

mod signing_key;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::time::Instant;

pub use signing_key::{SigningAlg, SigningKey, SigningKeyError};

use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::session_token::sha256;
use crate::store::{KeyState, SigningKeyRow, Store, StoreError};
use crate::vault::{Unsealable, Vault};

/// How long a verifier may keep the JWK Set, seconds: its `max-age`.
pub const JWKS_MAX_AGE_SECONDS: u64 = 300;

/// How often a replica looks for changes of the keys.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(30);

pub struct Keys {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    snapshot: RwLock<Arc<KeySnapshot>>,
}

/// The keys as the database had them at one moment.
#[derive(Debug)]
pub struct KeySnapshot {
    /// The one that signs.
    pub active: Arc<SigningKey>,
    pub jwks: JwkSetDocument,
    /// The algorithms of the published keys, sorted.
    pub algorithms: Vec<String>,
    read_at: Instant,
}

/// The public keys, sorted by `kid`: byte for byte the same on every replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwkSetDocument {
    pub json: bytes::Bytes,
    /// Quoted, as the header wants it.
    pub etag: String,
}

#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot use the signing key {kid}")]
    Key { kid: String, source: SigningKeyError },
    #[error("cannot unwrap the signing key {kid}")]
    Wrapped { kid: String, source: Unsealable },
    #[error("the stored signing key {kid} has an unknown algorithm or public key")]
    Unknown { kid: String },
    #[error("cannot make a signing key")]
    Generate(#[source] SigningKeyError),
    #[error("no signing key is active")]
    NoActiveKey,
}

impl Keys {
    /// Reads the keys of the store; the first replica of all makes the first key.
    pub async fn open(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        alg: SigningAlg,
        clock: &Clock,
    ) -> Result<Self, KeysError> {
        let mut rows = store.signing_keys().await?;
        if rows.iter().all(|row| row.state != KeyState::Active) {
            let key = SigningKey::generate(alg).map_err(KeysError::Generate)?;
            let stored = store.add_signing_key(&row(&key, &vault, clock)?).await?;
            tracing::info!(key.id = key.kid(), key.alg = alg.as_str(), stored, "made the first signing key");
            rows = store.signing_keys().await?;
        }
        let snapshot = read_snapshot(&rows, &vault)?;
        Ok(Self { store, vault, snapshot: RwLock::new(Arc::new(snapshot)) })
    }

    pub fn snapshot(&self) -> Arc<KeySnapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows the store. On an error the last snapshot stays in use.
    pub async fn refresh(&self) -> Result<(), KeysError> {
        let snapshot = read_snapshot(&self.store.signing_keys().await?, &self.vault)?;
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        Ok(())
    }

    /// How long ago the snapshot was read. Older than [`JWKS_MAX_AGE_SECONDS`], it can no longer be relied on.
    pub fn age(&self) -> Duration {
        self.snapshot().read_at.elapsed()
    }

    /// Refreshes until it is dropped.
    pub async fn keep_fresh(&self) {
        let mut ticks = tokio::time::interval(REFRESH_INTERVAL);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if let Err(error) = self.refresh().await {
                tracing::warn!(error = %Chain(&error), "cannot refresh the signing keys");
            }
        }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("snapshot", &self.snapshot()).finish_non_exhaustive()
    }
}

fn row(key: &SigningKey, vault: &Vault, clock: &Clock) -> Result<SigningKeyRow, KeysError> {
    let now = clock.now();
    Ok(SigningKeyRow {
        kid: key.kid().to_owned(),
        alg: key.alg().as_str().to_owned(),
        private_key_wrapped: vault.wrap_signing_key(key.kid(), &key.to_pkcs8().map_err(KeysError::Generate)?),
        public_jwk: key.public_jwk().to_string(),
        state: KeyState::Active,
        created_at: now,
        activated_at: Some(now),
        retired_at: None,
    })
}

fn read_snapshot(rows: &[SigningKeyRow], vault: &Vault) -> Result<KeySnapshot, KeysError> {
    let active = rows.iter().find(|row| row.state == KeyState::Active).ok_or(KeysError::NoActiveKey)?;
    let kid = || active.kid.clone();
    let alg = SigningAlg::parse(&active.alg).ok_or_else(|| KeysError::Unknown { kid: kid() })?;
    let pkcs8 = vault
        .unwrap_signing_key(&active.kid, &active.private_key_wrapped)
        .map_err(|source| KeysError::Wrapped { kid: kid(), source })?;
    let key = SigningKey::from_pkcs8(alg, &pkcs8).map_err(|source| KeysError::Key { kid: kid(), source })?;
    let algorithms: BTreeSet<String> = rows.iter().map(|row| row.alg.clone()).collect();
    Ok(KeySnapshot {
        active: Arc::new(key),
        jwks: jwk_set(rows)?,
        algorithms: algorithms.into_iter().collect(),
        read_at: Instant::now(),
    })
}

fn jwk_set(rows: &[SigningKeyRow]) -> Result<JwkSetDocument, KeysError> {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by(|a, b| a.kid.cmp(&b.kid));
    let keys: Vec<serde_json::Value> = rows
        .into_iter()
        .map(|row| serde_json::from_str(&row.public_jwk).map_err(|_| KeysError::Unknown { kid: row.kid.clone() }))
        .collect::<Result<_, _>>()?;
    let json = bytes::Bytes::from(json!({ "keys": keys }).to_string());
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&sha256(&json)[..18]));
    Ok(JwkSetDocument { json, etag })
}
