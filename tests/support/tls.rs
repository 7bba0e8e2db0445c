//! A certificate for peers of the tests' own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Self-signed for `localhost` and 127.0.0.1 until 2126; worth nothing anywhere.
const CERTIFICATE: &str = "MIIBmTCCAT6gAwIBAgIUadwi4HjvQ1g6HEb84qB9iljJinwwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2\
    MTEyMjE4MjMyMloYDzIxMjYxMDI5MTgyMzIyWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\
    AAQ6BmAqnC0csr+zIcvGD0iT2GXXDRVw6RVWZVHnVqFG0j5qNZa7jpuDSpmHzMjKaSnA/7frMhB7zy9/BEA/Frubo2wwajAdBgNV\
    HQ4EFgQUxZJ8Pv90ITxvuqPLV1w5vB2EFlkwHwYDVR0jBBgwFoAUxZJ8Pv90ITxvuqPLV1w5vB2EFlkwDAYDVR0TAQH/BAIwADAa\
    BgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZIzj0EAwIDSQAwRgIhALO5aFbpIkmNpbp8nrcNnOQFtd3vgcaAjS3WXyD6\
    D8QNAiEA60IuUqfWy5wsmUtKoQnwsZjNprlWBc4FMM1OQXa9LPI=";
const PRIVATE_KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwvXjqu/uYMC4NbBTivQGoKJC6FBYHRGoIcp46Egour6hRANCAAQ6\
    BmAqnC0csr+zIcvGD0iT2GXXDRVw6RVWZVHnVqFG0j5qNZa7jpuDSpmHzMjKaSnA/7frMhB7zy9/BEA/Frub";

/// In DER.
pub fn certificate() -> Vec<u8> {
    STANDARD.decode(CERTIFICATE).unwrap()
}

/// PKCS #8, in DER.
pub fn private_key() -> Vec<u8> {
    STANDARD.decode(PRIVATE_KEY).unwrap()
}

pub fn certificate_pem() -> String {
    pem("CERTIFICATE", CERTIFICATE)
}

pub fn private_key_pem() -> String {
    pem("PRIVATE KEY", PRIVATE_KEY)
}

fn pem(label: &str, base64: &str) -> String {
    // 64 characters a line, as strict readers want it.
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
