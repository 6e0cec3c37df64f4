//! Memory for a cache or a dataset: large, aligned, in huge pages where the system has them; or a
//! file, read through a mapping.

use std::io;
use std::ops::Range;

use self::region::Region;
use super::{Page, Row};

/// Rows and pages must not straddle cache lines.
const ALIGNMENT_BYTES: usize = size_of::<Page>();
/// Size of a huge page.
pub(crate) const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Explicit huge pages are few and somebody reserved them for a purpose: what is smaller than any
/// dataset leaves them alone.
const EXPLICIT_BYTES_MIN: usize = 512 << 20;

/// Why there is no memory.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The system refuses to give this much.
    #[error("cannot get {} MiB of memory for {what}", .bytes.div_ceil(1 << 20))]
    Refused {
        /// How much.
        bytes: usize,
        /// What for.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// The system refuses to map a file.
    #[error("cannot map {} MiB of a file for {what}", .bytes.div_ceil(1 << 20))]
    Unmappable {
        /// How much of it.
        bytes: usize,
        /// What for.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// What the memory is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Huge pages that the administrator reserved.
    Explicit,
    /// Huge pages are asked for; how many the system finds is not known.
    Transparent,
    /// Pages of the usual size.
    Small,
    /// Pages of a file, as the system keeps it in memory.
    File,
}

impl Pages {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Explicit => "huge-explicit",
            Self::Transparent => "huge-transparent",
            Self::Small => "small",
            Self::File => "file",
        }
    }
}

/// Words that begin on a boundary of a page of the dataset.
pub(crate) struct Memory {
    region: Region,
    pages: Pages,
}

impl Memory {
    /// Zeroed private memory. The system supplies it as it is written to, except for explicit
    /// huge pages, which are there at once.
    pub(crate) fn zeroed(bytes: usize, what: &'static str) -> Result<Self, MemoryError> {
        let explicit = (bytes >= EXPLICIT_BYTES_MIN).then(|| Region::explicit(bytes)).flatten();
        if let Some(region) = explicit {
            return Ok(Self { region, pages: Pages::Explicit });
        }
        let refused = |source| MemoryError::Refused { bytes, what, source };
        let (region, is_huge) = Region::zeroed(bytes).map_err(refused)?;
        Ok(Self { region, pages: if is_huge { Pages::Transparent } else { Pages::Small } })
    }

    /// A part of a file, read only. Every reader of the file shares it.
    ///
    /// Whoever changes the file changes this memory, and who truncates it ends the process at the
    /// next read: so only files may be mapped that are replaced but never written to.
    ///
    /// # Panics
    ///
    /// If the part does not begin on a boundary of a page of the dataset.
    pub(crate) fn map(
        file: &std::fs::File,
        start: usize,
        bytes: usize,
        what: &'static str,
    ) -> Result<Self, MemoryError> {
        assert!(start.is_multiple_of(ALIGNMENT_BYTES), "rows would straddle cache lines");
        let region = Region::map(file, start, bytes).map_err(|source| MemoryError::Unmappable {
            bytes,
            what,
            source,
        })?;
        Ok(Self { region, pages: Pages::File })
    }

    /// Brings a part of a mapped file, in rows, into memory. Returns whether it is there: reading
    /// what the disk cannot deliver would end the process.
    pub(crate) fn populate(&self, rows: Range<usize>) -> bool {
        let size = size_of::<Row>();
        self.region.populate(rows.start * size..rows.end * size)
    }

    pub(crate) const fn kind(&self) -> Pages {
        self.pages
    }

    pub(crate) fn rows(&self) -> &[Row] {
        self.region.words().as_chunks().0
    }

    /// # Panics
    ///
    /// If this is a file.
    pub(crate) fn rows_mut(&mut self) -> &mut [Row] {
        assert!(self.pages != Pages::File, "a file that is mapped is not written to");
        self.region.words_mut().as_chunks_mut().0
    }

    /// # Panics
    ///
    /// If this is a file.
    pub(crate) fn pages_mut(&mut self) -> &mut [Page] {
        self.rows_mut().as_flattened_mut().as_chunks_mut().0
    }

    pub(crate) fn pages(&self) -> &[Page] {
        self.region.words().as_chunks().0
    }
}

/// The bytes of rows, as files have them: little endian, like every processor that the crate
/// compiles for.
pub(crate) fn row_bytes(rows: &[Row]) -> &[u8] {
    // SAFETY: words have no padding, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(rows.as_ptr().cast(), size_of_val(rows)) }
}

/// The bytes of rows, to be read from a file.
pub(crate) fn row_bytes_mut(rows: &mut [Row]) -> &mut [u8] {
    // SAFETY: words have no padding, any bytes make a word, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts_mut(rows.as_mut_ptr().cast(), size_of_val(rows)) }
}

