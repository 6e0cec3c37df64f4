//! `hematite bench`: its files, its errors, its end at a signal, and another miner under test.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use ethash::{Epoch, LightCache};
use primitives::{B256, U256};
use serde_json::{Value, json};

use crate::harness::{
    node::{fail, finish, hematite, shown, succeed},
    rpc::Rpc,
    text,
};

#[test]
fn a_report_has_its_files_and_its_keys_and_can_be_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    let all = ["bench", "all", "--seconds", "1", "--threads", "1", "--report", text(&out)];
    let printed = succeed(&[&all[..], &["--json"]].concat());
    let json: Value = serde_json::from_str(&printed).expect("stdout is JSON");
    assert_eq!(fs::read_to_string(out.join("report.json")).expect("a file"), printed);
    for key in ["threads", "hashes_per_second", "pages", "kernel"] {
        assert!(!json["hashrate"][0][key].is_null() && !json["ceiling"][0][key].is_null(), "{key}");
    }
    assert!(json["hashrate"][0]["hashes_per_second"].as_f64() > Some(0.0), "{json}");
    assert_eq!((&json["dag"][0]["threads"], &json["dag"][0]["epoch"]), (&json!(1), &json!(0)));
    assert_eq!(json["verify"].as_array().map(Vec::len), Some(6));
    assert!(json["machine"]["cpu"].is_string() && json["version"].is_string());
    let page = fs::read_to_string(out.join("report.html")).expect("a file");
    assert!(page.starts_with("<!DOCTYPE html>") && page.matches("<svg").count() == 4);
    assert!(fs::read_to_string(out.join("report.svg")).expect("a file").starts_with("<svg"));

    let report = out.join("report.json");
    let both = ["bench", "compare", text(&report), text(&out), "--report", text(folder.path())];
    let table = succeed(&both);
    assert_eq!(table.lines().count(), 3, "{table}");
    let page = fs::read_to_string(folder.path().join("compare.html")).expect("a file");
    assert!(page.contains("Ethash on 2 machines"));
}

#[test]
fn without_a_word_what_to_measure_it_shows_what_it_can() {
    let help = succeed(&["bench"]);
    for word in ["hashrate", "dag", "verify", "memory", "compare", "Examples"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    fail(&["bench", "verify", "--kernel", "mmx"], 2, &["mmx", "portable"]);
    fail(&["bench", "verify", "--epoch", "32641"], 2, &["32641", "32640"]);
    fail(&["bench", "verify", "--seconds", "0"], 2, &["--seconds"]);
    fail(&["bench", "verify", "--threads", "0"], 2, &["--threads", "0 threads"]);
    fail(&["bench", "verify", "--threads", "2..1"], 2, &["2..1"]);
    fail(&["bench", "frobnicate"], 2, &["frobnicate"]);
    fail(&["bench", "hashrate", "--getwork", "here"], 2, &["here", "127.0.0.1:8545"]);
    let file = folder.path().join("file");
    fs::write(&file, "[]").expect("a file");
    fail(&["bench", "verify", "--report", text(&file)], 4, &[text(&file)]);
    fail(&["bench", "compare", text(&file)], 2, &[text(&file), "is no report"]);
    fail(&["bench", "compare", "/no/such.json"], 1, &["/no/such.json"]);
}

#[test]
fn too_little_memory_is_an_error_that_names_it() {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -v 900000; exec \"$0\" bench memory --seconds 1"]).arg(hematite());
    let output = finish(limited, "");
    let said = shown(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1024 MiB") && !said.contains("panicked"), "{said}");
}

#[test]
fn at_a_signal_it_prints_what_was_measured_so_far() {
    let mut bench = Bench::start(&["bench", "verify", "--threads", "1", "--seconds", "3600"]);
    bench.wait_for("Measuring verification");
    let output = bench.stop("INT");
    assert!(output.stdout.is_empty(), "nothing was measured: {}", shown(&output));

    let mut bench = Bench::start(&["bench", "memory", "--threads", "1..4", "--seconds", "2"]);
    bench.wait_for("Measured memory");
    let output = bench.stop("TERM");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("Ceiling") && printed.contains("interrupted"), "{printed}");
}

