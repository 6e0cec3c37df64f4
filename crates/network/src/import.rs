//! Blocks of the sync on their way into the chain: while some are executed, the next are verified.

use std::sync::Arc;

use chain::{BatchError, ChainHandle, ImportError, ManyImported};
use consensus::{Engine, InvalidBlock, VerifiedBlock};
use primitives::{B256, ChainSpec, SealedBlock};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use crate::{SessionId, sync::Fetched};

/// Imports that may wait; the sync has fewer.
const IMPORTS_MAX: usize = 4;

type Verdicts = Vec<Result<VerifiedBlock, InvalidBlock>>;

/// The way in.
#[derive(Debug)]
pub(crate) struct Importing {
    batches: mpsc::Sender<Batch>,
    threads: usize,
}

#[derive(Debug)]
struct Batch {
    names: Names,
    verdicts: JoinHandle<Verdicts>,
}

/// Hash of each block, and who vouches for it.
type Names = Vec<(B256, SessionId)>;

/// Blocks of the sync, up to the first that breaks a rule that needs no other block.
#[derive(Debug)]
pub struct Verified {
    names: Names,
    blocks: Vec<VerifiedBlock>,
    /// The place of the one that does.
    invalid: Option<usize>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is in the chain.
    Imported,
    /// Some of it is not.
    Failed {
        /// The first block that is not.
        hash: B256,
        /// Whose fault it is.
        peer: Option<SessionId>,
    },
}

impl Verified {
    /// Verifies blocks, on so many threads.
    #[must_use]
    pub fn new(blocks: Vec<Fetched>, engine: &Engine, spec: &ChainSpec, threads: usize) -> Self {
        let (names, blocks) = split(blocks);
        Self::of(names, engine.verify_many(spec, blocks, threads))
    }

    fn of(names: Names, verdicts: Verdicts) -> Self {
        let (mut blocks, mut invalid) = (Vec::with_capacity(verdicts.len()), None);
        for (place, verdict) in verdicts.into_iter().enumerate() {
            match verdict {
                Ok(block) => blocks.push(block),
                Err(error) => {
                    let (hash, _) = names[place];
                    tracing::warn!(%hash, %error, "Peer sent an invalid block");
                    invalid = Some(place);
                    break;
                }
            }
        }
        Self { names, blocks, invalid }
    }

    /// The blocks to import, once.
    pub fn take_blocks(&mut self) -> Vec<VerifiedBlock> {
        std::mem::take(&mut self.blocks)
    }

    /// What to say after their import.
    #[must_use]
    pub fn outcome(&self, result: &Result<ManyImported, BatchError>) -> Outcome {
        match (result, self.invalid) {
            (Ok(_), None) => Outcome::Imported,
            (Ok(_), Some(place)) => failed(&self.names, place, true),
            (Err(BatchError { imported, error }), _) => {
                let at_fault = error.is_senders_fault();
                if at_fault {
                    tracing::warn!(%error, "Peer sent an invalid block");
                } else if !matches!(error, ImportError::Stopped) {
                    tracing::debug!(%error, "Could not import blocks");
                }
                failed(&self.names, *imported, at_fault)
            }
        }
    }
}

impl Importing {
    /// The way in, and the task that imports. It ends when the way is dropped.
    pub(crate) fn new(
        chain: ChainHandle,
        outcomes: mpsc::Sender<Outcome>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (batches, queue) = mpsc::channel(IMPORTS_MAX);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (Self { batches, threads }, import(queue, chain, outcomes))
    }

    /// Begins to verify blocks, to be imported after those before.
    pub(crate) fn start(&self, blocks: Vec<Fetched>, engine: &Arc<Engine>, spec: &Arc<ChainSpec>) {
        let (names, blocks) = split(blocks);
        let (engine, spec, threads) = (Arc::clone(engine), Arc::clone(spec), self.threads);
        let verdicts = spawn_blocking(move || engine.verify_many(&spec, blocks, threads));
        let sent = self.batches.try_send(Batch { names, verdicts });
        assert!(sent.is_ok(), "the sync waits for imports before it begins more");
    }
}

async fn import(
    mut queue: mpsc::Receiver<Batch>,
    chain: ChainHandle,
    outcomes: mpsc::Sender<Outcome>,
) {
    while let Some(batch) = queue.recv().await {
        let outcome = import_batch(batch, &chain).await;
        if outcomes.send(outcome).await.is_err() {
            return;
        }
    }
}

async fn import_batch(batch: Batch, chain: &ChainHandle) -> Outcome {
    let Batch { names, verdicts } = batch;
    let Ok(verdicts) = verdicts.await else { return failed(&names, 0, true) };
    let mut verified = Verified::of(names, verdicts);
    let result = chain.import_many(verified.take_blocks()).await;
    verified.outcome(&result)
}

fn split(blocks: Vec<Fetched>) -> (Names, Vec<SealedBlock>) {
    blocks.into_iter().map(|it| ((it.block.hash(), it.peer), it.block)).unzip()
}

fn failed(names: &Names, place: usize, at_fault: bool) -> Outcome {
    let (hash, peer) = names.get(place).or(names.last()).copied().unzip();
    Outcome::Failed { hash: hash.unwrap_or_default(), peer: peer.filter(|_| at_fault) }
}
