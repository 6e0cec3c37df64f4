//! Real geths that have nothing and are told nothing about how to sync, in a network of ours only.
//! They ask for states and not for all blocks, the old one node by node, the others by snap.

use std::{path::Path, time::Duration};

use alloy_consensus::TxLegacy;
use chain::testing::{BlockOptions, ChainBuilder};
use primitives::{
    Address, B256, Bytes, ChainSpec, SealedBlock, Transaction, TxKind, U256, bytes, keccak256,
};
use serde_json::{Value, json};

use crate::harness::{
    branches::{CHAIN_ID, book_genesis, rlp, write},
    geth::{Geth, GethNode, PEERS},
    key::{GWEI, Key},
    node::{Node, succeed},
    rpc::Rpc,
    sealing::Seals,
    text,
};

/// How long a sync may take. geth waits 10 s for more peers before it begins.
const LONGEST: Duration = Duration::from_secs(600);
/// More than have a state each: a geth that joins asks for that of the head's 64th ancestor.
const BLOCKS: u64 = 500;
/// Far enough apart that the difficulty stays the least that there is.
const BLOCK_SECONDS: u64 = 13;
/// Slots of the contract in the genesis block: more than fit one answer to geth.
const SLOTS: u64 = 9_000;
/// Accounts in the genesis block.
const ACCOUNTS: u64 = 2_000;
/// The contract in the genesis block.
const LARGE: Address = Address::repeat_byte(0x77);
/// Stores what it is told: PUSH1 32, CALLDATALOAD, PUSH1 0, CALLDATALOAD, SSTORE, STOP.
const STORES: Bytes = bytes!("6020356000355500");
/// Creates a contract that stores as many numbers as it is told, from the one that it is told:
/// PUSH1 32, CALLDATALOAD, JUMPDEST, DUP1, PUSH1 0, CALLDATALOAD, ADD, DUP1, SSTORE, PUSH1 1, SWAP1,
/// SUB, DUP1, PUSH1 3, JUMPI, STOP.
const COUNTS: Bytes = bytes!("736020355b806000350180556001900380600357006000526014600cf3");
/// How many numbers it is told to store, each time.
const COUNT: u64 = 40;

/// One for each block, because finding them takes minutes.
const NONCES: &str = include_str!("../fixtures/state_sync_nonces.txt");

fn genesis() -> Value {
    let mut genesis = book_genesis(&[Key::fixed(1)]);
    let slots = (1..=SLOTS).map(|slot| {
        let value = keccak256(slot.to_be_bytes()).to_string();
        (B256::from(U256::from(slot)).to_string(), Value::from(value))
    });
    let slots: serde_json::Map<_, _> = slots.collect();
    let alloc = genesis["alloc"].as_object_mut().expect("accounts");
    let large = json!({ "balance": "1", "code": STORES, "storage": slots });
    alloc.insert(LARGE.to_string(), large);
    for index in 0..ACCOUNTS {
        let address = Address::from_slice(&keccak256(index.to_be_bytes())[12..]);
        alloc.insert(address.to_string(), json!({ "balance": "5" }));
    }
    genesis
}

/// Creates a contract in the third block, then stores something, here and there, or pays somebody.
fn transaction(key: &Key, nonce: u64, created: Address) -> Transaction {
    let call = |to, words: [u64; 2]| {
        let words = words.map(U256::from);
        let input = words.map(|word| word.to_be_bytes::<32>()).concat().into();
        (TxKind::Call(to), input)
    };
    let (to, input) = match nonce {
        2 => (TxKind::Create, COUNTS),
        3.. if nonce.is_multiple_of(3) => call(created, [nonce * 1_000, COUNT]),
        3.. if nonce % 3 == 1 => call(LARGE, [nonce % 50, nonce]),
        _ => {
            let hash = keccak256(nonce.to_le_bytes());
            (TxKind::Call(Address::from_slice(&hash[..20])), Bytes::new())
        }
    };
    key.sign(TxLegacy {
        chain_id: Some(CHAIN_ID),
        nonce,
        gas_price: 10 * GWEI,
        gas_limit: 2_000_000,
        to,
        value: U256::from(u8::from(input.is_empty())),
        input,
    })
}

