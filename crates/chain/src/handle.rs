use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::SystemTime,
};

use consensus::VerifiedBlock;
use primitives::{BlockNumHash, RecoveredBlock};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{
    ChainView, ImportError, Imported, Importer, Origin,
    importer::{BatchError, ManyImported},
    rejected::Rejected,
};

/// How many commands may wait for the chain.
const IMPORT_QUEUE_MAX: usize = 64;
/// How many events a slow listener may lag behind before it has to read the newest view instead.
const EVENT_BACKLOG_MAX: usize = 256;

/// What changed, in the order it changed.
#[derive(Debug, Clone)]
pub struct ChainEvent {
    /// The chain after the change.
    pub view: Arc<ChainView>,
    /// Blocks that stopped being canonical, highest first.
    pub retired: Vec<BlockNumHash>,
    /// Blocks that became canonical, lowest first.
    pub adopted: Vec<BlockNumHash>,
    /// A block that was stored beside the canonical chain, if that is all that happened.
    pub side: Option<BlockNumHash>,
}

enum Command {
    Import(Box<VerifiedBlock>, Origin, oneshot::Sender<Result<Imported, ImportError>>),
    ImportMany(Vec<VerifiedBlock>, oneshot::Sender<Result<ManyImported, BatchError>>),
    SetHead(u64, oneshot::Sender<Result<(), ImportError>>),
}

/// What the chain's thread is doing, for whoever watches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// Whether the thread takes commands.
    pub is_running: bool,
    /// Whether it is working on one.
    pub is_busy: bool,
    /// Grows with each block that it looks at: a busy thread whose steps stand still is stuck.
    pub steps: u64,
}

/// What a thread that works leaves behind for whoever watches.
#[derive(Debug, Clone, Default)]
struct Traces {
    busy: Arc<AtomicBool>,
    steps: Arc<AtomicU64>,
    rejected: Rejected,
}

/// The chain, as everybody sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ChainHandle {
    commands: mpsc::Sender<Command>,
    view: watch::Receiver<Arc<ChainView>>,
    events: broadcast::Sender<Arc<ChainEvent>>,
    traces: Traces,
}

/// The chain's thread, to be joined at the end.
#[derive(Debug)]
pub struct ChainThread(thread::JoinHandle<Result<(), ImportError>>);

impl ChainThread {
    /// Waits until the last handle is gone, the queue is empty and the database is closed.
    ///
    /// # Errors
    ///
    /// The storage failure that ended the thread.
    ///
    /// # Panics
    ///
    /// When the thread did: a broken invariant.
    pub fn join(self) -> Result<(), ImportError> {
        match self.0.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Whether the thread has ended, by failure or because nobody holds a handle.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl ChainHandle {
    /// Imports one block. When it returns, [`Self::view`] is at least that new.
    ///
    /// # Errors
    ///
    /// See [`ImportError`].
    pub async fn import(
        &self,
        block: VerifiedBlock,
        origin: Origin,
    ) -> Result<Imported, ImportError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Import(Box::new(block), origin, reply))
            .await
            .map_err(|_| ImportError::Stopped)?;
        answer.await.map_err(|_| ImportError::Stopped)?
    }

    /// Imports blocks that follow one another, parents first, in few commits.
    ///
    /// # Errors
    ///
    /// The first block that failed and how many before it were imported.
    pub async fn import_many(
        &self,
        blocks: Vec<VerifiedBlock>,
    ) -> Result<ManyImported, BatchError> {
        let (reply, answer) = oneshot::channel();
        let stopped = |_| BatchError { imported: 0, error: ImportError::Stopped };
        self.commands
            .send(Command::ImportMany(blocks, reply))
            .await
            .map_err(|_| BatchError { imported: 0, error: ImportError::Stopped })?;
        answer.await.map_err(stopped)?
    }

