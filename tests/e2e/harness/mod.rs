//! What the tests are made of: nodes, other people's clients, keys, sealing.

pub(crate) mod branches;
pub(crate) mod clients;
pub(crate) mod exposition;
pub(crate) mod geth;
pub(crate) mod key;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod sealed;
pub(crate) mod sealing;

use std::path::{Path, PathBuf};

pub(crate) use tests::harness::{random, rpc};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Where `tests/setup` puts what it installs.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("HEMATITE_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/hematite"),
        PathBuf::from,
    )
}

/// Where nodes under test keep their datasets, from one run to the next.
pub(crate) fn dags() -> PathBuf {
    cache().join("dags")
}

/// Something that `tests/setup` installs; without it a test fails and says so.
pub(crate) fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run tests/setup", path.display());
    path
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("the path is UTF-8")
}
