//! DifficultyTests, in their new form (by network) and their old one (flat, the network in the
//! file's name).

use consensus::{DIFFICULTY_MIN, next_difficulty};
use primitives::{B256, ChainSpec, EMPTY_OMMER_ROOT_HASH, Genesis, Header};
use serde_json::Value;

use crate::{
    json::{number, object, text, word},
    network,
    report::Sink,
};

/// Runs all cases of a file.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    let (path, mut flat) = (sink.path, None);
    for (name, value) in object(json) {
        if value.get("parentDifficulty").is_some_and(|parent| word(parent) < DIFFICULTY_MIN) {
            // There is no such parent, and what would follow it is not defined.
            sink.later("parents below the least difficulty", 1);
            continue;
        }
        if value.get("parentDifficulty").is_some() {
            let spec = flat.get_or_insert_with(|| spec_of_file(path));
            sink.case(name, || run_case(spec, value));
            continue;
        }
        for (network, cases) in object(value) {
            let spec = network::spec(network, Genesis::default());
            for (name, case) in object(cases) {
                sink.case(name, || {
                    run_case(spec.as_ref().ok_or("a network of no rules that are known")?, case)
                });
            }
        }
    }
}

/// The rules that the name of a flat file stands for.
fn spec_of_file(path: &str) -> ChainSpec {
    let name = path.rsplit('/').next().unwrap_or_default();
    let network = match name.trim_start_matches("difficulty").split(['.', '_']).next() {
        Some("EIP2384") => "Berlin",
        Some("CustomHomestead") => "Homestead",
        Some("Ropsten") => return preset("ropsten"),
        Some("" | "MainNetwork") | None => return preset("mainnet"),
        Some(network) => network,
    };
    network::spec(network, Genesis::default()).expect("the file is named after a network")
}

fn preset(name: &str) -> ChainSpec {
    ChainSpec::preset(name).expect("a built-in chain")
}

fn run_case(spec: &ChainSpec, case: &Value) -> Result<(), String> {
    let has_ommers = match case.get("parentUncles").map(text) {
        None | Some("" | "0x00" | "0x0") => false,
        Some("0x01" | "0x1") => true,
        Some(hash) => hash.parse::<B256>().is_ok_and(|hash| is_hash_of_ommers(&hash)),
    };
    let parent = Header {
        number: number(&case["currentBlockNumber"]) - 1,
        timestamp: number(&case["parentTimestamp"]),
        difficulty: word(&case["parentDifficulty"]),
        ommers_hash: if has_ommers { B256::ZERO } else { EMPTY_OMMER_ROOT_HASH },
        ..Header::default()
    };
    let have = next_difficulty(spec, number(&case["currentTimestamp"]), &parent);
    let want = word(&case["currentDifficulty"]);
    if have == want { Ok(()) } else { Err(format!("{have:#x}, expected {want:#x}")) }
}

/// Zero is what the old files say where there are none.
fn is_hash_of_ommers(hash: &B256) -> bool {
    *hash != EMPTY_OMMER_ROOT_HASH
}
