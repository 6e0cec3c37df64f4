//! GeneralStateTests: one transaction on one state, for each fork and each choice of its fields.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxLegacy};
use alloy_eips::{
    eip2718::Decodable2718,
    eip2930::{AccessList, AccessListItem},
};
use evm::{BlockExecutor, ExecutionError};
use primitives::{
    Address, B256, ChainSpec, Genesis, Hardfork, Header, Signature, SignerRecoverable, Transaction,
    TxKind, U256, keccak256,
};
use serde_json::Value;
use state::{MemoryState, WorldState, genesis_changes};

use crate::{
    json::{accounts, address, bytes, hash, list, long, number, object, short, text, word},
    network,
    report::{Sink, Skip},
};

/// The base fee of a test that names none, as in geth.
const BASE_FEE_DEFAULT: u64 = 10;

/// Runs all cases of a file.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    for (name, test) in object(json) {
        let (root, state) = pre_state(&test["pre"]);
        for (network, posts) in object(&test["post"]) {
            let posts = list(posts);
            if network::is_post_merge(network) {
                sink.skip(Skip::PostMerge, posts.len());
                continue;
            }
            for (index, post) in posts.iter().enumerate() {
                sink.case(&format!("{name}_{network}_{index}"), || {
                    let spec = network::spec(network, Genesis::default());
                    let spec = spec.ok_or("a network of no rules that are known")?;
                    run_case(&spec, test, post, root, &state)
                });
            }
        }
    }
}

/// A state as if it had been read from a disk, and its root.
pub(crate) fn pre_state(pre: &Value) -> (B256, MemoryState) {
    let genesis = Genesis { alloc: accounts(pre), ..Genesis::default() };
    let (root, changes) = genesis_changes(&genesis);
    let mut state = MemoryState::default();
    state.apply(&changes);
    (root, state)
}

fn run_case(
    spec: &ChainSpec,
    test: &Value,
    post: &Value,
    root: B256,
    state: &MemoryState,
) -> Result<(), String> {
    let header = header(spec, &test["env"]);
    let mut world = WorldState::at(root, state, 1);
    let ancestors = |number: u64| Ok(Some(keccak256(number.to_string())));
    let expects_failure = post.get("expectException").is_some_and(|value| !value.is_null());

    let mut executor = BlockExecutor::new(spec, &header, &mut world, &ancestors);
    let outcome = transaction(test, post).and_then(|(tx, sender)| {
        executor.execute(&tx, sender).map(|_| ()).map_err(|error| match error {
            ExecutionError::Invalid(error) => error.to_string(),
            ExecutionError::Read(error) => panic!("a read failed: {error}"),
        })
    });
    let receipts = executor.finish().receipts;
    let logs: Vec<_> = receipts.into_iter().flat_map(|receipt| receipt.logs).collect();
    match &outcome {
        Ok(()) if expects_failure => {
            return Err(format!("accepted, not {}", post["expectException"]));
        }
        Err(error) if world.root().expect("memory never fails") != root => {
            return Err(format!("refused, and yet the state has changed: {error}"));
        }
        // geth compares no more than this. Old tests expect the failure by state and logs only.
        Err(_) if expects_failure => return Ok(()),
        Ok(()) | Err(_) => {}
    }
    touch(spec, &header, &mut world);
    let logs = keccak256(alloy_rlp::encode(&logs));
    if logs != hash(&post["logs"]) {
        return Err(format!("logs {logs}, expected {} ({outcome:?})", post["logs"]));
    }
    let root = world.root().expect("memory never fails");
    if root != hash(&post["hash"]) {
        return Err(format!("root {root}, expected {} ({outcome:?})", post["hash"]));
    }
    Ok(())
}

/// There is no reward in these tests, but nothing at all still touches the beneficiary.
fn touch(spec: &ChainSpec, header: &Header, world: &mut WorldState<&MemoryState>) {
    world.add_balance(header.beneficiary, U256::ZERO).expect("memory never fails");
    let account = world.account(header.beneficiary).expect("memory never fails");
    if spec.hardfork_at(header.number) >= Hardfork::Eip158
        && account.is_some_and(|account| account.is_empty())
    {
        world.destroy(header.beneficiary).expect("memory never fails");
    }
}

