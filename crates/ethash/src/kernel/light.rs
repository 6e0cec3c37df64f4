//! Proofs of work from a cache.

use alloy_primitives::B256;

use super::items::{self, ItemGroup, Light};
use super::words::{Page, Row, compress, fnv, fnv_into, word_bytes};
use super::{LANES, keccak, read_alone};
use crate::Pow;

/// Pages that a proof of work reads.
pub(super) const PAGES_READ: u32 = 64;
/// Headers in a group: each needs the two items of a page at once.
const HEADERS: usize = LANES / 2;

/// Which page comes next.
#[inline(always)]
pub(super) fn page_word(seed: &Row, mix: &Page, round: u32) -> u32 {
    fnv(round ^ read_alone(&seed[0]), read_alone(&mix[(round % 32) as usize]))
}

/// The mix that a seed begins with.
#[inline(always)]
pub(super) fn first_mix(seed: &Row) -> Page {
    std::array::from_fn(|at| seed[at % 16])
}

/// The mixes that seeds begin with.
#[inline(always)]
pub(super) fn first_mixes<const N: usize>(seeds: &[Row; N]) -> [Page; N] {
    let mut mixes = [[0; 32]; N];
    for (mix, seed) in mixes.iter_mut().zip(seeds) {
        *mix = first_mix(seed);
    }
    mixes
}

/// Shrinks each mix to a quarter.
#[inline(always)]
pub(super) fn compress_all<const N: usize>(mixes: &[Page; N]) -> [[u32; 8]; N] {
    std::array::from_fn(|at| compress(&mixes[at]))
}

/// One proof of work, with the least latency.
#[inline(always)]
pub(super) fn one<const L: usize>(light: &Light<'_>, seal_hash: &B256, nonce: u64) -> Pow {
    let seeds = keccak::seeds::<1, 1>(&[(*seal_hash, nonce)]);
    let mut mix = first_mix(&seeds[0]);
    for round in 0..PAGES_READ {
        let page = light.page_of.of(page_word(&seeds[0], &mix, round));
        let items = items::pair::<L>(light, [2 * page, 2 * page + 1]);
        mix_items(&mut mix, &items);
    }
    let mixes = [compress(&mix)];
    let [result] = keccak::results::<1, 1>(&seeds, &mixes);
    Pow { mix_hash: word_bytes(&mixes[0]), result }
}

#[inline(always)]
fn mix_items(mix: &mut Page, items: &[Row; 2]) {
    for (mix, item) in mix.as_chunks_mut().0.iter_mut().zip(items) {
        fnv_into(mix, item);
    }
}

/// Four headers in the making.
struct HeaderGroup<'a> {
    items: ItemGroup,
    mixes: [Page; HEADERS],
    seeds: [Row; HEADERS],
    round: u32,
    pows: &'a mut [Pow],
}

impl<'a> HeaderGroup<'a> {
    /// Begins with up to four headers; missing ones are filled up and forgotten.
    #[inline(always)]
    fn begin<const L: usize>(
        light: &Light<'_>,
        seals: &[(B256, u64)],
        pows: &'a mut [Pow],
    ) -> Self {
        let headers: [(B256, u64); HEADERS] =
            std::array::from_fn(|at| seals[at.min(seals.len() - 1)]);
        let seeds = keccak::seeds::<L, HEADERS>(&headers);
        let mixes = first_mixes(&seeds);
        let items = ItemGroup::begin::<L>(light, item_numbers(light, &seeds, &mixes, 0));
        Self { items, mixes, seeds, round: 0, pows }
    }

    /// Reads one row per item. Returns whether the proofs are complete.
    #[inline(always)]
    fn step<const L: usize>(&mut self, light: &Light<'_>) -> bool {
        if !self.items.step(light) {
            return false;
        }
        let items = self.items.finish::<L>().as_chunks::<2>().0;
        for header in 0..HEADERS {
            // If the compiler knew the number, it would gather a word of each header.
            let header = std::hint::black_box(header);
            mix_items(&mut self.mixes[header], &items[header]);
        }
        self.round += 1;
        if self.round < PAGES_READ {
            let numbers = item_numbers(light, &self.seeds, &self.mixes, self.round);
            self.items = ItemGroup::begin::<L>(light, numbers);
            return false;
        }
        self.finish::<L>();
        true
    }

    #[inline(always)]
    fn finish<const L: usize>(&mut self) {
        let mixes = compress_all(&self.mixes);
        let results = keccak::results::<L, HEADERS>(&self.seeds, &mixes);
        for ((pow, mix), result) in self.pows.iter_mut().zip(&mixes).zip(results) {
            *pow = Pow { mix_hash: word_bytes(mix), result };
        }
    }
}

/// The two items of each header's next page.
#[inline(always)]
fn item_numbers(
    light: &Light<'_>,
    seeds: &[Row; HEADERS],
    mixes: &[Page; HEADERS],
    round: u32,
) -> [u32; LANES] {
    std::array::from_fn(|lane| {
        let header = lane / 2;
        let page = light.page_of.of(page_word(&seeds[header], &mixes[header], round));
        2 * page + (lane % 2) as u32
    })
}

/// Many proofs of work, with about `in_flight` at once.
#[inline(always)]
pub(super) fn many<const L: usize>(
    light: &Light<'_>,
    seals: &[(B256, u64)],
    in_flight: usize,
    pows: &mut [Pow],
) {
    if seals.is_empty() {
        return;
    }
    // All waves of groups get the same size: a last one of a single group would be slow.
    let groups = seals.len().div_ceil(HEADERS);
    let waves = groups.div_ceil(in_flight.div_ceil(HEADERS));
    let size = groups.div_ceil(waves);
    let mut waiting = seals.chunks(HEADERS).zip(pows.chunks_mut(HEADERS));
    let mut ring: Vec<Option<HeaderGroup<'_>>> = Vec::new();
    ring.resize_with(size, || None);
    loop {
        let mut running = false;
        for slot in &mut ring {
            let ready = match slot {
                Some(group) => group.step::<L>(light),
                None => true,
            };
            if ready {
                *slot = None;
                if let Some((seals, pows)) = waiting.next() {
                    *slot = Some(HeaderGroup::begin::<L>(light, seals, pows));
                }
            }
            running |= slot.is_some();
        }
        if !running {
            return;
        }
    }
}
