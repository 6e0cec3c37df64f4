//! Probes and metrics of real nodes, and the dashboard and the alerts that read them.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    branches::{Branches, book_genesis, rlp, write},
    exposition::{names_in, parse},
    key::Key,
    network::ID,
    node::{Node, fail, run, shown, succeed},
    root, text,
};

/// How long anything may take.
const LONGEST: Duration = Duration::from_secs(120);
/// How long an answer may take: a probe of Kubernetes waits as long as it is told.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// Serves on a free port of this machine alone.
const OPS: [&str; 2] = ["--ops.addr", "127.0.0.1:0"];
/// Blocks to catch up with.
const BLOCKS: u64 = 420;
/// What a node logs when it serves.
const SERVES: &str = "Started probes and metrics";

/// A node with peers that neither makes nor checks proofs of work, and where its probes are.
fn start(genesis: &str, datadir: &Path, args: &[&str]) -> (Node, SocketAddr) {
    let mut all = vec!["--genesis", genesis, "--datadir", text(datadir), "--fakepow"];
    all.extend(["--maxpeers", "10", "--port", "0", "--nat", "extip:127.0.0.1"]);
    all.extend(["--networkid", ID, "--nodiscover"]);
    all.extend(args);
    let mut node = Node::start_with_ops(&all, &OPS);
    let ops = node.wait_for_address(SERVES);
    (node, ops)
}

fn genesis(folder: &Path) -> String {
    write(folder, "genesis.json", book_genesis(&[Key::fixed(1)]).to_string())
}

/// Status and body of a path.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status for {path}: {head:?}")), body.to_owned())
}

/// What comes back for some bytes; the other side may close before it has read all.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(ANSWER_TIME_MAX)).expect("a time above zero");
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits until a path has this status and says these words; returns all that it says.
fn wait_for(
    node: &mut Node,
    address: SocketAddr,
    (path, status, words): (&str, u16, &str),
) -> String {
    let mut said = (0, String::new());
    let what = format!("{path} says {status} and {words:?}");
    node.wait(&what, LONGEST, |_| {
        said = get(address, path);
        said.0 == status && said.1.contains(words)
    });
    said.1
}

#[test]
fn a_node_is_ready_with_a_peer_and_no_longer_without() {
    let folder = tempfile::tempdir().expect("a folder");
    let genesis = genesis(folder.path());
    let at = |name: &str| folder.path().join(name);
    let (mut reader, probes) = start(&genesis, &at("reader"), &["--role", "tx"]);
    let alone = wait_for(&mut reader, probes, ("/readyz", 503, "[-]peers 0 of at least 1: "));
    assert!(alone.contains("[+]chain ok\n") && alone.contains("[+]clock ok\n"), "{alone}");
    let alive = get(probes, "/livez?verbose").1;
    let words = "[+]chain ok\n[+]network ok\n[+]watch ok\nlivez check passed\n";
    assert_eq!(alive, words);
    // Nobody else may ever come: it starts.
    wait_for(&mut reader, probes, ("/startupz", 200, "ok\n"));
    wait_for(&mut reader, probes, ("/readyz?minPeers=0", 200, "ok\n"));
    assert_eq!(get(probes, "/readyz").0, 503);

    let args =
        ["--role", "miner", "--miner.etherbase", "0x00000000000000000000000000000000000000aa"];
    let (mut miner, _) = start(&genesis, &at("miner"), &args);
    miner.wait_for_block(3, LONGEST);
    let added = reader.rpc.call("admin_addPeer", json!([miner.enode()]));
    assert_eq!(added, json!(true));
    wait_for(&mut reader, probes, ("/readyz", 200, "ok\n"));
    for path in ["/healthz", "/readiness", "/liveness", "/readyz?maxBlocksBehind=3&minPeers=1"] {
        assert_eq!(get(probes, path), (200, "ok\n".to_owned()), "{path}");
    }
    let verbose = get(probes, "/readyz?verbose").1;
    assert!(verbose.contains("[+]peers 1 of at least 1\n"), "{verbose}");
    assert!(verbose.ends_with("readyz check passed\n"), "{verbose}");
    let told: Value = serde_json::from_str(&get(probes, "/readyz?format=json").1).expect("JSON");
    assert_eq!(told["status"], "ok", "{told}");
    let few = get(probes, "/readyz?minPeers=2");
    assert!(few.0 == 503 && few.1.contains("[-]peers 1 of at least 2\n"), "{few:?}");
    assert_eq!(get(probes, "/readyz?minPeers=many").0, 400);

    miner.kill();
    wait_for(&mut reader, probes, ("/readyz", 503, "[-]peers 0 of at least 1: "));
    assert_eq!(get(probes, "/livez").0, 200);
    assert_eq!(get(probes, "/startupz").0, 200, "it has started, whatever comes");
    reader.stop_well();
    assert!(TcpStream::connect(probes).is_err(), "nothing listens any longer");
}

