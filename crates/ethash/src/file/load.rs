//! Reading and checking files: nothing leaves here that was not read to the end and found right.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Mutex;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::format::{Damage, GETH_MAGIC, ITEM_BYTES, Layout, SECTION_BYTES};
use crate::dataset::{Effort, fill, on_threads};
use crate::kernel::{Memory, Row, row_bytes, row_bytes_mut};
use crate::{LightCache, MemoryError, Phase};

/// Rows that are read at once: 256 KiB, which stay in the second-level cache while they are
/// checked. Between them a thread looks at the stop flag.
const PIECE_ROWS: usize = 4_096;
/// Items of a file of ours that are made again: its checksums say the rest.
const SAMPLE_OWN: usize = 62;
/// Items of a file of geth's that are made again.
const SAMPLE_GETH: usize = 4_094;

/// Why a file is not used.
#[derive(Debug)]
pub(super) enum Rejected {
    /// There is none.
    Missing,
    /// It is not what it should be.
    Damaged(Damage),
    /// There is no memory to read it to, or it cannot be mapped.
    Memory(MemoryError),
    /// Told to stop.
    Stopped,
}

impl From<Damage> for Rejected {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

impl From<MemoryError> for Rejected {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error)
    }
}

/// How data is told from damage.
#[derive(Clone, Copy)]
enum Check<'a> {
    /// By the checksums of its blocks.
    Checksums(&'a [u64]),
    /// By having been written at all: an item of zeros would be a collision of Keccak.
    Written,
}

/// A file of the right length, opened for reading.
pub(super) fn open(path: &Path, bytes: u64) -> Result<File, Rejected> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Rejected::Missing,
        _ => Rejected::Damaged(Damage::Unreadable(error)),
    };
    // Before it is opened: opening a pipe would wait for somebody to write.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Damage::NotAFile.into());
    }
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?.len();
    if found != bytes {
        return Err(Damage::Length { found, expected: bytes }.into());
    }
    Ok(file)
}

/// A file of ours with a valid header and length; its data is not looked at.
pub(super) fn open_own(path: &Path, layout: &Layout) -> Result<(File, Vec<u64>), Rejected> {
    let file = open(path, layout.file_bytes())?;
    let mut start = vec![0; layout.data_start() as usize];
    file.read_exact_at(&mut start, 0).map_err(Damage::Unreadable)?;
    let (header, table) = start.split_at(SECTION_BYTES);
    let checksum = layout.check_header(header)?;
    let checksums = layout.check_table(table, checksum)?;
    Ok((file, checksums))
}

/// A file of ours, in private memory.
pub(super) fn read_own(
    path: &Path,
    layout: &Layout,
    what: &'static str,
    effort: Effort<'_>,
) -> Result<Memory, Rejected> {
    let (file, checksums) = open_own(path, layout)?;
    let mut memory = Memory::zeroed(layout.data_bytes as usize, what)?;
    let reading = Reading { file: &file, data_start: layout.data_start(), layout, effort };
    reading.run(Place::Memory(memory.rows_mut()), Check::Checksums(&checksums))?;
    Ok(memory)
}

/// A file of ours, mapped.
pub(super) fn map_own(
    path: &Path,
    layout: &Layout,
    what: &'static str,
    effort: Effort<'_>,
) -> Result<Memory, Rejected> {
    let (file, checksums) = open_own(path, layout)?;
    let (start, bytes) = (layout.data_start() as usize, layout.data_bytes as usize);
    let memory = Memory::map(&file, start, bytes, what)?;
    let reading = Reading { file: &file, data_start: layout.data_start(), layout, effort };
    reading.run(Place::Mapping(&memory), Check::Checksums(&checksums))?;
    Ok(memory)
}

/// A file of geth's with the right length and magic, and where its data begins.
pub(super) fn open_geth(path: &Path, layout: &Layout) -> Result<(File, u64), Rejected> {
    let start = GETH_MAGIC.len() as u64;
    let file = open(path, start + layout.data_bytes)?;
    let mut magic = GETH_MAGIC;
    file.read_exact_at(&mut magic, 0).map_err(Damage::Unreadable)?;
    if magic == GETH_MAGIC { Ok((file, start)) } else { Err(Damage::Header.into()) }
}

