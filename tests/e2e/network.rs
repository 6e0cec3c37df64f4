//! Nodes of ours and real geths of both ages as one network.

use std::{os::unix::fs::symlink, process::Command, time::Duration};

use serde_json::json;

use crate::harness::{
    branches::{Branches, CHAIN_ID, book_genesis, rlp, write},
    geth::{Geth, VERSIONS},
    key::{Key, raw},
    network::{Bootnode, list_over_http, start},
    node::{Node, fail, finish, hematite, run, shown, succeed},
    rpc::{Rpc, number},
    text,
};

/// How long anything may take: geth waits 10 s for more peers before it syncs.
const LONGEST: Duration = Duration::from_secs(600);
/// Blocks to catch up with, more than one batch of headers and of bodies. They carry no seals: geth
/// imports such a file, but as a node it always asks for seals, so it cannot fetch them.
const BLOCKS: u64 = 420;

/// How many transactions wait for an earlier one.
const SENT: u64 = 200;

fn hash_of(rpc: &mut Rpc, height: u64) -> String {
    let block = rpc.call("eth_getBlockByNumber", json!([format!("{height:#x}"), false]));
    block["hash"].as_str().expect("the block is there").to_owned()
}

#[test]
fn geths_that_cannot_talk_to_each_other_are_one_network_through_us() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let genesis = write(folder.path(), "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
    let mut miner = start(&genesis, &at("miner"), &["--role", "miner", "--miner.threads", "1"]);
    miner.wait_for_block(12, LONGEST);
    let enode = miner.enode();
    let peer = ["--networkid", "27587", "--bootnodes", &enode];
    let mut geths = VERSIONS.map(|version| {
        let geth = Geth::new(version, &at(version));
        geth.succeed(&["init", &genesis]);
        geth.start(&peer)
    });
    let mut reader = start(&genesis, &at("reader"), &["--role", "tx", "--bootnodes", &enode]);

    // They catch up, then follow block by block.
    let joined = miner.rpc.block_number();
    for geth in &mut geths {
        geth.wait("it follows", LONGEST, |geth| geth.rpc.block_number() >= joined + 3);
    }
    reader.wait_for_block(joined + 3, LONGEST);

    // A transaction goes from the old geth to our miner, and its receipt is everywhere.
    let [old, new] = &mut geths;
    let tx = Key::fixed(1).transfer(CHAIN_ID, 0, Key::fixed(2).address());
    let hash = old.rpc.send(&raw(&tx));
    let receipt = miner.wait_for_receipt(&hash, LONGEST);
    let height = number(&receipt["blockNumber"]);
    reader.wait_for_block(height, LONGEST);
    for geth in [&mut *old, &mut *new] {
        geth.wait("the block is there", LONGEST, |geth| geth.rpc.block_number() >= height);
    }
    let block = receipt["blockHash"].as_str().expect("a hash");
    for rpc in [&mut old.rpc, &mut new.rpc, &mut reader.rpc] {
        assert_eq!(hash_of(rpc, height), block);
        let theirs = rpc.call("eth_getTransactionReceipt", json!([hash]));
        assert_eq!(theirs["blockHash"], block);
    }

    // The miner knows all three, and what they speak.
    let peers = miner.rpc.call("admin_peers", json!([]));
    let version = |name: &str| {
        let peers = peers.as_array().expect("a list");
        let peer = peers.iter().find(|peer| peer["name"].as_str().unwrap_or("").starts_with(name));
        peer.unwrap_or_else(|| panic!("no {name} in {peers:?}"))["protocols"]["eth"]["version"]
            .clone()
    };
    assert_eq!(version("Geth/v1.9.13"), 65);
    assert_eq!(version("Geth/v1.10.26"), 67);
    assert_eq!(version("Hematite/"), 68);
    reader.stop_well();
    miner.stop_well();
}

