//! Random reads of pages: how fast a search could be if it had nothing to compute.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::memory::MemoryError;
use super::{Instructions, Memory, Modulo, Page, prefetch};

/// Pages that are read before the others are told, and `stop` is looked at.
const READS_UNTOLD: usize = 4_096;
/// The most that an address is known ahead of its read.
const AHEAD_MAX: usize = 256;

/// Memory of the size of a dataset, with anything in it.
pub struct Scratch {
    memory: Memory,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("pages", &self.memory.pages().len()).finish_non_exhaustive()
    }
}

impl Scratch {
    /// Memory of this many bytes, rounded up to a whole page of 128. All of it is written once, so
    /// that the system supplies it.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn new(bytes: u64) -> Result<Self, MemoryError> {
        let page = size_of::<Page>() as u64;
        let mut memory =
            Memory::zeroed((bytes.div_ceil(page).max(1) * page) as usize, "a measurement")?;
        for (row, number) in memory.rows_mut().iter_mut().zip(1..) {
            *row = [number; 16];
        }
        Ok(Self { memory })
    }

    /// Random reads of it.
    #[must_use]
    pub fn random_reads(&self) -> RandomReads<'_> {
        RandomReads::new(self.memory.pages())
    }
}

/// Random reads of pages of 128 bytes.
#[derive(Clone, Copy)]
pub struct RandomReads<'a> {
    pages: &'a [Page],
    page_of: Modulo,
}

impl fmt::Debug for RandomReads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RandomReads").field("pages", &self.pages.len()).finish_non_exhaustive()
    }
}

impl<'a> RandomReads<'a> {
    pub(crate) fn new(pages: &'a [Page]) -> Self {
        Self { pages, page_of: Modulo::new(pages.len() as u32) }
    }

    /// Reads random pages of 128 bytes, each known and prefetched `ahead` reads (1 to 256) before
    /// it is used. Adds the pages read to `reads` and looks at `stop` at least every 10 ms.
    ///
    /// Returns a digest of what was read, so that nothing can be optimised away.
    pub fn run(&self, seed: u64, ahead: usize, stop: &AtomicBool, reads: &AtomicU64) -> u64 {
        let ahead = ahead.clamp(1, AHEAD_MAX);
        let mut state = seed;
        let mut digest = 0;
        let mut known = [0; AHEAD_MAX];
        for page in &mut known[..ahead] {
            *page = self.next(&mut state);
        }
        while !stop.load(Ordering::Relaxed) {
            Instructions::best().read_pages(self, &mut state, &mut known[..ahead], &mut digest);
            reads.fetch_add(READS_UNTOLD.next_multiple_of(ahead) as u64, Ordering::Relaxed);
        }
        digest
    }

    /// The next random page, prefetched. The generator is a multiplicative congruential one whose
    /// high bits are used: its latency is that of a multiplication.
    #[inline(always)]
    fn next(&self, state: &mut u64) -> u32 {
        *state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let page = self.page_of.of((*state >> 32) as u32);
        prefetch(self.pages, page);
        page
    }
}

/// Reads some thousand pages.
#[inline(always)]
pub(super) fn read<const L: usize>(
    reads: &RandomReads<'_>,
    state: &mut u64,
    known: &mut [u32],
    digest: &mut u64,
) {
    let mut sum = *digest;
    for _ in 0..READS_UNTOLD.div_ceil(known.len()) {
        for known in &mut *known {
            // A word of each of the two cache lines.
            let page = &reads.pages[*known as usize];
            sum = sum.wrapping_add(u64::from(page[0]) ^ u64::from(page[31]));
            *known = reads.next(state);
        }
    }
    *digest = sum;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_counted_and_end_when_told() {
        let scratch = Scratch::new(1 << 16).unwrap();
        let (stop, reads) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let run = scope.spawn(|| scratch.random_reads().run(7, 96, &stop, &reads));
            while reads.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
            assert_ne!(run.join().unwrap(), 0);
        });
    }

    #[test]
    fn every_page_may_be_read() {
        let scratch = Scratch::new(128 * 7).unwrap();
        let reads = scratch.random_reads();
        let mut state = 1;
        let mut seen = [false; 7];
        for _ in 0..1_000 {
            seen[reads.next(&mut state) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
    }
}
