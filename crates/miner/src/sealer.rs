//! Who finds nonces: this machine's processor, others, or nobody.

pub(crate) mod cpu;
mod slot;

use std::{sync::Arc, time::Instant};

use ethash::{Epoch, Progress};

pub(crate) use slot::Slot;

use crate::DatasetProgress;

/// A dataset in the making.
#[derive(Debug, Clone)]
pub(crate) struct Generation {
    pub(crate) epoch: Epoch,
    pub(crate) progress: Arc<Progress>,
    pub(crate) started: Instant,
}

impl Generation {
    pub(crate) fn progress(&self) -> DatasetProgress {
        DatasetProgress {
            epoch: self.epoch,
            done: self.progress.done(),
            total: self.progress.total(),
            elapsed: self.started.elapsed(),
        }
    }
}
