//! Datagrams: hash ‖ signature ‖ type ‖ RLP
//! ([discv4](https://github.com/ethereum/devp2p/blob/master/discv4.md)).
//!
//! As [EIP-8](https://eips.ethereum.org/EIPS/eip-8) wants, further elements of a list and bytes
//! after it are skipped.

use std::net::{IpAddr, SocketAddr};

use alloy_rlp::{Decodable, Encodable, Header};
use primitives::{B256, keccak256};
use secp256k1::{
    Message, SECP256K1, SecretKey,
    ecdsa::{RecoverableSignature, RecoveryId},
};

use crate::{NodeRecord, PeerId};

/// Longest datagram, in bytes.
pub const DATAGRAM_BYTES_MAX: usize = 1_280;
/// Shortest datagram: hash, signature and type.
pub const DATAGRAM_BYTES_MIN: usize = SIGNED_AT + 1;
/// Nodes in one [`Packet::Neighbors`]: as many as fit with IPv6 addresses.
pub const NEIGHBORS_MAX: usize = 12;

const HASH_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 65;
/// What is signed begins here.
const SIGNED_AT: usize = HASH_BYTES + SIGNATURE_BYTES;
/// The version of the protocol that pings say; nobody checks it.
const VERSION: u64 = 4;

/// What a datagram says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Are you there?
    Ping {
        /// Where the sender thinks it is; only the TCP port is of use.
        from: Endpoint,
        /// Where the sender thinks we are.
        to: Endpoint,
        /// Unix time after which it is void, in seconds.
        expiration: u64,
        /// The sequence of the sender's record.
        enr_sequence: Option<u64>,
    },
    /// I am.
    Pong {
        /// Where the ping came from.
        to: Endpoint,
        /// The hash of the ping's datagram.
        ping_hash: B256,
        /// Unix time after which it is void, in seconds.
        expiration: u64,
        /// The sequence of the sender's record.
        enr_sequence: Option<u64>,
    },
    /// Whom do you know near this key?
    FindNode {
        /// A public key, or 64 random bytes.
        target: [u8; 64],
        /// Unix time after which it is void, in seconds.
        expiration: u64,
    },
    /// Those.
    Neighbors {
        /// At most [`NEIGHBORS_MAX`] of ours; a stranger's are limited by the datagram.
        nodes: Vec<Neighbor>,
        /// Unix time after which it is void, in seconds.
        expiration: u64,
    },
    /// Send me your record ([EIP-868](https://eips.ethereum.org/EIPS/eip-868)).
    EnrRequest {
        /// Unix time after which it is void, in seconds.
        expiration: u64,
    },
    /// Here it is.
    EnrResponse {
        /// The hash of the request's datagram.
        request_hash: B256,
        /// The record in RLP, not verified.
        record: Vec<u8>,
    },
}

/// An address as packets have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// `None` if it is neither 4 nor 16 bytes long.
    pub ip: Option<IpAddr>,
    /// Port of discovery.
    pub udp: u16,
    /// Port of RLPx.
    pub tcp: u16,
}

/// A node as others name it. The key may not be on the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbor {
    /// Where it is said to be.
    pub endpoint: Endpoint,
    /// Its id.
    pub id: [u8; 64],
}

/// A datagram that is well-formed. Whose it is costs a recovery: [`Envelope::sender`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Names the datagram in answers.
    pub hash: B256,
    /// What it says.
    pub packet: Packet,
    signature: [u8; SIGNATURE_BYTES],
    digest: B256,
}

