//! What a node tells without being asked: new work, and peers that come and go.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::net::UnixStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{node::Node, text};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(180);
const BENEFICIARY: &str = "0x0000000000000000000000000000000000000001";

/// The body of the next request, which is answered.
fn body(listener: &TcpListener) -> Value {
    let (mut stream, _) = listener.accept().expect("the node calls");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("the head");
        let line = line.trim().to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("it reads");
    serde_json::from_slice(&body).expect("JSON")
}

#[test]
fn new_work_is_told() {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    for (listener, full) in listeners.iter().zip([false, true]) {
        let url = format!("http://{}/work", listener.local_addr().expect("an address"));
        let folder = tempfile::tempdir().expect("a folder");
        let datadir = folder.path().join("node");
        let mut args = vec!["--datadir", text(&datadir), "--role", "miner", "--fakepow"];
        args.extend(["--genesis", "book"]);
        args.extend(["--miner.etherbase", BENEFICIARY, "--miner.notify", &url]);
        args.extend(full.then_some("--miner.notify.full"));
        let node = Node::start(&args);
        let told = body(listener);
        if full {
            assert_eq!(told["miner"], BENEFICIARY);
            assert!(told["number"].as_str().is_some_and(|number| number.starts_with("0x")));
        } else {
            let words: Vec<&str> =
                told.as_array().expect("a list").iter().filter_map(Value::as_str).collect();
            let lengths: Vec<usize> = words.iter().take(3).map(|word| word.len()).collect();
            assert_eq!((words.len(), &lengths[..]), (4, &[66, 66, 66][..]), "{told}");
            assert!(words[3].starts_with("0x"), "{told}");
        }
        node.stop_well();
    }
}

#[test]
fn peers_that_come_and_go_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadirs = ["one", "two"].map(|name| folder.path().join(name));
    let [mut one, two] = [0, 1].map(|index| {
        let datadir = text(&datadirs[index]).to_owned();
        let own = ["--datadir", &datadir, "--genesis", "book", "--role", "tx", "--maxpeers", "9"];
        Node::start(&[&own[..], &["--nodiscover", "--nat", "extip:127.0.0.1"]].concat())
    });
    let socket = UnixStream::connect(datadirs[0].join("geth.ipc")).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let subscribe =
        json!({"jsonrpc": "2.0", "id": 1, "method": "admin_subscribe", "params": ["peerEvents"]});
    writeln!(&socket, "{subscribe}").expect("it reads");
    let mut lines = BufReader::new(socket).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("a line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    };
    let subscription = next()["result"].clone();
    let mut event = |kind| {
        let told = next();
        assert_eq!(told["method"], "admin_subscription");
        assert_eq!(told["params"]["subscription"], subscription);
        let event = &told["params"]["result"];
        assert_eq!(event["type"], kind, "{event}");
        event["peer"].as_str().expect("an id").to_owned()
    };
    one.rpc.call("admin_addPeer", json!([two.enode()]));
    let added = event("add");
    two.stop_well();
    assert_eq!(event("drop"), added);
    one.stop_well();
}
