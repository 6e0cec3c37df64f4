//! Keccak as Ethash uses it: inputs of fixed length, and several states side by side.

use alloy_primitives::B256;

#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::scalar;
use super::words::Row;

/// The same word of several states.
type Lane<const L: usize> = [u64; L];

pub(super) const ROUND_CONSTANTS: [u64; 24] = [
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

/// The last word of a block of Keccak-512 and Keccak-256, in words.
const LAST_OF_512: usize = 8;
const LAST_OF_256: usize = 16;
/// Padding begins with this bit after the input, and ends with that one in the block's last word.
const PAD_FIRST: u64 = 1;
const PAD_LAST: u64 = 1 << 63;

/// The rounds of the permutation Keccak-f\[1600\], over words with the operations named.
///
/// This is a macro because distances must be constants to the compiler, whatever the word is, and
/// closures would lose the instructions that the function around them is compiled for.
macro_rules! rounds {
    ($state:expr, $splat:path, $xor:path, $rotate:ident, $chi:path) => {{
        let s = $state;
        for constant in $crate::kernel::keccak::ROUND_CONSTANTS {
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
                $xor($chi(a0, a1, a2), $splat(constant)),
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

/// The permutation of several states. Asking again whether the processor has the instructions
/// costs a nanosecond, and makes this right for every caller.
#[inline(always)]
fn permute<const L: usize>(states: &mut [Lane<L>; 25]) {
    match L {
        // SAFETY: the processor has the instructions that the function enables.
        #[cfg(target_arch = "x86_64")]
        4 if is_x86_feature_detected!("avx2") => unsafe {
            avx2::permute(states.as_flattened_mut());
        },
        _ => {
            for lane in 0..L {
                let mut state = [0; 25];
                for (word, words) in state.iter_mut().zip(&*states) {
                    *word = words[lane];
                }
                scalar::permute(&mut state);
                for (word, words) in state.iter().zip(&mut *states) {
                    words[lane] = *word;
                }
            }
        }
    }
}

/// A word of a state, from two of ours.
#[inline(always)]
fn join(words: &[u32], at: usize) -> u64 {
    u64::from(words[2 * at]) | u64::from(words[2 * at + 1]) << 32
}

/// The first words of each state, as rows.
#[inline(always)]
fn split_into<const L: usize, const N: usize>(state: &[Lane<L>; 25], out: &mut [[u32; N]]) {
    for (lane, out) in out.iter_mut().enumerate() {
        for at in 0..N / 2 {
            out[2 * at] = state[at][lane] as u32;
            out[2 * at + 1] = (state[at][lane] >> 32) as u32;
        }
    }
}

/// Replaces each row by its Keccak-512, `L` at a time. The number of rows is a multiple of `L`.
#[inline(always)]
pub(super) fn digest_rows<const L: usize>(rows: &mut [Row]) {
    debug_assert_eq!(rows.len() % L, 0, "rows are left over");
    for rows in rows.as_chunks_mut::<L>().0 {
        let mut state = [[0; L]; 25];
        for (at, lane) in state.iter_mut().take(LAST_OF_512).enumerate() {
            *lane = std::array::from_fn(|lane| join(&rows[lane], at));
        }
        state[LAST_OF_512] = [PAD_FIRST | PAD_LAST; L];
        permute(&mut state);
        split_into(&state, rows);
    }
}

/// Replaces both rows by their Keccak-512. Vectors that are half empty still beat two scalars.
#[inline(always)]
pub(super) fn digest_pair<const L: usize>(rows: &mut [Row; 2]) {
    if L == 1 {
        digest_rows::<1>(rows);
    } else {
        let mut padded = [[0; 16]; L];
        padded[..2].copy_from_slice(rows);
        digest_rows::<L>(&mut padded);
        rows.copy_from_slice(&padded[..2]);
    }
}

/// The Keccak-512 of the 32 bytes that a cache begins with.
#[inline(always)]
pub(super) fn digest_seed(seed: &B256) -> Row {
    let mut state = [[0; 1]; 25];
    load_bytes(seed, &mut state);
    state[4] = [PAD_FIRST];
    state[LAST_OF_512] = [PAD_LAST];
    permute(&mut state);
    let mut out = [[0; 16]];
    split_into(&state, &mut out);
    out[0]
}

/// The Keccak-512 of a seal hash and each of `N` nonces, `L` at a time; `N` is a multiple of `L`.
#[inline(always)]
pub(super) fn seal_seeds<const L: usize, const N: usize>(
    seal_hash: &B256,
    nonces: [u64; N],
) -> [Row; N] {
    header_seeds::<L, N>(&nonces.map(|nonce| (*seal_hash, nonce)))
}

/// The Keccak-512 of `N` seal hashes and nonces, `L` at a time; `N` is a multiple of `L`.
#[inline(always)]
pub(super) fn header_seeds<const L: usize, const N: usize>(headers: &[(B256, u64); N]) -> [Row; N] {
    const { assert!(N.is_multiple_of(L), "headers are left over") };
    let mut seeds = [[0; 16]; N];
    let groups = headers.as_chunks::<L>().0.iter().zip(seeds.as_chunks_mut::<L>().0);
    for (headers, seeds) in groups {
        let mut state = [[0; L]; 25];
        for (at, (seal_hash, nonce)) in headers.iter().enumerate() {
            let (words, _) = seal_hash.as_chunks::<8>();
            for (word, lane) in words.iter().zip(&mut state) {
                lane[at] = u64::from_le_bytes(*word);
            }
            state[4][at] = *nonce;
        }
        state[5] = [PAD_FIRST; L];
        state[LAST_OF_512] = [PAD_LAST; L];
        permute(&mut state);
        split_into(&state, seeds);
    }
    seeds
}

/// The Keccak-256 of `N` seeds and compressed mixes, `L` at a time; `N` is a multiple of `L`.
#[inline(always)]
pub(super) fn results<const L: usize, const N: usize>(
    seeds: &[Row; N],
    mixes: &[[u32; 8]; N],
) -> [B256; N] {
    const { assert!(N.is_multiple_of(L), "seeds are left over") };
    let mut out = [B256::ZERO; N];
    let inputs = seeds.as_chunks::<L>().0.iter().zip(mixes.as_chunks::<L>().0);
    for ((seeds, mixes), out) in inputs.zip(out.as_chunks_mut::<L>().0) {
        let mut state = [[0; L]; 25];
        for (at, lane) in state.iter_mut().take(8).enumerate() {
            *lane = std::array::from_fn(|lane| join(&seeds[lane], at));
        }
        for at in 0..4 {
            state[8 + at] = std::array::from_fn(|lane| join(&mixes[lane], at));
        }
        state[12] = [PAD_FIRST; L];
        state[LAST_OF_256] = [PAD_LAST; L];
        permute(&mut state);
        for (lane, out) in out.iter_mut().enumerate() {
            for (bytes, word) in out.as_chunks_mut::<8>().0.iter_mut().zip(&state) {
                *bytes = word[lane].to_le_bytes();
            }
        }
    }
    out
}

#[inline(always)]
fn load_bytes(bytes: &B256, state: &mut [Lane<1>; 25]) {
    for (word, lane) in bytes.as_chunks::<8>().0.iter().zip(state) {
        *lane = [u64::from_le_bytes(*word)];
    }
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

    proptest! {
        #[test]
        fn results_are_keccak_256(bytes: [u8; 96]) {
            check::<1>(&bytes);
            check::<4>(&bytes);
            check::<8>(&bytes);
        }

        #[test]
        fn digests_do_not_depend_on_their_neighbours(words: [[u32; 16]; 8]) {
            let mut alone = words;
            digest_rows::<1>(&mut alone);
            let mut together = words;
            digest_rows::<8>(&mut together);
            prop_assert_eq!(alone, together);
            let mut together = words;
            digest_rows::<4>(&mut together);
            prop_assert_eq!(alone, together);
        }
    }
}
