//! The rules of the house, as tests: arrows between crates, purity, sizes, documents, dependencies.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 800;

/// The law: every crate, lowest layer first, and what it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("primitives", &[]),
    ("ethash", &[]),
    ("state", &["primitives"]),
    ("consensus", &["primitives", "ethash"]),
    ("evm", &["primitives", "state"]),
    ("accounts", &["primitives"]),
    ("storage", &["primitives", "state"]),
    ("devp2p", &["primitives"]),
    ("tls", &[]),
    ("ethstats", &["primitives", "tls"]),
    ("chain", &["primitives", "state", "consensus", "evm", "storage"]),
    ("txpool", &["primitives", "state", "evm", "chain"]),
    ("miner", &["primitives", "ethash", "state", "consensus", "evm", "storage", "chain", "txpool"]),
    ("network", &["primitives", "state", "consensus", "storage", "devp2p", "chain", "txpool"]),
    (
        "rpc",
        &[
            "primitives",
            "state",
            "consensus",
            "evm",
            "accounts",
            "storage",
            "devp2p",
            "tls",
            "chain",
            "txpool",
            "miner",
            "network",
        ],
    ),
    ("console", &["primitives", "tls"]),
    (
        "hematite",
        &[
            "primitives",
            "ethash",
            "state",
            "consensus",
            "evm",
            "accounts",
            "storage",
            "devp2p",
            "tls",
            "ethstats",
            "chain",
            "txpool",
            "miner",
            "network",
            "rpc",
            "console",
        ],
    ),
];

/// Crates that know no runtime, no database, no clock, no log.
const PURE: &[&str] = &["primitives", "ethash", "state", "consensus", "evm"];

/// Where `ethash` may touch files: those of datasets and caches, and their memory.
const FILES_OF_DATASETS: &[&str] =
    &["ethash/src/file.rs", "ethash/src/file/", "ethash/src/kernel/memory.rs"];

/// Words that a pure crate must not contain outside its tests.
const IMPURE_WORDS: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::io::",
    "Instant::now",
    "SystemTime::now",
    "tokio::",
    "tracing::",
    "println!",
    "eprintln!",
    "rocksdb",
];

/// Which crate alone may name a library.
const NAMED_ONCE: &[(&str, &str)] = &[
    ("revm", "evm"),
    ("rocksdb", "storage"),
    ("discv5", "devp2p"),
    ("rustls", "tls"),
    ("tokio-rustls", "tls"),
    ("rcgen", "tls"),
    ("jsonrpsee", "rpc"),
    ("boa_engine", "console"),
    ("rustyline", "console"),
    ("clap", "hematite"),
];

/// The oldest version of a dependency without a known hole (RustSec).
const FLOORS: &[(&str, &str)] = &[
    ("ruint", "1.20.0"),
    ("bytes", "1.11.1"),
    ("lru", "0.18.2"),
    ("tracing-subscriber", "0.3.20"),
    ("h2", "0.4.16"),
    ("hyper", "1.0.0"),
    ("tungstenite", "0.20.1"),
    ("rustls", "0.23.18"),
    ("rustls-webpki", "0.103.13"),
    ("alloy-dyn-abi", "1.4.1"),
    ("alloy-json-abi", "0.7.7"),
    ("rocksdb", "0.25.0"),
    ("secp256k1", "0.24.2"),
    ("ring", "0.17.12"),
    ("crossbeam-channel", "0.5.15"),
    ("crossbeam-epoch", "0.9.20"),
    ("memmap2", "0.9.11"),
    ("slab", "0.4.11"),
    ("tokio", "1.44.2"),
    ("smallvec", "1.6.1"),
    ("time", "0.3.47"),
    ("keccak", "0.1.6"),
    ("idna", "1.0.0"),
];

