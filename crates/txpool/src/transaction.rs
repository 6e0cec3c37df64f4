use alloy_eips::Encodable2718;
use primitives::{Address, B256, Transaction, TransactionFields, U256};

/// Who brought a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A user of this node, over RPC or from the journal.
    Local,
    /// A peer, or a block that is no longer canonical.
    Remote,
}

/// What a transaction costs the pool beside its encoded bytes: the decoded form, its places in the
/// maps and its share of their slack.
const OVERHEAD_BYTES: usize = 1_024;

/// A transaction in the pool, its sender recovered.
#[derive(Debug)]
pub struct PooledTransaction {
    /// The transaction as it was signed.
    pub tx: Transaction,
    /// Who signed it.
    pub sender: Address,
    /// Who brought it.
    pub origin: Origin,
    hash: B256,
    cost: Option<U256>,
    size: usize,
    arrival: u64,
}

impl PooledTransaction {
    /// Puts together what the pool keeps of a transaction; `arrival` orders first-seen first.
    pub(crate) fn new(tx: Transaction, sender: Address, origin: Origin, arrival: u64) -> Self {
        let hash = *tx.tx_hash();
        let cost = U256::from(tx.max_fee_per_gas())
            .checked_mul(U256::from(tx.gas_limit()))
            .and_then(|gas| gas.checked_add(tx.value()));
        let size = tx.encode_2718_len();
        Self { tx, sender, origin, hash, cost, size, arrival }
    }

    /// The hash that names it.
    #[must_use]
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// The sender's nonce that it uses.
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.tx.nonce()
    }

    /// The most that it can take from its sender, in wei: value and all of its gas at the highest
    /// price. More than 2^256 - 1 reads as that.
    #[must_use]
    pub fn cost(&self) -> U256 {
        self.cost.unwrap_or(U256::MAX)
    }

    /// Whether somebody with this balance can pay for it, in wei.
    pub(crate) fn is_payable_with(&self, balance: U256) -> bool {
        self.cost.is_some_and(|cost| cost <= balance)
    }

    /// Length of its envelope in bytes (EIP-2718).
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// What it takes of the pool's memory, in bytes.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.size + OVERHEAD_BYTES
    }

    /// Its place in the order in which transactions came.
    #[must_use]
    pub const fn arrival(&self) -> u64 {
        self.arrival
    }

    /// The highest price for a unit of gas, in wei.
    #[must_use]
    pub fn fee_cap(&self) -> u128 {
        self.tx.max_fee_per_gas()
    }

    /// The most the miner gets for a unit of gas, in wei.
    #[must_use]
    pub fn tip_cap(&self) -> u128 {
        self.tx.priority_fee_or_price()
    }

    /// What the miner gets for a unit of gas in a block with this base fee, in wei; `None` if the
    /// transaction does not even pay the base fee.
    #[must_use]
    pub fn tip(&self, base_fee: Option<u64>) -> Option<u128> {
        let left = self.fee_cap().checked_sub(base_fee.unwrap_or(0).into())?;
        Some(left.min(self.tip_cap()))
    }
}
