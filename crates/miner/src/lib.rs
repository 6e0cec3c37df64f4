//! Makes work, has it sealed, and brings the block home.
//!
//! Does not write the chain by another door than `import`, and does not know who asks for work.
//! [`run`] drives a [`Worker`]; everybody else holds a [`MinerHandle`].

mod handle;
mod metrics;
mod ommers;
mod package;
mod sealer;
mod settings;
mod worker;

pub use handle::{DatasetProgress, MinerHandle};
pub use package::{Solution, WorkPackage};
pub use sealer::{DatasetConfig, dataset_time};
pub use settings::{EXTRA_DATA_MAX, MinerConfig, SealerKind, SettingsError};
pub use worker::{MinerError, Worker, run};
