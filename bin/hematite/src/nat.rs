//! `--nat`: where others reach this node.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    str::FromStr,
    time::Duration,
};

use devp2p::NodeRecord;
use eyre::{Report, Result, WrapErr, bail, eyre};
use tokio::time;

/// How long a name may take to be resolved.
const RESOLVE_PERIOD_MAX: Duration = Duration::from_secs(5);
/// Names the variable in which a manifest hands on the pod's address.
const POD_ADDRESS_VARIABLE: &str = "POD_IP";

/// How the outside address is found, in geth's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Nat {
    /// `none`: nobody is asked for it.
    Off,
    /// `any`, `upnp`, `pmp`: from whoever knows it. A pod has no router that could map ports.
    Any,
    /// `extip:IP`.
    Address(IpAddr),
    /// `extip:NAME`.
    Name(String),
}

/// Where this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// As told; nobody else is asked.
    pub(crate) external: Option<IpAddr>,
    /// What it may be, until others say where they see us.
    pub(crate) guess: Option<IpAddr>,
    /// The name that the address belongs to, if it was told by name.
    pub(crate) name: Option<String>,
}

impl FromStr for Nat {
    type Err = Report;

    fn from_str(text: &str) -> Result<Self> {
        let (mechanism, rest) = match text.split_once(':') {
            Some((mechanism, rest)) => (mechanism, Some(rest.trim())),
            None => (text, None),
        };
        let invalid = || {
            eyre!(
                "Option \"nat\": {text:?} is unknown; expected none, any, upnp, pmp, \
                 pmp:<IP address>, extip:<IP address> or extip:<host name>"
            )
        };
        match (mechanism.trim().to_ascii_lowercase().as_str(), rest) {
            ("" | "none" | "off", None) => Ok(Self::Off),
            ("any" | "auto" | "on" | "upnp" | "pmp" | "natpmp" | "nat-pmp", None) => Ok(Self::Any),
            ("pmp" | "natpmp" | "nat-pmp", Some(gateway)) => {
                gateway.parse::<IpAddr>().map(|_| Self::Any).map_err(|_| invalid())
            }
            ("extip" | "ip", Some(host)) => match host.parse() {
                Ok(ip) => Ok(Self::Address(ip)),
                Err(_) if is_name(host) => Ok(Self::Name(host.to_owned())),
                Err(_) => Err(invalid()),
            },
            _ => Err(invalid()),
        }
    }
}

impl Nat {
    /// Finds out where this node is. `towards` are nodes it talks to.
    ///
    /// # Errors
    ///
    /// If the name that was given has no address.
    pub(crate) async fn place(&self, towards: &[NodeRecord]) -> Result<Place> {
        let guess = towards.iter().find_map(way_to);
        let place = |external| Place { external, guess, name: None };
        Ok(match self {
            Self::Off => place(None),
            Self::Any => {
                tracing::info!("Ports are not mapped on routers; --nat extip:IP tells the address");
                place(pod_address(std::env::var(POD_ADDRESS_VARIABLE).ok().as_deref()))
            }
            Self::Address(ip) => place(Some(*ip)),
            Self::Name(name) => {
                let ip = resolve(name).await.wrap_err_with(|| {
                    format!(
                        "Option \"nat\": cannot resolve {name:?}; extip:<IP address> needs no name"
                    )
                })?;
                Place { external: Some(ip), guess, name: Some(name.clone()) }
            }
        })
    }
}

/// The first address of a name.
pub(crate) async fn resolve(name: &str) -> Result<IpAddr> {
    let addresses = time::timeout(RESOLVE_PERIOD_MAX, tokio::net::lookup_host((name, 0))).await;
    let mut ips: Vec<IpAddr> = match addresses {
        Ok(addresses) => addresses?.map(|address| address.ip()).collect(),
        Err(_) => bail!("no answer within {} s", RESOLVE_PERIOD_MAX.as_secs()),
    };
    // The order of answers may rotate; an address that is still good stays.
    ips.sort_unstable();
    ips.first().copied().ok_or_else(|| eyre!("it has no address"))
}

