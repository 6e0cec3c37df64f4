//! geth's vectors of its transition tool: a state, an environment and transactions, and the result.
//!
//! The rules and the reward are arguments of the tool that are not in the files, so a result holds if
//! some rules and one of the rewards lead to it, in every figure at once.

use std::{collections::BTreeMap, fs, path::Path};

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxLegacy};
use alloy_eips::eip2930::AccessList;
use alloy_rlp::Decodable;
use consensus::next_difficulty;
use evm::{BlockExecutor, ExecutionError};
use primitives::{
    B256, ChainSpec, EMPTY_OMMER_ROOT_HASH, Genesis, Hardfork, Header, Signature,
    SignerRecoverable, Transaction, TxKind, U256, keccak256, receipts_root, transactions_root,
};
use serde_json::Value;
use state::{MemoryState, WorldState};

use crate::{
    data::DataFile,
    json::{address, bytes, hash, list, number, object, word},
    network,
    report::{Sink, Skip},
    state_tests::{header, pre_state},
};

/// Rules that the tool may have been run with.
const NETWORKS: [&str; 12] = [
    "Frontier",
    "Homestead",
    "EIP150",
    "EIP158",
    "Byzantium",
    "Constantinople",
    "ConstantinopleFix",
    "Istanbul",
    "Berlin",
    "London",
    "ArrowGlacier",
    "GrayGlacier",
];

/// Rewards in wei that the tool was run with.
const REWARDS: [u64; 2] = [0, 0x80];

/// What the tool reports.
#[derive(Debug, PartialEq, Eq)]
struct Figures {
    state_root: B256,
    transactions_root: B256,
    receipts_root: B256,
    logs_hash: B256,
    difficulty: U256,
    gas_used: u64,
    rejected: Vec<u64>,
}

/// Runs one expected result; the other files of its folder are what leads to it.
pub(crate) fn run_file(file: &DataFile, sink: &mut Sink<'_>) {
    let name = file.path.file_name().map_or("".into(), |name| name.to_string_lossy());
    if !name.starts_with("exp") {
        return;
    }
    let folder = file.path.parent().expect("a file lies in a folder");
    let json = read(&file.path);
    let inputs = (read(&folder.join("alloc.json")), json);
    let (Some(alloc), Some(json)) = inputs else {
        return sink.later("transaction and block tools", 1);
    };
    let Some(result) = json.get("result") else {
        return sink.later("transaction and block tools", 1);
    };
    if result.get("currentRandom").is_some() || folder_is_post_merge(folder) {
        return sink.skip(Skip::PostMerge, 1);
    }
    sink.case(&name, || {
        let want = Figures::of_json(result);
        let mut last = None;
        for (env, txs) in environments(folder) {
            for network in NETWORKS {
                for reward in REWARDS {
                    let spec = network::spec(network, Genesis::default()).expect("a network");
                    let have = run(&spec, &env, &alloc, &txs, reward);
                    if have.as_ref() == Some(&want) {
                        return Ok(());
                    }
                    last = have.or(last);
                }
            }
        }
        Err(format!("no rules lead to {want:?}; the last to {last:?}"))
    });
}

fn read(path: &Path) -> Option<Value> {
    fs::read_to_string(path).ok()?.parse().ok()
}

fn folder_is_post_merge(folder: &Path) -> bool {
    read(&folder.join("env.json")).is_some_and(|env| env.get("currentRandom").is_some())
}

/// Every environment in a folder with every list of transactions.
fn environments(folder: &Path) -> Vec<(Value, Vec<Transaction>)> {
    let mut lists: Vec<Vec<Transaction>> = Vec::new();
    if let Some(json) = read(&folder.join("txs.json")) {
        lists.push(list(&json).iter().map(transaction).collect());
    }
    if let Some(rlp) = read(&folder.join("signed_txs.rlp")) {
        lists.extend(Vec::<Transaction>::decode(&mut bytes(&rlp).as_ref()).ok());
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let envs = paths.iter().filter(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("env"))
    });
    let envs: Vec<Value> = envs.filter_map(|path| read(path)).collect();
    envs.iter().flat_map(|env| lists.iter().map(move |txs| (env.clone(), txs.clone()))).collect()
}

impl Figures {
    fn of_json(result: &Value) -> Self {
        let rejected = result.get("rejected").map_or(&[] as &[Value], list).iter();
        Self {
            state_root: hash(&result["stateRoot"]),
            transactions_root: hash(&result["txRoot"]),
            receipts_root: hash(&result["receiptsRoot"]),
            logs_hash: hash(&result["logsHash"]),
            difficulty: word(&result["currentDifficulty"]),
            gas_used: number(&result["gasUsed"]),
            rejected: rejected.map(|item| number(&item["index"])).collect(),
        }
    }
}

