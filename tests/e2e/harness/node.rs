use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{random::is_long, root, rpc::Rpc};

/// How long a command of ours, or of others, may take, in seconds.
const COMMAND_SECONDS_MAX: &str = "300";
/// How long a node may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(180);
/// How long a condition may go without being looked at, when nothing is logged.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The program under test.
pub(crate) fn hematite() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| match std::env::var_os("HEMATITE_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    });
    &PROGRAM
}

/// Builds the program where these tests were built, in their profile.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("this program has a path");
    let profile = test.ancestors().nth(2).expect("deps is in a profile's folder");
    let target = profile.parent().expect("the profile is in the target folder");
    let name = match profile.file_name().and_then(OsStr::to_str).expect("a folder's name") {
        "debug" => "dev",
        name => name,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "hematite", "--profile", name, "--target-dir"])
        .arg(target)
        .current_dir(root())
        .status();
    assert!(built.expect("cargo runs").success(), "the node does not build");
    profile.join("hematite")
}

/// Runs a program to its end; what it takes too long for is a failure.
pub(crate) fn finish(mut command: Command, input: &str) -> Output {
    let mut limited = Command::new("timeout");
    limited.args(["-k", "5", COMMAND_SECONDS_MAX]).arg(command.get_program());
    limited.args(command.get_args());
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    command = limited;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    // A program that does not read its input is free not to.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("the program's output is read");
    assert_ne!(output.status.code(), Some(124), "took too long: {command:?}\n{}", shown(&output));
    output
}

/// What a program wrote.
pub(crate) fn shown(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n{out}\n{err}", output.status)
}

/// Without peers, unless a flag wants some: tests run side by side, and ports are few.
pub(crate) const ALONE: [(&str, &str); 2] = [("HEMATITE_MAXPEERS", "0"), ("HEMATITE_PORT", "0")];

/// Runs one of our commands.
pub(crate) fn run(args: &[&str]) -> Output {
    run_with_input(args, "")
}

/// Runs one of our commands that asks for something.
pub(crate) fn run_with_input(args: &[&str], input: &str) -> Output {
    let mut command = Command::new(hematite());
    command.args(args).envs(ALONE);
    finish(command, input)
}

