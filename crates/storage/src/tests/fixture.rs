//! Blocks that are never executed but have real states: a model that knows every past state.

use std::{collections::BTreeMap, sync::Arc};

use primitives::{
    Address, B256, BlockBody, BlockNumHash, Bytes, EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header,
    Log, Receipt, SealedBlock, SignerRecoverable, TotalDifficulty, Transaction, U256, b256,
    keccak256, logs_bloom, receipts_root, transactions_root,
};
use state::{Layer, MemoryState, StateChanges, StateReader, StorageOwner, WorldState};

use crate::{
    BlockRecord, Commit, Durability, HeadChange, StateAt, View, Writer, database::Pinned,
    schema::Column,
};

/// How many accounts the blocks play with: few, so that they are destroyed and made again.
const ADDRESSES: u64 = 12;
const SLOTS: u64 = 6;

/// A block, what it changed, and the whole state behind it.
#[derive(Debug, Clone)]
pub(super) struct Grown {
    pub(super) record: BlockRecord,
    pub(super) layer: Arc<Layer>,
    pub(super) state: MemoryState,
}

impl Grown {
    pub(super) fn id(&self) -> BlockNumHash {
        self.record.block.num_hash()
    }
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

pub(super) fn address(index: u64) -> Address {
    Address::left_padding_from(&(index + 1).to_be_bytes())
}

pub(super) fn genesis() -> Grown {
    let mut world = WorldState::at(EMPTY_ROOT_HASH, MemoryState::default(), 0);
    for index in 0..ADDRESSES {
        world.add_balance(address(index), U256::from(1_000 + index)).unwrap();
        world.set_storage(address(index), U256::from(index), U256::from(7)).unwrap();
    }
    grow(None, world, 0)
}

/// A child of `parent` with random changes; another `seed` gives another block.
pub(super) fn child(parent: &Grown, seed: u64) -> Grown {
    let number = parent.id().number + 1;
    let mut numbers = Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number));
    let mut world = WorldState::at(parent.layer.root, parent.state.clone(), number);
    for _ in 0..numbers.below(6) + 1 {
        let address = address(numbers.below(ADDRESSES));
        let slot = U256::from(numbers.below(SLOTS));
        match numbers.below(10) {
            0 => world.destroy(address).unwrap(),
            1 => {
                world.reset_storage(address).unwrap();
                world.set_storage(address, slot, U256::from(number)).unwrap();
            }
            2 => world.set_storage(address, slot, U256::ZERO).unwrap(),
            3 => {
                let code = Bytes::from(vec![u8::try_from(numbers.below(200)).unwrap(); 40]);
                let hash = keccak256(&code);
                world.set_code(hash, code);
                world.set_account(address, number, U256::from(number), hash).unwrap();
            }
            4..8 => {
                let value = U256::from(numbers.below(1 << 30) + 1);
                world.set_storage(address, slot, value).unwrap();
            }
            _ => world.add_balance(address, U256::from(numbers.below(1_000))).unwrap(),
        }
    }
    grow(Some(parent), world, seed)
}

pub(super) fn line(from: &Grown, length: usize, seed: u64) -> Vec<Grown> {
    let mut blocks: Vec<Grown> = Vec::with_capacity(length);
    for _ in 0..length {
        let next = child(blocks.last().unwrap_or(from), seed);
        blocks.push(next);
    }
    blocks
}

