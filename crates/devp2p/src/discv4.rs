//! Discovery, version 4: finds nodes by UDP
//! ([specification](https://github.com/ethereum/devp2p/blob/master/discv4.md)).
//!
//! [`Machine`] is the protocol without a socket or a clock; [`crate::Discovery`] gives it both.

mod bonds;
mod clocks;
mod limiter;
mod lookup;
mod machine;
mod packet;
mod request;
mod statements;
mod table;

pub use bonds::{BOND_PERIOD, BONDS_MAX};
pub(crate) use clocks::seconds_ahead;
pub use clocks::{
    AHEAD_SECONDS_MAX, BEHIND_SECONDS_MAX, CLOCK_PERIOD, CLOCK_WITNESSES_MIN, CLOCKS_MAX, Skew,
    is_off,
};
pub use limiter::{REQUESTS_PER_MINUTE_MAX, SOURCES_MAX, VERIFIES_PER_SECOND_MAX};
pub use lookup::{ALPHA, QUESTIONS_MAX};
pub use machine::{Action, BOOTNODES_MAX, Event, LOOKUPS_MAX, Machine, MachineConfig, SEEDS_MAX};
pub use packet::{
    DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN, Endpoint, Envelope, NEIGHBORS_MAX, Neighbor, Packet,
    PacketError,
};
pub use request::{BOND_PINGS_MAX, BOND_PINGS_PER_ADDRESS_MAX, REQUESTS_MAX};
pub use statements::{STATEMENT_PERIOD, STATEMENTS_MAX, STATEMENTS_MIN};
pub use table::{
    BUCKET_NODES_MAX, BUCKET_SUBNET_NODES_MAX, BUCKETS, FAILURES_MAX, REPLACEMENTS_MAX,
    TABLE_SUBNET_NODES_MAX,
};

/// How long our packets hold, and geth's.
pub(crate) const EXPIRATION_SECONDS: u64 = 20;
