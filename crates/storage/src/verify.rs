//! Checks everything in the database against everything else: `db verify`.

mod blocks;
mod layers;
mod past;
mod state;
mod walk;

use crate::{StorageError, View};

/// How many problems a report spells out; more are only counted.
pub const PROBLEMS_MAX: usize = 100;
/// How many records are checked between two calls of the progress callback.
const PROGRESS_STEP: u64 = 1_024;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is wrong, one sentence each; the first [`PROBLEMS_MAX`].
    pub problems: Vec<String>,
    /// How many problems there are.
    pub problems_total: u64,
    /// What was checked.
    pub counts: Counts,
}

impl Report {
    /// Whether everything agrees.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.problems_total == 0
    }
}

/// How many records of each kind were checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks, side blocks too.
    pub blocks: u64,
    /// Canonical blocks.
    pub canonical: u64,
    /// Transactions of canonical blocks.
    pub transactions: u64,
    /// Lists of receipts.
    pub receipts: u64,
    /// Accounts at the base.
    pub accounts: u64,
    /// Slots at the base.
    pub slots: u64,
    /// Stored trie nodes at the base.
    pub nodes: u64,
    /// Codes.
    pub codes: u64,
    /// Preimages.
    pub preimages: u64,
    /// Layers above the base.
    pub layers: u64,
    /// Values of the past.
    pub history: u64,
}

/// How far checking has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being checked.
    pub part: &'static str,
    /// How many records of it are done.
    pub done: u64,
}

/// What the parts of the check share.
struct Check<'a> {
    view: &'a View,
    report: Report,
    progress: &'a mut dyn FnMut(Progress),
    part: &'static str,
    done: u64,
}

type Part = fn(&mut Check<'_>) -> Result<(), StorageError>;

/// Checks everything that a view shows: hashes, roots, sums, indexes both ways, the state at the base
/// and at the head against their tries, code, layers, and the records of the past.
///
/// Takes as long as reading the database takes. `progress` is called now and then.
///
/// # Errors
///
/// When the disk fails. What is damaged is not an error but a problem in the report.
pub fn verify(view: &View, progress: &mut dyn FnMut(Progress)) -> Result<Report, StorageError> {
    let parts: [(&'static str, Part); 9] = [
        ("blocks", blocks::blocks),
        ("indexes", blocks::indexes),
        ("canonical chain", blocks::canonical),
        ("state at the base", state::base),
        ("state at the head", state::head),
        ("orphans", state::orphans),
        ("code", state::contents),
        ("layers", layers::layers),
        ("history", past::past),
    ];
    let mut check = Check { view, report: Report::default(), progress, part: "", done: 0 };
    if view.head().is_none() {
        return Ok(check.report);
    }
    for (name, part) in parts {
        (check.part, check.done) = (name, 0);
        (check.progress)(Progress { part: name, done: 0 });
        match part(&mut check) {
            Ok(()) => {}
            Err(error @ (StorageError::Corrupt { .. } | StorageError::Read(_))) => {
                check.problem(error.to_string());
            }
            Err(error) => return Err(error),
        }
        (check.progress)(Progress { part: name, done: check.done });
    }
    Ok(check.report)
}

impl Check<'_> {
    fn problem(&mut self, problem: String) {
        self.report.problems_total += 1;
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(problem);
        }
    }

    fn require(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.problem(problem());
        }
    }

    /// Counts one more record of this part.
    fn step(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(PROGRESS_STEP) {
            (self.progress)(Progress { part: self.part, done: self.done });
        }
    }
}
