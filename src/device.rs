//! The calling device as it describes itself. Every field is a claim of the client's: recorded, compared, never trusted.

use std::fmt;
use std::net::IpAddr;

use crate::hex;

/// What the device headers said, already within the contract's limits (the edge sees to that).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// `X-operating-sys-version`, 1 to 128 bytes.
    pub operating_sys_version: String,
    /// `X-device-fingerprint`, 1 to 256 bytes; must stay the same wherever the session_token is used.
    pub fingerprint: String,
    /// `X-agent`, 1 to 1024 bytes.
    pub agent: String,
    /// `X-device-ip` where it parses as an address.
    pub ip: Option<IpAddr>,
}

/// Tells whether two fingerprints are the same, in the audit stream, and not what they are; made by the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FingerprintHash(pub [u8; 16]);

impl fmt::Display for FingerprintHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}
