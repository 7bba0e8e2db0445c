//! Which address a request comes from, when gateways stand in between: the walk through `X-Forwarded-For`.
//!
//! Only what a declared proxy says is believed, and of that only what it added itself: whatever stands further left may
//! be a client's own invention. It must not know HTTP's types, nor what an address is wanted for. `X-device-ip` has no
//! part in it: that is the device's own claim.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv6Net};

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    #[error("must be an address or a network, such as 10.0.0.7, 10.0.0.0/8 or fd00::/8")]
    Form,
    #[error("must not be all addresses: anybody could then give any address for their own")]
    Everybody,
    #[error("must be written as an IPv4 network: addresses in IPv6's clothes are compared as what they are")]
    MappedIpv4,
}

/// Where a request comes from, as far as that can be known. IPv4 in IPv6's clothes is IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    pub ip: IpAddr,
    /// The walk ended at a declared proxy, which named nobody: who is behind it is not known.
    pub is_proxy: bool,
}

impl TrustedProxies {
    /// The first that cannot stand, by its index, where there is one.
    pub fn parse<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<Self, (usize, InvalidProxy)> {
        let parsed = networks.into_iter().enumerate().map(|(index, text)| network(text).map_err(|why| (index, why)));
        parsed.collect::<Result<_, _>>().map(Self)
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `forwarded_for` are the values of all `X-Forwarded-For` headers in their order: one list, whose every hop was
    /// added on its right. It is walked from there past declared proxies, and no further than can be read.
    pub fn client<'a>(&self, peer: IpAddr, forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>) -> ClientAddress {
        let mut ip = peer.to_canonical();
        let mut hops = forwarded_for.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        while self.contains(ip) {
            match hops.next().and_then(hop) {
                Some(before) => ip = before,
                None => return ClientAddress { ip, is_proxy: true },
            }
        }
        ClientAddress { ip, is_proxy: false }
    }

    /// Whether this peer is a gateway whose word on a request's ids is taken: a declared proxy or, where none is declared,
    /// whoever is on this machine.
    pub fn takes_ids_from(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.contains(peer) || self.0.is_empty() && peer.is_loopback()
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&ip))
    }
}

impl ClientAddress {
    /// What stands for one customer of a network: an IPv4 address, or the /64 that one IPv6 customer has at least and
    /// may take any address from.
    pub const fn customer(self) -> IpAddr {
        match self.ip {
            IpAddr::V4(_) => self.ip,
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !(u64::MAX as u128))),
        }
    }
}

fn network(text: &str) -> Result<IpNet, InvalidProxy> {
    let text = text.trim();
    let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let network: IpNet = parsed.map_err(|_| InvalidProxy::Form)?;
    match network {
        _ if network.prefix_len() == 0 => Err(InvalidProxy::Everybody),
        IpNet::V6(network) if MAPPED_IPV4.contains(&network.addr()) => Err(InvalidProxy::MappedIpv4),
        IpNet::V4(_) | IpNet::V6(_) => Ok(network.trunc()),
    }
}

