use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{cache, installed, node::finish, node::shown, root, text};

fn script(name: &str) -> PathBuf {
    root().join("tests/clients").join(name)
}

/// Runs a script with web3.py; the last line that it prints is JSON.
fn python(environment: &str, name: &str, args: &[&str]) -> Value {
    let program = installed(cache().join("venv").join(environment).join("bin/python"));
    let mut command = Command::new(program);
    command.arg(script(name)).args(args);
    last_line(command)
}

fn last_line(command: Command) -> Value {
    let called = format!("{command:?}");
    let output = finish(command, "");
    assert!(output.status.success(), "{called}: {}", shown(&output));
    let out = String::from_utf8_lossy(&output.stdout);
    let line = out.lines().last().unwrap_or_else(|| panic!("{called}: {}", shown(&output)));
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{called}: {error}: {line}"))
}

/// A real Chromium that looks at a dashboard, and leaves pictures in a folder: its first line is
/// what it saw, and after a line on its input it says what the page says without a dashboard.
pub(crate) fn browser(url: &str, folder: &Path) -> Command {
    let mut command = Command::new(installed(cache().join("venv/web3-7/bin/python")));
    command.arg(script("dashboard.py")).arg(url).arg(folder);
    command
}

/// A real Chromium that looks at an explorer, at a transaction and at the contract that it made, in
/// the same way.
pub(crate) fn explorer(url: &str, folder: &Path, transaction: &str, contract: &str) -> Command {
    let mut command = Command::new(installed(cache().join("venv/web3-7/bin/python")));
    command.arg(script("explorer.py")).arg(url).arg(folder).args([transaction, contract]);
    command
}

/// A person at a terminal, who waits for words and types: what was seen, how the program ended,
/// and which words never came.
pub(crate) fn terminal(program: &Path, args: &[&str], steps: &Value) -> Value {
    let mut command = Command::new("python3");
    command.arg(script("console.py")).arg(program).args(args);
    let output = finish(command, &steps.to_string());
    let out = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {}", shown(&output)))
}

/// A signer with a key, which signs with another one when it is told to.
pub(crate) fn clef(key: &str, other: &str) -> Command {
    let mut command = Command::new(installed(cache().join("venv/web3-7/bin/python")));
    command.arg(script("clef.py")).args([key, other]);
    command
}

/// geth's clef, with an owner who allows everything but 1 wei.
pub(crate) fn geths_clef(keystore: &str, password: &str, folder: &str) -> Command {
    let clef = installed(cache().join("geth/v1.11.6/clef"));
    let mut command = Command::new(installed(cache().join("venv/web3-7/bin/python")));
    command.arg(script("clef_owner.py")).arg(clef).args([keystore, password, folder, "1337"]);
    command
}

/// The book's notebook, with the book's web3.py 5.9.
pub(crate) fn notebook(args: &[&str]) -> Value {
    python("web3-5", "notebook.py", args)
}

/// The book's function that returns the last block, with web3.py 5.9.
pub(crate) fn last_block(url: &str) -> Value {
    python("web3-5", "last_block.py", &[url])
}

/// Today's web3.py.
pub(crate) fn web3_7(args: &[&str]) -> Value {
    python("web3-7", "web3_7.py", args)
}

/// A node behind TLS that wants a secret, with today's web3.py.
pub(crate) fn web3_7_secured(args: &[&str]) -> Value {
    python("web3-7", "web3_7_secured.py", args)
}

/// WebSocket and IPC with web3.py 5.9.
pub(crate) fn web3_5_transports(args: &[&str]) -> Value {
    python("web3-5", "web3_5_transports.py", args)
}

/// Subscriptions with today's web3.py.
pub(crate) fn web3_7_subscriptions(args: &[&str]) -> Value {
    python("web3-7", "web3_7_subscriptions.py", args)
}

/// Today's ethers.
pub(crate) fn ethers_6(args: &[&str]) -> Value {
    node("ethers_6.cjs", args)
}

/// Runs a script with the libraries of Node.
fn node(name: &str, args: &[&str]) -> Value {
    let mut command = Command::new("node");
    command.env("NODE_PATH", installed(cache().join("node/node_modules")));
    command.arg(script(name)).args(args);
    last_line(command)
}

/// What one of the libraries finds when it does everything that its users do: for each check what
/// went wrong, or `ok`.
pub(crate) fn checks(client: &str, args: &[&str]) -> Value {
    match client {
        "web3.py 5.9" => python("web3-5", "web3_5_client.py", args),
        "web3.py 7" => python("web3-7", "web3_7_client.py", args),
        "ethers 5" => node("ethers_5_client.cjs", args),
        "ethers 6" => node("ethers_6_client.cjs", args),
        "viem" => node("viem_client.cjs", args),
        "web3.js 1" => node("web3_js_client.cjs", &[&["1"], args].concat()),
        "web3.js 4" => node("web3_js_client.cjs", &[&["4"], args].concat()),
        "hardhat" => node("hardhat_client.cjs", args),
        "cast" => {
            let program = installed(cache().join("node/cast"));
            python("web3-7", "cast_client.py", &[&[text(&program)], args].concat())
        }
        other => panic!("no client is called {other}"),
    }
}

/// The tests with which web3.py tests itself against geth: how many passed and were left out, and
/// what went wrong with the others.
pub(crate) fn web3_7_modules(args: &[&str]) -> Value {
    python("web3-7", "web3_7_modules.py", args)
}

/// The script that geth's console runs for the same purpose.
pub(crate) fn geth_console(chain_id: u64, rules: &str) -> String {
    let contract = std::fs::read_to_string(script("contract.json")).expect("it is in the tree");
    let (contract, path) = (contract.replace('\n', " "), script("geth_console.js"));
    format!(
        "var contract = {contract}, chainId = \"{chain_id}\", rules = \"{rules}\"; loadScript({:?})",
        text(&path)
    )
}

/// The book's own handler, where the book's files are at hand: the block that it returns.
pub(crate) fn book_handler(url: &str) -> Option<String> {
    let folder = std::env::var_os("BOOK_DIR")
        .map_or_else(|| root().join("../shared/book-cluster"), PathBuf::from);
    let handler = folder.join("functions/last-block/handler.py");
    if !handler.exists() {
        return None;
    }
    let program = installed(cache().join("venv/web3-5/bin/python"));
    let mut command = Command::new(program);
    command.env("GETH_RPC_ENDPOINT", url).arg(handler);
    let output = finish(command, "");
    assert!(output.status.success(), "{}", shown(&output));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Decrypts a key file with both versions of web3.py; they must find the address in its name.
pub(crate) fn decrypts(file: &Path, password: &str) {
    for environment in ["web3-5", "web3-7"] {
        let found = python(environment, "decrypt.py", &[text(file), password]);
        let address = found["address"].as_str().expect("an address").to_lowercase();
        let name = text(file).to_lowercase();
        assert!(name.ends_with(address.trim_start_matches("0x")), "{environment}: {found} {name}");
    }
}
