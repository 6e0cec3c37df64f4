use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use super::*;
use crate::harness::random::{Random, is_long, say};

/// Changed inputs of each target.
const MUTATIONS: u64 = 2_000;
/// The same when time does not matter.
const MUTATIONS_LONG: u64 = 200_000;
/// All corpora together.
const CORPORA_BYTES_MAX: u64 = 100 * 1024;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

/// The inputs in a target's folder; with `HEMATITE_WRITE_CORPUS`, after its seeds were written.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = corpora().join(target.name);
    if std::env::var_os("HEMATITE_WRITE_CORPUS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in seeds(target.name).iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed).unwrap();
        }
    }
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{} has no corpus: {error}", target.name))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no corpus", target.name);
    files.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs a target, and says the input if it panics.
fn run(target: &Target, data: &[u8], seed: u64) {
    let ended = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(data)));
    let hex = || primitives::hex::encode(data);
    assert!(ended.is_ok(), "{} broke a rule: HEMATITE_SEED={seed}, input {}", target.name, hex());
}

#[test]
fn every_target_has_a_corpus_and_bears_it() {
    let mut bytes = 0;
    for target in TARGETS {
        for data in corpus(target) {
            bytes += u64::try_from(data.len()).unwrap();
            run(target, &data, 0);
        }
    }
    assert!(bytes <= CORPORA_BYTES_MAX, "corpora of {bytes} bytes");
}

#[test]
fn every_target_has_a_program_for_the_fuzzer() {
    for target in TARGETS {
        let path = corpora().parent().unwrap().join(format!("targets/{}.rs", target.name));
        let program = fs::read_to_string(&path).unwrap_or_else(|_| panic!("no {}", path.display()));
        assert!(program.contains(&format!("fuzz::{}(data)", target.name)), "{program}");
    }
}

#[test]
fn every_target_bears_changed_inputs() {
    let seed = std::env::var("HEMATITE_SEED").map_or(1, |text| text.parse().unwrap());
    let count = if is_long() { MUTATIONS_LONG } else { MUTATIONS };
    say(&format!("{count} changed inputs of each target: HEMATITE_SEED={seed}"));
    for target in TARGETS {
        let inputs = corpus(target);
        let mut random = Random::seeded(seed);
        let many = u64::try_from(inputs.len()).unwrap();
        let any =
            |random: &mut Random| inputs[usize::try_from(random.within(0..many)).unwrap()].clone();
        for _ in 0..count {
            let (input, other) = (any(&mut random), any(&mut random));
            run(target, &mutate(&mut random, &input, &other), seed);
        }
    }
}

#[test]
fn what_a_node_writes_is_read() {
    let read_with = |name: &str, reads: fn(&[u8]) -> bool| {
        for seed in seeds(name) {
            assert!(reads(&seed), "{name}: {}", primitives::hex::encode(&seed));
        }
    };
    read_with("hello", |data| Hello::decode(data).is_ok());
    read_with("discv4", |data| Envelope::open(data).is_ok_and(|sealed| sealed.sender().is_ok()));
    read_with("enode", |data| str::from_utf8(data).unwrap().parse::<NodeRecord>().is_ok());
    read_with("block", |data| Block::decode(&mut &data[..]).is_ok());
    read_with("transaction", |data| rpc::testing::read_transaction(data).is_ok());
    read_with("keystore", |data| accounts::testing::read_key_file(data).is_ok());
    read_with("dataset", |data| ethash::testing::read_file_start(data).is_ok());
    read_with("genesis", |data| ChainSpec::from_json(str::from_utf8(data).unwrap()).is_ok());
    read_with("eth_message", |data| {
        let version = EthVersion::ALL[usize::from(data[0])];
        Message::decode(version, data[1], &data[2..]).is_ok()
    });
}
