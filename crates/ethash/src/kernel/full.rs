//! Proofs of work from a dataset, and the search for one.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use alloy_primitives::B256;

use super::keccak::{ROUNDS, States};
use super::light::{PAGES_READ, compress_all, first_mix, page_word};
use super::words::{Modulo, Page, Row, compress, fnv, fnv_into, word_bytes};
use super::{LANES, keccak, prefetch, read_alone};
use crate::{Pow, Target};

/// Groups in flight: 96 nonces. Fewer keep too few reads in flight, more do not fit into the
/// first-level cache.
const GROUPS: usize = 12;
/// Steps of groups in which the two permutations of a turn are done. A group ends every 61 or more.
const STEPS_PER_TURN: usize = 60;
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
    let seeds = keccak::seeds::<1, 1>(&[(*seal_hash, nonce)]);
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
    /// The first words of the seeds, on which every address depends.
    first_words: [u32; LANES],
    pages: [u32; LANES],
    round: u32,
    /// The first of the nonces; the others follow.
    first: u64,
    /// How many of them are asked for; none in what only fills the ring at the beginning.
    count: u64,
}

impl NonceGroup {
    /// Fills a place in the ring until the first nonces get it.
    const EMPTY: Self = Self {
        mixes: [[0; 32]; LANES],
        seeds: [[0; 16]; LANES],
        first_words: [0; LANES],
        pages: [0; LANES],
        round: 0,
        first: 0,
        count: 0,
    };

    /// Begins with other nonces.
    #[inline(always)]
    fn begin(&mut self, full: &Full<'_>, seeds: &States, first: u64, count: u64) {
        seeds.store(&mut self.seeds);
        for (mix, seed) in self.mixes.iter_mut().zip(&self.seeds) {
            *mix = first_mix(seed);
        }
        self.first_words = std::array::from_fn(|lane| read_alone(&self.seeds[lane][0]));
        (self.round, self.first, self.count) = (0, first, count);
        self.aim(full);
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
        let word = (self.round % 32) as usize;
        let values: [u32; LANES] = std::array::from_fn(|lane| {
            fnv(self.round ^ self.first_words[lane], read_alone(&self.mixes[lane][word]))
        });
        self.pages = full.page_of.of_each(values);
        for page in self.pages {
            prefetch(full.pages, page);
        }
    }
}

/// Rounds of Keccak in a slice. Vectors of 512 bits do six in the time that the reads in flight
/// take. With narrower ones, which cannot hold a state in registers, loading and storing it more
/// often costs more than it hides.
const fn slice_rounds(width: usize) -> usize {
    if width == 8 { 6 } else { ROUNDS }
}

/// The hashing of two groups, in slices: the results of those that ended last, and the seeds of
/// those that begin next.
#[repr(align(64))]
struct Hashing {
    results: States,
    mixes: [[u32; 8]; LANES],
    first: u64,
    count: u64,
    seeds: States,
    /// The first of the nonces that the seeds are of.
    next: u64,
    /// Rounds of both that are done.
    rounds: usize,
}

impl Hashing {
    #[inline(always)]
    fn new(seal_hash: &B256, first: u64) -> Self {
        Self {
            results: States::ZERO,
            mixes: [[0; 8]; LANES],
            first: 0,
            count: 0,
            seeds: States::of_nonces(seal_hash, first),
            next: first,
            rounds: 0,
        }
    }

    /// Does a slice, and returns whether there was one left.
    #[inline(always)]
    fn advance<const L: usize>(&mut self) -> bool {
        let from = self.rounds;
        if from < ROUNDS {
            self.seeds.permute::<L>(LANES, from..from + slice_rounds(L));
        } else if from < 2 * ROUNDS {
            self.results.permute::<L>(LANES, from - ROUNDS..from - ROUNDS + slice_rounds(L));
        } else {
            return false;
        }
        self.rounds += slice_rounds(L);
        true
    }

    /// The lowest nonce of the group that ended last that meets the target.
    #[inline(always)]
    fn found(&self, target: &Target) -> Option<(u64, Pow)> {
        let [.., highest] = target.as_u256().into_limbs();
        for lane in 0..self.count as usize {
            // The first eight bytes nearly always decide.
            if self.results.highest(lane) <= highest {
                let result = self.results.hash(lane);
                if target.is_met_by(&result) {
                    let pow = Pow { mix_hash: word_bytes(&self.mixes[lane]), result };
                    return Some((self.first + lane as u64, pow));
                }
            }
        }
        None
    }

    /// Takes a group that ended, whose place gets the next nonces.
    #[inline(always)]
    fn turn(&mut self, full: &Full<'_>, search: &Search<'_>, group: &mut NonceGroup) {
        self.mixes = compress_all(&group.mixes);
        self.results = States::of_mixes(&group.seeds, &self.mixes);
        (self.first, self.count) = (group.first, group.count);
        let count = search.nonces.end.saturating_sub(self.next).min(LANES as u64);
        group.begin(full, &self.seeds, self.next, count);
        self.next = self.next.saturating_add(LANES as u64);
        self.seeds = States::of_nonces(search.seal_hash, self.next);
        self.rounds = 0;
    }
}

/// Searches a range of nonces, lowest first.
///
/// The groups of the ring begin one after the other, so that they also end one after the other.
/// What they need hashed is hashed in slices, between the reads of the others.
#[inline(always)]
pub(super) fn search<const L: usize>(full: &Full<'_>, search: &Search<'_>) -> Option<(u64, Pow)> {
    let mut ring = [const { NonceGroup::EMPTY }; GROUPS];
    for (at, group) in ring.iter_mut().enumerate() {
        group.round = ((GROUPS - 1 - at) * PAGES_READ as usize / GROUPS) as u32;
    }
    let mut hashing = Hashing::new(search.seal_hash, search.nonces.start);
    let mut left = search.nonces.end.saturating_sub(search.nonces.start);
    let steps_per_slice = STEPS_PER_TURN * slice_rounds(L) / (2 * ROUNDS);
    let (mut untold, mut steps, mut found) = (0, 0, None);
    while left > 0 && found.is_none() && !search.stop.load(Ordering::Relaxed) {
        for group in &mut ring {
            if group.step(full) {
                while hashing.advance::<L>() {}
                found = hashing.found(search.target);
                untold += hashing.count;
                left -= hashing.count;
                if found.is_some() || left == 0 {
                    break;
                }
                hashing.turn(full, search, group);
            }
            steps += 1;
            if steps == steps_per_slice {
                steps = 0;
                hashing.advance::<L>();
            }
        }
        if untold >= HASHES_UNTOLD_MAX {
            search.hashes.fetch_add(untold, Ordering::Relaxed);
            untold = 0;
        }
    }
    search.hashes.fetch_add(untold, Ordering::Relaxed);
    found
}