fn grow(parent: Option<&Grown>, mut world: WorldState<MemoryState>, seed: u64) -> Grown {
    let root = world.root().unwrap();
    let changes = world.take_changes().unwrap();
    let mut state = parent.map_or_else(MemoryState::default, |parent| parent.state.clone());
    state.apply(&changes);
    let (id, td) = parent.map_or((None, TotalDifficulty::new(U256::ZERO)), |parent| {
        (Some(parent.id()), parent.record.td)
    });
    let number = id.map_or(0, |id| id.number + 1);
    // Sealed blocks of sibling branches share every third transaction.
    let salt = if number.is_multiple_of(3) { 0 } else { seed };
    let transactions: Vec<Transaction> = match number {
        0 => Vec::new(),
        _ => vec![transaction(number, 0), transaction(number, salt + 1)],
    };
    let receipts: Vec<Receipt> = (1..)
        .zip(&transactions)
        .map(|(index, _)| Receipt {
            tx_type: 0,
            success: true,
            cumulative_gas_used: index * 21_000,
            logs: if index == 1 && number.is_multiple_of(5) {
                vec![log(number, seed)]
            } else {
                Vec::new()
            },
            post_state: Some(root),
        })
        .collect();
    let header = Header {
        parent_hash: id.map_or(B256::ZERO, |id| id.hash),
        number,
        state_root: root,
        difficulty: U256::from(number + 1),
        extra_data: seed.to_be_bytes().to_vec().into(),
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        transactions_root: transactions_root(&transactions),
        receipts_root: receipts_root(&receipts),
        logs_bloom: logs_bloom(receipts.iter().flat_map(|receipt| &receipt.logs)),
        gas_used: receipts.last().map_or(0, |receipt| receipt.cumulative_gas_used),
        ..Header::default()
    };
    let td = td.child(header.difficulty);
    let body = BlockBody { transactions, ommers: Vec::new(), withdrawals: None };
    let senders = body.transactions.iter().map(|tx| tx.recover_signer_unchecked().unwrap());
    let senders = senders.collect();
    let block = SealedBlock::seal_parts(header, body);
    let parent = id.map_or(B256::ZERO, |id| id.hash);
    let layer = Arc::new(Layer { block: block.num_hash(), parent, root, changes });
    Grown { record: BlockRecord { block, td, senders, receipts: Some(receipts) }, layer, state }
}

/// The log that a block with a number divisible by five has.
pub(super) fn log(number: u64, seed: u64) -> Log {
    let topics = vec![B256::with_last_byte(seed as u8), B256::from(U256::from(number))];
    Log::new(address(number % ADDRESSES), topics, Bytes::new()).unwrap()
}

/// The x of secp256k1's generator: a signature with it can be recovered, whatever else it says.
const SIGNATURE_R: B256 =
    b256!("0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");

fn transaction(number: u64, salt: u64) -> Transaction {
    // A legacy transaction with a made-up signature; somebody's it is.
    let fields: [Vec<u8>; 9] = [
        alloy_rlp::encode(number),
        alloy_rlp::encode(1_u64),
        alloy_rlp::encode(21_000_u64),
        alloy_rlp::encode(address(salt)),
        alloy_rlp::encode(U256::from(salt)),
        alloy_rlp::encode(Bytes::new()),
        alloy_rlp::encode(27_u64),
        alloy_rlp::encode(SIGNATURE_R),
        alloy_rlp::encode((number << 32) + salt + 1),
    ];
    let payload_length = fields.iter().map(Vec::len).sum();
    let mut rlp = Vec::new();
    alloy_rlp::Header { list: true, payload_length }.encode(&mut rlp);
    rlp.extend(fields.concat());
    alloy_rlp::Decodable::decode(&mut rlp.as_slice()).unwrap()
}

/// Initialises an empty database.
pub(super) fn initialise(writer: &mut Writer, genesis: &Grown) -> View {
    let BlockRecord { block, td, .. } = &genesis.record;
    writer.initialise(block, *td, genesis.layer.changes.clone(), "{}").unwrap()
}

/// A database in memory that holds the genesis block.
pub(super) fn memory() -> (Writer, Grown) {
    let (mut writer, _) = crate::open(&crate::StorageConfig::memory()).unwrap();
    let genesis = genesis();
    initialise(&mut writer, &genesis);
    (writer, genesis)
}

