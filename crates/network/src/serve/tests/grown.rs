//! Chains of blocks without transactions whose states are real, and what is in each state.

use std::{collections::BTreeMap, sync::Arc};

use chain::testing::spec;
use primitives::{
    Address, BlockBody, Bytes, EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header, SealedBlock,
    TotalDifficulty, U256, keccak256,
};
use state::{Account, Layer, MemoryState, StorageOwner, WorldState};
use storage::{BlockRecord, Commit, Durability, HeadChange, StorageConfig, Writer};

use super::*;

const ADDRESSES: u64 = 60;
/// The slots of the one contract that has many.
const MANY_SLOTS: u64 = 300;

/// A chain, and the whole state behind each of its blocks.
pub(super) struct Grown {
    writer: Writer,
    numbers: Numbers,
    head: Option<SealedBlock>,
    pub(super) states: Vec<(B256, MemoryState)>,
}

/// A stream of numbers that look random and are always the same.
#[derive(Debug, Clone)]
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn address(index: u64) -> Address {
    Address::left_padding_from(&(index + 1).to_be_bytes())
}

impl Grown {
    /// A chain of so many blocks above its genesis.
    pub(super) fn new(blocks: u64, seed: u64) -> Self {
        let (writer, _) = storage::open(&StorageConfig::memory()).unwrap();
        let mut grown = Self { writer, numbers: Numbers(seed), head: None, states: Vec::new() };
        let mut world = WorldState::at(EMPTY_ROOT_HASH, MemoryState::default(), 0);
        for index in 0..ADDRESSES {
            world.add_balance(address(index), U256::from(1_000 + index)).unwrap();
            let code = Bytes::from(vec![u8::try_from(index / 3).unwrap(); 50]);
            world.set_code(keccak256(&code), code.clone());
            world.set_account(address(index), 1, U256::from(index), keccak256(&code)).unwrap();
            let slots = if index == 0 { MANY_SLOTS } else { index % 7 };
            for slot in 0..slots {
                // Values short and long: some leaves lie inside their parents.
                let value = U256::from(slot + 1) << ((slot % 4) * 60);
                world.set_storage(address(index), U256::from(slot), value).unwrap();
            }
        }
        grown.add(world, 0);
        grown.extend(blocks);
        grown
    }

    /// Goes on.
    pub(super) fn extend(&mut self, blocks: u64) {
        for _ in 0..blocks {
            let (root, state) = self.states.last().unwrap().clone();
            let number = self.states.len() as u64;
            let mut world = WorldState::at(root, state, number);
            for _ in 0..self.numbers.below(6) + 1 {
                self.change(&mut world, number);
            }
            self.add(world, number);
        }
    }

    fn change(&mut self, world: &mut WorldState<MemoryState>, number: u64) {
        let address = address(self.numbers.below(ADDRESSES + 20));
        let slot = U256::from(self.numbers.below(10));
        match self.numbers.below(10) {
            0 => world.destroy(address).unwrap(),
            1 => {
                world.reset_storage(address).unwrap();
                world.set_storage(address, slot, U256::from(number)).unwrap();
            }
            2 | 3 => world.set_storage(address, slot, U256::ZERO).unwrap(),
            4 => {
                let code = Bytes::from(vec![u8::try_from(number % 250).unwrap(); 40]);
                let hash = keccak256(&code);
                world.set_code(hash, code);
                world.set_account(address, number, U256::from(number), hash).unwrap();
            }
            5..8 => {
                let value = U256::from(self.numbers.below(1 << 30) + 1);
                world.set_storage(address, slot, value << 200).unwrap();
            }
            _ => world.add_balance(address, U256::from(self.numbers.below(1_000) + 1)).unwrap(),
        }
    }

    fn add(&mut self, mut world: WorldState<MemoryState>, number: u64) {
        let root = world.root().unwrap();
        let changes = world.take_changes().unwrap();
        let mut state = self.states.last().map(|(_, state)| state.clone()).unwrap_or_default();
        state.apply(&changes);
        let parent_hash = self.head.as_ref().map_or(B256::ZERO, SealedBlock::hash);
        let header = Header {
            parent_hash,
            number,
            state_root: root,
            difficulty: U256::from(1),
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            transactions_root: EMPTY_ROOT_HASH,
            receipts_root: EMPTY_ROOT_HASH,
            ..Header::default()
        };
        let block = SealedBlock::seal_parts(header, BlockBody::default());
        let (id, td) = (block.num_hash(), TotalDifficulty::new(U256::from(number + 1)));
        self.head = Some(block.clone());
        self.states.push((root, state));
        if number == 0 {
            self.writer.initialise(&block, td, changes, "{}").unwrap();
            return;
        }
        let layer = Layer { block: id, parent: parent_hash, root, changes };
        let commit = Commit {
            blocks: vec![BlockRecord { block, td, senders: vec![], receipts: Some(vec![]) }],
            layers: vec![Arc::new(layer)],
            head: Some(HeadChange { retired: vec![], adopted: vec![id] }),
            rewind: None,
            durability: Durability::Buffered,
        };
        self.writer.commit(commit).unwrap();
    }

    /// The chain as whoever answers sees it.
    pub(super) fn view(&self) -> ChainView {
        let db = self.writer.view().clone();
        let head = self.head.as_ref().unwrap().clone_sealed_header();
        let td = TotalDifficulty::new(U256::from(head.number + 1));
        ChainView { head, td, db, spec: Arc::new(spec(Default::default())) }
    }

    /// Root and content of a state.
    pub(super) fn state(&self, number: u64) -> (B256, &MemoryState) {
        let (root, state) = &self.states[usize::try_from(number).unwrap()];
        (*root, state)
    }
}

/// The accounts of a state in order.
pub(super) fn accounts(state: &MemoryState) -> BTreeMap<B256, Account> {
    state.accounts().iter().map(|(hash, account)| (*hash, *account)).collect()
}

/// The slots of one life in order.
pub(super) fn slots(state: &MemoryState, owner: StorageOwner) -> BTreeMap<B256, U256> {
    let of_owner = state.slots().iter().filter(|((of, _), _)| *of == owner);
    of_owner.map(|((_, slot), value)| (*slot, *value)).collect()
}

/// Whether the life of an account goes on in a state.
pub(super) fn is_live(state: &MemoryState, owner: StorageOwner) -> bool {
    let account = state.accounts().get(&owner.address_hash);
    account.is_some_and(|account| account.incarnation == owner.incarnation)
}

/// The account as the trie has it.
pub(super) fn trie_account(account: &Account) -> Vec<u8> {
    let Account { nonce, balance, storage_root, code_hash, .. } = *account;
    alloy_rlp::encode(alloy_trie::TrieAccount { nonce, balance, storage_root, code_hash })
}
