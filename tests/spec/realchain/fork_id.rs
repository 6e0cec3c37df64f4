//! Fork ids (EIP-2124) in the tables of geth's tests.

use primitives::{B256, ChainSpec, ForkId, Forks, b256, chainspec::ForkIdMismatch};
use serde_json::Value;

use crate::{
    json::{bytes, list, number, object, text},
    pow::same,
    report::Sink,
};

/// Chains that are sealed by authority: this node has their fork ids only.
const FOREIGN: [(&str, B256); 2] = [
    ("rinkeby", b256!("0x6341fd3daf94b748c72ced5a5b26028f2474f5f00d824504e4fa37a75767e177")),
    ("goerli", b256!("0xbf7e331f7f7c1dd2e05159666b3bf8bc7a8a3a9eb1d518969eab529dd9b88c1a")),
];

/// Runs both tables.
pub(super) fn run(json: &Value, sink: &mut Sink<'_>) {
    for (network, vectors) in object(&json["creation"]) {
        let chain = forks(network, list(vectors));
        for vector in list(vectors) {
            let head = number(&vector["head"]);
            sink.case(&format!("creation {network} {head}"), || {
                let (genesis, forks) = chain.as_ref().ok_or("an unknown chain")?;
                let want = ForkId { hash: hash(&vector["hash"]), next: number(&vector["next"]) };
                same("fork id", &forks.fork_id(*genesis, head), &want)
            });
        }
    }
    let spec = ChainSpec::preset("mainnet").expect("a built-in chain");
    for (place, vector) in list(&json["validation_mainnet"]).iter().enumerate() {
        sink.case(&format!("validation {place}"), || {
            let hash = hash(&vector["remote_hash"]);
            let remote = ForkId { hash, next: number(&vector["remote_next"]) };
            let want = match vector["expect"].as_str() {
                None => Ok(()),
                Some("ErrRemoteStale") => Err(ForkIdMismatch::RemoteStale),
                Some(_) => Err(ForkIdMismatch::LocalIncompatibleOrStale),
            };
            same("verdict", &spec.check_fork_id(number(&vector["local_head"]), remote), &want)
        });
    }
}

fn hash(value: &Value) -> [u8; 4] {
    bytes(value).as_ref().try_into().unwrap_or_else(|_| panic!("not four bytes: {}", text(value)))
}

/// The genesis hash and the forks of a network: ours, ours with a split as in
/// `mainnet+mergeNetsplit@18000000`, or a foreign one whose forks are those the table names.
fn forks(network: &str, vectors: &[Value]) -> Option<(B256, Forks)> {
    if let Some((_, genesis)) = FOREIGN.iter().find(|(name, _)| *name == network) {
        let mut other: Vec<u64> = vectors.iter().map(|vector| number(&vector["next"])).collect();
        other.retain(|block| *block > 0);
        other.dedup();
        return Some((*genesis, Forks { other, ..Forks::default() }));
    }
    let (name, split) = match network.split_once("+mergeNetsplit@") {
        Some((name, split)) => (name, Some(split.parse::<u64>().ok()?)),
        None => (network, None),
    };
    let spec = ChainSpec::preset(name)?;
    let mut forks = spec.forks.clone();
    forks.other.extend(split);
    Some((spec.genesis_block().hash(), forks))
}
