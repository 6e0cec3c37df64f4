//! Memory that all requests share: what is large is counted, whoever holds it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What each holder has without counting; also the step in which more is counted.
const STEP_BYTES: usize = 64 * 1024;

/// So many bytes for all holders together, beyond 64 KiB each.
#[derive(Debug)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / STEP_BYTES)))
    }

    /// Nothing yet, for a new holder.
    pub(crate) fn share(&self) -> Share {
        Share { budget: Arc::clone(&self.0), counted: None }
    }
}

/// What one holder has of a budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Semaphore>,
    counted: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Grows to so many bytes in all. False if others have too much of the budget: then it stays.
    pub(crate) fn covers(&mut self, bytes: usize) -> bool {
        let steps = self.counted.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = (bytes / STEP_BYTES).saturating_sub(steps);
        if missing == 0 {
            return true;
        }
        let budget = Arc::clone(&self.budget);
        let more = u32::try_from(missing).ok().map(|n| budget.try_acquire_many_owned(n));
        let Some(Ok(more)) = more else { return false };
        match &mut self.counted {
            Some(counted) => counted.merge(more),
            None => self.counted = Some(more),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_shares_are_free_and_large_ones_come_back() {
        let budget = Budget::new(4 * STEP_BYTES);
        let (mut small, mut large, mut late) = (budget.share(), budget.share(), budget.share());
        assert!(large.covers(2 * STEP_BYTES) && large.covers(4 * STEP_BYTES));
        assert!(!large.covers(5 * STEP_BYTES) && large.covers(4 * STEP_BYTES));
        assert!(small.covers(STEP_BYTES - 1) && !late.covers(STEP_BYTES));
        drop(large);
        assert!(late.covers(4 * STEP_BYTES));
        assert!(!late.covers(usize::MAX));
    }
}
