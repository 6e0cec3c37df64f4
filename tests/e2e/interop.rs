//! Beside real geth of every age, the long way: only with `HEMATITE_TIER=long`, which
//! `tests/interop/run` sets. Each scenario prints a line for each version.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::harness::proxy::{Line, Proxy};

use crate::harness::{
    branches::{CHAIN_ID, book_genesis, write},
    cache,
    geth::{Geth, GethNode, PEERS},
    key::{Key, raw},
    network,
    node::{Node, succeed},
    random::{is_long, say},
    rpc::{Rpc, number},
    sealed::{SEALED_BLOCKS, make_sealed_chain},
    text,
};

/// How long a step may take: geth waits 10 s for more peers before it syncs, and seals slowly.
const LONGEST: Duration = Duration::from_secs(300);
/// Blocks that both sides mine while they do not see each other.
const APART: u64 = 7;
/// The geth whose suite of discovery v5 is for today's specification.
const TODAYS_SUITE: &str = "v1.17.10";
/// How many blocks are looked through for ommers.
const BLOCKS_MAX: u64 = 600;

/// What every node of a scenario shares.
struct Scene {
    folder: tempfile::TempDir,
    genesis: String,
}

impl Scene {
    /// With the book's genesis.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let genesis = book_genesis(&[Key::fixed(1), Key::fixed(2)]).to_string();
        let genesis = write(folder.path(), "genesis.json", genesis);
        Self { folder, genesis }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A node of ours that mines as slowly as geth.
    fn miner(&self) -> Node {
        let args = ["--role", "miner", "--miner.threads", "1", "--ethash.kernel", "portable"];
        network::start(&self.genesis, &self.at("ours"), &args)
    }

    /// A geth that mines on a dataset of ours, whose next one is there, too.
    fn geth(&self, version: &str, mines: bool) -> GethNode {
        let geth = Geth::new(version, &self.at(version));
        geth.succeed(&["init", &self.genesis]);
        let (dags, beneficiary) = (dags(), key_of(version).address().to_string());
        let mut args = vec!["--networkid", network::ID, "--nodiscover"];
        args.extend(["--ethash.dagdir", text(&dags)]);
        if mines {
            args.extend(["--mine", "--miner.threads", "1", "--miner.etherbase", &beneficiary]);
        }
        geth.start(&args)
    }
}

/// geth's own names of the first two datasets.
fn dags() -> PathBuf {
    let folder = cache().join("dags-geth");
    for (block, name) in
        [("0", "full-R23-0000000000000000"), ("30000", "full-R23-290decd9548b62a8")]
    {
        if !folder.join(name).exists() {
            say(&format!("making geth's dataset for block {block}"));
            succeed(&["makedag", block, text(&folder)]);
        }
    }
    folder
}

/// Who is paid for a version's blocks.
fn key_of(version: &str) -> Key {
    let place = PEERS.iter().position(|known| *known == version).expect("a known version");
    Key::fixed(10 + u8::try_from(place).expect("few"))
}

fn block(rpc: &mut Rpc, height: u64) -> Value {
    rpc.call("eth_getBlockByNumber", json!([format!("{height:#x}"), false]))
}

fn hash(rpc: &mut Rpc, height: u64) -> Option<String> {
    block(rpc, height)["hash"].as_str().map(str::to_owned)
}

/// Runs a scenario with each version, and prints how long it took.
fn with_each(scenario: &str, run: impl Fn(&str)) {
    if !is_long() {
        say(&format!("skipped without HEMATITE_TIER=long: {scenario}"));
        return;
    }
    for version in PEERS {
        let started = Instant::now();
        run(version);
        let seconds = started.elapsed().as_secs();
        say(&format!("interop: hematite and geth {version}: {scenario}: passed in {seconds} s"));
    }
}

