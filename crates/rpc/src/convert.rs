//! The JSON objects of the interface, in geth's order of members.
//!
//! Where geth 1.9.13 omits a member that today's clients cannot do without (`type`,
//! `effectiveGasPrice`, `status` beside `root`), it is there.

use alloy_consensus::transaction::SignerRecoverable;
use alloy_eips::eip2930::AccessList;
use primitives::{
    Address, B64, B256, BlockNumHash, Bloom, Bytes, Header, Log, Receipt, SealedBlock,
    SealedHeader, Transaction, TransactionFields, Typed2718, U256,
};
use serde::{Serialize, Serializer};

use crate::error::RpcError;

/// What geth's header takes in memory, in bytes, before its variable parts: `size` of
/// `eth_getHeaderBy…` is that.
const HEADER_BYTES: usize = 544;

/// A number of at most 64 bits, written as hex without leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Quantity(pub(crate) u64);

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl From<usize> for Quantity {
    fn from(value: usize) -> Self {
        Self(u64::try_from(value).expect("usize is at most 64 bits"))
    }
}

/// A block, a header or an ommer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RpcBlock {
    #[serde(skip_serializing_if = "Option::is_none")]
    base_fee_per_gas: Option<Quantity>,
    difficulty: U256,
    extra_data: Bytes,
    gas_limit: Quantity,
    gas_used: Quantity,
    hash: Option<B256>,
    logs_bloom: Bloom,
    miner: Option<Address>,
    mix_hash: B256,
    nonce: Option<B64>,
    number: Quantity,
    parent_hash: B256,
    receipts_root: B256,
    sha3_uncles: B256,
    size: Quantity,
    state_root: B256,
    timestamp: Quantity,
    /// Absent on ommers, null while pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    total_difficulty: Option<Option<U256>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transactions: Option<RpcTransactions>,
    transactions_root: B256,
    #[serde(skip_serializing_if = "Option::is_none")]
    uncles: Option<Vec<B256>>,
}

/// A block's transactions, as its reader wants them.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum RpcTransactions {
    /// Only which.
    Hashes(Vec<B256>),
    /// All of them.
    Full(Vec<RpcTransaction>),
}

impl RpcTransactions {
    /// Whole if there are senders.
    fn of(
        transactions: &[Transaction],
        senders: Option<&[Address]>,
        place: &TransactionPlace,
    ) -> Self {
        let Some(senders) = senders else {
            return Self::Hashes(transactions.iter().map(|tx| *tx.tx_hash()).collect());
        };
        let one = |(index, (tx, from)): (usize, (_, &Address))| {
            RpcTransaction::mined(tx, *from, &TransactionPlace { index, ..*place })
        };
        Self::Full(transactions.iter().zip(senders).enumerate().map(one).collect())
    }
}

impl RpcBlock {
    fn new(header: &Header, hash: Option<B256>, size: usize) -> Self {
        Self {
            base_fee_per_gas: header.base_fee_per_gas.map(Quantity),
            difficulty: header.difficulty,
            extra_data: header.extra_data.clone(),
            gas_limit: Quantity(header.gas_limit),
            gas_used: Quantity(header.gas_used),
            hash,
            logs_bloom: header.logs_bloom,
            miner: Some(header.beneficiary),
            mix_hash: header.mix_hash,
            nonce: Some(header.nonce),
            number: Quantity(header.number),
            parent_hash: header.parent_hash,
            receipts_root: header.receipts_root,
            sha3_uncles: header.ommers_hash,
            size: size.into(),
            state_root: header.state_root,
            timestamp: Quantity(header.timestamp),
            total_difficulty: None,
            transactions: None,
            transactions_root: header.transactions_root,
            uncles: None,
        }
    }

