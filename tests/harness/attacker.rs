//! A peer that does not keep to the rules. Each stage of a connection is a call of its own, so that
//! it can stop or bend anything: [`Target::connect`], [`Encrypted::dial`], [`Encrypted::greet`],
//! [`Peer::join`].

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use alloy_rlp::{Encodable, Header};
use devp2p::{
    NodeRecord, PeerId, RlpxError,
    testing::{DISCONNECT, HELLO, Opening, PING, PONG, Reader, Writer},
};
use network::wire::{EthVersion, Message, Status};
use secp256k1::{SECP256K1, SecretKey};
use tokio::{
    net::{TcpSocket, TcpStream},
    time,
};

/// How long the node may take for anything. A test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(180);
/// The longest frame that is read.
const FRAME_BYTES_MAX: usize = 0xff_ffff;
/// The code of the first message of the eth protocol, where nothing else is spoken.
pub const ETH_OFFSET: u64 = 16;
/// The version of the base protocol from which on messages are compressed.
const COMPRESSION_VERSION: u64 = 5;

/// The node that is attacked.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its key.
    pub id: PeerId,
    /// Where it takes connections.
    pub tcp: SocketAddr,
    /// Where it answers discovery.
    pub udp: SocketAddr,
}

/// A connection after the cryptographic handshake.
#[derive(Debug)]
pub struct Encrypted {
    /// What comes.
    pub reader: Reader,
    /// What goes.
    pub writer: Writer,
    id: PeerId,
}

/// An introduction with anything in it.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The version of the base protocol.
    pub version: u64,
    /// The software.
    pub name: Vec<u8>,
    /// Names and versions of what it speaks.
    pub capabilities: Vec<(Vec<u8>, u64)>,
    /// The port it says it listens on.
    pub port: u64,
    /// The key it says it has.
    pub id: Vec<u8>,
}

/// A connection after the introductions.
#[derive(Debug)]
pub struct Peer {
    reader: Reader,
    writer: Writer,
    compressed: bool,
    /// The version of the eth protocol; the one that was introduced last.
    pub version: EthVersion,
}

/// What a node said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A message, by its code on the wire.
    Message(u64, Vec<u8>),
    /// Its last one, and the reason's code.
    Disconnect(u8),
    /// Nothing more.
    Closed,
}

impl Target {
    /// The node with this URL.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn of(enode: &str) -> Self {
        let node: NodeRecord = enode.parse().expect("a node logs its own URL");
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { id: node.id, tcp: at(node.tcp), udp: at(node.udp) }
    }

    /// Connects from an address of the loopback network.
    ///
    /// # Errors
    ///
    /// If the node does not listen.
    pub async fn connect(&self, from: Ipv4Addr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        socket.connect(self.tcp).await
    }

    /// Connects with a window of few bytes, for a peer that is not going to read.
    ///
    /// # Errors
    ///
    /// If the node does not listen.
    pub async fn connect_narrow(&self, from: Ipv4Addr) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4_096)?;
        socket.bind(SocketAddr::from((from, 0)))?;
        socket.connect(self.tcp).await
    }
}

impl Encrypted {
    /// Dials with a key.
    ///
    /// # Errors
    ///
    /// If the node hangs up.
    pub async fn dial(
        stream: TcpStream,
        target: &Target,
        key: &SecretKey,
    ) -> Result<Self, RlpxError> {
        let opening = Opening::new(key, &target.id);
        let mut stream = stream;
        stream.set_nodelay(true)?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, opening.packet()).await?;
        let (reader, writer) = opening.finish(stream, key).await?;
        Ok(Self { reader, writer, id: PeerId::of(key) })
    }

    /// Answers a node that dialled.
    ///
    /// # Errors
    ///
    /// If the node hangs up.
    pub async fn accept(stream: TcpStream, key: &SecretKey) -> Result<Self, RlpxError> {
        stream.set_nodelay(true)?;
        let (_, reader, writer) = devp2p::testing::accept(stream, key).await?;
        Ok(Self { reader, writer, id: PeerId::of(key) })
    }

    /// Sends a message without compression.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub async fn send(&mut self, code: u64, payload: &[u8]) -> Result<(), RlpxError> {
        self.writer.write(&[&alloy_rlp::encode(code), payload].concat()).await
    }

    /// What comes next, without compression.
    pub async fn hear(&mut self) -> Heard {
        hear(&mut self.reader, false).await
    }

    /// Exchanges introductions.
    ///
    /// # Errors
    ///
    /// What the node said instead of its own.
    pub async fn greet(self, version: EthVersion) -> Result<Peer, Heard> {
        let hello = Hello::of(self.id, version);
        self.greet_with(&hello).await
    }

    /// Exchanges introductions, and sends this one.
    ///
    /// # Errors
    ///
    /// What the node said instead of its own.
    pub async fn greet_with(mut self, hello: &Hello) -> Result<Peer, Heard> {
        self.send(HELLO, &hello.encode()).await.map_err(|_| Heard::Closed)?;
        match self.hear().await {
            Heard::Message(HELLO, _) => {}
            other => return Err(other),
        }
        let versions = hello.capabilities.iter().map(|(_, version)| *version);
        let version = versions.filter_map(EthVersion::from_number).max();
        Ok(Peer {
            reader: self.reader,
            writer: self.writer,
            compressed: hello.version >= COMPRESSION_VERSION,
            version: version.unwrap_or(EthVersion::Eth68),
        })
    }
}

