//! Key files that we and others make.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use primitives::Address;
use serde_json::json;

use crate::{
    dev::printed_keys,
    harness::{
        branches::write,
        clients,
        geth::{Geth, VERSIONS},
        key::Key,
        node::{Node, fail, run_with_input, shown, succeed},
        text,
    },
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(180);

const PASSWORD: &str = "correct horse";

/// What a key signs with geth is recovered to this address by geth.
fn geth_signs(geth: &Geth, address: &str, password: &str) {
    // geth 1.9.13 mistakes some addresses in personal.sign, so this unlocks first.
    let expression = format!(
        "personal.unlockAccount(\"{address}\", \"{password}\"); \
         personal.ecRecover(\"0xdeadbeef\", eth.sign(\"{address}\", \"0xdeadbeef\"))"
    );
    assert_eq!(geth.evaluate(&expression), address.to_lowercase());
}

fn geth_with_keys<'a>(folder: &'a Path, version: &'a str) -> Geth {
    Geth::new(version, &folder.join(version))
}

#[test]
fn others_open_our_key_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let password = write(folder.path(), "password", PASSWORD);
    for (index, kdf) in [&["--lightkdf"][..], &[]].into_iter().enumerate() {
        let key = Key::fixed(u8::try_from(index).expect("a small number") + 10);
        let secret = write(folder.path(), "secret", key.hex());
        for version in VERSIONS {
            let keystore = folder.path().join(version).join("keystore");
            let args =
                ["account", "import", "--keystore", text(&keystore), "--password", &password];
            succeed(&[&args[..], kdf, &[&secret]].concat());
            let geth = geth_with_keys(folder.path(), version);
            let address = key.address().to_string();
            let listed = geth.succeed(&["account", "list"]);
            assert!(listed.contains(&format!("{:x}", key.address())), "{version}: {listed}");
            geth_signs(&geth, &address, PASSWORD);
        }
    }
    let keystore = folder.path().join(VERSIONS[0]).join("keystore");
    for file in keystore.read_dir().expect("a folder") {
        let file = file.expect("it is readable").path();
        clients::decrypts(&file, &password);
    }
}

#[test]
fn we_open_geths_key_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let password = write(folder.path(), "password", PASSWORD);
    for version in VERSIONS {
        let geth = geth_with_keys(folder.path(), version);
        geth.succeed(&["account", "new", "--lightkdf", "--password", &password]);
        let datadir = folder.path().join(version);
        let listed = succeed(&["account", "list", "--datadir", text(&datadir)]);
        let address = listed.split(['{', '}']).nth(1).expect("an address in braces").to_owned();
        let args = ["account", "update", "--lightkdf", "--datadir", text(&datadir), &address];
        let wrong = run_with_input(&args, "no\nno\nno\n");
        assert_eq!(wrong.status.code(), Some(1), "{}", shown(&wrong));
        let input = format!("{PASSWORD}\nanother\nanother\n");
        let updated = run_with_input(&args, &input);
        assert!(updated.status.success(), "{}", shown(&updated));
        geth_signs(&geth, &format!("0x{address}"), "another");
    }
}

/// A signer that runs. Killed when dropped.
struct Clef {
    child: Child,
    url: String,
}

impl Clef {
    fn start(key: &Key, other: &Key) -> Self {
        Self::run(clients::clef(&key.hex(), &other.hex()))
    }

    /// geth's own.
    fn start_geths(key: &Key, folder: &Path) -> Self {
        let (file, password) = (folder.join("key"), folder.join("password"));
        fs::write(&file, key.hex()).expect("a file can be written");
        fs::write(&password, PASSWORD).expect("a file can be written");
        let keystore = folder.join("keystore");
        let import = ["account", "import", "--lightkdf", "--keystore", text(&keystore)];
        succeed(&[&import[..], &["--password", text(&password), text(&file)]].concat());
        Self::run(clients::geths_clef(text(&keystore), PASSWORD, text(folder)))
    }

