//! Who a node is, and where it can be reached.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use primitives::{B256, hex, keccak256};
use secp256k1::{PublicKey, SecretKey};

use crate::{Enr, EnrError};

/// The scheme of a node's URL.
const SCHEME: &str = "enode://";

/// A node's public key: the 64 bytes of an uncompressed point on secp256k1, which are on the curve.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(PublicKey);

impl PeerId {
    /// The id that belongs to a node's secret key.
    #[must_use]
    pub fn of(key: &SecretKey) -> Self {
        Self(PublicKey::from_secret_key_global(key))
    }

    /// Reads 64 bytes.
    ///
    /// # Errors
    ///
    /// If they are no point on the curve.
    pub fn from_bytes(bytes: &[u8; 64]) -> Result<Self, RecordError> {
        let mut uncompressed = [4; 65];
        uncompressed[1..].copy_from_slice(bytes);
        PublicKey::from_slice(&uncompressed).map(Self).map_err(|_| RecordError::NotOnCurve)
    }

    /// The 64 bytes, x before y.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(&self.0.serialize_uncompressed()[1..]);
        bytes
    }

    /// The point.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.0
    }

    /// The node id of discovery: the Keccak hash of the 64 bytes.
    #[must_use]
    pub fn node_id(&self) -> B256 {
        keccak256(self.to_bytes())
    }
}

impl From<PublicKey> for PeerId {
    fn from(key: PublicKey) -> Self {
        Self(key)
    }
}

/// As in logs: enough to tell peers apart.
impl fmt::Debug for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(&self.to_bytes()[..8]))
    }
}

/// The 128 digits of an enode URL.
impl fmt::Display for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.to_bytes()))
    }
}

/// A node: who, and at which address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeRecord {
    /// Its key.
    pub id: PeerId,
    /// Its address.
    pub ip: IpAddr,
    /// Port of RLPx; 0 if it takes no connections.
    pub tcp: u16,
    /// Port of discovery; 0 if it has none.
    pub udp: u16,
}

impl NodeRecord {
    /// Where it takes connections.
    #[must_use]
    pub const fn tcp_address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.tcp)
    }

    /// Where it answers discovery.
    #[must_use]
    pub const fn udp_address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.udp)
    }
}

/// An enode URL, as geth writes it.
impl fmt::Display for NodeRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}@{}", self.id, self.tcp_address())?;
        if self.udp == self.tcp { Ok(()) } else { write!(formatter, "?discport={}", self.udp) }
    }
}

/// Reads `enode://<128 digits>@<ip>:<tcp>[?discport=<udp>]`, or the text of a signed record. Names
/// are for the caller to resolve.
impl FromStr for NodeRecord {
    type Err = RecordError;

    fn from_str(url: &str) -> Result<Self, RecordError> {
        if url.starts_with(Enr::SCHEME) {
            let enr: Enr = url.parse().map_err(RecordError::Enr)?;
            return enr.node().ok_or(RecordError::NoPlace);
        }
        let rest = url.strip_prefix(SCHEME).ok_or(RecordError::NotEnode)?;
        let (id, rest) = rest.split_once('@').ok_or(RecordError::NoAddress)?;
        let bytes: [u8; 64] = hex::decode_to_array(id).map_err(|_| RecordError::BadId)?;
        let id = PeerId::from_bytes(&bytes)?;
        let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
        let address: SocketAddr = address.parse().map_err(|_| RecordError::BadAddress)?;
        let udp = match query.strip_prefix("discport=") {
            Some(port) => port.parse().map_err(|_| RecordError::BadPort)?,
            None => address.port(),
        };
        Ok(Self { id, ip: address.ip(), tcp: address.port(), udp })
    }
}

/// Why something is not a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Another scheme.
    #[error("not an enode URL: it should begin with enode:// or enr:")]
    NotEnode,
    /// No `@`.
    #[error("enode URL without an address: expected enode://<128 hex digits>@<ip>:<port>")]
    NoAddress,
    /// The part before `@`.
    #[error("invalid node id: expected 128 hex digits")]
    BadId,
    /// Well-formed, but not a key.
    #[error("invalid public key: not a point on the curve secp256k1")]
    NotOnCurve,
    /// The part after `@`.
    #[error("invalid address: expected <ip>:<port>")]
    BadAddress,
    /// The port of discovery.
    #[error("invalid discport: expected a number up to 65535")]
    BadPort,
    /// A signed record, but a bad one.
    #[error(transparent)]
    Enr(EnrError),
    /// A signed record of a node that does not say where it is.
    #[error("node record without an IP address")]
    NoPlace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written_as_geth_does() {
        let id = PeerId::of(&SecretKey::from_slice(&[7; 32]).unwrap());
        for tail in ["10.3.58.6:30303?discport=30301", "[2001:db8::1]:30303", "127.0.0.1:0"] {
            let url = format!("enode://{id}@{tail}");
            assert_eq!(url.parse::<NodeRecord>().unwrap().to_string(), url);
        }
    }

    #[test]
    fn the_text_of_a_signed_record_is_a_node_too() {
        let key = SecretKey::from_slice(&[7; 32]).unwrap();
        let url = format!("enode://{}@10.3.58.6:30303?discport=30301", PeerId::of(&key));
        let node: NodeRecord = url.parse().unwrap();
        let enr = crate::LocalRecord::new(key, node, None, 1).enr().to_string();
        assert_eq!(enr.parse(), Ok(node));
        let forged = enr.replace(&enr[10..14], "AAAA");
        assert!(matches!(forged.parse::<NodeRecord>(), Err(RecordError::Enr(_))));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said() {
        let id = PeerId::of(&SecretKey::from_slice(&[7; 32]).unwrap());
        let off_curve = "11".repeat(64);
        for (url, error) in [
            ("http://x".to_owned(), RecordError::NotEnode),
            (format!("enode://{id}"), RecordError::NoAddress),
            ("enode://12@1.2.3.4:1".to_owned(), RecordError::BadId),
            (format!("enode://{off_curve}@1.2.3.4:1"), RecordError::NotOnCurve),
            (format!("enode://{id}@host:1"), RecordError::BadAddress),
            (format!("enode://{id}@1.2.3.4:1?discport=x"), RecordError::BadPort),
        ] {
            assert_eq!(url.parse::<NodeRecord>(), Err(error));
        }
    }
}
