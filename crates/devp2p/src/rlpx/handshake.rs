//! The handshake: two packets, after which both sides have the same secrets and know each other's
//! key.
//!
//! Packets are those of [EIP-8]; the older form is understood, and answered in kind.
//!
//! [EIP-8]: https://eips.ethereum.org/EIPS/eip-8

use alloy_primitives::Keccak256;
use alloy_rlp::{Decodable, Encodable, Header};
use primitives::{B256, keccak256};
use secp256k1::{
    Message, PublicKey, SECP256K1, SecretKey,
    ecdsa::{RecoverableSignature, RecoveryId},
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::RlpxError;
use crate::{PeerId, ecies};

/// The version in both packets, which nobody checks.
const VERSION: u8 = 4;
/// A packet of EIP-8 with its two bytes of length. Ours have at most 600.
const PACKET_BYTES_MAX: usize = 2_048;
/// The length before a packet of EIP-8.
const LENGTH_BYTES: usize = 2;
/// Zeros behind a body, so that packets differ in length.
const PADDING_BYTES: std::ops::RangeInclusive<usize> = 100..=300;
const SIGNATURE_BYTES: usize = 65;
const KEY_BYTES: usize = 64;
const NONCE_BYTES: usize = 32;
/// The dialler's older packet: signature, hash of the ephemeral key, key, nonce, flag.
pub(crate) const PLAIN_AUTH_BYTES: usize = SIGNATURE_BYTES + 32 + KEY_BYTES + NONCE_BYTES + 1;
/// The older answer: ephemeral key, nonce, flag.
pub(crate) const PLAIN_ACK_BYTES: usize = KEY_BYTES + NONCE_BYTES + 1;

type Nonce = [u8; NONCE_BYTES];

/// What both sides derive.
pub(crate) struct Secrets {
    /// The key of the cipher.
    pub(crate) aes: [u8; 32],
    /// The key of the authentication codes.
    pub(crate) mac: [u8; 32],
    /// The running hash of what we send.
    pub(crate) egress: Keccak256,
    /// The running hash of what we receive.
    pub(crate) ingress: Keccak256,
}

/// How packets of one handshake are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Eip8,
}

/// A packet as it was received.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) form: Form,
    pub(crate) wire: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// What the dialler says.
struct Auth {
    signature: [u8; SIGNATURE_BYTES],
    key: PeerId,
    nonce: Nonce,
}

/// What is answered.
struct Ack {
    ephemeral: PeerId,
    nonce: Nonce,
}

/// What one side keeps to itself during a handshake.
pub(crate) struct Ours {
    key: SecretKey,
    ephemeral: SecretKey,
    nonce: Nonce,
}

impl Ours {
    pub(crate) fn random(key: &SecretKey) -> Self {
        Self { key: *key, ephemeral: ecies::random_key(), nonce: rand::random() }
    }

    /// The packet that begins a handshake.
    pub(crate) fn auth(&self, remote: &PeerId, form: Form) -> Vec<u8> {
        let message = signed(&self.nonce, &ecies::agree(&self.key, remote.public_key()));
        let signature = SECP256K1.sign_ecdsa_recoverable(&message, &self.ephemeral);
        let (recovery, compact) = signature.serialize_compact();
        let recovery = u8::try_from(i32::from(recovery)).expect("0 to 3");
        let mut signature = [recovery; SIGNATURE_BYTES];
        signature[..64].copy_from_slice(&compact);
        let key = PeerId::of(&self.key).to_bytes();
        let fields: [&[u8]; 3] = [&signature, &key, &self.nonce];
        match form {
            Form::Plain => {
                let hash = PeerId::of(&self.ephemeral).node_id();
                let body = [&signature[..], hash.as_slice(), &key, &self.nonce, &[0]].concat();
                ecies::encrypt(remote.public_key(), &body, &[])
            }
            Form::Eip8 => eip8_packet(remote, &fields),
        }
    }

    /// The packet that answers one.
    fn ack(&self, remote: &PeerId, form: Form) -> Vec<u8> {
        let ephemeral = PeerId::of(&self.ephemeral).to_bytes();
        match form {
            Form::Plain => {
                let body = [&ephemeral[..], &self.nonce, &[0]].concat();
                ecies::encrypt(remote.public_key(), &body, &[])
            }
            Form::Eip8 => eip8_packet(remote, &[&ephemeral, &self.nonce]),
        }
    }