    /// A block with its transactions: whole if their senders are given, or by hash.
    pub(crate) fn block(block: &SealedBlock, td: U256, senders: Option<&[Address]>) -> Self {
        let mut object = Self::new(block.header(), Some(block.hash()), block.rlp_length());
        let place = TransactionPlace::new(Some(block.hash()), block.header());
        object.total_difficulty = Some(Some(td));
        object.transactions =
            Some(RpcTransactions::of(&block.body().transactions, senders, &place));
        object.uncles = Some(block.body().ommers.iter().map(Header::hash_slow).collect());
        object
    }

    /// What is being mined: it has no hash, and whose it will be is not said.
    pub(crate) fn pending(block: &SealedBlock, senders: Option<&[Address]>) -> Self {
        let mut object = Self::block(block, U256::ZERO, None);
        let place = TransactionPlace::new(None, block.header());
        object.transactions =
            Some(RpcTransactions::of(&block.body().transactions, senders, &place));
        object.hash = None;
        object.miner = None;
        object.nonce = None;
        object.total_difficulty = Some(None);
        object
    }

    /// A block that is on no chain.
    pub(crate) fn rejected(block: &SealedBlock, senders: &[Address]) -> Self {
        let mut object = Self::block(block, U256::ZERO, Some(senders));
        object.total_difficulty = None;
        object
    }

    /// A header alone.
    pub(crate) fn header(header: &SealedHeader, td: U256) -> Self {
        let bits = header.difficulty.bit_len() + U256::from(header.number).bit_len();
        let size = HEADER_BYTES + header.extra_data.len() + bits / 8;
        let mut object = Self::new(header.header(), Some(header.hash()), size);
        object.total_difficulty = Some(Some(td));
        object
    }

    /// The header of a block that is being mined.
    pub(crate) fn pending_header(header: &Header) -> Self {
        let mut object = Self::header(&SealedHeader::new(header.clone(), B256::ZERO), U256::ZERO);
        object.hash = None;
        object.miner = None;
        object.nonce = None;
        object.total_difficulty = Some(None);
        object
    }

    /// An ommer: a block of which only the header is known.
    pub(crate) fn ommer(header: &Header) -> Self {
        let block = SealedBlock::seal_slow(primitives::Block {
            header: header.clone(),
            body: primitives::BlockBody::default(),
        });
        let mut object = Self::new(header, Some(block.hash()), block.rlp_length());
        object.uncles = Some(Vec::new());
        object
    }
}

/// A header as subscribers of `newHeads` get it: geth writes its own type there, not a block's
/// object.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RpcHead {
    parent_hash: B256,
    sha3_uncles: B256,
    miner: Address,
    state_root: B256,
    transactions_root: B256,
    receipts_root: B256,
    logs_bloom: Bloom,
    difficulty: U256,
    number: Quantity,
    gas_limit: Quantity,
    gas_used: Quantity,
    timestamp: Quantity,
    extra_data: Bytes,
    mix_hash: B256,
    nonce: B64,
    #[serde(skip_serializing_if = "Option::is_none")]
    base_fee_per_gas: Option<Quantity>,
    hash: B256,
}

impl RpcHead {
    /// The object for a header.
    pub(crate) fn new(header: &SealedHeader) -> Self {
        Self {
            parent_hash: header.parent_hash,
            sha3_uncles: header.ommers_hash,
            miner: header.beneficiary,
            state_root: header.state_root,
            transactions_root: header.transactions_root,
            receipts_root: header.receipts_root,
            logs_bloom: header.logs_bloom,
            difficulty: header.difficulty,
            number: Quantity(header.number),
            gas_limit: Quantity(header.gas_limit),
            gas_used: Quantity(header.gas_used),
            timestamp: Quantity(header.timestamp),
            extra_data: header.extra_data.clone(),
            mix_hash: header.mix_hash,
            nonce: header.nonce,
            base_fee_per_gas: header.base_fee_per_gas.map(Quantity),
            hash: header.hash(),
        }
    }
}

/// Where a transaction stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransactionPlace {
    /// `None` while the block is pending.
    pub(crate) block_hash: Option<B256>,
    pub(crate) block_number: u64,
    pub(crate) base_fee: Option<u64>,
    pub(crate) index: usize,
}

