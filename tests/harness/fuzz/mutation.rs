//! Bytes made wrong, in the ways that find most: bits, lengths, parts doubled, dropped and swapped.

use crate::harness::random::Random;

/// No input is longer.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// How many changes are made at once.
const CHANGES_MAX: u64 = 6;
/// Bytes that often mean something.
const TELLING: &[u8] = &[0, 1, 0x7f, 0x80, 0x81, 0xb7, 0xb8, 0xbf, 0xc0, 0xf7, 0xf8, 0xff, b'"'];

/// Changes an input in a few places; `other` lends a part.
#[must_use]
pub fn mutate(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut data = input.to_vec();
    for _ in 0..random.within(1..CHANGES_MAX + 1) {
        change(random, &mut data, other);
    }
    data.truncate(INPUT_BYTES_MAX);
    data
}

fn change(random: &mut Random, data: &mut Vec<u8>, other: &[u8]) {
    let at = below(random, data.len() + 1);
    let end = at + below(random, (data.len() - at).min(64) + 1);
    match random.within(0..8) {
        0 if at < data.len() => data[at] ^= 1 << random.within(0..8),
        1 if at < data.len() => data[at] = TELLING[below(random, TELLING.len())],
        2 if at < data.len() => {
            let step = if random.within(0..2) == 0 { 1 } else { 0xff };
            data[at] = data[at].wrapping_add(step);
        }
        3 => drop(data.drain(at..end)),
        4 => {
            let part = data[at..end].to_vec();
            data.splice(at..at, part);
        }
        5 => data.insert(at, TELLING[below(random, TELLING.len())]),
        6 => data.truncate(at),
        _ => {
            let from = below(random, other.len() + 1);
            let to = from + below(random, (other.len() - from).min(64) + 1);
            data.splice(at..end, other[from..to].iter().copied());
        }
    }
}

fn below(random: &mut Random, limit: usize) -> usize {
    let limit = u64::try_from(limit.max(1)).expect("an input is short");
    usize::try_from(random.within(0..limit)).expect("an input is short")
}
