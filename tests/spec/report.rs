//! What became of the cases: passed, failed, skipped for a reason that is allowed, or for later.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// How many failures of one suite are printed.
const FAILURES_SHOWN_MAX: usize = 200;

/// A family of vectors. The order is that of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Suite {
    Blockchain,
    State,
    Vm,
    Difficulty,
    Transaction,
    Rlp,
    Trie,
    Pow,
    Genesis,
    KeyStore,
    Basic,
    Abi,
    Geth,
    RealChain,
    JsonRpc,
    Unknown,
}

impl Suite {
    /// The name in the report; a filter may be one.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Blockchain => "BlockchainTests",
            Self::State => "GeneralStateTests",
            Self::Vm => "VMTests",
            Self::Difficulty => "DifficultyTests",
            Self::Transaction => "TransactionTests",
            Self::Rlp => "RLPTests",
            Self::Trie => "TrieTests",
            Self::Pow => "PoWTests",
            Self::Genesis => "GenesisTests",
            Self::KeyStore => "KeyStoreTests",
            Self::Basic => "BasicTests",
            Self::Abi => "ABITests",
            Self::Geth => "geth-testdata",
            Self::RealChain => "realchain",
            Self::JsonRpc => "jsonrpc",
            Self::Unknown => "unclassified",
        }
    }
}

/// Why a case may be skipped. The list is closed: whatever else is not run has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Skip {
    TimeConsuming,
    PerformanceLoop,
    HugeHash,
    RandomTie,
    PostMerge,
    EthereumClassic,
}

impl Skip {
    /// The line in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TimeConsuming => "stTimeConsuming",
            Self::PerformanceLoop => "vmPerformance/loop*",
            Self::HugeHash => "randomStatetest94",
            Self::RandomTie => "bcForkUncle (a random tie)",
            Self::PostMerge => "networks after the merge",
            Self::EthereumClassic => "rules of Ethereum Classic",
        }
    }

    /// The reason to skip a whole file, by its path. What is only slow runs in the long tier.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        const BY_PATH: [(&str, Skip); 4] = [
            ("stTimeConsuming/", Skip::TimeConsuming),
            ("vmPerformance/loop", Skip::PerformanceLoop),
            ("randomStatetest94", Skip::HugeHash),
            ("bcForkUncle", Skip::RandomTie),
        ];
        let is_long = std::env::var("HEMATITE_TIER").is_ok_and(|tier| tier == "long");
        let found = BY_PATH.into_iter().find(|(part, _)| path.contains(part));
        let only_slow = |skip: &Self| matches!(skip, Self::TimeConsuming | Self::PerformanceLoop);
        found.map(|(_, skip)| skip).filter(|skip| !(is_long && only_slow(skip)))
    }
}

/// Counts of one suite.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failures: Vec<String>,
    pub(crate) skipped: BTreeMap<Skip, usize>,
    /// Cases of parts that the node does not have, by part.
    pub(crate) later: BTreeMap<&'static str, usize>,
    /// Time spent, all threads together.
    pub(crate) busy: Duration,
}

/// What one file's run writes into.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    /// The file, under the data folder.
    pub(crate) path: &'a str,
    /// Run only cases whose name contains this.
    case_filter: Option<&'a str>,
    suite: Suite,
    tallies: BTreeMap<Suite, Tally>,
}

impl<'a> Sink<'a> {
    pub(crate) const fn new(path: &'a str, case_filter: Option<&'a str>) -> Self {
        Self { path, case_filter, suite: Suite::Unknown, tallies: BTreeMap::new() }
    }

    /// Says which suite the file belongs to, as soon as that is known.
    pub(crate) const fn belongs_to(&mut self, suite: Suite) {
        self.suite = suite;
    }

    /// The counts, with the time that the file took on its suite's account.
    pub(crate) fn finish(mut self, busy: Duration) -> BTreeMap<Suite, Tally> {
        if let Some(tally) = self.tallies.get_mut(&self.suite) {
            tally.busy += busy;
        }
        self.tallies
    }