/// A file of geth's, in private memory.
pub(super) fn read_geth(
    path: &Path,
    layout: &Layout,
    what: &'static str,
    effort: Effort<'_>,
) -> Result<Memory, Rejected> {
    let (file, data_start) = open_geth(path, layout)?;
    let mut memory = Memory::zeroed(layout.data_bytes as usize, what)?;
    let reading = Reading { file: &file, data_start, layout, effort };
    reading.run(Place::Memory(memory.rows_mut()), Check::Written)?;
    Ok(memory)
}

/// Checks a file of geth's as far as that is possible, without memory to speak of.
pub(super) fn check_geth(
    path: &Path,
    layout: &Layout,
    cache: &LightCache,
    effort: Effort<'_>,
) -> Result<(), Rejected> {
    let (file, data_start) = open_geth(path, layout)?;
    Reading { file: &file, data_start, layout, effort }.run(Place::Nowhere, Check::Written)?;
    let item_of = |number: usize| {
        let mut item = [[0; 16]];
        let at = data_start + number as u64 * ITEM_BYTES;
        file.read_exact_at(row_bytes_mut(&mut item), at).map_err(Damage::Unreadable)?;
        Ok(item[0])
    };
    check_sample(cache, &item_of, effort, Sample::geth(path))
}

/// One pass through the data of a file.
struct Reading<'a> {
    file: &'a File,
    data_start: u64,
    layout: &'a Layout,
    effort: Effort<'a>,
}

/// Where the data is to be once it is read.
enum Place<'a> {
    Memory(&'a mut [Row]),
    /// A mapping of the same data.
    Mapping(&'a Memory),
    /// It is only checked.
    Nowhere,
}

/// A block, and its place.
type Block<'a> = (usize, Place<'a>);

impl Reading<'_> {
    /// Reads and checks everything.
    fn run(&self, place: Place<'_>, check: Check<'_>) -> Result<(), Rejected> {
        self.effort.progress.begin(Phase::Checking, self.layout.items());
        let block_rows = (self.layout.block_bytes / ITEM_BYTES) as usize;
        let count = self.layout.blocks();
        let places: Vec<Place<'_>> = match place {
            Place::Memory(rows) => rows.chunks_mut(block_rows).map(Place::Memory).collect(),
            Place::Mapping(memory) => (0..count).map(|_| Place::Mapping(memory)).collect(),
            Place::Nowhere => (0..count).map(|_| Place::Nowhere).collect(),
        };
        let blocks = Mutex::new(places.into_iter().enumerate());
        let failure = Mutex::new(None);
        on_threads(self.effort.threads, &|| {
            let mut scratch = Vec::new();
            loop {
                let next = blocks.lock().expect("no thread panics with the lock held").next();
                let Some(block) = next else { return };
                if let Err(rejected) = self.read_block(block, &mut scratch, check) {
                    // The others find no more blocks.
                    blocks.lock().expect("no thread panics with the lock held").by_ref().count();
                    *failure.lock().expect("no thread panics with the lock held") = Some(rejected);
                }
            }
        });
        match failure.into_inner().expect("no thread panics with the lock held") {
            Some(rejected) => Err(rejected),
            None => Ok(()),
        }
    }

    fn read_block(
        &self,
        (block, mut place): Block<'_>,
        scratch: &mut Vec<Row>,
        check: Check<'_>,
    ) -> Result<(), Rejected> {
        let (start, length) = self.layout.block(block);
        let (first, rows) = (start / ITEM_BYTES, length / ITEM_BYTES as usize);
        scratch.resize(PIECE_ROWS, [0; 16]);
        let mut hasher = Xxh3::new();
        for from in (0..rows).step_by(PIECE_ROWS) {
            if self.effort.is_stopped() {
                return Err(Rejected::Stopped);
            }
            let count = PIECE_ROWS.min(rows - from);
            let at = first + from as u64;
            let piece = match &mut place {
                Place::Memory(rows) => self.read(at, &mut rows[from..][..count])?,
                Place::Nowhere => self.read(at, &mut scratch[..count])?,
                Place::Mapping(memory) => {
                    let part = at as usize..at as usize + count;
                    if memory.populate(part.clone()) {
                        &memory.rows()[part]
                    } else {
                        // An old system, or the disk cannot deliver; reading tells which.
                        self.read(at, &mut scratch[..count])?
                    }
                }
            };
            match check {
                Check::Checksums(_) => hasher.update(row_bytes(piece)),
                Check::Written => check_written(piece, at)?,
            }
            self.effort.progress.add(count as u64);
        }
        match check {
            Check::Checksums(all) if all[block] != hasher.digest() => {
                Err(Damage::Block { block }.into())
            }
            Check::Checksums(_) | Check::Written => Ok(()),
        }
    }

    /// Reads the rows from number `at` on.
    fn read<'r>(&self, at: u64, rows: &'r mut [Row]) -> Result<&'r [Row], Damage> {
        let start = self.data_start + at * ITEM_BYTES;
        self.file.read_exact_at(row_bytes_mut(rows), start).map_err(Damage::Unreadable)?;
        Ok(rows)
    }
}

