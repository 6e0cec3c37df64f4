//! Our JavaScript console, beside geth's, on our node and on geth's.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    dev::{CHAIN_ID, printed_keys},
    harness::{
        clients,
        geth::Geth,
        key::raw,
        node::{Node, fail, hematite, run, run_with_input, shown, succeed},
        random::is_long,
        root, text,
    },
};

/// How long anything may take.
const LONGEST: Duration = Duration::from_secs(180);
/// The book's geth and the last one of all.
const CONSOLES: [&str; 2] = ["v1.9.13", "v1.11.6"];
/// Of the list of expressions, every one of so many is tried in the short tier.
const SHORT_STEP: usize = 12;

/// A development node with a transaction in its first block.
fn start(datadir: &Path) -> Node {
    let mut node = Node::start(&["--dev", "--datadir", text(datadir), "--ws", "--ws.port", "0"]);
    let keys = printed_keys(&mut node);
    let sent = node.rpc.send(&raw(&keys[0].transfer(CHAIN_ID, 0, keys[1].address())));
    node.wait_for_receipt(&sent, LONGEST);
    node
}

fn ipc(datadir: &Path) -> PathBuf {
    datadir.join("geth.ipc")
}

/// What a console prints of an expression, without the places that an error came from and without
/// the words that are the engine's own.
fn comparable(printed: &str) -> String {
    let lines = printed.lines().filter(|line| !line.starts_with("\tat ") && !line.is_empty());
    let text = lines.collect::<Vec<_>>().join("\n");
    // geth 1.11 names the kind twice, and our functions are not bound.
    text.replace("SyntaxError: SyntaxError:", "SyntaxError:")
        .replace("function bound()", "function()")
}

fn ours(place: &str, expression: &str) -> String {
    comparable(&succeed(&["attach", "--exec", expression, place]))
}