    /// The secrets of the dialler.
    pub(crate) fn dialled(&self, auth: &[u8], ack: &Packet) -> Result<Secrets, RlpxError> {
        let Ack { ephemeral, nonce } = Ack::read(ack)?;
        let (aes, mac) = self.derive(ephemeral.public_key(), &self.nonce, &nonce);
        Ok(Secrets {
            egress: running(&mac, &nonce, auth),
            ingress: running(&mac, &self.nonce, &ack.wire),
            aes,
            mac,
        })
    }

    /// The dialler's key, the answer and the secrets of who was dialled.
    pub(crate) fn accepted(
        &self,
        packet: &Packet,
    ) -> Result<(PeerId, Vec<u8>, Secrets), RlpxError> {
        let Auth { signature, key, nonce } = Auth::read(packet)?;
        let message = signed(&nonce, &ecies::agree(&self.key, key.public_key()));
        let ephemeral = recover(&signature, &message).ok_or(RlpxError::Packet)?;
        let (aes, mac) = self.derive(&ephemeral, &nonce, &self.nonce);
        let ack = self.ack(&key, packet.form);
        let secrets = Secrets {
            egress: running(&mac, &nonce, &ack),
            ingress: running(&mac, &self.nonce, &packet.wire),
            aes,
            mac,
        };
        Ok((key, ack, secrets))
    }

    /// The keys of the cipher and of the codes. The nonces are the dialler's and the other's.
    fn derive(
        &self,
        ephemeral: &PublicKey,
        dialler: &Nonce,
        other: &Nonce,
    ) -> ([u8; 32], [u8; 32]) {
        let agreed = ecies::agree(&self.ephemeral, ephemeral);
        let nonces = hash_of(&[other, dialler]);
        let shared = hash_of(&[&agreed, nonces.as_slice()]);
        let aes = hash_of(&[&agreed, shared.as_slice()]);
        let mac = hash_of(&[&agreed, aes.as_slice()]);
        (aes.0, mac.0)
    }
}

impl Auth {
    fn read(packet: &Packet) -> Result<Self, RlpxError> {
        match packet.form {
            Form::Plain => {
                let body: &[u8; PLAIN_AUTH_BYTES] =
                    packet.body.as_slice().try_into().map_err(|_| RlpxError::Packet)?;
                let (signature, rest) = body.split_at(SIGNATURE_BYTES);
                // The hash says nothing that the signature does not prove.
                let (key, rest) = rest[32..].split_at(KEY_BYTES);
                Self::of(signature, key, &rest[..NONCE_BYTES])
            }
            Form::Eip8 => {
                let [signature, key, nonce] = fields(&packet.body)?;
                Self::of(signature, key, nonce)
            }
        }
    }

    fn of(signature: &[u8], key: &[u8], nonce: &[u8]) -> Result<Self, RlpxError> {
        let signature = signature.try_into().map_err(|_| RlpxError::Packet)?;
        let nonce = nonce.try_into().map_err(|_| RlpxError::Packet)?;
        Ok(Self { signature, key: point(key)?, nonce })
    }
}

impl Ack {
    fn read(packet: &Packet) -> Result<Self, RlpxError> {
        let [ephemeral, nonce] = match packet.form {
            Form::Plain => {
                let body: &[u8; PLAIN_ACK_BYTES] =
                    packet.body.as_slice().try_into().map_err(|_| RlpxError::Packet)?;
                let (ephemeral, rest) = body.split_at(KEY_BYTES);
                [ephemeral, &rest[..NONCE_BYTES]]
            }
            Form::Eip8 => fields(&packet.body)?,
        };
        let nonce = nonce.try_into().map_err(|_| RlpxError::Packet)?;
        Ok(Self { ephemeral: point(ephemeral)?, nonce })
    }
}

/// Agrees with a node on secrets, as the one who dialled it.
pub(crate) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    key: &SecretKey,
    remote: &PeerId,
) -> Result<Secrets, RlpxError> {
    let ours = Ours::random(key);
    let auth = ours.auth(remote, Form::Eip8);
    stream.write_all(&auth).await?;
    let ack = read_packet(stream, key, PLAIN_ACK_BYTES).await?;
    ours.dialled(&auth, &ack)
}

/// Agrees with whoever dialled us; says who that is.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    key: &SecretKey,
) -> Result<(PeerId, Secrets), RlpxError> {
    let auth = read_packet(stream, key, PLAIN_AUTH_BYTES).await?;
    let (remote, ack, secrets) = Ours::random(key).accepted(&auth)?;
    stream.write_all(&ack).await?;
    Ok((remote, secrets))
}

