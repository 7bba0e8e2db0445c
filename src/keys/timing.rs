//! How long things about a signing key last. Figures and what follows from them; no keys, no clock.

use std::time::Duration;

/// How long a verifier may keep the JWK Set, seconds: its `max-age`.
pub const JWKS_MAX_AGE_SECONDS: u64 = 300;

/// The longest that any id_token may be valid, seconds: the bound of `id_token.ttl_seconds`. Old keys stay by this bound
/// and not by the setting, which may have been larger when their last tokens were signed.
pub const LONGEST_ID_TOKEN_LIFE_SECONDS: u64 = 86_400;

/// How far a clock may be from the database's. A replica beyond it is not ready, since verifiers that allow a minute
/// would refuse its tokens, and it leaves the keys as they are.
pub const CLOCK_LIMIT: Duration = Duration::from_secs(30);

/// The lifetimes that a rotation is timed by; [`Timing::default`] in production. A run that cannot wait for minutes
/// shortens all of them in proportion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    pub jwks_max_age: Duration,
    pub longest_token_life: Duration,
    /// How far the clocks of two replicas may differ: each is at most [`CLOCK_LIMIT`] from the database's.
    pub clock_leeway: Duration,
    /// How often a replica looks for changes of the keys.
    pub refresh_interval: Duration,
    /// How old a snapshot may be before its replica is not ready.
    pub stale_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            jwks_max_age: Duration::from_secs(JWKS_MAX_AGE_SECONDS),
            longest_token_life: Duration::from_secs(LONGEST_ID_TOKEN_LIFE_SECONDS),
            clock_leeway: CLOCK_LIMIT * 2,
            refresh_interval: Duration::from_secs(5),
            stale_after: Duration::from_secs(JWKS_MAX_AGE_SECONDS / 2),
        }
    }
}

impl Timing {
    /// From a key's publication to its first signature: one max-age until every verifier must have fetched it, and one
    /// for a replica that learns of it late, a clock that is ahead and a commit that was slow.
    pub const fn lead(&self) -> Duration {
        self.jwks_max_age.saturating_mul(2)
    }

    /// How long a key is still published once its successor signs: until its last token has died by anybody's clock.
    pub const fn afterlife(&self) -> Duration {
        self.longest_token_life.saturating_add(self.jwks_max_age).saturating_add(self.clock_leeway)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lead_covers_a_late_replica_a_full_cache_and_a_clock_that_is_ahead() {
        let timing = Timing::default();
        let needed = timing.stale_after + timing.jwks_max_age + timing.clock_leeway;
        assert_eq!(timing.lead() - needed, Duration::from_secs(90), "what is left for commits and for the gateway");
    }

    #[test]
    fn an_old_key_stays_for_a_day_and_six_minutes() {
        assert_eq!(Timing::default().afterlife(), Duration::from_secs(86_400 + 300 + 60));
    }
}
