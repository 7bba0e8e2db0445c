//! The trait in front of whoever turns an access token into a phone number, and the words both sides speak.
//!
//! It must not know the store, the session or HTTP answers. Implementations: `aliyun` (production) and `sandbox`.

pub mod aliyun;
pub mod guard;
pub mod sandbox;

use std::fmt;

use async_trait::async_trait;

use crate::ids::RequestId;
use crate::over_limit::OverLimit;
use crate::phone_number::PhoneNumber;
use crate::session_token::sha256;
use crate::trace::TraceContext;

/// Exchanges a single-use access token for the phone number behind it.
///
/// Implementations bring their own deadline and their own limit of calls in flight, hold nothing of ours while they
/// wait, and never send one token twice: a call is billed, and its token is spent by it.
#[async_trait]
pub trait PhoneNumberVerifier: Send + Sync {
    async fn verify(&self, token: &AccessToken, call: &CallContext) -> Result<Verified, VerifierError>;

    /// Guards against a second use of the token, in flight and in our own store; `None` only for the sandbox's
    /// repeatable example.
    fn replay_key(&self, token: &AccessToken) -> Option<ReplayKey> {
        Some(token.replay_key())
    }
}

/// What a call is told by, here and at the verifier.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Travels along as a serial number for support cases.
    pub request_id: RequestId,
    /// The call's own span.
    pub trace: TraceContext,
}

/// What a verifier vouches for.
#[derive(Debug)]
pub struct Verified {
    pub number: PhoneNumber,
}

/// A token from Alibaba Cloud's client SDK: 1 to 4096 visible ASCII characters (0x21 to 0x7E). It is worth a login
/// until it is used, so `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an access token is 1 to 4096 visible ASCII characters")]
pub struct InvalidAccessToken;

impl AccessToken {
    pub const MAX_BYTES: usize = 4096;

    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidAccessToken> {
        let text = text.into();
        let visible = |byte: u8| (0x21..=0x7e).contains(&byte);
        if (1..=Self::MAX_BYTES).contains(&text.len()) && text.bytes().all(visible) {
            Ok(Self(text))
        } else {
            Err(InvalidAccessToken)
        }
    }

    /// SHA-256 of the token: what the replay guard keeps.
    pub fn replay_key(&self) -> ReplayKey {
        ReplayKey(sha256(self.0.as_bytes()))
    }

    /// The token itself, for the verifier's request and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

/// SHA-256 of an access token; at most one session is ever opened with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplayKey(pub [u8; 32]);

impl fmt::Debug for ReplayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReplayKey(…)")
    }
}

/// What is known of the single-use token after a failure: whether the client may send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// It surely did not reach the verifier, or the verifier surely did not take it: send it again later.
    Unspent,
    /// It was used up: fetch a new one.
    Spent,
    /// It may have been used up.
    Unknown,
}

impl TokenState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspent => "unspent",
            Self::Spent => "spent",
            Self::Unknown => "unknown",
        }
    }
}