impl TransactionPlace {
    /// The first place in a block.
    pub(crate) fn new(block_hash: Option<B256>, header: &Header) -> Self {
        Self {
            block_hash,
            block_number: header.number,
            base_fee: header.base_fee_per_gas,
            index: 0,
        }
    }
}

/// A transaction.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RpcTransaction {
    block_hash: Option<B256>,
    block_number: Option<Quantity>,
    from: Address,
    gas: Quantity,
    gas_price: U256,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_fee_per_gas: Option<U256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_priority_fee_per_gas: Option<U256>,
    hash: B256,
    input: Bytes,
    nonce: Quantity,
    to: Option<Address>,
    transaction_index: Option<Quantity>,
    value: U256,
    r#type: Quantity,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_list: Option<AccessList>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_id: Option<Quantity>,
    v: U256,
    r: U256,
    s: U256,
}

impl RpcTransaction {
    /// A transaction that waits in the pool.
    pub(crate) fn pooled(tx: &Transaction, from: Address) -> Self {
        let signature = tx.signature();
        let is_dynamic = tx.is_dynamic_fee();
        Self {
            block_hash: None,
            block_number: None,
            from,
            gas: Quantity(tx.gas_limit()),
            gas_price: U256::from(tx.max_fee_per_gas()),
            max_fee_per_gas: is_dynamic.then(|| U256::from(tx.max_fee_per_gas())),
            max_priority_fee_per_gas: is_dynamic.then(|| U256::from(tx.priority_fee_or_price())),
            hash: *tx.tx_hash(),
            input: tx.input().clone(),
            nonce: Quantity(tx.nonce()),
            to: tx.to(),
            transaction_index: None,
            value: tx.value(),
            r#type: Quantity(u64::from(tx.ty())),
            access_list: tx.access_list().cloned(),
            chain_id: tx.chain_id().map(Quantity),
            v: signature_v(tx),
            r: signature.r(),
            s: signature.s(),
        }
    }

    /// A transaction in a block. One in a pending block has a number, but neither hash nor index
    /// that could be relied on; geth gives its index.
    pub(crate) fn mined(tx: &Transaction, from: Address, place: &TransactionPlace) -> Self {
        let mut object = Self::pooled(tx, from);
        object.block_hash = place.block_hash;
        object.block_number = Some(Quantity(place.block_number));
        object.transaction_index = Some(place.index.into());
        object.gas_price = U256::from(tx.effective_gas_price(place.base_fee));
        object
    }
}

/// Who signed a transaction of a block, whose signature has been checked by then.
pub(crate) fn sender(tx: &Transaction) -> Result<Address, RpcError> {
    tx.recover_signer_unchecked().map_err(RpcError::storage)
}

/// Who signed the transactions of a block that need not be in the database.
pub(crate) fn recovered(block: &SealedBlock) -> Result<Vec<Address>, RpcError> {
    block.body().transactions.iter().map(sender).collect()
}

/// 0 or 1 on typed transactions; 27 or 28 on legacy ones, or beyond 34 with a chain id (EIP-155).
pub(crate) fn signature_v(tx: &Transaction) -> U256 {
    let parity = U256::from(tx.signature().v());
    if tx.ty() != 0 {
        return parity;
    }
    match tx.chain_id() {
        Some(id) => U256::from(id) * U256::from(2) + U256::from(35) + parity,
        None => U256::from(27) + parity,
    }
}

/// A log, where it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RpcLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    block_number: Quantity,
    transaction_hash: B256,
    transaction_index: Quantity,
    block_hash: B256,
    log_index: Quantity,
    removed: bool,
}

/// Where a log was written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogPlace {
    pub(crate) block: BlockNumHash,
    pub(crate) transaction_hash: B256,
    pub(crate) transaction_index: usize,
    /// Counted through the whole block.
    pub(crate) log_index: usize,
    /// The block is no longer canonical.
    pub(crate) removed: bool,
}