/// Refuses rows that nobody wrote. `first` is the number of the first of them.
pub(super) fn check_written(rows: &[Row], first: u64) -> Result<(), Damage> {
    let empty = rows.iter().position(|row| row[0] == 0 && *row == [0; 16]);
    empty.map_or(Ok(()), |at| Err(Damage::Sparse { item: first + at as u64 }))
}

/// Makes the first, the last and some random items again, and compares them with a dataset's.
///
/// For files of ours this catches what checksums cannot: a file that was wrong when it was made.
/// Files of geth's have no checksums, so they are checked by this sample alone and by having no
/// hole. Damage smaller than a thousandth of the file may go unnoticed; the node checks each seal
/// of its own by the light cache before anybody sees it.
pub(super) fn check_sample(
    cache: &LightCache,
    item_of: &(dyn Fn(usize) -> Result<Row, Damage> + Sync),
    effort: Effort<'_>,
    sample: Sample,
) -> Result<(), Rejected> {
    let items = (cache.dataset_bytes() / ITEM_BYTES) as usize;
    let mut state = sample.seed;
    let random = std::iter::repeat_with(|| random(&mut state) as usize % items);
    let numbers: Vec<usize> = [0, items - 1].into_iter().chain(random.take(sample.items)).collect();
    let numbers = Mutex::new(numbers.into_iter());
    let failure = Mutex::new(None);
    on_threads(effort.threads, &|| {
        while !effort.is_stopped() {
            let next = numbers.lock().expect("no thread panics with the lock held").next();
            let Some(number) = next else { return };
            let mut made = [[0; 16]];
            fill(cache, number, &mut made);
            let damage = match item_of(number) {
                Ok(item) if item == made[0] => continue,
                Ok(_) => Damage::Item { item: number as u64 },
                Err(damage) => damage,
            };
            *failure.lock().expect("no thread panics with the lock held") = Some(damage);
        }
    });
    match failure.into_inner().expect("no thread panics with the lock held") {
        Some(damage) => Err(damage.into()),
        None if effort.is_stopped() => Err(Rejected::Stopped),
        None => Ok(()),
    }
}

/// Which items of a dataset are made again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// How many, besides the first and the last.
    pub(super) items: usize,
    /// Decides which.
    pub(super) seed: u64,
}

impl Sample {
    /// For a file of ours.
    pub(super) fn own(path: &Path) -> Self {
        Self { items: SAMPLE_OWN, seed: seed_of(path) }
    }

    /// For a file of geth's.
    pub(super) fn geth(path: &Path) -> Self {
        Self { items: SAMPLE_GETH, seed: seed_of(path) }
    }
}

/// A number that differs between files and between versions of a file.
fn seed_of(path: &Path) -> u64 {
    let facts = fs::metadata(path).map_or([0; 4], |facts| {
        [facts.ino(), facts.mtime() as u64, facts.mtime_nsec() as u64, facts.len()]
    });
    xxh3_64(facts.map(u64::to_le_bytes).as_flattened())
}

/// Steele, Lea and Flood's SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
