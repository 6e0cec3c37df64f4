//! The chain: the only writer of chain state, and the views everybody else reads.
//!
//! Does not know who sends blocks, nor who reads them. [`Importer`] is the chain without a thread;
//! [`spawn`] gives it one and returns a [`ChainHandle`].

mod error;
mod execution;
mod fork_choice;
mod handle;
mod importer;
mod metrics;
mod rejected;
#[cfg(feature = "testing")]
pub mod testing;
mod view;

pub use error::{ImportError, OpenError};
pub use execution::{Outcome, begin_block, execute_block, finish_block};
pub use handle::{ChainEvent, ChainHandle, ChainThread, Pulse, spawn};
pub use importer::{
    BatchError, ChainConfig, Imported, Importer, ManyImported, Origin, SIDE_BYTES_MAX,
    SIDE_DEPTH_MAX,
};
pub use storage::BlockSet;
pub use view::ChainView;