#[cfg(target_os = "linux")]
mod region {
    use std::fs::File;
    use std::ops::Range;
    use std::ptr::{self, NonNull};
    use std::{io, slice};

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

    use super::{ALIGNMENT_BYTES, HUGE_PAGE_BYTES};

    /// A mapping, and the words in it that are of use.
    pub(super) struct Region {
        /// Where the mapping begins, and its length: nobody else knows it.
        mapping: (NonNull<u8>, usize),
        /// Where the words begin within it.
        start: usize,
        /// Length of the words.
        bytes: usize,
    }

    // SAFETY: the mapping belongs to this value alone, which lends it out by the usual rules.
    unsafe impl Send for Region {}
    // SAFETY: as above.
    unsafe impl Sync for Region {}

    impl Drop for Region {
        fn drop(&mut self) {
            let (first, length) = self.mapping;
            // SAFETY: the mapping is this value's, and nobody borrows from it any more.
            let unmapped = unsafe { munmap(first.as_ptr().cast(), length) };
            debug_assert!(unmapped.is_ok(), "the mapping is there");
        }
    }

    impl Region {
        /// Memory in huge pages that are reserved, if there are enough.
        ///
        /// They are taken at once: a control group may refuse what the system has promised, and
        /// would otherwise end the process at the first write.
        pub(super) fn explicit(bytes: usize) -> Option<Self> {
            let length = bytes.checked_next_multiple_of(HUGE_PAGE_BYTES)?;
            let flags = MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::HUGE_2MB;
            let region = Self::anonymous(length, flags, bytes).ok()?;
            region.advise(0..length, Advice::LinuxPopulateWrite).then_some(region)
        }

        /// Memory as every program gets it, and whether huge pages are asked for: without them,
        /// every random read also misses the TLB. That is an optimisation, so a system that has
        /// none is not an error.
        pub(super) fn zeroed(bytes: usize) -> io::Result<(Self, bool)> {
            if bytes < HUGE_PAGE_BYTES {
                return Ok((Self::anonymous(bytes.max(1), MapFlags::PRIVATE, bytes)?, false));
            }
            // Room to begin and to end on the boundary of a huge page.
            let length =
                bytes.checked_add(2 * HUGE_PAGE_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
            let mut region = Self::anonymous(length, MapFlags::PRIVATE, bytes)?;
            region.start = region.mapping.0.as_ptr().align_offset(HUGE_PAGE_BYTES);
            let until = region.start + bytes.next_multiple_of(HUGE_PAGE_BYTES);
            let is_huge = region.advise(region.start..until, Advice::LinuxHugepage);
            Ok((region, is_huge))
        }

        /// A part of a file. The boundaries of huge pages in the file are such in memory, too, so
        /// that the system can use huge pages where the file is in them.
        pub(super) fn map(file: &File, start: usize, bytes: usize) -> io::Result<Self> {
            let length = start.checked_add(bytes).ok_or(io::ErrorKind::OutOfMemory)?;
            let room = length.checked_add(HUGE_PAGE_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
            let mut region = Self::anonymous(room, MapFlags::PRIVATE | MapFlags::NORESERVE, bytes)?;
            let first = region.mapping.0.as_ptr();
            let aligned = first.align_offset(HUGE_PAGE_BYTES);
            let place = first.wrapping_add(aligned).cast();
            let flags = MapFlags::SHARED | MapFlags::FIXED;
            // SAFETY: what is replaced lies within the mapping above, which nobody knows yet.
            unsafe { mmap(place, length, ProtFlags::READ, flags, file, 0)? };
            region.start = aligned + start;
            region.advise(aligned..aligned + length, Advice::LinuxHugepage);
            Ok(region)
        }

        /// Brings a part of the words, in bytes, into memory.
        pub(super) fn populate(&self, part: Range<usize>) -> bool {
            let part = self.start + part.start..self.start + part.end;
            self.advise(part, Advice::LinuxPopulateRead)
        }

        fn anonymous(length: usize, flags: MapFlags, bytes: usize) -> io::Result<Self> {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: the address is the system's choice, so nothing else is there.
            let first = unsafe { mmap_anonymous(ptr::null_mut(), length, access, flags)? };
            Ok(Self { mapping: (not_null(first.cast())?, length), start: 0, bytes })
        }

        /// Tells the system how a part of the mapping will be used. Returns whether it understood.
        fn advise(&self, part: Range<usize>, advice: Advice) -> bool {
            let (first, length) = self.mapping;
            assert!(part.end <= length, "the part lies within the mapping");
            let start = first.as_ptr().wrapping_add(part.start).cast();
            // SAFETY: the range lies within the mapping, and no advice that is given here changes
            // what is in it.
            unsafe { madvise(start, part.len(), advice) }.is_ok()
        }

        pub(super) fn words(&self) -> &[u32] {
            let first = self.mapping.0.as_ptr().wrapping_add(self.start).cast::<u32>();
            debug_assert!(first.cast::<u8>().align_offset(ALIGNMENT_BYTES) == 0);
            // SAFETY: the words lie within the mapping and are aligned; it is readable, and
            // lives as long as the borrow.
            unsafe { slice::from_raw_parts(first, self.bytes / size_of::<u32>()) }
        }

        /// For private memory only.
        pub(super) fn words_mut(&mut self) -> &mut [u32] {
            let first = self.mapping.0.as_ptr().wrapping_add(self.start).cast::<u32>();
            // SAFETY: as above; private memory is also writable, and borrowed by one alone.
            unsafe { slice::from_raw_parts_mut(first, self.bytes / size_of::<u32>()) }
        }
    }

    fn not_null(first: *mut u8) -> io::Result<NonNull<u8>> {
        NonNull::new(first).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }
}

#[cfg(not(target_os = "linux"))]
mod region {
    use std::fs::File;
    use std::io;
    use std::ops::Range;

