//! TransactionTests: bytes that are, or are not, a transaction under each fork.

use alloy_eips::eip2718::Decodable2718;
use alloy_rlp::PayloadView;
use consensus::Engine;
use evm::{BlockExecutor, intrinsic_gas};
use primitives::{
    Address, Block, BlockBody, ChainSpec, EMPTY_ROOT_HASH, Genesis, Hardfork, Header,
    KECCAK256_EMPTY, SealedBlock, Transaction, TransactionFields, U256, ommers_hash,
    transactions_root,
};
use serde_json::Value;
use state::{MemoryState, WorldState};

use crate::{
    json::{address, hash, maybe_bytes, number, object},
    network,
    report::{Sink, Skip},
};

/// Runs all cases of a file.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    for (name, test) in object(json) {
        let parsed = maybe_bytes(&test["txbytes"]).ok_or_else(|| "no hex".to_owned());
        let parsed = parsed.and_then(|bytes| {
            Transaction::decode_2718_exact(&bytes).map_err(|error| error.to_string())
        });
        for (network, want) in object(&test["result"]) {
            if network::is_post_merge(network) {
                sink.skip(Skip::PostMerge, 1);
                continue;
            }
            if is_beyond_price(&test["txbytes"]) && want.get("exception").is_none() {
                sink.later("prices beyond 128 bits", 1);
                continue;
            }
            sink.case(&format!("{name}_{network}"), || {
                let spec = network::spec(network, Genesis::default());
                let spec = spec.ok_or("a network of no rules that are known")?;
                run_case(&spec, parsed.as_ref().map_err(Clone::clone), want)
            });
        }
    }
}

/// Whether a price has more than 128 bits, which our transactions cannot hold. Nobody can pay it:
/// the least transaction would cost more ether than there is.
fn is_beyond_price(encoded: &Value) -> bool {
    const PRICES: [&[usize]; 3] = [&[1], &[2], &[2, 3]];
    let Some(bytes) = maybe_bytes(encoded) else { return false };
    let (kind, mut list) = match bytes.first() {
        Some(kind @ (1 | 2)) => (usize::from(*kind), &bytes[1..]),
        _ => (0, &bytes[..]),
    };
    let Ok(PayloadView::List(items)) = alloy_rlp::Header::decode_raw(&mut list) else {
        return false;
    };
    let prices = PRICES[kind].iter().filter_map(|place| items.get(*place));
    let mut prices = prices.map(|item| alloy_rlp::Header::decode_bytes(&mut &item[..], false));
    prices.any(|price| price.is_ok_and(|price| price.len() > 16))
}

fn run_case(
    spec: &ChainSpec,
    tx: Result<&Transaction, String>,
    want: &Value,
) -> Result<(), String> {
    let found = tx.and_then(|tx| check(spec, tx).map(|(sender, gas)| (tx, sender, gas)));
    match (found, want.get("exception")) {
        (Err(_), Some(_)) => Ok(()),
        (Err(error), None) => Err(format!("refused: {error}")),
        (Ok(_), Some(exception)) => Err(format!("accepted, though {exception}")),
        (Ok((tx, sender, gas)), None) => {
            if *tx.tx_hash() != hash(&want["hash"]) {
                return Err(format!("hash {}, expected {}", tx.tx_hash(), want["hash"]));
            }
            if sender != address(&want["sender"]) {
                return Err(format!("sender {sender}, expected {}", want["sender"]));
            }
            if gas != number(&want["intrinsicGas"]) {
                return Err(format!("gas {gas:#x}, expected {}", want["intrinsicGas"]));
            }
            Ok(())
        }
    }
}

/// The sender and the intrinsic gas, if the transaction can stand in a block.
fn check(spec: &ChainSpec, tx: &Transaction) -> Result<(Address, u64), String> {
    let is_london = spec.forks.is_active(Hardfork::London, 1);
    let body = BlockBody { transactions: vec![tx.clone()], ..BlockBody::default() };
    let header = Header {
        number: 1,
        transactions_root: transactions_root(&body.transactions),
        ommers_hash: ommers_hash(&[]),
        gas_limit: u64::MAX >> 1,
        base_fee_per_gas: is_london.then_some(0),
        ..Header::default()
    };
    let block = SealedBlock::seal_slow(Block { header: header.clone(), body });
    let verified = Engine::Instant.verify(spec, block).map_err(|error| error.to_string())?;
    let sender = verified.senders()[0];
    let header = Header { gas_limit: u64::MAX, ..header };
    let mut world = WorldState::at(EMPTY_ROOT_HASH, MemoryState::default(), 1);
    world.set_account(sender, tx.nonce(), U256::MAX, KECCAK256_EMPTY).expect("memory never fails");
    let mut executor = BlockExecutor::new(spec, &header, &mut world, &|_| Ok(None));
    executor.execute(tx, sender).map_err(|error| error.to_string())?;
    Ok((sender, intrinsic_gas(spec, 1, tx)))
}
