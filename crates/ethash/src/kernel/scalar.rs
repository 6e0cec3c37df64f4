//! Keccak of one state.

use super::keccak::rounds;

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

/// The permutation of one state.
#[inline(always)]
pub(super) fn permute(state: &mut [u64; 25]) {
    let mut words = *state;
    rounds!(&mut words, same, xor, rotate, chi);
    *state = words;
}
