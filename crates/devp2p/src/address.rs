//! Which addresses may be named by whom.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::netrestrict::Network;

/// Networks of a site.
const LAN: &[Network] = &[
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v6([0xfe80, 0, 0], 10),
    v6([0xfc00, 0, 0], 7),
];

/// Networks where no node can be
/// ([IPv4](https://www.iana.org/assignments/iana-ipv4-special-registry/),
/// [IPv6](https://www.iana.org/assignments/iana-ipv6-special-registry/)), as geth has them.
const SPECIAL: &[Network] = &[
    v4([192, 0, 0, 0], 29),
    v4([192, 0, 0, 9], 32),
    v4([192, 0, 0, 170], 32),
    v4([192, 0, 0, 171], 32),
    v4([192, 0, 2, 0], 24),
    v4([192, 31, 196, 0], 24),
    v4([192, 52, 193, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 175, 48, 0], 24),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([255, 255, 255, 255], 32),
    v6([0x100, 0, 0], 64),
    v6([0x2001, 0, 0], 32),
    Network::new(IpAddr::V6(Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1)), 128),
    v6([0x2001, 2, 0], 48),
    v6([0x2001, 3, 0], 32),
    v6([0x2001, 4, 0x112], 48),
    v6([0x2001, 5, 0], 32),
    v6([0x2001, 0x10, 0], 28),
    v6([0x2001, 0x20, 0], 28),
    v6([0x2001, 0xdb8, 0], 32),
    v6([0x2002, 0, 0], 16),
];

/// Why a node cannot be where another node says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// 0.0.0.0 or ::.
    #[error("unspecified address")]
    Unspecified,
    /// Multicast, broadcast, documentation and the like.
    #[error("address of a special network")]
    Special,
    /// Would lead us to ourselves.
    #[error("loopback address from another host")]
    Loopback,
    /// Would lead us into our own network.
    #[error("address of a local network from outside")]
    Lan,
}

/// Whether an address is on this host or this site.
#[must_use]
pub fn is_lan(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback() || is_in(LAN, ip)
}

/// Whether a node at `sender` may say that there is a node at `ip`: geth's `CheckRelayIP`.
///
/// # Errors
///
/// If no node can be there, or if only a node on the same side could know of it.
pub fn check_relayed(sender: IpAddr, ip: IpAddr) -> Result<(), RelayError> {
    let (sender, ip) = (sender.to_canonical(), ip.to_canonical());
    if ip.is_unspecified() {
        Err(RelayError::Unspecified)
    } else if ip.is_multicast() || is_in(SPECIAL, ip) {
        Err(RelayError::Special)
    } else if ip.is_loopback() && !sender.is_loopback() {
        Err(RelayError::Loopback)
    } else if is_lan(ip) && !is_lan(sender) {
        Err(RelayError::Lan)
    } else {
        Ok(())
    }
}

fn is_in(networks: &[Network], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(ip))
}

const fn v4(octets: [u8; 4], prefix: u8) -> Network {
    let [a, b, c, d] = octets;
    Network::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix)
}

const fn v6(groups: [u16; 3], prefix: u8) -> Network {
    let [a, b, c] = groups;
    Network::new(IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sender: &str, ip: &str) -> Result<(), RelayError> {
        check_relayed(sender.parse().unwrap(), ip.parse().unwrap())
    }

    #[test]
    fn an_address_is_believed_only_from_its_own_side() {
        for (sender, ip, verdict) in [
            ("8.8.8.8", "1.1.1.1", Ok(())),
            ("8.8.8.8", "10.0.0.1", Err(RelayError::Lan)),
            ("8.8.8.8", "127.0.0.1", Err(RelayError::Loopback)),
            ("10.0.0.1", "127.0.0.1", Err(RelayError::Loopback)),
            ("10.0.0.1", "192.168.1.1", Ok(())),
            ("10.0.0.1", "1.1.1.1", Ok(())),
            ("127.0.0.1", "127.0.0.2", Ok(())),
            ("127.0.0.1", "0.0.0.0", Err(RelayError::Unspecified)),
            ("127.0.0.1", "224.0.0.1", Err(RelayError::Special)),
            ("127.0.0.1", "255.255.255.255", Err(RelayError::Special)),
            ("127.0.0.1", "192.0.2.7", Err(RelayError::Special)),
            ("127.0.0.1", "2001:db8::1", Err(RelayError::Special)),
            ("8.8.8.8", "fd00::1", Err(RelayError::Lan)),
            ("8.8.8.8", "::ffff:10.0.0.1", Err(RelayError::Lan)),
            ("8.8.8.8", "::1", Err(RelayError::Loopback)),
            ("8.8.8.8", "2a00::1", Ok(())),
        ] {
            assert_eq!(check(sender, ip), verdict, "{ip} from {sender}");
        }
    }

    #[test]
    fn hosts_of_a_site_are_on_its_lan() {
        for ip in
            ["127.9.9.9", "10.2.3.4", "172.31.0.1", "192.168.0.1", "::1", "fe80::1", "fd00::1"]
        {
            assert!(is_lan(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["172.32.0.1", "192.169.0.1", "11.0.0.1", "2a00::1"] {
            assert!(!is_lan(ip.parse().unwrap()), "{ip}");
        }
    }
}