/// A commit of executed blocks that leaves the head where it is.
pub(super) fn side(blocks: &[Grown]) -> Commit {
    Commit {
        blocks: blocks.iter().map(|block| block.record.clone()).collect(),
        layers: blocks.iter().map(|block| block.layer.clone()).collect(),
        head: None,
        rewind: None,
        durability: Durability::Buffered,
    }
}

/// A commit of executed blocks that become canonical in place of the retired ones.
pub(super) fn extension(blocks: &[Grown], retired: &[Grown]) -> Commit {
    let head = HeadChange {
        retired: retired.iter().rev().map(Grown::id).collect(),
        adopted: blocks.iter().map(Grown::id).collect(),
    };
    Commit { head: Some(head), ..side(blocks) }
}

/// Every flat value of the model can be read, and nothing of what other blocks wrote.
pub(super) fn assert_flat(state: &StateAt, model: &MemoryState, others: &[&MemoryState]) {
    for other in others.iter().chain([&model]) {
        for hash in other.accounts().keys() {
            assert_eq!(
                state.account(*hash).unwrap(),
                model.account(*hash).unwrap(),
                "account {hash}"
            );
        }
        for (owner, slot) in other.slots().keys() {
            // The slots of a life are asked for only by somebody who read the account.
            if is_live(model, *owner) {
                let have = state.slot(*owner, *slot).unwrap();
                assert_eq!(have, model.slot(*owner, *slot).unwrap(), "slot {owner:?} {slot}");
            }
        }
    }
}

/// Walking the whole state gives the model's accounts and the slots of their present lives.
pub(super) fn assert_walk(state: &StateAt, model: &MemoryState) {
    let accounts: BTreeMap<_, _> = state.accounts_from(B256::ZERO).map(Result::unwrap).collect();
    assert_eq!(accounts, model.accounts().iter().map(|(hash, it)| (*hash, *it)).collect());
    for (hash, account) in &accounts {
        let owner = account.owner(*hash);
        let have: Vec<_> = state.slots_of(owner).map(Result::unwrap).collect();
        let slots = model.slots().iter().filter(|((of, _), _)| *of == owner);
        let mut want: Vec<_> = slots.map(|((_, slot), value)| (*slot, *value)).collect();
        want.sort();
        assert_eq!(have, want, "slots of {hash}");
        if let Some((middle, _)) = want.get(want.len() / 2) {
            let have: Vec<_> = state.slots_from(owner, *middle).map(Result::unwrap).collect();
            assert_eq!(have, want[want.len() / 2..]);
        }
    }
}

/// The same for what only states not below the base have.
pub(super) fn assert_nodes(state: &StateAt, model: &MemoryState) {
    for ((owner, path), node) in model.nodes() {
        if owner.is_none_or(|owner| is_live(model, owner)) {
            assert_eq!(
                state.node(*owner, path).unwrap().as_ref(),
                Some(node),
                "{owner:?} {path:?}"
            );
        }
    }
}

fn is_live(model: &MemoryState, owner: StorageOwner) -> bool {
    model.accounts().get(&owner.address_hash).is_some_and(|it| it.incarnation == owner.incarnation)
}

/// Everything in a column, as the newest view shows it.
pub(super) fn dump(pinned: &Pinned, column: Column) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut cursor = pinned.cursor(column, &[], None);
    while let Some((key, value)) = cursor.item().unwrap() {
        all.insert(key.to_vec(), value.to_vec());
        cursor.advance();
    }
    all
}

/// The nodes that turn the base's tries into those of an older state, as whoever rewinds gives them.
pub(super) fn nodes_to(view: &View, to: u64) -> (B256, StateChanges) {
    let base = view.base();
    let root = view.header(base.hash).unwrap().unwrap().state_root;
    let flat = view.history_diff(base.number, to).unwrap();
    state::unwind(root, &view.state_at(base.hash).unwrap(), flat).unwrap()
}

/// Everything in the database agrees with everything else.
pub(super) fn assert_sound(writer: &Writer) {
    let report = writer.verify(&mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:#?}", report.problems);
}
