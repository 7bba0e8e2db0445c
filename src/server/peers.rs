//! How many connections each peer has open, so that one machine cannot take all the places. It must not know who the
//! exempt peers are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client_address::{ClientAddress, TrustedProxies};

#[derive(Debug)]
pub(super) struct Peers {
    most: usize,
    exempt: TrustedProxies,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of a peer, counted until this is dropped.
#[derive(Debug)]
pub(super) struct PeerPlace {
    peers: Arc<Peers>,
    /// `None` of an exempt one.
    peer: Option<IpAddr>,
}

impl Peers {
    pub fn new(most: usize, exempt: TrustedProxies) -> Self {
        Self { most, exempt, open: Mutex::default() }
    }

    /// `None` if the peer has as many as it may have.
    pub fn place(self: &Arc<Self>, ip: IpAddr) -> Option<PeerPlace> {
        let address = ClientAddress { ip: ip.to_canonical(), is_proxy: false };
        let peer = (!self.exempt.contains(address.ip)).then(|| address.customer());
        if let Some(peer) = peer {
            let mut open = self.open();
            let count = open.entry(peer).or_default();
            if *count >= self.most {
                return None;
            }
            *count += 1;
        }
        Some(PeerPlace { peers: Arc::clone(self), peer })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let Some(peer) = self.peer else { return };
        let mut open = self.peers.open();
        if let Some(count) = open.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_so_many_places_and_gets_them_back() {
        let peers = Arc::new(Peers::new(2, TrustedProxies::parse(["10.0.0.0/8"]).unwrap()));
        let place = |ip: &str| peers.place(ip.parse().unwrap());
        let (first, second) = (place("192.0.2.1"), place("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(place("192.0.2.1").is_none(), "two are taken");
        let other = place("192.0.2.2");
        assert!(other.is_some(), "another peer's are its own");
        drop(first);
        assert!(place("192.0.2.1").is_some());

        let (one, two) = (place("2001:db8:1:2::1"), place("2001:db8:1:2::2"));
        assert!(one.is_some() && two.is_some());
        assert!(place("2001:db8:1:2:ffff::3").is_none(), "a /64 is one peer");

        let proxies: Vec<_> = (0..10).map(|_| place("10.1.2.3")).collect();
        assert!(proxies.iter().all(Option::is_some), "an exempt peer has any number");
        drop((second, other, one, two, proxies));
        assert!(peers.open().is_empty());
    }
}
