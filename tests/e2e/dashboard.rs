//! The dashboard: our nodes and real geth report to it, and many look at it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use ethstats::{Block, Identity, Report, ReporterConfig, Stats};
use futures_util::{SinkExt, StreamExt};
use primitives::{Header, SealedBlock, TotalDifficulty, U256};
use serde_json::{Value, json};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_tungstenite::{connect_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;

use crate::harness::{
    branches::write,
    clients,
    geth::Geth,
    node::{ALONE, Node, fail, hematite},
    random::is_long,
    text,
};

/// What nodes must know.
const SECRET: &str = "uGYQ7lj55FqFxdyIwsv1";
/// How long something may take that takes a moment.
const TIME_MAX: Duration = Duration::from_secs(60);
/// How long geth must stay: two full reports, and the pongs to them.
const STAY: u64 = 32_000;
/// How long that may take to see.
const STAY_MAX: Duration = Duration::from_secs(150);
/// Nodes and pages that one dashboard serves without strain.
const NODES: usize = 200;
const PAGES: usize = 100;
/// Blocks that all of them tell of.
const BLOCKS: u64 = 10;
/// Memory of a dashboard with all of them, in KiB.
const MEMORY_MAX: u64 = 100 * 1_024;

/// A dashboard. Killed when dropped.
struct Dashboard {
    node: Node,
    port: u16,
}

impl Dashboard {
    fn start() -> Self {
        Self::start_at(0)
    }

    fn start_at(port: u16) -> Self {
        let mut command = Command::new(hematite());
        command.args(["--role", "ethstats", "--ops.addr", "off"]).envs(ALONE);
        command.env("WS_SECRET", SECRET).env("PORT", port.to_string());
        let mut node = Node::launch(&mut command);
        let mut port = None;
        node.wait("it listens", TIME_MAX, |node| {
            port = node.logged("Started dashboard").and_then(|line| {
                let address = line.split_once("address=")?.1.split_whitespace().next()?.to_owned();
                address.rsplit_once(':')?.1.parse().ok()
            });
            port.is_some()
        });
        Self { node, port: port.expect("it listens") }
    }

    /// The flag of a node that reports here.
    fn flag(&self, name: &str, secret: &str) -> String {
        format!("--ethstats={name}:{secret}@127.0.0.1:{}", self.port)
    }

    /// What is answered to a path.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        body.to_owned()
    }

    /// Everything that a page shows.
    fn network(&self) -> Value {
        serde_json::from_str(&self.get("/api/v1/network")).expect("it is JSON")
    }

    fn reporter(&self, name: &str) -> Value {
        let network = self.network();
        let mut nodes = network["nodes"].as_array().expect("nodes").iter();
        nodes.find(|node| node["id"] == name).cloned().unwrap_or_default()
    }

    /// Waits until a node is shown as it should be.
    fn wait_for(&mut self, name: &str, longest: Duration, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + longest;
        loop {
            let shown = self.reporter(name);
            if is(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "{name} is {shown}\n{}", self.node.history());
            self.node.pause(Duration::from_millis(200));
        }
    }
}

#[test]
fn our_node_reports_its_blocks_to_our_dashboard() {
    let mut dashboard = Dashboard::start();
    let flag = dashboard.flag("dev-0", SECRET);
    let mut node = Node::start(&["--dev", "--dev.period", "1", &flag]);
    node.wait_for_block(2, TIME_MAX);
    let shown = dashboard.wait_for("dev-0", TIME_MAX, |shown| {
        shown["block"]["number"].as_u64() >= Some(2) && shown["latency"].is_u64()
    });
    assert_eq!((&shown["mining"], &shown["caughtUp"]), (&json!(true), &json!(true)), "{shown}");
    assert!(shown["node"].as_str().unwrap().starts_with("Hematite/v"), "{shown}");
    let network = dashboard.network();
    let blocks = network["blocks"].as_array().unwrap();
    let hash = |number: u64| {
        let block = blocks.iter().find(|block| block["number"] == number);
        block.map(|block| block["hash"].clone())
    };
    for number in [0, 1, 2] {
        let tag = format!("{number:#x}");
        let real = node.rpc.call("eth_getBlockByNumber", json!([tag, false]))["hash"].clone();
        assert_eq!(hash(number), Some(real), "block {number}, told or asked for");
    }
    node.stop_well();
    dashboard.wait_for("dev-0", TIME_MAX, |shown| shown["connected"] == false);
    dashboard.node.stop_well();
}

