//! VMTests: one piece of code under Frontier's rules, entered without a transaction.
//!
//! They are run as a transaction whose intrinsic gas is added. What that changes beyond the code's
//! own doing (the sender's and the beneficiary's money, the value paid, gas refunded) is undone or
//! computed. No test in existence records calls, so that none has to be suppressed.

use alloy_consensus::{SignableTransaction, TxLegacy};
use evm::{BlockExecutor, CallOutcome, CallRequest, call, intrinsic_gas};
use primitives::{
    Address, B256, Bytes, Genesis, GenesisAccount, Log, Signature, Transaction, TransactionFields,
    TxKind, U256, keccak256,
};
use serde_json::Value;
use state::{MemoryState, WorldState, genesis_changes};

use crate::{
    json::{accounts, address, bytes, hash, list, number, object, word},
    network,
    report::Sink,
    state_tests::header,
};

/// Given back at the end for a slot that becomes zero.
const CLEARED_SLOT_GAS: u64 = 15_000;

/// Given back at the end for an account that destroys itself.
const DESTRUCTION_GAS: u64 = 24_000;

/// Runs all cases of a file.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    for (name, test) in object(json) {
        sink.case(name, || run_case(test));
    }
}

fn run_case(test: &Value) -> Result<(), String> {
    if test.get("callcreates").is_some_and(|calls| !list(calls).is_empty()) {
        return Err("calls are to be recorded, which no test did so far".into());
    }
    let spec = network::spec("Frontier", Genesis::default()).expect("a network");
    let exec = &test["exec"];
    let header = header(&spec, &test["env"]);
    let tx = transaction(exec);
    let intrinsic = intrinsic_gas(&spec, header.number, &tx);
    let gas = number(&exec["gas"]);
    let tx = with_gas(exec, gas + intrinsic);
    let gas_limit = header.gas_limit.max(tx.gas_limit());
    let header = primitives::Header { gas_limit, ..header };
    let ancestors = |number: u64| Ok(Some(keccak256(number.to_string())));

    let mut world = world(test, &tx);
    let caller = address(&exec["caller"]);
    let output = output(&spec, &header, &mut world, exec, gas + intrinsic)?;
    let mut executor = BlockExecutor::new(&spec, &header, &mut world, &ancestors);
    let receipt = executor.execute(&tx, caller).map_err(|error| error.to_string())?.clone();
    drop(executor);

    let Some(post) = test.get("post") else {
        return if receipt.success { Err("it should have halted".into()) } else { Ok(()) };
    };
    if !receipt.success {
        return Err("it should not have halted".into());
    }
    if output != bytes(&test["out"]) {
        return Err(format!("output {output}, expected {}", test["out"]));
    }
    check_logs(&receipt.logs, &test["logs"])?;
    let cleared = check_post(&mut world, test, post)?;
    let used = gas - number(&test["gas"]) + intrinsic;
    let want = used - cleared.min(used / 2);
    if receipt.cumulative_gas_used != want {
        return Err(format!("gas used {}, expected {want}", receipt.cumulative_gas_used));
    }
    Ok(())
}

fn transaction(exec: &Value) -> Transaction {
    with_gas(exec, 0)
}

fn with_gas(exec: &Value, gas_limit: u64) -> Transaction {
    let tx = TxLegacy {
        chain_id: None,
        nonce: 0,
        gas_price: word(&exec["gasPrice"]).try_into().expect("128 bits"),
        gas_limit,
        to: TxKind::Call(address(&exec["address"])),
        value: word(&exec["value"]),
        input: bytes(&exec["data"]),
    };
    tx.into_signed(Signature::test_signature()).into()
}

/// The state before, with a sender who can pay and a callee who has not been paid yet.
fn world(test: &Value, tx: &Transaction) -> WorldState<MemoryState> {
    let exec = &test["exec"];
    let mut alloc = accounts(&test["pre"]);
    let callee: &mut GenesisAccount = alloc.entry(address(&exec["address"])).or_default();
    callee.code = bytes(&exec["code"]);
    callee.balance = callee.balance.wrapping_sub(tx.value());
    let price = U256::from(tx.gas_limit()) * U256::from(tx.max_fee_per_gas());
    let caller = alloc.entry(address(&exec["caller"])).or_default();
    caller.nonce = 0;
    // Whoever sends a transaction has no code (EIP-3607).
    caller.code = Bytes::new();
    caller.balance = caller.balance.wrapping_add(price).wrapping_add(tx.value());
    let (root, changes) = genesis_changes(&Genesis { alloc, ..Genesis::default() });
    let mut state = MemoryState::default();
    state.apply(&changes);
    WorldState::at(root, state, 1)
}

/// What the code returns.
fn output(
    spec: &primitives::ChainSpec,
    header: &primitives::Header,
    world: &mut WorldState<MemoryState>,
    exec: &Value,
    gas: u64,
) -> Result<Bytes, String> {
    let price = word(&exec["gasPrice"]).try_into().expect("128 bits");
    let request = CallRequest {
        from: address(&exec["caller"]),
        to: TxKind::Call(address(&exec["address"])),
        gas,
        max_fee_per_gas: price,
        max_priority_fee_per_gas: price,
        value: word(&exec["value"]),
        input: bytes(&exec["data"]),
        ..CallRequest::default()
    };
    match call(spec, header, world, &|_| Ok(None), &request).map_err(|error| error.to_string())? {
        CallOutcome::Success { output, .. } | CallOutcome::Revert { output, .. } => Ok(output),
        CallOutcome::Halt { .. } => Ok(Bytes::new()),
    }
}

fn check_logs(logs: &[Log], want: &Value) -> Result<(), String> {
    let have = keccak256(alloy_rlp::encode(logs.to_vec()));
    if have == hash(want) { Ok(()) } else { Err(format!("logs {have}, expected {want}")) }
}

/// Compares accounts and slots, and returns the gas that is given back at the end.
fn check_post(
    world: &mut WorldState<MemoryState>,
    test: &Value,
    post: &Value,
) -> Result<u64, String> {
    let (before, after) = (accounts(&test["pre"]), accounts(post));
    let paid = [address(&test["exec"]["caller"]), address(&test["env"]["currentCoinbase"])];
    let mut refund = 0;
    for (address, want) in &after {
        let have = world.account(*address).expect("memory never fails");
        let have = have.ok_or_else(|| format!("no account {address}"))?;
        if !paid.contains(address) && have.balance != want.balance {
            return Err(format!("{address} has {}, expected {}", have.balance, want.balance));
        }
        if !paid.contains(address) && have.code_hash != keccak256(&want.code) {
            return Err(format!("the code of {address} is another"));
        }
        let old = before.get(address).map(|account| &account.storage);
        for slot in want.storage.keys().chain(old.into_iter().flat_map(|slots| slots.keys())) {
            let value = slot_of(world, *address, *slot);
            let wanted = want.storage.get(slot).copied().unwrap_or_default();
            if value != wanted {
                return Err(format!("{address} {slot} is {value}, expected {wanted}"));
            }
            if wanted.is_zero() {
                refund += CLEARED_SLOT_GAS;
            }
        }
    }
    let gone = before.keys().filter(|address| !after.contains_key(*address));
    for address in gone.filter(|address| !paid.contains(address)) {
        if world.account(*address).expect("memory never fails").is_some() {
            return Err(format!("{address} should be gone"));
        }
        refund += DESTRUCTION_GAS;
    }
    Ok(refund)
}

fn slot_of(world: &mut WorldState<MemoryState>, address: Address, slot: B256) -> B256 {
    world.storage(address, U256::from_be_bytes(slot.0)).expect("memory never fails").into()
}
