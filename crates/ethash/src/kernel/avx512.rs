//! Keccak of eight states at once, in 512-bit vectors, which rotate and mix three words in one
//! instruction each.

use std::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_rolv_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};
use std::ops::Range;

use super::LANES;
use super::keccak::{WORDS, rounds};

#[inline]
#[target_feature(enable = "avx512f")]
fn splat(word: u64) -> __m512i {
    _mm512_set1_epi64(word as i64)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rotate<const BY: u32>(words: __m512i) -> __m512i {
    _mm512_rolv_epi64(words, _mm512_set1_epi64(i64::from(BY)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn chi(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    /// `a ^ (!b & c)` for all bits of a, b and c, of which a is the highest.
    const TABLE: i32 = 0b1101_0010;
    _mm512_ternarylogic_epi64::<TABLE>(a, b, c)
}

/// Rounds of the permutation of eight states.
#[target_feature(enable = "avx512f")]
pub(super) fn permute(states: &mut [[u64; LANES]; WORDS], rounds: Range<usize>) {
    let mut vectors = [_mm512_setzero_si512(); WORDS];
    for (vector, words) in vectors.iter_mut().zip(&*states) {
        // SAFETY: the eight words are as many bytes as are loaded; alignment is not needed.
        *vector = unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
    }
    rounds!(&mut vectors, rounds, splat, _mm512_xor_si512, rotate, chi);
    for (vector, words) in vectors.iter().zip(states) {
        // SAFETY: the eight words are as many bytes as are stored; alignment is not needed.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), *vector) };
    }
}