    fn run(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("python starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let url = lines.next().expect("a line").expect("text");
        Self { child, url }
    }
}

impl Drop for Clef {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node whose signer has the first key, after it sent and signed.
fn signs_by(clef: &Clef, from: Address, to: Address) -> Node {
    let dev = ["--dev", "--signer", &clef.url, "--ops.addr", "off"];
    let mut node = Node::start_offering(&dev, "eth,personal");
    assert_eq!(node.rpc.call("eth_accounts", json!([])), json!([from]));
    let wallets = node.rpc.call("personal_listWallets", json!([]));
    assert_eq!(wallets[0]["status"], "ok [version=6.1.0]");
    for fees in [
        json!({}),
        json!({"gasPrice": "0x12a05f2000"}),
        json!({"gasPrice": "0x12a05f2000", "accessList": []}),
    ] {
        let mut call = json!({"from": from, "to": to, "value": "0x10"});
        for (name, value) in fees.as_object().expect("an object") {
            call[name] = value.clone();
        }
        let hash = node.rpc.call("eth_sendTransaction", json!([call]));
        let hash = hash.as_str().expect("a hash").to_owned();
        assert_eq!(node.wait_for_receipt(&hash, PATIENCE)["status"], "0x1", "{fees}");
    }
    let signature = node.rpc.call("eth_sign", json!([from, "0xdeadbeef"]));
    let signer = node.rpc.call("personal_ecRecover", json!(["0xdeadbeef", signature]));
    assert_eq!(signer, json!(from));
    node
}

/// The keys of development's accounts.
fn dev_keys() -> Vec<Key> {
    let mut plain = Node::start(&["--dev"]);
    let keys = printed_keys(&mut plain);
    plain.stop_well();
    keys
}

#[test]
fn geths_clef_has_the_keys() {
    let keys = dev_keys();
    let folder = tempfile::tempdir().expect("a folder");
    let clef = Clef::start_geths(&keys[0], folder.path());
    let (from, to) = (keys[0].address(), keys[2].address());
    let mut node = signs_by(&clef, from, to);
    let denied = json!([{"from": from, "to": to, "value": "0x1"}]);
    let fault = node.rpc.try_call("eth_sendTransaction", &denied).expect_err("it is denied");
    assert!(format!("{fault:?}").contains("request denied"), "{fault:?}");
    node.stop_well();
}

#[test]
fn an_external_signer_has_the_keys() {
    let keys = dev_keys();
    let clef = Clef::start(&keys[0], &keys[1]);
    let (from, to) = (keys[0].address(), keys[2].address());
    let mut node = signs_by(&clef, from, to);
    let call = |from, value| json!([{"from": from, "to": to, "value": value}]);
    let password = json!([{"from": from, "to": to}, "secret"]);
    for (method, params, words) in [
        ("eth_sendTransaction", call(from, "0x1"), "Request denied"),
        ("eth_sendTransaction", call(from, "0x2"), "not of the account that was asked for"),
        ("eth_sendTransaction", call(to, "0x3"), "unknown account"),
        ("personal_sendTransaction", password, "password-operations not supported"),
        ("personal_newAccount", json!(["secret"]), "local keystore not used"),
    ] {
        let fault = node.rpc.try_call(method, &params).expect_err("it is refused");
        assert!(format!("{fault:?}").contains(words), "{method}: {fault:?}");
    }
    let url = clef.url.clone();
    drop(clef);
    let fault = node.rpc.try_call("eth_accounts", &json!([])).expect_err("nobody is there");
    assert!(format!("{fault:?}").contains(&url), "{fault:?}");
    node.stop_well();
    fail(&["--dev", "--signer", &url], 1, &["external signer", &url, "is clef running"]);
    fail(&["--dev", "--signer", &url, "--unlock", "0"], 1, &["--unlock", "--signer"]);
}
