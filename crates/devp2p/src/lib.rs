//! Finding peers, and talking to them: node records, discovery, RLPx and its base protocol.
//!
//! Knows nothing of what is inside a message of a capability. [`dial`] and [`accept`] make a
//! [`Session`] of a connection.

mod address;
mod base;
mod dialer;
pub mod discovery;
pub mod discv4;
pub mod discv5;
mod ecies;
mod enr;
mod netrestrict;
mod own;
mod record;
mod rlpx;
mod session;
#[cfg(feature = "testing")]
pub mod testing;

pub use address::{RelayError, check_relayed, is_lan};
pub use base::{
    BASE_BYTES_MAX, BASE_CODES, CAPABILITIES_MAX, CAPABILITY_NAME_BYTES_MAX, Capability,
    DisconnectReason, Hello, HelloError, NAME_BYTES_MAX, Protocol, Shared, shared,
};
pub use dialer::{CANDIDATES_MAX, DIALS_MAX, DialEvent, Dialer};
pub use discovery::{Discovery, DiscoveryConfig};
pub use enr::{ENR_BYTES_MAX, Enr, EnrError, LocalRecord};
pub use netrestrict::{NetRestrict, NetRestrictError};
pub use own::{OwnNode, OwnRecord};
pub use record::{NodeRecord, PeerId, RecordError};
pub use rlpx::RlpxError;
pub use session::{
    Ended, HANDSHAKE_SECONDS_MAX, HandshakeError, Local, MESSAGE_BYTES_MAX, Message, Outgoing,
    Session, SessionError, Traffic, accept, dial,
};
