use std::collections::BTreeMap;

use alloy_trie::{TrieAccount, root as oracle};
use primitives::{Genesis, GenesisAccount, map::HashSet};
use proptest::prelude::*;

use super::*;
use crate::{MemoryState, genesis_changes};

/// What a test believes about one account.
#[derive(Debug, Clone, Default)]
struct Believed {
    nonce: u64,
    balance: U256,
    code: Vec<u8>,
    slots: BTreeMap<U256, U256>,
}

type Model = BTreeMap<Address, Believed>;

#[derive(Debug, Clone)]
enum Op {
    Set { who: u8, nonce: u64, balance: u64 },
    Create { who: u8, code: u8 },
    Add { who: u8, amount: u64 },
    Store { who: u8, slot: u8, value: u8 },
    Destroy { who: u8 },
    Root,
    Read { who: u8, slot: u8 },
}

#[derive(Debug, Clone)]
enum Then {
    Continue,
    Rebase,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let who = 0_u8..12;
    let small = 0_u64..3;
    prop_oneof![
        2 => (who.clone(), small.clone(), small.clone())
            .prop_map(|(who, nonce, balance)| Op::Set { who, nonce, balance }),
        2 => (who.clone(), 0_u8..3).prop_map(|(who, code)| Op::Create { who, code }),
        2 => (who.clone(), small).prop_map(|(who, amount)| Op::Add { who, amount }),
        8 => (who.clone(), 0_u8..20, 0_u8..3)
            .prop_map(|(who, slot, value)| Op::Store { who, slot, value }),
        2 => who.clone().prop_map(|who| Op::Destroy { who }),
        1 => Just(Op::Root),
        2 => (who, 0_u8..20).prop_map(|(who, slot)| Op::Read { who, slot }),
    ]
}

fn address(who: u8) -> Address {
    Address::repeat_byte(who)
}

fn root_of(model: &Model) -> B256 {
    oracle::state_root_unhashed(model.iter().map(|(address, believed)| {
        let slots = believed.slots.iter().map(|(slot, value)| (B256::from(*slot), *value));
        let storage_root = oracle::storage_root_unhashed(slots);
        let code_hash = keccak256(&believed.code);
        let Believed { nonce, balance, .. } = *believed;
        (*address, TrieAccount { nonce, balance, storage_root, code_hash })
    }))
}

fn perform<R: StateReader>(op: Op, world: &mut WorldState<R>, model: &mut Model) {
    match op {
        Op::Set { who, nonce, balance } => {
            let believed = model.entry(address(who)).or_default();
            (believed.nonce, believed.balance) = (nonce, U256::from(balance));
            let code_hash = keccak256(&believed.code);
            world.set_account(address(who), nonce, U256::from(balance), code_hash).unwrap();
        }
        Op::Create { who, code } => {
            let believed = model.entry(address(who)).or_default();
            believed.slots.clear();
            believed.code = vec![code; usize::from(code)];
            let code_hash = keccak256(&believed.code);
            world.set_code(code_hash, believed.code.clone().into());
            world.reset_storage(address(who)).unwrap();
            let Believed { nonce, balance, .. } = *believed;
            world.set_account(address(who), nonce, balance, code_hash).unwrap();
        }
        Op::Add { who, amount } => {
            model.entry(address(who)).or_default().balance += U256::from(amount);
            world.add_balance(address(who), U256::from(amount)).unwrap();
        }
        Op::Store { who, slot, value } => {
            let (slot, value) = (U256::from(slot), U256::from(value));
            let Some(believed) = model.get_mut(&address(who)) else { return };
            if value.is_zero() {
                believed.slots.remove(&slot);
            } else {
                believed.slots.insert(slot, value);
            }
            world.set_storage(address(who), slot, value).unwrap();
        }
        Op::Destroy { who } => {
            model.remove(&address(who));
            world.destroy(address(who)).unwrap();
        }
        Op::Root => assert_eq!(world.root().unwrap(), root_of(model)),
        Op::Read { who, slot } => {
            let slot = U256::from(slot);
            let expect = model.get(&address(who)).and_then(|believed| believed.slots.get(&slot));
            let value = world.storage(address(who), slot).unwrap();
            assert_eq!(value, expect.copied().unwrap_or_default());
            let nonce = world.account(address(who)).unwrap().map(|account| account.nonce);
            assert_eq!(nonce, model.get(&address(who)).map(|believed| believed.nonce));
        }
    }
}

