//! How many logins one application, one client address and one device may make, and how often an address or a tenant may
//! try what is not a login: token buckets in memory, each replica's own. And in [`budget`], how many calls of the verifier
//! may be billed.
//!
//! Whoever guesses at session_tokens, tickets or a tenant's secret has 190 bits to guess, at any rate. The limits beside
//! the login's are there for the load that trying makes, and so that a leaked secret does not list all users.

pub mod budget;

mod buckets;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::client_address::ClientAddress;
use crate::clock::Clock;
use crate::ids::ClientId;
use crate::over_limit::{Limit, OverLimit};

pub use buckets::{Buckets, Rate};

/// Addresses, and devices, that are remembered at once: 17 MiB for each limit.
const MAX_KEYS: usize = 1 << 20;

/// Those who got something wrong, remembered at once: 1 MiB.
const MAX_SUSPECTS: usize = 1 << 16;

/// Apps are registered by hand.
const MAX_APPS: usize = 1 << 12;

/// `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Config {
    pub app: Option<Rate>,
    pub address: Option<Rate>,
    pub device: Option<Rate>,
    pub rejected_tokens: Option<Rate>,
    pub session_calls: Option<Rate>,
    pub wrong_secrets: Option<Rate>,
    pub look_ups: Option<Rate>,
}

#[derive(Debug)]
pub struct Limits {
    app: Option<Buckets>,
    address: Option<Buckets>,
    device: Option<Buckets>,
    /// By address: each token that the verifier did not take.
    rejected_tokens: Option<Buckets>,
    /// By address.
    session_calls: Option<Buckets>,
    /// By tenant and address.
    wrong_secrets: Option<Buckets>,
    /// By tenant.
    look_ups: Option<Buckets>,
    clock: Clock,
    /// The minute in which it was last said that nobody can be counted by address.
    unknown_told: AtomicU64,
}

/// Whose login it is.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    pub app: &'a ClientId,
    /// `None` where the server did not say who the peer is.
    pub address: Option<ClientAddress>,
    pub device_fingerprint: &'a str,
}

impl Limits {
    pub fn new(config: Config, clock: Clock) -> Self {
        let buckets = |rate: Option<Rate>, capacity| rate.map(|rate| Buckets::new(rate, capacity, clock.clone()));
        Self {
            app: buckets(config.app, MAX_APPS),
            address: buckets(config.address, MAX_KEYS),
            device: buckets(config.device, MAX_KEYS),
            rejected_tokens: buckets(config.rejected_tokens, MAX_SUSPECTS),
            session_calls: buckets(config.session_calls, MAX_KEYS),
            wrong_secrets: buckets(config.wrong_secrets, MAX_SUSPECTS),
            look_ups: buckets(config.look_ups, MAX_APPS),
            clock: clock.clone(),
            unknown_told: AtomicU64::new(u64::MAX),
        }
    }

    /// Counts one login. The narrowest limit is asked first: what it refuses takes nothing from a bucket that others
    /// share. What a wider one refuses has been counted against its own device and address alone.
    pub fn count_login(&self, caller: Caller<'_>) -> Result<(), OverLimit> {
        if let (Some(rejected), Some(client)) = (&self.rejected_tokens, customer(caller.address)) {
            rejected.ask(&client).map_err(over(Limit::RejectedTokens))?;
        }
        if let Some(device) = &self.device {
            device.take(&caller.device_fingerprint).map_err(over(Limit::Device))?;
        }
        if let Some(address) = &self.address {
            match customer(caller.address) {
                Some(client) => address.take(&client).map_err(over(Limit::Address))?,
                // All who are behind a gateway would be counted as one.
                None => self.tell_unknown(caller.address),
            }
        }
        if let Some(app) = &self.app {
            app.take(caller.app).map_err(over(Limit::App))?;
        }
        Ok(())
    }

    /// Counts a token that the verifier did not take: each costs a call of it.
    pub fn count_rejected_token(&self, caller: Caller<'_>) {
        if let (Some(rejected), Some(client)) = (&self.rejected_tokens, customer(caller.address)) {
            rejected.take(&client).ok();
        }
    }

    /// Counts a refresh or a log-out.
    pub fn count_session_call(&self, address: Option<ClientAddress>) -> Result<(), OverLimit> {
        match (&self.session_calls, customer(address)) {
            (Some(calls), Some(client)) => calls.take(&client).map_err(over(Limit::SessionCalls)),
            _ => Ok(()),
        }
    }