/// Runs one of our commands, which must succeed; returns what it printed on stdout.
pub(crate) fn succeed(args: &[&str]) -> String {
    let output = run(args);
    assert!(output.status.success(), "hematite {args:?}: {}", shown(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs one of our commands, which must fail with this code and say all of these words.
pub(crate) fn fail(args: &[&str], code: i32, words: &[&str]) -> String {
    let output = run(args);
    let said = shown(&output);
    assert_eq!(output.status.code(), Some(code), "hematite {args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "hematite {args:?} does not say {word:?}: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// The head that `db verify` finds in a sound data directory: number and hash.
pub(crate) fn verified_head(datadir: &Path) -> (u64, String) {
    let out = succeed(&["db", "verify", "--datadir", super::text(datadir)]);
    assert!(out.contains("no problem found"), "{out}");
    let line = out.lines().find(|line| line.starts_with("head ")).expect("the head is printed");
    let mut words = line.split(' ').skip(1);
    let number = words.next().expect("a number").parse().expect("a number");
    (number, words.next().expect("a hash").to_owned())
}

/// What a node has logged so far.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().expect("no reader panics")
    }
}

/// A running node. Killed when dropped.
pub(crate) struct Node {
    child: Child,
    log: Arc<Log>,
    /// Reads the log until it ends.
    reader: Option<JoinHandle<()>>,
    /// How to talk to it.
    pub(crate) rpc: Rpc,
}

impl Node {
    /// Starts a node with HTTP on a free port, and waits until it listens.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_with_ops(args, &["--ops.addr", "off"])
    }

    /// The same, with other flags of probes and metrics.
    pub(crate) fn start_with_ops(args: &[&str], ops: &[&str]) -> Self {
        Self::start_offering(&[args, ops].concat(), "admin,eth,net,web3,txpool")
    }

    /// The same, with other namespaces.
    pub(crate) fn start_offering(args: &[&str], namespaces: &str) -> Self {
        Self::start_by_default(&[args, &["--http.api", namespaces]].concat())
    }

    /// Starts a node with HTTP on a free port that offers what nobody has to ask for.
    pub(crate) fn start_by_default(args: &[&str]) -> Self {
        let mut node = Self::spawn(args, &["--http", "--http.port", "0"]);
        let address = node.wait_for_address("HTTP server started");
        node.rpc = Rpc::new(address);
        node
    }

    /// Starts a node of any role, and does not wait.
    pub(crate) fn spawn(args: &[&str], more: &[&str]) -> Self {
        Self::launch(
            Command::new(hematite())
                .args(args)
                .args(more)
                .envs(ALONE)
                // One dataset for all tests, unless one names another place.
                .env("HEMATITE_ETHASH_DAGDIR", super::dags()),
        )
    }

    /// Starts a program whose log is to be read.
    pub(crate) fn launch(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the node starts");
        let log = Arc::new(Log::default());
        let lines = BufReader::new(child.stderr.take().expect("stderr is a pipe")).lines();
        let written = log.clone();
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                written.lines().push(line);
                written.more.notify_all();
            }
        });
        Self { child, log, reader: Some(reader), rpc: Rpc::nowhere() }
    }

    /// Waits until a line with these words says an address.
    pub(crate) fn wait_for_address(&mut self, words: &str) -> SocketAddr {
        let mut address = None;
        self.wait("it listens", START_TIME_MAX, |node| {
            address = node.logged(words).and_then(|line| field(&line, "address")?.parse().ok());
            address.is_some()
        });
        address.expect("it was logged")
    }

    /// Waits until it speaks WebSocket, encrypted or not; where.
    pub(crate) fn wait_for_websocket(&mut self) -> SocketAddr {
        let mut address = None;
        self.wait("it speaks WebSocket", START_TIME_MAX, |node| {
            let url = node.logged("WebSocket enabled").and_then(|line| field(&line, "url"));
            address = url.and_then(|url| url.split_once("://")?.1.parse().ok());
            address.is_some()
        });
        address.expect("it was logged")
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first line that holds these words.
    pub(crate) fn logged(&self, words: &str) -> Option<String> {
        self.log.lines().iter().find(|line| line.contains(words)).cloned()
    }

    /// Its URL for peers on this machine.
    pub(crate) fn enode(&self) -> String {
        let line = self.logged("Started P2P networking").expect("it has peers");
        field(&line, "self").expect("its URL is logged")
    }

    /// Everything that was logged.
    pub(crate) fn history(&self) -> String {
        self.log.lines().join("\n")
    }

    /// Waits for a condition. It is looked at whenever something is logged, and now and then.
    pub(crate) fn wait(
        &mut self,
        what: &str,
        longest: Duration,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) {
        let deadline = Instant::now() + longest;
        loop {
            if condition(self) {
                return;
            }
            let ended = self.child.try_wait().expect("the child is ours");
            assert!(ended.is_none(), "the node ended ({ended:?}): {}", self.history());
            assert!(Instant::now() < deadline, "not in {longest:?}: {what}\n{}", self.history());
            self.pause(LOOK_INTERVAL);
        }
    }

    /// Waits for the next line of the log, or this long.
    pub(crate) fn pause(&self, longest: Duration) {
        let lines = self.log.lines();
        drop(self.log.more.wait_timeout(lines, longest).expect("no reader panics"));
    }

    /// Waits until the head is at least at this height.
    pub(crate) fn wait_for_block(&mut self, number: u64, longest: Duration) {
        let what = format!("block {number}");
        self.wait(&what, longest, |node| node.rpc.block_number() >= number);
    }

    /// Waits until a transaction is in a block; returns its receipt.
    pub(crate) fn wait_for_receipt(&mut self, hash: &str, longest: Duration) -> Value {
        let mut receipt = Value::Null;
        self.wait("a receipt", longest, |node| {
            receipt = node.rpc.call("eth_getTransactionReceipt", json!([hash]));
            !receipt.is_null()
        });
        receipt
    }

    /// Ends it without asking.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().expect("the child is ours");
        self.child.wait().expect("the child is ours");
        self.history()
    }

    /// Asks it to end, and does not wait.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status();
        assert!(sent.expect("sh runs").success());
    }

    /// Waits until it has ended, and its log is read.
    pub(crate) fn join(mut self) -> ExitStatus {
        let ended = self.child.wait().expect("the child is ours");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it only reads");
        }
        ended
    }

    /// Asks it to end; returns how it did and how long that took.
    pub(crate) fn stop(self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        self.terminate();
        (self.join(), asked.elapsed())
    }

    /// Asks it to end, and sees that it does so properly and before Kubernetes would kill it, or
    /// within 10 s where nothing else runs.
    pub(crate) fn stop_well(self) {
        self.stop_well_and_read();
    }

    /// The same; returns everything that was logged.
    pub(crate) fn stop_well_and_read(self) -> String {
        let log = self.log.clone();
        let (status, took) = self.stop();
        let log = log.lines().join("\n");
        assert_eq!(status.code(), Some(0), "{log}");
        let longest = Duration::from_secs(if is_long() { 10 } else { 30 });
        assert!(took < longest, "stopping took {took:?}: {log}");
        log
    }
}

/// What a line of the log says about something, in either format.
fn field(line: &str, name: &str) -> Option<String> {
    if line.starts_with('{') {
        let line: Value = serde_json::from_str(line).ok()?;
        return line[name].as_str().map(str::to_owned);
    }
    let value = line.split_once(&format!("{name}="))?.1.split_whitespace().next()?;
    // A value with a sign of equality is quoted.
    Some(value.trim_matches('"').to_owned())
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
