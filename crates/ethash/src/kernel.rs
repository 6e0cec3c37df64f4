//! The inner loops, and which instructions they are compiled for.
//!
//! Each loop is written once, in portable code over arrays, always inlined, and compiled for
//! several sets of instructions: the compiler turns the arrays into vectors. Only Keccak's
//! permutation is too large for that and has a version for each. The only unsafe code of the crate
//! is here and below: calls of functions whose instructions were found at run time, vector loads
//! and stores, prefetching, and the advice to use huge pages.
//!
//! Reads of far memory are what everything waits for. So every loop keeps many independent
//! computations in flight, eight to a group and several groups in a ring: a group computes which
//! rows it needs next, prefetches them, and is looked at again when all others had their turn.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
mod full;
mod items;
mod keccak;
mod light;
mod memory;
mod scalar;
mod words;

use alloy_primitives::B256;

pub(crate) use self::full::{Full, Search};
pub(crate) use self::items::Light;
pub(crate) use self::memory::Memory;
pub(crate) use self::words::{Modulo, Page, Row};
use crate::Pow;

/// Computations in a group: they take each step together.
const LANES: usize = 8;

/// The instructions that the loops may use. A closed set; the portable ones always work.
///
/// Only [`Self::available`] makes the others, so holding one is proof that the processor has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instructions {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Instructions {
    /// The best that this processor has.
    pub(crate) fn best() -> Self {
        Self::available().last().unwrap_or(Self::Portable)
    }

    /// All that this processor has, best last.
    fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vectors = {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2");
            avx2.then_some(Self::Avx2)
        };
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = None;
        std::iter::once(Self::Portable).chain(vectors)
    }
}

/// The name of the instructions that the kernel uses on this machine, for reports:
/// `avx2` or `portable`.
#[must_use]
pub fn instructions() -> &'static str {
    match Instructions::best() {
        Instructions::Portable => "portable",
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => "avx2",
    }
}

