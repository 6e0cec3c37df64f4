//! How far a long task is: a bar with ETA on a terminal, log lines otherwise.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a log line is written when there is no terminal.
const LOG_INTERVAL: Duration = Duration::from_secs(8);

const TEMPLATE: &str = "{msg:.bold} [{bar:32}] {percent}% ETA {prefix}";

/// A long task's progress.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    total: u64,
    started: Instant,
    logged: Instant,
    bar: Option<ProgressBar>,
}

/// Blocks, transactions and gas since a moment.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    started: Instant,
    blocks: u64,
    transactions: u64,
    gas: u64,
}

impl Rate {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), blocks: 0, transactions: 0, gas: 0 }
    }

    /// More of it.
    pub const fn add(&mut self, blocks: u64, transactions: u64, gas: u64) {
        self.blocks += blocks;
        self.transactions += transactions;
        self.gas += gas;
    }

    /// Blocks, transactions and millions of gas per second.
    #[must_use]
    pub fn per_second(&self) -> (f64, f64, f64) {
        let seconds = self.started.elapsed().as_secs_f64().max(f64::EPSILON);
        let mgas = self.gas as f64 / 1e6;
        (self.blocks as f64 / seconds, self.transactions as f64 / seconds, mgas / seconds)
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// A task of so many items, bytes or whatever is counted.
    #[must_use]
    pub fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(TEMPLATE).expect("template is well formed");
            ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_message(what)
        });
        let now = Instant::now();
        Self { what, total, started: now, logged: now, bar }
    }

    /// How far it is, at which block, and how fast.
    pub fn report(&mut self, done: u64, number: u64, rate: &Rate) {
        let (blocks, transactions, mgas) = rate.per_second();
        let eta = self.eta(done);
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_prefix(format!(
                "{eta}  block {number}  {blocks:.0} blocks/s  {transactions:.0} txs/s  {mgas:.1} Mgas/s"
            ));
        } else if self.is_log_due() {
            tracing::info!(
                number,
                bps = format!("{blocks:.0}"),
                tps = format!("{transactions:.0}"),
                mgasps = format!("{mgas:.1}"),
                percent = self.percent(done),
                eta,
                "{} blocks",
                self.what
            );
        }
    }

    /// How far it is.
    pub fn set(&mut self, done: u64) {
        let eta = self.eta(done);
        self.show(done, eta);
    }

    /// How far it is, and how much longer it takes if somebody knows.
    pub fn set_with_eta(&mut self, done: u64, eta: Option<Duration>) {
        let eta = eta.map_or("unknown".to_owned(), |eta| format!("{}s", eta.as_secs()));
        self.show(done, eta);
    }

    fn show(&mut self, done: u64, eta: String) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_prefix(eta);
        } else if self.is_log_due() {
            tracing::info!(percentage = self.percent(done), eta, "{} in progress", self.what);
        }
    }

    fn is_log_due(&mut self) -> bool {
        let due = self.logged.elapsed() >= LOG_INTERVAL;
        if due {
            self.logged = Instant::now();
        }
        due
    }

    fn percent(&self, done: u64) -> u64 {
        done.saturating_mul(100).checked_div(self.total).unwrap_or(100).min(100)
    }

    /// In whole seconds; unknown before there is a pace.
    fn eta(&self, done: u64) -> String {
        let left = self.total.saturating_sub(done) as f64;
        let eta = self.started.elapsed().mul_f64(left / done.max(1) as f64);
        if done > 0 { format!("{}s", eta.as_secs()) } else { "unknown".to_owned() }
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
