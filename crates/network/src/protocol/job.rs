//! Work that takes time, and what came of it.

use std::sync::Arc;

use chain::{ChainView, ImportError, Imported};
use consensus::{Engine, VerifiedBlock, verify_header};
use primitives::{B256, BlockNumHash, SealedBlock, TotalDifficulty, Transaction};
use storage::StorageError;
use txpool::{Origin, Pool, PoolError};

use super::Held;
use crate::SessionId;

/// Work that takes time. It changes nothing but the pool.
#[derive(Debug)]
pub enum Job {
    /// Check everything about a block that needs no execution.
    Verify {
        /// The block.
        block: Arc<SealedBlock>,
        /// Where its parent is.
        view: Arc<ChainView>,
    },
    /// Offer transactions to the pool.
    Admit {
        /// Who sent them.
        peer: SessionId,
        /// The transactions.
        transactions: Vec<Transaction>,
    },
}

/// What came of a job, or of the import of a block.
#[derive(Debug)]
pub enum Done {
    /// A block's seal and everything that needs no execution is right.
    Verified(Box<VerifiedBlock>, Held),
    /// A block is in the chain.
    Imported(BlockNumHash),
    /// A block did not get into the chain.
    Rejected {
        /// The block.
        hash: B256,
        /// Whether it breaks the rules.
        is_invalid: bool,
    },
    /// What the pool said to a peer's transactions.
    Admitted {
        /// The peer.
        peer: SessionId,
        /// Those that the pool will never take.
        refused: Vec<B256>,
        /// Those that it has no room for now.
        crowded: Vec<B256>,
        /// How many had no valid signature.
        forged: usize,
    },
    /// The database failed.
    Failed(StorageError),
}

impl Job {
    /// Does the work, and blocks for as long as that takes.
    #[must_use]
    pub fn run(self, engine: &Engine, pool: &Pool) -> Done {
        let done = match self {
            Self::Verify { block, view } => verify(block, &view, engine),
            Self::Admit { peer, transactions } => Ok(admit(peer, transactions, pool)),
        };
        done.unwrap_or_else(Done::Failed)
    }
}

impl Done {
    /// What became of a block of [`Action::Import`](super::Action::Import).
    #[must_use]
    pub fn of_import(block: BlockNumHash, result: &Result<Imported, ImportError>) -> Self {
        match result {
            Ok(_) => Self::Imported(block),
            Err(error) => Self::Rejected { hash: block.hash, is_invalid: error.is_senders_fault() },
        }
    }
}

/// Cheapest first: the header against its parent, so that a stranger does not choose his own
/// difficulty, then everything that needs no execution.
fn verify(
    block: Arc<SealedBlock>,
    view: &ChainView,
    engine: &Engine,
) -> Result<Done, StorageError> {
    let hash = block.hash();
    let rejected = |is_invalid| Ok(Done::Rejected { hash, is_invalid });
    let Some(parent) = view.db.header(block.header().parent_hash)? else { return rejected(false) };
    let Some(td) = view.db.td(parent.hash())? else { return rejected(false) };
    let td = TotalDifficulty::new(td.get().saturating_add(block.header().difficulty));
    let verified = verify_header(&view.spec, block.header(), parent.header())
        .and_then(|()| engine.verify(&view.spec, (*block).clone()));
    match verified {
        Ok(verified) => Ok(Done::Verified(Box::new(verified), Held { block, td })),
        Err(error) => {
            tracing::warn!(%hash, %error, "Peer sent an invalid block");
            rejected(true)
        }
    }
}

fn admit(peer: SessionId, transactions: Vec<Transaction>, pool: &Pool) -> Done {
    let hashes: Vec<B256> = transactions.iter().map(|tx| *tx.tx_hash()).collect();
    let answers = pool.add_many(Origin::Remote, transactions);
    let (mut refused, mut crowded, mut forged) = (Vec::new(), Vec::new(), 0);
    for (hash, answer) in hashes.into_iter().zip(answers) {
        let Err(error) = answer else { continue };
        forged += usize::from(matches!(error, PoolError::InvalidSender));
        match error {
            PoolError::OversizedData
            | PoolError::TipAboveFeeCap
            | PoolError::InvalidSender
            | PoolError::Unprotected
            | PoolError::Underpriced
            | PoolError::ReplacementUnderpriced
            | PoolError::NonceTooLow
            | PoolError::NonceMax
            | PoolError::IntrinsicGas => refused.push(hash),
            PoolError::AccountLimit | PoolError::Full | PoolError::Busy => crowded.push(hash),
            // The next block may change it, or it is this node's own fault.
            PoolError::AlreadyKnown
            | PoolError::TypeNotSupported { .. }
            | PoolError::ExceedsBlockGasLimit
            | PoolError::InsufficientFunds
            | PoolError::Journal(_)
            | PoolError::Read(_) => {}
        }
    }
    Done::Admitted { peer, refused, crowded, forged }
}