    /// Whether a tenant's secret may be tried from there.
    pub fn check_secret_try(&self, tenant: &ClientId, address: Option<ClientAddress>) -> Result<(), OverLimit> {
        match (&self.wrong_secrets, customer(address)) {
            (Some(wrong), Some(client)) => wrong.ask(&(tenant, client)).map_err(over(Limit::WrongSecrets)),
            _ => Ok(()),
        }
    }

    pub fn count_wrong_secret(&self, tenant: &ClientId, address: Option<ClientAddress>) {
        if let (Some(wrong), Some(client)) = (&self.wrong_secrets, customer(address)) {
            wrong.take(&(tenant, client)).ok();
        }
    }

    /// Counts a look-up of a user by number.
    pub fn count_look_up(&self, tenant: &ClientId) -> Result<(), OverLimit> {
        self.look_ups.as_ref().map_or(Ok(()), |look_ups| look_ups.take(tenant).map_err(over(Limit::LookUps)))
    }

    /// How many buckets were given up for want of room although logins were missing from them.
    pub fn forgotten(&self) -> u64 {
        let Self { app, address, device, rejected_tokens, session_calls, wrong_secrets, look_ups, .. } = self;
        let all = [app, address, device, rejected_tokens, session_calls, wrong_secrets, look_ups];
        all.into_iter().flatten().map(Buckets::forgotten).sum()
    }

    /// Once a minute: the address limit does not hold for such logins, which should not go unnoticed.
    fn tell_unknown(&self, address: Option<ClientAddress>) {
        let minute = self.clock.monotonic().as_secs() / 60;
        if self.unknown_told.swap(minute, Ordering::Relaxed) != minute {
            tracing::warn!(
                proxy.address = address.map(|address| tracing::field::display(address.ip)),
                "a gateway names no client in X-Forwarded-For: its logins are not limited by address"
            );
        }
    }
}

fn over(limit: Limit) -> impl FnOnce(Duration) -> OverLimit {
    move |retry_after| OverLimit { limit, retry_after }
}

/// Whom an address counts for. Nobody, where it is a gateway's: all who are behind it would be counted as one.
fn customer(address: Option<ClientAddress>) -> Option<IpAddr> {
    address.filter(|address| !address.is_proxy).map(ClientAddress::customer)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use time::OffsetDateTime;

    use super::*;

    fn rate(burst: u32) -> Option<Rate> {
        let burst = NonZeroU32::new(burst).unwrap();
        Some(Rate { per_minute: burst, burst })
    }

    fn limits(config: Config) -> Limits {
        Limits::new(config, Clock::manual(OffsetDateTime::UNIX_EPOCH))
    }

    fn count(limits: &Limits, address: &str, device_fingerprint: &str) -> Result<(), Limit> {
        let app = ClientId::parse("shop").unwrap();
        let address = Some(ClientAddress { ip: address.parse().unwrap(), is_proxy: false });
        limits.count_login(Caller { app: &app, address, device_fingerprint }).map_err(|over| over.limit)
    }

    #[test]
    fn what_a_narrower_limit_refuses_takes_nothing_from_a_wider_one() {
        let limits = limits(Config { device: rate(1), address: rate(2), app: rate(3), ..Config::default() });
        assert_eq!(count(&limits, "198.51.100.1", "a"), Ok(()));
        for _ in 0..10 {
            assert_eq!(count(&limits, "198.51.100.1", "a"), Err(Limit::Device));
        }
        assert_eq!(count(&limits, "198.51.100.1", "b"), Ok(()));
        for other in 0..10 {
            assert_eq!(count(&limits, "198.51.100.1", &format!("c{other}")), Err(Limit::Address));
        }
        assert_eq!(count(&limits, "198.51.100.2", "d"), Ok(()));
        assert_eq!(count(&limits, "198.51.100.3", "e"), Err(Limit::App));
    }

    #[test]
    fn nobody_is_counted_by_the_address_of_a_gateway() {
        let limits = limits(Config { address: rate(1), ..Config::default() });
        let app = ClientId::parse("shop").unwrap();
        let proxy = Some(ClientAddress { ip: "10.0.0.1".parse().unwrap(), is_proxy: true });
        for address in [proxy, None, proxy, None] {
            assert_eq!(limits.count_login(Caller { app: &app, address, device_fingerprint: "a" }), Ok(()));
        }
        assert_eq!(count(&limits, "10.0.0.1", "a"), Ok(()));
        assert_eq!(count(&limits, "10.0.0.1", "a"), Err(Limit::Address));
    }

    #[test]
    fn without_limits_everybody_passes() {
        let limits = limits(Config::default());
        assert!((0..10_000).all(|_| count(&limits, "198.51.100.1", "a").is_ok()));
    }
}
