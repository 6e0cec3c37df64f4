//! Whatever reads a stranger's bytes, as functions that a fuzzer can call. Each panics if a rule is
//! broken, and does nothing else.
//!
//! `tests/fuzz` has a target of cargo-fuzz for each, and a corpus that is replayed here.

mod mutation;
mod seeds;

use std::net::Ipv4Addr;

use ::ethstats::{
    Dashboard, DashboardConfig, Hello as EthstatsHello, Info, NodeMessage, Secrets, ServerMessage,
    dashboard::{Event, SessionId},
};
use alloy_rlp::Decodable;
use devp2p::{
    CAPABILITIES_MAX, DisconnectReason, ENR_BYTES_MAX, Enr, Hello, MESSAGE_BYTES_MAX,
    NAME_BYTES_MAX, NodeRecord,
    discv4::{DATAGRAM_BYTES_MAX, Envelope},
    testing,
};
use network::wire::{EthVersion, Message};
use primitives::{Block, ChainSpec};

pub use mutation::mutate;
pub use seeds::seeds;

use super::{attacker::key, packets::rehash};

/// How much memory a frame may take for the bytes that have come of it, and once.
const FRAME_GROWTH: usize = 2;
/// How much a frame may take before any have come.
const FRAME_BYTES_START: usize = 64 * 1024;

/// A decoder and the name of its corpus.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the target and of its folder.
    pub name: &'static str,
    /// Reads any bytes.
    pub run: fn(&[u8]),
}

/// Every decoder that meets a stranger.
pub const TARGETS: &[Target] = &[
    Target { name: "auth", run: auth },
    Target { name: "ack", run: ack },
    Target { name: "frame", run: frame },
    Target { name: "hello", run: hello },
    Target { name: "disconnect", run: disconnect },
    Target { name: "message", run: message },
    Target { name: "eth_message", run: eth_message },
    Target { name: "discv4", run: discv4 },
    Target { name: "enr", run: enr },
    Target { name: "enode", run: enode },
    Target { name: "block", run: block },
    Target { name: "transaction", run: transaction },
    Target { name: "genesis", run: genesis },
    Target { name: "keystore", run: keystore },
    Target { name: "dataset", run: dataset },
    Target { name: "ethstats", run: ethstats },
];

/// The packet that begins a handshake: encrypted, and, for what a fuzzer cannot encrypt, the body.
pub fn auth(data: &[u8]) {
    let key = key(1);
    testing::read_auth(&key, data);
    testing::read_auth_body(&key, data);
}

/// The packet that answers a handshake, in the same two ways.
pub fn ack(data: &[u8]) {
    let key = key(1);
    testing::read_ack(&key, data);
    testing::read_ack_body(&key, data);
}

/// A frame: its length, then what comes of it. Memory is taken for what came, not for what was
/// promised.
///
/// # Panics
///
/// If it is.
pub fn frame(data: &[u8]) {
    let Some((head, rest)) = data.split_at_checked(4) else { return };
    let promised = u32::from_be_bytes(head.try_into().expect("split at four"));
    let taken = testing::read_frame(promised, rest, usize::MAX);
    assert!(taken <= FRAME_BYTES_START + FRAME_GROWTH * rest.len(), "{taken} bytes are taken");
}

