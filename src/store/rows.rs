//! What goes into a store and comes out of it: plain rows in the domain's own types. No SQL, no I/O.

use std::fmt;

use time::OffsetDateTime;

use crate::device::Device;
use crate::ids::{ClientId, SessionId, UserId};
use crate::session_token::TokenHash;
use crate::verifier::ReplayKey;

/// HMAC-SHA-256 of an E.164 number under the index key: finds a user without storing the number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PhoneIndex(pub [u8; 32]);

impl fmt::Debug for PhoneIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneIndex(…)")
    }
}

/// A session to be opened, complete but for its user. `token_hash` makes opening it idempotent: handing in the same
/// row again finds what an earlier, perhaps unanswered, try committed.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub id: SessionId,
    pub token_hash: TokenHash,
    /// Stored as `access_token_hash`; `None` only for the sandbox's repeatable example.
    pub replay_key: Option<ReplayKey>,
    pub phone_index: PhoneIndex,
    /// Who becomes the user when nobody has this number; `None` where the app does not register users.
    pub candidate: Option<CandidateUser>,
    pub client_id: ClientId,
    pub device: Device,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    /// The session_token, sealed under the access token: the answer that may be given once more.
    pub answer_sealed: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub struct CandidateUser {
    pub id: UserId,
    /// The number, sealed under this very id.
    pub phone_sealed: Vec<u8>,
}

/// What became of one [`NewSession`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Opened(Opened),
    UserNotFound,
    UserDisabled,
    /// Another session was opened with this access token.
    TokenReplayed,
}

/// An opened session's user, as the claims need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub user: Profile,
    /// True exactly for the login that registered the user.
    pub new_user: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub id: UserId,
    /// `None`: the id serves as the user name.
    pub user_name: Option<String>,
    /// `None`: the masked number serves as the name.
    pub name: Option<String>,
    pub email: Option<String>,
}

/// A user as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub profile: Profile,
    pub phone_sealed: Vec<u8>,
    pub status: UserStatus,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserStatus {
    Active,
    Disabled,
}

impl UserStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Disabled].into_iter().find(|status| status.as_str() == text)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserKey {
    Id(UserId),
    Phone(PhoneIndex),
}

/// A registered application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub client_id: ClientId,
    pub name: String,
    pub kind: AppKind,
    pub enabled: bool,
    /// Whether a login with an unknown number registers a user; `None` inherits `registration.auto_register`.
    pub auto_register: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppKind {
    /// May log users in; has no secret.
    Sdk,
    /// A service of the enterprise's: has a secret, may use the tenant interfaces, may not log users in.
    Tenant,
}

impl AppKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sdk => "sdk",
            Self::Tenant => "tenant",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Sdk, Self::Tenant].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What a data key is for. One key is active for each purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyPurpose {
    /// Makes a [`PhoneIndex`]. It never changes: two replicas with different index keys would register one number
    /// twice, and no unique key would see it.
    PhoneIndex,
    /// Seals phone numbers.
    PhoneSeal,
    /// Wraps private signing keys.
    SigningWrap,
    /// Derives the keys that seal an answer under its access token.
    AnswerSeal,
}

impl KeyPurpose {
    pub const ALL: [Self; 4] = [Self::PhoneIndex, Self::PhoneSeal, Self::SigningWrap, Self::AnswerSeal];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PhoneIndex => "phone_index",
            Self::PhoneSeal => "phone_seal",
            Self::SigningWrap => "signing_wrap",
            Self::AnswerSeal => "answer_seal",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

/// A data key, wrapped under the master key.
#[derive(Debug, Clone)]
pub struct NewDataKey {
    pub purpose: KeyPurpose,
    pub wrapped: Vec<u8>,
    pub created_at: OffsetDateTime,
}

#[derive(Debug, Clone)]
pub struct DataKey {
    /// Small and positive; named in everything sealed with the key.
    pub id: u32,
    pub purpose: KeyPurpose,
    pub wrapped: Vec<u8>,
}

/// A signing key, its private half wrapped.
#[derive(Debug, Clone)]
pub struct SigningKeyRow {
    /// RFC 7638 thumbprint of the public key.
    pub kid: String,
    /// `ES256`, `RS256` or `EdDSA`.
    pub alg: String,
    pub private_key_wrapped: Vec<u8>,
    /// The public key as a JWK, JSON.
    pub public_jwk: String,
    pub state: KeyState,
    pub created_at: OffsetDateTime,
    /// When it began to sign.
    pub activated_at: Option<OffsetDateTime>,
    /// When it ceased to sign.
    pub retired_at: Option<OffsetDateTime>,
}

/// `next` is published and does not sign yet; `retiring` no longer signs and stays published until its last token died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    Next,
    Active,
    Retiring,
}

impl KeyState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Next, Self::Active, Self::Retiring].into_iter().find(|state| state.as_str() == text)
    }
}