/// All of a state that its accounts reach, with incarnations taken away.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reachable {
    accounts: BTreeMap<B256, Account>,
    slots: BTreeMap<(B256, B256), U256>,
    nodes: BTreeMap<(Option<B256>, Nibbles), Bytes>,
}

impl Reachable {
    fn of(disk: &MemoryState) -> Self {
        let lives = |owner: &StorageOwner| {
            disk.accounts()
                .get(&owner.address_hash)
                .is_some_and(|account| account.incarnation == owner.incarnation)
        };
        let mut this = Self::default();
        for (hash, account) in disk.accounts() {
            this.accounts.insert(*hash, Account { incarnation: 0, ..*account });
        }
        for ((owner, slot), value) in disk.slots().iter().filter(|((owner, _), _)| lives(owner)) {
            this.slots.insert((owner.address_hash, *slot), *value);
        }
        for ((owner, path), node) in disk.nodes() {
            if owner.as_ref().is_none_or(lives) {
                this.nodes.insert((owner.map(|owner| owner.address_hash), *path), node.clone());
            }
        }
        this
    }

    /// As if everything had been written at once.
    fn built(model: &Model) -> Self {
        let mut genesis = Genesis::default();
        for (address, believed) in model {
            let slots = believed.slots.iter();
            let account = GenesisAccount {
                balance: believed.balance,
                nonce: believed.nonce,
                code: believed.code.clone().into(),
                storage: slots.map(|(k, v)| (B256::from(*k), B256::from(*v))).collect(),
            };
            genesis.alloc.insert(*address, account);
        }
        let (root, changes) = genesis_changes(&genesis);
        assert_eq!(root, root_of(model));
        let mut disk = MemoryState::default();
        disk.apply(&changes);
        Self::of(&disk)
    }
}