impl Packet {
    /// Signs a packet: the datagram, and its hash.
    ///
    /// # Panics
    ///
    /// Never: a hash is always a message.
    #[must_use]
    pub fn seal(&self, key: &SecretKey) -> (Vec<u8>, B256) {
        let mut datagram = vec![0; SIGNED_AT];
        self.encode(&mut datagram);
        let digest = keccak256(&datagram[SIGNED_AT..]);
        let signature = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(digest.0), key);
        let (recovery, compact) = signature.serialize_compact();
        datagram[HASH_BYTES..SIGNED_AT - 1].copy_from_slice(&compact);
        datagram[SIGNED_AT - 1] =
            u8::try_from(i32::from(recovery)).expect("a recovery id is 0, 1, 2 or 3");
        let hash = keccak256(&datagram[HASH_BYTES..]);
        datagram[..HASH_BYTES].copy_from_slice(hash.as_slice());
        (datagram, hash)
    }

    /// Unix time after which it is void, in seconds; an [`Self::EnrResponse`] has none.
    #[must_use]
    pub const fn expiration(&self) -> Option<u64> {
        match self {
            Self::Ping { expiration, .. }
            | Self::Pong { expiration, .. }
            | Self::FindNode { expiration, .. }
            | Self::Neighbors { expiration, .. }
            | Self::EnrRequest { expiration } => Some(*expiration),
            Self::EnrResponse { .. } => None,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut list = Vec::new();
        let kind = match self {
            Self::Ping { from, to, expiration, enr_sequence } => {
                VERSION.encode(&mut list);
                from.encode(&mut list);
                to.encode(&mut list);
                expiration.encode(&mut list);
                enr_sequence.iter().for_each(|sequence| sequence.encode(&mut list));
                1
            }
            Self::Pong { to, ping_hash, expiration, enr_sequence } => {
                to.encode(&mut list);
                ping_hash.encode(&mut list);
                expiration.encode(&mut list);
                enr_sequence.iter().for_each(|sequence| sequence.encode(&mut list));
                2
            }
            Self::FindNode { target, expiration } => {
                target.encode(&mut list);
                expiration.encode(&mut list);
                3
            }
            Self::Neighbors { nodes, expiration } => {
                let mut inner = Vec::new();
                nodes.iter().for_each(|node| node.encode(&mut inner));
                write_list(&inner, &mut list);
                expiration.encode(&mut list);
                4
            }
            Self::EnrRequest { expiration } => {
                expiration.encode(&mut list);
                5
            }
            Self::EnrResponse { request_hash, record } => {
                request_hash.encode(&mut list);
                list.extend_from_slice(record);
                6
            }
        };
        out.push(kind);
        write_list(&list, out);
    }

    fn decode(kind: u8, mut rlp: &[u8]) -> Result<Self, PacketError> {
        if !(1..=6).contains(&kind) {
            return Err(PacketError::UnknownType(kind));
        }
        let mut list = Header::decode_bytes(&mut rlp, true)?;
        let list = &mut list;
        Ok(match kind {
            1 => {
                u64::decode(list)?;
                let (from, to) = (Endpoint::decode(list)?, Endpoint::decode(list)?);
                let expiration = u64::decode(list)?;
                Self::Ping { from, to, expiration, enr_sequence: u64::decode(list).ok() }
            }
            2 => {
                let to = Endpoint::decode(list)?;
                let ping_hash = B256::decode(list)?;
                let expiration = u64::decode(list)?;
                Self::Pong { to, ping_hash, expiration, enr_sequence: u64::decode(list).ok() }
            }
            3 => {
                let target = <[u8; 64]>::decode(list)?;
                Self::FindNode { target, expiration: u64::decode(list)? }
            }
            4 => {
                let mut inner = Header::decode_bytes(list, true)?;
                // A node takes more than 64 bytes, so the datagram limits their number.
                let mut nodes = Vec::with_capacity(NEIGHBORS_MAX);
                while !inner.is_empty() {
                    nodes.push(Neighbor::decode(&mut inner)?);
                }
                Self::Neighbors { nodes, expiration: u64::decode(list)? }
            }
            5 => Self::EnrRequest { expiration: u64::decode(list)? },
            _ => {
                let request_hash = B256::decode(list)?;
                let before = *list;
                Header::decode_bytes(list, true)?;
                let record = before[..before.len() - list.len()].to_vec();
                Self::EnrResponse { request_hash, record }
            }
        })
    }
}

impl Endpoint {
    /// An address with the port of RLPx.
    #[must_use]
    pub const fn new(address: SocketAddr, tcp: u16) -> Self {
        Self { ip: Some(address.ip()), udp: address.port(), tcp }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut list = Vec::new();
        self.encode_fields(&mut list);
        write_list(&list, out);
    }

