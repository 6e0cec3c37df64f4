use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{cache, installed, node::finish, node::shown, rpc::Rpc, text};

/// How long geth may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(180);
/// How often it is looked at meanwhile.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The versions of real geth that what we mine must suit: the book's, and the last that mines.
pub(crate) const VERSIONS: [&str; 2] = ["v1.9.13", "v1.10.26"];
/// The book's, the last that mines, and the last that follows proof of work.
pub(crate) const PEERS: [&str; 3] = ["v1.9.13", "v1.10.26", "v1.11.6"];

/// Real geth with a data directory.
pub(crate) struct Geth {
    program: PathBuf,
    datadir: PathBuf,
    /// Flags of this version that keep it to itself.
    quiet: &'static [&'static str],
}

impl Geth {
    /// A version, with a directory.
    pub(crate) fn new(version: &str, datadir: &Path) -> Self {
        let program = installed(cache().join("geth").join(version).join("geth"));
        let quiet: &[&str] = if version == "v1.9.13" { &["--nousb"] } else { &[] };
        Self { program, datadir: datadir.to_owned(), quiet }
    }

    /// Runs a command.
    pub(crate) fn run(&self, args: &[&str], input: &str) -> Output {
        let mut command = Command::new(&self.program);
        command.args(["--datadir", text(&self.datadir), "--ipcdisable"]).args(self.quiet);
        command.args(["--ethash.dagdir", text(&self.datadir)]).args(args);
        finish(command, input)
    }

    /// Runs a command that must succeed; returns what it printed on stdout.
    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        let output = self.run(args, "");
        assert!(output.status.success(), "geth {args:?}: {}", shown(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What an expression is on a console, without quotes.
    pub(crate) fn evaluate(&self, expression: &str) -> String {
        let mut args = vec!["--nodiscover", "--maxpeers", "0", "--port", "0", "--verbosity", "1"];
        args.extend(["--exec", expression, "console"]);
        let out = self.succeed(&args);
        out.lines().last().unwrap_or_default().trim().trim_matches('"').to_owned()
    }

    /// What an expression is on a console that is attached to a node, without quotes.
    pub(crate) fn attach(&self, place: &str, expression: &str) -> String {
        let out = self.succeed(&["--exec", expression, "attach", place]);
        out.lines().last().unwrap_or_default().trim().trim_matches('"').to_owned()
    }

    /// Imports a file of blocks on a genesis; returns hash and state root of the head.
    pub(crate) fn import(&self, genesis: &Path, file: &Path) -> (String, String) {
        self.succeed(&["init", text(genesis)]);
        self.succeed(&["import", text(file)]);
        let head = self.evaluate("var b = eth.getBlock(\"latest\"); b.hash + \" \" + b.stateRoot");
        let (hash, root) = head.split_once(' ').unwrap_or_else(|| panic!("no head but {head}"));
        (hash.to_owned(), root.to_owned())
    }
}

/// geth as a node with peers. Killed when dropped.
pub(crate) struct GethNode {
    child: Child,
    log: PathBuf,
    /// How to talk to it.
    pub(crate) rpc: Rpc,
}

impl Geth {
    /// Starts a node that looks for peers and executes every block, and waits until it answers.
    pub(crate) fn start(&self, args: &[&str]) -> GethNode {
        self.start_syncing(&[&["--syncmode", "full"], args].concat())
    }

    /// As [`Self::start`], but it syncs as it does by default: by state, if there is a long chain.
    pub(crate) fn start_syncing(&self, args: &[&str]) -> GethNode {
        let (peers, http) = (free_port(), free_port());
        let log = self.datadir.with_extension("log");
        let out = File::create(&log).expect("the log can be written");
        let (peers, port) = (peers.to_string(), http.to_string());
        let mut command = Command::new(&self.program);
        command.args(["--datadir", text(&self.datadir), "--ipcdisable"]).args(self.quiet);
        command.args(["--ethash.dagdir", text(&self.datadir), "--verbosity", "4"]);
        command.args(["--port", &peers, "--nat", "extip:127.0.0.1"]);
        if self.quiet.is_empty() {
            command.args(["--http", "--http.port", &port, "--http.api", "eth,net,admin"]);
            command.args(["--authrpc.port", "0"]);
        } else {
            command.args(["--rpc", "--rpcport", &port, "--rpcapi", "eth,net,admin"]);
        }
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(out);
        let child = command.spawn().expect("geth starts");
        let rpc = Rpc::new(SocketAddr::from((Ipv4Addr::LOCALHOST, http)));
        let mut node = GethNode { child, log, rpc };
        node.wait("it answers", START_TIME_MAX, |node| {
            node.rpc.try_call("eth_blockNumber", &serde_json::json!([])).is_ok()
        });
        node
    }
}

impl GethNode {
    /// Its URL for peers on this machine.
    pub(crate) fn enode(&mut self) -> String {
        let info = self.rpc.call("admin_nodeInfo", serde_json::json!([]));
        info["enode"].as_str().expect("geth tells its URL").to_owned()
    }

    /// Waits for a condition.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        longest: Duration,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) {
        let deadline = Instant::now() + longest;
        while !condition(self) {
            let ended = self.child.try_wait().expect("the child is ours");
            let is_over = ended.is_some() || Instant::now() >= deadline;
            assert!(!is_over, "{ended:?}, not in {longest:?}: {what}\n{}", self.history());
            // geth's log is a file: there is nothing to wait on.
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// What it logged, but for our own questions.
    pub(crate) fn history(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().filter(|line| !line.contains("Served "));
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for GethNode {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody uses now.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are free ports");
    listener.local_addr().expect("it is bound").port()
}
