//! Runs transactions on a state, by the rules of every fork from Frontier to Gray Glacier.
//!
//! Knows no consensus and no block reward, and is the only crate that names revm. The main type is
//! [`BlockExecutor`]: made for one header, it takes the block's transactions one after the other;
//! [`call`] and [`estimate_gas`] ask "what if" and change nothing.
//!
//! ```
//! use state::{MemoryState, WorldState};
//!
//! let spec = primitives::ChainSpec::preset("book").unwrap();
//! let header = primitives::Header { number: 1, gas_limit: 8_000_000, ..Default::default() };
//! let mut world = WorldState::at(primitives::EMPTY_ROOT_HASH, MemoryState::default(), 1);
//! let executor = evm::BlockExecutor::new(&spec, &header, &mut world, &|_| Ok(None));
//! assert_eq!(executor.finish().gas_used, 0);
//! ```

mod call;
mod code;
mod commit;
mod database;
mod env;
mod error;
mod estimate;
mod executor;
mod gas;
mod halt;
mod interrupt;
mod message;
mod revert;
mod sstore;
#[cfg(test)]
mod testing;
pub mod trace;
mod transact;

pub use call::{CallOutcome, CallRequest, call, call_until, trace_call};
pub use database::BlockHashes;
pub use error::{ExecutionError, InvalidTransaction};
pub use estimate::{EstimateError, estimate_gas};
pub use executor::{BlockExecutor, Executed};
pub use gas::intrinsic_gas;
pub use interrupt::Interrupt;
pub use revert::{revert_message, revert_reason};