    /// Runs one case. A panic is a failure.
    pub(crate) fn case(&mut self, name: &str, run: impl FnOnce() -> Result<(), String>) {
        if self.case_filter.is_some_and(|wanted| !name.contains(wanted)) {
            return;
        }
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => self.tally().passed += 1,
            Ok(Err(reason)) => self.fail(name, &reason),
            Err(panic) => self.fail(name, &format!("panicked: {}", panic_text(&*panic))),
        }
    }

    /// Notes a failure.
    pub(crate) fn fail(&mut self, name: &str, reason: &str) {
        let line = format!("{}::{name}: {reason}", self.path);
        self.tally().failures.push(line);
    }

    /// Notes cases that may be skipped.
    pub(crate) fn skip(&mut self, reason: Skip, cases: usize) {
        *self.tally().skipped.entry(reason).or_default() += cases;
    }

    /// Notes cases of a part that the node does not have.
    pub(crate) fn later(&mut self, part: &'static str, cases: usize) {
        *self.tally().later.entry(part).or_default() += cases;
    }

    fn tally(&mut self) -> &mut Tally {
        self.tallies.entry(self.suite).or_default()
    }
}

/// The counts of all suites.
#[derive(Debug, Default)]
pub(crate) struct Report(BTreeMap<Suite, Tally>);

impl Report {
    /// Adds what one file gave.
    pub(crate) fn add(&mut self, tallies: BTreeMap<Suite, Tally>) {
        for (suite, tally) in tallies {
            let sum = self.0.entry(suite).or_default();
            sum.passed += tally.passed;
            sum.failures.extend(tally.failures);
            sum.busy += tally.busy;
            for (skip, count) in tally.skipped {
                *sum.skipped.entry(skip).or_default() += count;
            }
            for (part, count) in tally.later {
                *sum.later.entry(part).or_default() += count;
            }
        }
    }

    /// Prints failures, what was left out, a line per suite and the sum. Says whether all is well.
    pub(crate) fn print(&mut self) -> bool {
        let mut skipped: BTreeMap<Skip, usize> = BTreeMap::new();
        let mut later: BTreeMap<&str, usize> = BTreeMap::new();
        for (suite, tally) in &mut self.0 {
            print_failures(*suite, &mut tally.failures);
            for (skip, count) in &tally.skipped {
                *skipped.entry(*skip).or_default() += count;
            }
            for (part, count) in &tally.later {
                *later.entry(*part).or_default() += count;
            }
        }
        for (skip, count) in &skipped {
            println!("skipped {count}: {}", skip.name());
        }
        if !later.is_empty() {
            let parts: Vec<String> =
                later.iter().map(|(part, count)| format!("{part} {count}")).collect();
            println!("later: {}", parts.join(", "));
        }
        let (mut passed, mut failed) = (0, 0);
        for (suite, tally) in &self.0 {
            let skipped: usize = tally.skipped.values().sum();
            if tally.passed + tally.failures.len() + skipped == 0 {
                continue;
            }
            println!(
                "{}: {} passed, {} failed, {skipped} skipped, {:.1} s",
                suite.name(),
                tally.passed,
                tally.failures.len(),
                tally.busy.as_secs_f64()
            );
            passed += tally.passed;
            failed += tally.failures.len();
        }
        let skipped: usize = skipped.values().sum();
        println!("{passed} passed, {failed} failed, {skipped} skipped");
        failed == 0
    }
}

fn print_failures(suite: Suite, failures: &mut [String]) {
    failures.sort();
    for failure in failures.iter().take(FAILURES_SHOWN_MAX) {
        println!("FAILED {} {failure}", suite.name());
    }
    let more = failures.len().saturating_sub(FAILURES_SHOWN_MAX);
    if more > 0 {
        println!("FAILED {} and {more} more", suite.name());
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text").to_owned()
}