#[test]
fn discovers_geth_through_a_bootnode_of_ours_and_of_geths() {
    with_each("discovery through both bootnodes", |version| {
        let scene = Scene::new();
        let theirs = cache().join("geth").join(version).join("bootnode");
        for (name, program) in [("our", crate::harness::node::hematite()), ("their", &theirs)] {
            let at = |node: &str| scene.at(&format!("{name}-{node}"));
            let bootnode = network::Bootnode::make(program, &at("boot"));
            let args = ["--role", "tx", "--bootnodes", &bootnode.url];
            let mut ours = ["one", "two"].map(|it| network::start(&scene.genesis, &at(it), &args));
            let peers = |rpc: &mut Rpc| number(&rpc.call("net_peerCount", json!([])));
            // geth's bootnode ignores everybody while it starts, and geth as a node gives up soon.
            for node in &mut ours {
                node.wait("it found the other", LONGEST, |node| peers(&mut node.rpc) == 1);
            }
            let geth = Geth::new(version, &at("geth"));
            geth.succeed(&["init", &scene.genesis]);
            let mut geth = geth.start(&["--networkid", network::ID, "--bootnodes", &bootnode.url]);
            for node in &mut ours {
                node.wait("it found geth", LONGEST, |node| peers(&mut node.rpc) == 2);
            }
            geth.wait("it found us", LONGEST, |geth| peers(&mut geth.rpc) == 2);
            ours.into_iter().for_each(Node::stop_well);
        }
    });
}

#[test]
fn syncs_a_sealed_chain_with_transactions_and_ommers_from_geth_and_to_geth() {
    with_each("2 048 sealed blocks with ommers, both ways", |version| {
        let scene = Scene::new();
        let [genesis, blocks] = &make_sealed_chain(scene.folder.path());
        let end = |rpc: &mut Rpc| hash(rpc, SEALED_BLOCKS).expect("the block is there");

        let from = scene.at("from");
        succeed(&["import", "--genesis", genesis, "--datadir", text(&from), blocks]);
        let mut ours = network::start(genesis, &from, &["--role", "tx"]);
        let geth = Geth::new(version, &scene.at("geth"));
        geth.succeed(&["init", genesis]);
        let enode = ours.enode();
        let mut full = geth.start(&["--networkid", network::ID, "--bootnodes", &enode]);
        full.wait("it has our chain", LONGEST, |geth| geth.rpc.block_number() == SEALED_BLOCKS);
        assert_eq!(end(&mut full.rpc), end(&mut ours.rpc));
        let expected = end(&mut ours.rpc);
        ours.stop_well();

        let to = scene.at("to");
        let args = ["--role", "tx", "--bootnodes", &full.enode()];
        let mut ours = network::start(genesis, &to, &args);
        ours.wait_for_block(SEALED_BLOCKS, LONGEST);
        assert_eq!(end(&mut ours.rpc), expected);
        ours.stop_well();
        succeed(&["db", "verify", "--datadir", text(&to)]);
    });
}

/// Who mined how many of these blocks, and whose ommers are in whose blocks.
fn census(rpc: &mut Rpc) -> Vec<(String, Vec<String>)> {
    let height = rpc.block_number();
    let blocks = (height.saturating_sub(BLOCKS_MAX)..=height).map(|height| {
        let block = block(rpc, height);
        let ommers = block["uncles"].as_array().map_or(0, Vec::len);
        let miner = |block: &Value| block["miner"].as_str().unwrap_or_default().to_lowercase();
        let ommers = (0..ommers).map(|place| {
            let params = json!([block["hash"], format!("{place:#x}")]);
            miner(&rpc.call("eth_getUncleByBlockHashAndIndex", params))
        });
        let ommers = ommers.collect();
        (miner(&block), ommers)
    });
    blocks.collect()
}

fn connect(ours: &mut Node, geth: &mut GethNode, url: &str) {
    assert_eq!(ours.rpc.call("admin_addPeer", json!([url])), json!(true));
    geth.wait("it has a peer", LONGEST, |geth| {
        number(&geth.rpc.call("net_peerCount", json!([]))) >= 1
    });
}

fn part(ours: &mut Node, geth: &mut GethNode) {
    let (theirs, own) = (geth.enode(), ours.enode());
    ours.rpc.call("admin_removePeer", json!([theirs]));
    geth.rpc.call("admin_removePeer", json!([own]));
    geth.wait("it has no peer", LONGEST, |geth| {
        number(&geth.rpc.call("net_peerCount", json!([]))) == 0
    });
}

