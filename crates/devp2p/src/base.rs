//! The [base protocol]: who speaks what, why a connection ends, and signs of life.
//!
//! [base protocol]: https://github.com/ethereum/devp2p/blob/master/rlpx.md#p2p-capability

use std::fmt;

use alloy_rlp::{Decodable, Header, RlpEncodable};

use crate::PeerId;

/// Codes that the base protocol keeps for itself; those of capabilities follow.
pub const BASE_CODES: u64 = 16;
/// A message of the base protocol.
pub const BASE_BYTES_MAX: usize = 2 * 1024;
/// How many of a peer's capabilities are looked at.
pub const CAPABILITIES_MAX: usize = 64;
/// The longest name of a capability.
pub const CAPABILITY_NAME_BYTES_MAX: usize = 8;
/// How much of a peer's name is kept.
pub const NAME_BYTES_MAX: usize = 128;

/// The version we speak: with compression.
pub(crate) const VERSION: u64 = 5;
/// The lowest version that is understood.
pub(crate) const VERSION_MIN: u64 = 4;
pub(crate) const HELLO: u64 = 0;
pub(crate) const DISCONNECT: u64 = 1;
pub(crate) const PING: u64 = 2;
pub(crate) const PONG: u64 = 3;
/// The payload of both, an empty list.
pub(crate) const NOTHING: [u8; 1] = [alloy_rlp::EMPTY_LIST_CODE];

/// A protocol above the base protocol, in one version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, RlpEncodable)]
pub struct Capability {
    /// Its name, of at most eight printable ASCII characters.
    pub name: String,
    /// Its version.
    pub version: u32,
}

impl Capability {
    /// A capability by its parts.
    #[must_use]
    pub fn new(name: &str, version: u32) -> Self {
        Self { name: name.to_owned(), version }
    }
}

/// As geth writes it: `eth/68`.
impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.name, self.version)
    }
}

/// A capability of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name and version.
    pub capability: Capability,
    /// How many messages it has: their ids are below this.
    pub messages: u8,
}

/// A capability that both sides have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// Its name and version.
    pub capability: Capability,
    /// How many messages it has.
    pub messages: u8,
    /// The code on the wire of its message 0.
    pub offset: u64,
}

impl Shared {
    /// The id of the message with a code, if it is one of this capability.
    pub(crate) fn id(&self, code: u64) -> Option<u8> {
        let id = u8::try_from(code.checked_sub(self.offset)?).ok()?;
        (id < self.messages).then_some(id)
    }
}

/// What both sides have: of each name the highest version, by name, with codes in that order.
#[must_use]
pub fn shared(ours: &[Protocol], theirs: &[Capability]) -> Vec<Shared> {
    let mut common: Vec<&Protocol> =
        ours.iter().filter(|protocol| theirs.contains(&protocol.capability)).collect();
    common.sort_by(|a, b| b.capability.cmp(&a.capability));
    // The highest version comes first, so that is the one to stay.
    common.dedup_by(|later, kept| later.capability.name == kept.capability.name);
    common.reverse();
    let mut offset = BASE_CODES;
    let mut shared = Vec::with_capacity(common.len());
    for Protocol { capability, messages } in common {
        shared.push(Shared { capability: capability.clone(), messages: *messages, offset });
        offset += u64::from(*messages);
    }
    shared
}

/// How a node introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The version of the base protocol.
    pub version: u64,
    /// The software: printable ASCII only, whatever was sent.
    pub name: String,
    /// What it speaks.
    pub capabilities: Vec<Capability>,
    /// The port it says it listens on; 0 if none.
    pub port: u16,
    /// Its key.
    pub id: PeerId,
}

/// As it is sent.
#[derive(RlpEncodable)]
struct HelloFields<'a> {
    version: u64,
    name: &'a str,
    capabilities: &'a Vec<Capability>,
    port: u16,
    id: [u8; 64],
}

