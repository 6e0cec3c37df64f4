//! The objects of the console without a node, and with nodes that mean harm.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    client::{Client, REPLY_TIME_MAX},
    endpoint::Endpoint,
    interrupt::Interrupted,
};

/// How long anything may take on a busy machine.
const LONGEST: Duration = Duration::from_secs(300);

/// As much as the console's own thread has.
const STACK_BYTES: usize = 512 * 1024 * 1024;

/// Does something with an engine whose node listens here, on a thread with room for it.
fn with_engine(socket: &Path, work: impl FnOnce(&mut Engine) + Send + 'static) {
    let socket = socket.to_owned();
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        let interrupt = Interrupt::default();
        let (endpoint, connector) = (Endpoint::Ipc(socket), tls::Connector::default());
        let client = Client::start(endpoint, &connector, interrupt.clone(), REPLY_TIME_MAX);
        let client = client.expect("a thread");
        let host = Host::new(client, interrupt.clone(), Path::new("."));
        let mut engine = Engine::new(host, interrupt).expect("our scripts are right");
        let modules = r#"{"eth":"1.0","admin":"1.0","txpool":"1.0","constructor":"1.0"}"#;
        engine.call("attach", vec![JsString::from(modules).into()]).expect("it attaches");
        work(&mut engine);
    });
    thread.expect("a thread").join().expect("it ends well");
}

fn without_a_node(work: impl FnOnce(&mut Engine) + Send + 'static) {
    with_engine(Path::new("/nonexistent/geth.ipc"), work);
}

/// What the console would print, without the places that an error came from.
fn shown(engine: &mut Engine, text: &str) -> String {
    let value = engine.evaluate(text, "<eval>");
    let shown = match value.and_then(|value| engine.text("inspect.shown", vec![value])) {
        Ok(shown) => shown,
        Err(thrown) => thrown.shown(engine),
    };
    let lines = shown.lines().filter(|line| !line.starts_with("\tat ") && !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// A node that gives the same bytes to everybody who asks anything.
fn says(folder: &Path, bytes: Vec<u8>) -> std::path::PathBuf {
    let path = folder.join("geth.ipc");
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let bytes = bytes.clone();
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
                while let Some(Ok(_)) = lines.next() {
                    // Whoever asked may have hung up.
                    if stream.write_all(&bytes).is_err() {
                        return;
                    }
                }
            });
        }
    });
    path
}

#[test]
fn everything_that_needs_no_node_is_as_in_geth() {
    without_a_node(|engine| {
        let mut wrong = Vec::new();
        let mut count = 0;
        for item in format!("\n{}", include_str!("answers.txt")).split("\n> ").skip(1) {
            let (question, answer) = item.split_once('\n').expect("an answer");
            // What one question leaves behind is not the next one's.
            shown(engine, "BigNumber.config({ ROUNDING_MODE: 4 })");
            let seen = shown(engine, question);
            if seen != answer.trim_end() {
                wrong.push(format!("{question}\n  geth: {answer}\n  ours: {seen}"));
            }
            count += 1;
        }
        assert!(count > 150, "{count}");
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    });
}

#[test]
fn tuples_and_nested_arrays_are_coded() {
    without_a_node(|engine| {
        let word = |number: u64| format!("{number:064x}");
        let abi = r#"[{"name":"f","type":"function","constant":true,"inputs":[
            {"name":"t","type":"tuple[]","components":[{"name":"a","type":"uint256"},
            {"name":"b","type":"string"}]}],"outputs":[]}]"#;
        let data = format!("eth.contract({abi}).at('0x{:040}').f.getData([{{a: 5, b: 'x'}}])", 1);
        let want = [0x20, 1, 0x20, 5, 0x40, 1].map(word).concat() + "78" + &"0".repeat(62);
        let seen = shown(engine, &format!("{data}.slice(10)"));
        assert_eq!(seen, format!("\"{want}\""));
        let selector = shown(engine, &format!("{data}.slice(0, 10)"));
        let hash = shown(engine, "web3.sha3('f((uint256,string)[])').slice(0, 10)");
        assert_eq!(selector, hash);
    });
}