/// Waits until both have the same block some blocks further on.
fn agree(ours: &mut Node, geth: &mut GethNode) -> u64 {
    let height = ours.rpc.block_number().max(geth.rpc.block_number()) + 2;
    let deadline = Instant::now() + LONGEST;
    loop {
        let (one, other) = (hash(&mut ours.rpc, height), hash(&mut geth.rpc, height));
        if one.is_some() && one == other {
            return height;
        }
        assert!(Instant::now() < deadline, "{one:?} and {other:?} at {height}\n{}", ours.history());
        ours.pause(Duration::from_millis(200));
    }
}

#[test]
fn mines_beside_geth_through_a_partition_with_its_ommers_and_transactions() {
    with_each("mining, transactions, partition, reorg, ommers", |version| {
        let scene = Scene::new();
        let mut ours = scene.miner();
        let own =
            ours.rpc.call("eth_coinbase", json!([])).as_str().expect("a string").to_lowercase();
        let theirs = key_of(version).address().to_string().to_lowercase();
        ours.wait_for_block(2, LONGEST);
        let mut geth = scene.geth(version, true);
        // Far from each other, so that blocks meet and there are ommers.
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let line = Line { delay: Duration::from_millis(400), ..Line::default() };
        let url = geth.enode();
        let (key, address) = url.split_once('@').expect("a key and an address");
        let address = address.split('?').next().expect("an address").parse().expect("an address");
        let far = runtime.block_on(Proxy::start(address, line)).expect("a port");
        let url = format!("{key}@{}", far.address());
        connect(&mut ours, &mut geth, &url);
        agree(&mut ours, &mut geth);

        // A transaction each way.
        let [first, second] = [1, 2]
            .map(|index| raw(&Key::fixed(index).transfer(CHAIN_ID, 0, Key::fixed(3).address())));
        let (first, second) = (geth.rpc.send(&first), ours.rpc.send(&second));
        for hash in [&first, &second] {
            ours.wait_for_receipt(hash, LONGEST);
            geth.wait("a receipt", LONGEST, |geth| {
                !geth.rpc.call("eth_getTransactionReceipt", json!([hash])).is_null()
            });
        }

        // Both go on alone, then one gives way.
        part(&mut ours, &mut geth);
        let fork = ours.rpc.block_number().max(geth.rpc.block_number()) + 1;
        ours.wait_for_block(fork + APART, LONGEST);
        geth.wait("it mines alone", LONGEST, |geth| geth.rpc.block_number() >= fork + APART);
        let branches = [hash(&mut ours.rpc, fork), hash(&mut geth.rpc, fork)];
        assert_ne!(branches[0], branches[1]);
        connect(&mut ours, &mut geth, &url);
        agree(&mut ours, &mut geth);
        let kept = hash(&mut ours.rpc, fork);
        assert!(branches.contains(&kept), "{kept:?} is none of {branches:?}");
        assert_eq!(kept, hash(&mut geth.rpc, fork));

        // Sooner or later two blocks meet, and the later one becomes an ommer of the other's child.
        // geth mines less and takes ommers of its own first, so both kinds can take long.
        ours.wait("one has an ommer of the other", LONGEST * 2, |node| {
            let blocks = census(&mut node.rpc);
            let has = |miner: &str, ommer: &str| {
                let of = blocks.iter().filter(|(by, _)| by == miner);
                of.flat_map(|(_, ommers)| ommers).any(|by| by == ommer)
            };
            has(&own, &theirs) || has(&theirs, &own)
        });
        agree(&mut ours, &mut geth);
        ours.stop_well();
        succeed(&["db", "verify", "--datadir", text(&scene.at("ours"))]);
    });
}

#[test]
fn geths_of_all_ages_agree_on_one_head_through_us_alone() {
    if !is_long() {
        say("skipped without HEMATITE_TIER=long: all versions at once");
        return;
    }
    let started = Instant::now();
    let scene = Scene::new();
    let mut ours = scene.miner();
    ours.wait_for_block(2, LONGEST);
    // The oldest and the newest mine.
    let mut geths = PEERS.map(|version| scene.geth(version, version != PEERS[1]));
    for geth in &mut geths {
        let url = geth.enode();
        connect(&mut ours, geth, &url);
    }
    for geth in &mut geths {
        agree(&mut ours, geth);
    }
    let everybody = [PEERS[0], PEERS[2]].map(|version| key_of(version).address().to_string());
    ours.wait("everybody mined", LONGEST, |node| {
        let blocks = census(&mut node.rpc);
        everybody.iter().all(|key| blocks.iter().any(|(by, _)| *by == key.to_lowercase()))
    });
    let heights: Vec<u64> = geths.iter_mut().map(|geth| agree(&mut ours, geth)).collect();
    let lowest = *heights.iter().min().expect("there are three");
    let expected = hash(&mut ours.rpc, lowest);
    for geth in &mut geths {
        assert_eq!(hash(&mut geth.rpc, lowest), expected);
    }
    ours.stop_well();
    let seconds = started.elapsed().as_secs();
    say(&format!("interop: all versions at once through hematite: passed in {seconds} s"));
}

