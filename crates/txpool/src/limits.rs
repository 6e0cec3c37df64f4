use std::time::Duration;

use primitives::{Address, U256};

/// How many remote transactions may be pending (geth since 1.10: `globalslots`).
pub const PENDING_MAX: usize = 5_120;
/// How many remote transactions may be queued (geth: `globalqueue`).
pub const QUEUED_MAX: usize = 1_024;
/// How many pending transactions a remote account keeps when there are too many (geth:
/// `accountslots`).
pub const ACCOUNT_PENDING_MAX: usize = 16;
/// How many transactions a remote account may have queued (geth: `accountqueue`) when more than half
/// of all that may be queued is taken.
pub const ACCOUNT_QUEUED_MAX: usize = 64;
/// How many local transactions the pool holds.
pub const LOCALS_MAX: usize = 4_096;
/// How much memory all transactions together may take, local ones included, in bytes.
pub const POOL_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// How many senders are remembered as local.
pub const LOCAL_SENDERS_MAX: usize = 2 * LOCALS_MAX;
/// How long the queued transactions of an idle remote account stay.
pub const QUEUED_LIFETIME: Duration = Duration::from_secs(3 * 60 * 60);
/// How much more a replacement pays, in per cent.
pub const PRICE_BUMP: u64 = 10;

/// What the pool accepts and how much of it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The least a remote transaction must leave the miner for a unit of gas, in wei.
    pub gas_price: u128,
    /// How much more a replacement pays, in per cent.
    pub price_bump: u64,
    /// See [`PENDING_MAX`].
    pub pending: usize,
    /// See [`QUEUED_MAX`].
    pub queued: usize,
    /// See [`ACCOUNT_PENDING_MAX`].
    pub account_pending: usize,
    /// See [`ACCOUNT_QUEUED_MAX`].
    pub account_queued: usize,
    /// See [`LOCALS_MAX`].
    pub locals: usize,
    /// See [`POOL_BYTES_MAX`].
    pub bytes: usize,
    /// See [`QUEUED_LIFETIME`].
    pub lifetime: Duration,
    /// Whether local submissions make their senders local.
    pub spare_locals: bool,
    /// Senders that are local from the start.
    pub local_senders: Vec<Address>,
    /// Whether local submissions may name no chain (EIP-155).
    pub allow_unprotected: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            gas_price: 1,
            price_bump: PRICE_BUMP,
            pending: PENDING_MAX,
            queued: QUEUED_MAX,
            account_pending: ACCOUNT_PENDING_MAX,
            account_queued: ACCOUNT_QUEUED_MAX,
            locals: LOCALS_MAX,
            bytes: POOL_BYTES_MAX,
            lifetime: QUEUED_LIFETIME,
            spare_locals: true,
            local_senders: Vec::new(),
            allow_unprotected: true,
        }
    }
}

impl Limits {
    /// Whether a price is enough to take the place of another: more than it, and by the bump
    /// (geth rounds the threshold down).
    pub(crate) fn is_bumped(&self, old: u128, new: u128) -> bool {
        let threshold = U256::from(old) * U256::from(100 + self.price_bump) / U256::from(100);
        new > old && U256::from(new) >= threshold
    }
}