#[test]
fn a_node_that_joins_is_ready_only_when_it_has_the_blocks_of_the_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let branches = Branches::grow(BLOCKS, 1);
    let genesis = write(folder.path(), "genesis.json", branches.genesis.to_string());
    let file = write(folder.path(), "chain.rlp", rlp(&branches.first));
    let full = at("full");
    succeed(&["import", "--fakepow", "--genesis", &genesis, "--datadir", text(&full), &file]);
    let (full, _) = start(&genesis, &full, &["--role", "tx"]);
    let args = ["--role", "tx", "--bootnodes", &full.enode()];
    let (mut joining, probes) = start(&genesis, &at("joining"), &args);
    wait_for(&mut joining, probes, ("/readyz", 200, "ok\n"));
    let height = joining.rpc.block_number();
    assert!(height >= BLOCKS - 3, "it was ready at block {height}: {}", joining.history());
    let text = get(probes, "/metrics").1;
    assert!(text.contains("\nnode_ready{criterion=\"all\"} 1\n"), "{text}");
    let outbound = "\nnetwork_peers{direction=\"outbound\",version=\"eth/68\"} 1\n";
    assert!(text.contains(outbound), "{text}");
    joining.stop_well();
    full.stop_well();
}

#[test]
fn a_miner_that_makes_its_dag_says_how_far_it_is_and_is_of_use_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let (genesis, datadir) = (genesis(folder.path()), folder.path().join("node"));
    let dags = folder.path().join("dags");
    let args = ["--genesis", &genesis, "--datadir", text(&datadir), "--role", "miner"];
    let mining =
        ["--miner.threads", "1", "--ethash.dagdir", text(&dags), "--ethash.dagsondisk", "0"];
    let mut miner = Node::start_with_ops(&[args.as_slice(), &mining].concat(), &OPS);
    let probes = miner.wait_for_address(SERVES);
    let mut said = String::new();
    miner.wait("the DAG is being made", LONGEST, |_| {
        said = get(probes, "/startupz").1;
        said.contains("[-]dag of epoch 0 being made, ")
    });
    assert!(said.contains(" %, ") && said.ends_with("startupz check failed\n"), "{said}");
    assert_eq!(get(probes, "/livez").0, 200);
    wait_for(&mut miner, probes, ("/readyz", 200, "ok\n"));
    let metrics = parse(&get(probes, "/metrics").1);
    assert!(metrics["dag_made_ratio"].samples[0].1 < 1.0, "{metrics:?}");
    assert!(metrics.contains_key("dag_eta_seconds"), "{metrics:?}");
    miner.stop_well();
}