/// What rules and a reward lead to; `None` if the state or the block cannot be made.
fn run(
    spec: &ChainSpec,
    env: &Value,
    alloc: &Value,
    txs: &[Transaction],
    reward: u64,
) -> Option<Figures> {
    let (root, state) = pre_state(alloc);
    let mut header = header(spec, env);
    if env.get("currentDifficulty").is_none() {
        header.difficulty = computed_difficulty(spec, env, &header)?;
    }
    let mut world = WorldState::at(root, state, header.number);
    let hashes: BTreeMap<String, B256> =
        env.get("blockHashes").map_or_else(BTreeMap::new, |known| {
            object(known).map(|(number, value)| (number.to_owned(), hash(value))).collect()
        });
    let hash_at = |number: u64| Ok(hashes.get(&number.to_string()).copied());
    let (mut included, mut rejected) = (Vec::new(), Vec::new());
    let mut executor = BlockExecutor::new(spec, &header, &mut world, &hash_at);
    for (place, tx) in (0..).zip(txs) {
        let sender = tx.recover_signer().ok()?;
        match executor.execute(tx, sender) {
            Ok(_) => included.push(tx.clone()),
            Err(ExecutionError::Invalid(_)) => rejected.push(place),
            Err(ExecutionError::Read(_)) => return None,
        }
    }
    let executed = executor.finish();
    pay(spec, env, &header, &mut world, reward);
    let logs: Vec<_> = executed.receipts.iter().flat_map(|receipt| receipt.logs.clone()).collect();
    Some(Figures {
        state_root: world.root().expect("memory never fails"),
        transactions_root: transactions_root(&included),
        receipts_root: receipts_root(&executed.receipts),
        logs_hash: keccak256(alloy_rlp::encode(&logs)),
        difficulty: header.difficulty,
        gas_used: executed.gas_used,
        rejected,
    })
}

fn computed_difficulty(spec: &ChainSpec, env: &Value, header: &Header) -> Option<U256> {
    let ommers = env.get("parentUncleHash").map_or(EMPTY_OMMER_ROOT_HASH, hash);
    let parent = Header {
        number: header.number.checked_sub(1)?,
        timestamp: number(env.get("parentTimestamp")?),
        difficulty: word(env.get("parentDifficulty")?),
        ommers_hash: if ommers.is_zero() { EMPTY_OMMER_ROOT_HASH } else { ommers },
        ..Header::default()
    };
    Some(next_difficulty(spec, header.timestamp, &parent))
}

/// Pays beneficiary and ommers as the tool does: any reward, and nothing is paid out as well.
fn pay(
    spec: &ChainSpec,
    env: &Value,
    header: &Header,
    world: &mut WorldState<MemoryState>,
    reward: u64,
) {
    let reward = U256::from(reward);
    let ommers = env.get("ommers").map_or(&[] as &[Value], list);
    let mut paid: Vec<_> = ommers
        .iter()
        .map(|ommer| {
            let eighths = U256::from(8 - number(&ommer["delta"]));
            (address(&ommer["address"]), reward * eighths / U256::from(8))
        })
        .collect();
    let own = reward + reward / U256::from(32) * U256::from(ommers.len());
    paid.push((header.beneficiary, own));
    for (address, amount) in paid {
        world.add_balance(address, amount).expect("memory never fails");
        let account = world.account(address).expect("memory never fails");
        if spec.hardfork_at(header.number) >= Hardfork::Eip158
            && account.is_some_and(|account| account.is_empty())
        {
            world.destroy(address).expect("memory never fails");
        }
    }
}

/// A transaction with its signature, or with the key to sign it.
fn transaction(fields: &Value) -> Transaction {
    let member = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let to = member("to").map_or(TxKind::Create, |to| TxKind::Call(address(to)));
    let kind = member("type").map_or(0, number);
    let chain_id = member("chainId").map_or(1, number);
    let nonce = number(&fields["nonce"]);
    let gas_limit = number(&fields["gas"]);
    let value = word(&fields["value"]);
    let input = member("input").or_else(|| member("data")).map(bytes).unwrap_or_default();
    let price = |name: &str| member(name).map_or(0, |value| word(value).to());
    let lists = member("accessList").cloned();
    let access_list: AccessList =
        lists.map_or_else(AccessList::default, |it| serde_json::from_value(it).expect("a list"));
    let gas_price = price("gasPrice");
    match kind {
        0 => {
            let chain_id = member("protected").filter(|it| **it == Value::Bool(true)).map(|_| 1);
            sign(TxLegacy { chain_id, nonce, gas_price, gas_limit, to, value, input }, fields)
        }
        1 => sign(
            TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input },
            fields,
        ),
        _ => {
            let tx = TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas: price("maxFeePerGas"),
                max_priority_fee_per_gas: price("maxPriorityFeePerGas"),
                to,
                value,
                access_list,
                input,
            };
            sign(tx, fields)
        }
    }
}

fn sign<T: SignableTransaction<Signature>>(tx: T, fields: &Value) -> Transaction
where
    Transaction: From<alloy_consensus::Signed<T>>,
{
    let signature = match fields.get("secretKey").filter(|key| key.is_string()) {
        Some(key) => {
            let secret = accounts::Secret::from_bytes(&hash(key).0).expect("a secret key");
            secret.sign(tx.signature_hash())
        }
        None => {
            let v = number(&fields["v"]);
            let is_odd = if v >= 27 { v.is_multiple_of(2) } else { v == 1 };
            Signature::new(word(&fields["r"]), word(&fields["s"]), is_odd)
        }
    };
    tx.into_signed(signature).into()
}