/// geth's suites, which come with it, on a fresh copy of their chain.
#[test]
fn passes_geths_own_suites_of_the_eth_protocol() {
    if !is_long() {
        say("skipped without HEMATITE_TIER=long: geth's suites of the eth protocol");
        return;
    }
    let chain = network::suite_chain();
    let file = |name: &str| chain.join(name);
    for version in &PEERS[1..] {
        let scene = Scene::new();
        let (genesis, datadir) = (file("genesis.json"), scene.at("ours"));
        let half = file("halfchain.rlp");
        let import =
            ["import", "--genesis", text(&genesis), "--datadir", text(&datadir), text(&half)];
        succeed(&import);
        let ours = network::start_on("19763", text(&genesis), &datadir, &["--role", "tx"]);
        let enode = ours.enode();
        let args = ["rlpx", "eth-test", &enode];
        let said = network::suite(version, &args, &[&file("chain.rlp"), &genesis]);
        let verdict = said.lines().last().unwrap_or_default().to_owned();
        assert_eq!(verdict, "16/16 tests passed.", "{said}\n{}", ours.history());
        say(&format!("interop: devp2p eth-test of {version}: {verdict}"));
        let args = ["discv4", "test", "-remote", &enode];
        let listen = ["-listen1", "127.0.0.1", "-listen2", "127.0.0.2"].map(Path::new);
        let said = network::suite(version, &args, &listen);
        let verdict = said.lines().last().unwrap_or_default().to_owned();
        assert_eq!(verdict, "14/14 tests passed.", "{said}\n{}", ours.history());
        say(&format!("interop: devp2p discv4 test of {version}: {verdict}"));
        ours.stop_well();
    }
}

/// geth's suites of discovery v5. The older two want a new challenge for a second packet during a
/// handshake, today's specification and the newest suite the same one again: nobody passes both.
#[test]
fn passes_geths_own_suites_of_discovery_v5() {
    if !is_long() {
        say("skipped without HEMATITE_TIER=long: geth's suites of discovery v5");
        return;
    }
    let genesis = network::suite_chain().join("genesis.json");
    let chosen = [
        (PEERS[1], ["-listen1", "127.0.0.1", "-listen2", "127.0.0.2"], "6/7 tests passed."),
        (PEERS[2], ["-listen1", "127.0.0.1", "-listen2", "127.0.0.2"], "6/7 tests passed."),
        (TODAYS_SUITE, ["--listen1", "127.0.0.1", "--listen2", "127.0.0.2"], "10/10 tests passed."),
    ];
    for (version, listen, expected) in chosen {
        // A new node for each: the suites want an empty table.
        let scene = Scene::new();
        let args = ["--role", "tx", "--discovery.v5", "--http.api", "admin"];
        let mut ours = network::start_on("19763", text(&genesis), &scene.at("ours"), &args);
        let info = ours.rpc.call("admin_nodeInfo", json!([]));
        let record = info["enr"].as_str().expect("it has a record").to_owned();
        let mut args = vec!["discv5", "test"];
        args.extend(listen);
        let said = network::suite(version, &args, &[&record]);
        let verdict = said.lines().last().unwrap_or_default().to_owned();
        assert_eq!(verdict, expected, "{said}\n{}", ours.history());
        let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("-- FAIL")).collect();
        let is_known = |line: &&str| line.starts_with("-- FAIL PingHandshakeInterrupted");
        assert!(failed.iter().all(is_known), "{failed:?}");
        say(&format!("interop: devp2p discv5 test of {version}: {verdict}"));
        ours.stop_well();
    }
}
