//! What is wrong with a network is said where people look: in the log, by the probes, on the
//! dashboard.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::harness::{
    branches::{book_genesis, write},
    key::Key,
    node::{ALONE, Node, hematite},
    text,
};

/// How long anything may take on a machine with much to do.
const LONGEST: Duration = Duration::from_secs(300);

/// What is answered to a path, without the head.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// A node that is probed.
fn start(genesis: &str, datadir: &Path, args: &[&str]) -> (Node, SocketAddr) {
    let mut all = vec!["--role", "tx", "--genesis", genesis, "--datadir", text(datadir)];
    all.extend(["--maxpeers", "10", "--port", "0", "--nat", "extip:127.0.0.1"]);
    all.extend(["--networkid", "27587"]);
    all.extend(args);
    let mut node = Node::start_with_ops(&all, &["--ops.addr", "127.0.0.1:0"]);
    let probes = node.wait_for_address("Started probes and metrics");
    (node, probes)
}

/// Waits until the probe says these words.
fn wait_for_words(node: &mut Node, probes: SocketAddr, path: &str, words: &[&str]) {
    let what = format!("{path} says {words:?}");
    node.wait(&what, LONGEST, |_| {
        let said = get(probes, path).unwrap_or_default();
        words.iter().all(|word| said.contains(word))
    });
}

#[test]
fn a_node_of_another_genesis_says_so_in_its_log_to_probes_and_on_the_dashboard() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let of_key =
        |name, key| write(folder.path(), name, book_genesis(&[Key::fixed(key)]).to_string());
    let (genesis, other) = (of_key("genesis.json", 1), of_key("other.json", 2));
    let mut command = Command::new(hematite());
    command.args(["--role", "ethstats", "--ops.addr", "127.0.0.1:0"]).envs(ALONE);
    let mut dashboard = Node::launch(command.env("WS_SECRET", "one").env("PORT", "0"));
    let page = dashboard.wait_for_address("Started dashboard");
    let page = SocketAddr::from(([127, 0, 0, 1], page.port()));
    let metrics = dashboard.wait_for_address("Started probes and metrics");

    let (node, _) = start(&genesis, &at("node"), &[]);
    let flag = format!("--ethstats=stranger:one@{page}");
    let (mut stranger, probes) =
        start(&other, &at("stranger"), &[&flag, "--bootnodes", &node.enode()]);
    wait_for_words(&mut stranger, probes, "/readyz", &["[-]peers 0 of at least 1: ", "genesis"]);
    stranger.wait("it logs so", LONGEST, |node| {
        node.logged("No peers").is_some_and(|line| line.contains("genesis"))
    });
    dashboard.wait("the dashboard shows so", LONGEST, |_| {
        let network: Value = get(page, "/api/v1/network")
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let trouble = network["nodes"][0]["trouble"].as_str().unwrap_or_default();
        trouble.contains("peers 0 of at least 1") && trouble.contains("genesis")
    });
    wait_for_words(&mut dashboard, metrics, "/metrics", &["\nethstats_nodes 1\n"]);
    for node in [node, stranger, dashboard] {
        node.stop_well();
    }
}

#[test]
fn a_dashboard_that_is_down_or_does_not_know_the_secret_is_said_to_probes() {
    let folder = tempfile::tempdir().expect("a folder");
    let genesis = write(folder.path(), "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
    let mut command = Command::new(hematite());
    command.args(["--role", "ethstats", "--ops.addr", "127.0.0.1:0"]).envs(ALONE);
    let mut dashboard = Node::launch(command.env("WS_SECRET", "one").env("PORT", "0"));
    let page = dashboard.wait_for_address("Started dashboard");
    let page = SocketAddr::from(([127, 0, 0, 1], page.port()));
    let flag = format!("--ethstats=lost:hidden-and-wrong@{page}");
    let (mut node, probes) = start(&genesis, &folder.path().join("node"), &[&flag]);
    let path = "/readyz?verbose&minPeers=0";
    let words = ["[+]dashboard does not hear of this node: ", "is the secret right?", "passed"];
    wait_for_words(&mut node, probes, path, &words);
    let shown: Value = serde_json::from_str(&get(page, "/api/v1/network").expect("it answers"))
        .expect("it is JSON");
    assert_eq!(shown["refused"][0]["name"], "lost", "{shown}");
    assert!(!shown.to_string().contains("hidden-and-wrong"), "{shown}");
    let refused = "\nethstats_refused_nodes_total{reason=\"secret\"} ";
    let metrics = dashboard.wait_for_address("Started probes and metrics");
    let text = get(metrics, "/metrics").expect("it answers");
    assert!(text.contains(refused) && !text.contains(&format!("{refused}0\n")), "{text}");
    dashboard.stop_well();
    wait_for_words(&mut node, probes, path, &["does not hear of this node: cannot reach"]);
    node.stop_well();
}

#[test]
fn a_miner_without_memory_for_its_dag_is_up_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().join("miner");
    // Room for the node, but not for the gibibyte of a DAG that no file may hold.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 1000000; exec \"$0\" \"$@\"", text(hematite())]);
    command.args(["--role", "miner", "--genesis", "book", "--datadir", text(&datadir)]).envs(ALONE);
    command.args(["--ethash.dagsondisk", "0", "--miner.threads", "1", "--http.port", "0"]);
    command.args(["--miner.etherbase", "0x00000000000000000000000000000000000000aa"]);
    command.args(["--ops.addr", "127.0.0.1:0"]);
    let mut miner = Node::launch(&mut command);
    let probes = miner.wait_for_address("Started probes and metrics");
    let words = ["[-]dag cannot be had: cannot get 1024 MiB of memory", "raise the memory limit"];
    wait_for_words(&mut miner, probes, "/readyz", &words);
    wait_for_words(&mut miner, probes, "/startupz", &words);
    assert!(get(probes, "/livez").expect("it answers").starts_with("ok"));
    assert!(miner.logged("Cannot mine without a DAG").is_some(), "{}", miner.history());
    miner.stop_well();
}
