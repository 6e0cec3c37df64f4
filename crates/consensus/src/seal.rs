use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_rlp::Encodable;
use ethash::{Epoch, LightCache, Seal, Target};
use primitives::{B256, Header, keccak256};

use crate::InvalidBlock;

/// How many light caches are kept unless something else is said: those of the current epoch and
/// its neighbours.
pub const CACHES_MAX: usize = 3;

/// The highest epoch whose seals are checked. Its cache takes 1 GiB; a number beyond it is no
/// honest chain's, and must not make us allocate.
pub const EPOCH_MAX: u64 = 8_192;

/// Where light caches come from.
pub type CacheSource = dyn Fn(Epoch) -> LightCache + Send + Sync;

/// Checks ethash seals. Owns the light caches that this needs.
#[derive(Debug)]
pub struct EthashSeal {
    caches: Caches,
}

enum Caches {
    Sourced {
        source: Box<CacheSource>,
        max: usize,
        /// The most recently used last. Held for memory work only.
        kept: Mutex<Vec<Arc<LightCache>>>,
        /// Held by whoever generates.
        generation: Mutex<()>,
    },
    #[cfg(any(test, feature = "testing"))]
    Tiny(Arc<LightCache>),
}

impl std::fmt::Debug for Caches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sourced { max, kept, .. } => f
                .debug_struct("Sourced")
                .field("max", max)
                .field("kept", kept)
                .finish_non_exhaustive(),
            #[cfg(any(test, feature = "testing"))]
            Self::Tiny(cache) => f.debug_tuple("Tiny").field(cache).finish(),
        }
    }
}

impl EthashSeal {
    /// No cache yet; the first seal of an epoch waits until one is made.
    #[must_use]
    pub fn new() -> Self {
        Self::with_source(CACHES_MAX, Box::new(LightCache::generate))
    }

    /// No cache yet; the first seal of an epoch waits for one from this source. At least one and
    /// at most `max` are kept.
    #[must_use]
    pub fn with_source(max: usize, source: Box<CacheSource>) -> Self {
        let (kept, generation) = (Mutex::default(), Mutex::default());
        Self { caches: Caches::Sourced { source, max: max.max(1), kept, generation } }
    }

    /// A cache of 1 KiB for all epochs, so that tests can seal.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn tiny() -> Self {
        Self { caches: Caches::Tiny(Arc::new(LightCache::tiny())) }
    }

    /// The light cache of an epoch, from the source if it is not here (a second or so, longer in
    /// later epochs). One is made at a time; meanwhile the others can be used.
    #[must_use]
    pub fn cache(&self, epoch: Epoch) -> Arc<LightCache> {
        let (source, max, kept, generation) = match &self.caches {
            Caches::Sourced { source, max, kept, generation } => (source, *max, kept, generation),
            #[cfg(any(test, feature = "testing"))]
            Caches::Tiny(cache) => return Arc::clone(cache),
        };
        if let Some(cache) = used(&mut locked(kept), epoch) {
            return cache;
        }
        let _generating = locked(generation);
        if let Some(cache) = used(&mut locked(kept), epoch) {
            return cache;
        }
        let cache = Arc::new(source(epoch));
        let mut kept = locked(kept);
        if kept.len() >= max {
            kept.remove(0);
        }
        kept.push(Arc::clone(&cache));
        cache
    }

    /// Whether [`Self::cache`] would answer at once.
    #[must_use]
    pub fn is_cached(&self, epoch: Epoch) -> bool {
        match &self.caches {
            Caches::Sourced { kept, .. } => locked(kept).iter().any(|cache| cache.epoch() == epoch),
            #[cfg(any(test, feature = "testing"))]
            Caches::Tiny(_) => true,
        }
    }

    /// Checks the seals of these headers, interleaved where they share an epoch.
    pub(crate) fn verify_many(&self, headers: &[&Header]) -> Vec<Result<(), InvalidBlock>> {
        let mut verdicts = vec![Ok(()); headers.len()];
        let mut seals = Vec::with_capacity(headers.len());
        for (index, header) in headers.iter().enumerate() {
            match checkable(header) {
                Ok((epoch, seal)) => seals.push((epoch, index, seal)),
                Err(error) => verdicts[index] = Err(error),
            }
        }
        seals.sort_by_key(|(epoch, index, _)| (epoch.get(), *index));
        for group in seals.chunk_by(|(a, ..), (b, ..)| a == b) {
            let cache = self.cache(group[0].0);
            let batch: Vec<Seal> = group.iter().map(|(.., seal)| *seal).collect();
            for ((_, index, _), verdict) in group.iter().zip(cache.verify_many(&batch)) {
                verdicts[*index] = verdict.map_err(InvalidBlock::Seal);
            }
        }
        verdicts
    }
}

impl Default for EthashSeal {
    fn default() -> Self {
        Self::new()
    }
}

/// What a miner searches a nonce for: the hash of a header without its seal, the base fee included
/// (Yellow Paper §11.5, EIP-1559).
#[must_use]
pub fn seal_hash(header: &Header) -> B256 {
    let fields: [&dyn Encodable; 13] = [
        &header.parent_hash,
        &header.ommers_hash,
        &header.beneficiary,
        &header.state_root,
        &header.transactions_root,
        &header.receipts_root,
        &header.logs_bloom,
        &header.difficulty,
        &header.number,
        &header.gas_limit,
        &header.gas_used,
        &header.timestamp,
        &header.extra_data,
    ];
    let base_fee = header.base_fee_per_gas.as_ref().map(|fee| fee as &dyn Encodable);
    let fields = || fields.into_iter().chain(base_fee);
    let payload_length = fields().map(Encodable::length).sum();
    let mut rlp = Vec::with_capacity(payload_length + 4);
    alloy_rlp::Header { list: true, payload_length }.encode(&mut rlp);
    for field in fields() {
        field.encode(&mut rlp);
    }
    keccak256(rlp)
}

/// The seal of a header as ethash sees it; `None` if its difficulty is 0.
#[must_use]
pub fn seal_of(header: &Header) -> Option<Seal> {
    Some(Seal {
        seal_hash: seal_hash(header),
        nonce: u64::from_be_bytes(header.nonce.0),
        mix_hash: header.mix_hash,
        target: Target::from_difficulty(header.difficulty)?,
    })
}

/// The epoch and the seal of a header, unless no cache could check it.
fn checkable(header: &Header) -> Result<(Epoch, Seal), InvalidBlock> {
    let epoch = Epoch::of_block(header.number);
    if epoch.get() > EPOCH_MAX {
        return Err(InvalidBlock::EpochTooHigh { number: header.number });
    }
    seal_of(header).map(|seal| (epoch, seal)).ok_or(InvalidBlock::NonPositiveDifficulty)
}

/// The cache of an epoch if it is kept, now the most recently used.
fn used(kept: &mut Vec<Arc<LightCache>>, epoch: Epoch) -> Option<Arc<LightCache>> {
    let place = kept.iter().position(|cache| cache.epoch() == epoch)?;
    let cache = kept.remove(place);
    kept.push(Arc::clone(&cache));
    Some(cache)
}

/// Locks, also after a panic elsewhere: whatever is kept is whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
