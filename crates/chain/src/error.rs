use consensus::InvalidBlock;
use evm::ExecutionError;
use primitives::B256;
use state::ReadError;
use storage::StorageError;

/// Why a block was not imported. The variant says whose fault it is.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It breaks a rule: the sender is at fault.
    #[error("invalid block {hash}")]
    Invalid {
        /// The block.
        hash: B256,
        /// The rule.
        #[source]
        source: Box<InvalidBlock>,
    },
    /// A transaction in it cannot be executed: the sender is at fault.
    #[error("invalid block {hash}: transaction {index} cannot be executed")]
    Transaction {
        /// The block.
        hash: B256,
        /// The transaction's place in the block.
        index: usize,
        /// Why not.
        #[source]
        source: Box<ExecutionError>,
    },
    /// A block below it was found invalid before: the sender is at fault.
    #[error("block {hash} descends from invalid block {ancestor}")]
    BadAncestor {
        /// The block.
        hash: B256,
        /// The invalid one.
        ancestor: B256,
    },
    /// Its parent is not here yet: nobody is at fault, ask for the parent.
    #[error("parent {parent} of block {hash} is unknown")]
    Orphan {
        /// The block.
        hash: B256,
        /// The missing one.
        parent: B256,
    },
    /// Its time has not come: nobody is at fault, try again then.
    #[error("block {hash} is {seconds} s too early")]
    Early {
        /// The block.
        hash: B256,
        /// How long to wait.
        seconds: u64,
    },
    /// It forks off so far back, or so many such blocks wait already, that it is not kept.
    #[error("side block {hash} forks too far behind the head")]
    TooDeep {
        /// The block.
        hash: B256,
    },
    /// The database failed: we are at fault, and the node must stop.
    #[error("storage failed while importing {hash}")]
    Storage {
        /// The block.
        hash: B256,
        /// What failed.
        #[source]
        source: StorageError,
    },
    /// The node is shutting down.
    #[error("the chain has stopped")]
    Stopped,
}

impl ImportError {
    /// Whether whoever sent the block is to blame.
    #[must_use]
    pub const fn is_senders_fault(&self) -> bool {
        match self {
            Self::Invalid { .. } | Self::Transaction { .. } | Self::BadAncestor { .. } => true,
            Self::Orphan { .. }
            | Self::Early { .. }
            | Self::TooDeep { .. }
            | Self::Storage { .. }
            | Self::Stopped => false,
        }
    }

    pub(crate) fn storage(hash: B256, source: impl Into<StorageError>) -> Self {
        Self::Storage { hash, source: source.into() }
    }

    pub(crate) fn invalid(hash: B256, source: InvalidBlock) -> Self {
        Self::Invalid { hash, source: Box::new(source) }
    }
}

/// Why a chain could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database could not be opened or initialised.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The database holds another chain.
    #[error(
        "database contains incompatible genesis (have {have}, new {new}); \
         another chain needs another --datadir"
    )]
    WrongGenesis {
        /// The genesis hash in the database.
        have: B256,
        /// The genesis hash that was asked for.
        new: B256,
    },
    /// The database is empty and no genesis was named.
    #[error("the data directory holds no chain yet and no genesis was named")]
    NoGenesis,
    /// The chain configuration in the database cannot be read.
    #[error("the chain configuration in the database cannot be read")]
    Config(#[source] primitives::GenesisError),
    /// The new configuration changes rules below the head.
    #[error("{0}")]
    Incompatible(String),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] ReadError),
}
