//! A dataset in the making: pages that several threads fill, and a search that fills what it reads.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use alloy_primitives::B256;

use super::items::{self, Light};
use super::light::{PAGES_READ, compress_all, first_mix, page_word};
use super::memory::Memory;
use super::words::{Page, Row, fnv_into, word_bytes};
use super::{LANES, keccak, prefetch_at};
use crate::{Pow, Target};

/// Pages in a group of items.
const GROUP_PAGES: usize = LANES / 2;
/// Nonces in flight. Each misses one page when its turn comes, so that the pages are made in
/// batches that keep the vectors full.
const NONCES: u64 = 256;
/// Pages in a word of a bitmap.
const WORD_PAGES: usize = 64;

/// Memory that fills up. Whoever claims a page fills it, and nobody else; it is read only after
/// that.
pub(crate) struct Growing {
    /// Only owned here: while pages are written to, nobody may borrow all of them.
    memory: Memory,
    first: *mut Page,
    len: usize,
    claimed: Box<[AtomicU64]>,
    filled: Box<[AtomicU64]>,
}

// SAFETY: a page is written to by the one thread that claimed it, and read by others only after
// they saw that it is filled.
unsafe impl Send for Growing {}
// SAFETY: as above.
unsafe impl Sync for Growing {}

/// What to search for while pages are missing, and whom to ask and tell.
pub(crate) struct GrowingSearch<'a> {
    pub(crate) seal_hash: &'a B256,
    pub(crate) target: &'a Target,
    pub(crate) nonces: Range<u64>,
    pub(crate) is_over: &'a dyn Fn() -> bool,
    pub(crate) hashes: &'a AtomicU64,
}

/// The right, and the duty, to fill a page.
pub(crate) struct Claim<'a> {
    growing: &'a Growing,
    page: u32,
}

impl Growing {
    pub(crate) fn new(mut memory: Memory) -> Self {
        let pages = memory.pages_mut();
        let (first, len) = (pages.as_mut_ptr(), pages.len());
        let words = || (0..len.div_ceil(WORD_PAGES)).map(|_| AtomicU64::new(0)).collect();
        let (claimed, filled) = (words(), words());
        Self { memory, first, len, claimed, filled }
    }

    /// How many pages it will have.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn into_memory(self) -> Memory {
        self.memory
    }

    /// A page that is not claimed yet.
    pub(crate) fn claim(&self, page: u32) -> Option<Claim<'_>> {
        assert!((page as usize) < self.len(), "the page is within the dataset");
        let (word, bit) = place(page);
        let before = self.claimed[word].fetch_or(bit, Ordering::Relaxed);
        (before & bit == 0).then_some(Claim { growing: self, page })
    }

    #[inline(always)]
    fn is_filled(&self, page: u32) -> bool {
        let (word, bit) = place(page);
        self.filled[word].load(Ordering::Acquire) & bit != 0
    }

    /// A page that is filled.
    #[inline(always)]
    fn page(&self, page: u32) -> Option<&Page> {
        // SAFETY: a bit is only set for pages within the dataset; it is set after the page was
        // written, and nobody writes to it again.
        self.is_filled(page).then(|| unsafe { &*self.first.add(page as usize) })
    }

    #[inline(always)]
    fn prefetch(&self, page: u32) {
        debug_assert!((page as usize) < self.len, "prefetched beyond the end");
        prefetch_at(self.first.wrapping_add(page as usize).cast_const());
    }
}

impl Claim<'_> {
    fn fill(&self, items: &[Row; 2]) {
        // SAFETY: the page is within the dataset and claimed by this value alone, which lives as
        // long as it is filled, and nobody reads it before the bit below is set.
        unsafe { self.growing.first.add(self.page as usize).cast::<[Row; 2]>().write(*items) };
        let (word, bit) = place(self.page);
        self.growing.filled[word].fetch_or(bit, Ordering::Release);
    }
}

/// One nonce in the making.
#[repr(align(64))]
struct Nonce {
    mix: Page,
    seed: Row,
    nonce: u64,
    page: u32,
    round: u32,
}

impl Nonce {
    #[inline(always)]
    fn new(light: &Light<'_>, nonce: u64, seed: Row) -> Self {
        let mut begun = Self { mix: first_mix(&seed), seed, nonce, page: 0, round: 0 };
        begun.aim(light);
        begun
    }

    #[inline(always)]
    fn aim(&mut self, light: &Light<'_>) {
        self.page = light.page_of.of(page_word(&self.seed, &self.mix, self.round));
    }
}

