//! Proofs of work from a dataset, and the search for one.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use alloy_primitives::B256;

use super::light::{PAGES_READ, compress_all, first_mix, first_mixes, page_word};
use super::words::{Modulo, Page, Row, compress, fnv_into, word_bytes};
use super::{LANES, keccak, prefetch};
use crate::{Pow, Target};

/// Groups in flight: 96 nonces. More would not fit into the first-level cache.
const GROUPS: usize = 12;
/// Rounds after which the next group begins.
const STAGGER: usize = PAGES_READ as usize / GROUPS;
/// Nonces after which the count is told to others.
const HASHES_UNTOLD_MAX: u64 = 256;

/// A dataset, as the loops see it.
#[derive(Clone, Copy)]
pub(crate) struct Full<'a> {
    /// The pages.
    pub(crate) pages: &'a [Page],
    /// Reduces a word to the number of a page.
    pub(crate) page_of: Modulo,
}

/// What to search for, and whom to listen and talk to.
pub(crate) struct Search<'a> {
    pub(crate) seal_hash: &'a B256,
    pub(crate) target: &'a Target,
    pub(crate) nonces: Range<u64>,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) hashes: &'a AtomicU64,
}

/// One proof of work.
#[inline(always)]
pub(super) fn one<const L: usize>(full: &Full<'_>, seal_hash: &B256, nonce: u64) -> Pow {
    let seeds = keccak::seal_seeds::<1, 1>(seal_hash, [nonce]);
    let mut mix = first_mix(&seeds[0]);
    for round in 0..PAGES_READ {
        let page = full.page_of.of(page_word(&seeds[0], &mix, round));
        fnv_into(&mut mix, &full.pages[page as usize]);
    }
    let mixes = [compress(&mix)];
    let [result] = keccak::results::<1, 1>(&seeds, &mixes);
    Pow { mix_hash: word_bytes(&mixes[0]), result }
}

/// Eight nonces in the making.
#[repr(align(64))]
struct NonceGroup {
    mixes: [Page; LANES],
    seeds: [Row; LANES],
    pages: [u32; LANES],
    round: u32,
    /// The first of the nonces; the others follow.
    first: u64,
    /// How many of them are asked for.
    count: u64,
}

impl NonceGroup {
    /// Begins with the next nonces of a range, if there are any.
    #[inline(always)]
    fn next<const L: usize>(
        full: &Full<'_>,
        seal_hash: &B256,
        nonces: &mut Range<u64>,
    ) -> Option<Self> {
        if nonces.is_empty() {
            return None;
        }
        let first = nonces.start;
        let count = (nonces.end - first).min(LANES as u64);
        nonces.start += count;
        let all = std::array::from_fn(|lane| first.wrapping_add(lane as u64));
        let seeds = keccak::seal_seeds::<L, LANES>(seal_hash, all);
        let mixes = first_mixes(&seeds);
        let mut group = Self { mixes, seeds, pages: [0; LANES], round: 0, first, count };
        group.aim(full);
        Some(group)
    }

    /// Reads one page per nonce. Returns whether that was the last one.
    #[inline(always)]
    fn step(&mut self, full: &Full<'_>) -> bool {
        for (mix, page) in self.mixes.iter_mut().zip(self.pages) {
            fnv_into(mix, &full.pages[page as usize]);
        }
        self.round += 1;
        if self.round == PAGES_READ {
            return true;
        }
        self.aim(full);
        false
    }

    /// Computes which pages come next, and asks for them.
    #[inline(always)]
    fn aim(&mut self, full: &Full<'_>) {
        let values: [u32; LANES] =
            std::array::from_fn(|lane| page_word(&self.seeds[lane], &self.mixes[lane], self.round));
        self.pages = full.page_of.of_each(values);
        for page in self.pages {
            prefetch(full.pages, page);
        }
    }

    /// The lowest nonce that meets the target.
    #[inline(always)]
    fn finish<const L: usize>(&self, target: &Target) -> Option<(u64, Pow)> {
        let mixes = compress_all(&self.mixes);
        let results = keccak::results::<L, LANES>(&self.seeds, &mixes);
        let found = (0..LANES)
            .take(self.count as usize)
            .find(|&lane| is_candidate(&results[lane], target) && target.is_met_by(&results[lane]));
        found.map(|lane| {
            let pow = Pow { mix_hash: word_bytes(&mixes[lane]), result: results[lane] };
            (self.first + lane as u64, pow)
        })
    }
}

/// Compares the first eight bytes only, which nearly always decides.
#[inline(always)]
fn is_candidate(result: &B256, target: &Target) -> bool {
    let [first, ..] = result.as_chunks::<8>().0 else { return false };
    let [.., highest] = target.as_u256().into_limbs();
    u64::from_be_bytes(*first) <= highest
}

/// Searches a range of nonces, lowest first.
///
/// The groups of the ring begin one after the other, so that they also end one after the other
/// and the hashing of one is done while the others' reads are under way.
#[inline(always)]
pub(super) fn search<const L: usize>(full: &Full<'_>, search: &Search<'_>) -> Option<(u64, Pow)> {
    let mut nonces = search.nonces.clone();
    let mut ring: [Option<NonceGroup>; GROUPS] = [const { None }; GROUPS];
    let mut untold = 0;
    let mut found = None;
    for tick in 0.. {
        let mut running = false;
        for (at, slot) in ring.iter_mut().enumerate() {
            let ready = match slot {
                Some(group) => group.step(full),
                None => tick >= at * STAGGER,
            };
            if ready {
                if let Some(group) = slot {
                    untold += group.count;
                    found = group.finish::<L>(search.target);
                }
                if found.is_some() {
                    break;
                }
                *slot = NonceGroup::next::<L>(full, search.seal_hash, &mut nonces);
            }
            running |= slot.is_some();
        }
        let over = found.is_some() || !running || search.stop.load(Ordering::Relaxed);
        if over || untold >= HASHES_UNTOLD_MAX {
            search.hashes.fetch_add(untold, Ordering::Relaxed);
            untold = 0;
        }
        if over {
            break;
        }
    }
    found
}
