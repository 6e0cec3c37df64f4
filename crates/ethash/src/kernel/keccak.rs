//! Keccak as Ethash uses it: inputs of fixed length, and several states side by side.

use std::ops::Range;

use alloy_primitives::B256;

#[cfg(target_arch = "x86_64")]
use super::avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::words::Row;
use super::{LANES, read_alone, scalar};

pub(super) const ROUND_CONSTANTS: [u64; ROUNDS] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// Rounds of the permutation.
pub(super) const ROUNDS: usize = 24;
/// Words of a state.
pub(super) const WORDS: usize = 25;
/// The last word of a block of Keccak-512 and Keccak-256, in words.
const LAST_OF_512: usize = 8;
const LAST_OF_256: usize = 16;
/// Padding begins with this bit after the input, and ends with that one in the block's last word.
const PAD_FIRST: u64 = 1;
const PAD_LAST: u64 = 1 << 63;

/// Rounds of the permutation Keccak-f\[1600\], over words with the operations named.
///
/// This is a macro because distances must be constants to the compiler, whatever the word is, and
/// closures would lose the instructions that the function around them is compiled for.
macro_rules! rounds {
    ($state:expr, $rounds:expr, $splat:path, $xor:path, $rotate:ident, $chi:path) => {{
        let s = $state;
        for constant in &$crate::kernel::keccak::ROUND_CONSTANTS[$rounds] {
            let c0 = $xor($xor($xor(s[0], s[5]), $xor(s[10], s[15])), s[20]);
            let c1 = $xor($xor($xor(s[1], s[6]), $xor(s[11], s[16])), s[21]);
            let c2 = $xor($xor($xor(s[2], s[7]), $xor(s[12], s[17])), s[22]);
            let c3 = $xor($xor($xor(s[3], s[8]), $xor(s[13], s[18])), s[23]);
            let c4 = $xor($xor($xor(s[4], s[9]), $xor(s[14], s[19])), s[24]);
            let d0 = $xor(c4, $rotate::<1>(c1));
            let d1 = $xor(c0, $rotate::<1>(c2));
            let d2 = $xor(c1, $rotate::<1>(c3));
            let d3 = $xor(c2, $rotate::<1>(c4));
            let d4 = $xor(c3, $rotate::<1>(c0));

            let a0 = $xor(s[0], d0);
            let a1 = $rotate::<44>($xor(s[6], d1));
            let a2 = $rotate::<43>($xor(s[12], d2));
            let a3 = $rotate::<21>($xor(s[18], d3));
            let a4 = $rotate::<14>($xor(s[24], d4));
            let b0 = $rotate::<28>($xor(s[3], d3));
            let b1 = $rotate::<20>($xor(s[9], d4));
            let b2 = $rotate::<3>($xor(s[10], d0));
            let b3 = $rotate::<45>($xor(s[16], d1));
            let b4 = $rotate::<61>($xor(s[22], d2));
            let e0 = $rotate::<1>($xor(s[1], d1));
            let e1 = $rotate::<6>($xor(s[7], d2));
            let e2 = $rotate::<25>($xor(s[13], d3));
            let e3 = $rotate::<8>($xor(s[19], d4));
            let e4 = $rotate::<18>($xor(s[20], d0));
            let f0 = $rotate::<27>($xor(s[4], d4));
            let f1 = $rotate::<36>($xor(s[5], d0));
            let f2 = $rotate::<10>($xor(s[11], d1));
            let f3 = $rotate::<15>($xor(s[17], d2));
            let f4 = $rotate::<56>($xor(s[23], d3));
            let g0 = $rotate::<62>($xor(s[2], d2));
            let g1 = $rotate::<55>($xor(s[8], d3));
            let g2 = $rotate::<39>($xor(s[14], d4));
            let g3 = $rotate::<41>($xor(s[15], d0));
            let g4 = $rotate::<2>($xor(s[21], d1));

            *s = [
                $xor($chi(a0, a1, a2), $splat(*constant)),
                $chi(a1, a2, a3),
                $chi(a2, a3, a4),
                $chi(a3, a4, a0),
                $chi(a4, a0, a1),
                $chi(b0, b1, b2),
                $chi(b1, b2, b3),
                $chi(b2, b3, b4),
                $chi(b3, b4, b0),
                $chi(b4, b0, b1),
                $chi(e0, e1, e2),
                $chi(e1, e2, e3),
                $chi(e2, e3, e4),
                $chi(e3, e4, e0),
                $chi(e4, e0, e1),
                $chi(f0, f1, f2),
                $chi(f1, f2, f3),
                $chi(f2, f3, f4),
                $chi(f3, f4, f0),
                $chi(f4, f0, f1),
                $chi(g0, g1, g2),
                $chi(g1, g2, g3),
                $chi(g2, g3, g4),
                $chi(g3, g4, g0),
                $chi(g4, g0, g1),
            ];
        }
    }};
}
pub(super) use rounds;

