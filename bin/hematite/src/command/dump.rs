//! The state of a block as JSON, in the form of geth's `dump`.

use std::io::Write;

use chain::ChainView;
use eyre::{Result, bail, eyre};
use primitives::{Address, B256, U256, hex};
use serde_json::{Map, Value, json};
use state::{Account, StateReader};

use crate::args::DumpArgs;

/// Writes the state after a block.
///
/// # Errors
///
/// When the state is not here.
pub(super) fn write(
    view: &ChainView,
    hash: B256,
    args: &DumpArgs,
    out: &mut dyn Write,
) -> Result<()> {
    let header =
        view.db.header(hash)?.ok_or_else(|| eyre!("block {hash} is not in the database"))?;
    let is = |flag: Option<bool>| flag.unwrap_or(false);
    let state = view.state_at(hash)?;
    let start = match &args.start {
        Some(text) => {
            text.parse().map_err(|_| eyre!("--start {text} is not a hash of 32 bytes"))?
        }
        None => B256::ZERO,
    };
    let limit = args.limit.filter(|limit| *limit > 0).unwrap_or(u64::MAX);
    let mut accounts = Map::new();
    let mut count = 0;
    if is(args.iterative) {
        writeln!(out, "{}", json!({ "root": format!("{:x}", header.state_root) }))?;
    }
    for account in state.accounts_from(start) {
        let (address_hash, account) = account?;
        if count == limit {
            break;
        }
        let Some(address) = view.db.preimage(address_hash)? else {
            if !is(args.incompletes) {
                bail!(
                    "the address behind {address_hash} is unknown; --incompletes lists it by hash"
                );
            }
            continue;
        };
        count += 1;
        let address = Address::from_slice(&address);
        let value = account_json(view, &state, address_hash, &account, args)?;
        if is(args.iterative) {
            let mut line = value;
            line["address"] = json!(address);
            writeln!(out, "{line}")?;
        } else {
            accounts.insert(address.to_string(), value);
        }
    }
    if !is(args.iterative) {
        let dump = json!({ "root": format!("{:x}", header.state_root), "accounts": accounts });
        writeln!(out, "{}", serde_json::to_string_pretty(&dump)?)?;
    }
    Ok(())
}

fn account_json(
    view: &ChainView,
    state: &storage::StateAt,
    address_hash: B256,
    account: &Account,
    args: &DumpArgs,
) -> Result<Value> {
    let mut value = json!({
        "balance": account.balance.to_string(),
        "nonce": account.nonce,
        "root": format!("{:x}", account.storage_root),
        "codeHash": format!("{:x}", account.code_hash),
    });
    let code = state.code(account.code_hash)?.unwrap_or_default();
    if !code.is_empty() && args.nocode != Some(true) {
        value["code"] = json!(hex::encode(&code));
    }
    if args.nostorage != Some(true) {
        let mut slots = Map::new();
        for slot in state.slots_of(account.owner(address_hash)) {
            let (slot_hash, slot) = slot?;
            let key = view.db.preimage(slot_hash)?.unwrap_or_else(|| slot_hash.to_vec().into());
            slots.insert(hex::encode_prefixed(&key), json!(trimmed_hex(slot)));
        }
        if !slots.is_empty() {
            value["storage"] = Value::Object(slots);
        }
    }
    Ok(value)
}

/// Hex without leading zero bytes, as geth prints slots.
fn trimmed_hex(value: U256) -> String {
    hex::encode(value.to_be_bytes_trimmed_vec())
}
