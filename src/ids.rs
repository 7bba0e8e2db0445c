//! Identifiers: opaque, typed, stable. None carries meaning about a person.

use std::fmt;

use time::OffsetDateTime;
use uuid::{NoContext, Timestamp, Uuid};

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id, UUID version 7: ordered by time, so index pages are filled one after the other.
            pub fn new(now: OffsetDateTime) -> Self {
                let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
                Self(Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.nanosecond())))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id! {
    /// A user: the `sub` of every id_token. Never reassigned, never derived from the number.
    UserId
}
uuid_id! {
    /// A session: the `sid` claim. Neither the session_token nor its hash.
    SessionId
}

uuid_id! {
    /// A database with all that is in it, from its first start on.
    DeploymentId
}

impl SessionId {
    /// No id that was made at this time or later is smaller, and none that was made before is greater.
    pub fn first_at(at: OffsetDateTime) -> Self {
        let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid())
    }
}

/// An application's id: 1 to 64 characters of `[A-Za-z0-9_-]` (the vendor's samples have 32 of `[A-Za-z0-9]`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a client id is 1 to 64 characters of A-Z a-z 0-9 _ -")]
pub struct InvalidClientId;

impl ClientId {
    pub const MAX_LENGTH: usize = 64;

    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidClientId> {
        let text = text.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        if fits && text.bytes().all(allowed) { Ok(Self(text)) } else { Err(InvalidClientId) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one request in logs, in the answer and in Alibaba Cloud's `OutId`: `[A-Za-z0-9._-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    pub const MAX_LENGTH: usize = 64;

    /// Keeps an id that somebody else gave, if it has the form.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        ((1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.to_owned()))
    }

    pub fn new(now: OffsetDateTime) -> Self {
        Self(SessionId::new(now).0.simple().to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_keeps_to_its_alphabet_and_length() {
        assert!(ClientId::parse("nTo1eRIub60vPb54WeE6aojPwYwImtl4").is_ok());
        assert!(ClientId::parse("a".repeat(64)).is_ok());
        for bad in ["", "a b", "a.b", "é", &"a".repeat(65)] {
            assert_eq!(ClientId::parse(bad), Err(InvalidClientId), "{bad:?}");
        }
    }

    #[test]
    fn ids_of_later_times_sort_later() {
        let early = SessionId::new(OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap());
        let late = SessionId::new(OffsetDateTime::from_unix_timestamp(1_700_000_001).unwrap());
        assert!(early < late);
    }
}