    use super::ALIGNMENT_BYTES;

    /// Alignment in words.
    const ALIGNMENT_WORDS: usize = ALIGNMENT_BYTES / size_of::<u32>();

    /// Words from the allocator.
    pub(super) struct Region {
        words: Vec<u32>,
        start: usize,
        length: usize,
    }

    impl Region {
        pub(super) fn explicit(_: usize) -> Option<Self> {
            None
        }

        pub(super) fn zeroed(bytes: usize) -> io::Result<(Self, bool)> {
            let length = bytes / size_of::<u32>();
            let mut words = Vec::new();
            words.try_reserve_exact(length + ALIGNMENT_WORDS).map_err(io::Error::other)?;
            words.resize(length + ALIGNMENT_WORDS, 0);
            let start = words.as_ptr().align_offset(ALIGNMENT_BYTES);
            assert!(start < ALIGNMENT_WORDS, "the allocator aligns words");
            Ok((Self { words, start, length }, false))
        }

        pub(super) fn map(_: &File, _: usize, _: usize) -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn populate(&self, _: Range<usize>) -> bool {
            false
        }

        pub(super) fn words(&self) -> &[u32] {
            &self.words[self.start..][..self.length]
        }

        pub(super) fn words_mut(&mut self) -> &mut [u32] {
            &mut self.words[self.start..][..self.length]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn rows_and_pages_are_aligned_zeros() {
        for bytes in [128, 1 << 10, 3 << 20, EXPLICIT_BYTES_MIN] {
            let memory = Memory::zeroed(bytes, "a test").unwrap();
            assert_eq!(memory.pages().as_ptr().align_offset(128), 0);
            assert_eq!(memory.rows().len(), bytes / 64);
            assert_eq!(memory.pages().len(), bytes / 128);
            assert!(memory.rows().iter().take(1 << 16).all(|row| *row == [0; 16]));
            assert_eq!(memory.rows().last(), Some(&[0; 16]));
        }
    }

    #[test]
    fn memory_that_is_written_to_keeps_what_was_written() {
        let mut memory = Memory::zeroed(5 << 20, "a test").unwrap();
        for (number, row) in (0..).zip(memory.rows_mut()) {
            *row = [number; 16];
        }
        assert!((0..).zip(memory.rows()).all(|(number, row)| *row == [number; 16]));
    }

    #[test]
    fn more_memory_than_there_can_be_is_an_error_that_names_it() {
        for bytes in [usize::MAX, usize::MAX / 4, 1 << 60] {
            let Err(error) = Memory::zeroed(bytes, "a test") else { panic!("{bytes} bytes") };
            let mib = bytes.div_ceil(1 << 20);
            assert_eq!(error.to_string(), format!("cannot get {mib} MiB of memory for a test"));
        }
    }

    #[test]
    fn bytes_and_rows_are_the_same_memory() {
        let mut rows = [[0; 16]; 2];
        row_bytes_mut(&mut rows)[..5].copy_from_slice(&[1, 2, 3, 4, 5]);
        assert_eq!((rows[0][0], rows[0][1], rows[1]), (0x0403_0201, 5, [0; 16]));
        assert_eq!(row_bytes(&rows)[..6], [1, 2, 3, 4, 5, 0]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_mapped_is_what_was_written_and_stays_so_when_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let words: Vec<u8> = (0..64_u32).flat_map(u32::to_le_bytes).collect();
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(&[0xff; 4_096]).unwrap();
        file.write_all(&words).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let memory = Memory::map(&file, 4_096, 256, "a test").unwrap();
        drop(file);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(memory.kind().name(), "file");
        assert_eq!(row_bytes(memory.rows()), words);
        assert_eq!(memory.pages().len(), 2);
    }
}
