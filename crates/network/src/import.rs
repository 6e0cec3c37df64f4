//! Blocks of the sync on their way into the chain: while some are executed, the next are verified.

use std::sync::Arc;

use chain::{BatchError, ChainHandle, ImportError};
use consensus::{Engine, InvalidBlock, VerifiedBlock};
use primitives::{B256, ChainSpec};
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
    /// Hash of each block, and who vouches for it.
    blocks: Vec<(B256, SessionId)>,
    verdicts: JoinHandle<Verdicts>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Imported,
    Failed {
        hash: B256,
        /// Whose fault it is.
        peer: Option<SessionId>,
    },
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
        let names = blocks.iter().map(|fetched| (fetched.block.hash(), fetched.peer)).collect();
        let blocks = blocks.into_iter().map(|fetched| fetched.block).collect();
        let (engine, spec, threads) = (Arc::clone(engine), Arc::clone(spec), self.threads);
        let verdicts = spawn_blocking(move || engine.verify_many(&spec, blocks, threads));
        let sent = self.batches.try_send(Batch { blocks: names, verdicts });
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
    let Batch { blocks, verdicts } = batch;
    let failed = |place: usize, at_fault: bool| {
        let (hash, peer) = blocks.get(place).or(blocks.last()).copied().unzip();
        Outcome::Failed { hash: hash.unwrap_or_default(), peer: peer.filter(|_| at_fault) }
    };
    let Ok(verdicts) = verdicts.await else { return failed(0, true) };
    let (mut verified, mut invalid) = (Vec::with_capacity(verdicts.len()), None);
    for (place, verdict) in verdicts.into_iter().enumerate() {
        match verdict {
            Ok(block) => verified.push(block),
            Err(error) => {
                let (hash, _) = blocks[place];
                tracing::warn!(%hash, %error, "Peer sent an invalid block");
                invalid = Some(place);
                break;
            }
        }
    }
    match (chain.import_many(verified).await, invalid) {
        (Ok(_), None) => Outcome::Imported,
        (Ok(_), Some(place)) => failed(place, true),
        (Err(BatchError { imported, error }), _) => {
            let at_fault = error.is_senders_fault();
            if at_fault {
                tracing::warn!(%error, "Peer sent an invalid block");
            } else if !matches!(error, ImportError::Stopped) {
                tracing::debug!(%error, "Could not import blocks");
            }
            failed(imported, at_fault)
        }
    }
}