/// A place where everything that comes is decrypted and passed on, for as long as the runtime lives.
fn behind_tls(to: u16, acceptor: tls::Acceptor) -> (Runtime, u16) {
    let runtime = Runtime::new().expect("a runtime");
    let listening = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = runtime.block_on(listening).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let passing = async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let mut outside = acceptor.accept(socket).await?;
                let mut inside = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await?;
                tokio::io::copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    };
    drop(runtime.spawn(passing));
    (runtime, port)
}

#[test]
fn a_node_reports_to_a_dashboard_behind_tls_that_it_trusts() {
    let mut dashboard = Dashboard::start();
    let authority = tls::testing::Authority::new();
    let (_runtime, port) = behind_tls(dashboard.port, authority.acceptor());
    let folder = tempfile::tempdir().expect("a folder");
    let trusted = write(folder.path(), "ca.pem", authority.pem());
    let strange = write(folder.path(), "other.pem", tls::testing::Authority::new().pem());
    let flag = |name: &str| format!("--ethstats={name}:{SECRET}@wss://localhost:{port}");
    let node = Node::start(&["--dev", &flag("dev-0"), "--tls.cafile", &trusted]);
    dashboard.wait_for("dev-0", TIME_MAX, |shown| shown["block"]["number"] == 0);
    let mut other = Node::start(&["--dev", &flag("dev-1"), "--tls.cafile", &strange]);
    let words = "Could not report to the dashboard";
    other.wait("it says so", TIME_MAX, |node| node.logged(words).is_some());
    let said = other.logged(words).expect("it was logged");
    assert!(
        said.contains("nobody that is trusted here") && said.contains("--tls.cafile"),
        "{said}"
    );
    assert_eq!(dashboard.reporter("dev-1"), Value::Null);
    for node in [node, other] {
        let log = node.stop_well_and_read();
        assert!(!log.contains(SECRET), "{log}");
    }
}

#[test]
fn a_node_comes_back_when_the_dashboard_does() {
    let mut dashboard = Dashboard::start();
    let port = dashboard.port;
    let flag = dashboard.flag("dev-0", SECRET);
    let mut node = Node::start(&["--dev", &flag]);
    dashboard.wait_for("dev-0", TIME_MAX, |shown| shown["connected"] == true);
    drop(dashboard.node.kill());
    node.wait("it notices", TIME_MAX, |node| {
        node.logged("Could not report to the dashboard").is_some()
    });
    let mut again = Dashboard::start_at(port);
    again.wait_for("dev-0", TIME_MAX, |shown| shown["block"]["number"] == 0);
    node.stop_well();
}

/// geth 1.9.13 hangs up on a dashboard that answers its ping too soon.
fn stays(version: &str) {
    let mut dashboard = Dashboard::start();
    let directory = tempfile::tempdir().expect("a directory");
    let geth = Geth::new(version, directory.path());
    let flag = dashboard.flag(version, SECRET);
    let node = geth.start(&["--dev", "--dev.period", "1", &flag]);
    let told = |shown: &Value| shown["block"]["number"].as_u64() >= Some(2);
    let first = dashboard.wait_for(version, TIME_MAX, told);
    let since = first["since"].as_u64().expect("a time");
    let last = dashboard.wait_for(version, STAY_MAX, |shown| {
        assert_eq!(shown["since"], since, "it came again: {shown}\n{}", node.history());
        shown["last"].as_u64() >= Some(since + STAY)
    });
    assert!(last["node"].as_str().is_some_and(|node| node.contains(version)), "{last}");
    assert!(last["latency"].is_u64() && last["gasPrice"].is_string(), "{last}");
    assert_eq!((&last["sessions"], &last["connected"]), (&json!(1), &json!(true)));
    let history = node.history();
    assert!(!history.contains("Stats login failed"), "{history}");
}

#[test]
fn geth_1_9_13_reports_and_stays() {
    stays("v1.9.13");
}

#[test]
fn geth_1_11_6_reports_and_stays() {
    stays("v1.11.6");
}

#[test]
fn a_wrong_secret_is_told_of_in_words_on_both_sides() {
    let mut dashboard = Dashboard::start();
    let flag = dashboard.flag("stranger", "hidden-and-wrong");
    let mut node = Node::start(&["--dev", &flag]);
    node.wait("it says so", TIME_MAX, |node| {
        node.logged("Could not report to the dashboard").is_some()
    });
    let said = node.logged("Could not report to the dashboard").unwrap();
    assert!(said.contains("is the secret right?"), "{said}");
    dashboard.node.wait("it says so", TIME_MAX, |node| node.logged("Refused a node").is_some());
    let refused = dashboard.node.logged("Refused a node").unwrap();
    assert!(refused.contains("stranger") && refused.contains("WS_SECRET"), "{refused}");
    for log in [node.history(), dashboard.node.history()] {
        assert!(!log.contains("hidden-and-wrong") && !log.contains(SECRET), "{log}");
    }
    assert_eq!(dashboard.network()["nodes"], json!([]));
    node.stop_well();
}