const MAPPED_IPV4: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// One hop as gateways write it: an address, with a port or in brackets or both.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(IpAddr::to_canonical(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: [&str; 3] = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"];

    /// What a request from `peer` with these headers is taken to come from; `~` marks a proxy that names nobody.
    fn client(peer: &str, forwarded_for: &[&str]) -> String {
        let proxies = TrustedProxies::parse(PROXIES).unwrap();
        let client = proxies.client(peer.parse().unwrap(), forwarded_for.iter().map(|value| value.as_bytes()));
        format!("{}{}", if client.is_proxy { "~" } else { "" }, client.ip)
    }

    #[test]
    fn the_client_is_the_rightmost_hop_that_is_no_declared_proxy() {
        for (peer, forwarded_for, expected) in [
            // Nobody asked for is believed.
            ("203.0.113.1", &[][..], "203.0.113.1"),
            ("203.0.113.1", &["198.51.100.1"], "203.0.113.1"),
            ("203.0.113.1", &["10.0.0.1"], "203.0.113.1"),
            ("192.0.2.8", &["198.51.100.1"], "192.0.2.8"),
            // One proxy, several, and what a client put in front.
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("192.0.2.7", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 10.2.2.2"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, 10.2.2.2, 192.0.2.7"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["10.9.9.9, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 10.9.9.9, 198.51.100.1, 10.2.2.2"], "198.51.100.1"),
            // Several headers are one list.
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1", "10.2.2.2"], "198.51.100.1"),
            ("10.0.0.1", &["", "198.51.100.1"], "198.51.100.1"),
            // Garbage to the left of the client changes nothing, garbage on the way ends it.
            ("10.0.0.1", &["unknown, <script>, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1, unknown"], "~10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, unknown, 10.2.2.2"], "~10.2.2.2"),
            ("10.0.0.1", &["1.1.1.1,, 10.2.2.2"], "~10.2.2.2"),
            ("10.0.0.1", &["1.1.1.1,"], "~10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1", ""], "~10.0.0.1"),
            ("10.0.0.1", &["010.0.0.1"], "~10.0.0.1"),
            ("10.0.0.1", &["1.2.3"], "~10.0.0.1"),
            ("10.0.0.1", &["1.2.3.4.5"], "~10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1;10.0.0.2"], "~10.0.0.1"),
            ("10.0.0.1", &["\u{a0}198.51.100.1"], "~10.0.0.1"),
            ("10.0.0.1", &["for=198.51.100.1"], "~10.0.0.1"),
            // Nobody but proxies.
            ("10.0.0.1", &[], "~10.0.0.1"),
            ("10.0.0.1", &["10.3.3.3, 10.2.2.2"], "~10.3.3.3"),
            // The forms in which gateways write an address.
            ("10.0.0.1", &["198.51.100.1:443"], "198.51.100.1"),
            ("10.0.0.1", &["\t198.51.100.1 ,10.2.2.2:80"], "198.51.100.1"),
            ("10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("10.0.0.1", &["2001:0DB8:0:0:0:0:0:1"], "2001:db8::1"),
            ("fd12::1", &["198.51.100.1, fd00::2"], "198.51.100.1"),
            ("10.0.0.1", &["[198.51.100.1"], "~10.0.0.1"),
            ("10.0.0.1", &["fe80::1%eth0"], "~10.0.0.1"),
            // IPv4 in IPv6's clothes, as the peer, as a proxy and as the client.
            ("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["198.51.100.1, ::ffff:10.2.2.2"], "198.51.100.1"),
            ("10.0.0.1", &["[::ffff:198.51.100.1]:1"], "198.51.100.1"),
            ("::ffff:203.0.113.1", &["198.51.100.1"], "203.0.113.1"),
        ] {
            assert_eq!(client(peer, forwarded_for), expected, "{peer} {forwarded_for:?}");
        }
    }

    #[test]
    fn without_declared_proxies_the_peer_is_the_client() {
        let peer = "10.0.0.1".parse().unwrap();
        let client = TrustedProxies::default().client(peer, [&b"198.51.100.1"[..]].into_iter());
        assert_eq!(client, ClientAddress { ip: peer, is_proxy: false });
    }

    #[test]
    fn a_header_that_is_not_text_ends_the_walk() {
        let proxies = TrustedProxies::parse(PROXIES).unwrap();
        let client = proxies.client("10.0.0.1".parse().unwrap(), [&b"198.51.100.1, \xff"[..]].into_iter());
        assert_eq!(client, ClientAddress { ip: "10.0.0.1".parse().unwrap(), is_proxy: true });
    }

    #[test]
    fn every_address_of_a_customers_ipv6_network_is_that_customer() {
        let customer = |text: &str| ClientAddress { ip: text.parse().unwrap(), is_proxy: false }.customer();
        assert_eq!(customer("2001:db8:1:2::1"), customer("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(customer("2001:db8:1:2::1"), customer("2001:db8:1:3::1"));
        assert_ne!(customer("198.51.100.1"), customer("198.51.100.2"));
    }

    #[test]
    fn a_declared_proxy_is_an_address_or_a_network_but_not_everybody() {
        let parse = |text| TrustedProxies::parse(["10.0.0.0/8", text]).map(|_| ());
        for good in ["10.0.0.7", "10.0.0.7/8", " 10.0.0.0/8 ", "fd00::/8", "::1", "0.0.0.0/1"] {
            assert_eq!(parse(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", InvalidProxy::Form),
            ("none", InvalidProxy::Form),
            ("10.0.0.0/33", InvalidProxy::Form),
            ("10.0.0.0/", InvalidProxy::Form),
            ("gateway.internal", InvalidProxy::Form),
            ("0.0.0.0/0", InvalidProxy::Everybody),
            ("::/0", InvalidProxy::Everybody),
            ("::ffff:10.0.0.0/104", InvalidProxy::MappedIpv4),
        ] {
            assert_eq!(parse(bad), Err((1, why)), "{bad}");
        }
        assert_eq!(TrustedProxies::parse(["10.0.0.7/8"]), TrustedProxies::parse(["10.0.0.0/8"]));
    }
}