/// Compiles a loop for each set of instructions, as a method that chooses among them. The
/// constant parameter of a loop is how many Keccak states go side by side: as many 64-bit words as
/// fit into a vector.
///
/// This is a macro because instructions are an attribute of a function, not of its callers.
macro_rules! compiled {
    (
        $(#[$doc:meta])*
        $name:ident = $module:ident :: $body:ident ($($arg:ident: $ty:ty),*) $(-> $out:ty)?
    ) => {
        impl Instructions {
            $(#[$doc])*
            pub(crate) fn $name(self, $($arg: $ty),*) $(-> $out)? {
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx2,bmi1,bmi2")]
                fn avx2($($arg: $ty),*) $(-> $out)? {
                    $module::$body::<4>($($arg),*)
                }
                match self {
                    Self::Portable => $module::$body::<1>($($arg),*),
                    // SAFETY: `available` found every feature that the function enables.
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx2 => unsafe { avx2($($arg),*) },
                }
            }
        }
    };
}

compiled! {
    /// Fills the rows of a cache from its seed.
    fill_cache = items::fill_cache(seed: &B256, row_of: &Modulo, rows: &mut [Row])
}

compiled! {
    /// Makes the dataset's items from number `first` on, with about `in_flight` at once.
    fill_items = items::fill(light: &Light<'_>, first: u32, in_flight: usize, items: &mut [Row])
}

compiled! {
    /// One proof of work from a cache, with the least latency.
    light_one = light::one(light: &Light<'_>, seal_hash: &B256, nonce: u64) -> Pow
}

compiled! {
    /// Many proofs of work from a cache, with about `in_flight` at once.
    light_many =
        light::many(light: &Light<'_>, seals: &[(B256, u64)], in_flight: usize, pows: &mut [Pow])
}

compiled! {
    /// One proof of work from a dataset.
    full_one = full::one(full: &Full<'_>, seal_hash: &B256, nonce: u64) -> Pow
}

compiled! {
    /// Searches a range of nonces, lowest first.
    search = full::search(full: &Full<'_>, search: &Search<'_>) -> Option<(u64, Pow)>
}

/// The result that a mix hash leads to.
pub(crate) fn result(seal_hash: &B256, nonce: u64, mix_hash: &B256) -> B256 {
    let [seed] = keccak::seal_seeds::<1, 1>(seal_hash, [nonce]);
    let [result] = keccak::results::<1, 1>(&[seed], &[words::row_words(mix_hash)]);
    result
}

/// Asks for a value that will be read soon.
#[inline(always)]
fn prefetch<T>(values: &[T], at: u32) {
    debug_assert!((at as usize) < values.len(), "prefetched beyond the end");
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = values.as_ptr().wrapping_add(at as usize).cast::<i8>();
        for line in (0..size_of::<T>()).step_by(64) {
            // SAFETY: prefetching is a hint; it reads nothing and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};

    use alloy_primitives::U256;

    use super::*;
    use crate::{Epoch, LightCache, Target};

    fn seals(count: usize) -> Vec<(B256, u64)> {
        (0..count).map(|at| (B256::with_last_byte(at as u8), u64::MAX - at as u64)).collect()
    }

    #[test]
    fn all_instructions_make_the_same_cache() {
        let seed = Epoch::new(1).seed();
        let caches = Instructions::available().map(|instructions| {
            let mut rows = vec![[0; 16]; 1_009];
            instructions.fill_cache(&seed, &Modulo::new(1_009), &mut rows);
            rows
        });
        let caches: Vec<_> = caches.collect();
        assert!(caches.iter().all(|rows| *rows == caches[0]));
    }

    #[test]
    fn all_instructions_make_the_same_items_in_any_number() {
        let cache = LightCache::tiny();
        for instructions in Instructions::available() {
            for (first, count) in [(0, 1), (8, 7), (3, 8), (500, 9), (1 << 31, 300)] {
                let mut items = vec![[0; 16]; count];
                instructions.fill_items(&cache.light(), first, 32, &mut items);
                for (number, item) in (first..).zip(items) {
                    let [expected, _] = items::pair::<1>(&cache.light(), [number, 0]);
                    assert_eq!(item, expected, "{instructions:?}: {number} of {count}");
                }
            }
        }
    }

    #[test]
    fn all_instructions_make_the_same_proofs_in_any_number() {
        let cache = LightCache::tiny();
        let full = cache.dataset();
        for instructions in Instructions::available() {
            for count in [0, 1, 2, 3, 4, 5, 15, 16, 17, 33, 70] {
                let seals = seals(count);
                let mut pows = vec![Pow::default(); count];
                instructions.light_many(&cache.light(), &seals, 16, &mut pows);
                for ((seal_hash, nonce), pow) in seals.iter().zip(pows) {
                    let expected = Instructions::Portable.full_one(&full.full(), seal_hash, *nonce);
                    assert_eq!(pow, expected, "{instructions:?}: many");
                    let one = instructions.light_one(&cache.light(), seal_hash, *nonce);
                    assert_eq!(one, expected, "{instructions:?}: one");
                    let one = instructions.full_one(&full.full(), seal_hash, *nonce);
                    assert_eq!(one, expected, "{instructions:?}: full");
                    assert_eq!(result(seal_hash, *nonce, &expected.mix_hash), expected.result);
                }
            }
        }
    }

    #[test]
    fn all_instructions_find_the_same_nonce() {
        let full = LightCache::tiny().dataset();
        let target = Target::from_difficulty(U256::from(700)).unwrap();
        for instructions in Instructions::available() {
            for seal_hash in (0..20).map(B256::with_last_byte) {
                let (stop, hashes) = (AtomicBool::new(false), AtomicU64::new(0));
                let search = Search {
                    seal_hash: &seal_hash,
                    target: &target,
                    nonces: 0..1 << 20,
                    stop: &stop,
                    hashes: &hashes,
                };
                let expected = (0..).find_map(|nonce| {
                    let pow = full.hashimoto(&seal_hash, nonce);
                    target.is_met_by(&pow.result).then_some((nonce, pow))
                });
                assert_eq!(instructions.search(&full.full(), &search), expected);
            }
        }
    }
}