/// Why there is no number. `code` is the verifier's own word and goes to the log, never to a client; no variant
/// carries the token or anything that echoes it.
#[derive(Debug, thiserror::Error)]
pub enum VerifierError {
    /// The token is invalid, expired or already used.
    #[error("the verifier rejected the token: {code}")]
    TokenRejected { code: String },
    /// The verifier's answer leaves open whether the token was bad; seen on the second use of one.
    #[error("the verifier gave an ambiguous answer: {code}")]
    Ambiguous { code: String },
    /// Credentials, scheme, permissions or balance are wrong: somebody must act. The token was not taken.
    #[error("the verifier refuses this deployment: {code}")]
    Misconfigured { code: String },
    /// A call was not made: too many are in flight, or the verifier throttles or is silent. Waiting helps.
    #[error("the verifier is not asked now: {reason}")]
    Busy { reason: String },
    /// The verifier sends us away: too many calls. Waiting helps; the token was not taken.
    #[error("the verifier throttles: {reason}")]
    Throttled { reason: String },
    /// No byte of the request left this machine.
    #[error("the verifier cannot be reached")]
    Unreachable(#[source] BoxError),
    /// The request may have arrived and there is no usable answer; it is never sent again.
    #[error("no usable answer from the verifier: {reason}")]
    NoAnswer {
        reason: String,
        #[source]
        source: Option<BoxError>,
    },
    /// Our own budget of billed calls has nothing left.
    #[error(transparent)]
    OverBudget(OverLimit),
    /// Whether the budget has anything left cannot be known, so nothing is spent.
    #[error("the budget of verifier calls cannot be asked for")]
    BudgetUnknown(#[source] BoxError),
    /// It answered success with something that is no whole number: masked, or junk.
    #[error("the verifier answered something that is not a phone number")]
    NotANumber,
    /// It answered with a whole number that is not a mainland mobile number.
    #[error("the verifier answered a number of another kind than a mainland mobile number")]
    UnsupportedNumber,
}

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl VerifierError {
    /// Whether the client may use its token again.
    pub const fn token_state(&self) -> TokenState {
        match self {
            Self::TokenRejected { .. } | Self::NotANumber | Self::UnsupportedNumber => TokenState::Spent,
            Self::Ambiguous { .. } | Self::NoAnswer { .. } => TokenState::Unknown,
            Self::Misconfigured { .. }
            | Self::Busy { .. }
            | Self::Throttled { .. }
            | Self::Unreachable(_)
            | Self::OverBudget(_)
            | Self::BudgetUnknown(_) => TokenState::Unspent,
        }
    }

    /// What [`VerifierError::kind`] may say of a call that was made.
    pub const KINDS: [&'static str; 9] = [
        "token_rejected",
        "ambiguous",
        "misconfigured",
        "busy",
        "throttled",
        "unreachable",
        "no_answer",
        "not_a_number",
        "unsupported_number",
    ];

    /// A short, bounded name of the kind, for metrics and logs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::TokenRejected { .. } => "token_rejected",
            Self::Ambiguous { .. } => "ambiguous",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Busy { .. } => "busy",
            Self::Throttled { .. } => "throttled",
            Self::Unreachable(_) => "unreachable",
            Self::NoAnswer { .. } => "no_answer",
            Self::OverBudget(_) => "over_budget",
            Self::BudgetUnknown(_) => "budget_unknown",
            Self::NotANumber => "not_a_number",
            Self::UnsupportedNumber => "unsupported_number",
        }
    }

    /// Whether the call may stand on the bill, which a number does that was given out, and nothing else.
    pub const fn may_be_billed(&self) -> bool {
        match self {
            Self::NoAnswer { .. } | Self::NotANumber | Self::UnsupportedNumber => true,
            Self::TokenRejected { .. }
            | Self::Ambiguous { .. }
            | Self::Misconfigured { .. }
            | Self::Busy { .. }
            | Self::Throttled { .. }
            | Self::Unreachable(_)
            | Self::OverBudget(_)
            | Self::BudgetUnknown(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_visible_ascii_of_bounded_length_and_never_shown() {
        assert!(AccessToken::parse("!~").is_ok());
        assert!(AccessToken::parse("x".repeat(4096)).is_ok());
        for bad in ["", "a b", "a\u{7f}", "a\0", "é", &"x".repeat(4097)] {
            assert_eq!(AccessToken::parse(bad), Err(InvalidAccessToken));
        }
        let token = AccessToken::parse("canary").unwrap();
        assert!(!format!("{token:?}{:?}", token.replay_key()).contains("canary"));
    }

    #[test]
    fn every_kind_is_listed() {
        let code = String::new;
        let errors = [
            VerifierError::TokenRejected { code: code() },
            VerifierError::Ambiguous { code: code() },
            VerifierError::Misconfigured { code: code() },
            VerifierError::Busy { reason: code() },
            VerifierError::Throttled { reason: code() },
            VerifierError::Unreachable("a".into()),
            VerifierError::NoAnswer { reason: code(), source: None },
            VerifierError::NotANumber,
            VerifierError::UnsupportedNumber,
        ];
        assert_eq!(errors.map(|error| error.kind()), VerifierError::KINDS);
    }
}