/// Every change differs from what was there, belongs to a life that lasts, and no hash lacks its
/// preimage.
fn check_changes(changes: &StateChanges, before: &MemoryState, after: &MemoryState) {
    for (hash, account) in &changes.accounts {
        assert_ne!(before.accounts().get(hash), account.as_ref());
        assert!(after.preimage(hash).is_some());
    }
    let owners = changes.slots.keys().chain(changes.slot_nodes.keys());
    for owner in owners {
        let account = after.accounts()[&owner.address_hash];
        assert_eq!(account.incarnation, owner.incarnation);
    }
    for (owner, slots) in &changes.slots {
        assert!(!slots.is_empty());
        for (slot, value) in slots {
            assert_ne!(before.slot(*owner, *slot).unwrap(), *value);
            assert!(after.preimage(slot).is_some());
        }
    }
    for (path, node) in &changes.account_nodes {
        assert_ne!(before.nodes().get(&(None, *path)), node.as_ref(), "{path:?}");
    }
    for (owner, nodes) in &changes.slot_nodes {
        assert!(!nodes.is_empty());
        for (path, node) in nodes {
            assert_ne!(before.nodes().get(&(Some(*owner), *path)), node.as_ref(), "{path:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn is_what_a_map_of_accounts_says_after_every_block(
        blocks in prop::collection::vec(
            (
                prop::collection::vec(op(), 0..25),
                prop_oneof![Just(Then::Continue), Just(Then::Rebase), Just(Then::Reopen)],
                // A take in the middle of a block leaves the number as it is.
                prop::bool::weighted(0.85),
            ),
            1..10,
        ),
    ) {
        let mut model = Model::new();
        let mut disk = MemoryState::default();
        let mut block = 1;
        let mut world = WorldState::at(EMPTY_ROOT_HASH, disk.clone(), block);
        for (ops, then, moves_on) in blocks {
            if moves_on {
                block += 1;
                world.begin_block(block);
            }
            // An account that is gone and comes back must do so in another block.
            let absent: HashSet<_> =
                (0..12).filter(|who| !model.contains_key(&address(*who))).collect();
            for op in ops {
                let who = match op {
                    Op::Set { who, .. } | Op::Create { who, .. } | Op::Add { who, .. } => who,
                    Op::Store { .. } | Op::Destroy { .. } | Op::Root | Op::Read { .. } => 255,
                };
                if moves_on || !absent.contains(&who) {
                    perform(op, &mut world, &mut model);
                }
            }
            let before = disk.clone();
            let changes = world.take_changes().unwrap();
            disk.apply(&changes);
            check_changes(&changes, &before, &disk);
            let root = world.root().unwrap();
            prop_assert_eq!(root, root_of(&model));
            prop_assert_eq!(Reachable::of(&disk), Reachable::built(&model));
            prop_assert!(world.take_changes().unwrap().is_empty());
            match then {
                Then::Continue => {}
                Then::Rebase => world.rebase(disk.clone()),
                Then::Reopen => world = WorldState::at(root, disk.clone(), block),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn unwinding_restores_the_values_and_the_trie(
        blocks in prop::collection::vec(prop::collection::vec(op(), 0..20), 1..8),
        back in 0_usize..8,
    ) {
        let mut model = Model::new();
        let mut disk = MemoryState::default();
        let mut world = WorldState::at(EMPTY_ROOT_HASH, disk.clone(), 1);
        let mut states = vec![(EMPTY_ROOT_HASH, Reachable::default())];
        let mut undo = Vec::new();
        for (block, ops) in (1..).zip(blocks) {
            world.begin_block(block);
            ops.into_iter().for_each(|op| perform(op, &mut world, &mut model));
            let changes = world.take_changes().unwrap();
            let mut flat = StateChanges::default();
            for hash in changes.accounts.keys() {
                flat.accounts.insert(*hash, disk.accounts().get(hash).copied());
            }
            for (owner, slots) in &changes.slots {
                let old = slots.keys().map(|slot| (*slot, disk.slot(*owner, *slot).unwrap()));
                flat.slots.insert(*owner, old.collect());
            }
            undo.push(flat);
            disk.apply(&changes);
            states.push((world.root().unwrap(), Reachable::of(&disk)));
        }
        let to = undo.len().saturating_sub(back);
        let mut flat = StateChanges::default();
        undo[to..].iter().rev().for_each(|older| flat.merge(older));
        let (root, changes) = unwind(world.root().unwrap(), &disk, flat).unwrap();
        disk.apply(&changes);
        prop_assert_eq!(root, states[to].0);
        prop_assert_eq!(&Reachable::of(&disk), &states[to].1);
    }
}

/// A world with one contract that was created in block 3 and has one slot, and its disk.
fn contract() -> (WorldState<MemoryState>, MemoryState) {
    let mut disk = MemoryState::default();
    let mut world = WorldState::at(EMPTY_ROOT_HASH, disk.clone(), 3);
    world.set_account(address(1), 1, U256::ZERO, keccak256([0xfe])).unwrap();
    world.set_storage(address(1), U256::from(5), U256::from(50)).unwrap();
    disk.apply(&world.take_changes().unwrap());
    world.rebase(disk.clone());
    (world, disk)
}

fn owner(incarnation: u64) -> StorageOwner {
    StorageOwner { address_hash: keccak256(address(1)), incarnation }
}

#[test]
fn a_destroyed_contract_comes_back_without_slots() {
    let (mut world, mut disk) = contract();
    world.begin_block(4);
    world.destroy(address(1)).unwrap();
    assert_eq!(world.account(address(1)).unwrap(), None);
    assert_eq!(world.storage(address(1), U256::from(5)).unwrap(), U256::ZERO);
    world.add_balance(address(1), U256::ZERO).unwrap();
    assert_eq!(world.storage(address(1), U256::from(5)).unwrap(), U256::ZERO);
    world.set_storage(address(1), U256::from(6), U256::from(60)).unwrap();
    let changes = world.take_changes().unwrap();
    assert_eq!(changes.slots.keys().collect::<Vec<_>>(), [&owner(4)]);
    assert_eq!(changes.slots[&owner(4)].len(), 1);
    assert_eq!(changes.slot_nodes.keys().collect::<Vec<_>>(), [&owner(4)]);
    disk.apply(&changes);
    let mut again = WorldState::at(world.root().unwrap(), disk, 5);
    assert_eq!(again.storage(address(1), U256::from(5)).unwrap(), U256::ZERO);
    assert_eq!(again.storage(address(1), U256::from(6)).unwrap(), U256::from(60));
}

#[test]
fn a_destroyed_contract_costs_one_record() {
    let (mut world, _) = contract();
    world.begin_block(4);
    world.destroy(address(1)).unwrap();
    let changes = world.take_changes().unwrap();
    assert_eq!(changes.accounts[&owner(3).address_hash], None);
    assert!(changes.slots.is_empty());
    assert!(changes.slot_nodes.is_empty());
    assert_eq!(changes.account_nodes.into_iter().collect::<Vec<_>>(), [(Nibbles::new(), None)]);
}

#[test]
fn only_the_last_life_of_a_block_leaves_slots() {
    let mut world = WorldState::at(EMPTY_ROOT_HASH, MemoryState::default(), 7);
    for slot in 1..4_u8 {
        world.set_account(address(1), 1, U256::ZERO, KECCAK256_EMPTY).unwrap();
        world.set_storage(address(1), U256::from(slot), U256::from(9)).unwrap();
        world.root().unwrap();
        if slot < 3 {
            world.destroy(address(1)).unwrap();
        }
    }
    let changes = world.take_changes().unwrap();
    let slot = keccak256(U256::from(3).to_be_bytes::<32>());
    assert_eq!(changes.slots.len(), 1);
    assert_eq!(changes.slots[&owner(7)].iter().collect::<Vec<_>>(), [(&slot, &U256::from(9))]);
    assert_eq!(changes.slot_nodes[&owner(7)].len(), 1);
}

#[test]
fn a_creation_begins_a_new_life() {
    let (mut world, _) = contract();
    world.begin_block(9);
    world.reset_storage(address(1)).unwrap();
    let account = world.account(address(1)).unwrap().unwrap();
    assert_eq!((account.incarnation, account.storage_root), (9, EMPTY_ROOT_HASH));
    assert_eq!(world.storage(address(1), U256::from(5)).unwrap(), U256::ZERO);
    world.reset_storage(address(2)).unwrap();
    assert_eq!(world.account(address(2)).unwrap(), None);
}

#[test]
fn a_change_that_is_undone_is_none() {
    let (mut world, _) = contract();
    let root = world.root().unwrap();
    world.begin_block(4);
    world.set_storage(address(1), U256::from(5), U256::from(1)).unwrap();
    world.add_balance(address(1), U256::from(1)).unwrap();
    world.add_balance(address(2), U256::from(1)).unwrap();
    assert_ne!(world.root().unwrap(), root);
    world.set_storage(address(1), U256::from(5), U256::from(50)).unwrap();
    world.set_account(address(1), 1, U256::ZERO, keccak256([0xfe])).unwrap();
    world.destroy(address(2)).unwrap();
    assert_eq!(world.root().unwrap(), root);
    assert!(world.take_changes().unwrap().is_empty());
}

#[test]
fn rebasing_in_the_middle_of_a_block_loses_nothing() {
    let (mut world, disk) = contract();
    world.begin_block(4);
    world.set_storage(address(1), U256::from(6), U256::from(60)).unwrap();
    world.set_code(keccak256([1]), vec![1].into());
    world.root().unwrap();
    world.rebase(disk.clone());
    assert_eq!(world.storage(address(1), U256::from(6)).unwrap(), U256::from(60));
    let changes = world.take_changes().unwrap();
    assert_eq!(changes.slots[&owner(3)].len(), 1);
    assert_eq!(changes.codes.len(), 1);
}

#[test]
fn code_is_read_once_and_missing_code_is_an_error() {
    let (mut world, mut disk) = contract();
    assert!(world.code(KECCAK256_EMPTY).unwrap().is_empty());
    let missing = keccak256([0xfe]);
    assert!(matches!(world.code(missing), Err(ReadError::MissingCode(hash)) if hash == missing));
    world.set_code(missing, vec![0xfe].into());
    assert_eq!(world.code(missing).unwrap()[..], [0xfe]);
    let changes = world.take_changes().unwrap();
    assert_eq!(changes.codes.len(), 1);
    disk.apply(&changes);
    world.rebase(disk);
    world.set_code(missing, vec![0xfe].into());
    assert_eq!(world.code(missing).unwrap()[..], [0xfe]);
}

#[test]
fn code_is_forgotten_when_there_is_too_much() {
    let mut disk = MemoryState::default();
    let mut world = WorldState::at(EMPTY_ROOT_HASH, disk.clone(), 1);
    let half = Bytes::from(vec![0xfe; CODE_BYTES_CACHED_MAX / 2]);
    for (byte, cached) in [(1, 1), (2, 2), (3, 0)] {
        world.set_code(B256::repeat_byte(byte), half.clone());
        disk.apply(&world.take_changes().unwrap());
        world.rebase(disk.clone());
        assert_eq!(world.codes.len(), cached);
    }
    world.set_code(B256::repeat_byte(4), half.clone());
    world.code(B256::repeat_byte(1)).unwrap();
    world.code(B256::repeat_byte(2)).unwrap();
    world.rebase(disk);
    assert_eq!((world.codes.len(), world.code_bytes), (1, half.len()));
    assert_eq!(world.take_changes().unwrap().codes.len(), 1);
}

#[test]
fn the_genesis_of_each_chain_has_its_known_root() {
    let book = "ae8d498df0eba683600c8d46a1a35d25c8e8b6054031bbc8014c447f73e5c735";
    let mainnet = "d7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544";
    for (name, expect) in [("book", book), ("mainnet", mainnet)] {
        let genesis = primitives::ChainSpec::preset(name).unwrap().genesis;
        let (root, changes) = genesis_changes(&genesis);
        assert_eq!(primitives::hex::encode(root), expect, "{name}");
        assert_eq!(changes.accounts.len(), genesis.alloc.len());
        let mut disk = MemoryState::default();
        disk.apply(&changes);
        let mut world = WorldState::at(root, &disk, 1);
        for (address, account) in &genesis.alloc {
            assert_eq!(world.account(*address).unwrap().unwrap().balance, account.balance);
        }
        assert_eq!(world.root().unwrap(), root);
    }
}

#[test]
fn an_empty_account_is_part_of_the_state() {
    let genesis =
        Genesis { alloc: [(address(1), GenesisAccount::default())].into(), ..Genesis::default() };
    let (root, changes) = genesis_changes(&genesis);
    assert_eq!(root, oracle::state_root_unhashed([(address(1), TrieAccount::default())]));
    assert_eq!(changes.accounts[&keccak256(address(1))], Some(Account::new(0)));
}

#[test]
fn proofs_hold_against_the_root() {
    let mut model = Model::new();
    let mut disk = MemoryState::default();
    let mut world = WorldState::at(EMPTY_ROOT_HASH, disk.clone(), 1);
    for who in 0..100 {
        perform(Op::Set { who, nonce: 1, balance: 7 }, &mut world, &mut model);
        for slot in 0..who {
            perform(Op::Store { who, slot, value: 1 }, &mut world, &mut model);
        }
    }
    disk.apply(&world.take_changes().unwrap());
    let root = root_of(&model);
    for (mut world, who) in
        (90..110).map(|who| (WorldState::at(root, disk.clone(), 2), who)).chain([(world, 99)])
    {
        let slots: Vec<_> = (85_u64..100).map(|slot| B256::from(U256::from(slot))).collect();
        let proof = world.prove(address(who), &slots).unwrap();
        assert_eq!(proof.account.is_some(), who < 100);
        let value = proof.account.map(|account| {
            let mut rlp = Vec::new();
            encode_account(&account, &mut rlp);
            rlp
        });
        let key = Nibbles::unpack(keccak256(address(who)));
        alloy_trie::proof::verify_proof(root, key, value, &proof.proof).unwrap();
        for (slot, proved) in slots.iter().zip(&proof.slots) {
            let exists = who < 100 && U256::from_be_bytes(slot.0) < U256::from(who);
            assert_eq!((proved.slot, proved.value), (*slot, U256::from(u8::from(exists))));
            let Some(account) = proof.account else {
                assert!(proved.proof.is_empty());
                continue;
            };
            let value = exists.then(|| vec![1]);
            let key = Nibbles::unpack(keccak256(slot));
            alloy_trie::proof::verify_proof(account.storage_root, key, value, &proved.proof)
                .unwrap();
        }
    }
}

#[test]
fn storage_tries_are_dropped_when_there_are_too_many_nodes() {
    let mut disk = MemoryState::default();
    let mut world = WorldState::at(EMPTY_ROOT_HASH, disk.clone(), 1);
    let contracts = 40_u8;
    for who in 0..contracts {
        world.add_balance(address(who), U256::from(1)).unwrap();
        for slot in 0..2_000_u64 {
            world.set_storage(address(who), U256::from(slot), U256::from(1)).unwrap();
        }
    }
    disk.apply(&world.take_changes().unwrap());
    assert_eq!(world.slot_tries.len(), usize::from(contracts));
    world.rebase(disk.clone());
    let nodes: usize = world.slot_tries.values().map(|slot_trie| slot_trie.trie.loaded()).sum();
    assert!(nodes <= SLOT_NODES_CACHED_MAX, "{nodes} nodes");
    let root = world.root().unwrap();
    world.set_storage(address(3), U256::from(7), U256::from(2)).unwrap();
    assert_ne!(world.root().unwrap(), root);
    world.set_storage(address(3), U256::from(7), U256::from(1)).unwrap();
    assert_eq!(world.root().unwrap(), root);
}
