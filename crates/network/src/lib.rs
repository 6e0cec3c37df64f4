//! The eth protocol: serve, follow, pass on.
//!
//! The machines here are fed events and answer with actions; they know no socket, no clock, no
//! chain and no pool. [`wire::Message`] is what travels between two nodes.
//!
//! ```
//! use network::wire::{EthVersion, Message};
//! let (code, payload) = Message::NewBlockHashes(vec![]).encode(EthVersion::Eth65);
//! let same = Message::decode(EthVersion::Eth65, code, &payload)?;
//! assert_eq!(same, Message::NewBlockHashes(vec![]));
//! # Ok::<(), network::wire::WireError>(())
//! ```

mod connection;
mod driver;
pub mod gossip;
pub mod handshake;
mod import;
mod metrics;
mod node;
mod peers;
mod pending;
pub mod protocol;
mod recent;
mod serve;
pub mod sync;
mod trouble;
pub mod wire;

pub use driver::HandOver;
pub use node::{NetworkConfig, NetworkHandle, start};
pub use peers::PeerInfo;
pub use pending::{PENDING_MAX, PENDING_PER_ADDRESS_MAX};
pub use protocol::SyncProgress;
pub use trouble::{TROUBLES_MAX, Trouble};

/// A connection to a peer. The driver numbers connections and never uses a number twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
