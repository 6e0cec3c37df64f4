//! A node behind TLS that wants a token or a password: libraries, `curl` and our console.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use serde_json::json;
use tls::testing::Authority;

use crate::harness::{
    branches::write,
    clients,
    node::{ALONE, Node, fail, finish, hematite, shown, succeed},
};

/// The chain of `--dev`.
const CHAIN_ID: u64 = 1337;
const SECRET: &str = "7365637265747365637265747365637265747365637265747365637265747365";
const LOGIN: &str = "alice:hidden-password";

/// Everything that a node and its clients need.
struct Files {
    folder: tempfile::TempDir,
    certificate: String,
    key: String,
    authority: String,
    secret: String,
    logins: String,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new();
        let certified = authority.certify(&["localhost", "127.0.0.1"]);
        let private = |name, text: &str| {
            let path = write(folder.path(), name, text);
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
            path
        };
        let secret = private("jwt.hex", SECRET);
        let logins = private("logins", &format!("bob:other\n{LOGIN}\n"));
        let key = private("key.pem", &certified.key);
        let certificate = write(folder.path(), "cert.pem", certified.chain);
        let authority = write(folder.path(), "ca.pem", authority.pem());
        Self { folder, certificate, key, authority, secret, logins }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn tls(&self) -> [&str; 4] {
        ["--rpc.tls.cert", &self.certificate, "--rpc.tls.key", &self.key]
    }
}

/// A development node with everything on; where it serves HTTP and WebSocket.
fn start(files: &Files) -> (Node, String, String) {
    let secrets = ["--rpc.jwtsecret", &files.secret, "--rpc.basicauth", &files.logins];
    let args = [&["--dev", "--ws", "--ws.port", "0"], &files.tls()[..], &secrets].concat();
    let mut node = Node::start(&args);
    let http = node.rpc.url().replace("http://", "");
    let ws = node.wait_for_websocket().to_string();
    (node, http, ws)
}

