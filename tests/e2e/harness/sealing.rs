use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use ethash::{Dataset, Effort, Epoch, LightCache, Pow, Progress, Residence, Store, Target};
use primitives::{B256, SealedBlock, U256};
use serde_json::{Value, json};

use super::{
    dags,
    node::Node,
    random::say,
    rpc::{Fault, Rpc},
};

/// Nonces that are looked at before looking whether there is newer work.
const CHUNK_NONCES: u64 = 1 << 18;

/// How far apart the threads that seal a block search.
const NONCES_APART: u64 = 1 << 24;

/// How long a node may take to have work.
const WORK_TIME_MAX: Duration = Duration::from_secs(60);

/// The dataset of the first epoch, made once for all tests and nodes that seal.
pub(crate) static DATASET: LazyLock<Dataset> = LazyLock::new(|| {
    let cache = LightCache::generate(Epoch::new(0));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    let store = Store::new(dags(), Vec::new());
    let notice = &mut |notice| say(&format!("{notice}"));
    let obtained = store
        .obtain(&cache, Residence::Mapped, Effort::new(threads, &progress, &stop), notice)
        .expect("there is a disk and memory")
        .expect("nobody stops it");
    if let Some(unsaved) = obtained.unsaved {
        unsaved.save(&obtained.dataset, &stop).expect("the disk takes it");
    }
    obtained.dataset
});

/// Work as `eth_getWork` hands it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Work {
    /// What the seal commits to.
    pub(crate) seal_hash: B256,
    target: U256,
    /// The height of the block.
    pub(crate) number: u64,
}

impl Work {
    /// Asks a node for work, and waits until it has some for the block after its head.
    pub(crate) fn of(node: &mut Node) -> Self {
        let mut work = None;
        node.wait("work to seal", WORK_TIME_MAX, |node| {
            work = node.rpc.try_call("eth_getWork", &json!([])).ok().map(|work| Self::read(&work));
            let next = node.rpc.block_number() + 1;
            work.as_ref().is_some_and(|work| work.number == next)
        });
        work.expect("it was waited for")
    }

    fn read(answer: &Value) -> Self {
        let word = |index: usize| answer[index].as_str().expect("a string").to_owned();
        let seal_hash = word(0).parse().expect("a hash");
        let target: B256 = word(2).parse().expect("a target");
        Self { seal_hash, target: target.into(), number: super::rpc::number(&answer[3]) }
    }

    /// Searches on one thread until it finds a seal, or is told to stop.
    fn search(&self, stop: &AtomicBool) -> Option<(u64, Pow)> {
        let target = target(self.target);
        let mut start = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let (end, hashes) = (start + CHUNK_NONCES, AtomicU64::new(0));
            let found = DATASET.search(&self.seal_hash, &target, start..end, stop, &hashes);
            if found.is_some() {
                return found;
            }
            start = end;
        }
        None
    }

    /// Finds the seal of this work and hands it in; the node must take it.
    pub(crate) fn solve(&self, node: &mut Node) {
        let (nonce, pow) = self.search(&AtomicBool::new(false)).expect("nobody stops it");
        let taken = node.rpc.call("eth_submitWork", submission(nonce, self.seal_hash, pow));
        assert_eq!(taken, json!(true), "{}", node.history());
    }
}

/// Seals blocks, one after the other, with nonces that were found before.
pub(crate) struct Seals {
    on_file: Vec<&'static str>,
    found: Vec<String>,
}

impl Seals {
    /// With what is on file: nonces, hexadecimal, with spaces between.
    pub(crate) fn new(on_file: &'static str) -> Self {
        Self { on_file: on_file.split_whitespace().collect(), found: Vec::new() }
    }

    /// The block with a seal that holds. Without a nonce on file all threads search for one.
    pub(crate) fn seal(&mut self, block: &SealedBlock) -> SealedBlock {
        let mut block = block.clone_block();
        let hash = consensus::seal_hash(&block.header);
        let target = Target::from_difficulty(block.header.difficulty).expect("it is positive");
        let (stop, hashes) = (AtomicBool::new(false), AtomicU64::new(0));
        let search = |nonces| DATASET.search(&hash, &target, nonces, &stop, &hashes);
        let hint = self.on_file.get(self.found.len());
        let hint = hint.and_then(|hint| u64::from_str_radix(hint, 16).ok());
        let search_on = |first| {
            let found = search(first..u64::MAX);
            stop.store(true, Ordering::Relaxed);
            found
        };
        let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
        let (nonce, pow) = hint.and_then(|hint| search(hint..hint + 1)).unwrap_or_else(|| {
            thread::scope(|scope| {
                let searches: Vec<_> = (0..threads)
                    .map(|index| scope.spawn(move || search_on(index * NONCES_APART)))
                    .collect();
                let mut found = searches.into_iter().map(|search| search.join().expect("no panic"));
                found.find_map(|found| found).expect("one found it, and stopped the others")
            })
        });
        self.found.push(format!("{nonce:x}"));
        block.header.nonce = nonce.to_be_bytes().into();
        block.header.mix_hash = pow.mix_hash;
        SealedBlock::seal_slow(block)
    }

    /// # Panics
    ///
    /// If the nonces on file are not those of this chain, with those that are.
    pub(crate) fn finish(&self) {
        let found = &self.found;
        assert!(*found == self.on_file, "these nonces belong into the file: {}", found.join(" "));
    }
}

/// The target of a work package: 2^256 divided by the difficulty, so this finds the difficulty.
fn target(word: U256) -> Target {
    let difficulty = (U256::MAX / word).max(U256::from(1));
    let exact = Target::from_difficulty(difficulty).expect("a difficulty is positive");
    // Rounding may have lost one: a stricter target is always right.
    if exact.as_u256() <= word {
        return exact;
    }
    Target::from_difficulty(difficulty + U256::from(1)).expect("a difficulty is positive")
}

fn submission(nonce: u64, seal_hash: B256, pow: Pow) -> Value {
    json!([format!("0x{nonce:016x}"), seal_hash, pow.mix_hash])
}

/// Seals a node's work from outside, until dropped.
pub(crate) struct Sealer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sealer {
    /// Begins.
    pub(crate) fn start(rpc: &Rpc) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut rpc, stopped) = (rpc.again(), stop.clone());
        let thread = thread::spawn(move || {
            LazyLock::force(&DATASET);
            while !stopped.load(Ordering::Relaxed) {
                let work = match rpc.try_call("eth_getWork", &json!([])) {
                    Ok(answer) => Work::read(&answer),
                    Err(Fault::Refused(_)) => {
                        thread::yield_now();
                        continue;
                    }
                    Err(Fault::Broken(_)) => return,
                };
                let Some((nonce, pow)) = work.search(&stopped) else { return };
                let params = submission(nonce, work.seal_hash, pow);
                if rpc.try_call("eth_submitWork", &params).is_err() {
                    return;
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whatever went wrong shows in the node.
            let _ = thread.join();
        }
    }
}