#[test]
fn another_miner_is_measured_by_what_it_finds() {
    let args = ["bench", "hashrate", "--getwork", "127.0.0.1:0", "--seconds", "2", "--json"];
    let mut bench = Bench::start(&args);
    let line = bench.wait_for("Serving eth_getWork");
    let address = line.split("address=").nth(1).and_then(|rest| rest.split(' ').next());
    let address: SocketAddr = address.expect("an address").trim().parse().expect("an address");
    let mut rpc = Rpc::new(address);
    let cache = LightCache::generate(Epoch::new(0));
    let claim = json!(["0x7d0", B256::repeat_byte(7)]);
    assert_eq!(rpc.call("eth_submitHashrate", claim), json!(true));
    let mut wrong = 0;
    // It stops serving when it has counted enough.
    while let Ok(work) = rpc.try_call("eth_getWork", &json!([])) {
        let (nonce, [seal_hash, mix_hash]) = mine(&cache, &work);
        let nonce = format!("{nonce:#018x}");
        if wrong == 0 {
            let made_up = json!([nonce, seal_hash, B256::ZERO]);
            assert_eq!(rpc.call("eth_submitWork", made_up), json!(false));
            wrong += 1;
        }
        if rpc.try_call("eth_submitWork", &json!([nonce, seal_hash, mix_hash])).is_err() {
            break;
        }
    }
    let output = bench.end();
    let report: Value = serde_json::from_slice(&output.stdout).expect("stdout is JSON");
    let found = &report["getwork"];
    assert_eq!((&found["invalid"], &found["claimed"]), (&json!(1), &json!(2000.0)), "{found}");
    let rate = found["hashes_per_second"].as_f64();
    assert!(found["solutions"].as_u64() > Some(0) && rate > Some(0.0), "{found}");
    assert!(found["low"].as_f64() < rate && rate < found["high"].as_f64(), "{found}");
}

/// A miner as small as can be: tries nonces with the light cache until one solves the work.
fn mine(cache: &LightCache, work: &Value) -> (u64, [B256; 2]) {
    let word = |at: usize| work[at].as_str().and_then(|it| it.parse::<B256>().ok());
    let (seal_hash, target) = (word(0).expect("a hash"), word(2).expect("a target"));
    let target = U256::from_be_bytes(target.0);
    let mut first = 0;
    loop {
        let tried: Vec<(B256, u64)> =
            (first..first + 128).map(|nonce| (seal_hash, nonce)).collect();
        let found = cache.hashimoto_many(&tried).into_iter().zip(first..);
        let mut solved = found.filter(|(pow, _)| U256::from_be_bytes(pow.result.0) <= target);
        if let Some((pow, nonce)) = solved.next() {
            return (nonce, [seal_hash, pow.mix_hash]);
        }
        first += 128;
    }
}

/// A measurement in progress. Killed when dropped.
struct Bench {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Bench {
    fn start(args: &[&str]) -> Self {
        let program: &Path = hematite();
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
        Self { child, log, said: String::new() }
    }

    /// Reads the log up to a line with these words, which it returns.
    fn wait_for(&mut self, words: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.log.read_line(&mut line).expect("the log is UTF-8");
            assert_ne!(read, 0, "it ended without {words:?}: {}", self.said);
            self.said += &line;
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Sends a signal, after which it must end well.
    fn stop(self, signal: &str) -> Output {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(sent.expect("kill runs").success());
        self.end()
    }

    /// Waits for its end, which must be a good one.
    fn end(mut self) -> Output {
        let mut stdout = Vec::new();
        let mut pipe = self.child.stdout.take().expect("stdout is a pipe");
        pipe.read_to_end(&mut stdout).expect("stdout is read");
        self.log.read_to_string(&mut self.said).expect("the log is UTF-8");
        let status = self.child.wait().expect("the child is ours");
        let output = Output { status, stdout, stderr: self.said.clone().into_bytes() };
        assert_eq!(status.code(), Some(0), "{}", shown(&output));
        output
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
