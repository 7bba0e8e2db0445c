//! The keys as the store had them at one moment, ready to sign and to be published. Knows the vault, not the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::error::KeysError;
use super::lifecycle::{KeyState, Lifecycle};
use super::signing_key::{SigningAlg, SigningKey};
use crate::session_token::sha256;
use crate::store::SigningKeyRow;
use crate::vault::Vault;

/// Key pairs by `kid`, which is made from the key: the same name is the same pair.
pub(super) type Pairs = HashMap<String, Arc<SigningKey>>;

pub struct KeySnapshot {
    /// The one that signed at the time of the reading.
    active: Signer,
    /// Those that sign later, in their order: the change needs no reading in between.
    next: Vec<Signer>,
    pub jwks: JwkSetDocument,
    /// The algorithms of the published keys, sorted.
    pub algorithms: Vec<String>,
    /// When each of the published keys was made, and what it did at the time of the reading.
    pub made: Vec<(KeyState, OffsetDateTime)>,
    pub(super) pairs: Pairs,
    pub(super) read_at: Instant,
}

#[derive(Debug, Clone)]
struct Signer {
    key: Arc<SigningKey>,
    from: OffsetDateTime,
}

/// The public keys, sorted by `kid`: byte for byte the same on every replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwkSetDocument {
    pub json: bytes::Bytes,
    /// Quoted, as the header wants it.
    pub etag: String,
}

impl KeySnapshot {
    /// `read_at` is when the store was asked, not when it answered. Pairs that were parsed before are taken over:
    /// parsing an RSA key costs more than many signatures.
    pub(super) fn new(
        lifecycle: &Lifecycle<'_>,
        now: OffsetDateTime,
        vault: &Vault,
        parsed: &Pairs,
        read_at: Instant,
    ) -> Result<Self, KeysError> {
        let mut pairs = Pairs::new();
        let mut foreign = Vec::new();
        let mut active = None;
        // Where the active key is a newer program's: the last one before it that is published still.
        let mut before = None;
        let mut next = Vec::new();
        let mut made = Vec::new();
        let mut rows: Vec<_> = lifecycle.published(now).collect();
        rows.sort_by_key(|row| row.generation);
        for row in rows {
            let state = lifecycle.state(row, now);
            made.push((state, row.created_at));
            if SigningAlg::parse(&row.alg).is_none() {
                foreign.push(row);
                continue;
            }
            let key = parsed.get(&row.kid).map_or_else(|| open(row, vault).map(Arc::new), |key| Ok(Arc::clone(key)))?;
            pairs.insert(row.kid.clone(), Arc::clone(&key));
            let signer = Signer { key, from: row.signs_from };
            match state {
                KeyState::Active => active = Some(signer),
                KeyState::Next => next.push(signer),
                KeyState::Retiring => before = Some(signer),
                KeyState::Gone => {}
            }
        }
        let active = active.or(before).ok_or(KeysError::NoKey)?;
        let known = pairs.values().map(|key| key.alg().as_str().to_owned());
        let algorithms: BTreeSet<_> = known.chain(foreign.iter().map(|row| row.alg.clone())).collect();
        let algorithms = algorithms.into_iter().collect();
        Ok(Self { active, next, jwks: jwk_set(&pairs, &foreign), algorithms, made, pairs, read_at })
    }

    /// The key that signs at `now`. Never an older one than at the time of the reading, even if a clock goes back.
    pub fn signer(&self, now: OffsetDateTime) -> &SigningKey {
        let begun = self.next.iter().rev().find(|signer| signer.from <= now);
        &begun.unwrap_or(&self.active).key
    }
}

impl fmt::Debug for KeySnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { active, next, .. } = self;
        f.debug_struct("KeySnapshot").field("active", active).field("next", next).finish_non_exhaustive()
    }
}

/// `None` of what is no public key at all; that must not spoil the set.
fn stored_jwk(row: &SigningKeyRow) -> Option<Value> {
    let jwk: Value = serde_json::from_str(&row.public_jwk).ok()?;
    (jwk["kid"] == row.kid.as_str() && jwk["kty"].is_string() && jwk["d"].is_null() && jwk["k"].is_null())
        .then_some(jwk)
}

fn open(row: &SigningKeyRow, vault: &Vault) -> Result<SigningKey, KeysError> {
    let kid = || row.kid.clone();
    let alg = SigningAlg::parse(&row.alg).ok_or_else(|| KeysError::Unknown { kid: kid() })?;
    let pkcs8 = vault
        .unwrap_signing_key(&row.kid, &row.private_key_wrapped)
        .map_err(|source| KeysError::Wrapped { kid: kid(), source })?;
    let key = SigningKey::from_pkcs8(alg, &pkcs8).map_err(|source| KeysError::Key { kid: kid(), source })?;
    if key.kid() == row.kid { Ok(key) } else { Err(KeysError::Unknown { kid: kid() }) }
}

/// Made from the key pairs and not from their stored public halves: who can write to the database, but has no master
/// key, cannot make verifiers trust a key of an algorithm that this program signs with.
///
/// `foreign` are keys of algorithms that it does not know: a newer program, which runs beside it in a rolling upgrade,
/// signs with them or will. They are published as they are stored, since their tokens must verify by every replica's set.
fn jwk_set(pairs: &Pairs, foreign: &[&SigningKeyRow]) -> JwkSetDocument {
    let own = pairs.values().map(|key| (key.kid(), key.public_jwk()));
    let foreign = foreign.iter().filter_map(|row| Some((row.kid.as_str(), stored_jwk(row)?)));
    let keys: BTreeMap<_, _> = own.chain(foreign).collect();
    let keys: Vec<_> = keys.into_values().collect();
    let json = bytes::Bytes::from(json!({ "keys": keys }).to_string());
    let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&sha256(&json)[..18]));
    JwkSetDocument { json, etag }
}
