//! Runs state tests in the format of `ethereum/tests` (`GeneralStateTests`) on this crate.
//!
//! `cargo run -p evm --example statetests -- PATH…`, with files or folders. Prints each failure and
//! a count at the end; exits with 1 if there was a failure.
#![allow(clippy::print_stdout, reason = "a tool speaks on stdout")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxLegacy};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use evm::{BlockExecutor, ExecutionError};
use primitives::{
    Address, B256, Bytes, ChainSpec, EMPTY_ROOT_HASH, Hardfork, Header, KECCAK256_EMPTY, Signature,
    Transaction, TxKind, U256, hex, keccak256,
};
use serde_json::{Value, json};
use state::{MemoryState, WorldState};

/// Too slow for anybody: geth skips them too.
const SKIPPED: [&str; 3] = ["stTimeConsuming", "vmPerformance/loop", "randomStatetest94"];
/// The base fee of a test that names none, as in geth.
const BASE_FEE_DEFAULT: u64 = 10;

#[derive(Default)]
struct Tally {
    passed: usize,
    skipped: usize,
    failed: usize,
}

fn main() -> ExitCode {
    let mut tally = Tally::default();
    for path in std::env::args().skip(1) {
        let mut files = Vec::new();
        collect(Path::new(&path), &mut files);
        files.sort();
        for file in files {
            run_file(&file, &mut tally);
        }
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if let Ok(entries) = fs::read_dir(path) {
        entries.flatten().for_each(|entry| collect(&entry.path(), files));
    } else if path.extension().is_some_and(|extension| extension == "json") {
        files.push(path.to_owned());
    }
}

fn run_file(path: &Path, tally: &mut Tally) {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).expect("the file was just listed");
    let tests: BTreeMap<String, Value> = serde_json::from_str(&text).expect("a test file is JSON");
    for test in tests.values().filter(|test| test.get("post").is_some()) {
        for (network, posts) in object(&test["post"]) {
            let posts = posts.as_array().expect("posts are a list");
            let Some(spec) =
                spec(network).filter(|_| !SKIPPED.iter().any(|part| name.contains(part)))
            else {
                tally.skipped += posts.len();
                continue;
            };
            for (index, post) in posts.iter().enumerate() {
                match run_case(&spec, test, post) {
                    Ok(()) => tally.passed += 1,
                    Err(reason) => {
                        tally.failed += 1;
                        println!("{name} {network} {index} {}: {reason}", post["indexes"]);
                    }
                }
            }
        }
    }
}

/// The rules of a network's name, from block 0 on.
fn spec(network: &str) -> Option<ChainSpec> {
    const NETWORKS: [(&str, &str); 10] = [
        ("Frontier", ""),
        ("Homestead", "homesteadBlock"),
        ("EIP150", "eip150Block"),
        ("EIP158", "eip158Block"),
        ("Byzantium", "byzantiumBlock"),
        ("Constantinople", "constantinopleBlock"),
        ("ConstantinopleFix", "petersburgBlock"),
        ("Istanbul", "istanbulBlock"),
        ("Berlin", "berlinBlock"),
        ("London", "londonBlock"),
    ];
    let newest = NETWORKS.iter().position(|(name, _)| *name == network)?;
    let mut config = json!({ "chainId": 1, "petersburgBlock": 1_000_000_000_000_u64 });
    for (_, block) in NETWORKS[..=newest].iter().skip(1) {
        config[*block] = json!(0);
    }
    if newest >= 3 {
        config["eip155Block"] = json!(0);
    }
    if newest < 5 {
        config.as_object_mut().expect("made as one").remove("petersburgBlock");
    }
    let genesis = json!({ "config": config, "difficulty": "0x1", "gasLimit": "0x1", "alloc": {} });
    Some(ChainSpec::from_json(&genesis.to_string()).expect("a genesis of ours"))
}

fn run_case(spec: &ChainSpec, test: &Value, post: &Value) -> Result<(), String> {
    let header = header(spec, &test["env"]);
    let (mut world, root_before) = world(&test["pre"]);
    let ancestors = |number: u64| Ok(Some(keccak256(number.to_string())));
    let expects_failure = post.get("expectException").is_some_and(|value| !value.is_null());

    let mut executor = BlockExecutor::new(spec, &header, &mut world, &ancestors);
    let outcome = match transaction(test, post) {
        Some((tx, sender)) => {
            executor.execute(&tx, sender).map(|_| ()).map_err(|error| match error {
                ExecutionError::Invalid(error) => error.to_string(),
                ExecutionError::Read(error) => panic!("a read failed: {error}"),
            })
        }
        None => Err("the transaction does not fit into its fields".to_owned()),
    };
    let logs: Vec<_> =
        executor.finish().receipts.into_iter().flat_map(|receipt| receipt.logs).collect();
    match &outcome {
        Ok(()) if expects_failure => {
            return Err(format!("accepted, not {}", post["expectException"]));
        }
        Err(error) if world.root().expect("memory never fails") != root_before => {
            return Err(format!("refused, and yet the state has changed: {error}"));
        }
        // geth compares no more than this. Old tests expect the failure by state and logs only.
        Err(_) if expects_failure => return Ok(()),
        Ok(()) | Err(_) => {}
    }

    // A reward of nothing still touches the beneficiary.
    world.add_balance(header.beneficiary, U256::ZERO).expect("memory never fails");
    let account = world.account(header.beneficiary).expect("memory never fails");
    if spec.hardfork_at(header.number) >= Hardfork::Eip158
        && account.is_some_and(|it| it.is_empty())
    {
        world.destroy(header.beneficiary).expect("memory never fails");
    }
    let (root, logs) =
        (world.root().expect("memory never fails"), keccak256(alloy_rlp::encode(&logs)));
    if logs != word(&post["logs"]) {
        return Err(format!("logs {logs} expected {} {outcome:?}", post["logs"]));
    }
    if root != word(&post["hash"]) {
        return Err(format!("root {root} expected {} {outcome:?}", post["hash"]));
    }
    Ok(())
}

