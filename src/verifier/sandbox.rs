//! The sandbox verifier: tokens that say themselves which number they stand for. For development and tests; production
//! refuses to start with it.
//!
//! It must not know the store or the network. Its tokens:
//!
//! | token | what happens |
//! |---|---|
//! | `sandbox:<11 digits>[:<anything>]` | that number; another suffix makes another token |
//! | `sandbox:slow:<ms>:<11 digits>[:<anything>]` | the same, after at most 60 s |
//! | `ad12sasdsfe3dfdg3sc` | 13800000001, as often as one likes |
//! | the same with a number that is none of a mainland phone, such as `+852-91234567` | the number is not supported |
//! | `sandbox:busy` | the verifier is busy |
//! | `sandbox:invalid`, and everything else | the token is rejected |

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use super::{AccessToken, CallContext, PhoneNumberVerifier, ReplayKey, Verified, VerifierError};
use crate::phone_number::PhoneNumber;

/// The example of the API's documentation. It has no replay key, so that the example works again and again.
pub const REPEATABLE_TOKEN: &str = "ad12sasdsfe3dfdg3sc";
const REPEATABLE_NUMBER: &str = "13800000001";

const MAX_DELAY: Duration = Duration::from_secs(60);

/// How many used tokens are remembered: 2 MiB of hashes. A forgotten one is taken again here and then meets the
/// store's replay guard, which is the one that counts.
const MAX_REMEMBERED_TOKENS: usize = 65_536;

/// Like the real verifier, it takes each token once.
pub struct SandboxVerifier {
    used: Mutex<UsedTokens>,
}

impl SandboxVerifier {
    pub fn new() -> Self {
        Self { used: Mutex::new(UsedTokens::with_capacity(MAX_REMEMBERED_TOKENS)) }
    }
}

impl Default for SandboxVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SandboxVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SandboxVerifier")
    }
}

#[async_trait]
impl PhoneNumberVerifier for SandboxVerifier {
    async fn verify(&self, token: &AccessToken, _: &CallContext) -> Result<Verified, VerifierError> {
        match Wish::parse(token.expose()).ok_or_else(rejected)? {
            Wish::Repeatable(number) => Ok(Verified { number }),
            Wish::Busy => Err(VerifierError::Busy { reason: "the token asked for it".to_owned() }),
            Wish::Number { number, delay } => {
                // Taken before the wait, as by the real one, whose caller may give up before the answer.
                if !self.used.lock().unwrap_or_else(PoisonError::into_inner).take(token.replay_key()) {
                    return Err(rejected());
                }
                tokio::time::sleep(delay).await;
                let number = number.ok_or(VerifierError::UnsupportedNumber)?;
                Ok(Verified { number })
            }
        }
    }

    fn replay_key(&self, token: &AccessToken) -> Option<ReplayKey> {
        let is_repeatable = matches!(Wish::parse(token.expose()), Some(Wish::Repeatable(_)));
        (!is_repeatable).then(|| token.replay_key())
    }
}

fn rejected() -> VerifierError {
    VerifierError::TokenRejected { code: "sandbox.TOKEN_INVALID".to_owned() }
}

/// What a sandbox token asks for.
enum Wish {
    /// `None`: one of another kind than a mainland phone's.
    Number {
        number: Option<PhoneNumber>,
        delay: Duration,
    },
    Repeatable(PhoneNumber),
    Busy,
}

impl Wish {
    fn parse(token: &str) -> Option<Self> {
        if token == REPEATABLE_TOKEN {
            return PhoneNumber::from_national(REPEATABLE_NUMBER).ok().map(Self::Repeatable);
        }
        let wish = token.strip_prefix("sandbox:")?;
        if wish == "busy" {
            return Some(Self::Busy);
        }
        let (delay, number_and_suffix) = match wish.strip_prefix("slow:") {
            Some(slow) => {
                let (milliseconds, rest) = slow.split_once(':')?;
                (Duration::from_millis(milliseconds.parse().ok()?).min(MAX_DELAY), rest)
            }
            None => (Duration::ZERO, wish),
        };
        let text = number_and_suffix.split_once(':').map_or(number_and_suffix, |(text, _)| text);
        let number = PhoneNumber::from_national(text).ok();
        (number.is_some() || PhoneNumber::is_of_another_kind(text)).then_some(Self::Number { number, delay })
    }
}

/// A bounded memory, the oldest forgotten first.
struct UsedTokens {
    capacity: usize,
    known: HashSet<ReplayKey>,
    in_order: VecDeque<ReplayKey>,
}

impl UsedTokens {
    fn with_capacity(capacity: usize) -> Self {
        Self { capacity, known: HashSet::new(), in_order: VecDeque::new() }
    }