/// Everything that a folder's dashboard and alerts read.
fn names_read() -> BTreeSet<String> {
    let deploy = root().join("deploy");
    let read = |path: &str| fs::read_to_string(deploy.join(path)).expect("the file is there");
    let dashboard: Value =
        serde_json::from_str(&read("grafana/hematite.json")).expect("the dashboard is JSON");
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let targets = panel["targets"].as_array().into_iter().flatten();
        expressions
            .extend(targets.map(|target| target["expr"].as_str().expect("a text").to_owned()));
    }
    let panels = expressions.len();
    let alerts = read("alerts.yaml");
    let alerts = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    expressions.extend(alerts.map(str::to_owned));
    assert!(panels > 20 && expressions.len() > panels + 5, "{expressions:?}");
    expressions.iter().flat_map(|expression| names_in(expression)).collect()
}

/// A name without what samples of histograms add to it, unless it is a metric's own.
fn family_of(name: &str, known: &BTreeSet<String>) -> String {
    let suffixes = ["_bucket", "_sum", "_count"];
    let stripped = suffixes.iter().find_map(|suffix| name.strip_suffix(suffix));
    let stripped = stripped.filter(|stripped| known.contains(*stripped));
    stripped.unwrap_or(name).to_owned()
}

#[test]
fn what_the_dashboard_and_the_alerts_read_is_exported_and_geths_names_are_gauges() {
    let folder = tempfile::tempdir().expect("a folder");
    let (genesis, datadir) = (genesis(folder.path()), folder.path().join("miner"));
    let geth = ["--metrics", "--metrics.port", "0"];
    let args =
        ["--role", "miner", "--miner.etherbase", "0x00000000000000000000000000000000000000aa"];
    let (mut miner, probes) = start(&genesis, &datadir, &[args.as_slice(), &geth].concat());
    miner.wait_for_block(2, LONGEST);
    assert!(miner.rpc.try_call("eth_getBalance", &json!(["rubbish"])).is_err());
    let mut metrics = parse(&get(probes, "/metrics").1);
    miner.wait("its disk is looked at", LONGEST, |_| {
        metrics = parse(&get(probes, "/metrics").1);
        metrics.contains_key("storage_free_bytes")
    });
    let exported: BTreeSet<String> = metrics.keys().cloned().collect();
    for name in names_read() {
        let family = family_of(&name, &exported);
        assert!(exported.contains(&family), "{name} is read, but not exported: {exported:#?}");
    }
    let page = fs::read_to_string(root().join("deploy/README.md")).expect("the page is there");
    for (name, family) in &metrics {
        let row = format!("| `{name}` | {} |", family.kind);
        assert!(page.contains(&row), "deploy/README.md has no {row}");
    }
    let value = |series: &str| {
        let samples = metrics.values().flat_map(|family| &family.samples);
        let found = samples.clone().find(|sample| sample.0 == series);
        found.unwrap_or_else(|| panic!("no {series}")).1
    };
    assert!(value("chain_head_number") >= 2.0);
    assert!(value("miner_sealed_blocks_total") >= 2.0);
    assert!(value("chain_imported_blocks_total") >= 2.0);
    assert!(value("rpc_errors_total{method=\"eth_getBalance\"}") >= 1.0);
    assert!(value("storage_used_bytes") > 0.0 && value("process_resident_memory_bytes") > 1e6);
    for (name, family) in &metrics {
        assert!(!name.contains("hematite"), "a name has no prefix of the product");
        let text = format!("{:?}", family.samples);
        assert!(!text.contains("enode") && !text.contains("127.0.0.1"), "{name} names somebody");
    }

    let line = miner.logged("Started metrics as geth has them").expect("it is logged");
    let address = line.split_once("url=http://").expect("a URL").1;
    let address = address.split('/').next().and_then(|address| address.parse().ok());
    for address in [probes, address.expect("an address")] {
        let theirs = parse(&get(address, "/debug/metrics/prometheus").1);
        let kinds = theirs.values().map(|family| family.kind.as_str());
        assert!(kinds.clone().all(|kind| kind == "gauge" || kind == "summary"), "{theirs:?}");
        for name in ["chain_head_block", "p2p_peers", "txpool_pending", "system_cpu_procload"] {
            assert_eq!(theirs.get(name).expect(name).kind, "gauge");
        }
        assert_eq!(theirs["chain_inserts"].kind, "summary");
        assert!(theirs["chain_head_block"].samples[0].1 >= 2.0);
        assert!(!theirs.contains_key("chain_head_number"), "ours are elsewhere");
    }
    miner.stop_well();
}

