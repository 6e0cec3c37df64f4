//! What makes a block right: the rules of proof of work, as pure functions.
//!
//! Knows no database, no clock and no caller; what a rule needs is an argument.
//! The main type is [`Engine`]: it checks everything about a block that needs no other block, and
//! only it makes a [`VerifiedBlock`]. What needs the parent or the ancestors is a function.
//!
//! ```
//! let spec = primitives::ChainSpec::preset("book").unwrap();
//! let genesis = spec.genesis_block().header();
//! assert_eq!(consensus::next_difficulty(&spec, 13, genesis), primitives::U256::from(131_072));
//! ```

mod body;
mod dao;
mod difficulty;
mod engine;
mod error;
mod gas;
mod header;
mod ommers;
mod prepare;
mod rewards;
mod seal;

pub use body::verify_execution;
pub use dao::{
    DAO_EXTRA_DATA, DAO_EXTRA_RANGE, DAO_REFUND_CONTRACT, dao_drain_list, dao_extra_data,
    is_dao_transition,
};
pub use difficulty::{DIFFICULTY_MIN, bomb_delay, next_difficulty};
pub use engine::{Engine, VerifiedBlock};
pub use error::{InvalidBlock, InvalidSender};
pub use gas::{GAS_LIMIT_MAX, GAS_LIMIT_MIN, next_base_fee, next_gas_limit};
pub use header::{
    EXTRA_DATA_BYTES_MAX, Early, FUTURE_BLOCK_SECONDS_MAX, verify_header, verify_time,
};
pub use ommers::{Ancestor, OMMER_DEPTH_MAX, OMMERS_MAX, verify_ommers};
pub use prepare::prepare;
pub use rewards::{block_reward, rewards};
pub use seal::{CACHES_MAX, CacheSource, EPOCH_MAX, EthashSeal, seal_hash, seal_of};

#[cfg(test)]
mod tests;
