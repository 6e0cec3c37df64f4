//! Keccak of four states at once, in 256-bit vectors.

use std::arch::x86_64::{
    __m256i, _mm256_andnot_si256, _mm256_loadu_si256, _mm256_or_si256, _mm256_set1_epi64x,
    _mm256_setzero_si256, _mm256_sllv_epi64, _mm256_srlv_epi64, _mm256_storeu_si256,
    _mm256_xor_si256,
};
use std::ops::Range;

use super::LANES;
use super::keccak::{WORDS, rounds};

#[inline]
#[target_feature(enable = "avx2")]
fn splat(word: u64) -> __m256i {
    _mm256_set1_epi64x(word as i64)
}

#[inline]
#[target_feature(enable = "avx2")]
fn rotate<const BY: u32>(words: __m256i) -> __m256i {
    let left = _mm256_sllv_epi64(words, _mm256_set1_epi64x(i64::from(BY)));
    let right = _mm256_srlv_epi64(words, _mm256_set1_epi64x(64 - i64::from(BY)));
    _mm256_or_si256(left, right)
}

#[inline]
#[target_feature(enable = "avx2")]
fn chi(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_xor_si256(a, _mm256_andnot_si256(b, c))
}

/// Rounds of the permutation of the four states from lane `from` on.
#[target_feature(enable = "avx2")]
pub(super) fn permute(states: &mut [[u64; LANES]; WORDS], from: usize, rounds: Range<usize>) {
    let mut vectors = [_mm256_setzero_si256(); WORDS];
    for (vector, words) in vectors.iter_mut().zip(&*states) {
        let words: &[u64] = &words[from..from + 4];
        // SAFETY: the four words are as many bytes as are loaded; alignment is not needed.
        *vector = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
    }
    rounds!(&mut vectors, rounds, splat, _mm256_xor_si256, rotate, chi);
    for (vector, words) in vectors.iter().zip(states) {
        let words: &mut [u64] = &mut words[from..from + 4];
        // SAFETY: the four words are as many bytes as are stored; alignment is not needed.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), *vector) };
    }
}
