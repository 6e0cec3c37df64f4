//! A node to attack, with a peer that keeps to the rules.

use std::{
    path::Path,
    process::Command,
    sync::LazyLock,
    time::{Duration, Instant},
};

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
    rpc::Rpc,
};
use tokio::{io::AsyncReadExt, net::TcpStream, time};

use crate::harness::{
    branches::{CHAIN_ID, book_genesis, rlp, write},
    key::{GWEI, Key},
    node::{ALONE, Node, hematite, succeed},
    text,
};

/// How long a node may take for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);
/// The height of the chain; the row for headers is written for it.
pub(super) const HEIGHT: u64 = 86;
/// Transactions of the largest block, and how much each carries.
const LARGE_TRANSACTIONS: u64 = 15;
const LARGE_INPUT_BYTES: usize = 110_000;
/// Blocks that are counted to tell how fast they come. A miner here seals one each second.
const BLOCKS: u64 = 10;
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
    files: Files,
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

    /// A node at its genesis that may open so many files.
    pub(super) async fn with_descriptors(count: u32, args: &[&str]) -> Self {
        let files = Files::new(&[]);
        let node = limited(count, &files.args(args));
        Self::of(files, node).await
    }

    /// A node of another genesis.
    pub(super) async fn of_genesis(genesis: &Value, args: &[&str]) -> Self {
        let files = Files::of(genesis, &[]);
        let node = start(&files.genesis, Path::new(&files.datadir), args);
        Self::of(files, node).await
    }

    /// The same node after an orderly end.
    pub(super) async fn restart(self) -> Self {
        let Self { files, node, target: _, honest } = self;
        drop(honest);
        node.stop_well();
        let node = start(&files.genesis, Path::new(&files.datadir), &[]);
        Self::of(files, node).await
    }

    /// A node at its genesis that offers what it offers when nothing is said.
    pub(super) async fn by_default(args: &[&str]) -> Self {
        let files = Files::new(&[]);
        let node = Node::start_by_default(&files.args(args));
        Self::of(files, node).await
    }

    /// A node that offers these namespaces.
    pub(super) async fn offering(namespaces: &str, blocks: &[SealedBlock]) -> Self {
        let files = Files::new(blocks);
        let node = Node::start_offering(&files.args(&[]), namespaces);
        Self::of(files, node).await
    }

    async fn start(args: &[&str], blocks: &[SealedBlock]) -> Self {
        let files = Files::new(blocks);
        let node = start(&files.genesis, Path::new(&files.datadir), args);
        Self::of(files, node).await
    }

    async fn of(files: Files, node: Node) -> Self {
        let target = Target::of(&node.enode());
        let honest = Honest::join(&target, HONEST).await;
        Self { files, node, target, honest }
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

/// What a node starts from.
struct Files {
    _folder: TempDir,
    genesis: String,
    datadir: String,
}

impl Files {
    fn new(blocks: &[SealedBlock]) -> Self {
        Self::of(&CHAIN.genesis, blocks)
    }

    fn of(genesis: &Value, blocks: &[SealedBlock]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let datadir = text(&folder.path().join("node")).to_owned();
        let genesis = write(folder.path(), "genesis.json", genesis.to_string());
        if !blocks.is_empty() {
            let file = write(folder.path(), "chain.rlp", rlp(blocks));
            let import = ["import", "--fakepow", "--genesis", &genesis, "--datadir"];
            succeed(&[&import[..], &[&datadir, &file]].concat());
        }
        Self { _folder: folder, genesis, datadir }
    }

    fn args<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        args(&self.genesis, &self.datadir, more)
    }
}

/// Of a node that takes many peers from this machine.
fn args<'a>(genesis: &'a str, datadir: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["--genesis", genesis, "--datadir", datadir];
    // Who says how many threads search means it.
    if !more.contains(&"--miner.threads") {
        all.push("--fakepow");
    }
    all.extend(["--maxpeers", "100", "--port", "0", "--nat", "extip:127.0.0.1"]);
    all.extend(["--networkid", "27587"]);
    if !more.contains(&"--role") {
        all.extend(["--role", "tx"]);
    }
    if !more.contains(&"--ops.addr") {
        all.extend(["--ops.addr", "off"]);
    }
    all.extend(more);
    all
}

/// A node that takes many peers from this machine.
pub(super) fn start(genesis: &str, datadir: &Path, more: &[&str]) -> Node {
    Node::start_with_ops(&args(genesis, text(datadir), more), &[])
}

/// The same, which may open so many files.
fn limited(descriptors: u32, args: &[&str]) -> Node {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &descriptors.to_string()]);
    command.arg(hematite()).args(args).envs(ALONE);
    command.args(["--http", "--http.port", "0", "--http.api", "admin,eth,net,web3,txpool"]);
    let mut node = Node::launch(&mut command);
    node.rpc = Rpc::new(node.wait_for_address("HTTP server started"));
    node
}

/// How fast the chain grows.
pub(super) async fn blocks_per_second(node: &mut Node) -> f64 {
    let first = node.rpc.block_number();
    // From one block to another, so that no part of an interval is counted.
    node.wait_for_block(first + 1, PATIENCE);
    let began = Instant::now();
    node.wait_for_block(first + 1 + BLOCKS, PATIENCE);
    let blocks = u32::try_from(BLOCKS).expect("few blocks");
    f64::from(blocks) / began.elapsed().as_secs_f64()
}

/// Reads until the node closes a connection; how many bytes it has sent.
pub(super) async fn silence(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    let read = time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset is an end, too.
    drop(read.expect("the node hangs up"));
    bytes.len()
}
