//! The whole: flags and their meaning, roles, start and stop.
//!
//! `crates/` holds the parts, this puts them together; `main` only calls it. What was typed is
//! [`args::parse`]d, and [`config::Config`] says what it means.

pub mod args;
pub mod assemble;
pub mod blocks;
pub mod bootnode;
pub mod command;
pub mod config;
pub mod dashboard;
pub mod datasets;
pub mod dispatch;
mod ethstats;
pub mod exit;
pub mod logging;
pub mod machine;
mod nat;
pub mod network;
pub mod nodes;
mod notify;
pub mod open;
pub mod ops;
pub mod plain_http;
pub mod progress;
pub mod registrar;
pub mod report;
pub mod secured;
pub mod signals;
mod signer;
mod urls;
