//! The world state: the Merkle-Patricia trie, its accounts, and the layers above the disk.
//!
//! Knows no database: it asks a [`StateReader`] for flat values, trie nodes and code. The main type
//! is [`WorldState`], one state that can be read, changed and hashed.
//!
//! ```
//! use primitives::{Address, EMPTY_ROOT_HASH, U256};
//! use state::{MemoryState, WorldState};
//!
//! let mut disk = MemoryState::default();
//! let mut world = WorldState::at(EMPTY_ROOT_HASH, disk.clone(), 1);
//! world.add_balance(Address::ZERO, U256::from(5)).unwrap();
//! disk.apply(&world.take_changes().unwrap());
//! ```

mod account;
mod changes;
mod layer;
mod memory;
mod reader;
mod trie;
mod world;

pub use account::{Account, StorageOwner};
pub use alloy_trie::Nibbles;
pub use changes::StateChanges;
pub use layer::{Layer, LayerView, Layers};
pub use memory::{MemoryState, genesis_changes};
pub use reader::{ReadError, StateReader};
pub use trie::{NodeLinks, Trie, prove_keys};
pub use world::{AccountProof, SlotProof, WorldState, unwind};