/// Eight states side by side: word `at` of state `lane` is `[at][lane]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(super) struct States([[u64; LANES]; WORDS]);

impl States {
    pub(super) const ZERO: Self = Self([[0; LANES]; WORDS]);

    /// The states whose permutation has the Keccak-512 of up to eight rows.
    #[inline(always)]
    fn of_rows(rows: &[Row]) -> Self {
        let mut states = Self::ZERO;
        for (lane, row) in rows.iter().enumerate() {
            states.load(lane, 0, row);
        }
        states.0[LAST_OF_512] = [PAD_FIRST | PAD_LAST; LANES];
        states
    }

    /// The states whose permutation has the Keccak-512 of a seal hash and eight nonces.
    #[inline(always)]
    pub(super) fn of_nonces(seal_hash: &B256, first: u64) -> Self {
        let mut states = Self::ZERO;
        for (words, word) in states.0.iter_mut().zip(seal_hash.as_chunks::<8>().0) {
            *words = [u64::from_le_bytes(*word); LANES];
        }
        for (lane, word) in states.0[4].iter_mut().enumerate() {
            *word = first.wrapping_add(lane as u64);
        }
        states.pad_seals();
        states
    }

    /// The states whose permutation has the Keccak-512 of up to eight seal hashes and nonces.
    #[inline(always)]
    fn of_seals(seals: &[(B256, u64)]) -> Self {
        let mut states = Self::ZERO;
        for (lane, (seal_hash, nonce)) in seals.iter().enumerate() {
            for (words, word) in states.0.iter_mut().zip(seal_hash.as_chunks::<8>().0) {
                words[lane] = u64::from_le_bytes(*word);
            }
            states.0[4][lane] = *nonce;
        }
        states.pad_seals();
        states
    }

    #[inline(always)]
    fn pad_seals(&mut self) {
        self.0[5] = [PAD_FIRST; LANES];
        self.0[LAST_OF_512] = [PAD_LAST; LANES];
    }

    /// The states whose permutation has the Keccak-256 of up to eight seeds and compressed mixes.
    #[inline(always)]
    pub(super) fn of_mixes(seeds: &[Row], mixes: &[[u32; 8]]) -> Self {
        let mut states = Self::ZERO;
        for (lane, (seed, mix)) in seeds.iter().zip(mixes).enumerate() {
            states.load(lane, 0, seed);
            states.load(lane, 8, mix);
        }
        states.0[12] = [PAD_FIRST; LANES];
        states.0[LAST_OF_256] = [PAD_LAST; LANES];
        states
    }

    #[inline(always)]
    fn load(&mut self, lane: usize, from: usize, words: &[u32]) {
        for (at, [low, high]) in words.as_chunks().0.iter().enumerate() {
            self.0[from + at][lane] =
                u64::from(read_alone(low)) | u64::from(read_alone(high)) << 32;
        }
    }

