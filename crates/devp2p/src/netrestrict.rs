//! Networks that a node keeps to: geth's `--netrestrict`.

use std::{fmt, net::IpAddr, str::FromStr};

/// A list of networks. A node outside of all of them is neither dialled nor named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetRestrict(Vec<Network>);

/// All addresses that share their first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix: u8,
}

impl NetRestrict {
    /// Whether an address is in one of the networks.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(ip))
    }
}

/// Reads a comma-separated list in CIDR notation; white space and empty elements are skipped, as
/// geth does.
impl FromStr for NetRestrict {
    type Err = NetRestrictError;

    fn from_str(list: &str) -> Result<Self, NetRestrictError> {
        let list: String = list.chars().filter(|c| !c.is_whitespace()).collect();
        let networks = list.split(',').filter(|element| !element.is_empty());
        networks.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for NetRestrict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, network) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(formatter, "{comma}{}/{}", network.address, network.prefix)?;
        }
        Ok(())
    }
}

impl Network {
    pub(crate) const fn new(address: IpAddr, prefix: u8) -> Self {
        Self { address, prefix }
    }

    pub(crate) fn contains(self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                ours.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(ours), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                ours.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetRestrictError;

    fn from_str(network: &str) -> Result<Self, NetRestrictError> {
        let error = || NetRestrictError { network: network.to_owned() };
        let (address, prefix) = network.split_once('/').ok_or_else(error)?;
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let prefix: u8 = prefix.parse().map_err(|_| error())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix > bits {
            return Err(error());
        }
        Ok(Self { address, prefix })
    }
}

/// A network that is not written in CIDR notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid network {network:?}: expected <ip>/<bits>, for example 10.0.0.0/8")]
pub struct NetRestrictError {
    /// What was written.
    pub network: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(list: &str, ip: &str) -> bool {
        list.parse::<NetRestrict>().unwrap().contains(ip.parse().unwrap())
    }

    #[test]
    fn an_address_belongs_to_a_network_that_shares_its_first_bits() {
        for (list, ip, inside) in [
            ("127.0.0.0/8", "127.3.2.1", true),
            ("127.0.0.0/8", "128.0.0.1", false),
            ("10.1.2.3/16", "10.1.200.1", true),
            ("10.0.0.0/8, 192.168.1.0/24,\n", "192.168.1.255", true),
            ("10.0.0.0/8,192.168.1.0/24", "192.168.2.0", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "2001:4860::1", false),
            ("1.2.3.4/32", "1.2.3.4", true),
            ("1.2.3.4/32", "1.2.3.5", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe12::1", false),
            ("::/0", "fe12::1", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("", "1.2.3.4", false),
        ] {
            assert_eq!(contains(list, ip), inside, "{ip} in {list:?}");
        }
    }

    #[test]
    fn a_list_is_written_as_it_is_read() {
        let list: NetRestrict = "10.0.0.0/8,fd00::/8".parse().unwrap();
        assert_eq!(list.to_string(), "10.0.0.0/8,fd00::/8");
    }

    #[test]
    fn what_is_no_network_is_named() {
        for network in ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "x/8", "10.0.0.0/-1"] {
            let error = format!("10.0.0.0/8,{network}").parse::<NetRestrict>().unwrap_err();
            assert_eq!(error.network, network);
        }
    }
}
