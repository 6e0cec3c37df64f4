//! Who finds nonces: this machine's processor, others, or nobody.

pub(crate) mod cpu;
mod datasets;
mod slot;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ethash::{Epoch, Progress};

pub(crate) use datasets::Datasets;
pub use datasets::{DatasetConfig, dataset_time};
pub(crate) use slot::Slot;

use crate::DatasetProgress;

/// A dataset in the making.
#[derive(Debug, Clone)]
pub(crate) struct Generation {
    pub(crate) epoch: Epoch,
    pub(crate) progress: Arc<Progress>,
    pub(crate) started: Instant,
    /// How long it should take if it must be made.
    pub(crate) expected: Duration,
}

impl Generation {
    pub(crate) fn progress(&self) -> DatasetProgress {
        DatasetProgress {
            epoch: self.epoch,
            phase: self.progress.phase(),
            done: self.progress.done(),
            total: self.progress.total(),
            elapsed: self.started.elapsed(),
            expected: self.expected,
        }
    }
}
