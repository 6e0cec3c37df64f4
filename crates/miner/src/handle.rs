use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ethash::{Epoch, Phase};
use primitives::{Address, Bytes};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Solution, WorkPackage,
    sealer::{Generation, Slot},
    settings::{RECOMMIT_MIN, Settings, SettingsError, check_extra_data},
};

/// How many solutions may wait for the worker.
pub(crate) const SOLUTION_QUEUE_MAX: usize = 16;

/// How far a dataset in the making is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DatasetProgress {
    /// Whose dataset.
    pub epoch: Epoch,
    /// What is being done about it.
    pub phase: Phase,
    /// Items made or checked.
    pub done: u64,
    /// Items in all.
    pub total: u64,
    /// Since it began.
    pub elapsed: Duration,
    /// How long making it should take, measured before it began.
    pub expected: Duration,
}

impl DatasetProgress {
    /// How much longer it takes: at the pace so far, or as was expected before there is a pace.
    /// `None` while nobody knows.
    #[must_use]
    pub fn eta(&self) -> Option<Duration> {
        let left = self.total.saturating_sub(self.done);
        match self.phase {
            _ if self.done > 0 => Some(self.elapsed.mul_f64(left as f64 / self.done as f64)),
            Phase::Generating => Some(self.expected.saturating_sub(self.elapsed)),
            Phase::Checking | Phase::Waiting => None,
        }
    }
}

pub(crate) struct Submission {
    pub(crate) solution: Solution,
    /// Told whether the solution was for a known package and held.
    pub(crate) accepted: oneshot::Sender<bool>,
}

/// The miner, as everybody sees it. Cheap to clone.
#[derive(Clone)]
pub struct MinerHandle {
    pub(crate) settings: watch::Sender<Settings>,
    pub(crate) work: watch::Receiver<Option<Arc<WorkPackage>>>,
    pub(crate) submissions: mpsc::Sender<Submission>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) hashrate: Arc<AtomicU64>,
    pub(crate) generation: Arc<Mutex<Option<Generation>>>,
    pub(crate) failure: Arc<Mutex<Option<String>>>,
    pub(crate) is_there: Arc<AtomicBool>,
}

impl std::fmt::Debug for MinerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MinerHandle")
            .field("settings", &*self.settings.borrow())
            .finish_non_exhaustive()
    }
}

impl MinerHandle {
    /// The newest package, as it changes.
    #[must_use]
    pub fn work(&self) -> watch::Receiver<Option<Arc<WorkPackage>>> {
        self.work.clone()
    }

    /// The newest package.
    #[must_use]
    pub fn pending(&self) -> Option<Arc<WorkPackage>> {
        self.work.borrow().clone()
    }

    /// Nonces per second that this machine tries.
    #[must_use]
    pub fn hashrate(&self) -> u64 {
        self.hashrate.load(Ordering::Relaxed)
    }

    /// Threads of this machine that are to search; none where seals cost nothing, or are left to
    /// others.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.slot.threads()
    }

    /// Whether there is work that waits for the first dataset.
    #[must_use]
    pub fn waits_for_dataset(&self) -> bool {
        let is_there = self.is_there.load(Ordering::Relaxed);
        !is_there && self.threads() > 0 && self.work.borrow().is_some()
    }

    /// Why there is no dataset to search with, if the last try failed.
    #[must_use]
    pub fn dataset_failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether work is made and sealed.
    #[must_use]
    pub fn is_mining(&self) -> bool {
        self.settings.borrow().mining
    }

    /// Begins to mine, on this many threads if said. Zero leaves the search to others.
    pub fn start(&self, threads: Option<usize>) {
        if let Some(threads) = threads {
            self.slot.set_threads(threads);
        }
        self.settings.send_modify(|settings| settings.mining = true);
    }

    /// Stops making work.
    pub fn stop(&self) {
        self.settings.send_modify(|settings| settings.mining = false);
    }

    /// Who gets the rewards.
    #[must_use]
    pub fn beneficiary(&self) -> Option<Address> {
        self.settings.borrow().beneficiary
    }

    /// Changes who gets the rewards, from the next package on.
    pub fn set_beneficiary(&self, beneficiary: Address) {
        self.settings.send_modify(|settings| settings.beneficiary = Some(beneficiary));
    }

    /// Changes the extra data, from the next package on.
    ///
    /// # Errors
    ///
    /// When it is longer than [`crate::EXTRA_DATA_MAX`].
    pub fn set_extra_data(&self, extra_data: Bytes) -> Result<(), SettingsError> {
        check_extra_data(&extra_data)?;
        self.settings.send_modify(|settings| settings.extra_data = extra_data);
        Ok(())
    }

    /// Changes the gas limit that blocks walk towards.
    pub fn set_gas_target(&self, gas_target: u64) {
        self.settings.send_modify(|settings| settings.gas_target = gas_target);
    }

    /// Changes the time between two rebuilds; at least a second.
    pub fn set_recommit(&self, recommit: Duration) {
        self.settings.send_modify(|settings| settings.recommit = recommit.max(RECOMMIT_MIN));
    }

    /// Hands in a solution that somebody else found; says whether it was for a known package and
    /// held.
    pub async fn submit(&self, solution: Solution) -> bool {
        let (accepted, answer) = oneshot::channel();
        if self.submissions.send(Submission { solution, accepted }).await.is_err() {
            return false;
        }
        answer.await.unwrap_or(false)
    }

    /// How far the dataset is that is being made or loaded, while one is.
    #[must_use]
    pub fn dataset_progress(&self) -> Option<DatasetProgress> {
        let generation = self.generation.lock().unwrap_or_else(PoisonError::into_inner);
        generation.as_ref().map(Generation::progress)
    }
}