impl Hello {
    /// The payload of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        alloy_rlp::encode(HelloFields {
            version: self.version,
            name: &self.name,
            capabilities: &self.capabilities,
            port: self.port,
            id: self.id.to_bytes(),
        })
    }

    /// Reads the payload of the message. More elements, and more bytes, may follow.
    ///
    /// # Errors
    ///
    /// If it is longer than [`BASE_BYTES_MAX`], or is none, or names no key.
    pub fn decode(mut payload: &[u8]) -> Result<Self, HelloError> {
        if payload.len() > BASE_BYTES_MAX {
            return Err(HelloError::TooLarge);
        }
        let mut list = Header::decode_bytes(&mut payload, true)?;
        let version = u64::decode(&mut list)?;
        let name = printable(Header::decode_bytes(&mut list, false)?);
        let capabilities = capabilities(Header::decode_bytes(&mut list, true)?)?;
        // A number too great for a port is of no use, and no reason to part.
        let port = u16::try_from(u64::decode(&mut list)?).unwrap_or(0);
        let id = Header::decode_bytes(&mut list, false)?;
        let id: &[u8; 64] = id.try_into().map_err(|_| HelloError::Identity)?;
        let id = PeerId::from_bytes(id).map_err(|_| HelloError::Identity)?;
        Ok(Self { version, name, capabilities, port, id })
    }
}

/// Capabilities with a name or version that nobody can have are left out.
fn capabilities(mut list: &[u8]) -> Result<Vec<Capability>, HelloError> {
    let mut capabilities = Vec::new();
    for _ in 0..CAPABILITIES_MAX {
        if list.is_empty() {
            break;
        }
        let mut fields = Header::decode_bytes(&mut list, true)?;
        let name = Header::decode_bytes(&mut fields, false)?;
        let version = u64::decode(&mut fields)?;
        let is_name = (1..=CAPABILITY_NAME_BYTES_MAX).contains(&name.len())
            && name.iter().all(u8::is_ascii_graphic);
        if let (true, Ok(version)) = (is_name, u32::try_from(version)) {
            capabilities.push(Capability { name: printable(name), version });
        }
    }
    Ok(capabilities)
}

/// What may go to logs and terminals.
fn printable(bytes: &[u8]) -> String {
    let printable = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '?' };
    bytes.iter().take(NAME_BYTES_MAX).map(printable).collect()
}

/// Why an introduction was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Longer than a message of the base protocol may be.
    #[error("hello exceeds {BASE_BYTES_MAX} bytes")]
    TooLarge,
    /// No list of the right elements.
    #[error("hello cannot be decoded")]
    Malformed(#[from] alloy_rlp::Error),
    /// Its key is none.
    #[error("hello without a valid key")]
    Identity,
}

impl HelloError {
    /// What to tell the peer.
    #[must_use]
    pub const fn reason(&self) -> DisconnectReason {
        match self {
            Self::TooLarge | Self::Malformed(_) => DisconnectReason::BreachOfProtocol,
            Self::Identity => DisconnectReason::InvalidIdentity,
        }
    }
}

/// Why a connection ends. The texts are geth's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// Somebody asked for it.
    Requested,
    /// The connection failed.
    NetworkError,
    /// A message that must not be.
    BreachOfProtocol,
    /// Nothing in common.
    UselessPeer,
    /// No place left.
    TooManyPeers,
    /// There is a connection between the two.
    AlreadyConnected,
    /// Another base protocol.
    IncompatibleVersion,
    /// A key that is none.
    InvalidIdentity,
    /// The node stops.
    ClientQuitting,
    /// Another key than was dialled.
    UnexpectedIdentity,
    /// The node dialled itself.
    ConnectedToSelf,
    /// Nothing came for too long.
    ReadTimeout,
    /// A capability had a reason of its own.
    SubprotocolError,
    /// A code that has no meaning.
    Other(u8),
}