/// Reads a packet of either form. Nothing tells them apart for sure but decryption: the older ones
/// begin with the prefix of a point, which is also the length of a packet beyond 1024 bytes.
pub(crate) async fn read_packet<R: AsyncRead + Unpin>(
    stream: &mut R,
    key: &SecretKey,
    plain_bytes: usize,
) -> Result<Packet, RlpxError> {
    let mut wire = vec![0; LENGTH_BYTES];
    stream.read_exact(&mut wire).await?;
    if wire[0] == ecies::POINT_PREFIX {
        extend(stream, &mut wire, plain_bytes + ecies::OVERHEAD_BYTES).await?;
        if let Ok(body) = ecies::decrypt(key, &wire, &[]) {
            return Ok(Packet { form: Form::Plain, wire, body });
        }
    }
    let total = LENGTH_BYTES + usize::from(u16::from_be_bytes([wire[0], wire[1]]));
    if total > PACKET_BYTES_MAX {
        return Err(RlpxError::Packet);
    }
    extend(stream, &mut wire, total).await?;
    let (length, sealed) = wire.split_at(LENGTH_BYTES);
    let body = ecies::decrypt(key, sealed, length).map_err(|_| RlpxError::Packet)?;
    Ok(Packet { form: Form::Eip8, wire, body })
}

/// Reads on until so many bytes are there.
async fn extend<R: AsyncRead + Unpin>(
    stream: &mut R,
    wire: &mut Vec<u8>,
    total: usize,
) -> Result<(), RlpxError> {
    let start = wire.len();
    wire.resize(total.max(start), 0);
    stream.read_exact(&mut wire[start..]).await?;
    Ok(())
}

fn eip8_packet(remote: &PeerId, fields: &[&[u8]]) -> Vec<u8> {
    let payload_length =
        fields.iter().map(|field| field.length()).sum::<usize>() + VERSION.length();
    let mut body = Vec::new();
    Header { list: true, payload_length }.encode(&mut body);
    for field in fields {
        field.encode(&mut body);
    }
    VERSION.encode(&mut body);
    body.resize(body.len() + rand::random_range(PADDING_BYTES), 0);
    seal_packet(remote, &body)
}

/// A packet with its length. The body has at most 64 KiB.
pub(crate) fn seal_packet(remote: &PeerId, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + ecies::OVERHEAD_BYTES)
        .expect("three fields and padding are far below 64 KiB")
        .to_be_bytes();
    let mut packet = length.to_vec();
    packet.extend_from_slice(&ecies::encrypt(remote.public_key(), body, &length));
    packet
}

/// The first elements of the list that a body begins with. More may follow, in it and behind it.
fn fields<const N: usize>(mut body: &[u8]) -> Result<[&[u8]; N], RlpxError> {
    let mut list = Header::decode_bytes(&mut body, true).map_err(|_| RlpxError::Packet)?;
    let mut fields = [&[][..]; N];
    for field in &mut fields {
        *field = Header::decode_bytes(&mut list, false).map_err(|_| RlpxError::Packet)?;
    }
    // A version follows, whichever.
    u64::decode(&mut list).map_err(|_| RlpxError::Packet)?;
    Ok(fields)
}

fn point(bytes: &[u8]) -> Result<PeerId, RlpxError> {
    let bytes = bytes.try_into().map_err(|_| RlpxError::Packet)?;
    PeerId::from_bytes(bytes).map_err(|_| RlpxError::Packet)
}

/// What the dialler signs with its ephemeral key.
fn signed(nonce: &Nonce, agreed: &[u8; 32]) -> Message {
    Message::from_digest((B256::from(*nonce) ^ B256::from(*agreed)).0)
}

fn recover(signature: &[u8; SIGNATURE_BYTES], message: &Message) -> Option<PublicKey> {
    let recovery = RecoveryId::try_from(i32::from(signature[64])).ok()?;
    let signature = RecoverableSignature::from_compact(&signature[..64], recovery).ok()?;
    SECP256K1.recover_ecdsa(message, &signature).ok()
}

/// The running hash of one direction as it begins.
fn running(mac: &[u8; 32], nonce: &Nonce, packet: &[u8]) -> Keccak256 {
    let mut hash = Keccak256::new();
    hash.update(B256::from(*mac) ^ B256::from(*nonce));
    hash.update(packet);
    hash
}

fn hash_of(parts: &[&[u8]]) -> B256 {
    keccak256(parts.concat())
}

#[cfg(test)]
mod tests;