    /// False if the token was taken before.
    fn take(&mut self, token: ReplayKey) -> bool {
        if !self.known.insert(token) {
            return false;
        }
        self.in_order.push_back(token);
        if self.in_order.len() > self.capacity
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RequestId;
    use crate::trace::TraceContext;
    use crate::verifier::TokenState;

    async fn verify(verifier: &SandboxVerifier, token: &str) -> Result<Verified, VerifierError> {
        let call = CallContext { request_id: RequestId::parse("request").unwrap(), trace: TraceContext::root(false) };
        verifier.verify(&AccessToken::parse(token).unwrap(), &call).await
    }

    #[tokio::test]
    async fn a_token_names_its_number_and_works_once_but_another_suffix_is_another_token() {
        let sandbox = SandboxVerifier::new();
        for token in ["sandbox:13900001234", "sandbox:13900001234:", "sandbox:13900001234:a:b", "sandbox:13900001234:c"]
        {
            let verified = verify(&sandbox, token).await.unwrap();
            assert_eq!(verified.number.e164(), "+8613900001234");
            assert!(sandbox.replay_key(&AccessToken::parse(token).unwrap()).is_some());
            assert!(matches!(verify(&sandbox, token).await, Err(VerifierError::TokenRejected { .. })));
        }
    }

    #[tokio::test]
    async fn the_documented_example_works_again_and_again_and_leaves_no_replay_key() {
        let sandbox = SandboxVerifier::new();
        for _ in 0..3 {
            let verified = verify(&sandbox, "ad12sasdsfe3dfdg3sc").await.unwrap();
            assert_eq!(verified.number.e164(), "+8613800000001");
            assert!(sandbox.replay_key(&AccessToken::parse("ad12sasdsfe3dfdg3sc").unwrap()).is_none());
        }
    }

    #[tokio::test]
    async fn a_busy_token_is_unspent_and_stays_so() {
        let sandbox = SandboxVerifier::new();
        for _ in 0..2 {
            assert_eq!(verify(&sandbox, "sandbox:busy").await.unwrap_err().token_state(), TokenState::Unspent);
        }
    }

    #[tokio::test]
    async fn a_number_of_another_kind_is_told_and_its_token_is_spent() {
        let sandbox = SandboxVerifier::new();
        let token = "sandbox:+852-91234567:a";
        assert!(matches!(verify(&sandbox, token).await, Err(VerifierError::UnsupportedNumber)));
        assert!(matches!(verify(&sandbox, token).await, Err(VerifierError::TokenRejected { .. })));
    }

    #[tokio::test]
    async fn everything_else_is_an_invalid_token() {
        let sandbox = SandboxVerifier::new();
        for token in [
            "sandbox:invalid",
            "sandbox:",
            "sandbox",
            "sandbox:busy:",
            "sandbox:1390000123",
            "sandbox:139000012345",
            "sandbox:23900001234",
            "sandbox:139****1234",
            "sandbox:+8613900001234",
            "sandbox:slow:13900001234",
            "sandbox:slow:ten:13900001234",
            "sandbox:slow:-1:13900001234",
            "sandbox:slow:10:invalid",
            "Sandbox:13900001234",
            "13900001234",
            "ad12sasdsfe3dfdg3sc2",
        ] {
            let result = verify(&sandbox, token).await;
            assert!(matches!(result, Err(VerifierError::TokenRejected { .. })), "{token}: {result:?}");
        }
    }

    #[test]
    fn a_slow_token_waits_as_long_as_it_says_and_at_most_a_minute() {
        for (token, milliseconds) in [
            ("sandbox:slow:0:13900001234", 0),
            ("sandbox:slow:1500:13900001234:x", 1_500),
            ("sandbox:slow:99999999:13900001234", 60_000),
        ] {
            let Some(Wish::Number { number: Some(number), delay }) = Wish::parse(token) else { panic!("{token}") };
            assert_eq!((number.masked().as_str(), delay), ("139****1234", Duration::from_millis(milliseconds)));
        }
    }

    #[tokio::test]
    async fn a_slow_token_is_taken_even_if_its_caller_gives_up() {
        let sandbox = SandboxVerifier::new();
        let token = "sandbox:slow:60000:13900001234";
        assert!(tokio::time::timeout(Duration::from_millis(1), verify(&sandbox, token)).await.is_err());
        assert!(matches!(verify(&sandbox, token).await, Err(VerifierError::TokenRejected { .. })));
    }

    #[test]
    fn the_memory_of_used_tokens_forgets_the_oldest_and_never_grows_beyond_its_bound() {
        let mut used = UsedTokens::with_capacity(2);
        let token = |number: u8| ReplayKey([number; 32]);
        assert!(used.take(token(1)) && used.take(token(2)) && !used.take(token(1)));
        assert!(used.take(token(3)));
        assert!(!used.take(token(3)) && !used.take(token(2)));
        assert!(used.take(token(1)));
        assert_eq!((used.known.len(), used.in_order.len()), (2, 2));
    }
}
