//! A whole network with one command.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    dev::CHAIN_ID,
    harness::{
        dags,
        key::{Key, raw},
        node::{ALONE, fail, hematite},
        rpc::Rpc,
        text,
    },
};

/// How long anything may take: a DAG may have to be made.
const LONGEST: Duration = Duration::from_secs(600);
/// How often something is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The last line of the banner.
const LAST_LINE: &str = "Ctrl-C ends all.";

/// A network that runs. Killed when dropped, and its nodes with it.
struct Devnet {
    child: Child,
    /// What it said before the first block.
    banner: String,
    log: Arc<Mutex<String>>,
}

impl Devnet {
    fn start(args: &[&str], temporary: &Path) -> Self {
        let mut child = Command::new(hematite())
            .args(["devnet", "--http.port", "0", "--dashboard.port", "0"])
            .args(args)
            // What is meant for one node must not reach all of them.
            .envs(ALONE)
            .env("TMPDIR", temporary)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let log: Arc<Mutex<String>> = Arc::default();
        let stderr = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        let written = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                *written.lock().expect("no reader panics") += &format!("{line}\n");
            }
        });
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        let mut banner = String::new();
        while !banner.contains(LAST_LINE) {
            let Some(line) = lines.next() else {
                panic!("it ended: {banner}{}", log.lock().expect("no reader panics"))
            };
            banner += &format!("{}\n", line.expect("it is text"));
        }
        Self { child, banner, log }
    }

    fn history(&self) -> String {
        self.log.lock().expect("no reader panics").clone()
    }

    /// The addresses after this word, in order.
    fn addresses(&self, begins: &str) -> Vec<std::net::SocketAddr> {
        let lines = self.banner.lines().filter(|line| line.trim().starts_with(begins));
        lines
            .map(|line| {
                let url = line.split_once("http://").expect("a URL").1;
                url.split_whitespace().next().expect("an address").parse().expect("an address")
            })
            .collect()
    }

    /// The keys that were printed.
    fn keys(&self) -> Vec<Key> {
        let lines = self.banner.lines().filter(|line| line.starts_with("  0x"));
        lines.map(|line| Key::from_hex(line.split_whitespace().nth(1).expect("a key"))).collect()
    }

    fn wait(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + LONGEST;
        while !is_so() {
            assert!(Instant::now() < deadline, "not: {what}\n{}{}", self.banner, self.history());
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// The processes of its nodes.
    fn nodes(&self) -> Vec<u32> {
        let parent = format!("PPid:\t{}\n", self.child.id());
        processes()
            .into_iter()
            .filter(|id| status(*id).is_some_and(|s| s.contains(&parent)))
            .collect()
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits until it has ended.
    fn join(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LONGEST;
        loop {
            if let Some(ended) = self.child.try_wait().expect("it is ours") {
                return ended;
            }
            assert!(Instant::now() < deadline, "it goes on: {}", self.history());
            thread::sleep(LOOK_INTERVAL);
        }
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn signal(id: u32, name: &str) {
    let sent =
        Command::new("sh").args(["-c", "kill -\"$1\" \"$0\"", &id.to_string(), name]).status();
    assert!(sent.expect("sh runs").success());
}

fn processes() -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("there are processes");
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn status(id: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{id}/status")).ok()
}

/// Whether a process runs: one that nobody has buried yet does not.
fn runs(id: u32) -> bool {
    status(id).is_some_and(|status| !status.contains("State:\tZ"))
}

fn get(address: std::net::SocketAddr, path: &str) -> Value {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    serde_json::from_str(body).expect("it is JSON")
}

#[test]
fn one_command_is_a_network_that_mines_what_it_is_sent_and_ends_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().join("net");
    let dags = dags();
    let args = ["--miners", "2", "--txs", "2", "--block-time", "1"];
    let places = ["--datadir", text(&datadir), "--ethash.dagdir", text(&dags)];
    let mut devnet = Devnet::start(&[&args[..], &places[..]].concat(), folder.path());
    let nodes = devnet.nodes();
    assert_eq!(nodes.len(), 4, "{}", devnet.banner);

    let [one, two] = devnet.addresses("tx-")[..] else { panic!("{}", devnet.banner) };
    let (mut one, mut two) = (Rpc::new(one), Rpc::new(two));
    devnet.wait("the chain grows", || two.block_number() >= 3);
    let keys = devnet.keys();
    let sent = one.send(&raw(&keys[0].transfer_1559(CHAIN_ID, 0, keys[1].address())));
    devnet.wait("the other node has the receipt", || {
        let receipt = two.call("eth_getTransactionReceipt", json!([sent]));
        receipt["status"] == "0x1"
    });

    let [dashboard] = devnet.addresses("dashboard")[..] else { panic!("{}", devnet.banner) };
    assert!(dashboard.ip().is_loopback());
    devnet.wait("the dashboard shows all nodes with the chain", || {
        let network = get(dashboard, "/api/v1/network");
        let shown = network["nodes"].as_array().expect("nodes").iter().filter(|node| {
            node["connected"] == true && node["block"]["number"].as_u64().unwrap_or(0) >= 3
        });
        let mut names: Vec<&str> = shown.filter_map(|node| node["id"].as_str()).collect();
        names.sort_unstable();
        names == ["miner-1", "miner-2", "tx-1", "tx-2"]
    });
    assert!(devnet.history().contains("mined block "), "{}", devnet.history());

    let height = two.block_number();
    devnet.signal("INT");
    assert_eq!(devnet.join().code(), Some(0), "{}", devnet.history());
    assert!(!nodes.iter().any(|id| runs(*id)), "a node is left");
    drop(devnet);

    // The chain is there again.
    let mut devnet = Devnet::start(&[&args[..], &places[..]].concat(), folder.path());
    let mut rpc = Rpc::new(devnet.addresses("tx-")[0]);
    assert!(rpc.block_number() >= height);
    let receipt = rpc.call("eth_getTransactionReceipt", json!([sent]));
    assert_eq!(receipt["status"], "0x1");
    devnet.signal("TERM");
    assert_eq!(devnet.join().code(), Some(0), "{}", devnet.history());
}

#[test]
fn no_node_outlives_a_network_that_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut devnet = Devnet::start(&["--fakepow"], folder.path());
    let nodes = devnet.nodes();
    assert_eq!(nodes.len(), 2);
    let mut rpc = Rpc::new(devnet.addresses("tx-")[0]);
    devnet.wait("the chain grows", || rpc.block_number() >= 2);
    devnet.signal("KILL");
    assert_eq!(devnet.join().code(), None);
    devnet.wait("the nodes have ended", || !nodes.iter().any(|id| runs(*id)));
}

#[test]
fn a_node_that_dies_is_told_of_and_all_end_and_nothing_is_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut devnet = Devnet::start(&["--fakepow", "--txs", "2"], folder.path());
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "its data is there");
    let nodes = devnet.nodes();
    let is_miner = |id: &&u32| {
        let line = fs::read_to_string(format!("/proc/{id}/cmdline"));
        line.is_ok_and(|line| line.contains("miner-1"))
    };
    let miner = nodes.iter().find(is_miner).expect("there is a miner");
    signal(*miner, "KILL");
    assert_eq!(devnet.join().code(), Some(1), "{}", devnet.history());
    devnet.wait("it says who died", || devnet.history().contains("Fatal: miner-1 ended by itself"));
    let log = devnet.history();
    assert!(log.contains("signal: 9") && log.contains("Its last lines:"), "{log}");
    assert!(!nodes.iter().any(|id| runs(*id)), "a node is left");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "its data is gone");
}

#[test]
fn what_keeps_a_network_from_starting_is_said() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let words = format!("port {port} of tx-1 is taken");
    fail(&["devnet", "--fakepow", "--http.port", &port], 1, &[&words, "--http.port"]);
    let words = format!("port {port} of the dashboard is taken");
    let args = ["devnet", "--fakepow", "--http.port", "0", "--dashboard.port", &port];
    fail(&args, 1, &[&words, "--dashboard.port"]);
    fail(&["devnet", "--miners", "0"], 2, &["--miners", "1..=8"]);
    let args = ["devnet", "--http.port", "0", "--dashboard.port", "0", "--genesis", "atlantis"];
    fail(&args, 2, &["atlantis"]);
}