impl Hello {
    /// One that any node takes.
    #[must_use]
    pub fn of(id: PeerId, version: EthVersion) -> Self {
        Self {
            version: COMPRESSION_VERSION,
            name: b"Geth/v1.10.26-stable/linux-amd64/go1.18.5".to_vec(),
            capabilities: vec![(b"eth".to_vec(), u64::from(version.number()))],
            port: 0,
            id: id.to_bytes().to_vec(),
        }
    }

    /// The payload of the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let capability = |(name, version): &(Vec<u8>, u64)| {
            list(&[alloy_rlp::encode(name.as_slice()), alloy_rlp::encode(*version)])
        };
        let capabilities: Vec<_> = self.capabilities.iter().map(capability).collect();
        list(&[
            alloy_rlp::encode(self.version),
            alloy_rlp::encode(self.name.as_slice()),
            list(&capabilities),
            alloy_rlp::encode(self.port),
            alloy_rlp::encode(self.id.as_slice()),
        ])
    }
}

impl Peer {
    /// Becomes a peer of a node: all of a connection that keeps to the rules, up to Status.
    ///
    /// # Panics
    ///
    /// If the node does not want it.
    pub async fn join(
        target: &Target,
        from: Ipv4Addr,
        key: &SecretKey,
        version: EthVersion,
    ) -> Self {
        let stream = target.connect(from).await.expect("the node listens");
        let link = Encrypted::dial(stream, target, key).await.expect("the node answers");
        let mut peer = link.greet(version).await.expect("the node takes this hello");
        peer.tell_status(|_| {}).await;
        peer
    }

    /// Answers the node's Status with the same one, bent.
    ///
    /// # Panics
    ///
    /// If the node says none.
    pub async fn tell_status(&mut self, bend: impl FnOnce(&mut Status)) -> Status {
        let heard = self.hear().await;
        let Heard::Message(ETH_OFFSET, payload) = &heard else {
            panic!("{heard:?} where status belongs");
        };
        let status = Message::decode(self.version, 0, payload);
        let Ok(Message::Status(theirs)) = status else { panic!("{status:?} is no status") };
        let mut ours = theirs;
        bend(&mut ours);
        // Who is refused for it need not have read all of it.
        self.tell(&Message::Status(ours)).await.ok();
        theirs
    }

    /// Sends a message of the eth protocol.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub async fn tell(&mut self, message: &Message) -> Result<(), RlpxError> {
        let (code, payload) = message.encode(self.version);
        self.send(ETH_OFFSET + u64::from(code), &payload).await
    }

    /// Sends any message, compressed if that was agreed on.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub async fn send(&mut self, code: u64, payload: &[u8]) -> Result<(), RlpxError> {
        let body = if self.compressed { compress(payload) } else { payload.to_vec() };
        self.send_raw(code, &body).await
    }

    /// Sends a code and bytes that may or may not be compression.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub async fn send_raw(&mut self, code: u64, body: &[u8]) -> Result<(), RlpxError> {
        self.writer.write(&[&alloy_rlp::encode(code), body].concat()).await
    }

    /// The way out, below messages.
    pub const fn writer(&mut self) -> &mut Writer {
        &mut self.writer
    }

    /// What comes next.
    pub async fn hear(&mut self) -> Heard {
        hear(&mut self.reader, self.compressed).await
    }

    /// The next message of the eth protocol with one of these codes; pings are answered, anything
    /// else is passed over.
    ///
    /// # Errors
    ///
    /// How the connection ended before.
    pub async fn hear_eth(&mut self, codes: &[u8]) -> Result<Message, Heard> {
        loop {
            match self.hear().await {
                Heard::Message(PING, _) => {
                    self.send(PONG, &[alloy_rlp::EMPTY_LIST_CODE]).await.ok();
                }
                Heard::Message(code, payload) if code >= ETH_OFFSET => {
                    let code = u8::try_from(code - ETH_OFFSET).unwrap_or(u8::MAX);
                    if codes.contains(&code) {
                        let decoded = Message::decode(self.version, code, &payload);
                        return Ok(decoded.expect("the node speaks the protocol"));
                    }
                }
                Heard::Message(..) => {}
                end @ (Heard::Disconnect(_) | Heard::Closed) => return Err(end),
            }
        }
    }

    /// How the connection ends: the code of the reason, if one is said.
    pub async fn hear_end(&mut self) -> Option<u8> {
        match self.hear_eth(&[]).await {
            Err(Heard::Disconnect(reason)) => Some(reason),
            Ok(_) | Err(_) => None,
        }
    }

    /// Both halves, for one who reads in a task of its own.
    #[must_use]
    pub fn split(self) -> (Ear, Mouth) {
        let Self { reader, writer, compressed, version: _ } = self;
        (Ear { reader, compressed }, Mouth { writer, compressed })
    }
}

