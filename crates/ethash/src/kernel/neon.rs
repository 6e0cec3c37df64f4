//! Keccak of two states at once, in the 128-bit vectors of ARM.

use std::arch::aarch64::{
    uint64x2_t, vbicq_u64, vdupq_n_s64, vdupq_n_u64, veorq_u64, vld1q_u64, vorrq_u64, vshlq_u64,
    vst1q_u64,
};
use std::ops::Range;

use super::LANES;
use super::keccak::{WORDS, rounds};

#[inline]
#[target_feature(enable = "neon")]
fn splat(word: u64) -> uint64x2_t {
    vdupq_n_u64(word)
}

#[inline]
#[target_feature(enable = "neon")]
fn rotate<const BY: u32>(words: uint64x2_t) -> uint64x2_t {
    let left = vshlq_u64(words, vdupq_n_s64(i64::from(BY)));
    let right = vshlq_u64(words, vdupq_n_s64(i64::from(BY) - 64));
    vorrq_u64(left, right)
}

#[inline]
#[target_feature(enable = "neon")]
fn chi(a: uint64x2_t, b: uint64x2_t, c: uint64x2_t) -> uint64x2_t {
    veorq_u64(a, vbicq_u64(c, b))
}

/// The body of a permutation, for functions with different instructions.
macro_rules! permute {
    ($states:ident, $from:ident, $rounds:ident) => {{
        let mut vectors = [vdupq_n_u64(0); WORDS];
        for (vector, words) in vectors.iter_mut().zip(&*$states) {
            let words: &[u64] = &words[$from..$from + 2];
            // SAFETY: the two words are as many bytes as are loaded.
            *vector = unsafe { vld1q_u64(words.as_ptr()) };
        }
        rounds!(&mut vectors, $rounds, splat, veorq_u64, rotate, chi);
        for (vector, words) in vectors.iter().zip($states) {
            let words: &mut [u64] = &mut words[$from..$from + 2];
            // SAFETY: the two words are as many bytes as are stored.
            unsafe { vst1q_u64(words.as_mut_ptr(), *vector) };
        }
    }};
}

/// Rounds of the permutation of the two states from lane `from` on.
#[target_feature(enable = "neon")]
pub(super) fn permute(states: &mut [[u64; LANES]; WORDS], from: usize, rounds: Range<usize>) {
    permute!(states, from, rounds);
}

/// [`permute`] with the instructions for Keccak: the compiler joins the operations to theirs.
#[target_feature(enable = "neon,sha3")]
pub(super) fn permute_sha3(states: &mut [[u64; LANES]; WORDS], from: usize, rounds: Range<usize>) {
    permute!(states, from, rounds);
}
