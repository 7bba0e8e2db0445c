//! What goes into a store and comes out of it: plain rows in the domain's own types. No SQL, no I/O.

use std::fmt;
use std::ops::Range;

use time::OffsetDateTime;

use super::StoreError;
use crate::device::Device;
use crate::ids::{ClientId, SessionId, UserId};
use crate::session_token::{FamilyHash, TokenHash};
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
    /// A tombstone: the id stays, so that it is never given to another user; everything personal is gone.
    Erased,
}

impl UserStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Erased => "erased",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Disabled, Self::Erased].into_iter().find(|status| status.as_str() == text)
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
    /// A tenant app's secret; an sdk app has none.
    pub secret_hash: Option<SecretHash>,
}

/// SHA-256 of a tenant app's secret, which is random and long enough for a plain hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
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

/// A signing key, its private half wrapped. What a key does at a moment follows from these times and its neighbours'
/// (see `keys`); no state is stored that could disagree with them.
#[derive(Debug, Clone)]
pub struct SigningKeyRow {
    /// RFC 7638 thumbprint of the public key.
    pub kid: String,
    /// 1 for the first key, one more for each that follows: of two replicas that rotate at once, one wins.
    pub generation: u32,
    /// `ES256`, `RS256` or `EdDSA`.
    pub alg: String,
    pub private_key_wrapped: Vec<u8>,
    /// The public key as a JWK, JSON.
    pub public_jwk: String,
    pub created_at: OffsetDateTime,
    /// From when on it signs, until the next generation does. It is published from `created_at` on.
    pub signs_from: OffsetDateTime,
}

/// What a session is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKey {
    Id(SessionId),
    /// The hash of its session_token, or of the one before it where that was rotated.
    Token(TokenHash),
    /// What every token of a session that was rotated begins with.
    Family(FamilyHash),
    /// The access token that opened it.
    Replay(ReplayKey),
}

/// A session with its user, as one row version of each. Whether it is live is for `session` to say.
#[derive(Debug, Clone)]
pub struct StoredSession {
    pub id: SessionId,
    pub user: User,
    /// False once every session of the user was ended after this one was opened.
    pub epoch_is_current: bool,
    pub client_id: ClientId,
    pub device_fingerprint: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub first_used_at: Option<OffsetDateTime>,
    pub revoked_at: Option<OffsetDateTime>,
    pub answer_sealed: Option<Vec<u8>>,
    /// Set when it was found by the token before the current one.
    pub superseded: Option<Superseded>,
    /// How many live sessions of the user are newer, counted no further than was asked for.
    pub newer_live: u32,
}

/// The rotation that replaced the token a session was found by.
#[derive(Debug, Clone)]
pub struct Superseded {
    pub rotated_at: OffsetDateTime,
    /// The token that came after, sealed under the one that was presented; `None` once nobody may ask for it any more.
    pub successor_sealed: Option<Vec<u8>>,
}

/// A session_token to be replaced.
#[derive(Debug, Clone)]
pub struct Rotation {
    pub id: SessionId,
    pub current: TokenHash,
    pub successor: TokenHash,
    pub successor_sealed: Vec<u8>,
    pub family: FamilyHash,
    pub at: OffsetDateTime,
}

/// Sealed answers and successors that nobody may ask for any more.
#[derive(Debug, Clone)]
pub struct DeadAnswers {
    /// Answers of the sessions that were opened in this time.
    pub opened: Range<OffsetDateTime>,
    pub rotated_before: OffsetDateTime,
}

/// A session as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionSummary {
    pub id: SessionId,
    pub client_id: ClientId,
    pub operating_sys_version: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub first_used_at: Option<OffsetDateTime>,
    pub revoked_at: Option<OffsetDateTime>,
    pub epoch_is_current: bool,
}

/// A tenant's Bearer token to be kept. It dies with its app, and with the secret it was made under.
#[derive(Debug, Clone)]
pub struct NewTenantToken {
    pub token_hash: TokenHash,
    pub client_id: ClientId,
    pub secret_hash: SecretHash,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
}

/// A one-time ticket to be kept.
#[derive(Debug, Clone)]
pub struct NewTicket {
    pub ticket_hash: TokenHash,
    pub session_id: SessionId,
    /// The tenant that asked for it.
    pub client_id: ClientId,
    pub device_fingerprint: String,
    /// The one tenant that may redeem it; `None`: every tenant.
    pub redeemable_by: Option<ClientId>,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
}

/// What became of a wish for billed calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// 0 once the day has none left.
    pub granted: u32,
    /// What the day has left for whoever comes next.
    pub left: u64,
}

impl Reservation {
    /// From what the day's row says after `calls` were added to it; it is left alone once the limit is reached.
    pub(super) fn new(reserved: Option<i64>, calls: u32, limit: u64) -> Self {
        let Some(reserved) = reserved.and_then(|reserved| u64::try_from(reserved).ok()) else {
            return Self { granted: 0, left: 0 };
        };
        let within = limit.saturating_sub(reserved.saturating_sub(calls.into()));
        Self { granted: u32::try_from(within).unwrap_or(calls).min(calls), left: limit.saturating_sub(reserved) }
    }
}

/// Reads a client id that one of the stores kept.
pub(super) fn stored_client_id(text: String) -> Result<ClientId, StoreError> {
    ClientId::parse(text).map_err(|_| StoreError::Corrupt { what: "client id" })
}
