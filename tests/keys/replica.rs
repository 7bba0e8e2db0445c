//! A replica with a clock of its own, and a verifier that knows nothing but JWK Sets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use oneclick_login::keys::{Config, Keys, SigningAlg, Timing};
use oneclick_login::store::Store;
use oneclick_login::vault::{MasterKeys, Vault};
use serde_json::Value;
use time::OffsetDateTime;

use super::at;

pub const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Seconds that the tests' tokens live.
pub const TOKEN_LIFE: i64 = 300;

/// The figures of production, but for tokens that live five minutes at most.
pub fn timing() -> Timing {
    Timing { longest_token_life: Duration::from_secs(TOKEN_LIFE.unsigned_abs()), ..Timing::default() }
}

pub const fn config(timing: Timing) -> Config {
    Config { signing_alg: SigningAlg::Es256, key_lifetime: None, timing }
}

pub struct Replica {
    pub keys: Keys,
    /// Seconds that its clock is ahead.
    ahead: i64,
}

impl Replica {
    /// Starts `ahead` of the tests' clock, which shows `seconds`.
    pub async fn start(store: &Arc<dyn Store>, config: Config, (seconds, ahead): (i64, i64)) -> Self {
        let master_keys = MasterKeys::parse(MASTER_KEY).unwrap();
        let vault = Vault::open(&master_keys, &**store, at(seconds)).await.unwrap();
        let keys = Keys::open(Arc::clone(store), Arc::new(vault), config, at(seconds + ahead)).await.unwrap();
        Self { keys, ahead }
    }

    pub fn now(&self, seconds: i64) -> OffsetDateTime {
        at(seconds + self.ahead)
    }

    pub async fn tend(&self, seconds: i64) {
        self.keys.tend(self.now(seconds)).await.unwrap();
    }

    pub fn signer(&self, seconds: i64) -> String {
        self.keys.snapshot().signer(self.now(seconds)).kid().to_owned()
    }

    /// A token as this replica signs it now, with the time at which it dies.
    pub fn sign(&self, seconds: i64) -> Token {
        let claims = format!(r#"{{"sub":"{seconds}"}}"#);
        let text = self.keys.snapshot().signer(self.now(seconds)).sign(claims.as_bytes()).unwrap();
        let kid = decode_header(&text).unwrap().kid.unwrap();
        Token { text, kid, expires: seconds + self.ahead + TOKEN_LIFE }
    }

    /// What a verifier gets that asks this replica.
    pub fn publish(&self) -> Published {
        Published(serde_json::from_slice(&self.keys.snapshot().jwks.json).unwrap())
    }

    pub fn kids(&self) -> BTreeSet<String> {
        self.publish().0.keys.into_iter().map(|key| key.common.key_id.unwrap()).collect()
    }
}

#[derive(Debug, Clone)]
pub struct Token {
    text: String,
    pub kid: String,
    /// By the signer's clock, in seconds of the tests'.
    pub expires: i64,
}

/// A JWK Set as somebody fetched it.
#[derive(Debug, Clone)]
pub struct Published(JwkSet);

impl Published {
    pub fn has(&self, token: &Token) -> bool {
        self.0.find(&token.kid).is_some()
    }

    /// Whether the token's signature verifies from the set alone.
    pub fn verifies(&self, token: &Token) -> bool {
        let Some(jwk) = self.0.find(&token.kid) else { return false };
        let alg = decode_header(&token.text).unwrap().alg;
        assert!([Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA].contains(&alg));
        let mut rules = Validation::new(alg);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        decode::<Value>(&token.text, &DecodingKey::from_jwk(jwk).unwrap(), &rules).is_ok()
    }
}