/// An introduction: what is kept of it is short, printable, and reads the same again.
///
/// # Panics
///
/// If it is not.
pub fn hello(data: &[u8]) {
    let Ok(hello) = Hello::decode(data) else { return };
    assert!(hello.name.len() <= NAME_BYTES_MAX && hello.capabilities.len() <= CAPABILITIES_MAX);
    assert!(hello.name.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
}

/// The last message.
///
/// # Panics
///
/// If the reason does not read the same again.
pub fn disconnect(data: &[u8]) {
    let reason = DisconnectReason::decode(data);
    assert_eq!(DisconnectReason::decode(&reason.encode()), reason);
}

/// A frame's content: code and compression.
///
/// # Panics
///
/// If more comes out than a message may have.
pub fn message(data: &[u8]) {
    for compressed in [false, true] {
        if let Some((_, payload)) = testing::read_message(data, compressed) {
            assert!(payload.len() <= MESSAGE_BYTES_MAX);
        }
    }
}

/// A message of the eth protocol: version, code, payload. What can be read is canonical, so it is
/// written as it came.
///
/// # Panics
///
/// If it is not.
pub fn eth_message(data: &[u8]) {
    let [version, code, payload @ ..] = data else { return };
    let version = EthVersion::ALL[usize::from(*version) % EthVersion::ALL.len()];
    if let Ok(message) = Message::decode(version, *code, payload) {
        let (same, written) = message.encode(version);
        assert_eq!(same, *code);
        assert!(written == payload, "{message:?} is written in another way");
    }
}

/// A datagram of discovery, also with its hash made right.
///
/// # Panics
///
/// If what is read has more nodes than a datagram holds.
pub fn discv4(data: &[u8]) {
    let mut data = data.to_vec();
    for _ in 0..2 {
        if let Ok(envelope) = Envelope::open(&data) {
            assert!(data.len() <= DATAGRAM_BYTES_MAX);
            drop(envelope.sender());
        }
        rehash(&mut data);
    }
}

/// A record, in bytes and in text.
///
/// # Panics
///
/// If it is not written as it came.
pub fn enr(data: &[u8]) {
    if let Ok(record) = Enr::from_rlp(data) {
        assert!(data.len() <= ENR_BYTES_MAX);
        assert_eq!(record.to_rlp(), data);
        assert!(record.node().is_none_or(|node| node.id == record.id()));
        assert!(record.tcp() != Some(0));
    }
    if let Ok(record) = String::from_utf8_lossy(data).parse::<Enr>() {
        assert_eq!(record.to_string().parse::<Enr>(), Ok(record));
    }
}

/// A node's URL.
///
/// # Panics
///
/// If it does not read the same again.
pub fn enode(data: &[u8]) {
    if let Ok(node) = String::from_utf8_lossy(data).parse::<NodeRecord>() {
        assert_eq!(node.to_string().parse(), Ok(node));
    }
}

/// A block, as files hold it.
///
/// # Panics
///
/// If it does not read the same again.
pub fn block(data: &[u8]) {
    if let Ok(block) = Block::decode(&mut &data[..]) {
        assert_eq!(Block::decode(&mut &alloy_rlp::encode(&block)[..]), Ok(block));
    }
}

/// A transaction, as RPC takes it. Only its one form is taken.
///
/// # Panics
///
/// If it is written in another way.
pub fn transaction(data: &[u8]) {
    if let Ok(tx) = rpc::testing::read_transaction(data) {
        assert_eq!(alloy_eips::eip2718::Encodable2718::encoded_2718(&tx), data);
    }
}

/// A chain's definition. Whatever is taken has a fork id at any height, and fits itself.
///
/// # Panics
///
/// If it does not.
pub fn genesis(data: &[u8]) {
    if let Ok(spec) = ChainSpec::from_json(&String::from_utf8_lossy(data)) {
        for height in [0, 1, 1_000_000, u64::MAX] {
            assert_eq!(spec.check_fork_id(height, spec.fork_id(height)), Ok(()));
        }
    }
}

/// What a node tells a dashboard, and a dashboard a node; and what the dashboard makes of it.
pub fn ethstats(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    drop(text.parse::<::ethstats::Target>());
    drop(ServerMessage::decode(&text));
    let Ok(message) = NodeMessage::decode(&text) else { return };
    let Some(secrets) = Secrets::new("s") else { return };
    let mut dashboard = Dashboard::new(DashboardConfig { secrets });
    let (session, mut actions) = (SessionId(1), Vec::new());
    let hello = EthstatsHello { id: "n".into(), info: Info::default(), secret: "s".into() };
    let hello = NodeMessage::Hello(Box::new(hello));
    dashboard.on(Event::Opened(session, Ipv4Addr::LOCALHOST.into()), 1, &mut actions);
    for (said, now) in [(hello, 2), (message.clone(), 3), (message, u64::MAX)] {
        dashboard.on(Event::Said(session, said), now, &mut actions);
    }
    dashboard.on(Event::Closed(session), 0, &mut actions);
    let shown = dashboard.snapshot(u64::MAX).to_string();
    assert!(shown.len() <= 16 * (1_024 + data.len()), "a page gets more than was told");
    assert!(dashboard.take_changes(u64::MAX).is_some());
}

/// A key file.
pub fn keystore(data: &[u8]) {
    drop(accounts::testing::read_key_file(data));
}

/// The first bytes of a dataset's file. Nothing but the one right start is taken.
///
/// # Panics
///
/// If something else is.
pub fn dataset(data: &[u8]) {
    if ethash::testing::read_file_start(data).is_ok() {
        assert_eq!(data.len(), ethash::testing::file_start().len());
    }
}

#[cfg(test)]
mod tests;
