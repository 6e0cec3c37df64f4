//! Attacks on JSON-RPC, as far as they need a whole node.

mod connections;
mod doors;
pub(super) mod heavy;
mod messages;
mod requests;
mod sockets;
