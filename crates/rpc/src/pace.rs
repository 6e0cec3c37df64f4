//! Heavy calls of a node that seals: quick as long as they are few.
//!
//! Sealers take what the rest of the node leaves of the processors, so whoever keeps asking for long
//! calls would end the mining. In the long run such calls have a small share of the processors; what
//! they did not take they may take at once.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// One part in so many of the processors' time is for heavy calls.
const PARTS: u32 = 20;
/// How much of what was not taken is kept, in processor time.
const CREDIT_MAX: Duration = Duration::from_secs(2);
/// How long a call runs before it is charged.
const SLICE: Duration = Duration::from_millis(1);

/// What heavy calls may take together.
#[derive(Debug)]
pub(crate) struct Pace {
    cores: u32,
    account: Mutex<Account>,
}

/// Processor time, as it was at some moment.
#[derive(Debug)]
struct Account {
    credit: Duration,
    debt: Duration,
    at: Instant,
}

/// A call that is running on this thread.
struct Running {
    pace: Arc<Pace>,
    since: Instant,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

impl Pace {
    pub(crate) fn new(cores: usize, now: Instant) -> Self {
        let account = Account { credit: CREDIT_MAX, debt: Duration::ZERO, at: now };
        let cores = u32::try_from(cores.max(1)).unwrap_or(u32::MAX);
        Self { cores, account: Mutex::new(account) }
    }

    /// Runs a call, which pauses in [`breathe`] when it should.
    pub(crate) fn run<T>(self: &Arc<Self>, call: impl FnOnce() -> T) -> T {
        let running = Running { pace: Arc::clone(self), since: Instant::now() };
        RUNNING.with_borrow_mut(|place| *place = Some(running));
        let result = call();
        if let Some(Running { pace, since }) = RUNNING.take() {
            // What comes next pauses for this one.
            pace.charge(since.elapsed(), Instant::now());
        }
        result
    }

    /// Takes from what there is; how long to wait until there is something again.
    fn charge(&self, spent: Duration, now: Instant) -> Duration {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let earned = now.saturating_duration_since(account.at) * self.cores / PARTS;
        let old = account.debt.min(earned);
        let have = (account.credit + (earned - old)).min(CREDIT_MAX);
        let owed = (account.debt - old) + spent;
        let (credit, debt) = (have.saturating_sub(owed), owed.saturating_sub(have));
        *account = Account { credit, debt, at: now };
        debt * PARTS / self.cores
    }
}

/// Pauses the call that runs on this thread, if heavy calls have had more than their share. To be called
/// by whatever takes long, again and again.
pub(crate) fn breathe() {
    let pause = RUNNING.with_borrow_mut(|running| {
        let running = running.as_mut()?;
        let spent = running.since.elapsed();
        if spent < SLICE {
            return None;
        }
        let now = Instant::now();
        let pause = running.pace.charge(spent, now);
        running.since = now + pause;
        Some(pause)
    });
    if let Some(pause) = pause.filter(|pause| !pause.is_zero()) {
        thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_is_kept_and_then_one_part_is_left() {
        let start = Instant::now();
        let pace = Pace::new(2, start);
        assert_eq!(pace.charge(CREDIT_MAX, start), Duration::ZERO);
        let second = Duration::from_secs(1);
        // Two cores earn a tenth of a second in each.
        assert_eq!(pace.charge(second / 10, start + second), Duration::ZERO);
        assert_eq!(pace.charge(second / 10, start + second), second);
        // After that pause all is paid, and nothing is left.
        assert_eq!(pace.charge(Duration::ZERO, start + 2 * second), Duration::ZERO);
        assert_eq!(pace.charge(second / 20, start + 2 * second), second / 2);
        let later = start + 1_000 * second;
        assert_eq!(pace.charge(CREDIT_MAX, later), Duration::ZERO);
        assert_eq!(pace.charge(second / 10, later), second, "no more is kept");
    }

    #[test]
    fn only_calls_that_run_at_a_pace_pause() {
        let pace = Arc::new(Pace::new(1, Instant::now()));
        pace.charge(CREDIT_MAX, Instant::now());
        let work = |slices: u32| {
            let start = Instant::now();
            while start.elapsed() < SLICE * slices {
                breathe();
            }
        };
        work(3);
        assert!(RUNNING.take().is_none());
        let began = Instant::now();
        pace.run(|| work(1));
        pace.run(|| work(1));
        // Slept, so that much at least has passed.
        assert!(began.elapsed() >= SLICE * PARTS, "{:?}", began.elapsed());
        assert!(RUNNING.take().is_none());
    }
}
