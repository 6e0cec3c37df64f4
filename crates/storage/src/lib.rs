//! The disk: blocks, receipts and the state of every canonical block, in RocksDB.
//!
//! Knows no rules and executes nothing. [`open`] hands out the one [`Writer`] and a first [`View`];
//! every [`Commit`] gives a new view, and views never change. The whole disk is described in
//! `schema.rs`.
//!
//! ```
//! let (writer, view) = storage::open(&storage::StorageConfig::memory())?;
//! assert_eq!(view.head(), None);
//! # drop(writer);
//! # Ok::<(), storage::StorageError>(())
//! ```

mod body;
mod codec;
mod config;
mod database;
mod error;
mod flat;
mod history;
mod ledger;
mod log_index;
mod open;
mod options;
mod schema;
mod state_at;
#[cfg(test)]
mod tests;
pub mod verify;
mod view;
mod writer;

pub use config::StorageConfig;
pub use error::StorageError;
pub use ledger::LedgerState;
pub use log_index::BlockSet;
pub use open::open;
pub use state_at::StateAt;
pub use verify::{Counts, Progress, Report, verify};
pub use view::View;
pub use writer::{BlockRecord, Commit, Durability, HeadChange, LAYERS_MAX, Rewind, Writer};
