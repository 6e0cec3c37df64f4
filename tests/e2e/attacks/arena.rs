//! A node to attack, with a peer that keeps to the rules.

use std::{path::Path, sync::LazyLock, time::Duration};

use alloy_consensus::TxLegacy;
use chain::testing::{BlockOptions, ChainBuilder};
use network::wire::EthVersion;
use primitives::{Bytes, ChainSpec, SealedBlock, Transaction, TxKind, U256, keccak256};
use serde_json::Value;
use tempfile::TempDir;
use tests::harness::{
    attacker::{Peer, Target, key, source},
    gauge::{Cost, Gauge},
    honest::Honest,
};
use tokio::{io::AsyncReadExt, net::TcpStream, time};

use crate::harness::{
    branches::{CHAIN_ID, book_genesis, rlp, write},
    key::{GWEI, Key},
    node::{Node, succeed},
    text,
};

/// How long a node may take for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);
/// The height of the chain; the row for headers is written for it.
pub(super) const HEIGHT: u64 = 86;
/// Transactions of the largest block, and how much each carries.
const LARGE_TRANSACTIONS: u64 = 15;
const LARGE_INPUT_BYTES: usize = 110_000;
/// The number of the honest peer's key.
const HONEST: u64 = 1_000_000;

/// A chain whose last block is large.
pub(super) struct Chain {
    pub(super) genesis: Value,
    /// From the first on.
    pub(super) blocks: Vec<SealedBlock>,
}

/// Made once for all tests.
pub(super) static CHAIN: LazyLock<Chain> = LazyLock::new(Chain::grow);

/// The node, and who watches it.
pub(super) struct Arena {
    _folder: TempDir,
    pub(super) node: Node,
    pub(super) target: Target,
    pub(super) honest: Honest,
}

impl Chain {
    fn grow() -> Self {
        let key = Key::fixed(1);
        let genesis = book_genesis(&[key]);
        let spec = ChainSpec::from_json(&genesis.to_string()).expect("the genesis is right");
        let mut blocks = vec![spec.genesis_block().clone()];
        let mut builder = ChainBuilder::new(spec);
        for number in 1..=HEIGHT {
            let nonce = number - 1;
            let transactions = if number == HEIGHT {
                (nonce..nonce + LARGE_TRANSACTIONS).map(|nonce| large(&key, nonce)).collect()
            } else {
                vec![key.transfer(CHAIN_ID, nonce, key.address())]
            };
            let parent = blocks.last().expect("there is a parent").hash();
            let block = builder.block_on(parent, transactions, BlockOptions::default());
            builder.import(block.clone()).expect("the block is right");
            blocks.push(block);
        }
        Self { genesis, blocks }
    }

    pub(super) fn head(&self) -> &SealedBlock {
        self.blocks.last().expect("it has blocks")
    }
}

/// A transaction with a lot of data that cannot be compressed.
fn large(key: &Key, nonce: u64) -> Transaction {
    let hashes =
        (0_u64..).map(|number| keccak256([nonce.to_be_bytes(), number.to_be_bytes()].concat()));
    let input: Vec<u8> = hashes.flat_map(|hash| hash.0).take(LARGE_INPUT_BYTES).collect();
    key.sign(TxLegacy {
        chain_id: Some(CHAIN_ID),
        nonce,
        gas_price: GWEI,
        gas_limit: 7_600_000,
        to: TxKind::Call(key.address()),
        value: U256::ZERO,
        input: Bytes::from(input),
    })
}

impl Arena {
    /// A node on a chain that is no longer than its genesis.
    pub(super) async fn new(args: &[&str]) -> Self {
        Self::start(args, &[]).await
    }

    /// A node that has [`CHAIN`].
    pub(super) async fn with_chain(args: &[&str]) -> Self {
        Self::start(args, &CHAIN.blocks).await
    }

    async fn start(args: &[&str], blocks: &[SealedBlock]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let datadir = folder.path().join("node");
        let genesis = write(folder.path(), "genesis.json", CHAIN.genesis.to_string());
        if !blocks.is_empty() {
            let file = write(folder.path(), "chain.rlp", rlp(blocks));
            let import = ["import", "--fakepow", "--genesis", &genesis, "--datadir"];
            succeed(&[&import[..], &[text(&datadir), &file]].concat());
        }
        let node = start(&genesis, &datadir, args);
        let target = Target::of(&node.enode());
        let honest = Honest::join(&target, HONEST).await;
        Self { _folder: folder, node, target, honest }
    }

    /// Begins to measure. What one peer needs that comes and goes is there already.
    pub(super) async fn gauge(&self) -> Gauge {
        for number in 0..4 {
            drop(self.peer(HONEST + 1 + number).await);
        }
        Gauge::start(self.node.id(), &self.node.rpc)
    }

    /// Ends the measurement, and asserts what holds for every attack.
    pub(super) async fn judge(&mut self, gauge: Gauge, row: &str, rss_max: u64) -> Cost {
        gauge.judge(row, rss_max, &mut self.honest, &self.node.history()).await
    }

    /// A peer of the newest version, with a key and an address of its own.
    pub(super) async fn peer(&self, number: u64) -> Peer {
        self.peer_of(number, EthVersion::Eth68).await
    }

    pub(super) async fn peer_of(&self, number: u64, version: EthVersion) -> Peer {
        Peer::join(&self.target, source(number), &key(number), version).await
    }
}

/// A node that takes many peers from this machine.
pub(super) fn start(genesis: &str, datadir: &Path, args: &[&str]) -> Node {
    let mut all = vec!["--genesis", genesis, "--datadir", text(datadir), "--fakepow"];
    all.extend(["--maxpeers", "100", "--port", "0", "--nat", "extip:127.0.0.1"]);
    all.extend(["--networkid", "27587"]);
    if !args.contains(&"--role") {
        all.extend(["--role", "tx"]);
    }
    all.extend(args);
    Node::start(&all)
}

/// Reads until the node closes a connection; how many bytes it has sent.
pub(super) async fn silence(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    let read = time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset is an end, too.
    drop(read.expect("the node hangs up"));
    bytes.len()
}
