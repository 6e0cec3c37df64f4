use ethash::SealError;
use primitives::{B256, Bloom, U256};

/// The rule that a block breaks. The texts are geth's where geth has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlock {
    /// The header has a field that came after proof of work.
    #[error("header has {field}, which no rule of proof of work knows")]
    PostMergeField {
        /// The field's name in JSON.
        field: &'static str,
    },
    /// The body has a list of withdrawals.
    #[error("block has withdrawals, which no rule of proof of work knows")]
    Withdrawals,
    /// More than 32 bytes of extra data.
    #[error("extra-data too long: {length} > 32")]
    ExtraDataTooLong {
        /// In bytes.
        length: usize,
    },
    /// Not later than the parent.
    #[error("timestamp older than parent")]
    OlderThanParent,
    /// Another difficulty than the parent and the time call for.
    #[error("invalid difficulty: have {have}, want {want}")]
    Difficulty {
        /// In the header.
        have: U256,
        /// By the rules.
        want: U256,
    },
    /// A gas limit of 2^63 or more.
    #[error("invalid gasLimit: have {have}, max 9223372036854775807")]
    GasLimitTooHigh {
        /// In the header.
        have: u64,
    },
    /// More gas used than allowed.
    #[error("invalid gasUsed: have {used}, gasLimit {limit}")]
    GasUsedAboveLimit {
        /// In the header.
        used: u64,
        /// In the header.
        limit: u64,
    },
    /// A gas limit too far from the parent's, or below 5000.
    #[error("invalid gas limit: have {have}, want {parent} += {bound}")]
    GasLimit {
        /// In the header.
        have: u64,
        /// The parent's; twice that in the first block of London.
        parent: u64,
        /// The difference must be below this.
        bound: u64,
    },
    /// A base fee before London.
    #[error("invalid baseFee before fork: have {have}, expected 'nil'")]
    BaseFeeBeforeLondon {
        /// In wei.
        have: u64,
    },
    /// No base fee after London.
    #[error("header is missing baseFee")]
    BaseFeeMissing,
    /// Another base fee than the parent calls for.
    #[error(
        "invalid baseFee: have {have}, want {want}, parentBaseFee {}, parentGasUsed {parent_gas_used}",
        .parent_base_fee.map_or_else(|| "<nil>".to_owned(), |fee| fee.to_string())
    )]
    BaseFee {
        /// In wei.
        have: u64,
        /// In wei.
        want: u64,
        /// In wei; none before London.
        parent_base_fee: Option<u64>,
        /// The parent's gas used.
        parent_gas_used: u64,
    },
    /// Not one more than the parent's number.
    #[error("invalid block number")]
    Number,
    /// A difficulty of 0 cannot be sealed.
    #[error("non-positive difficulty")]
    NonPositiveDifficulty,
    /// So high a number that no machine could check the seal.
    #[error("block number {number} is beyond every epoch of ethash that can be checked")]
    EpochTooHigh {
        /// In the header.
        number: u64,
    },
    /// The seal does not hold.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// One of ten blocks from the DAO fork on without its mark, on a chain that supports the fork.
    #[error("bad DAO pro-fork extra-data")]
    DaoProForkExtraData,
    /// One of ten blocks from the DAO fork on with its mark, on a chain that opposes the fork.
    #[error("bad DAO no-fork extra-data")]
    DaoNoForkExtraData,
    /// The first block of Tangerine Whistle is another one than the chain's configuration says.
    #[error("homestead gas reprice fork: have {have}, want {want}")]
    Eip150Hash {
        /// The block's hash.
        have: B256,
        /// The configured hash.
        want: B256,
    },
    /// More than two ommers.
    #[error("too many uncles")]
    TooManyOmmers,
    /// An ommer that this block or one of its ancestors already includes.
    #[error("duplicate uncle")]
    DuplicateOmmer,
    /// An ommer that is an ancestor.
    #[error("uncle is ancestor")]
    OmmerIsAncestor,
    /// An ommer whose parent is not two to seven generations back.
    #[error("uncle's parent is not ancestor")]
    OmmerParent,
    /// An ommer whose own header is wrong.
    #[error("invalid uncle: {0}")]
    Ommer(Box<Self>),
    /// The ommers are not those that the header commits to.
    #[error("uncle root hash mismatch: have {have:x}, want {want:x}")]
    OmmersHash {
        /// Of the body.
        have: B256,
        /// In the header.
        want: B256,
    },
    /// The transactions are not those that the header commits to.
    #[error("transaction root hash mismatch: have {have:x}, want {want:x}")]
    TransactionsRoot {
        /// Of the body.
        have: B256,
        /// In the header.
        want: B256,
    },
    /// A transaction whose type or signature is wrong.
    #[error("could not apply tx {index} [{hash}]: {problem}")]
    Transaction {
        /// Its place in the block, from 0.
        index: usize,
        /// Its hash.
        hash: B256,
        /// What is wrong with it.
        problem: InvalidSender,
    },
    /// Execution used another amount of gas.
    #[error("invalid gas used (remote: {header} local: {computed})")]
    GasUsed {
        /// In the header.
        header: u64,
        /// By execution.
        computed: u64,
    },
    /// Execution logged something else.
    #[error("invalid bloom (remote: {:x}  local: {:x})", **.header, **.computed)]
    LogsBloom {
        /// In the header.
        header: Box<Bloom>,
        /// By execution.
        computed: Box<Bloom>,
    },
    /// Execution made other receipts.
    #[error("invalid receipt root hash (remote: {header:x} local: {computed:x})")]
    ReceiptsRoot {
        /// In the header.
        header: B256,
        /// By execution.
        computed: B256,
    },
    /// Execution led to another state.
    #[error("invalid merkle root (remote: {header:x} local: {computed:x})")]
    StateRoot {
        /// In the header.
        header: B256,
        /// By execution.
        computed: B256,
    },
}

/// Why a transaction has no sender in a block of this number. The texts are geth's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSender {
    /// No rule in force knows this type of transaction.
    #[error("transaction type not supported")]
    TypeNotSupported,
    /// Signed for another chain.
    #[error("invalid chain id for signer")]
    ChainId,
    /// No key can have made the signature, it is not in its low form, or it is protected too early.
    #[error("invalid transaction v, r, s values")]
    Signature,
}