/// The header of the block that `env` describes.
pub(crate) fn header(spec: &ChainSpec, env: &Value) -> Header {
    let height = number(&env["currentNumber"]);
    let base_fee = env.get("currentBaseFee").map_or(Some(BASE_FEE_DEFAULT), short);
    Header {
        number: height,
        beneficiary: address(&env["currentCoinbase"]),
        timestamp: number(&env["currentTimestamp"]),
        difficulty: env.get("currentDifficulty").map(word).unwrap_or_default(),
        // A few old tests go beyond 64 bits, where any number is as good as the largest.
        gas_limit: short(&env["currentGasLimit"]).unwrap_or(u64::MAX),
        base_fee_per_gas: base_fee.filter(|_| spec.hardfork_at(height) >= Hardfork::London),
        ..Header::default()
    }
}

/// The transaction of one case with its sender; from its bytes where the test has them.
fn transaction(test: &Value, post: &Value) -> Result<(Transaction, Address), String> {
    let Some(encoded) = post.get("txbytes") else {
        let tx = composed(test, post).ok_or("a number is larger than its field")?;
        return Ok((tx, sender(&test["transaction"])));
    };
    let tx = Transaction::decode_2718_exact(&bytes(encoded)).map_err(|error| error.to_string())?;
    let from = tx.recover_signer().map_err(|error| error.to_string())?;
    if from != sender(&test["transaction"]) {
        return Err(format!("the sender is {from}"));
    }
    Ok((tx, from))
}

/// The transaction that a case chooses, unsigned; `None` if a number is larger than its field.
fn composed(test: &Value, post: &Value) -> Option<Transaction> {
    let fields = &test["transaction"];
    let index = |name| usize::try_from(number(&post["indexes"][name])).expect("small");
    let (data, gas, value) = (index("data"), index("gas"), index("value"));
    let to = match fields["to"].as_str() {
        None | Some("") => TxKind::Create,
        Some(to) => TxKind::Call(to.parse().expect("an address")),
    };
    let nonce = short(&fields["nonce"])?;
    let gas_limit = short(&fields["gasLimit"][gas])?;
    let value = long(&fields["value"][value])?;
    let input = bytes(&fields["data"][data]);
    let access_list = fields.get("accessLists").map(|lists| access_list(&lists[data]));
    let unsigned = Signature::test_signature();
    if let Some(fee_cap) = fields.get("maxFeePerGas") {
        let max_fee_per_gas = long(fee_cap)?.try_into().ok()?;
        let max_priority_fee_per_gas = long(&fields["maxPriorityFeePerGas"])?.try_into().ok()?;
        let access_list = access_list.unwrap_or_default();
        let tx = TxEip1559 {
            chain_id: 1,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to,
            value,
            access_list,
            input,
        };
        return Some(tx.into_signed(unsigned).into());
    }
    let gas_price = long(&fields["gasPrice"])?.try_into().ok()?;
    Some(match access_list {
        Some(access_list) => {
            let chain_id = 1;
            TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input }
                .into_signed(unsigned)
                .into()
        }
        None => TxLegacy { chain_id: None, nonce, gas_price, gas_limit, to, value, input }
            .into_signed(unsigned)
            .into(),
    })
}

fn access_list(value: &Value) -> AccessList {
    let items = value.as_array().map_or(&[] as &[Value], Vec::as_slice).iter().map(|item| {
        let storage_keys = list(&item["storageKeys"]).iter().map(|key| B256::from(word(key)));
        AccessListItem { address: address(&item["address"]), storage_keys: storage_keys.collect() }
    });
    AccessList(items.collect())
}

fn sender(fields: &Value) -> Address {
    match fields.get("sender").filter(|sender| sender.is_string()) {
        Some(sender) => address(sender),
        None => address_of(&B256::from(word(&fields["secretKey"]))),
    }
}

/// The address of a secret key.
pub(crate) fn address_of(key: &B256) -> Address {
    let key = secp256k1::SecretKey::from_byte_array(&key.0).expect("a secret key");
    let public = key.public_key(secp256k1::SECP256K1).serialize_uncompressed();
    Address::from_raw_public_key(&public[1..])
}

/// The name of a case in a list, for what has none.
pub(crate) fn name_of(value: &Value, place: usize) -> String {
    value.get("Name").map_or_else(|| place.to_string(), |name| text(name).to_owned())
}
