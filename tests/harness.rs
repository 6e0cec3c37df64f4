//! What attacks a node, and what measures how it bears that. It knows nodes by their address,
//! process and log only.

pub mod attacker;
pub mod fuzz;
pub mod gauge;
pub mod honest;
pub mod packets;
pub mod proxy;
pub mod random;
pub mod rpc;