impl DisconnectReason {
    /// The number on the wire.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Requested => 0x00,
            Self::NetworkError => 0x01,
            Self::BreachOfProtocol => 0x02,
            Self::UselessPeer => 0x03,
            Self::TooManyPeers => 0x04,
            Self::AlreadyConnected => 0x05,
            Self::IncompatibleVersion => 0x06,
            Self::InvalidIdentity => 0x07,
            Self::ClientQuitting => 0x08,
            Self::UnexpectedIdentity => 0x09,
            Self::ConnectedToSelf => 0x0a,
            Self::ReadTimeout => 0x0b,
            Self::SubprotocolError => 0x10,
            Self::Other(code) => *code,
        }
    }

    const fn of_code(code: u8) -> Self {
        match code {
            0x00 => Self::Requested,
            0x01 => Self::NetworkError,
            0x02 => Self::BreachOfProtocol,
            0x03 => Self::UselessPeer,
            0x04 => Self::TooManyPeers,
            0x05 => Self::AlreadyConnected,
            0x06 => Self::IncompatibleVersion,
            0x07 => Self::InvalidIdentity,
            0x08 => Self::ClientQuitting,
            0x09 => Self::UnexpectedIdentity,
            0x0a => Self::ConnectedToSelf,
            0x0b => Self::ReadTimeout,
            0x10 => Self::SubprotocolError,
            other => Self::Other(other),
        }
    }

    /// The payload of the message: a list, because geth before 1.12 reads nothing else.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        alloy_rlp::encode_list::<u8, u8>(&[self.code()], &mut payload);
        payload
    }

    /// Reads the payload of the message, which others write as a list or as a number. What is
    /// neither says at least that the peer is leaving.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Self {
        let mut list = payload;
        let mut code = Header::decode_bytes(&mut list, true).unwrap_or(payload);
        u8::decode(&mut code).map_or(Self::Requested, Self::of_code)
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Requested => "disconnect requested",
            Self::NetworkError => "network error",
            Self::BreachOfProtocol => "breach of protocol",
            Self::UselessPeer => "useless peer",
            Self::TooManyPeers => "too many peers",
            Self::AlreadyConnected => "already connected",
            Self::IncompatibleVersion => "incompatible p2p protocol version",
            Self::InvalidIdentity => "invalid node identity",
            Self::ClientQuitting => "client quitting",
            Self::UnexpectedIdentity => "unexpected identity",
            Self::ConnectedToSelf => "connected to self",
            Self::ReadTimeout => "read timeout",
            Self::SubprotocolError => "subprotocol error",
            Self::Other(code) => return write!(formatter, "unknown disconnect reason {code}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use alloy_rlp::Encodable;
    use primitives::hex;
    use proptest::prelude::*;
    use secp256k1::SecretKey;

    use super::*;

    fn id() -> PeerId {
        PeerId::of(&SecretKey::from_slice(&[7; 32]).unwrap())
    }

    fn hello(name: &[u8], capabilities: &[(&[u8], u64)], id: &[u8]) -> Vec<u8> {
        let mut list = Vec::new();
        for (name, version) in capabilities {
            list_of(&[name, &version], &mut list);
        }
        let mut encoded = Vec::new();
        Header { list: true, payload_length: list.len() }.encode(&mut encoded);
        encoded.extend_from_slice(&list);
        let mut fields = Vec::new();
        VERSION.encode(&mut fields);
        name.encode(&mut fields);
        fields.extend_from_slice(&encoded);
        0_u16.encode(&mut fields);
        id.encode(&mut fields);
        let mut payload = Vec::new();
        Header { list: true, payload_length: fields.len() }.encode(&mut payload);
        payload.extend_from_slice(&fields);
        payload
    }

    fn list_of(fields: &[&dyn Encodable], out: &mut Vec<u8>) {
        let payload_length = fields.iter().map(|field| field.length()).sum();
        Header { list: true, payload_length }.encode(out);
        fields.iter().for_each(|field| field.encode(out));
    }

    #[test]
    fn the_hello_of_eip_8_is_read() {
        let payload = hex::decode(
            "f87137916b6e6574682f76302e39312f706c616e39cdc5836574683dc6846d6f726b1682270fb840\
             fda1cff674c90c9a197539fe3dfb53086ace64f83ed7c6eabec741f7f381cc803e52ab2cd55d5569\
             bce4347107a310dfd5f88a010cd2ffd1005ca406f1842877c883666f6f836261720304",
        )
        .unwrap();
        let hello = Hello::decode(&payload).unwrap();
        assert_eq!((hello.version, hello.name.as_str()), (55, "kneth/v0.91/plan9"));
        let capabilities = [Capability::new("eth", 61), Capability::new("mork", 22)];
        assert_eq!(hello.capabilities, capabilities);
        assert_eq!(hello.port, 9999);
        assert!(hello.id.to_string().starts_with("fda1cff674c90c9a"));
    }

    #[test]
    fn a_hello_is_read_as_it_was_written() {
        let capabilities = vec![Capability::new("eth", 68), Capability::new("snap", 1)];
        let name = "Hematite/v0.1.0/linux".to_owned();
        let hello = Hello { version: 5, name, capabilities, port: 30303, id: id() };
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }

    #[test]
    fn names_lose_what_a_terminal_would_obey() {
        let payload = hello(b"\x1b[31mgeth\r\n\0\xff\xc3\xa4~", &[], &id().to_bytes());
        assert_eq!(Hello::decode(&payload).unwrap().name, "?[31mgeth??????~");
        let payload = hello(&[b'x'; 1000], &[], &id().to_bytes());
        assert_eq!(Hello::decode(&payload).unwrap().name, "x".repeat(NAME_BYTES_MAX));
    }

    #[test]
    fn capabilities_beyond_the_limit_are_not_looked_at() {
        for (count, kept) in [(0, 0), (10, 10), (64, 64), (65, 64), (300, 64)] {
            let payload = hello(b"", &vec![(&b"eth"[..], 68); count], &id().to_bytes());
            assert_eq!(Hello::decode(&payload).unwrap().capabilities.len(), kept);
        }
        let payload = hello(b"", &vec![(&b"eth"[..], 68); 5000], &id().to_bytes());
        assert_eq!(Hello::decode(&payload), Err(HelloError::TooLarge));
    }

    #[test]
    fn a_hello_at_the_limit_is_read_and_one_beyond_is_not() {
        let mut payload = hello(b"", &[], &id().to_bytes());
        payload.resize(BASE_BYTES_MAX, 0);
        assert!(Hello::decode(&payload).is_ok());
        payload.push(0);
        assert_eq!(Hello::decode(&payload), Err(HelloError::TooLarge));
    }

    #[test]
    fn capabilities_that_cannot_be_are_left_out() {
        let strange: [(&[u8], u64); 6] = [
            (b"", 1),
            (b"ninechars", 1),
            (b"e\nth", 1),
            (b"\xff\xfe", 1),
            (b"eth", 1 << 32),
            (b"eth", 0),
        ];
        let payload = hello(b"", &strange, &id().to_bytes());
        assert_eq!(Hello::decode(&payload).unwrap().capabilities, [Capability::new("eth", 0)]);
    }

    #[test]
    fn a_key_that_is_none_is_an_invalid_identity() {
        for bytes in [&[0; 64][..], &[0xff; 64], &[1; 63], &[]] {
            let error = Hello::decode(&hello(b"", &[], bytes)).unwrap_err();
            assert_eq!(error, HelloError::Identity);
            assert_eq!(error.reason(), DisconnectReason::InvalidIdentity);
        }
    }

    #[test]
    fn what_is_no_hello_is_a_breach_of_protocol() {
        let mut deep = vec![0xc0];
        for _ in 0..600 {
            let mut outer = Vec::new();
            Header { list: true, payload_length: deep.len() }.encode(&mut outer);
            outer.extend_from_slice(&deep);
            deep = outer;
        }
        let mut in_capabilities = vec![];
        list_of(&[&5_u8, &"", &1_u8], &mut in_capabilities);
        let huge = [0xff, 0x80, 0, 0, 0, 0, 0, 0, 0];
        let cases: [&[u8]; 9] = [
            b"",
            b"\x80",
            b"\xc0",
            b"\xc1",
            b"\xc2\x81\x05",
            b"\xf9\x07\x00\x05",
            &huge,
            &deep,
            &in_capabilities,
        ];
        for payload in cases {
            let error = Hello::decode(payload).unwrap_err();
            assert_eq!(error.reason(), DisconnectReason::BreachOfProtocol);
        }
        assert_eq!(Hello::decode(&vec![0xc0; 1 << 20]), Err(HelloError::TooLarge));
    }

    #[test]
    fn of_each_name_the_highest_common_version_is_shared() {
        let protocol = |name, version, messages| Protocol {
            capability: Capability::new(name, version),
            messages,
        };
        let ours = [
            protocol("snap", 1, 8),
            protocol("eth", 66, 17),
            protocol("eth", 68, 17),
            protocol("eth", 67, 18),
            protocol("aaa", 1, 3),
        ];
        let theirs = ["eth/66", "eth/67", "eth/69", "snap/1", "snap/1", "les/4", "aaa/2"];
        let theirs = theirs.map(|text| {
            let (name, version) = text.split_once('/').unwrap();
            Capability::new(name, version.parse().unwrap())
        });
        let shared = shared(&ours, &theirs);
        let expected = [("eth/67", 18, 16), ("snap/1", 8, 34)];
        assert_eq!(shared.len(), expected.len());
        for (shared, (name, messages, offset)) in shared.iter().zip(expected) {
            assert_eq!(shared.capability.to_string(), name);
            assert_eq!((shared.messages, shared.offset), (messages, offset));
        }
        assert_eq!(shared[0].id(15), None);
        assert_eq!(shared[0].id(16), Some(0));
        assert_eq!(shared[0].id(33), Some(17));
        assert_eq!(shared[0].id(34), None);
        assert_eq!(shared[1].id(u64::MAX), None);
    }

    #[test]
    fn every_reason_is_read_as_it_was_written() {
        for code in 0..=u8::MAX {
            let reason = DisconnectReason::of_code(code);
            assert_eq!(reason.code(), code);
            assert_eq!(DisconnectReason::decode(&reason.encode()), reason);
        }
        assert_eq!(DisconnectReason::Requested.encode(), [0xc1, 0x80]);
        assert_eq!(DisconnectReason::SubprotocolError.encode(), [0xc1, 0x10]);
    }

    #[test]
    fn reasons_are_read_tolerantly() {
        for (payload, reason) in [
            (&b"\xc1\x04"[..], DisconnectReason::TooManyPeers),
            (b"\x04", DisconnectReason::TooManyPeers),
            (b"\xc2\x04\x05", DisconnectReason::TooManyPeers),
            (b"\xc1\x04junk", DisconnectReason::TooManyPeers),
            (b"\xc2\x81\xff", DisconnectReason::Other(255)),
            (b"", DisconnectReason::Requested),
            (b"\xc0", DisconnectReason::Requested),
            (b"\x80", DisconnectReason::Requested),
            (b"\xc2\xc1\x04", DisconnectReason::Requested),
            (b"\xc9\x88\xff\xff\xff\xff\xff\xff\xff\xff", DisconnectReason::Requested),
            (b"\x83abc", DisconnectReason::Requested),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", DisconnectReason::Requested),
        ] {
            assert_eq!(DisconnectReason::decode(payload), reason);
            assert!(!format!("{reason} {reason:?}").is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let reason = DisconnectReason::decode(&payload);
            prop_assert_eq!(DisconnectReason::decode(&reason.encode()), reason);
            if let Ok(hello) = Hello::decode(&payload) {
                prop_assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
            }
        }
    }
}