fn header(spec: &ChainSpec, env: &Value) -> Header {
    let number = short(&env["currentNumber"]).expect("a block number");
    let base_fee = env.get("currentBaseFee").map_or(Some(BASE_FEE_DEFAULT), short);
    Header {
        number,
        beneficiary: address(&env["currentCoinbase"]),
        timestamp: short(&env["currentTimestamp"]).expect("a time"),
        difficulty: long(&env["currentDifficulty"]).expect("a difficulty"),
        // A few old tests go beyond 64 bits, where any number is as good as the largest.
        gas_limit: short(&env["currentGasLimit"]).unwrap_or(u64::MAX),
        base_fee_per_gas: base_fee.filter(|_| spec.hardfork_at(number) >= Hardfork::London),
        ..Header::default()
    }
}

/// The state before, as if it had been read from a disk, and its root.
fn world(pre: &Value) -> (WorldState<MemoryState>, B256) {
    let mut memory = MemoryState::default();
    let mut world = WorldState::at(EMPTY_ROOT_HASH, memory.clone(), 0);
    for (address, account) in object(pre) {
        let address = address.parse().expect("an address");
        let code = bytes(&account["code"]);
        let code_hash = if code.is_empty() { KECCAK256_EMPTY } else { keccak256(&code) };
        let nonce = short(&account["nonce"]).expect("a nonce");
        let balance = long(&account["balance"]).expect("a balance");
        world.set_account(address, nonce, balance, code_hash).expect("memory never fails");
        if !code.is_empty() {
            world.set_code(code_hash, code);
        }
        for (slot, value) in object(&account["storage"]) {
            let (slot, value) =
                (long(&json!(slot)).expect("a slot"), long(value).expect("a value"));
            world.set_storage(address, slot, value).expect("memory never fails");
        }
    }
    memory.apply(&world.take_changes().expect("memory never fails"));
    let root = world.root().expect("memory never fails");
    (WorldState::at(root, memory, 1), root)
}

/// The transaction of one case with its sender; `None` if a number is larger than its field.
fn transaction(test: &Value, post: &Value) -> Option<(Transaction, Address)> {
    let fields = &test["transaction"];
    let index =
        |name| usize::try_from(post["indexes"][name].as_u64().expect("an index")).expect("small");
    let (data, gas, value) = (index("data"), index("gas"), index("value"));
    let access_list = fields.get("accessLists").map(|lists| access_list(&lists[data]));
    let to = match fields["to"].as_str() {
        None | Some("") => TxKind::Create,
        Some(to) => TxKind::Call(to.parse().expect("an address")),
    };
    let nonce = short(&fields["nonce"])?;
    let gas_limit = short(&fields["gasLimit"][gas])?;
    let value = long(&fields["value"][value])?;
    let input = bytes(&fields["data"][data]);
    let signature = Signature::test_signature();
    let tx: Transaction = if let Some(fee_cap) = fields.get("maxFeePerGas") {
        let max_fee_per_gas = u128::try_from(long(fee_cap)?).ok()?;
        let max_priority_fee_per_gas =
            u128::try_from(long(&fields["maxPriorityFeePerGas"])?).ok()?;
        let access_list = access_list.unwrap_or_default();
        let chain_id = 1;
        TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to,
            value,
            access_list,
            input,
        }
        .into_signed(signature)
        .into()
    } else {
        let gas_price = u128::try_from(long(&fields["gasPrice"])?).ok()?;
        match access_list {
            Some(access_list) => TxEip2930 {
                chain_id: 1,
                nonce,
                gas_price,
                gas_limit,
                to,
                value,
                access_list,
                input,
            }
            .into_signed(signature)
            .into(),
            None => TxLegacy { chain_id: None, nonce, gas_price, gas_limit, to, value, input }
                .into_signed(signature)
                .into(),
        }
    };
    Some((tx, sender(fields)))
}

fn access_list(list: &Value) -> AccessList {
    let items = list.as_array().map_or(&[] as &[Value], Vec::as_slice).iter().map(|item| {
        let keys = item["storageKeys"].as_array().expect("keys are a list");
        let storage_keys = keys.iter().map(|key| B256::from(long(key).expect("a slot"))).collect();
        AccessListItem { address: address(&item["address"]), storage_keys }
    });
    AccessList(items.collect())
}

fn sender(fields: &Value) -> Address {
    let key = word(&fields["secretKey"]);
    let key = secp256k1::SecretKey::from_byte_array(&key.0).expect("a secret key");
    let public = key.public_key(secp256k1::SECP256K1).serialize_uncompressed();
    Address::from_raw_public_key(&public[1..])
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().expect("an object").iter().map(|(key, value)| (key.as_str(), value))
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn address(value: &Value) -> Address {
    text(value).parse().expect("an address")
}

fn bytes(value: &Value) -> Bytes {
    hex::decode(text(value)).expect("hex").into()
}

fn word(value: &Value) -> B256 {
    text(value).parse().expect("a hash")
}

fn long(value: &Value) -> Option<U256> {
    let text = text(value);
    let text = text.strip_prefix("0x:bigint ").unwrap_or(text);
    match text.strip_prefix("0x") {
        Some("") => Some(U256::ZERO),
        Some(digits) => U256::from_str_radix(digits, 16).ok(),
        None => U256::from_str_radix(text, 10).ok(),
    }
}

fn short(value: &Value) -> Option<u64> {
    long(value).and_then(|number| number.try_into().ok())
}
