//! Epochs: how large cache and dataset are, and what they grow from.

use alloy_primitives::{B256, keccak256};

/// Bytes of the cache of epoch 0 before it is shrunk to a prime number of rows.
const CACHE_BYTES_INIT: u64 = 1 << 24;
/// Bytes by which the cache grows per epoch.
const CACHE_BYTES_GROWTH: u64 = 1 << 17;
/// Bytes of the dataset of epoch 0 before it is shrunk to a prime number of pages.
const DATASET_BYTES_INIT: u64 = 1 << 30;
/// Bytes by which the dataset grows per epoch.
const DATASET_BYTES_GROWTH: u64 = 1 << 23;
/// Bytes of a row of the cache, and of an item of the dataset.
const ROW_BYTES: u64 = 64;
/// Bytes of a page of the dataset: two items.
const PAGE_BYTES: u64 = 128;

/// A stretch of 30 000 blocks that share one cache and one dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// How many blocks an epoch has.
    pub const BLOCKS: u64 = 30_000;

    /// The last epoch whose items can be counted in 32 bits, as the algorithm does: block
    /// 979 million, or about the year 2400.
    ///
    /// A header beyond it must be refused before its seal is looked at.
    pub const MAX: Self = Self(32_640);

    /// The epoch of a block.
    #[must_use]
    pub const fn of_block(number: u64) -> Self {
        Self(number / Self::BLOCKS)
    }

    /// The epoch with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number; the first is 0.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The hash that its cache grows from: Keccak-256, once per epoch, of 32 zero bytes.
    ///
    /// # Panics
    ///
    /// If it lies beyond [`Epoch::MAX`].
    #[must_use]
    pub fn seed(self) -> B256 {
        self.assert_supported();
        (0..self.0).fold(B256::ZERO, |seed, _| keccak256(seed))
    }

    /// Size of its cache in bytes.
    ///
    /// # Panics
    ///
    /// If it lies beyond [`Epoch::MAX`].
    #[must_use]
    pub fn cache_bytes(self) -> u64 {
        self.assert_supported();
        prime_units(CACHE_BYTES_INIT + CACHE_BYTES_GROWTH * self.0, ROW_BYTES)
    }

    /// Size of its dataset in bytes.
    ///
    /// # Panics
    ///
    /// If it lies beyond [`Epoch::MAX`].
    #[must_use]
    pub fn dataset_bytes(self) -> u64 {
        self.assert_supported();
        prime_units(DATASET_BYTES_INIT + DATASET_BYTES_GROWTH * self.0, PAGE_BYTES)
    }

    fn assert_supported(self) {
        assert!(self <= Self::MAX, "epoch {} is beyond {}", self.0, Self::MAX.0);
    }
}

/// The largest size below `bytes` that is a prime number of units.
fn prime_units(bytes: u64, unit: u64) -> u64 {
    let below = bytes / unit - 1;
    let units = (2..=below).rev().find(|&units| is_prime(units)).expect("2 is prime");
    units * unit
}

/// Whether a number of at least 2 is prime. Tries divisors: the numbers here are below 2^32.
fn is_prime(number: u64) -> bool {
    (2..)
        .take_while(|divisor| divisor * divisor <= number)
        .all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;

    use super::*;

    #[test]
    fn sizes_are_those_of_the_specification() {
        // The first three and the last of the tables in the specification of Ethash, appendix.
        let expected = [
            (0, 16_776_896, 1_073_739_904),
            (1, 16_907_456, 1_082_130_304),
            (2, 17_039_296, 1_090_514_816),
            (2047, 285_081_536, 18_245_220_736),
        ];
        for (number, cache, dataset) in expected {
            let epoch = Epoch::new(number);
            assert_eq!((epoch.cache_bytes(), epoch.dataset_bytes()), (cache, dataset), "{number}");
        }
    }

    #[test]
    fn the_last_epoch_still_counts_items_in_32_bits() {
        assert!(Epoch::MAX.dataset_bytes() / ROW_BYTES <= u64::from(u32::MAX));
    }

    #[test]
    #[should_panic(expected = "beyond")]
    fn refuses_the_epoch_after_the_last() {
        let _ = Epoch::new(Epoch::MAX.get() + 1).cache_bytes();
    }

    #[test]
    fn an_epoch_begins_every_30_000_blocks() {
        assert_eq!(Epoch::of_block(29_999), Epoch::new(0));
        assert_eq!(Epoch::of_block(30_000), Epoch::new(1));
    }

    #[test]
    fn seeds_are_chained_hashes() {
        assert_eq!(Epoch::new(0).seed(), B256::ZERO);
        let first = b256!("290decd9548b62a8d60345a988386fc84ba6bc95484008f6362f93160ef3e563");
        assert_eq!(Epoch::new(1).seed(), first);
        assert_eq!(Epoch::new(2).seed(), keccak256(first));
    }
}
