//! Keys and passwords: what becomes of them when a command is killed, when their files are damaged,
//! and where they may be seen.

use std::{
    collections::HashMap,
    fs::{self, Permissions},
    net::Ipv4Addr,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use accounts::{Kdf, Keystore};
use serde_json::json;
use tests::harness::random::{Random, is_long, rounds, say};

use super::web::{Web, call, post};
use crate::harness::{
    branches::write,
    key::Key,
    node::{ALONE, Node, fail, hematite, run},
    text,
};

const OLD: &str = "the old password";
const NEW: &str = "the new password";
/// Milliseconds that a command lives; it needs some hundred.
const LIFE_MILLISECONDS: std::ops::Range<u64> = 1..800;

/// How often the power is cut.
const CUTS: u64 = 3;
const CUTS_LONG: u64 = 20;
const DISK_BYTES: u64 = 32 << 20;

/// A node with peers and nothing else.
const NODE: [&str; 10] = [
    "--genesis",
    "book",
    "--role",
    "tx",
    "--maxpeers",
    "1",
    "--port",
    "0",
    "--http=false",
    "--nodiscover",
];

/// Runs a command with some input and kills it in the middle.
fn kill_within(args: &[&str], input: &Path, life: Duration) {
    let mut command = Command::new(hematite());
    command.args(args).envs(ALONE).stdout(Stdio::null()).stderr(Stdio::null());
    command.stdin(fs::File::open(input).expect("the input is there"));
    let mut child = command.spawn().expect("it starts");
    thread::sleep(life);
    // It may have ended already.
    let _ = child.kill();
    child.wait().expect("the child is ours");
}

/// Key files that a password opened, as they were then: opening one takes long.
type Opened = HashMap<PathBuf, Vec<u8>>;

/// How many keys there are, all of which one of the passwords opens.
fn opened(directory: &Path, passwords: &[&str], before: &mut Opened) -> usize {
    if !directory.exists() {
        return 0;
    }
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(directory), 0o700);
    let keystore = Keystore::open(directory).expect("it is a keystore");
    let accounts = keystore.accounts();
    for account in &accounts {
        assert_eq!(mode(&account.path), 0o600, "{account:?}");
        let file = fs::read(&account.path).expect("it is there");
        if before.get(&account.path) == Some(&file) {
            continue;
        }
        let opens = |password: &&str| {
            let hash = Default::default();
            keystore.sign_hash_with_password(account.address, password, hash).is_ok()
        };
        assert!(passwords.iter().any(opens), "{account:?} is lost");
        before.insert(account.path.clone(), file);
    }
    accounts.len()
}

/// KEY-03.
#[test]
fn a_key_is_there_or_not_whenever_its_command_is_killed() {
    let mut random = Random::new("keys");
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().join("keystore");
    let keystore = text(&directory);
    let password = write(folder.path(), "password", OLD);
    let input = folder.path().join("input");
    fs::write(&input, format!("{OLD}\n{NEW}\n{NEW}\n")).expect("it is written");
    let light = ["--lightkdf", "--keystore", keystore];
    let new = [&["account", "new", "--password", &password], &light[..]].concat();
    let (mut count, mut before) = (0, Opened::new());
    for round in 0..rounds() {
        let life = Duration::from_millis(random.within(LIFE_MILLISECONDS));
        kill_within(&new, &input, life);
        let key = Key::fixed(u8::try_from(round % 200).expect("a byte"));
        let secret = write(folder.path(), "secret", key.hex());
        let import = [&["account", "import", "--password", &password], &light[..], &[&secret]];
        kill_within(&import.concat(), &input, life);
        let now = opened(&directory, &[OLD], &mut before);
        assert!(now >= count, "round {round}: {now} of {count} keys");
        count = now;
    }
    let changed = Keystore::open(&directory).expect("it is a keystore");
    let changed = changed.create(OLD, Kdf::Light, SystemTime::now()).expect("it is written");
    let address = changed.address.to_string();
    for _ in 0..rounds() {
        let life = Duration::from_millis(random.within(LIFE_MILLISECONDS));
        let update = [&["account", "update"], &light[..], &[&address]].concat();
        kill_within(&update, &input, life);
        assert_eq!(opened(&directory, &[OLD, NEW], &mut before), count + 1);
        // Back to the old one, whether it was changed or not.
        let back = Keystore::open(&directory).expect("it is a keystore");
        if back.update(changed.address, NEW, OLD, Kdf::Light).is_err() {
            back.update(changed.address, OLD, OLD, Kdf::Light).expect("one of them opens it");
        }
    }
    say(&format!("KEY-03: {} rounds, {count} keys were made before the end", rounds()));
}