#[test]
fn a_dashboard_that_is_down_or_misnamed_is_told_of_in_words() {
    let mut node = Node::start(&["--dev", "--ethstats=n:s@127.0.0.1:1"]);
    node.wait("it says so", TIME_MAX, |node| node.logged("cannot reach 127.0.0.1:1").is_some());
    assert_eq!(node.rpc.block_number(), 0, "it runs all the same");
    node.stop_well();
    fail(&["--dev", "--ethstats", "n:s"], 2, &["invalid netstats url: \"n:***\""]);
    fail(&["--role", "ethstats"], 2, &["WS_SECRET is not set"]);
}

/// What a browser said, one line of JSON.
fn said(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Value {
    let line = lines.next().expect("the browser sees the page").expect("it is text");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a_real_browser_shows_the_network_as_it_changes_and_says_when_the_dashboard_is_dead() {
    // A name that would be a picture, if it were not shown as text.
    const NAME: &str = "<img src=x onerror=alert(1)>";
    let mut dashboard = Dashboard::start();
    let flag = dashboard.flag(NAME, SECRET);
    let node = Node::start(&["--dev", "--dev.period", "1", &flag]);
    dashboard.wait_for(NAME, TIME_MAX, |shown| shown["block"]["number"].as_u64() >= Some(4));
    let url = format!("http://127.0.0.1:{}/", dashboard.port);
    let pictures = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("HEMATITE_PICTURES");
    let folder = folder.map_or_else(|| pictures.path().to_owned(), PathBuf::from);
    let mut browser = clients::browser(&url, &folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut lines = BufReader::new(browser.stdout.take().expect("it is a pipe")).lines();
    let seen = said(&mut lines);
    assert_eq!(seen["rows"], json!([NAME]), "{seen}");
    assert_eq!(seen["marked"], true, "a new block came without a reload: {seen}");
    assert!(seen["told"][0].as_str().unwrap().starts_with(NAME), "{seen}");
    assert_eq!((&seen["images"], &seen["overflow"]), (&json!(0), &json!(0)), "{seen}");
    assert_eq!(seen["nameless"], json!([]), "a screen reader has a name for everything: {seen}");
    assert_eq!(seen["hosts"], json!([format!("127.0.0.1:{}", dashboard.port)]), "{seen}");
    assert_eq!(seen["trouble"], json!([]), "{seen}");
    drop(dashboard.node.kill());
    writeln!(browser.stdin.take().expect("it is a pipe"), "dead").expect("it waits");
    let said = said(&mut lines);
    assert!(said.as_str().unwrap().contains("No connection to the dashboard"), "{said}");
    assert!(browser.wait().expect("the child is ours").success());
    drop(node);
}

/// A page: how long blocks took from the dashboard to it, at most.
async fn look(address: SocketAddr, until: u64) -> Duration {
    let (mut page, _) = connect_async(format!("ws://{address}/live")).await.expect("a page opens");
    let mut slowest = Duration::ZERO;
    let mut head = 0;
    while head < until {
        let read = page.next().await.expect("it is served").expect("it is served");
        let Message::Text(update) = read else { continue };
        let update: Value = serde_json::from_str(&update).expect("it is JSON");
        for block in update["blocks"].as_array().into_iter().flatten() {
            let (number, first) = (block["number"].as_u64(), block["first"].as_u64());
            let (Some(number), Some(first)) = (number, first) else { continue };
            if number > head {
                head = number;
                let told = SystemTime::UNIX_EPOCH + Duration::from_millis(first);
                slowest = slowest.max(told.elapsed().unwrap_or_default());
            }
        }
    }
    page.close(None).await.expect("it is open");
    slowest
}

fn block(number: u64) -> Box<Block> {
    let header = Header { number, difficulty: U256::from(131_072), ..Header::default() };
    let block = primitives::Block { header, ..primitives::Block::default() };
    let td = TotalDifficulty::new(U256::from(number * 131_072));
    Box::new(Block::new(&SealedBlock::seal_slow(block), td))
}

/// A node that reports until it is told to stop.
fn report(
    address: SocketAddr,
    number: usize,
    tasks: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> mpsc::Sender<Report> {
    let target = format!("node-{number}:{SECRET}@{address}").parse().expect("a URL");
    let (sender, reports) = mpsc::channel(4);
    let history = mpsc::channel(1).0;
    let identity = Identity {
        client: "Hematite/v0.1.0".into(),
        port: 30_303,
        network_id: 27_587,
        protocol: "eth/68".into(),
        processor: "amd64".into(),
    };
    let trouble = watch::Sender::new(None);
    let connector = tls::Connector::default();
    let config = ReporterConfig { target, connector, identity, reports, history, trouble };
    tasks.spawn(ethstats::report(config, shutdown.clone()));
    sender
}

#[test]
fn two_hundred_nodes_and_a_hundred_pages_are_served_without_strain() {
    let dashboard = Dashboard::start();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, dashboard.port));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let slowest = runtime.block_on(async {
        let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
        let nodes: Vec<_> =
            (0..NODES).map(|number| report(address, number, &mut tasks, &shutdown)).collect();
        let mut pages = JoinSet::new();
        for _ in 0..PAGES {
            pages.spawn(look(address, BLOCKS));
        }
        let mut counter = connect_async(format!("ws://{address}/live")).await.expect("a page").0;
        let stats = Stats {
            active: true,
            caught_up: true,
            mining: true,
            hashrate: 1,
            peers: 9,
            gas_price: 1,
        };
        for number in 1..=BLOCKS {
            for node in &nodes {
                node.send(Report::Head(block(number))).await.expect("it reports");
                node.send(Report::Stats(stats)).await.expect("it reports");
            }
            // The next block comes when all have told of this one, as far as a page can see.
            wait_for_reports(&mut counter, number).await;
        }
        let slowest = pages.join_all().await.into_iter().max().expect("pages");
        shutdown.cancel();
        while tasks.join_next().await.is_some() {}
        slowest
    });
    let status = format!("/proc/{}/status", dashboard.node.id());
    let status = std::fs::read_to_string(status).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    let figures = format!(
        "dashboard: {NODES} nodes, {PAGES} pages: {} MiB at most, pages at most {slowest:?} behind\n",
        peak / 1_024
    );
    // Whoever reads it has asked for output.
    drop(std::io::stderr().write_all(figures.as_bytes()));
    assert!(peak <= MEMORY_MAX, "{peak} KiB");
    // Where other tests run beside this one, it is they who are slow.
    assert!(!is_long() || slowest <= Duration::from_secs(1), "{slowest:?}");
}

async fn wait_for_reports(
    page: &mut tokio_tungstenite::WebSocketStream<
        tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>,
    >,
    number: u64,
) {
    loop {
        let read = page.next().await.expect("it is served").expect("it is served");
        let Message::Text(update) = read else { continue };
        let update: Value = serde_json::from_str(&update).expect("it is JSON");
        let is_told = |block: &Value| block["number"] == number && block["nodes"] == NODES;
        if update["blocks"].as_array().is_some_and(|blocks| blocks.iter().any(is_told)) {
            return;
        }
    }
}

#[test]
fn hostile_frames_end_their_connection_and_nothing_else() {
    let mut dashboard = Dashboard::start();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, dashboard.port));
    let hostile = [
        "\u{0}".repeat(9),
        "[".repeat(1_000_000),
        format!("{{\"emit\":[\"hello\",{{\"id\":\"{}\"}}]}}", "x".repeat(1_000_000)),
        "{\"emit\":[\"block\",{\"block\":{\"number\":1e999}}]}".to_owned(),
        format!("{{\"emit\":[\"hello\",{{\"id\":\"a\",\"secret\":\"{SECRET}\"}}]}}"),
    ];
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        for frame in &hostile {
            let (mut socket, _) =
                connect_async(format!("ws://{address}/api")).await.expect("it listens");
            // It may be sent away in the middle of it.
            drop(socket.send(Message::text(frame.clone())).await);
            for _ in 0..40 {
                drop(socket.send(Message::text("{\"emit\":[\"block\",{}]}")).await);
            }
            while let Some(Ok(_)) = socket.next().await {}
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let flag = dashboard.flag("still-here", SECRET);
    let node = Node::start(&["--dev", &flag, "--datadir", text(directory.path())]);
    dashboard.wait_for("still-here", TIME_MAX, |shown| shown["connected"] == true);
    node.stop_well();
    assert!(!dashboard.node.history().contains("panicked"), "{}", dashboard.node.history());
}