#[test]
fn whoever_sends_rubbish_or_nothing_keeps_no_probe_from_its_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().join("node");
    let (mut node, probes) = start(&genesis(folder.path()), &datadir, &["--role", "tx"]);
    let mut silent = Vec::new();
    for count in 0..300 {
        let mut stream = TcpStream::connect(probes).expect("it listens");
        // Half of them begin a request and leave it at that; it may be closed already.
        if count % 2 == 0 {
            let _ = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ");
        }
        silent.push(stream);
    }
    assert_eq!(get(probes, "/livez"), (200, "ok\n".to_owned()));
    let long_path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let long_head = format!("GET /livez HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100_000));
    for rubbish in
        [&long_path, &long_head, "\u{16}\u{3}\u{1}", "POST /livez HTTP/1.1\r\n\r\n", "\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(probes).expect("it listens");
        let _ = stream.write_all(rubbish.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        stream.set_read_timeout(Some(ANSWER_TIME_MAX)).expect("a time above zero");
        let _ = stream.read_to_string(&mut answer);
        assert!(!answer.contains(" 200 "), "{answer}");
        assert_eq!(get(probes, "/livez").0, 200);
    }
    assert_eq!(get(probes, "/../../etc/passwd").0, 404);
    assert_eq!(node.rpc.block_number(), 0, "RPC answers as well");
    let history = node.history();
    assert!(!history.contains("panicked"), "{history}");
    drop(silent);
    node.stop_well();
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_is_an_error_but_the_default_is_done_without() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().join("node");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let common = ["--role", "tx", "--genesis", "book", "--datadir", text(&datadir)];
    let with = |more: &[&'static str], last: &str| {
        let args: Vec<&str> = common.iter().chain(more).copied().chain([last]).collect();
        run(&args)
    };
    for (output, flag) in [
        (with(&["--ops.addr"], &address), "--ops.addr"),
        (with(&["--ops.addr", "off", "--metrics", "--metrics.port"], &port), "--metrics.port"),
    ] {
        let said = shown(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&address) && said.contains(flag), "{said}");
    }
    let nonsense: Vec<&str> = common.iter().copied().chain(["--ops.addr", "nonsense"]).collect();
    fail(&nonsense, 2, &["nonsense is no address"]);

    // If somebody else has it, it is taken as well.
    let _default = TcpListener::bind("[::]:6061").or_else(|_| TcpListener::bind("0.0.0.0:6061"));
    let node = Node::start_with_ops(&["--dev"], &[]);
    let warned = node.logged("Serving no probes and metrics").expect("it is said");
    assert!(warned.contains("6061") && warned.contains("--ops.addr"), "{warned}");
    node.stop_well();
}

#[test]
fn a_bootnode_is_ready_when_discovery_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["--role", "bootnode", "--port", "0", "--datadir", text(folder.path())];
    let mut bootnode = Node::spawn(&args, &OPS);
    let probes = bootnode.wait_for_address(SERVES);
    wait_for(&mut bootnode, probes, ("/readyz", 200, "ok\n"));
    let verbose = get(probes, "/readyz?verbose").1;
    assert!(verbose.contains("[+]discovery ok\n"), "{verbose}");
    wait_for(&mut bootnode, probes, ("/startupz", 200, "ok\n"));
    assert_eq!(get(probes, "/livez").0, 200);
    let metrics = parse(&get(probes, "/metrics").1);
    assert_eq!(metrics["discovery_nodes"].samples[0].1, 0.0);
    assert!(metrics["build_info"].samples[0].0.contains("role=\"bootnode\""), "{metrics:?}");
    let paths = get(probes, "/").1;
    assert!(paths.contains("/livez\n") && paths.contains("/metrics\n"), "{paths}");
    bootnode.stop_well();
}