/// A disk that can lose its power: a file with a file system in it, mounted.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// None where this is not allowed.
    fn new() -> Option<Self> {
        let disk = Self { folder: tempfile::tempdir().expect("a folder") };
        let (image, place) = (disk.image(), disk.place());
        fs::create_dir(&place).expect("a folder");
        fs::File::create(&image).and_then(|file| file.set_len(DISK_BYTES)).expect("it is written");
        must("mkfs.ext4", &["-q", text(&image)]);
        disk.mount().then_some(disk)
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("place")
    }

    fn mount(&self) -> bool {
        // As good as never: what the node does not sync itself is not there after a cut.
        let options = "loop,commit=600";
        let mut command = Command::new("mount");
        command.args(["-o", options, text(&self.image()), text(&self.place())]);
        command.status().is_ok_and(|status| status.success())
    }

    /// Nothing is written any more, not even the file system's journal (`FS_IOC_SHUTDOWN`).
    fn cut(&self) {
        let shutdown = "import fcntl, os, struct, sys\n\
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('i', 2))";
        must("python3", &["-c", shutdown, text(&self.place())]);
    }

    /// What is left is repaired as at a boot.
    fn power_up(&self) {
        must("umount", &[text(&self.place())]);
        let repaired = Command::new("e2fsck").args(["-p", text(&self.image())]).output();
        let code = repaired.expect("it starts").status.code();
        assert!(matches!(code, Some(0 | 1)), "e2fsck: {code:?}");
        assert!(self.mount());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It may be that it never was.
        let _ = Command::new("umount").arg("-l").arg(self.place()).stderr(Stdio::null()).status();
    }
}

fn must(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
}

/// KEY-03. What a command has said is there after the power was cut, and nothing is half there.
#[test]
fn a_key_is_there_or_not_whenever_the_power_is_cut() {
    let Some(disk) = Disk::new() else {
        say("KEY-03 (power): left out, since nothing can be mounted here");
        return;
    };
    let mut random = Random::new("power");
    let folder = tempfile::tempdir().expect("a folder");
    let directory = disk.place().join("keystore");
    let password = write(folder.path(), "password", OLD);
    let input = folder.path().join("input");
    fs::write(&input, format!("{OLD}\n{NEW}\n{NEW}\n")).expect("it is written");
    let light = ["--lightkdf", "--keystore", text(&directory)];
    let cuts = if is_long() { CUTS_LONG } else { CUTS };
    let (mut count, mut told, mut before) = (0, 0, Opened::new());
    for round in 0..cuts {
        let key = Key::fixed(u8::try_from(round + 1).expect("a byte"));
        let secret = write(folder.path(), "secret", key.hex());
        let address = opened_accounts(&directory).first().map(ToString::to_string);
        let args = match (round % 3, &address) {
            (1, _) => {
                [&["account", "import", "--password", &password], &light[..], &[&secret]].concat()
            }
            (2, Some(address)) => [&["account", "update"], &light[..], &[address]].concat(),
            _ => [&["account", "new", "--password", &password], &light[..]].concat(),
        };
        let mut command = Command::new(hematite());
        command.args(&args).envs(ALONE).stdout(Stdio::null()).stderr(Stdio::null());
        command.stdin(fs::File::open(&input).expect("the input is there"));
        let mut child = command.spawn().expect("it starts");
        thread::sleep(Duration::from_millis(random.within(LIFE_MILLISECONDS)));
        let has_said = child.try_wait().expect("the child is ours").is_some_and(|s| s.success());
        disk.cut();
        // It may have ended already.
        let _ = child.kill();
        child.wait().expect("the child is ours");
        disk.power_up();
        let is_new = round % 3 != 2 || address.is_none();
        told += usize::from(has_said && is_new);
        let now = opened(&directory, &[OLD, NEW], &mut before);
        assert!(
            now >= count.max(told),
            "round {round}: {now} keys of {count}, {told} were told of"
        );
        count = now;
        // Back to the old password, so that the next change begins with it.
        if let (2, Some(address)) = (round % 3, &address) {
            let keystore = Keystore::open(&directory).expect("it is a keystore");
            let address: primitives::Address = address.parse().expect("an address");
            if keystore.update(address, NEW, OLD, Kdf::Light).is_err() {
                keystore.update(address, OLD, OLD, Kdf::Light).expect("one of them opens it");
            }
        }
    }
    say(&format!(
        "KEY-03: {cuts} cuts of the power, {count} keys, {told} of which were told of before"
    ));
}

fn opened_accounts(directory: &Path) -> Vec<primitives::Address> {
    if !directory.exists() {
        return Vec::new();
    }
    let keystore = Keystore::open(directory).expect("it is a keystore");
    keystore.accounts().iter().map(|account| account.address).collect()
}

/// KEY-04. What is damaged is named, and stays as it is.
#[test]
fn a_damaged_file_of_the_node_is_named_and_never_replaced() {
    for content in ["", "junk", "00", &"0".repeat(64), &"zz".repeat(32)] {
        let folder = tempfile::tempdir().expect("a folder");
        let geth = folder.path().join("geth");
        fs::create_dir_all(&geth).expect("a folder");
        let key = geth.join("nodekey");
        fs::write(&key, content).expect("it is written");
        let datadir = text(folder.path());
        fail(&[&NODE[..], &["--datadir", datadir]].concat(), 2, &[text(&key)]);
        assert_eq!(fs::read_to_string(&key).expect("it is there"), content);
    }
    // Where a link leads nobody knows; what is there stays.
    let folder = tempfile::tempdir().expect("a folder");
    let geth = folder.path().join("geth");
    fs::create_dir_all(&geth).expect("a folder");
    let elsewhere = write(folder.path(), "elsewhere", "precious");
    symlink(&elsewhere, geth.join("nodekey")).expect("a link");
    let args = [&NODE[..], &["--datadir", text(folder.path())]].concat();
    fail(&args, 2, &["nodekey"]);
    assert_eq!(fs::read_to_string(&elsewhere).expect("it is there"), "precious");
}

