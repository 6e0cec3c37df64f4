//! Ethash: the kernel that turns bytes into proof of work, at the speed of memory.
//!
//! It knows no header and no chain: a seal is a hash and a nonce. It touches no file but those of
//! datasets and caches.
//! A [`LightCache`] checks proofs of one [`Epoch`]; a [`Dataset`] made from it finds them.
//! The algorithm is the Yellow Paper's, appendix J.
//!
//! ```no_run
//! use alloy_primitives::{B256, U256};
//! use ethash::{Epoch, LightCache, Seal, Target};
//!
//! let cache = LightCache::generate(Epoch::of_block(6));
//! let target = Target::from_difficulty(U256::from(131_072)).expect("it is not zero");
//! let seal = Seal { seal_hash: B256::ZERO, nonce: 0, mix_hash: B256::ZERO, target };
//! assert!(cache.verify(&seal).is_err());
//! ```

mod cache;
mod dataset;
mod epoch;
mod file;
mod growth;
mod hashimoto;
mod kernel;
mod search;

pub use cache::LightCache;
pub use dataset::{Dataset, Effort, Phase, Progress};
pub use epoch::Epoch;
#[cfg(feature = "testing")]
pub use file::testing;
pub use file::{
    Damage, FileError, GethFile, Notice, Obtained, Origin, Preparation, Residence, Store, Unsaved,
};
pub use growth::Growth;
pub use hashimoto::{Pow, Seal, SealError, Target};
pub use kernel::{Kernel, KernelError, MemoryError, RandomReads, Scratch};