    /// Makes an older canonical block the head: see [`Importer::set_head`].
    ///
    /// # Errors
    ///
    /// See [`ImportError`].
    pub async fn set_head(&self, number: u64) -> Result<(), ImportError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(Command::SetHead(number, reply)).await;
        sent.map_err(|_| ImportError::Stopped)?;
        answer.await.map_err(|_| ImportError::Stopped)?
    }

    /// The newest view. Never blocks.
    #[must_use]
    pub fn view(&self) -> Arc<ChainView> {
        self.view.borrow().clone()
    }

    /// What the chain's thread is doing. Never blocks.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse {
            is_running: !self.commands.is_closed(),
            is_busy: self.traces.busy.load(Ordering::Relaxed),
            steps: self.traces.steps.load(Ordering::Relaxed),
        }
    }

    /// The newest blocks that broke a rule although their seal holds, the highest first; none from
    /// before the start.
    #[must_use]
    pub fn rejected(&self) -> Vec<Arc<RecoveredBlock>> {
        self.traces.rejected.blocks()
    }

    /// What changes from now on. Whoever lags too far re-reads the view.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Arc<ChainEvent>> {
        self.events.subscribe()
    }
}

/// Gives the importer its thread. It ends when the last handle is gone and the queue is empty.
///
/// # Errors
///
/// When the system refuses a thread.
pub fn spawn(importer: Importer) -> io::Result<(ChainHandle, ChainThread)> {
    let traces =
        Traces { busy: Arc::default(), steps: importer.steps(), rejected: importer.rejected() };
    let (handle, queue, publisher) = ends(importer.view(), traces.clone());
    let thread = thread::Builder::new()
        .name("chain".into())
        .spawn(move || run(importer, queue, &publisher, &traces.busy))?;
    Ok((handle, ChainThread(thread)))
}

/// A handle, and the ends of what it holds.
fn ends(view: Arc<ChainView>, traces: Traces) -> (ChainHandle, mpsc::Receiver<Command>, Publisher) {
    let (commands, queue) = mpsc::channel(IMPORT_QUEUE_MAX);
    let (publish, view) = watch::channel(view);
    let (events, _) = broadcast::channel(EVENT_BACKLOG_MAX);
    let publisher = Publisher { view: publish, events: events.clone() };
    (ChainHandle { commands, view, events, traces }, queue, publisher)
}

/// A handle that shows what its owner publishes. What it is told to import is refused: there is no
/// thread.
#[cfg(feature = "testing")]
pub(crate) fn threadless(view: Arc<ChainView>) -> (ChainHandle, Publisher) {
    let (handle, _, publisher) = ends(view, Traces::default());
    (handle, publisher)
}

#[derive(Debug)]
pub(crate) struct Publisher {
    view: watch::Sender<Arc<ChainView>>,
    events: broadcast::Sender<Arc<ChainEvent>>,
}

impl Publisher {
    /// View first, so that whoever hears of an event finds at least its view.
    pub(crate) fn publish(&self, events: Vec<ChainEvent>) {
        for event in events {
            self.view.send_replace(event.view.clone());
            // No listener is a normal state of affairs.
            let _ = self.events.send(Arc::new(event));
        }
    }
}

fn run(
    mut importer: Importer,
    mut queue: mpsc::Receiver<Command>,
    publisher: &Publisher,
    busy: &AtomicBool,
) -> Result<(), ImportError> {
    while let Some(command) = queue.blocking_recv() {
        busy.store(true, Ordering::Relaxed);
        let now = now();
        let failure = match command {
            Command::Import(block, origin, reply) => {
                let result = importer.import(*block, origin, now);
                publisher.publish(importer.take_events());
                let failure = fatal(result.as_ref().err());
                let _ = reply.send(result);
                failure
            }
            Command::ImportMany(blocks, reply) => {
                let result = importer.import_many(blocks, Origin::Other, now);
                publisher.publish(importer.take_events());
                let failure = fatal(result.as_ref().err().map(|batch| &batch.error));
                let _ = reply.send(result);
                failure
            }
            Command::SetHead(number, reply) => {
                let result = importer.set_head(number);
                publisher.publish(importer.take_events());
                let failure = fatal(result.as_ref().err());
                let _ = reply.send(result);
                failure
            }
        };
        busy.store(false, Ordering::Relaxed);
        if let Some(error) = failure {
            return Err(error);
        }
    }
    importer.close().map_err(|source| ImportError::storage(Default::default(), source))
}

/// A storage failure ends the thread; its cause is logged here and told to whoever joins.
fn fatal(error: Option<&ImportError>) -> Option<ImportError> {
    let Some(ImportError::Storage { hash, source }) = error else { return None };
    tracing::error!(%hash, error = %source, "Storage failed, stopping");
    Some(ImportError::Storage { hash: *hash, source: source.clone() })
}

/// Seconds since 1970; a clock before that is 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
