//! One key pair that signs id_tokens, and its public half as a JWK. Knows neither the store nor claims.
//!
//! The key pair is kept parsed: `jsonwebtoken::encode` parses the private key again for every token, which costs more
//! than the signature (RS256 of 2048 bits 1068 µs against 373, ES256 40 against 24).

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{DecodingKey, Validation};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What signs id_tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum SigningAlg {
    /// ECDSA on P-256: the default.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with 3072 bits, in older keys 2048: for verifiers written against the vendor.
    #[serde(rename = "RS256")]
    Rs256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SigningAlg {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Es256, Self::Rs256, Self::EdDsa].into_iter().find(|alg| alg.as_str() == text)
    }
}

/// A private key, ready to sign.
pub struct SigningKey {
    kid: String,
    alg: SigningAlg,
    /// The JWS header, base64url: the same for every token of this key.
    header: String,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
    Ed(Ed25519KeyPair),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    #[error("the private key is not a PKCS#8 key of its algorithm")]
    Malformed,
    #[error("the cryptographic library made no key or signature")]
    Crypto,
    #[error("a signature made with the key does not verify with its own public key")]
    SelfTest,
}

impl SigningKey {
    pub fn generate(alg: SigningAlg) -> Result<Self, SigningKeyError> {
        let crypto = |_| SigningKeyError::Crypto;
        let pair = match alg {
            SigningAlg::Es256 => Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(crypto)?),
            SigningAlg::Rs256 => Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa3072).map_err(crypto)?)),
            SigningAlg::EdDsa => Pair::Ed(Ed25519KeyPair::generate().map_err(crypto)?),
        };
        Self::new(alg, pair)
    }

    pub fn from_pkcs8(alg: SigningAlg, pkcs8: &[u8]) -> Result<Self, SigningKeyError> {
        let malformed = |_| SigningKeyError::Malformed;
        let pair = match alg {
            SigningAlg::Es256 => {
                Pair::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(malformed)?)
            }
            SigningAlg::Rs256 => Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(pkcs8).map_err(malformed)?)),
            SigningAlg::EdDsa => Pair::Ed(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(malformed)?),
        };
        Self::new(alg, pair)
    }

    fn new(alg: SigningAlg, pair: Pair) -> Result<Self, SigningKeyError> {
        let mut key = Self { kid: String::new(), alg, header: String::new(), pair };
        key.kid = thumbprint(&key.public_jwk())?;
        let header = json!({ "alg": alg.as_str(), "kid": key.kid, "typ": "JWT" });
        key.header = URL_SAFE_NO_PAD.encode(header.to_string());
        key.self_test()?;
        Ok(key)
    }

    /// RFC 7638 thumbprint: made from the key itself, so two keys never share one.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub const fn alg(&self) -> SigningAlg {
        self.alg
    }

    /// The private key, PKCS#8 version 1, for wrapping and nothing else.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, SigningKeyError> {
        let crypto = |_| SigningKeyError::Crypto;
        Ok(match &self.pair {
            Pair::Ec(pair) => pair.to_pkcs8v1().map_err(crypto)?.as_ref().to_vec(),
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair.as_ref()).map_err(crypto)?.as_ref().to_vec(),
            Pair::Ed(pair) => pair.to_pkcs8v1().map_err(crypto)?.as_ref().to_vec(),
        })
    }

    /// The public key: `kty` and its parameters, `alg`, `use`, and `kid` once that is known.
    pub fn public_jwk(&self) -> serde_json::Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
            }
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let n = public.modulus().big_endian_without_leading_zero();
                let e = public.exponent().big_endian_without_leading_zero();
                json!({ "kty": "RSA", "n": encode(n), "e": encode(e) })
            }
            Pair::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) }),
        };
        jwk["alg"] = json!(self.alg.as_str());
        jwk["use"] = json!("sig");
        if !self.kid.is_empty() {
            jwk["kid"] = json!(self.kid);
        }
        jwk
    }

    /// A compact JWS over `claims`, which is JSON.
    pub fn sign(&self, claims: &[u8]) -> Result<String, SigningKeyError> {
        let mut token = String::with_capacity(self.header.len() + claims.len() * 4 / 3 + 520);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        let crypto = |_| SigningKeyError::Crypto;
        let random = SystemRandom::new();
        Ok(match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).map_err(crypto)?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(crypto)?;
                signature
            }
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        })
    }

    /// Signs a token and verifies it the way a stranger would, with the published JWK and another library: a key that
    /// nobody could verify must never sign a login.
    fn self_test(&self) -> Result<(), SigningKeyError> {
        let token = self.sign(br#"{"sub":"self-test"}"#)?;
        let jwk: Jwk = serde_json::from_value(self.public_jwk()).map_err(|_| SigningKeyError::SelfTest)?;
        let mut rules = Validation::new(match self.alg {
            SigningAlg::Es256 => jsonwebtoken::Algorithm::ES256,
            SigningAlg::Rs256 => jsonwebtoken::Algorithm::RS256,
            SigningAlg::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        });
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        DecodingKey::from_jwk(&jwk)
            .and_then(|key| jsonwebtoken::decode::<serde_json::Value>(&token, &key, &rules))
            .map(drop)
            .map_err(|_| SigningKeyError::SelfTest)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.alg.as_str(), self.kid)
    }
}

fn thumbprint(jwk: &serde_json::Value) -> Result<String, SigningKeyError> {
    let jwk: Jwk = serde_json::from_value(jwk.clone()).map_err(|_| SigningKeyError::Malformed)?;
    jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| SigningKeyError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_stored_form_for_every_algorithm() {
        for alg in [SigningAlg::Es256, SigningAlg::Rs256, SigningAlg::EdDsa] {
            let key = SigningKey::generate(alg).unwrap();
            let again = SigningKey::from_pkcs8(alg, &key.to_pkcs8().unwrap()).unwrap();
            assert_eq!(again.kid(), key.kid(), "{alg:?}");
            assert_eq!(again.public_jwk(), key.public_jwk(), "{alg:?}");
        }
    }

    /// ASVS 11.2.3.
    #[test]
    fn a_new_rsa_key_has_3072_bits_and_one_of_2048_from_before_still_signs() {
        let modulus = |key: &SigningKey| URL_SAFE_NO_PAD.decode(key.public_jwk()["n"].as_str().unwrap()).unwrap().len();
        assert_eq!(modulus(&SigningKey::generate(SigningAlg::Rs256).unwrap()) * 8, 3072);
        let old = Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));
        let old = SigningKey::new(SigningAlg::Rs256, old).unwrap().to_pkcs8().unwrap();
        let old = SigningKey::from_pkcs8(SigningAlg::Rs256, &old).unwrap();
        assert_eq!((modulus(&old) * 8, old.sign(b"{}").unwrap().split('.').count()), (2048, 3));
    }

    #[test]
    fn a_key_of_another_algorithm_is_refused() {
        let pkcs8 = SigningKey::generate(SigningAlg::Es256).unwrap().to_pkcs8().unwrap();
        assert_eq!(SigningKey::from_pkcs8(SigningAlg::EdDsa, &pkcs8).unwrap_err(), SigningKeyError::Malformed);
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        // RFC 7638, section 3.1.
        let jwk = json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"
        });
        assert_eq!(thumbprint(&jwk).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