/// Fills the pages that are claimed, with about `in_flight` items at once.
#[inline(always)]
pub(super) fn fill<const L: usize>(light: &Light<'_>, in_flight: usize, claims: &[Claim<'_>]) {
    let mut groups = claims.chunks(GROUP_PAGES);
    let next = || {
        let group = groups.next()?;
        // Missing ones are filled up and forgotten.
        let numbers = std::array::from_fn(|lane| {
            let page = group[(lane / 2).min(group.len() - 1)].page;
            2 * page + (lane % 2) as u32
        });
        Some((numbers, group))
    };
    items::make::<L, _>(light, in_flight, next, |group, made| {
        for (claim, items) in group.iter().zip(made.as_chunks().0) {
            claim.fill(items);
        }
    });
}

/// Searches a range of nonces in no particular order, and makes the pages that are missing: nothing
/// that is computed for the search is computed again for the dataset. Tells how many pages it made.
#[inline(always)]
pub(super) fn search<const L: usize>(
    growing: &Growing,
    light: &Light<'_>,
    in_flight: usize,
    search: &GrowingSearch<'_>,
    made: &dyn Fn(usize),
) -> Option<(u64, Pow)> {
    let mut nonces = search.nonces.clone();
    let mut running = Vec::new();
    begin::<L>(light, search.seal_hash, &mut nonces, NONCES, &mut running);
    let (mut held, mut ended): (Vec<Nonce>, Vec<Nonce>) = (Vec::new(), Vec::new());
    while !(running.is_empty() && held.is_empty() || (search.is_over)()) {
        advance(growing, light, &mut running, &mut held, &mut ended);
        let count = ended.len() as u64;
        let found = results::<L>(search, &ended);
        search.hashes.fetch_add(count, Ordering::Relaxed);
        if found.is_some() {
            return found;
        }
        ended.clear();
        begin::<L>(light, search.seal_hash, &mut nonces, count, &mut running);
        let claims: Vec<_> = held.iter().filter_map(|held| growing.claim(held.page)).collect();
        fill::<L>(light, in_flight, &claims);
        made(claims.len());
        if claims.is_empty() && running.is_empty() {
            // All that is missing is being made by other threads.
            thread::yield_now();
        }
        running.extend(held.extract_if(.., |held| growing.is_filled(held.page)));
    }
    None
}

/// Takes every nonce as far as there are pages for it: to its end, or to where one is missing.
#[inline(always)]
fn advance(
    growing: &Growing,
    light: &Light<'_>,
    running: &mut Vec<Nonce>,
    held: &mut Vec<Nonce>,
    ended: &mut Vec<Nonce>,
) {
    while !running.is_empty() {
        let mut at = 0;
        while at < running.len() {
            let nonce = &mut running[at];
            let Some(page) = growing.page(nonce.page) else {
                held.push(running.swap_remove(at));
                continue;
            };
            fnv_into(&mut nonce.mix, page);
            nonce.round += 1;
            if nonce.round == PAGES_READ {
                ended.push(running.swap_remove(at));
                continue;
            }
            nonce.aim(light);
            growing.prefetch(nonce.page);
            at += 1;
        }
    }
}

/// Begins with up to `count` nonces.
#[inline(always)]
fn begin<const L: usize>(
    light: &Light<'_>,
    seal_hash: &B256,
    nonces: &mut Range<u64>,
    count: u64,
    running: &mut Vec<Nonce>,
) {
    let until = nonces.start.saturating_add(count).min(nonces.end);
    while nonces.start < until {
        let first = nonces.start;
        let headers = std::array::from_fn(|lane| (*seal_hash, first.wrapping_add(lane as u64)));
        let seeds = keccak::seeds::<L, LANES>(&headers);
        for ((_, nonce), seed) in headers.iter().zip(seeds).take((until - first) as usize) {
            running.push(Nonce::new(light, *nonce, seed));
        }
        nonces.start = first.saturating_add(LANES as u64).min(until);
    }
}

/// The first of the nonces that ended whose result meets the target.
#[inline(always)]
fn results<const L: usize>(search: &GrowingSearch<'_>, ended: &[Nonce]) -> Option<(u64, Pow)> {
    for group in ended.chunks(LANES) {
        let last = group.len() - 1;
        let mixes: [Page; LANES] = std::array::from_fn(|lane| group[lane.min(last)].mix);
        let seeds: [Row; LANES] = std::array::from_fn(|lane| group[lane.min(last)].seed);
        let mixes = compress_all(&mixes);
        let results = keccak::results::<L, LANES>(&seeds, &mixes);
        for ((nonce, mix), result) in group.iter().zip(&mixes).zip(results) {
            if search.target.is_met_by(&result) {
                return Some((nonce.nonce, Pow { mix_hash: word_bytes(mix), result }));
            }
        }
    }
    None
}

/// The word of a bitmap that a page is in, and its bit.
#[inline(always)]
fn place(page: u32) -> (usize, u64) {
    (page as usize / WORD_PAGES, 1 << (page as usize % WORD_PAGES))
}