impl RpcLog {
    /// Whose log it is.
    pub(crate) const fn address(&self) -> Address {
        self.address
    }

    /// What it is about.
    pub(crate) fn topics(&self) -> &[B256] {
        &self.topics
    }

    /// The object for a log.
    pub(crate) fn new(log: &Log, place: &LogPlace) -> Self {
        Self {
            address: log.address,
            topics: log.data.topics().to_vec(),
            data: log.data.data.clone(),
            block_number: Quantity(place.block.number),
            transaction_hash: place.transaction_hash,
            transaction_index: place.transaction_index.into(),
            block_hash: place.block.hash,
            log_index: place.log_index.into(),
            removed: place.removed,
        }
    }
}

/// A receipt.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RpcReceipt {
    block_hash: B256,
    block_number: Quantity,
    contract_address: Option<Address>,
    cumulative_gas_used: Quantity,
    effective_gas_price: U256,
    from: Address,
    gas_used: Quantity,
    logs: Vec<RpcLog>,
    logs_bloom: Bloom,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<B256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Quantity>,
    to: Option<Address>,
    transaction_hash: B256,
    transaction_index: Quantity,
    r#type: Quantity,
}

/// The receipts of a block, and what their objects need to know of it.
#[derive(Debug)]
pub(crate) struct BlockReceipts<'a> {
    pub(crate) header: &'a SealedHeader,
    pub(crate) receipts: &'a [Receipt],
    /// Omit `status` where there is a `root`.
    pub(crate) strict: bool,
}

impl BlockReceipts<'_> {
    /// The receipt of one transaction; `None` if there is none.
    pub(crate) fn get(&self, index: usize, tx: &Transaction, from: Address) -> Option<RpcReceipt> {
        let logs_before = self.receipts.iter().take(index).map(|receipt| receipt.logs.len()).sum();
        self.object(index, logs_before, (tx, from))
    }

    /// All receipts of the block, which has these transactions of these senders.
    pub(crate) fn all(&self, transactions: &[Transaction], senders: &[Address]) -> Vec<RpcReceipt> {
        let mut objects = Vec::with_capacity(self.receipts.len());
        let mut logs_before = 0;
        for (index, (tx, from)) in transactions.iter().zip(senders).enumerate() {
            objects.extend(self.object(index, logs_before, (tx, *from)));
            logs_before += self.receipts.get(index).map_or(0, |receipt| receipt.logs.len());
        }
        objects
    }

    fn object(
        &self,
        index: usize,
        logs_before: usize,
        (tx, from): (&Transaction, Address),
    ) -> Option<RpcReceipt> {
        let receipt = self.receipts.get(index)?;
        let gas_before =
            index.checked_sub(1).map_or(0, |last| self.receipts[last].cumulative_gas_used);
        let header = self.header.header();
        let block = self.header.num_hash();
        let place = |(offset, log)| {
            let log_index = logs_before + offset;
            let hash = *tx.tx_hash();
            let place = LogPlace {
                block,
                transaction_hash: hash,
                transaction_index: index,
                log_index,
                removed: false,
            };
            RpcLog::new(log, &place)
        };
        let has_status = !self.strict || receipt.post_state.is_none();
        Some(RpcReceipt {
            block_hash: block.hash,
            block_number: Quantity(block.number),
            contract_address: tx.is_create().then(|| from.create(tx.nonce())),
            cumulative_gas_used: Quantity(receipt.cumulative_gas_used),
            effective_gas_price: U256::from(tx.effective_gas_price(header.base_fee_per_gas)),
            from,
            gas_used: Quantity(receipt.cumulative_gas_used - gas_before),
            logs: receipt.logs.iter().enumerate().map(place).collect(),
            logs_bloom: receipt.bloom(),
            root: receipt.post_state,
            status: has_status.then_some(Quantity(u64::from(receipt.success))),
            to: tx.to(),
            transaction_hash: *tx.tx_hash(),
            transaction_index: index.into(),
            r#type: Quantity(u64::from(receipt.tx_type)),
        })
    }
}