fn curl(args: &[&str]) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*"]);
    command.args(["--write-out", "%{http_code}", "--header", "content-type: application/json"]);
    command.args(["--data", r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#]).args(args);
    finish(command, "")
}

#[test]
fn libraries_and_curl_reach_a_node_behind_tls_that_wants_a_secret() {
    let files = Files::new();
    let (node, http, ws) = start(&files);
    let (wrong_login, answer) = ("alice:wrong-password", "\"0x539\"}\n200");
    let url = format!("https://{http}");
    for (args, words) in [
        (&["--user", LOGIN][..], answer),
        (&["--user", LOGIN, "--tlsv1.3"], answer),
        (&["--user", LOGIN, "--tls-max", "1.2"], answer),
        (&["--user", wrong_login], "wrong user or password\n401"),
        (&[], "missing token\n401"),
        (&["--request", "GET"], "missing token\n401"),
    ] {
        let output = curl(&[args, &["--cacert", &files.authority, &url]].concat());
        assert!(String::from_utf8_lossy(&output.stdout).ends_with(words), "{}", shown(&output));
    }
    let output = curl(&["--user", LOGIN, &url]);
    assert_eq!(output.status.code(), Some(60), "{}", shown(&output));
    let output = curl(&[&format!("http://{http}")]);
    assert!(shown(&output).contains("HTTP request to an HTTPS server"), "{}", shown(&output));
    for (login, words) in [(&*format!("{LOGIN}@"), "no peer, and nobody was called"), ("", "401")] {
        let url = format!("https://{login}{http}");
        let args = ["--tls.cafile", &files.authority, "peers", "doctor", "--url", &url];
        let error = fail(&args, 1, &[words]);
        assert!(!error.contains("hidden-password"), "{error}");
    }
    let seen = clients::web3_7_secured(&[&http, &ws, &files.authority, &files.secret, LOGIN]);
    let expected = json!({
        "token": CHAIN_ID,
        "login": CHAIN_ID,
        "nothing": "401 missing token",
        "stale": "401 stale token",
        "ws_token": [CHAIN_ID, true],
        "ws_login": [CHAIN_ID, true],
    });
    assert_eq!(seen, expected);
    let log = node.stop_well_and_read();
    for secret in ["password", SECRET, "Bearer", "Basic"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn our_console_attaches_to_a_node_behind_tls() {
    let files = Files::new();
    let (node, http, ws) = start(&files);
    let trust = ["--tls.cafile", &files.authority];
    let expression = ["--exec", "[eth.blockNumber, net.version].join()"];
    for (scheme, place) in [("https", &http), ("wss", &ws)] {
        let attach = |login: &str| format!("{scheme}://{login}{place}");
        let url = attach(&format!("{LOGIN}@"));
        let args = [&["attach", &url], &trust[..], &expression].concat();
        assert_eq!(succeed(&args).trim(), "\"0,1337\"", "{url}");
        // The system's authorities are read as by others, and this one is none of them.
        let mut command = Command::new(hematite());
        command.args(["attach", &url]).args(expression).envs(ALONE);
        command.env("SSL_CERT_FILE", &files.authority);
        let output = finish(command, "");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "\"0,1337\"", "{url}");
        for (login, words) in
            [("", "401: missing token"), ("alice:wrong-password@", "401: wrong user or password")]
        {
            let url = attach(login);
            let args = [&["attach", &url], &trust[..], &expression].concat();
            let said = fail(&args, 1, &[words]);
            assert!(!said.contains("wrong-password"), "{said}");
        }
        let other = write(files.path(), "other.pem", Authority::new().pem());
        let args = [&["attach", &url, "--tls.cafile", &other], &expression[..]].concat();
        let said = fail(&args, 1, &["nobody that is trusted here", "--tls.cafile"]);
        assert!(!said.contains("hidden-password"), "{said}");
    }
    let plain = format!("ws://{ws}");
    let args = [&["attach", &plain], &expression[..]].concat();
    fail(&args, 1, &["400", "HTTPS server"]);
    node.stop_well();
}

#[test]
fn files_that_are_of_no_use_are_named_with_a_way_out() {
    let files = Files::new();
    let text = |name, content: &str| write(files.path(), name, content);
    let (empty, rubbish) = (text("empty", ""), text("rubbish", "rubbish\n"));
    let other = Authority::new().certify(&["localhost"]);
    let other_key = text("other.key", &other.key);
    let short = text("short.hex", &SECRET[2..]);
    let no_colon = text("no-colon", "a:b\nhidden-password\n");
    let certificate = |path| ["--rpc.tls.cert", path, "--rpc.tls.key", &files.key];
    let key = |path| ["--rpc.tls.cert", &files.certificate, "--rpc.tls.key", path];
    let missing = "/no/such/file";
    for (args, path, words) in [
        (&certificate(missing)[..], missing, "No such file"),
        (&certificate(&rubbish), &rubbish, "BEGIN CERTIFICATE"),
        (&key(missing), missing, "No such file"),
        (&key(&empty), &empty, "BEGIN PRIVATE KEY"),
        (&key(&other_key), &other_key, "it is not the key of --rpc.tls.cert"),
        (&["--rpc.tls.cert", &files.certificate], "--rpc.tls.cert", "add --rpc.tls.key FILE"),
        (&["--rpc.jwtsecret", missing], missing, "No such file"),
        (&["--rpc.jwtsecret", &empty], &empty, "openssl rand -hex 32"),
        (&["--rpc.jwtsecret", &short], &short, "openssl rand -hex 32"),
        (&["--rpc.basicauth", missing], missing, "No such file"),
        (&["--rpc.basicauth", &empty], &empty, "user:password"),
        (&["--rpc.basicauth", &no_colon], &no_colon, "line 2"),
        (&["--tls.cafile", &rubbish], &rubbish, "BEGIN CERTIFICATE"),
        (&["attach", "https://localhost:1", "--tls.cafile", missing], missing, "No such file"),
    ] {
        let flag = args.iter().find(|arg| arg.starts_with("--")).expect("a flag");
        let flag = flag.rsplit_once('.').expect("flags here have parts").0;
        let run: &[&str] = if args[0] == "attach" { &[] } else { &["--dev", "--http.port", "0"] };
        let said = fail(&[run, args].concat(), 2, &[flag, path, words]);
        assert!(!said.contains("hidden-password") && !said.contains(SECRET), "{said}");
    }
}

#[test]
fn a_secret_that_everybody_can_read_is_warned_of() {
    let files = Files::new();
    fs::set_permissions(&files.logins, Permissions::from_mode(0o644)).expect("it is ours");
    let args = ["--dev", "--rpc.basicauth", &files.logins, "--rpc.jwtsecret", &files.secret];
    let log = Node::start(&args).kill();
    let warned: Vec<_> = log.lines().filter(|line| line.contains("chmod 600")).collect();
    assert_eq!(warned.len(), 1, "{log}");
    assert!(warned[0].contains("--rpc.basicauth") && warned[0].contains(&files.logins), "{log}");
}
