//! Memory for a cache or a dataset: large, aligned, and in huge pages where the system has them.

use super::{Page, Row};

/// Alignment in words: rows and pages must not straddle cache lines.
const ALIGNMENT_WORDS: usize = size_of::<Page>() / size_of::<u32>();

/// Words that begin on a boundary of a page of the dataset.
pub(crate) struct Memory {
    words: Vec<u32>,
    start: usize,
    length: usize,
}

impl Memory {
    /// Zeroed memory, in bytes. The system supplies it as it is written to.
    pub(crate) fn zeroed(bytes: usize) -> Self {
        let length = bytes / size_of::<u32>();
        let words = vec![0_u32; length + ALIGNMENT_WORDS];
        prefer_huge_pages(&words);
        let start = words.as_ptr().align_offset(size_of::<Page>());
        assert!(start < ALIGNMENT_WORDS, "the allocator aligns words");
        Self { words, start, length }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        self.words[self.start..][..self.length].as_chunks().0
    }

    pub(crate) fn rows_mut(&mut self) -> &mut [Row] {
        self.words[self.start..][..self.length].as_chunks_mut().0
    }

    pub(crate) fn pages(&self) -> &[Page] {
        self.words[self.start..][..self.length].as_chunks().0
    }
}

/// Asks for huge pages, without which every random read also misses the TLB. That is an
/// optimisation, so a system that has none is not an error.
fn prefer_huge_pages(words: &[u32]) {
    #[cfg(target_os = "linux")]
    {
        use rustix::mm::{Advice, madvise};

        const HUGE_PAGE_BYTES: usize = 2 << 20;

        let unaligned = words.as_ptr().cast::<u8>().align_offset(HUGE_PAGE_BYTES);
        let usable = size_of_val(words).saturating_sub(unaligned) & !(HUGE_PAGE_BYTES - 1);
        if usable == 0 {
            return;
        }
        let first = words.as_ptr().cast::<u8>().wrapping_add(unaligned).cast_mut().cast();
        // SAFETY: the range lies within `words`, and this advice does not change what is in it.
        let _ = unsafe { madvise(first, usable, Advice::LinuxHugepage) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = words;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_pages_are_aligned_zeros() {
        for bytes in [128, 1 << 10, 3 << 20] {
            let memory = Memory::zeroed(bytes);
            assert_eq!(memory.pages().as_ptr().align_offset(128), 0);
            assert_eq!(memory.rows().len(), bytes / 64);
            assert_eq!(memory.pages().len(), bytes / 128);
            assert!(memory.rows().iter().all(|row| *row == [0; 16]));
        }
    }
}
