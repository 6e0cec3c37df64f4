//! scrypt where `n` is large for its `r`, as [RFC 7914] forbids and key files do all the same.
//!
//! The published V3 vector has n = 262144 with r = 1. The `scrypt` crate keeps to the RFC's
//! `n < 2^(16·r)` and refuses it; geth does not check.
//!
//! [RFC 7914]: https://www.rfc-editor.org/rfc/rfc7914

use hmac::Hmac;
use sha2::Sha256;
use zeroize::Zeroize;

/// Words in a block of Salsa20.
const BLOCK_WORDS: usize = 16;

type Block = [u32; BLOCK_WORDS];

/// Derives `key` with the parameters `(log2 n, r, p)`.
pub(crate) fn scrypt(password: &[u8], salt: &[u8], (log_n, r, p): (u8, u32, u32), key: &mut [u8]) {
    let index = |value: u32| usize::try_from(value).expect("a pointer has at least 32 bits");
    let lane_bytes = 128 * index(r);
    let mut lanes = vec![0; lane_bytes * index(p)];
    pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, 1, &mut lanes).expect("HMAC takes any length");
    for lane in lanes.chunks_exact_mut(lane_bytes) {
        mix_lane(lane, 1 << log_n);
    }
    pbkdf2::pbkdf2::<Hmac<Sha256>>(password, &lanes, 1, key).expect("HMAC takes any length");
    lanes.zeroize();
}

/// The RFC's `scryptROMix`.
fn mix_lane(lane: &mut [u8], n: usize) {
    let mut state: Vec<Block> = lane.chunks_exact(64).map(block_of).collect();
    let mut scratch = state.clone();
    let mut table: Vec<Block> = Vec::with_capacity(n * state.len());
    for _ in 0..n {
        table.extend_from_slice(&state);
        mix_blocks(&mut state, &mut scratch);
    }
    for _ in 0..n {
        let last = state.last().expect("a lane has at least two blocks");
        let low_word = usize::try_from(last[0]).expect("a pointer has at least 32 bits");
        let row = (low_word & (n - 1)) * state.len();
        for (block, other) in state.iter_mut().zip(&table[row..]) {
            xor(block, other);
        }
        mix_blocks(&mut state, &mut scratch);
    }
    for (bytes, block) in lane.chunks_exact_mut(64).zip(&state) {
        for (bytes, word) in bytes.chunks_exact_mut(4).zip(block) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
    table.zeroize();
}

fn block_of(bytes: &[u8]) -> Block {
    std::array::from_fn(|word| {
        let bytes = &bytes[4 * word..4 * word + 4];
        u32::from_le_bytes(bytes.try_into().expect("four bytes"))
    })
}

fn xor(block: &mut Block, other: &Block) {
    for (word, other) in block.iter_mut().zip(other) {
        *word ^= other;
    }
}

/// The RFC's `scryptBlockMix`.
fn mix_blocks(state: &mut Vec<Block>, scratch: &mut Vec<Block>) {
    let mut running = *state.last().expect("a lane has at least two blocks");
    let half = state.len() / 2;
    for (position, block) in state.iter().enumerate() {
        xor(&mut running, block);
        salsa20_8(&mut running);
        scratch[position / 2 + (position % 2) * half] = running;
    }
    std::mem::swap(state, scratch);
}

/// Eight rounds of Salsa20.
fn salsa20_8(block: &mut Block) {
    let start = *block;
    for _ in 0..4 {
        for [a, b, c, d] in [[0, 4, 8, 12], [5, 9, 13, 1], [10, 14, 2, 6], [15, 3, 7, 11]] {
            quarter_round(block, [a, b, c, d]);
        }
        for [a, b, c, d] in [[0, 1, 2, 3], [5, 6, 7, 4], [10, 11, 8, 9], [15, 12, 13, 14]] {
            quarter_round(block, [a, b, c, d]);
        }
    }
    for (word, start) in block.iter_mut().zip(start) {
        *word = word.wrapping_add(start);
    }
}

fn quarter_round(words: &mut Block, [a, b, c, d]: [usize; 4]) {
    words[b] ^= words[a].wrapping_add(words[d]).rotate_left(7);
    words[c] ^= words[b].wrapping_add(words[a]).rotate_left(9);
    words[d] ^= words[c].wrapping_add(words[b]).rotate_left(13);
    words[a] ^= words[d].wrapping_add(words[c]).rotate_left(18);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_crate_where_both_apply() {
        for (log_n, r, p) in [(4, 1, 1), (10, 8, 2), (12, 3, 1)] {
            let (mut ours, mut theirs) = ([0; 32], [0; 32]);
            scrypt(b"pleaseletmein", b"SodiumChloride", (log_n, r, p), &mut ours);
            let params = ::scrypt::Params::new(log_n, r, p, 32).unwrap();
            ::scrypt::scrypt(b"pleaseletmein", b"SodiumChloride", &params, &mut theirs).unwrap();
            assert_eq!(ours, theirs, "log_n={log_n} r={r} p={p}");
        }
    }
}
