//! The official vectors: `cargo test -p tests --test spec [FILTER]`.
//!
//! `CONFORMANCE_DIR` names a folder of the archives, or of folders of those names unpacked; default
//! `../shared/conformance` beside the workspace. A filter is a part of `SUITE/PATH`, and after `::`
//! a part of a case's name. `SPEC_THREADS` overrides how many threads run.
#![allow(clippy::print_stdout, reason = "a test runner speaks on stdout")]

mod basic;
mod blockchain;
mod call_tracer;
mod chains;
mod classify;
#[path = "../conformance.rs"]
mod conformance;
mod data;
mod difficulty;
mod genesis;
mod json;
mod jsonrpc;
mod keystore;
mod network;
mod opcodes;
mod pow;
mod realchain;
mod report;
mod rlp;
mod state_tests;
mod t8n;
mod transaction;
mod trie;
mod vm;

use std::{
    env,
    panic::{self, AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use data::DataFile;
use report::{Report, Sink, panic_text};

fn main() -> ExitCode {
    let filter = Filter::from_args();
    let files = match data::files() {
        Ok(files) => files,
        Err(absent) => {
            println!("no conformance data: {absent}");
            println!("0 passed, 0 failed, 0 skipped");
            let must_be_there = env::var("CI").is_ok_and(|value| value == "true");
            return if must_be_there { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    // A case that panics is reported with the others.
    panic::set_hook(Box::new(|_| {}));
    let mut report = run(&files, &filter);
    if report.print() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Which files and cases to run.
#[derive(Debug)]
struct Filter {
    file: Option<String>,
    case: Option<String>,
}

impl Filter {
    /// The first argument that is no flag: flags are for the usual harness.
    fn from_args() -> Self {
        let Some(text) = env::args().skip(1).find(|argument| !argument.starts_with('-')) else {
            return Self { file: None, case: None };
        };
        match text.split_once("::") {
            Some((file, case)) => Self { file: Some(file.into()), case: Some(case.into()) },
            None => Self { file: Some(text), case: None },
        }
    }

    fn takes(&self, path: &str) -> bool {
        let Some(wanted) = &self.file else { return true };
        let suite = classify::suite_of_path(path).map_or("", report::Suite::name);
        format!("{suite}/{path}").contains(wanted)
    }
}

/// Runs all files on all cores.
fn run(files: &[DataFile], filter: &Filter) -> Report {
    let report = Mutex::new(Report::default());
    let next = AtomicUsize::new(0);
    let wanted: Vec<&DataFile> = files.iter().filter(|file| filter.takes(&file.name)).collect();
    let work = || {
        while let Some(file) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            let mut sink = Sink::new(&file.name, filter.case.as_deref());
            let run = AssertUnwindSafe(|| classify::run(file, &mut sink));
            if let Err(panic) = catch_unwind(run) {
                sink.fail("the file", &panic_text(&*panic));
            }
            let tallies = sink.finish(started.elapsed());
            report.lock().unwrap_or_else(PoisonError::into_inner).add(tallies);
        }
    };
    let threads = env::var("SPEC_THREADS").ok().and_then(|text| text.parse().ok());
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads.unwrap_or_else(cores) {
            scope.spawn(work);
        }
    });
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}