#[test]
fn our_console_says_what_geths_consoles_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = start(&folder.path().join("node"));
    let place = ipc(&folder.path().join("node"));
    let list = fs::read_to_string(root().join("tests/fixtures/console.txt")).expect("the list");
    let expressions: Vec<&str> = list.lines().collect();
    assert!(expressions.len() >= 80);
    let mut wrong = Vec::new();
    for version in CONSOLES {
        let geth = Geth::new(version, &folder.path().join(version));
        for expression in expressions.iter().step_by(if is_long() { 1 } else { SHORT_STEP }) {
            let printed = geth.succeed(&["--exec", expression, "attach", text(&place)]);
            let (theirs, ours) = (comparable(&printed), ours(text(&place), expression));
            if theirs != ours && !is_known(version, expression) {
                wrong.push(format!("{version} {expression}\n  geth: {theirs}\n  ours: {ours}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    node.stop_well();
}

/// Where we follow the newer geth, whose answer the older one has not.
fn is_known(version: &str, expression: &str) -> bool {
    version == "v1.9.13"
        && [
            "eth.getBlock(\"latest\", true)",
            "getTransactionReceipt",
            "transactions",
            "eth.getBlock(0)",
        ]
        .iter()
        .any(|part| expression.contains(part))
}

#[test]
fn our_console_attaches_over_every_transport() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().join("node");
    let mut node = start(&datadir);
    let mut ws = None;
    node.wait("it speaks WebSocket", LONGEST, |node| {
        ws = node.logged("WebSocket enabled").and_then(|line| {
            let url = line.split_once("url=")?.1.split_whitespace().next()?;
            Some(url.trim_matches('"').to_owned())
        });
        ws.is_some()
    });
    let places = [text(&ipc(&datadir)).to_owned(), node.rpc.url(), ws.expect("it was logged")];
    for place in &places {
        assert_eq!(ours(place, "[eth.blockNumber, net.version].join()"), "\"1,1337\"", "{place}");
    }
    let by_default = succeed(&["--datadir", text(&datadir), "attach", "--exec", "admin.datadir"]);
    assert_eq!(by_default.trim(), format!("{:?}", text(&datadir)));
    node.stop_well();
    let words = ["unable to attach", "geth.ipc", "--datadir", "http://127.0.0.1:8545"];
    fail(&["--datadir", text(&datadir), "attach", "--exec", "1"], 1, &words);
    fail(&["attach", "https://localhost:1", "--exec", "1"], 1, &["unable to attach"]);
    fail(&["attach", "stdio://"], 2, &["https", "wss"]);
}

#[test]
fn a_node_that_tells_little_is_greeted_without_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().join("node");
    let args =
        ["--genesis", "book", "--datadir", text(&datadir), "--nodiscover", "--ops.addr", "off"];
    let node = Node::start_offering(&args, "eth,debug");
    let printed = shown(&run_with_input(&["attach", &node.rpc.url()], "exit\n"));
    assert!(printed.contains("\n\n modules: debug:1.0 eth:1.0 rpc:1.0\n"), "{printed}");
    node.stop_well();
}

#[test]
fn lines_of_a_pipe_are_answered_as_geth_answers_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().join("node");
    let node = start(&datadir);
    let place = ipc(&datadir);
    let input = "eth.blockNumber\nvar a = 3\nfunction f() {\n  return a\n}\nf()\n\n\
                 [1, {b: \"x\"}]\nthrow 7\n(\n1)\nexit\n9\n";
    let geth = Geth::new("v1.11.6", &folder.path().join("geth"));
    let theirs = geth.run(&["attach", text(&place)], input);
    let ours = run_with_input(&["--datadir", text(&datadir), "attach", text(&place)], input);
    assert_eq!(ours.status.code(), Some(0), "{}", shown(&ours));
    let comparable = |bytes: &[u8]| {
        let printed = String::from_utf8_lossy(bytes).into_owned();
        let after_greeting = printed.split_once("console!").expect("a banner").1;
        // The zone's name is the engine's own.
        comparable(&after_greeting.replace(" (UTC)", ""))
    };
    assert_eq!(comparable(&ours.stdout), comparable(&theirs.stdout));
    node.stop_well();
}

#[test]
fn contracts_are_made_called_and_heard_on_real_geth() {
    let folder = tempfile::tempdir().expect("a folder");
    let geth = Geth::new("v1.9.13", &folder.path().join("geth"));
    let node = geth.start(&["--dev"]);
    let script = folder.path().join("contract.js");
    // Returns its arguments, and logs them under the topic of `E(uint256)`.
    fs::write(
        &script,
        r#"
        var abi = [
          {type: "function", name: "f", inputs: [{type: "uint256"}], outputs: [{type: "uint256"}], constant: true},
          {type: "function", name: "g", inputs: [{type: "uint256"}], outputs: []},
          {type: "event", name: "E", inputs: [{name: "n", type: "uint256"}]}
        ];
        var topic = web3.sha3("E(uint256)").slice(2);
        var code = "600436036004600037" + "7f" + topic + "600436036000a1" + "600436036000f3";
        var size = (code.length / 2).toString(16);
        var data = "0x60" + size + "600c60003960" + size + "6000f3" + code;
        var seen = [];
        var c = eth.contract(abi).new({from: eth.coinbase, data: data, gas: 1000000}, function (error, made) {
          if (error) throw error;
          if (!made.address) return;
          made.E({}, {fromBlock: 0}, function (error, log) { seen.push(log.args.n.toString()); });
          made.g(41, {from: eth.coinbase});
          made.g(42, {from: eth.coinbase});
        });
        var tries = 0;
        var timer = setInterval(function () {
          tries += 1;
          if (seen.length < 2 && tries < 600) return;
          clearInterval(timer);
          console.log("answer", c.f(7), seen.join(), c.E({}, {fromBlock: 0}).get().length);
        }, 200);
        "#,
    )
    .expect("it can be written");
    let run = format!("loadScript({:?})", text(&script));
    let mut child = Command::new(hematite());
    child.args(["attach", &node.rpc.url()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().expect("the console starts");
    let mut lines = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut lines, format!("{run}\n").as_bytes()).expect("it is read");
    let out = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    let mut lines_out = std::io::BufRead::lines(out).map_while(Result::ok);
    // It is printed when the prompt is there already.
    let answer = lines_out.find(|line| line.contains("answer"));
    assert_eq!(answer.as_deref(), Some("> answer 7 41,42 2"));
    drop(lines);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_person_types_completes_breaks_and_leaves() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().join("node");
    let node = start(&datadir);
    let steps = json!([
        ["> ", "eth.blockN\t + 41\r"],
        ["42", "var secret = { a: \"x\\x1b[2J\" }\r"],
        ["undefined", "secret\r"],
        ["}", "console.log(\"be\" + \"gun\"); while (true) {}\r"],
        ["begun", "\u{3}"],
        ["interrupted", "function f() {\r"],
        ["... ", "\u{3}"],
        ["> ", "personal.unlockAccount(eth.coinbase, \"geheim\") // no\r"],
        ["> ", "6 * 7\r"],
        ["42", ""],
        // Before the prompt the terminal would take it for itself.
        ["> ", "\u{4}"],
    ]);
    let arguments = ["--datadir", text(&datadir), "attach"];
    let seen = clients::terminal(hematite(), &arguments, &steps);
    let screen = seen["seen"].as_str().expect("text");
    assert_eq!((&seen["code"], &seen["left"]), (&json!(0), &json!([])), "{screen}");
    assert!(screen.contains("To exit, press ctrl-d or type exit"), "{screen}");
    assert!(screen.contains("\u{1b}[31m42\u{1b}[0m"), "numbers are red: {screen}");
    assert!(screen.contains(r"x\x1b[2J"), "{screen}");
    let history = datadir.join("history");
    let mode = fs::metadata(&history).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let lines = fs::read_to_string(&history).expect("it is text");
    assert!(lines.contains("eth.blockNumber + 41\n") && lines.contains("6 * 7\n"), "{lines}");
    assert!(!lines.contains("geheim"), "{lines}");
    node.stop_well();
}

#[test]
fn signals_end_a_console_whatever_it_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().join("node");
    let node = start(&datadir);
    let place = ipc(&datadir);
    for (signal, endless) in [
        ("TERM", "while (true) {}"),
        ("TERM", "[1].forEach(function () { while (true) {} })"),
        ("TERM", "admin.sleep(1e6)"),
        ("INT", "while (true) {}"),
        ("INT", "eth.blockNumber; admin.sleep(1e6)"),
    ] {
        let script = format!("console.log('runs'); {endless}");
        let mut command = Command::new(hematite());
        command.args(["attach", "--exec", &script, text(&place)]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the console starts");
        let out = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
        let mut lines = std::io::BufRead::lines(out).map_while(Result::ok);
        assert_eq!(lines.next().as_deref(), Some("runs"));
        let id = child.id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {id}")]).status();
        assert!(sent.expect("sh runs").success());
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("the child is ours") {
                break status;
            }
            if asked.elapsed() > LONGEST {
                child.kill().expect("the child is ours");
                panic!("{signal} did not end {endless}");
            }
            thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0), "{signal} {endless}");
    }
    node.stop_well();
}