#[test]
fn a_script_without_an_end_is_broken() {
    without_a_node(|engine| {
        for endless in ["while (true) {}", "for (;;) { admin.sleep(1000) }", "admin.sleep(1e9)"] {
            let interrupt = engine.interrupt.clone();
            interrupt.begin();
            let presser = thread::spawn(move || {
                let started = Instant::now();
                while interrupt.press() == Interrupted::Nothing {
                    assert!(started.elapsed() < LONGEST, "nothing runs");
                }
            });
            let ended = engine.evaluate(endless, "<eval>");
            assert!(matches!(ended, Err(Thrown::Interrupted)), "{endless}: {ended:?}");
            presser.join().expect("it pressed");
            engine.interrupt.end();
            engine.interrupt.begin();
            assert_eq!(shown(engine, "1 + 1"), "2", "{endless}");
        }
    });
}

#[test]
fn recursion_without_an_end_is_an_error() {
    without_a_node(|engine| {
        for endless in ["function f() { return f() } f()", "function g() { [1].forEach(g) } g()"] {
            let seen = shown(engine, endless);
            assert!(seen.starts_with("RangeError"), "{endless}: {seen}");
            assert_eq!(shown(engine, "1 + 1"), "2");
        }
        let deep = format!("{}1{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(shown(engine, &deep).contains("nested too deeply"));
    });
}

#[test]
fn a_node_that_is_gone_is_an_error_and_no_end() {
    without_a_node(|engine| {
        assert!(shown(engine, "eth.blockNumber").starts_with("Error: No such file"));
        assert_eq!(shown(engine, "web3.isConnected()"), "false");
        assert_eq!(shown(engine, "1 + 1"), "2");
    });
}

#[test]
fn answers_that_are_none_are_errors() {
    let deep =
        format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    for (bytes, words) in [
        ("nonsense\n".to_owned(), "no JSON-RPC"),
        ("{\"id\":\n}".to_owned(), "no JSON-RPC"),
        (r#"{"jsonrpc":"2.0","id":999999,"result":"0x1"}"#.to_owned(), "another request"),
        (r#"[{"jsonrpc":"2.0","id":1,"result":"0x1"}]"#.to_owned(), "another request"),
        (r#"{"method":"eth_subscription","params":{}}"#.repeat(20_000), "another request"),
        (deep, "no JSON-RPC"),
        ("\n".repeat(1000) + "{}}}}", "Error: "),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = says(folder.path(), bytes.into_bytes());
        with_engine(&path, move |engine| {
            let seen = shown(engine, "eth.blockNumber");
            assert!(seen.starts_with("Error: ") && seen.contains(words), "{seen}");
            assert_eq!(shown(engine, "1 + 1"), "2");
        });
    }
}

#[test]
fn what_a_node_says_is_data_and_moves_no_cursor() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = r#"');throw 'executed'//\u001b[2J\u009b31m\u202e"#;
    // Our requests count their ids; this one answers the first.
    let answer =
        format!(r#"{{"jsonrpc":"2.0","id":null,"error":{{"code":-32000,"message":"{name}"}}}}"#);
    let path = says(folder.path(), answer.into_bytes());
    with_engine(&path, |engine| {
        let seen = shown(engine, "admin.peers");
        assert!(seen.contains("throw 'executed'"), "{seen}");
        assert!(seen.contains(r"\x1b[2J\u009b31m\u202e"), "{seen:?}");
        let keys = shown(engine, "JSON.parse('{\"\\\\u001b[2J\": 1, \"__proto__\": {\"x\": 1}}')");
        assert!(keys.contains(r"\x1b[2J: 1"), "{keys:?}");
        assert_eq!(shown(engine, "'\\u001b[2J'"), r#""\x1b[2J""#);
    });
}

#[test]
fn names_complete_over_live_objects() {
    without_a_node(|engine| {
        let mut complete = |line: &str| {
            let found = engine.text("inspect.completed", vec![JsString::from(line).into()]);
            found.expect("names are found")
        };
        assert_eq!(complete("web3.toW"), "web3.toWei");
        assert_eq!(complete("web3.toWei"), "web3.toWei(");
        assert_eq!(complete("txpo"), "txpool");
        assert_eq!(complete("txpool"), "txpool.");
        assert_eq!(complete("eth.getBlockT"), "eth.getBlockTransactionCount");
        assert_eq!(complete("admin.sleep"), "admin.sleep\nadmin.sleepBlocks");
        assert_eq!(complete("nothing.here"), "");
        assert_eq!(complete("null.x"), "");
        assert!(complete("").contains("web3"));
    });
}