    /// Some rounds of the permutation of the first `count` states, and of as many more as fit into
    /// the same vectors. Asking again whether the processor has the instructions costs a
    /// nanosecond, and makes this right for every caller.
    #[inline(always)]
    pub(super) fn permute<const L: usize>(&mut self, count: usize, rounds: Range<usize>) {
        for from in (0..count).step_by(L) {
            match L {
                // SAFETY: the processor has the instructions that the function enables.
                #[cfg(target_arch = "x86_64")]
                8 if is_x86_feature_detected!("avx512f") => unsafe {
                    avx512::permute(&mut self.0, rounds.clone());
                },
                // SAFETY: the processor has the instructions that the function enables.
                #[cfg(target_arch = "x86_64")]
                4 if is_x86_feature_detected!("avx2") => unsafe {
                    avx2::permute(&mut self.0, from, rounds.clone());
                },
                // SAFETY: the processor has the instructions that the function enables.
                #[cfg(target_arch = "aarch64")]
                2 if std::arch::is_aarch64_feature_detected!("sha3") => unsafe {
                    neon::permute_sha3(&mut self.0, from, rounds.clone());
                },
                // SAFETY: the processor has the instructions that the function enables.
                #[cfg(target_arch = "aarch64")]
                2 if std::arch::is_aarch64_feature_detected!("neon") => unsafe {
                    neon::permute(&mut self.0, from, rounds.clone());
                },
                _ => {
                    for lane in from..from + L {
                        scalar::permute_one_of(&mut self.0, lane, rounds.clone());
                    }
                }
            }
        }
    }

    /// The first words of each state, as rows.
    #[inline(always)]
    pub(super) fn store(&self, rows: &mut [Row]) {
        for (lane, row) in rows.iter_mut().enumerate() {
            for ([low, high], words) in row.as_chunks_mut().0.iter_mut().zip(&self.0) {
                let word = read_alone(&words[lane]);
                *low = word as u32;
                *high = (word >> 32) as u32;
            }
        }
    }

    /// The first 32 bytes of a state.
    #[inline(always)]
    pub(super) fn hash(&self, lane: usize) -> B256 {
        let mut hash = B256::ZERO;
        for (bytes, words) in hash.as_chunks_mut::<8>().0.iter_mut().zip(&self.0) {
            *bytes = words[lane].to_le_bytes();
        }
        hash
    }

    /// The first eight bytes of a state's hash, as a number.
    #[inline(always)]
    pub(super) fn highest(&self, lane: usize) -> u64 {
        self.0[0][lane].swap_bytes()
    }
}

/// Whether the permutation of several states is that of each.
pub(super) fn permutes_correctly<const L: usize>() -> bool {
    // Any words will do if no two are equal.
    let mut next = 0_u64;
    let mut states = States::ZERO;
    for word in states.0.as_flattened_mut() {
        next = next.wrapping_add(0x9e37_79b9_7f4a_7c15);
        *word = next ^ next >> 29;
    }
    let mut expected = states.clone();
    expected.permute::<1>(LANES, 0..ROUNDS);
    let (first, second) = (0..ROUNDS / 2, ROUNDS / 2..ROUNDS);
    states.permute::<L>(LANES, first);
    states.permute::<L>(LANES, second);
    states == expected
}

/// Replaces up to eight rows by their Keccak-512, `L` at a time.
#[inline(always)]
pub(super) fn digest_rows<const L: usize>(rows: &mut [Row]) {
    debug_assert!(rows.len() <= LANES, "too many rows");
    let mut states = States::of_rows(rows);
    states.permute::<L>(rows.len(), 0..ROUNDS);
    states.store(rows);
}

/// The Keccak-512 of a row. Without detours: a cache is a chain of these.
#[inline(always)]
pub(super) fn digest_row(row: &Row) -> Row {
    let mut state = [0; WORDS];
    for (word, [low, high]) in state.iter_mut().zip(row.as_chunks().0) {
        *word = u64::from(*low) | u64::from(*high) << 32;
    }
    state[LAST_OF_512] = PAD_FIRST | PAD_LAST;
    scalar::permute(&mut state, 0..ROUNDS);
    first_row(&state)
}