/// A chain that is sealed as every geth wants it.
///
/// # Panics
///
/// If the nonces on file are not those of this chain, with those that are.
fn grow(genesis: &Value) -> Vec<SealedBlock> {
    let spec = ChainSpec::from_json(&genesis.to_string()).expect("the genesis is right");
    let key = Key::fixed(1);
    let mut blocks = vec![spec.genesis_block().clone()];
    let mut builder = ChainBuilder::new(spec);
    let mut seals = Seals::new(NONCES);
    for nonce in 0..BLOCKS {
        let parent = blocks.last().expect("there is a parent").hash();
        let transactions = vec![transaction(&key, nonce, key.address().create(2))];
        let options = BlockOptions { seconds: BLOCK_SECONDS, ..BlockOptions::default() };
        let block = seals.seal(&builder.block_on(parent, transactions, options));
        builder.import(block.clone()).expect("the block is right");
        blocks.push(block);
    }
    seals.finish();
    blocks
}

/// Genesis and chain as files.
fn files(folder: &Path) -> (String, String) {
    let genesis = genesis();
    let blocks = grow(&genesis);
    (write(folder, "genesis.json", genesis.to_string()), write(folder, "chain.rlp", rlp(&blocks)))
}

/// A node of ours that has the chain, takes peers on this machine and calls these.
fn serve(genesis: &str, file: &str, datadir: &Path, bootnodes: &str) -> Node {
    succeed(&["import", "--genesis", genesis, "--datadir", text(datadir), file]);
    let mut args = vec!["--genesis", genesis, "--datadir", text(datadir), "--role", "tx"];
    args.extend(["--maxpeers", "10", "--port", "0", "--nat", "extip:127.0.0.1"]);
    args.extend(["--networkid", "27587", "--bootnodes", bootnodes]);
    Node::start(&args)
}

/// What a node says about everything that the chain touched.
fn told(rpc: &mut Rpc, height: u64) -> Vec<Value> {
    let key = Key::fixed(1);
    let (tag, created) = (format!("{height:#x}"), key.address().create(2));
    let mut all = vec![rpc.block_at(height)["stateRoot"].clone()];
    let untouched = Address::from_slice(&keccak256(7_u64.to_be_bytes())[12..]);
    for address in [key.address(), created, LARGE, untouched, chain::testing::BENEFICIARY] {
        for method in ["eth_getBalance", "eth_getTransactionCount", "eth_getCode"] {
            all.push(rpc.call(method, json!([address, tag])));
        }
    }
    for slot in [0, 1, 49, 3_001, 3_040, 3_041, 297_040, SLOTS, SLOTS + 1] {
        for address in [created, LARGE] {
            all.push(rpc.call("eth_getStorageAt", json!([address, format!("{slot:#x}"), tag])));
        }
    }
    all
}

fn wait_for_head(geth: &mut GethNode, hash: &str) {
    geth.wait("it has the head's state", LONGEST, |geth| {
        let head = geth.rpc.block("latest");
        head["hash"] == hash
    });
}

#[test]
fn geths_of_every_age_join_by_state_with_their_default_flags() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (genesis, file) = files(folder.path());
    let mut first = serve(&genesis, &file, &at("first"), "");
    let enode = first.enode();
    let second = serve(&genesis, &file, &at("second"), &enode);
    let bootnodes = format!("{enode},{}", second.enode());
    let head = first.rpc.block_at(BLOCKS);
    let hash = head["hash"].as_str().expect("a hash");
    let expected = told(&mut first.rpc, BLOCKS);
    let created = Key::fixed(1).address().create(2);
    let stored = first.rpc.call("eth_getStorageAt", json!([created, "0xbe0", "latest"]));
    assert_eq!(stored, B256::from(U256::from(0xbe0)).to_string());

    let mut geths: Vec<_> = PEERS
        .iter()
        .map(|version| {
            let geth = Geth::new(version, &at(version));
            geth.succeed(&["init", &genesis]);
            geth.start_syncing(&["--networkid", "27587", "--bootnodes", &bootnodes])
        })
        .collect();
    for geth in &mut geths {
        wait_for_head(geth, hash);
        assert_eq!(told(&mut geth.rpc, BLOCKS), expected);
        // It did not execute its way there: the old states are not its own.
        let old = geth.rpc.try_call("eth_getBalance", &json!([LARGE, "0x64"]));
        assert!(old.is_err(), "{old:?}");
        let history = geth.history();
        assert!(!history.contains("state sync failed"), "{history}");
    }
    first.stop_well();
    second.stop_well();
}