/// The address that Kubernetes gave the pod, if the manifest hands it on.
fn pod_address(variable: Option<&str>) -> Option<IpAddr> {
    let text = variable?;
    let ip = text.trim().parse().ok();
    if ip.is_none() {
        tracing::warn!(text, "{POD_ADDRESS_VARIABLE} is no IP address");
    }
    ip
}

/// This host's address on the way to a node. Nothing is sent.
fn way_to(node: &NodeRecord) -> Option<IpAddr> {
    let any: IpAddr = match node.ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(node.udp_address()).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether a text may be the name of a host.
pub(crate) fn is_name(text: &str) -> bool {
    let is_fitting = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    !text.is_empty()
        && text.len() <= 253
        && text.chars().all(is_fitting)
        && !text.chars().all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_geth_is_understood() {
        let address = |text: &str| Nat::Address(text.parse().unwrap());
        for (text, nat) in [
            ("none", Nat::Off),
            ("off", Nat::Off),
            ("", Nat::Off),
            ("any", Nat::Any),
            ("AUTO", Nat::Any),
            ("on", Nat::Any),
            ("upnp", Nat::Any),
            ("pmp", Nat::Any),
            ("pmp:192.168.0.1", Nat::Any),
            ("natpmp", Nat::Any),
            ("extip:1.2.3.4", address("1.2.3.4")),
            ("ExtIP: 1.2.3.4", address("1.2.3.4")),
            ("ip:1.2.3.4", address("1.2.3.4")),
            ("extip:fd00::1", address("fd00::1")),
            ("extip:node-0.nodes.default.svc", Nat::Name("node-0.nodes.default.svc".to_owned())),
        ] {
            assert_eq!(text.parse::<Nat>().unwrap(), nat, "{text}");
        }
    }

    #[test]
    fn other_forms_are_refused_with_those_there_are() {
        for text in [
            "extip",
            "extip:",
            "extip:1.2.3",
            "extip:a b",
            "pmp:x",
            "upnp:1.2.3.4",
            "stun",
            "none:1",
        ] {
            let error = text.parse::<Nat>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?} is unknown")), "{error}");
            assert!(error.contains("extip:<IP address>"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_name_is_resolved_and_one_without_address_is_named() {
        let place = Nat::Name("localhost".to_owned()).place(&[]).await.unwrap();
        assert!(place.external.unwrap().is_loopback());
        assert_eq!(place.name.as_deref(), Some("localhost"));
        let error = Nat::Name("no-such-host.invalid".to_owned()).place(&[]).await.unwrap_err();
        assert!(error.to_string().contains("no-such-host.invalid"));
    }

    #[test]
    fn a_pods_address_is_taken_if_it_is_one() {
        assert_eq!(pod_address(Some("10.1.2.3")), Some("10.1.2.3".parse().unwrap()));
        assert_eq!(pod_address(Some(" fd00::7\n")), Some("fd00::7".parse().unwrap()));
        assert_eq!(pod_address(Some("pod-7")), None);
        assert_eq!(pod_address(None), None);
    }

    #[tokio::test]
    async fn without_more_the_way_to_a_bootnode_is_a_guess() {
        let url = format!("enode://{}@127.0.0.1:30303", devp2p::PeerId::of(&key()));
        let place = Nat::Off.place(&[url.parse().unwrap()]).await.unwrap();
        assert_eq!((place.external, place.guess), (None, Some(Ipv4Addr::LOCALHOST.into())));
        assert_eq!(Nat::Off.place(&[]).await.unwrap().guess, None);
    }

    fn key() -> secp256k1::SecretKey {
        secp256k1::SecretKey::from_byte_array(&[7; 32]).unwrap()
    }
}