/// The Keccak-512 of the 32 bytes that a cache begins with.
#[inline(always)]
pub(super) fn digest_seed(seed: &B256) -> Row {
    let mut state = [0; WORDS];
    for (word, bytes) in state.iter_mut().zip(seed.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    state[4] = PAD_FIRST;
    state[LAST_OF_512] = PAD_LAST;
    scalar::permute(&mut state, 0..ROUNDS);
    first_row(&state)
}

#[inline(always)]
fn first_row(state: &[u64; WORDS]) -> Row {
    std::array::from_fn(|at| (state[at / 2] >> (32 * (at % 2))) as u32)
}

/// The Keccak-512 of up to eight seal hashes and nonces, `L` at a time.
#[inline(always)]
pub(super) fn seeds<const L: usize, const N: usize>(seals: &[(B256, u64); N]) -> [Row; N] {
    const { assert!(N <= LANES, "too many seals") };
    let mut states = States::of_seals(seals);
    states.permute::<L>(N, 0..ROUNDS);
    let mut seeds = [[0; 16]; N];
    states.store(&mut seeds);
    seeds
}

/// The Keccak-256 of up to eight seeds and compressed mixes, `L` at a time.
#[inline(always)]
pub(super) fn results<const L: usize, const N: usize>(
    seeds: &[Row; N],
    mixes: &[[u32; 8]; N],
) -> [B256; N] {
    const { assert!(N <= LANES, "too many seeds") };
    let mut states = States::of_mixes(seeds, mixes);
    states.permute::<L>(N, 0..ROUNDS);
    std::array::from_fn(|lane| states.hash(lane))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::words::row_words;

    /// Keccak-256 of 96 bytes is checked against the library; Keccak-512 shares the permutation
    /// and is checked by the vectors of whole proofs.
    fn check<const L: usize>(bytes: &[u8; 96]) {
        let seed: Row = std::array::from_fn(|at| {
            u32::from_le_bytes(bytes[4 * at..4 * at + 4].try_into().unwrap())
        });
        let mix = row_words(&B256::from_slice(&bytes[64..]));
        let found = results::<L, 8>(&[seed; 8], &[mix; 8]);
        assert_eq!(found, [keccak256(bytes); 8]);
    }

    /// The digests of up to eight rows, together.
    fn together<const L: usize>(rows: &[Row]) -> Vec<Row> {
        let mut rows = rows.to_vec();
        digest_rows::<L>(&mut rows);
        rows
    }

    proptest! {
        #[test]
        fn results_are_keccak_256(bytes: [u8; 96]) {
            check::<1>(&bytes);
            check::<2>(&bytes);
            check::<4>(&bytes);
            check::<8>(&bytes);
        }

        #[test]
        fn digests_do_not_depend_on_their_neighbours(words: [[u32; 16]; 8], count in 1_usize..=8) {
            let rows = &words[..count];
            let alone: Vec<_> = rows.iter().map(digest_row).collect();
            prop_assert_eq!(together::<1>(rows), alone.clone());
            prop_assert_eq!(together::<2>(rows), alone.clone());
            prop_assert_eq!(together::<4>(rows), alone.clone());
            prop_assert_eq!(together::<8>(rows), alone);
        }

        #[test]
        fn rounds_may_be_done_in_parts(words: [[u32; 16]; 8], cut in 0..=ROUNDS) {
            let mut states = States::of_rows(&words);
            let mut whole = states.clone();
            whole.permute::<4>(LANES, 0..ROUNDS);
            states.permute::<8>(LANES, 0..cut);
            states.permute::<4>(LANES, cut..ROUNDS);
            prop_assert_eq!(states, whole);
        }
    }

    #[test]
    fn all_widths_permute_correctly() {
        assert!(
            permutes_correctly::<2>() && permutes_correctly::<4>() && permutes_correctly::<8>()
        );
    }
}
