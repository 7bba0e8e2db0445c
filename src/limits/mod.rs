//! How many logins one application, one client address and one device may make: token buckets in memory, each replica's
//! own. And in [`budget`], how many calls of the verifier may be billed. It must not know requests or answers.
//!
//! Only the login is limited, since it alone costs money. Whoever guesses at session_tokens, tickets or a tenant's
//! secret has 190 bits to guess, at any rate; against a mere flood there is the gateway.

pub mod budget;

mod buckets;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::client_address::ClientAddress;
use crate::clock::Clock;
use crate::ids::ClientId;
use crate::over_limit::{Limit, OverLimit};

pub use buckets::{Buckets, Rate};

/// Addresses, and devices, that are remembered at once: 17 MiB for each of the two.
const MAX_KEYS: usize = 1 << 20;

/// Apps are registered by hand.
const MAX_APPS: usize = 1 << 12;

/// `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Config {
    pub app: Option<Rate>,
    pub address: Option<Rate>,
    pub device: Option<Rate>,
}

/// The limits of logins.
#[derive(Debug)]
pub struct Limits {
    app: Option<Buckets>,
    address: Option<Buckets>,
    device: Option<Buckets>,
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
            clock: clock.clone(),
            unknown_told: AtomicU64::new(u64::MAX),
        }
    }

    /// Counts one login. The narrowest limit is asked first: what it refuses takes nothing from a bucket that others
    /// share. What a wider one refuses has been counted against its own device and address alone.
    pub fn count_login(&self, caller: Caller<'_>) -> Result<(), OverLimit> {
        let over = |limit| move |retry_after| OverLimit { limit, retry_after };
        if let Some(device) = &self.device {
            device.take(&caller.device_fingerprint).map_err(over(Limit::Device))?;
        }
        if let Some(address) = &self.address {
            match caller.address.filter(|address| !address.is_proxy) {
                Some(client) => address.take(&client.customer()).map_err(over(Limit::Address))?,
                // All who are behind a gateway would be counted as one.
                None => self.tell_unknown(caller.address),
            }
        }
        if let Some(app) = &self.app {
            app.take(caller.app).map_err(over(Limit::App))?;
        }
        Ok(())
    }

    /// How many buckets were given up for want of room although logins were missing from them.
    pub fn forgotten(&self) -> u64 {
        [&self.app, &self.address, &self.device].into_iter().flatten().map(Buckets::forgotten).sum()
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
        let limits = limits(Config { device: rate(1), address: rate(2), app: rate(3) });
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
