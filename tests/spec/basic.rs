//! BasicTests that concern the parts of this node: the first genesis, and keys of addresses.

use primitives::{ChainSpec, keccak256};
use serde_json::Value;

use crate::{
    json::{address, bytes, hash, list, text},
    pow::same,
    report::Sink,
};

/// Runs a file by what is in it.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    let first = json.as_array().and_then(|items| items.first());
    if json.get("genesis_rlp_hex").is_some() {
        sink.case("genesis", || first_genesis(json));
    } else if first.is_some_and(|item| item.get("sig_of_emptystring").is_some()) {
        for item in list(json) {
            sink.case(text(&item["seed"]), || key_and_address(item));
        }
    } else if first.is_some_and(|item| item.get("inputs").is_some()) {
        // Blocks of before the first release: their headers lack fields that every block has.
        sink.later("headers of before Frontier", list(json).len());
    } else if json.as_object().is_some_and(is_decryption) {
        sink.later("RLPx encryption", json.as_object().map_or(0, serde_json::Map::len));
    } else {
        sink.fail("the file", "holds basic tests of no kind that is known");
    }
}

fn is_decryption(tests: &serde_json::Map<String, Value>) -> bool {
    tests.values().all(|test| test.get("decryption_type").is_some())
}

/// Mainnet's.
fn first_genesis(test: &Value) -> Result<(), String> {
    let spec = ChainSpec::preset("mainnet").expect("a built-in chain");
    let block = spec.genesis_block();
    same("hash", &block.hash(), &hash(&test["genesis_hash"]))?;
    same("state root", &block.header().state_root, &hash(&test["genesis_state_root"]))?;
    let rlp = alloy_rlp::encode(block.clone().into_block());
    same("RLP", &rlp, &bytes(&test["genesis_rlp_hex"]).to_vec())
}

/// Keccak of a word is a key; the key has an address and signs for it.
fn key_and_address(test: &Value) -> Result<(), String> {
    let key = keccak256(text(&test["seed"]));
    same("key", &key, &hash(&test["key"]))?;
    let secret = accounts::Secret::from_bytes(&key.0).map_err(|error| error.to_string())?;
    same("address", &secret.address(), &address(&test["addr"]))?;
    // The signature in the file is of a digest that it does not tell; ours must be this key's.
    let digest = keccak256([]);
    let signer = secret.sign(digest).recover_address_from_prehash(&digest);
    same("signer", &signer.map_err(|error| error.to_string())?, &secret.address())
}
