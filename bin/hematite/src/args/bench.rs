//! What `bench` measures.

// The doc comments are help texts too, where `[…]` is a default and not a link.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand, value_parser};

/// Most threads that can be asked for: more than any machine has.
const THREADS_MAX: usize = 4_096;
/// Longest measurement: a day.
const SECONDS_MAX: u64 = 86_400;
/// What people want most, with the answer's place.
pub(super) const EXAMPLES: &str = "Examples:
  hematite bench hashrate                      how fast this machine searches, on 1, 2, 4 … threads
  hematite bench hashrate --threads 4 --seconds 30
  hematite bench memory --threads 1..4         what its memory could deliver at most
  hematite bench all --report out              everything; out/report.html, .json and .svg
  hematite bench compare a.json b.json --report out
  hematite bench hashrate --getwork 0.0.0.0:8545    count what another miner finds";

/// What to measure.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum BenchCommand {
    /// Hashes per second of the search, and what share of the memory's ceiling that is
    Hashrate(HashrateArgs),
    /// Seconds that the generation of a DAG takes
    Dag(MeasureArgs),
    /// Headers per second whose proof of work is checked without a DAG
    Verify(MeasureArgs),
    /// Random reads of the memory: the ceiling of every search
    Memory(MeasureArgs),
    /// All of these
    All(MeasureArgs),
    /// One page of the reports of several machines
    Compare(CompareArgs),
}

/// How to measure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct MeasureArgs {
    /// Numbers of threads: 4, or 1,2,8, or 1..4; N is all that may be used [1, 2, 4 … N]
    #[arg(long, value_name = "LIST")]
    pub threads: Option<ThreadList>,
    /// The epoch of the DAG
    #[arg(long, value_name = "E", default_value_t = 0, value_parser = value_parser!(u64).range(..=ethash::Epoch::MAX.get()))]
    pub epoch: u64,
    /// Seconds for each measurement on each number of threads [such that all takes a minute]
    #[arg(long, value_name = "S", value_parser = value_parser!(u64).range(1..=SECONDS_MAX))]
    pub seconds: Option<u64>,
    /// The instructions to use: portable, avx2, avx512 or neon [the best there are]
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// Keep the DAG in a file there, and use it if it is there [in memory only]
    #[arg(long, value_name = "DIR")]
    pub dagdir: Option<PathBuf>,
    /// Write report.json, report.html and report.svg there
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: Option<bool>,
}

/// How to measure the search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct HashrateArgs {
    /// How to measure.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Measure another miner: serve it easy work over JSON-RPC there, and count its solutions
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub getwork: Option<String>,
}

/// What to compare.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CompareArgs {
    /// Files that `bench all --report` wrote, or their directories
    #[arg(required = true)]
    pub reports: Vec<PathBuf>,
    /// Write compare.html there
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub report: PathBuf,
}

/// Numbers of threads to measure with, as written: `N` is known only on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadList(Vec<(Count, Count)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Exactly(usize),
    All,
}

impl ThreadList {
    /// The numbers, ascending and each once, if `all` threads may be used.
    #[must_use]
    pub fn counts(&self, all: usize) -> Vec<usize> {
        let number = |count| match count {
            Count::Exactly(number) => number,
            Count::All => all,
        };
        let mut counts: Vec<usize> =
            self.0.iter().flat_map(|&(first, last)| number(first)..=number(last)).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    /// 1, 2, 4 and so on up to `all`, and `all` itself.
    #[must_use]
    pub fn doubling(all: usize) -> Vec<usize> {
        let below = std::iter::successors(Some(1), |count| Some(count * 2));
        below.take_while(|count| *count < all).chain([all]).collect()
    }
}

impl FromStr for ThreadList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(|part| {
            let (first, last) = part.split_once("..").unwrap_or((part, part));
            let (first, last) = (count(first)?, count(last.trim_start_matches('='))?);
            match (first, last) {
                (Count::Exactly(first), Count::Exactly(last)) if first > last => {
                    Err(format!("{first}..{last} is empty: the first must not be above the last"))
                }
                _ => Ok((first, last)),
            }
        });
        parts.collect::<Result<_, _>>().map(Self)
    }
}

fn count(text: &str) -> Result<Count, String> {
    match text.trim() {
        "N" | "n" | "all" => Ok(Count::All),
        number => match number.parse() {
            Ok(0) => Err("0 threads measure nothing; write 1 or more".to_owned()),
            Ok(number) if number <= THREADS_MAX => Ok(Count::Exactly(number)),
            Ok(_) => Err(format!("{number} threads are more than {THREADS_MAX}")),
            Err(_) => Err(format!("{number:?} is no number; write 4, or 1,2,8, or 1..4, or 1..N")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(text: &str) -> Result<Vec<usize>, String> {
        text.parse().map(|list: ThreadList| list.counts(6))
    }

    #[test]
    fn a_list_of_threads_is_numbers_and_ranges() {
        assert_eq!(counts("4"), Ok(vec![4]));
        assert_eq!(counts("1..4"), Ok(vec![1, 2, 3, 4]));
        assert_eq!(counts("1..=2"), Ok(vec![1, 2]));
        assert_eq!(counts("8,1, 2,1"), Ok(vec![1, 2, 8]));
        assert_eq!(counts("1,4..N"), Ok(vec![1, 4, 5, 6]));
        assert_eq!(counts("all"), Ok(vec![6]));
        assert_eq!(counts("4096"), Ok(vec![4_096]));
        // More threads than the machine has are no mistake, but there is nothing to count up to.
        assert_eq!(counts("8..N"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_list_of_threads_is_refused() {
        for text in ["0", "", "1,", "2..1", "..", "x", "-1", "4097", "0..2", "1...3"] {
            assert!(counts(text).is_err(), "{text}: {:?}", counts(text));
        }
    }

    #[test]
    fn threads_double_up_to_what_may_be_used() {
        assert_eq!(ThreadList::doubling(1), [1]);
        assert_eq!(ThreadList::doubling(2), [1, 2]);
        assert_eq!(ThreadList::doubling(6), [1, 2, 4, 6]);
        assert_eq!(ThreadList::doubling(8), [1, 2, 4, 8]);
    }
}
