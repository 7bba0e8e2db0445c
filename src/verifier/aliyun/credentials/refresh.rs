//! Keeps the credentials of a role fresh, beside the logins: asks ahead of their end, asks again when that fails, and
//! keeps the last ones meanwhile.
//!
//! When to ask is decided by the wall clock, since that is what an expiration is; a machine that slept asks on waking.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use time::OffsetDateTime;

use super::ecs::EcsRole;
use super::fetch::{FetchError, Temporary};
use super::oidc::OidcRole;
use super::{Credentials, CredentialsSource, NoCredentials};
use crate::clock::Clock;
use crate::error_chain::Chain;
use crate::verifier::aliyun::iso_8601;

/// This long before their end, new ones are asked for.
const LEAD: Duration = Duration::from_secs(15 * 60);

/// Between two questions that were answered: the metadata service may hand out the same credentials a while longer.
const SHORTEST_PAUSE: Duration = Duration::from_secs(60);

/// After a failure: doubled from the first to the last, and of each a random part from a half to all, so that replicas
/// that failed together do not come back together.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Who gives the credentials.
#[derive(Debug)]
pub enum Role {
    Oidc(OidcRole),
    Ecs(EcsRole),
}

impl Role {
    async fn fetch(&self) -> Result<Temporary, FetchError> {
        match self {
            Self::Oidc(role) => role.fetch().await,
            Self::Ecs(role) => role.fetch().await,
        }
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Oidc(_) => "oidc",
            Self::Ecs(_) => "ecs",
        }
    }
}

/// A role's credentials, as fresh as could be had. One per process.
#[derive(Debug)]
pub struct RefreshedCredentials {
    role: Role,
    clock: Clock,
    state: RwLock<State>,
}

#[derive(Debug, Clone)]
struct State {
    current: Result<Arc<Credentials>, NoCredentials>,
    due: OffsetDateTime,
    /// Since the last success.
    failures: u32,
}

impl RefreshedCredentials {
    /// Has none until the first [`Self::refresh_if_due`].
    pub fn new(role: Role, clock: Clock) -> Self {
        let reason = "nobody was asked so far".to_owned();
        let current = Err(NoCredentials::NotYet { reason });
        Self { role, clock, state: RwLock::new(State { current, due: OffsetDateTime::UNIX_EPOCH, failures: 0 }) }
    }

    /// Refreshes until it is dropped.
    pub async fn keep_fresh(&self) {
        loop {
            self.refresh_if_due().await;
            tokio::time::sleep(TICK).await;
        }
    }

    /// Asks once if it is time to, which takes as long as the role's time-out at most. A failure is logged and kept as
    /// the reason why there are none, if there are none.
    pub async fn refresh_if_due(&self) {
        let State { current, due, failures } = self.state().clone();
        if self.clock.now() < due {
            return;
        }
        let fetched = self.role.fetch().await;
        let now = self.clock.now();
        let next = match fetched {
            Ok(Temporary { credentials, expires_at }) => {
                let due = next_refresh(now, expires_at);
                tracing::info!(
                    credentials.source = self.role.as_str(),
                    credentials.expires_at = iso_8601(expires_at),
                    credentials.next_refresh = iso_8601(due),
                    "got credentials for Alibaba Cloud"
                );
                State { current: Ok(Arc::new(credentials)), due, failures: 0 }
            }
            Err(error) => {
                let pause = retry_pause(failures, random_byte());
                tracing::warn!(
                    error = %Chain(&error),
                    credentials.source = self.role.as_str(),
                    credentials.failures = failures.saturating_add(1),
                    credentials.kept = current.is_ok(),
                    retry_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    "cannot get credentials for Alibaba Cloud"
                );
                let current = current.map_err(|_| error.no_credentials());
                State { current, due: now + pause, failures: failures.saturating_add(1) }
            }
        };
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CredentialsSource for RefreshedCredentials {
    fn current(&self) -> Result<Arc<Credentials>, NoCredentials> {
        self.state().current.clone()
    }
}

fn next_refresh(now: OffsetDateTime, expires_at: OffsetDateTime) -> OffsetDateTime {
    (expires_at - LEAD).max(now + SHORTEST_PAUSE)
}

fn retry_pause(failures_before: u32, random: u8) -> Duration {
    let full = FIRST_RETRY.saturating_mul(1 << failures_before.min(16)).min(LAST_RETRY);
    full / 2 + full / 2 * u32::from(random) / u32::from(u8::MAX)
}

fn random_byte() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).expect("the operating system gives random bytes");
    byte[0]
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn new_credentials_are_asked_for_a_quarter_of_an_hour_ahead_and_never_in_a_hurry() {
        let now = datetime!(2026-03-01 08:30:00 UTC);
        for (expires_at, next) in [
            (datetime!(2026-03-01 09:30:00 UTC), datetime!(2026-03-01 09:15:00 UTC)),
            (datetime!(2026-03-01 08:50:00 UTC), datetime!(2026-03-01 08:35:00 UTC)),
            (datetime!(2026-03-01 08:45:30 UTC), datetime!(2026-03-01 08:31:00 UTC)),
            (datetime!(2026-03-01 08:30:01 UTC), datetime!(2026-03-01 08:31:00 UTC)),
        ] {
            assert_eq!(next_refresh(now, expires_at), next);
        }
    }

    #[test]
    fn retries_come_slower_each_time_with_a_bound_and_a_random_part() {
        let seconds = |failures, random| retry_pause(failures, random).as_secs_f64();
        assert_eq!([0, 1, 2, 3, 4, 5, 6, u32::MAX].map(|n| seconds(n, 255)), [2., 4., 8., 16., 32., 60., 60., 60.]);
        assert_eq!([0, 1, u32::MAX].map(|n| seconds(n, 0)), [1., 2., 30.]);
        assert!((1.0..2.0).contains(&seconds(0, 128)));
    }
}
