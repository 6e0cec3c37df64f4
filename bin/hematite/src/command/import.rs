//! `import FILE…`: blocks from files into the chain, seals verified on one side while the other
//! executes.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use chain::{ChainView, ImportError, Importer, Origin};
use consensus::{Engine, InvalidBlock, VerifiedBlock};
use eyre::{Result, WrapErr, eyre};
use primitives::{B256, SealedBlock};

use crate::{
    blocks::BlockFile,
    progress::{Progress, Rate},
};

/// How many blocks are verified at once: enough that seals are checked side by side.
const BATCH_BLOCKS: usize = 256;
/// How many bytes of blocks make a batch at most.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// How many verified batches may wait for execution.
const BATCHES_AHEAD_MAX: usize = 2;
/// How many blocks may be lost to a power cut while importing.
const SYNC_BLOCKS: usize = 4_096;

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Blocks added.
    pub imported: u64,
    /// Blocks that were here before.
    pub known: u64,
    /// Transactions in the added blocks.
    pub transactions: u64,
    /// Gas used by the added blocks.
    pub gas: u64,
    /// Whether it was told to stop before the end.
    pub interrupted: bool,
}

/// A batch on its way from the verifier to the importer.
struct Batch {
    blocks: Vec<VerifiedBlock>,
    known: u64,
    /// Why the block after the last of this batch cannot be imported.
    failure: Option<eyre::Report>,
}

/// Imports files in order. Blocks already here are skipped; at a bad block the good prefix stays.
///
/// # Errors
///
/// The file and the block that failed, and why.
pub fn import(
    importer: &mut Importer,
    engine: &Arc<Engine>,
    files: &[PathBuf],
    stop: &AtomicBool,
) -> Result<Summary> {
    let read = Arc::new(AtomicU64::new(0));
    let total = files.iter().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum();
    let mut progress = Progress::new("Importing", total);
    let (sender, receiver) = sync_channel(BATCHES_AHEAD_MAX);
    let view = importer.view();
    let result = thread::scope(|scope| {
        let reader = Reader { engine, view, stop, read: read.clone(), sender };
        scope.spawn(move || reader.run(files));
        execute(importer, receiver, &mut progress, &read)
    });
    progress.finish();
    let synced = importer.sync().wrap_err("cannot sync the database");
    let (mut summary, failure) = result;
    summary.interrupted = stop.load(Ordering::Relaxed);
    match failure {
        // The first failure is the cause of others.
        Some(error) => Err(error),
        None => synced.map(|()| summary),
    }
}

/// Takes verified batches until there are no more or one fails. The channel closes with it, so that
/// the reader does not wait for somebody to take the next batch.
fn execute(
    importer: &mut Importer,
    batches: Receiver<Batch>,
    progress: &mut Progress,
    read: &AtomicU64,
) -> (Summary, Option<eyre::Report>) {
    let mut summary = Summary::default();
    let mut rate = Rate::new();
    let mut unsynced = 0;
    for batch in batches {
        summary.known += batch.known;
        let count = batch.blocks.len();
        let (transactions, gas) = weigh(&batch.blocks);
        let numbers: Vec<(u64, B256)> =
            batch.blocks.iter().map(|b| (b.block().header().number, b.block().hash())).collect();
        match importer.import_many(batch.blocks, Origin::Operator, unix_now()) {
            Ok(many) => {
                summary.imported += many.new as u64;
                summary.known += many.known as u64;
                summary.transactions += transactions;
                summary.gas += gas;
            }
            Err(error) => {
                let (number, hash) = numbers[error.imported.min(count - 1)];
                summary.imported += error.imported as u64;
                let report = eyre::Report::new(error.error)
                    .wrap_err(format!("cannot import block {number} ({hash})"));
                return (summary, Some(report));
            }
        }
        // Nobody listens yet.
        importer.take_events();
        unsynced += count;
        if unsynced >= SYNC_BLOCKS {
            unsynced = 0;
            if let Err(error) = importer.sync() {
                return (summary, Some(eyre::Report::new(error)));
            }
        }
        rate.add(count as u64, transactions, gas);
        progress.report(read.load(Ordering::Relaxed), importer.view().head.number, &rate);
        if batch.failure.is_some() {
            return (summary, batch.failure);
        }
    }
    (summary, None)
}