#[test]
fn a_node_runs_with_its_console_and_ends_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = folder.path().join("node");
    let script = folder.path().join("script.js");
    fs::write(
        &script,
        "var answer = 42; setTimeout(function () { console.log('later', answer) }, 50)",
    )
    .expect("it can be written");
    let common = ["--dev", "--datadir", text(&datadir), "--ops.addr", "off", "--verbosity", "1"];
    let with = |more: &[&str]| {
        let output = run(&[&common, more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let jspath = text(folder.path());
    let preload = ["console", "--jspath", jspath, "--preload", "script.js", "--exec", "answer"];
    assert_eq!(with(&preload), "42");
    assert_eq!(with(&["--ipcdisable", "console", "--exec", "eth.chainId()"]), "\"0x539\"");
    assert_eq!(with(&["js", text(&script)]), "later 42");
    let missing = run(&[&common[..], &["js", "/nonexistent.js"]].concat());
    assert_eq!(missing.status.code(), Some(1), "{}", shown(&missing));
    assert!(shown(&missing).contains("/nonexistent.js"), "{}", shown(&missing));
    fs::write(&script, "throw new Error('bad script')").expect("it can be written");
    let failed = run(&[&common[..], &["console", "--preload", text(&script)]].concat());
    assert!(shown(&failed).contains("Error: bad script"), "{}", shown(&failed));
    assert_eq!(failed.status.code(), Some(1), "{}", shown(&failed));
}
