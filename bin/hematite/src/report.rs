//! What the node says about itself: version, readiness, progress of the DAG.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use alloy_rlp::Encodable;
use ethash::Phase;
use eyre::Result;
use miner::MinerHandle;
use primitives::{Address, Bytes, address};
use tokio_util::sync::CancellationToken;

use crate::{assemble::Node, config::Config, progress::Progress};

/// How often the DAG's progress is looked at.
const DATASET_INTERVAL: Duration = Duration::from_millis(200);

/// The accounts that the development chain funds, and their keys: those of the mnemonic
/// `test test test test test test test test test test test junk`.
const DEV_ACCOUNTS: [(Address, &str); 3] = [
    (
        address!("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
        "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    ),
    (
        address!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
        "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    ),
    (
        address!("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
        "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    ),
];

/// The funded accounts of the development chain and their keys.
#[must_use]
pub const fn dev_accounts() -> [(Address, &'static str); 3] {
    DEV_ACCOUNTS
}

/// What `web3_clientVersion` says: name, version, system, compiler, in geth's shape.
#[must_use]
pub fn client_version(identity: Option<&str>) -> String {
    let identity = identity.map(|identity| format!("/{identity}")).unwrap_or_default();
    let (version, os, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::OS, go_arch());
    let rust = env!("CARGO_PKG_RUST_VERSION");
    format!("Hematite{identity}/v{version}-stable/{os}-{arch}/rustc{rust}")
}

/// The processor, as Go calls it.
pub(crate) fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What blocks carry unless something else is said: RLP of version, name, compiler and system, as
/// geth's do.
#[must_use]
pub fn extra_data() -> Bytes {
    let part = |text: &str| text.parse::<u64>().unwrap_or(0);
    let version = part(env!("CARGO_PKG_VERSION_MAJOR")) << 16
        | part(env!("CARGO_PKG_VERSION_MINOR")) << 8
        | part(env!("CARGO_PKG_VERSION_PATCH"));
    let rust = concat!("rs", env!("CARGO_PKG_RUST_VERSION"));
    let os = std::env::consts::OS;
    let payload_length = version.length() + "hematite".length() + rust.length() + os.length();
    let mut rlp = Vec::new();
    alloy_rlp::Header { list: true, payload_length }.encode(&mut rlp);
    version.encode(&mut rlp);
    "hematite".encode(&mut rlp);
    rust.encode(&mut rlp);
    os.encode(&mut rlp);
    Bytes::from(rlp)
}

/// Says that the node runs, and to a person what to type next.
pub fn ready(config: &Config, node: &Node, started: Instant) {
    let view = node.chain.view();
    tracing::info!(
        number = view.head.number,
        hash = %view.head.hash(),
        td = %view.td,
        elapsed = ?started.elapsed(),
        "Loaded most recent local full block"
    );
    let mut out = std::io::stderr();
    if config.dev.is_none() && !out.is_terminal() {
        return;
    }
    let mut text = String::new();
    if config.dev.is_some() {
        text += "\nAccounts with 10000 ether each (never use them elsewhere):\n";
        for (address, key) in DEV_ACCOUNTS {
            text += &format!("  {address}  {key}\n");
        }
    }
    if let Some(http) = node.http {
        let scheme = if config.doors.tls.is_some() { "https" } else { "http" };
        let stays = if config.is_in_memory() {
            "the chain is in memory and goes with it (--datadir keeps one)"
        } else {
            "the chain stays"
        };
        text += &format!(
            "\nRPC listens on {scheme}://{http} (chain id {}). Next, in another terminal:\n  \
             curl -s -H 'content-type: application/json' \\\n    \
             -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_getBlockByNumber\",\"params\":[\"latest\",false]}}' {scheme}://{http}\n\
             Ctrl-C stops the node; {stays}.\n\n",
            view.spec.chain_id
        );
    }
    // A closed stderr is no reason to stop.
    let _ = out.write_all(text.as_bytes());
}

/// Shows how far a DAG is: a bar on a terminal, log lines otherwise.
///
/// # Errors
///
/// None; the type is that of every part of the node.
pub async fn dataset(miner: MinerHandle, shutdown: CancellationToken) -> Result<()> {
    let mut tick = tokio::time::interval(DATASET_INTERVAL);
    let mut shown: Option<(u64, Phase, Progress)> = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = tick.tick() => {}
        }
        match (miner.dataset_progress(), &mut shown) {
            (Some(progress), Some((epoch, phase, bar)))
                if *epoch == progress.epoch.get() && *phase == progress.phase =>
            {
                bar.set_with_eta(progress.done, progress.eta());
            }
            (Some(progress), shown) => {
                let what = match progress.phase {
                    Phase::Generating => "Generating DAG",
                    Phase::Checking => "Checking DAG file",
                    Phase::Waiting => "Waiting for DAG of another process",
                };
                let mut bar = Progress::new(what, progress.total);
                bar.set_with_eta(progress.done, progress.eta());
                *shown = Some((progress.epoch.get(), progress.phase, bar));
            }
            (None, shown) => {
                if let Some((.., bar)) = shown.take() {
                    bar.finish();
                }
            }
        }
    }
    if let Some((.., bar)) = shown {
        bar.finish();
    }
    Ok(())
}