fn weigh(blocks: &[VerifiedBlock]) -> (u64, u64) {
    blocks.iter().fold((0, 0), |(transactions, gas), block| {
        let body = block.block().body();
        (transactions + body.transactions.len() as u64, gas + block.block().header().gas_used)
    })
}

/// Reads, decodes and verifies, ahead of the importer.
struct Reader<'a> {
    engine: &'a Arc<Engine>,
    view: Arc<ChainView>,
    stop: &'a AtomicBool,
    read: Arc<AtomicU64>,
    sender: SyncSender<Batch>,
}

impl Reader<'_> {
    fn run(self, files: &[PathBuf]) {
        for file in files {
            if !self.run_file(file) {
                return;
            }
        }
    }

    /// Whether to go on with the next file.
    fn run_file(&self, path: &Path) -> bool {
        let mut file = match BlockFile::open(path, self.read.clone()) {
            Ok(file) => file,
            Err(error) => return self.fail(Vec::new(), 0, eyre::Report::new(error)),
        };
        loop {
            let (mut blocks, mut bytes, mut known) = (Vec::new(), 0, 0);
            let mut end = None;
            while blocks.len() < BATCH_BLOCKS && bytes < BATCH_BYTES_MAX && end.is_none() {
                match file.next_block() {
                    Ok(Some(block)) if self.is_known(&block) => known += 1,
                    Ok(Some(block)) => {
                        bytes += block.rlp_length();
                        blocks.push(block);
                    }
                    Ok(None) => end = Some(None),
                    Err(error) => end = Some(Some(eyre::Report::new(error))),
                }
                if self.stop.load(Ordering::Relaxed) {
                    return false;
                }
            }
            let sent = self.verify_and_send(path, blocks, known, end.take_if(|end| end.is_some()));
            match (sent, end) {
                (false, _) => return false,
                (true, Some(_)) => return true,
                (true, None) => {}
            }
        }
    }

    fn is_known(&self, block: &SealedBlock) -> bool {
        // What fails to be read here fails again, and loudly, at import.
        block.header().number == 0 && block.hash() == self.view.spec.genesis_block().hash()
            || matches!(self.view.db.number_of(block.hash()), Ok(Some(_)))
    }

    /// Whether to go on.
    fn verify_and_send(
        &self,
        path: &Path,
        blocks: Vec<SealedBlock>,
        known: u64,
        failure: Option<Option<eyre::Report>>,
    ) -> bool {
        let ids: Vec<(u64, B256)> = blocks.iter().map(|b| (b.header().number, b.hash())).collect();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let mut verified = Vec::with_capacity(blocks.len());
        for (result, (number, hash)) in
            self.engine.verify_many(&self.view.spec, blocks, threads).into_iter().zip(ids)
        {
            match result {
                Ok(block) => verified.push(block),
                Err(error) => {
                    return self.fail(verified, known, bad_block(path, number, hash, error));
                }
            }
        }
        match failure.flatten() {
            Some(error) => self.fail(verified, known, error),
            None => self.sender.send(Batch { blocks: verified, known, failure: None }).is_ok(),
        }
    }

    fn fail(&self, blocks: Vec<VerifiedBlock>, known: u64, error: eyre::Report) -> bool {
        // A closed channel means that the importer failed first.
        let _ = self.sender.send(Batch { blocks, known, failure: Some(error) });
        false
    }
}

fn bad_block(path: &Path, number: u64, hash: B256, error: InvalidBlock) -> eyre::Report {
    let error = ImportError::Invalid { hash, source: Box::new(error) };
    eyre!(error).wrap_err(format!("{}: cannot import block {number}", path.display()))
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_secs()
}

/// The line that ends an import.
pub fn log_summary(summary: &Summary, importer: &Importer, started: Instant) {
    let view = importer.view();
    let elapsed = started.elapsed();
    let seconds = elapsed.as_secs_f64().max(f64::EPSILON);
    tracing::info!(
        blocks = summary.imported,
        known = summary.known,
        txs = summary.transactions,
        number = view.head.number,
        hash = %view.head.hash(),
        ?elapsed,
        bps = format!("{:.0}", summary.imported as f64 / seconds),
        "Import done"
    );
}
