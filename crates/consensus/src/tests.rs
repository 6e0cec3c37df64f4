//! The rules, each kept and each broken.

mod difficulty;
mod engine;
mod gas;
mod header;
mod ommers;
mod rewards;
mod seal;

use alloy_consensus::{
    SignableTransaction, TxEip1559, TxEip2930, TxLegacy, crypto::secp256k1::sign_message,
};
use primitives::{
    Address, B256, Block, BlockBody, ChainSpec, Header, SealedBlock, SealedHeader, Signature,
    Transaction, U256, b256, hex, ommers_hash, transactions_root,
};

use crate::prepare;

/// The forks in order, by their names in a genesis file.
const FORKS: [&str; 14] = [
    "frontier",
    "homestead",
    "eip150",
    "eip155",
    "eip158",
    "byzantium",
    "constantinople",
    "petersburg",
    "istanbul",
    "muirGlacier",
    "berlin",
    "london",
    "arrowGlacier",
    "grayGlacier",
];

/// A chain with chain id 1 whose forks up to this one are active from the beginning, and with more
/// members of `config` if wanted.
fn rules_with(newest: &str, more: &str) -> ChainSpec {
    let count = 1 + FORKS.iter().position(|fork| *fork == newest).unwrap();
    let forks: String =
        FORKS[1..count].iter().map(|fork| format!(r#""{fork}Block": 0, "#)).collect();
    ChainSpec::from_json(&format!(
        r#"{{"config": {{{forks} {more} "chainId": 1}}, "gasLimit": "10000000",
            "difficulty": "200000", "alloc": {{}}}}"#
    ))
    .unwrap()
}

fn rules(newest: &str) -> ChainSpec {
    rules_with(newest, "")
}

/// The header of a valid, empty child, ten seconds later.
fn child(spec: &ChainSpec, parent: &SealedHeader) -> Header {
    prepare(
        spec,
        parent,
        parent.timestamp + 10,
        Address::ZERO,
        Default::default(),
        parent.gas_limit,
    )
}

/// A block that commits to this body.
fn block(header: Header, transactions: Vec<Transaction>, ommers: Vec<Header>) -> SealedBlock {
    let header = Header {
        transactions_root: transactions_root(&transactions),
        ommers_hash: ommers_hash(&ommers),
        ..header
    };
    SealedBlock::seal_slow(Block {
        header,
        body: BlockBody { transactions, ommers, withdrawals: None },
    })
}

fn sign(hash: B256) -> Signature {
    sign_message(B256::repeat_byte(0x42), hash).unwrap()
}

/// What [`sign`] signs with belongs to this address.
const SENDER: Address = primitives::address!("17c5185167401ed00cf5f5b2fc97d9bbfdb7d025");

fn legacy(chain_id: Option<u64>) -> Transaction {
    let tx = TxLegacy { chain_id, gas_limit: 21_000, ..TxLegacy::default() };
    let signature = sign(tx.signature_hash());
    tx.into_signed(signature).into()
}

/// The same transaction with the other form of its signature.
fn with_high_s() -> Transaction {
    let tx = TxLegacy { gas_limit: 21_000, ..TxLegacy::default() };
    let low = sign(tx.signature_hash());
    let order: U256 =
        "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().unwrap();
    let high = Signature::new(low.r(), order - low.s(), !low.v());
    tx.into_signed(high).into()
}

fn eip2930(chain_id: u64) -> Transaction {
    let tx = TxEip2930 { chain_id, gas_limit: 21_000, ..TxEip2930::default() };
    let signature = sign(tx.signature_hash());
    tx.into_signed(signature).into()
}

fn eip1559(chain_id: u64) -> Transaction {
    let tx = TxEip1559 { chain_id, gas_limit: 21_000, ..TxEip1559::default() };
    let signature = sign(tx.signature_hash());
    tx.into_signed(signature).into()
}

/// Block 6 of a deployment of the book's chain, sealed by geth 1.9.13.
fn book_block_6() -> Header {
    Header {
        parent_hash: b256!("4d979042da5cbacfd2c7dd308d114b8e02942eeae872ca3b4d1aea442031b04c"),
        ommers_hash: b256!("f60abffc8c8f729c11dc3d8a228d99764cf85caa42e35b956f25cfafe32ef12f"),
        beneficiary: primitives::address!("06e0266a396460eb52b958110f64181b990ae429"),
        state_root: b256!("9c5675b7ba80c5a781bed22364cdae8c53278117933b52992c714a9664063ec2"),
        difficulty: U256::from(131_072),
        number: 6,
        gas_limit: 133_433_221,
        timestamp: 1_606_409_163,
        extra_data: hex!("d88301090d846765746888676f312e31342e32856c696e7578").into(),
        mix_hash: b256!("20637c0da5a60fd3214aae900e13a6141ffc00ea1d1a137e416b0d8241e09335"),
        nonce: 0x1fac_3c05_f48d_b9ba_u64.to_be_bytes().into(),
        ..Header::default()
    }
}
