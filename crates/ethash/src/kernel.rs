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

#[cfg(target_endian = "big")]
compile_error!("ethash reads and writes little-endian words as they lie in memory");

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod full;
mod growing;
mod instructions;
mod items;
mod keccak;
mod light;
mod memory;
#[cfg(target_arch = "aarch64")]
mod neon;
mod reads;
mod scalar;
mod words;

use alloy_primitives::B256;

pub(crate) use self::full::{Full, Search};
pub(crate) use self::growing::{Claim, Growing, GrowingSearch};
pub(crate) use self::instructions::Instructions;
pub use self::instructions::{Kernel, KernelError};
pub(crate) use self::items::Light;
pub use self::memory::MemoryError;
pub(crate) use self::memory::{HUGE_PAGE_BYTES, Memory, row_bytes, row_bytes_mut};
pub use self::reads::{RandomReads, Scratch};
pub(crate) use self::words::{Modulo, Page, Row};
use crate::Pow;

/// Computations in a group: they take each step together.
const LANES: usize = 8;

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
                #[cfg(target_arch = "x86_64")]
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,bmi1,bmi2")]
                fn avx512($($arg: $ty),*) $(-> $out)? {
                    $module::$body::<8>($($arg),*)
                }
                #[cfg(target_arch = "aarch64")]
                #[target_feature(enable = "neon")]
                fn neon($($arg: $ty),*) $(-> $out)? {
                    $module::$body::<2>($($arg),*)
                }
                match self {
                    Self::Portable => $module::$body::<1>($($arg),*),
                    // SAFETY: `available` found every feature that the function enables.
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx2 => unsafe { avx2($($arg),*) },
                    // SAFETY: `available` found every feature that the function enables.
                    #[cfg(target_arch = "x86_64")]
                    Self::Avx512 => unsafe { avx512($($arg),*) },
                    // SAFETY: `available` found every feature that the function enables.
                    #[cfg(target_arch = "aarch64")]
                    Self::Neon => unsafe { neon($($arg),*) },
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

compiled! {
    /// Fills the pages that are claimed, with about `in_flight` items at once.
    fill_pages = growing::fill(light: &Light<'_>, in_flight: usize, claims: &[Claim<'_>])
}

compiled! {
    /// Searches a range of nonces while the dataset is made, in no particular order.
    search_growing = growing::search(
        growing: &Growing,
        light: &Light<'_>,
        in_flight: usize,
        search: &GrowingSearch<'_>,
        made: &dyn Fn(usize)
    ) -> Option<(u64, Pow)>
}

compiled! {
    /// Reads some thousand random pages, to measure the memory.
    read_pages =
        reads::read(reads: &RandomReads<'_>, state: &mut u64, known: &mut [u32], digest: &mut u64)
}

/// The result that a mix hash leads to.
pub(crate) fn result(seal_hash: &B256, nonce: u64, mix_hash: &B256) -> B256 {
    let [seed] = keccak::seeds::<1, 1>(&[(*seal_hash, nonce)]);
    let [result] = keccak::results::<1, 1>(&[seed], &[words::row_words(mix_hash)]);
    result
}

/// Reads one word. From plain reads of words of several rows the compiler would make instructions
/// that gather and scatter, which are slower on most processors and wait for what was written just
/// before.
#[inline(always)]
fn read_alone<T: Copy>(word: &T) -> T {
    // SAFETY: a reference is valid for reads.
    unsafe { std::ptr::from_ref(word).read_volatile() }
}

/// Asks for a value that will be read soon.
#[inline(always)]
fn prefetch<T>(values: &[T], at: u32) {
    debug_assert!((at as usize) < values.len(), "prefetched beyond the end");
    prefetch_at(values.as_ptr().wrapping_add(at as usize));
}

/// Asks for a value by its address.
#[inline(always)]
fn prefetch_at<T>(value: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = value.cast::<i8>();
        for line in (0..size_of::<T>()).step_by(64) {
            // SAFETY: prefetching is a hint; it reads nothing and never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(line)) };
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        let first = value.cast::<u8>();
        for line in (0..size_of::<T>()).step_by(64) {
            // SAFETY: prefetching is a hint; it changes nothing and never faults.
            unsafe {
                std::arch::asm!(
                    "prfm pldl1keep, [{line}]",
                    line = in(reg) first.wrapping_add(line),
                    options(nostack, preserves_flags, readonly)
                );
            }
        }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = value;
}

#[cfg(test)]
mod tests;
