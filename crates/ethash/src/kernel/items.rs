//! Rows of the cache, and items of the dataset from them.

use alloy_primitives::B256;

use super::words::{Modulo, Row, fnv, fnv_into};
use super::{LANES, keccak, prefetch, read_alone};

/// Rounds in which the rows of a cache are mixed with each other.
const CACHE_ROUNDS: usize = 3;
/// Rows of the cache that go into an item.
const PARENTS: u32 = 256;
/// How many rows ahead the cache's random reads are asked for.
const ROWS_AHEAD: usize = 8;

/// A cache, as the loops see it.
#[derive(Clone, Copy)]
pub(crate) struct Light<'a> {
    /// The rows.
    pub(crate) rows: &'a [Row],
    /// Reduces a word to the number of a row.
    pub(crate) row_of: Modulo,
    /// Reduces a word to the number of a page of the dataset.
    pub(crate) page_of: Modulo,
}

/// Fills the rows of a cache: a chain of hashes, then three rounds of Lerner's RandMemoHash.
#[inline(always)]
pub(super) fn fill_cache<const L: usize>(seed: &B256, row_of: &Modulo, rows: &mut [Row]) {
    let count = rows.len();
    let mut row = keccak::digest_seed(seed);
    rows[0] = row;
    for next in &mut rows[1..] {
        row = keccak::digest_row(&row);
        *next = row;
    }
    for _ in 0..CACHE_ROUNDS {
        for at in 0..count {
            let ahead = if at + ROWS_AHEAD < count { at + ROWS_AHEAD } else { at };
            prefetch(rows, row_of.of(rows[ahead][0]));
            let other = rows[row_of.of(rows[at][0]) as usize];
            for (word, other) in row.iter_mut().zip(other) {
                *word ^= other;
            }
            row = keccak::digest_row(&row);
            rows[at] = row;
        }
    }
}

/// Eight items in the making.
#[repr(align(64))]
#[derive(Clone, Copy)]
pub(super) struct ItemGroup {
    mix: [Row; LANES],
    numbers: [u32; LANES],
    parents: [u32; LANES],
    step: u32,
}

impl ItemGroup {
    /// Begins with the items of these numbers.
    #[inline(always)]
    pub(super) fn begin<const L: usize>(light: &Light<'_>, numbers: [u32; LANES]) -> Self {
        let mut mix = first_mixes(light, &numbers);
        keccak::digest_rows::<L>(&mut mix);
        let mut group = Self { mix, numbers, parents: [0; LANES], step: 0 };
        group.aim(light);
        group
    }

    /// Mixes one parent into each item. Returns whether that was the last one.
    #[inline(always)]
    pub(super) fn step(&mut self, light: &Light<'_>) -> bool {
        for (mix, parent) in self.mix.iter_mut().zip(self.parents) {
            fnv_into(mix, &light.rows[parent as usize]);
        }
        self.step += 1;
        if self.step == PARENTS {
            return true;
        }
        self.aim(light);
        false
    }

    /// The items, once all parents are in.
    #[inline(always)]
    pub(super) fn finish<const L: usize>(&mut self) -> &[Row; LANES] {
        debug_assert_eq!(self.step, PARENTS, "an item is not complete");
        keccak::digest_rows::<L>(&mut self.mix);
        &self.mix
    }

    /// Computes which parents come next, and asks for them.
    #[inline(always)]
    fn aim(&mut self, light: &Light<'_>) {
        let word = (self.step % 16) as usize;
        let values: [u32; LANES] = std::array::from_fn(|lane| {
            fnv(self.numbers[lane] ^ self.step, read_alone(&self.mix[lane][word]))
        });
        self.parents = light.row_of.of_each(values);
        for parent in self.parents {
            prefetch(light.rows, parent);
        }
    }
}

/// Makes items from number `first` on, with about `in_flight` at once.
#[inline(always)]
pub(super) fn fill<const L: usize>(
    light: &Light<'_>,
    first: u32,
    in_flight: usize,
    items: &mut [Row],
) {
    let mut chunks = items.chunks_mut(LANES).enumerate();
    let next = || {
        let (chunk, out) = chunks.next()?;
        // The items of the last epoch fill 32 bits.
        let first = first.wrapping_add((chunk * LANES) as u32);
        Some((std::array::from_fn(|lane| first.wrapping_add(lane as u32)), out))
    };
    make::<L, _>(light, in_flight, next, |out, made| out.copy_from_slice(&made[..out.len()]));
}

/// Makes groups of items with about `in_flight` items at once: the numbers are asked for, and what
/// was made of them is put where it belongs.
///
/// The groups of the ring begin one after the other, so that they also end one after the other
/// and the hashing of one is done while the others' reads are under way. There are no closures
/// around hot code here: the compiler would compile them for the portable instructions.
#[inline(always)]
pub(super) fn make<const L: usize, T>(
    light: &Light<'_>,
    in_flight: usize,
    mut next: impl FnMut() -> Option<([u32; LANES], T)>,
    mut put: impl FnMut(T, &[Row; LANES]),
) {
    let size = in_flight.div_ceil(LANES);
    let stagger = PARENTS as usize / size;
    let mut ring: Vec<Option<(ItemGroup, T)>> = Vec::new();
    ring.resize_with(size, || None);
    for tick in 0.. {
        let mut running = false;
        for (at, slot) in ring.iter_mut().enumerate() {
            let ready = match slot {
                Some((group, _)) => group.step(light),
                None => tick >= at * stagger,
            };
            if ready {
                if let Some((mut group, place)) = slot.take() {
                    put(place, group.finish::<L>());
                }
                if let Some((numbers, place)) = next() {
                    *slot = Some((ItemGroup::begin::<L>(light, numbers), place));
                }
            }
            running |= slot.is_some();
        }
        if !running {
            return;
        }
    }
}

/// Makes two items with the least latency.
///
/// Reads are what it waits for, each for the one before: so the word that decides where to read
/// next is computed apart from the others, and first.
#[inline(always)]
pub(super) fn pair<const L: usize>(light: &Light<'_>, numbers: [u32; 2]) -> [Row; 2] {
    let mut mix = first_mixes(light, &numbers);
    keccak::digest_rows::<L>(&mut mix);
    let mut words = [mix[0][0], mix[1][0]];
    for step in 0..PARENTS {
        let next = ((step + 1) % 16) as usize;
        for lane in 0..2 {
            let parent = light.row_of.of(fnv(numbers[lane] ^ step, words[lane]));
            let row = &light.rows[parent as usize];
            words[lane] = fnv(mix[lane][next], row[next]);
            fnv_into(&mut mix[lane], row);
        }
    }
    keccak::digest_rows::<L>(&mut mix);
    mix
}

/// The mixes that items begin with, before they are hashed.
#[inline(always)]
fn first_mixes<const N: usize>(light: &Light<'_>, numbers: &[u32; N]) -> [Row; N] {
    let mut mixes = [[0; 16]; N];
    for (mix, number) in mixes.iter_mut().zip(numbers) {
        *mix = light.rows[light.row_of.of(*number) as usize];
        mix[0] ^= number;
    }
    mixes
}