/// The receiving half of a peer.
#[derive(Debug)]
pub struct Ear {
    reader: Reader,
    compressed: bool,
}

/// The sending half of a peer.
#[derive(Debug)]
pub struct Mouth {
    writer: Writer,
    compressed: bool,
}

impl Ear {
    /// What comes next, however long that takes.
    pub async fn hear(&mut self) -> Heard {
        heard(self.reader.read(FRAME_BYTES_MAX).await, self.compressed)
    }
}

impl Mouth {
    /// Sends any message.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub async fn send(&mut self, code: u64, payload: &[u8]) -> Result<(), RlpxError> {
        let body = if self.compressed { compress(payload) } else { payload.to_vec() };
        self.writer.write(&[&alloy_rlp::encode(code), &body[..]].concat()).await
    }
}

/// One of many keys.
///
/// # Panics
///
/// Never: none of these numbers is out of range.
#[must_use]
pub fn key(number: u64) -> SecretKey {
    let mut bytes = [0x77; 32];
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_byte_array(&bytes).expect("the key is in range")
}

/// One of many addresses of the loopback network.
#[must_use]
pub fn source(number: u64) -> Ipv4Addr {
    let [.., high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 0, high.wrapping_add(1), low.clamp(1, 254))
}

/// A URL at which somebody else's key is said to be.
#[must_use]
pub fn enode(key: &SecretKey, address: SocketAddr) -> String {
    let ip: IpAddr = address.ip();
    NodeRecord { id: PeerId::of(key), ip, tcp: address.port(), udp: address.port() }.to_string()
}

/// A list of items that are encoded already.
#[must_use]
pub fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let payload_length = items.iter().map(Vec::len).sum();
    let mut bytes = Vec::new();
    Header { list: true, payload_length }.encode(&mut bytes);
    bytes.extend(items.concat());
    bytes
}

/// Compresses as messages are.
///
/// # Panics
///
/// If there are more than 4 GiB.
#[must_use]
pub fn compress(payload: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(payload).expect("a payload is short")
}

/// The body of a packet that begins a handshake: a right signature under another key's bytes.
#[must_use]
pub fn auth_body(key: &SecretKey, claimed: &[u8; 64], signature: Option<[u8; 65]>) -> Vec<u8> {
    let nonce = [5_u8; 32];
    let message = secp256k1::Message::from_digest(nonce);
    let (recovery, compact) = SECP256K1.sign_ecdsa_recoverable(&message, key).serialize_compact();
    let mut good = [0; 65];
    good[..64].copy_from_slice(&compact);
    good[64] = u8::try_from(i32::from(recovery)).unwrap_or_default();
    let mut body = Vec::new();
    let fields: [&[u8]; 3] = [&signature.unwrap_or(good), claimed, &nonce];
    let payload_length = fields.iter().map(Encodable::length).sum::<usize>() + 1;
    Header { list: true, payload_length }.encode(&mut body);
    fields.iter().for_each(|field| field.encode(&mut body));
    4_u8.encode(&mut body);
    body.resize(body.len() + 100, 0);
    body
}

async fn hear(reader: &mut Reader, compressed: bool) -> Heard {
    let read = time::timeout(PATIENCE, reader.read(FRAME_BYTES_MAX)).await;
    heard(read.expect("the node says something in time"), compressed)
}

fn heard(read: Result<Vec<u8>, RlpxError>, compressed: bool) -> Heard {
    let Ok(frame) = read else { return Heard::Closed };
    let plain = || devp2p::testing::read_message(&frame, false);
    // Who refuses an introduction may do so before compression is agreed on.
    let message = devp2p::testing::read_message(&frame, compressed).or_else(plain);
    match message {
        Some((DISCONNECT, payload)) => {
            Heard::Disconnect(devp2p::DisconnectReason::decode(&payload).code())
        }
        Some((code, payload)) => Heard::Message(code, payload),
        None => Heard::Closed,
    }
}