    fn encode_fields(&self, list: &mut Vec<u8>) {
        match self.ip {
            Some(IpAddr::V4(ip)) => ip.octets().encode(list),
            Some(IpAddr::V6(ip)) => ip.octets().encode(list),
            None => [0_u8; 0].encode(list),
        }
        self.udp.encode(list);
        self.tcp.encode(list);
    }

    fn decode(rlp: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let mut list = Header::decode_bytes(rlp, true)?;
        Self::decode_fields(&mut list)
    }

    fn decode_fields(list: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let ip = Header::decode_bytes(list, false)?;
        let ip = <[u8; 4]>::try_from(ip)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(ip).map(IpAddr::from))
            .ok();
        Ok(Self { ip, udp: u16::decode(list)?, tcp: u16::decode(list)? })
    }
}

impl Neighbor {
    /// The node, if it has an address and its id is a key.
    #[must_use]
    pub fn record(&self) -> Option<NodeRecord> {
        let Endpoint { ip, udp, tcp } = self.endpoint;
        let id = PeerId::from_bytes(&self.id).ok()?;
        Some(NodeRecord { id, ip: ip?.to_canonical(), tcp, udp })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut list = Vec::new();
        self.endpoint.encode_fields(&mut list);
        self.id.encode(&mut list);
        write_list(&list, out);
    }

    fn decode(rlp: &mut &[u8]) -> alloy_rlp::Result<Self> {
        let mut list = Header::decode_bytes(rlp, true)?;
        let endpoint = Endpoint::decode_fields(&mut list)?;
        Ok(Self { endpoint, id: <[u8; 64]>::decode(&mut list)? })
    }
}

impl From<NodeRecord> for Neighbor {
    fn from(node: NodeRecord) -> Self {
        Self { endpoint: Endpoint::new(node.udp_address(), node.tcp), id: node.id.to_bytes() }
    }
}

impl Envelope {
    /// Reads a datagram as far as that is cheap: everything but the signature.
    ///
    /// # Errors
    ///
    /// See [`PacketError`].
    pub fn open(datagram: &[u8]) -> Result<Self, PacketError> {
        if !(DATAGRAM_BYTES_MIN..=DATAGRAM_BYTES_MAX).contains(&datagram.len()) {
            return Err(PacketError::Length(datagram.len()));
        }
        let (hash, rest) = datagram.split_at(HASH_BYTES);
        let (signature, signed) = rest.split_at(SIGNATURE_BYTES);
        // Before the hash, because what is no packet at all shows sooner than it can be hashed.
        let packet = Packet::decode(signed[0], &signed[1..])?;
        if keccak256(rest).as_slice() != hash {
            return Err(PacketError::Hash);
        }
        let signature = signature.try_into().expect("split at its length");
        Ok(Self { hash: B256::from_slice(hash), packet, signature, digest: keccak256(signed) })
    }

    /// Who signed it.
    ///
    /// # Errors
    ///
    /// If there is no key that could have.
    pub fn sender(&self) -> Result<PeerId, PacketError> {
        let (compact, recovery) = self.signature.split_at(SIGNATURE_BYTES - 1);
        let recovery = RecoveryId::try_from(i32::from(recovery[0]));
        let signature = recovery.and_then(|id| RecoverableSignature::from_compact(compact, id));
        signature
            .and_then(|signature| {
                SECP256K1.recover_ecdsa(&Message::from_digest(self.digest.0), &signature)
            })
            .map(PeerId::from)
            .map_err(|_| PacketError::Signature)
    }
}

fn write_list(payload: &[u8], out: &mut Vec<u8>) {
    Header { list: true, payload_length: payload.len() }.encode(out);
    out.extend_from_slice(payload);
}

/// Why a datagram is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Too short or too long.
    #[error("datagram of {0} bytes")]
    Length(usize),
    /// Damaged, or of another protocol.
    #[error("wrong hash")]
    Hash,
    /// Not one of the six.
    #[error("unknown packet type {0}")]
    UnknownType(u8),
    /// The list is not what its type wants.
    #[error("malformed packet: {0}")]
    Malformed(#[from] alloy_rlp::Error),
    /// No key signed this.
    #[error("invalid signature")]
    Signature,
}

#[cfg(test)]
mod tests;
