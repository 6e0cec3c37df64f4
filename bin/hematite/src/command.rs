//! What the binary does besides running a node. Data goes to stdout, logs to stderr.

pub mod account;
pub mod bench;
pub mod bootnode;
pub mod chain;
pub mod console;
pub mod dag;
pub mod devnet;
mod dump;
pub mod export;
pub mod import;
pub mod peers;
