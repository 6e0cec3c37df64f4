//! PoWTests, and ethash vectors in the form of chfast/ethash.

use alloy_rlp::Decodable;
use consensus::{EthashSeal, seal_hash, seal_of};
use ethash::Epoch;
use primitives::{B64, B256, Header};
use serde_json::Value;

use crate::{
    json::{bytes, hash, list, number, object, text},
    report::Sink,
};

/// Runs all cases of a file of PoWTests.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    let seals = EthashSeal::new();
    for (name, test) in object(json) {
        sink.case(name, || run_case(&seals, test));
    }
}

fn run_case(seals: &EthashSeal, test: &Value) -> Result<(), String> {
    let encoded = bytes(&test["header"]);
    let header = Header::decode(&mut encoded.as_ref()).map_err(|error| error.to_string())?;
    let epoch = Epoch::of_block(header.number);
    same("header hash", &seal_hash(&header), &hash(&test["header_hash"]))?;
    same("seed", &epoch.seed(), &hash(&test["seed"]))?;
    same("cache size", &epoch.cache_bytes(), &number(&test["cache_size"]))?;
    same("full size", &epoch.dataset_bytes(), &number(&test["full_size"]))?;
    same("nonce", &header.nonce, &B64::from_slice(&bytes(&test["nonce"])))?;
    same("mix hash", &header.mix_hash, &hash(&test["mixHash"]))?;
    let nonce = u64::from_be_bytes(header.nonce.0);
    let cache = seals.cache(epoch);
    let pow = cache.hashimoto(&seal_hash(&header), nonce);
    same("computed mix hash", &pow.mix_hash, &header.mix_hash)?;
    same("result", &pow.result, &hash(&test["result"]))?;
    let seal = seal_of(&header).ok_or("no difficulty")?;
    let meets = seal.target.is_met_by(&pow.result);
    same("verdict", &cache.verify(&seal).is_ok(), &meets)
}

/// Runs a list of hashes: block, header hash, nonce, mix hash, final hash.
pub(crate) fn run_hashes(json: &Value, sink: &mut Sink<'_>) {
    let seals = EthashSeal::new();
    for vector in list(json) {
        let height = number(&vector["block_number"]);
        sink.case(&format!("ethash {height}"), || {
            let nonce = u64::from_str_radix(text(&vector["nonce"]).trim_start_matches("0x"), 16);
            let nonce = nonce.map_err(|error| error.to_string())?;
            let cache = seals.cache(Epoch::of_block(height));
            let header_hash: B256 = hash(&vector["header_hash"]);
            let many = cache.hashimoto_many(&[(header_hash, nonce)]);
            let pow = cache.hashimoto(&header_hash, nonce);
            same("interleaved", &many, &vec![pow])?;
            same("mix hash", &pow.mix_hash, &hash(&vector["mix_hash"]))?;
            same("final hash", &pow.result, &hash(&vector["final_hash"]))
        });
    }
}

/// Compares one value with what it should be.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    have: &T,
    want: &T,
) -> Result<(), String> {
    if have == want { Ok(()) } else { Err(format!("{what} {have:?}, expected {want:?}")) }
}