#[test]
fn a_chain_is_fetched_from_geth_of_either_age() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let branches = Branches::grow(BLOCKS, 1);
    let genesis = write(folder.path(), "genesis.json", branches.genesis.to_string());
    let file = write(folder.path(), "chain.rlp", rlp(&branches.first));
    for version in VERSIONS {
        let full = Geth::new(version, &at(&format!("{version}-full")));
        full.succeed(&["init", &genesis]);
        full.succeed(&["--fakepow", "import", &file]);
        let mut full = full.start(&["--fakepow", "--networkid", "27587"]);
        let enode = full.enode();
        let height = full.rpc.block_number();
        assert!(height >= BLOCKS, "geth has {height} blocks");

        let ours = at(&format!("{version}-ours"));
        let args = ["--role", "tx", "--fakepow", "--bootnodes", &enode];
        let mut node = start(&genesis, &ours, &args);
        node.wait_for_block(height, LONGEST);
        let hash = hash_of(&mut node.rpc, height);
        assert_eq!(hash, hash_of(&mut full.rpc, height));
        node.stop_well();
        succeed(&["db", "verify", "--datadir", text(&ours)]);
    }
}

#[test]
fn a_port_that_is_taken_is_said_with_the_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = std::net::TcpListener::bind("0.0.0.0:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let datadir = folder.path().join("node");
    let output = run(&[
        "--genesis",
        "book",
        "--role",
        "tx",
        "--datadir",
        text(&datadir),
        "--maxpeers",
        "1",
        "--port",
        &port,
        "--ops.addr",
        "off",
        "--http=false",
    ]);
    let said = shown(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on port {port} for peers")), "{said}");
    assert!(said.contains("--port takes another"), "{said}");
}

#[test]
fn nodes_find_each_other_through_a_bootnode_of_geths_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let program = at("bootnode");
    symlink(hematite(), &program).expect("a link can be made");
    let key = at("node.key");
    let tool = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args);
        finish(command, "")
    };
    let made = tool(&["-genkey", text(&key)]);
    assert!(made.status.success(), "{}", shown(&made));
    assert_eq!(std::fs::read_to_string(&key).expect("a key").len(), 64);
    let address = tool(&["-writeaddress", "-nodekey", text(&key)]);
    let address = String::from_utf8_lossy(&address.stdout).trim_end().to_owned();
    let bootnode = Bootnode::start(&program, text(&key));
    let start_of_url = format!("enode://{address}@127.0.0.1:0?discport=");
    assert!(bootnode.url.starts_with(&start_of_url), "{}", bootnode.url);
    let missing = tool(&["-writeaddress"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(shown(&missing).contains("Use -nodekey or -nodekeyhex to specify a private key"));

    let genesis = write(folder.path(), "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
    let args = ["--role", "tx", "--bootnodes", &bootnode.url];
    let mut nodes = ["one", "two", "three"].map(|name| start(&genesis, &at(name), &args));
    for node in &mut nodes {
        node.wait("it knows both others", LONGEST, |node| {
            number(&node.rpc.call("net_peerCount", json!([]))) == 2
        });
    }
    for node in nodes {
        node.stop_well();
    }
}

#[test]
fn a_bootnode_in_the_place_of_another_knows_whom_that_one_knew_by_the_registrar_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let first = Bootnode::make(hematite(), &at("first"));
    let port = list_over_http(format!("{}\n", first.url)).to_string();
    let link = [
        ("ETH_BOOTNODE_REGISTRAR_SERVICE_HOST", "127.0.0.1"),
        ("ETH_BOOTNODE_REGISTRAR_SERVICE_PORT", port.as_str()),
    ];
    let genesis = write(folder.path(), "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
    let through =
        |name: &str, url: &str| start(&genesis, &at(name), &["--role", "tx", "--bootnodes", url]);
    let mut old = through("old", &first.url);
    // It is not in the registrar's list, and the old node never hears of its address.
    let key = at("key");
    let mut command = Command::new(at("first/bootnode"));
    command.args(["-genkey", text(&key)]);
    assert!(finish(command, "").status.success());
    let second = Bootnode::start_with(&at("first/bootnode"), text(&key), &link);
    let mut new = through("new", &second.url);
    for node in [&mut old, &mut new] {
        node.wait("it knows the other", LONGEST, |node| {
            number(&node.rpc.call("net_peerCount", json!([]))) == 1
        });
    }
    old.stop_well();
    new.stop_well();
}

#[test]
fn a_trusted_node_gets_in_though_all_places_are_taken_and_silent_callers_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let genesis = write(folder.path(), "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
    let hub_directory = at("hub");
    let hub = ["--genesis", &genesis, "--datadir", text(&hub_directory), "--maxpeers", "1"];
    let alone = ["--role", "tx", "--nodiscover", "--port", "0", "--networkid", "27587"];
    let mut hub = Node::start(&[&hub[..], &alone].concat());
    let enode = hub.enode();
    let peers = |node: &mut Node| number(&node.rpc.call("net_peerCount", json!([])));
    let args = ["--role", "tx", "--nodiscover"];
    let mut first = start(&genesis, &at("first"), &args);
    assert_eq!(first.rpc.call("admin_addPeer", json!([enode])), true);
    hub.wait("the only place is taken", LONGEST, |hub| peers(hub) == 1);

    let address = enode.split_once('@').expect("it has an address").1;
    let address = address.split('?').next().expect("it has a port");
    let silent: Vec<std::net::TcpStream> =
        (0..200).map(|_| std::net::TcpStream::connect(address).expect("it listens")).collect();
    let mut second = start(&genesis, &at("second"), &args);
    let trusted = json!([second.enode()]);
    assert_eq!(hub.rpc.call("admin_addTrustedPeer", trusted.clone()), true);
    assert_eq!(second.rpc.call("admin_addPeer", json!([enode])), true);
    hub.wait("the trusted node is there, too", LONGEST, |hub| peers(hub) == 2);
    let is_trusted = |hub: &mut Node| {
        let peers = hub.rpc.call("admin_peers", json!([]));
        let peers = peers.as_array().expect("a list").clone();
        peers.iter().filter(|peer| peer["network"]["trusted"] == true).count()
    };
    assert_eq!(is_trusted(&mut hub), 1);
    assert_eq!(hub.rpc.call("admin_removeTrustedPeer", trusted), true);
    hub.wait("it is like any other", LONGEST, |hub| is_trusted(hub) == 0);
    assert_eq!(peers(&mut hub), 2, "it stays");
    drop(silent);
    for node in [first, second, hub] {
        node.stop_well();
    }
}

#[test]
fn nodes_find_each_other_again_without_a_bootnode() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let genesis = write(folder.path(), "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
    let (one, other) = (at("one"), at("other"));
    // Both versions of discovery at one port.
    let args = ["--role", "tx", "--v5disc"];
    let first = start(&genesis, &one, &args);
    let enode = first.enode();
    let with_bootnode = [&args[..], &["--bootnodes", &enode]].concat();
    let mut second = start(&genesis, &other, &with_bootnode);
    let file = other.join("hematite").join("nodes.json");
    second.wait("it notes whom it met", LONGEST, |_| {
        std::fs::read_to_string(&file).is_ok_and(|text| text.contains("enode://"))
    });
    second.stop_well();
    let mut second = start(&genesis, &other, &args);
    second.wait("it finds whom it knew", LONGEST, |node| {
        number(&node.rpc.call("net_peerCount", json!([]))) == 1
    });
    for node in [first, second] {
        node.stop_well();
    }
}

/// A Service gives each request to another node; one of them is stopped while it has what the
/// others wait for.
#[test]
fn a_senders_transactions_reach_everybody_whichever_nodes_have_which() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let key = Key::fixed(1);
    let genesis = write(folder.path(), "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
    let args = ["--role", "tx", "--nodiscover"];
    let mut nodes = ["one", "two", "three"].map(|name| start(&genesis, &at(name), &args));
    let send = |node: &mut Node, nonce: u64| {
        let tx = raw(&key.transfer(CHAIN_ID, nonce, key.address()));
        node.rpc.call("eth_sendRawTransaction", json!([tx]));
    };
    // Before they know each other: the second has the even nonces, the first the odd ones. More
    // wait than an account may queue in a full pool.
    for nonce in 1..=SENT {
        send(&mut nodes[usize::from(nonce % 2 == 0)], nonce);
    }
    let hub = nodes[2].enode();
    for node in &mut nodes[..2] {
        assert_eq!(node.rpc.call("admin_addPeer", json!([hub])), true);
    }
    let status = |node: &mut Node| {
        let status = node.rpc.call("txpool_status", json!([]));
        ["pending", "queued"].map(|kind| number(&status[kind]))
    };
    nodes[2].wait("it has all that wait", LONGEST, |node| status(node) == [0, SENT]);
    // What a node had on its disk is told, too.
    let [one, mut two, mut three] = nodes;
    one.stop_well();
    send(&mut two, SENT + 2);
    three.wait("it has one more", LONGEST, |node| status(node) == [0, SENT + 1]);
    let mut one = start(&genesis, &at("one"), &args);
    send(&mut one, 0);
    assert_eq!(one.rpc.call("admin_addPeer", json!([hub])), true);
    send(&mut two, SENT + 1);
    for node in [&mut one, &mut two, &mut three] {
        node.wait("all are pending", LONGEST, |node| status(node) == [SENT + 3, 0]);
    }
    for node in [one, two, three] {
        node.stop_well();
    }
}

#[test]
fn what_is_wrong_with_the_networks_flags_and_files_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let geth = folder.path().join("geth");
    std::fs::create_dir(&geth).expect("a folder can be made");
    let node = |flags: &[&str], words: &[&str]| {
        let mut args = vec!["--genesis", "book", "--role", "tx", "--maxpeers", "1", "--port", "0"];
        args.extend(["--http=false", "--datadir", text(folder.path())]);
        args.extend(flags);
        fail(&args, 2, words);
    };
    node(&["--nat", "extip:nowhere"], &["\"nat\"", "extip:<IP address>"]);
    node(&["--nat", "stun"], &["\"nat\"", "\"stun\" is unknown", "extip:<host name>"]);
    node(&["--netrestrict", "10.0.0.0/99"], &["\"netrestrict\"", "10.0.0.0/99"]);
    std::fs::write(geth.join("static-nodes.json"), "[\"enode://x\"]").expect("it can be written");
    node(&[], &["static-nodes.json", "enode://x is no enode URL"]);
    std::fs::write(geth.join("static-nodes.json"), "[]").expect("it can be written");
    std::fs::write(geth.join("trusted-nodes.json"), "{}").expect("it can be written");
    node(&[], &["trusted-nodes.json", "is no JSON array of enode URLs"]);
    std::fs::write(geth.join("nodekey"), "junk").expect("it can be written");
    node(&[], &["is no node key", "remove it"]);
}

#[test]
fn the_doctor_says_why_nodes_are_not_connected() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let of_key =
        |name, key| write(folder.path(), name, book_genesis(&[Key::fixed(key)]).to_string());
    let (genesis, other) = (of_key("genesis.json", 1), of_key("other.json", 2));
    let node = start(&genesis, &at("node"), &["--role", "tx", "--nodiscover"]);
    let friend = start(&genesis, &at("friend"), &["--role", "tx", "--nodiscover"]);
    let stranger = start(&other, &at("stranger"), &["--role", "tx", "--nodiscover"]);
    let url = node.rpc.url();
    let doctor = |nodes: &[&str]| run(&[&["peers", "doctor", "--url", &url], nodes].concat());

    let alone = doctor(&[]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(shown(&alone).contains("no peer, and nobody was called"), "{}", shown(&alone));
    let socket = at("node").join("geth.ipc");
    let local = run(&["peers", "doctor", "--url", text(&socket)]);
    assert!(shown(&local).contains("no peer, and nobody was called"), "{}", shown(&local));
    let well = doctor(&[&friend.enode()]);
    assert!(well.status.success(), "{}", shown(&well));
    assert!(shown(&well).contains("no trouble found"), "{}", shown(&well));

    let gone = start(&genesis, &at("gone"), &["--role", "tx", "--nodiscover"]);
    let absent = gone.enode();
    gone.stop_well();
    let ill = doctor(&[&absent]);
    assert_eq!(ill.status.code(), Some(1), "{}", shown(&ill));
    assert!(shown(&ill).contains("nothing listens at 127.0.0.1:"), "{}", shown(&ill));
    let ill = doctor(&[&stranger.enode()]);
    let said = shown(&ill);
    assert_eq!(ill.status.code(), Some(1), "{said}");
    assert!(said.contains("initialise both with the same genesis file"), "{said}");
    fail(&["peers", "doctor", "--url", "ftp://x"], 2, &["http://<host>:<port>"]);
    fail(&["peers", "doctor", "enode://x"], 2, &["enode://x"]);
    fail(
        &["peers", "doctor", "--url", "http://127.0.0.1:1"],
        1,
        &["cannot reach http://127.0.0.1:1"],
    );
    for node in [node, friend, stranger] {
        node.stop_well();
    }
}

#[test]
fn the_doctor_says_whose_clock_is_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let genesis = write(folder.path(), "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
    let node = start(&genesis, &folder.path().join("node"), &["--role", "tx"]);
    let url = node.rpc.url();
    let late = LateNode::start(62);
    let ill = run(&["peers", "doctor", "--url", &url, &late.url]);
    let said = shown(&ill);
    assert_eq!(ill.status.code(), Some(1), "{said}");
    assert!(said.contains("off by about 6") && said.contains("its is behind"), "{said}");
    assert!(said.contains("run NTP"), "{said}");
    node.stop_well();
    late.stop();
}

#[test]
fn nodes_of_version_5_alone_find_each_other_and_say_their_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let genesis = write(folder.path(), "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
    let mut hub = start(&genesis, &at("hub"), &["--role", "tx", "--nodiscover", "--v5disc"]);
    let info = hub.rpc.call("admin_nodeInfo", json!([]));
    let enr = info["enr"].as_str().expect("it says its record").to_owned();
    assert!(enr.starts_with("enr:-"), "{info}");
    assert_eq!(info["ports"]["discovery"], info["ports"]["listener"], "{info}");
    assert_eq!(info["enode"].as_str(), Some(hub.enode().as_str()));
    // The hub itself is called as a peer, too; the other is known by version 5 only.
    let flags = ["--role", "tx", "--discovery.v4=false", "--discovery.v5", "--bootnodes", &enr];
    let mut nodes = ["one", "two"].map(|name| start(&genesis, &at(name), &flags));
    for node in &mut nodes {
        node.wait("it knows both others", LONGEST, |node| {
            number(&node.rpc.call("net_peerCount", json!([]))) == 2
        });
    }
    let [one, two] = nodes;
    for node in [hub, one, two] {
        node.stop_well();
    }
}

/// Somebody who answers pings of version 4 with the clock of a machine that is behind.
struct LateNode {
    url: String,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl LateNode {
    fn start(seconds_behind: u64) -> Self {
        use devp2p::discv4::{Endpoint, Envelope, Packet};
        let key = secp256k1::SecretKey::from_byte_array(&[9; 32]).expect("a key");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let at = socket.local_addr().expect("it is bound");
        let url =
            format!("enode://{}@127.0.0.1:1?discport={}", devp2p::PeerId::of(&key), at.port());
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("it can be set");
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1_280];
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let Ok(envelope) = Envelope::open(&buffer[..length]) else { continue };
                let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
                let pong = Packet::Pong {
                    to: Endpoint::new(from, 0),
                    ping_hash: envelope.hash,
                    expiration: now.as_secs() + 20 - seconds_behind,
                    enr_sequence: None,
                };
                socket.send_to(&pong.seal(&key).0, from).expect("it can be sent");
            }
        });
        Self { url, stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.thread.join().expect("it ends");
    }
}
