//! Attacks on a whole node, and what they may cost it. Each test names the row of the catalogue of
//! attacks that it is for; figures are the row's. Loads stay on the loopback network and end by
//! themselves.
//!
//! Latency is asserted with `HEMATITE_TIER=long` only, as are loads that take longer than seconds.

mod arena;
mod claims;
mod discovery;
mod flood;
mod handshake;
mod messages;
mod questions;
mod transactions;
