//! Alibaba Cloud's request signature, version 3: `ACS3-HMAC-SHA256`.
//!
//! Pure functions. It must not know the clock, the nonce's origin, the network or any one action.

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};

use super::credentials::Credentials;
use crate::hex;
use crate::session_token::sha256;

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// What is signed, as it will be sent to the path `/`.
#[derive(Clone, Copy)]
pub struct Unsigned<'a> {
    pub method: &'a str,
    /// From [`canonical_query`], and on the wire in exactly these bytes.
    pub canonical_query: &'a str,
    /// Every header to sign, names in lower case, in any order. `host`, `x-acs-content-sha256` and the other headers
    /// that the algorithm demands are the caller's to bring.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl Unsigned<'_> {
    /// The value of the `authorization` header.
    pub fn authorization(&self, credentials: &Credentials) -> String {
        let to_sign = string_to_sign(&self.canonical_request());
        format!(
            "{ALGORITHM} Credential={},SignedHeaders={},Signature={}",
            credentials.access_key_id(),
            self.signed_headers(),
            signature(credentials.access_key_secret(), &to_sign),
        )
    }

    fn canonical_request(&self) -> String {
        let headers: String =
            self.sorted_headers().iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        format!(
            "{}\n/\n{}\n{headers}\n{}\n{}",
            self.method,
            self.canonical_query,
            self.signed_headers(),
            content_sha256(self.body),
        )
    }

    fn signed_headers(&self) -> String {
        self.sorted_headers().iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
    }

    fn sorted_headers(&self) -> Vec<(&str, &str)> {
        let mut headers = self.headers.to_vec();
        headers.sort_unstable();
        headers
    }
}

/// `name=value` pairs, percent-encoded, sorted by name, joined by `&`.
pub fn canonical_query(pairs: &[(&str, &str)]) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    let encoded = pairs.iter().map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)));
    encoded.collect::<Vec<_>>().join("&")
}

/// The value of `x-acs-content-sha256`, also a line of the canonical request.
pub fn content_sha256(body: &[u8]) -> String {
    hex::encode(&sha256(body))
}

fn string_to_sign(canonical_request: &str) -> String {
    format!("{ALGORITHM}\n{}", hex::encode(&sha256(canonical_request.as_bytes())))
}

fn signature(secret: &SecretString, string_to_sign: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    hex::encode(hmac::sign(&key, string_to_sign.as_bytes()).as_ref())
}

/// RFC 3986: the unreserved characters stay, every other byte becomes `%XX` in upper case. URL libraries leave `*`, `'`
/// and others alone and write a space as `+`, which the signature's other side does not.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + text.len() / 4);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.extend(hex::digits(byte).map(|digit| digit.to_ascii_uppercase()));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vectors {
        vectors: Vec<Vector>,
    }

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        input: Input,
        canonical_query: String,
        canonical_request: String,
        string_to_sign: String,
        signed_headers: String,
        signature: String,
        authorization: String,
    }

    #[derive(Deserialize)]
    struct Input {
        method: String,
        path: String,
        query: BTreeMap<String, String>,
        headers: BTreeMap<String, String>,
        body: String,
        access_key_id: String,
        access_key_secret: String,
    }

    #[test]
    fn every_known_answer_of_the_official_sdk_is_reproduced() {
        let vectors: Vectors = serde_json::from_str(include_str!("../../../tests/vectors/acs3_vectors.json")).unwrap();
        assert_eq!(vectors.vectors.len(), 14);
        for vector in &vectors.vectors {
            let Vector { name, input, .. } = vector;
            // Backwards, so that the sorting is ours.
            let query: Vec<_> = input.query.iter().rev().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let headers: Vec<_> =
                input.headers.iter().rev().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let canonical_query = canonical_query(&query);
            let unsigned = Unsigned {
                method: &input.method,
                canonical_query: &canonical_query,
                headers: &headers,
                body: input.body.as_bytes(),
            };
            let secret = SecretString::from(input.access_key_secret.clone());
            let credentials = Credentials::new(&input.access_key_id, secret.clone(), None).unwrap();

            assert_eq!(input.path, "/", "{name}");
            assert_eq!(canonical_query, vector.canonical_query, "{name}");
            assert_eq!(unsigned.signed_headers(), vector.signed_headers, "{name}");
            assert_eq!(unsigned.canonical_request(), vector.canonical_request, "{name}");
            assert_eq!(string_to_sign(&unsigned.canonical_request()), vector.string_to_sign, "{name}");
            assert_eq!(signature(&secret, &vector.string_to_sign), vector.signature, "{name}");
            assert_eq!(unsigned.authorization(&credentials), vector.authorization, "{name}");
        }
    }

    #[test]
    fn only_the_unreserved_characters_of_rfc_3986_stay_as_they_are() {
        for byte in 0_u8..=0x7f {
            let text = char::from(byte).to_string();
            let stays = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
            let expected = if stays { text.clone() } else { format!("%{byte:02X}") };
            assert_eq!(percent_encode(&text), expected);
        }
    }
}
