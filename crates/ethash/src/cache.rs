//! The light cache: 16 MiB from which any item of the dataset can be made.

use std::fmt;

use alloy_primitives::B256;

use crate::Epoch;
use crate::kernel::{self, Instructions, Kernel, KernelError, Light, Memory, Modulo, Row};

/// Caches up to this size are assumed to stay in the last-level cache of the processor.
const CLOSE_CACHE_BYTES_MAX: usize = 24 << 20;
/// Headers in flight while the cache is close: more bring nothing.
const HEADERS_IN_FLIGHT_CLOSE: usize = 32;
/// Headers in flight when rows come from main memory, which takes several times longer.
const HEADERS_IN_FLIGHT_FAR: usize = 64;

/// The cache of one epoch: enough to check a proof of work, slowly.
pub struct LightCache {
    epoch: Epoch,
    rows: Memory,
    row_of: Modulo,
    page_of: Modulo,
    instructions: Instructions,
}

impl fmt::Debug for LightCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LightCache")
            .field("epoch", &self.epoch)
            .field("bytes", &self.bytes())
            .field("kernel", &self.kernel())
            .finish_non_exhaustive()
    }
}

impl LightCache {
    /// Makes the cache of an epoch. Takes about a quarter of a second for epoch 0, and one core:
    /// every row depends on the one before.
    ///
    /// # Panics
    ///
    /// If the epoch lies beyond [`Epoch::MAX`].
    #[must_use]
    pub fn generate(epoch: Epoch) -> Self {
        Self::for_epoch(epoch, Instructions::best())
    }

    /// [`Self::generate`] with a kernel of choice. A dataset made from the cache uses it, too.
    ///
    /// # Errors
    ///
    /// [`KernelError::Unavailable`] if the processor lacks it.
    ///
    /// # Panics
    ///
    /// If the epoch lies beyond [`Epoch::MAX`].
    pub fn generate_with(epoch: Epoch, kernel: Kernel) -> Result<Self, KernelError> {
        Ok(Self::for_epoch(epoch, Instructions::of(kernel)?))
    }

    /// A cache of 1 KiB for a dataset of 32 KiB, from the seed of epoch 0 and for any block.
    /// These are the sizes of geth's test mode.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn tiny() -> Self {
        Self::with_sizes(Epoch::new(0), 1 << 10, 32 << 10, Instructions::best())
    }

    /// The epoch it belongs to.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Size of the dataset that follows from it, in bytes.
    #[must_use]
    pub fn dataset_bytes(&self) -> u64 {
        u64::from(self.page_of.divisor()) * size_of::<kernel::Page>() as u64
    }

    /// The kernel that it and datasets made from it use.
    #[must_use]
    pub const fn kernel(&self) -> Kernel {
        self.instructions.kernel()
    }

    pub(crate) fn for_epoch(epoch: Epoch, instructions: Instructions) -> Self {
        Self::with_sizes(epoch, epoch.cache_bytes(), epoch.dataset_bytes(), instructions)
    }

    fn with_sizes(
        epoch: Epoch,
        cache_bytes: u64,
        dataset_bytes: u64,
        instructions: Instructions,
    ) -> Self {
        let row_bytes = size_of::<Row>() as u64;
        let page_bytes = size_of::<kernel::Page>() as u64;
        let mut rows = Memory::zeroed(cache_bytes as usize, "a light cache")
            .expect("a cache fits into memory");
        let seed: B256 = epoch.seed();
        let row_of = Modulo::new((cache_bytes / row_bytes) as u32);
        instructions.fill_cache(&seed, &row_of, rows.rows_mut());
        let page_of = Modulo::new((dataset_bytes / page_bytes) as u32);
        Self { epoch, rows, row_of, page_of, instructions }
    }

    /// The cache of an epoch whose rows are known.
    pub(crate) fn of_rows(
        epoch: Epoch,
        rows: Memory,
        dataset_bytes: u64,
        instructions: Instructions,
    ) -> Self {
        let row_of = Modulo::new(rows.rows().len() as u32);
        let page_of = Modulo::new((dataset_bytes / size_of::<kernel::Page>() as u64) as u32);
        Self { epoch, rows, row_of, page_of, instructions }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        self.rows.rows()
    }

    /// Size in bytes.
    fn bytes(&self) -> usize {
        size_of_val(self.rows.rows())
    }

    pub(crate) const fn instructions(&self) -> Instructions {
        self.instructions
    }

    pub(crate) fn page_of(&self) -> Modulo {
        self.page_of
    }

    pub(crate) fn light(&self) -> Light<'_> {
        Light { rows: self.rows.rows(), row_of: self.row_of, page_of: self.page_of }
    }

    pub(crate) fn is_close(&self) -> bool {
        self.bytes() <= CLOSE_CACHE_BYTES_MAX
    }

    pub(crate) fn headers_in_flight(&self) -> usize {
        if self.is_close() { HEADERS_IN_FLIGHT_CLOSE } else { HEADERS_IN_FLIGHT_FAR }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{b256, keccak256};

    use super::*;

    #[test]
    fn the_cache_of_epoch_0_is_that_of_ethereum_tests() {
        let cache = LightCache::generate(Epoch::new(0));
        let words = cache.rows.rows().as_flattened();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(bytes.len(), 16_776_896);
        let hash = b256!("35ded12eecf2ce2e8da2e15c06d463aae9b84cb2530a00b932e4bbc484cde353");
        assert_eq!(keccak256(bytes), hash);
    }

    #[test]
    fn a_tiny_cache_belongs_to_a_dataset_of_32_kib() {
        let cache = LightCache::tiny();
        assert_eq!((cache.bytes(), cache.dataset_bytes()), (1 << 10, 32 << 10));
    }
}
