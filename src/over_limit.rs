//! What is said of a call that went beyond a limit: which limit, and when to come again. Knows no figures of any.

use std::time::Duration;

/// The limits there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Logins of one application.
    App,
    /// Logins from one client address.
    Address,
    /// Logins with one device fingerprint.
    Device,
    /// Logins from one client address whose token the verifier did not take.
    RejectedTokens,
    /// Refreshes and log-outs from one client address.
    SessionCalls,
    /// Wrong secrets for one tenant from one client address.
    WrongSecrets,
    /// Look-ups of users by number by one tenant.
    LookUps,
    /// Billed calls of the verifier in a minute.
    VerifierMinute,
    /// Billed calls of the verifier in a day.
    VerifierDay,
}

impl Limit {
    /// Those that a login may reach.
    pub const OF_LOGINS: [Self; 6] =
        [Self::App, Self::Address, Self::Device, Self::RejectedTokens, Self::VerifierMinute, Self::VerifierDay];

    /// Those of other calls.
    pub const OF_OTHERS: [Self; 3] = [Self::SessionCalls, Self::WrongSecrets, Self::LookUps];

    /// Short and bounded, for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Address => "address",
            Self::Device => "device",
            Self::RejectedTokens => "rejected_tokens",
            Self::SessionCalls => "session_calls",
            Self::WrongSecrets => "wrong_secrets",
            Self::LookUps => "look_ups",
            Self::VerifierMinute => "verifier_minute",
            Self::VerifierDay => "verifier_day",
        }
    }
}

/// Refused for now, with nothing spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit `{}` is reached", limit.as_str())]
pub struct OverLimit {
    pub limit: Limit,
    /// Until trying again may help.
    pub retry_after: Duration,
}

/// An operator may raise a limit meanwhile, or a client may have found another network: nobody is sent away for longer.
const LONGEST_RETRY_AFTER_SECONDS: u32 = 3_600;

impl OverLimit {
    /// For `Retry-After`: whole seconds, rounded up, from 1 to 3600.
    pub fn retry_after_seconds(&self) -> u32 {
        let whole = self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0);
        u32::try_from(whole).unwrap_or(u32::MAX).clamp(1, LONGEST_RETRY_AFTER_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_told_in_whole_seconds_rounded_up_and_for_an_hour_at_most() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60), (86_400_000, 3_600)] {
            let over = OverLimit { limit: Limit::App, retry_after: Duration::from_millis(millis) };
            assert_eq!(over.retry_after_seconds(), seconds, "{millis} ms");
        }
    }
}