/// A right login, a wrong one, and a wrong token.
const LOGINS: [&str; 3] = [
    "Basic YWxpY2U6c3dvcmRmaXNoLW9mLWFsaWNl",
    "Basic Ym9iOnN3b3JkZmlzaC1vZi1ib2I=",
    "Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
];
const PASSWORD: &str = "swordfish-of-the-key";

/// Calls with secrets among their parameters, with each of the logins.
async fn tell_secrets(node: &Node, address: &str, imported: &Key) {
    for (at, (method, params)) in (1..).zip([
        ("personal_importRawKey", json!([imported.hex(), "swordfish-imported"])),
        ("personal_newAccount", json!(["swordfish-made"])),
        ("personal_unlockAccount", json!([address, "swordfish-wrong"])),
        ("personal_unlockAccount", json!([address, PASSWORD])),
        ("personal_sendTransaction", json!([{ "from": address, "to": address }, PASSWORD])),
        ("personal_sign", json!(["0x00", address, "swordfish-wrong"])),
        ("admin_addPeer", json!(["enode://swordfish@nowhere"])),
    ]) {
        let body = call(method, params);
        // So many wrong ones of one address that right ones would not be looked at either.
        let address = Ipv4Addr::new(127, 0, 1, at);
        for (login, status) in LOGINS.into_iter().zip([200, 401, 401]) {
            let mut web = Web::from(address, node.rpc.address()).await;
            let head = post(&format!("Authorization: {login}\r\n"), body.len());
            assert!(web.send((head + &body).as_bytes()).await);
            let page = web.page().await.expect("there is an answer");
            assert_eq!(page.status, status, "{method} {login}");
            assert!(status != 200 || page.json()["error"]["code"] != -32_601, "{method}");
        }
    }
}

/// KEY-05 and KEY-06. A node that says all it can is told secrets in every way there is.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_seen_in_a_log_nor_among_the_processes() {
    let folder = tempfile::tempdir().expect("a folder");
    let private = |name: &str, content: &str| {
        let path = write(folder.path(), name, content);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
        path
    };
    let (imported, unlocked) = (Key::fixed(31), Key::fixed(32));
    let (token, node_key) = ("5ec2e7".repeat(10) + "5ec2", "c0ffee".repeat(10) + "c0ff");
    let secret = private("secret", &unlocked.hex());
    let datadir = folder.path().join("node");
    let passwords = private("passwords", &format!("\u{feff}{PASSWORD}\r\n"));
    let args = ["account", "import", "--lightkdf", "--datadir", text(&datadir), "--password"];
    let made = run(&[&args[..], &[&passwords, &secret]].concat());
    assert!(made.status.success(), "{made:?}");
    let logins = private("logins", "alice:swordfish-of-alice\n");
    let tokens = private("jwt.hex", &token);
    let address = unlocked.address().to_string();
    let mut args = vec!["--dev", "--datadir", text(&datadir), "--lightkdf", "--ops.addr", "off"];
    args.extend(["--verbosity", "5", "--log.format", "json", "--nodekeyhex", &node_key]);
    args.extend(["--rpc.basicauth", &logins, "--rpc.jwtsecret", &tokens]);
    args.extend(["--unlock", &address, "--password", &passwords, "--allow-insecure-unlock"]);
    let mut node = Node::start_offering(&args, "eth,personal,admin");
    node.wait("the account is unlocked", Duration::from_secs(60), |node| {
        node.logged("Unlocked account").is_some()
    });
    tell_secrets(&node, &address, &imported).await;
    let mut hidden = vec![imported.hex(), unlocked.hex(), token, node_key.clone()];
    hidden.extend(
        ["of-alice", "of-bob", "of-the-key", "imported", "made", "wrong"]
            .map(|of| format!("swordfish-{of}")),
    );
    hidden.extend(LOGINS.map(|login| login.split_once(' ').expect("two words").1.to_owned()));
    let of = |name: &str| fs::read(format!("/proc/{}/{name}", node.id())).unwrap_or_default();
    let (environment, limits) = (of("environ"), String::from_utf8(of("limits")).expect("text"));
    let core = limits.lines().find(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "no core file");
    // What was typed as a flag is seen there by whoever may look, which is why there are files.
    let command = String::from_utf8_lossy(&of("cmdline")).replace(&node_key, "");
    let log = node.stop_well_and_read();
    for secret in &hidden {
        assert!(!log.contains(secret.as_str()), "{secret} is in the log");
        assert!(!command.contains(secret.as_str()), "{secret} is in the command line");
        assert!(!String::from_utf8_lossy(&environment).contains(secret.as_str()), "{secret}");
    }
}
