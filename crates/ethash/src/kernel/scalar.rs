//! Keccak of one state.

use std::ops::Range;

use super::LANES;
use super::keccak::{WORDS, rounds};

#[inline(always)]
const fn same(word: u64) -> u64 {
    word
}

#[inline(always)]
const fn xor(left: u64, right: u64) -> u64 {
    left ^ right
}

#[inline(always)]
const fn rotate<const BY: u32>(word: u64) -> u64 {
    word.rotate_left(BY)
}

#[inline(always)]
const fn chi(a: u64, b: u64, c: u64) -> u64 {
    a ^ (!b & c)
}

/// Rounds of the permutation of one state.
#[inline(always)]
pub(super) fn permute(state: &mut [u64; WORDS], rounds: Range<usize>) {
    let mut words = *state;
    rounds!(&mut words, rounds, same, xor, rotate, chi);
    *state = words;
}

/// Rounds of the permutation of one of several states.
#[inline(always)]
pub(super) fn permute_one_of(
    states: &mut [[u64; LANES]; WORDS],
    lane: usize,
    rounds: Range<usize>,
) {
    let mut state = [0; WORDS];
    for (word, words) in state.iter_mut().zip(&*states) {
        *word = words[lane];
    }
    permute(&mut state, rounds);
    for (word, words) in state.iter().zip(states) {
        words[lane] = *word;
    }
}
