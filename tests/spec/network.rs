//! The rules behind the names of networks in test files.

use primitives::{ChainSpec, DaoFork, Forks, Genesis};
use serde_json::json;

/// Schedules one fork at a block.
type Schedule = fn(&mut Forks, u64);

/// Names in the order of the forks. Each knows how to schedule itself.
const NETWORKS: [(&str, Schedule); 12] = [
    ("Frontier", |_, _| ()),
    ("Homestead", |forks, at| forks.homestead = Some(at)),
    ("Dao", |forks, at| forks.dao = Some(DaoFork { block: at, support: true })),
    ("EIP150", |forks, at| forks.eip150 = Some(at)),
    ("EIP158", |forks, at| (forks.eip155, forks.eip158) = (Some(at), Some(at))),
    ("Byzantium", |forks, at| forks.byzantium = Some(at)),
    ("Constantinople", |forks, at| forks.constantinople = Some(at)),
    ("ConstantinopleFix", |forks, at| {
        (forks.constantinople, forks.petersburg) = (forks.constantinople.or(Some(at)), Some(at));
    }),
    ("Istanbul", |forks, at| forks.istanbul = Some(at)),
    // Mainnet had Muir Glacier in between, and the tests of its difficulty are labelled Berlin.
    ("Berlin", |forks, at| (forks.muir_glacier, forks.berlin) = (Some(at), Some(at))),
    ("London", |forks, at| forks.london = Some(at)),
    ("ArrowGlacier", |forks, at| forks.arrow_glacier = Some(at)),
];

/// Parts of the names of networks that come after proof of work.
const POST_MERGE: [&str; 7] =
    ["Merge", "Paris", "Shanghai", "Cancun", "Prague", "Osaka", "Amsterdam"];

/// Whether a network's blocks are not mined.
pub(crate) fn is_post_merge(network: &str) -> bool {
    POST_MERGE.iter().any(|part| network.contains(part))
}

/// The forks of a network: a name, or two as in `BerlinToLondonAt5`.
pub(crate) fn forks(network: &str) -> Option<Forks> {
    let (first, second) = match network.split_once("To") {
        Some((first, rest)) => (first, Some(rest.split_once("At")?)),
        None => (network, None),
    };
    let mut forks = Forks::default();
    let position = schedule(&mut forks, None, first, 0)?;
    if let Some((second, at)) = second {
        schedule(&mut forks, Some(position), second, at.parse().ok()?)?;
    }
    Some(forks)
}

/// Schedules a fork and all between it and the one that is there already.
fn schedule(forks: &mut Forks, from: Option<usize>, name: &str, at: u64) -> Option<usize> {
    if name == "GrayGlacier" {
        let last = schedule(forks, from, "ArrowGlacier", at);
        forks.gray_glacier = Some(at);
        return last;
    }
    let position = NETWORKS.iter().position(|(known, _)| *known == name)?;
    let first = from.map_or(0, |from| from + 1);
    for (known, apply) in &NETWORKS[first..=position] {
        // The DAO fork is on a test's chain only where its name says so.
        if *known != "Dao" || name == "Dao" {
            apply(forks, at);
        }
    }
    Some(position)
}

/// A chain with the rules of a network and this genesis, chain id 1.
pub(crate) fn spec(network: &str, genesis: Genesis) -> Option<ChainSpec> {
    Some(ChainSpec::new(json!({ "chainId": 1 }), forks(network)?, 1, genesis))
}
