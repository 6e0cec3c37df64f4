use std::time::Duration;

use primitives::{Address, Bytes};

use crate::DatasetConfig;

/// How long extra data may be, in bytes (Yellow Paper §4.3.4).
pub const EXTRA_DATA_MAX: usize = 32;
/// The shortest time between two rebuilds for new transactions.
pub(crate) const RECOMMIT_MIN: Duration = Duration::from_secs(1);

/// How blocks get their seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealerKind {
    /// Proof of work by this machine's processor, on the dataset of the block's epoch.
    Cpu {
        /// Search and generate on this many threads.
        threads: usize,
        /// Hashes per second of all threads together; `None` is as many as possible.
        hashrate_max: Option<u64>,
    },
    /// Whoever asks for work (`eth_getWork`).
    Remote,
    /// At once and without proof, as soon as there is a transaction, or at a fixed period.
    Instant {
        /// Seal also without transactions, this often.
        period: Option<Duration>,
    },
}

/// What a miner begins with.
#[derive(Debug, Clone)]
pub struct MinerConfig {
    /// Who gets the rewards; nothing is sealed before it is known.
    pub beneficiary: Option<Address>,
    /// How blocks get their seals.
    pub sealer: SealerKind,
    /// Where datasets come from and stay.
    pub datasets: DatasetConfig,
    /// At most [`EXTRA_DATA_MAX`] bytes.
    pub extra_data: Bytes,
    /// The gas limit that blocks walk towards.
    pub gas_target: u64,
    /// The time between two rebuilds for new transactions.
    pub recommit: Duration,
}

/// Why a setting was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Extra data is too long.
    #[error("extra exceeds max length. {length} > {EXTRA_DATA_MAX}")]
    ExtraTooLong {
        /// Its length in bytes.
        length: usize,
    },
}

/// What can be changed while mining.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) beneficiary: Option<Address>,
    pub(crate) extra_data: Bytes,
    pub(crate) gas_target: u64,
    pub(crate) recommit: Duration,
    pub(crate) mining: bool,
}

impl Settings {
    pub(crate) fn new(config: &MinerConfig) -> Result<Self, SettingsError> {
        check_extra_data(&config.extra_data)?;
        Ok(Self {
            beneficiary: config.beneficiary,
            extra_data: config.extra_data.clone(),
            gas_target: config.gas_target,
            recommit: config.recommit.max(RECOMMIT_MIN),
            mining: true,
        })
    }
}

pub(crate) fn check_extra_data(extra_data: &[u8]) -> Result<(), SettingsError> {
    let length = extra_data.len();
    if length > EXTRA_DATA_MAX { Err(SettingsError::ExtraTooLong { length }) } else { Ok(()) }
}
