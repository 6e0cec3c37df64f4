//! WebSocket, IPC and subscriptions, with real clients and the console of real geth.

use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use serde_json::json;

use crate::{
    dev::{CHAIN_ID, printed_keys},
    harness::{clients, geth::Geth, key::raw, node::Node, node::fail, text},
};

/// How long anything may take.
const LONGEST: Duration = Duration::from_secs(60);
/// The book's geth and the last one of all.
const CONSOLES: [&str; 2] = ["v1.9.13", "v1.11.6"];

/// A development node on every transport.
fn start(datadir: &Path) -> Node {
    let modules = "admin,eth,net,web3,txpool";
    let mut args = vec!["--dev", "--datadir", text(datadir)];
    args.extend(["--ws", "--ws.port", "0", "--ws.api", modules]);
    Node::start(&args)
}

/// Where it speaks WebSocket.
fn ws_url(node: &mut Node) -> String {
    let mut url = None;
    node.wait("it speaks WebSocket", LONGEST, |node| {
        url = node.logged("WebSocket enabled").and_then(|line| {
            let url = line.split_once("url=")?.1.split_whitespace().next()?;
            Some(url.trim_matches('"').to_owned())
        });
        url.is_some()
    });
    url.expect("it was logged")
}

#[test]
fn geths_console_attaches_over_every_transport() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = start(&folder.path().join("node"));
    let keys = printed_keys(&mut node);
    let sent = node.rpc.send(&raw(&keys[0].transfer(CHAIN_ID, 0, keys[1].address())));
    node.wait_for_receipt(&sent, LONGEST);
    let genesis = node.rpc.call("eth_getBlockByNumber", json!(["0x0", false]))["hash"].clone();
    let version = node.rpc.call("web3_clientVersion", json!([]));
    let want = format!(
        "1|{}|0,0|{}|{CHAIN_ID}|true",
        version.as_str().expect("text"),
        genesis.as_str().expect("text")
    );
    let ipc = folder.path().join("node").join("geth.ipc");
    let places = [text(&ipc).to_owned(), ws_url(&mut node), node.rpc.url()];
    for version in CONSOLES {
        let geth = Geth::new(version, &folder.path().join(version));
        for place in &places {
            let seen = geth.attach(
                place,
                "[eth.blockNumber, admin.nodeInfo.name, \
                 [txpool.status.pending, txpool.status.queued], eth.getBlock(0).hash, \
                 net.version, eth.getTransaction(eth.getBlock(1).transactions[0]).value > 0]\
                 .join(\"|\")",
            );
            assert_eq!(seen, want, "{version} {place}");
        }
    }
    node.stop_well();
}

#[test]
fn web3_of_the_books_time_speaks_websocket_and_ipc() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = start(folder.path());
    let url = ws_url(&mut node);
    let ipc = folder.path().join("geth.ipc");
    let seen = clients::web3_5_transports(&[&url, text(&ipc)]);
    let head = node.rpc.call("eth_getBlockByNumber", json!(["latest", false]))["hash"].clone();
    let version = node.rpc.call("web3_clientVersion", json!([]));
    let long = node.rpc.call("web3_sha3", json!([format!("0x{}", "00".repeat(100_000))]));
    let empty = "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
    for transport in ["ws", "ipc"] {
        let want = json!({
            "chain_id": CHAIN_ID,
            "head": head,
            "version": version,
            "new": [],
            "unsubscribed": true,
            "hashes": [empty, long],
        });
        assert_eq!(seen[transport], want, "{transport}");
    }
    node.stop_well();
}

#[test]
fn todays_web3_hears_of_what_it_subscribed_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = start(folder.path());
    let key = printed_keys(&mut node)[0].hex();
    let url = ws_url(&mut node);
    let ipc = folder.path().join("geth.ipc");
    for (number, place) in [(1, url.as_str()), (2, text(&ipc))] {
        let seen = clients::web3_7_subscriptions(&[place, &key]);
        for kind in ["hash", "object", "log"] {
            assert_eq!(seen[kind], seen["sent"], "{place} {kind}: {seen}");
        }
        assert_eq!(seen["head"], seen["block"], "{place}: {seen}");
        assert_eq!(
            (&seen["number"], &seen["removed"], &seen["gone"]),
            (&json!(number), &json!(false), &json!([true, true, true, true])),
            "{place}: {seen}"
        );
    }
    node.stop_well();
}

#[test]
fn the_local_socket_is_there_as_long_as_the_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let ipc = folder.path().join("geth.ipc");
    let node = start(folder.path());
    let mode = std::fs::metadata(&ipc).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let path = text(&ipc);
    let other = folder.path().join("other");
    let second = ["--dev", "--datadir", text(&other), "--ipcpath", path, "--maxpeers", "0"];
    fail(&second, 1, &["another node listens on", "--ipcpath"]);
    node.stop_well();
    assert!(!ipc.exists());
    // A node that was killed leaves its socket behind; the next one takes its place.
    start(folder.path()).kill();
    assert!(ipc.exists());
    start(folder.path()).stop_well();
    assert!(!ipc.exists());
    let long = "x".repeat(120);
    fail(&["--dev", "--datadir", text(&other), "--ipcpath", &long], 1, &["has", "bytes"]);
}