/// Dependencies that are never taken.
const BANNED: &[&str] = &[
    "openssl",
    "openssl-sys",
    "bincode",
    "atty",
    "parity-util-mem",
    "async-std",
    "libsecp256k1",
    "evm-units",
    "uniswap-utils",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn folder(name: &str) -> PathBuf {
    if name == "hematite" { root().join("bin/hematite") } else { root().join("crates").join(name) }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn crates_depend_only_downwards() {
    let law: BTreeMap<&str, BTreeSet<&str>> =
        ARROWS.iter().map(|(name, uses)| (*name, uses.iter().copied().collect())).collect();
    let mut wrong = Vec::new();
    for package in metadata()["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        if ["tests", "benches"].contains(&name) {
            continue;
        }
        let Some(allowed) = law.get(name) else {
            wrong.push(format!("{name} is not in the table of arrows"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let used = dependency["name"].as_str().expect("a name");
            let is_own = law.contains_key(used) && dependency["kind"].is_null();
            if is_own && !allowed.contains(used) {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up: {wrong:#?}");
    for (position, (name, uses)) in ARROWS.iter().enumerate() {
        for used in *uses {
            let below = ARROWS.iter().position(|(other, _)| other == used).expect("a known crate");
            assert!(below < position, "{name} -> {used} points up in the table itself");
        }
    }
}

#[test]
fn pure_crates_touch_no_world() {
    let mut found = Vec::new();
    for name in PURE {
        for file in rust_files(&folder(name).join("src")) {
            let path = file.to_string_lossy();
            let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
            if is_test || FILES_OF_DATASETS.iter().any(|exempt| path.contains(exempt)) {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a readable file");
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            for (number, line) in code.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for word in IMPURE_WORDS {
                    if code.contains(word) {
                        found.push(format!("{}:{}: {word}", file.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn libraries_are_named_in_one_crate_only() {
    let mut wrong = Vec::new();
    for package in metadata()["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            for (library, owner) in NAMED_ONCE {
                if dependency["name"] == *library && name != *owner {
                    wrong.push(format!("{name} names {library}, which is for {owner} alone"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_is_too_long() {
    let mut long = Vec::new();
    for folder in ["crates", "bin", "tests", "benches"] {
        for file in rust_files(&root().join(folder)) {
            let lines = fs::read_to_string(&file).expect("a readable file").lines().count();
            if lines > FILE_LINES_MAX {
                long.push(format!("{}: {lines} lines", file.display()));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn every_promise_has_a_number() {
    let mut found = Vec::new();
    for folder in ["crates", "bin", "tests", "benches"] {
        for file in rust_files(&root().join(folder)) {
            let text = fs::read_to_string(&file).expect("a readable file");
            for (number, line) in text.lines().enumerate() {
                let promise = ["TO", "DO"].concat();
                let numbered = line.contains(&format!("{promise}(#"));
                if line.contains(&promise) && !numbered {
                    found.push(format!("{}:{}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn architecture_has_one_heading_per_crate_in_layer_order() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let headings: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### `"))
        .filter_map(|line| line.split('`').next())
        .collect();
    let law: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(headings, law);
    for name in law {
        assert!(folder(name).join("Cargo.toml").exists(), "{name} has no folder");
    }
}

#[test]
fn top_level_folders_are_the_agreed_ones() {
    let agreed = ["benches", "bin", "crates", "deploy", "docker", "genesis", "tests"];
    for folder in agreed {
        assert!(root().join(folder).is_dir(), "{folder} is missing");
    }
}

fn version(text: &str) -> Vec<u64> {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    core.split('.').map(|part| part.parse().expect("a numeric version")).collect()
}

#[test]
fn dependencies_are_above_the_floors_and_none_is_banned() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is committed");
    let lock: toml::Value = toml::from_str(&lock).expect("Cargo.lock is TOML");
    let packages = lock["package"].as_array().expect("packages");
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        let found = package["version"].as_str().expect("a version");
        if BANNED.contains(&name) {
            wrong.push(format!("{name} is banned"));
        }
        for (floor_of, floor) in FLOORS {
            if *floor_of == name && version(found) < version(floor) {
                wrong.push(format!("{name} {found} is below {floor}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
