//! What a file of ours looks like, and everything that can be wrong with one.
//!
//! ```text
//! 0     header, 4096 bytes, little endian; what is not named is zero
//!         0 magic (16)          32 seed (32)           80 checksum of the table (8)
//!        16 version (4)         64 data bytes (8)    4088 checksum of the header before it (8)
//!        20 kind (4)            72 block bytes (8)
//!        24 epoch (8)
//! 4096  table: a checksum of 8 bytes per block of the data, padded with zeros
//! …     data, from a multiple of 2 MiB on: rows of 64 bytes as the algorithm defines them
//! ```
//!
//! The checksums are XXH3 of 64 bits, which finds accidents at the speed of memory. They are no
//! protection from somebody who may write to the folder: that must be nobody but the node.

use std::io;

use alloy_primitives::{B256, hex};
use xxhash_rust::xxh3::xxh3_64;

use crate::kernel::HUGE_PAGE_BYTES;
use crate::{Epoch, LightCache};

/// Another version of the format has another name, so that versions of the node do not fight for
/// a file.
pub(super) const VERSION: u32 = 1;
/// Sections of a file begin on boundaries of this size.
pub(super) const SECTION_BYTES: usize = 4_096;
/// How much data a checksum is for. The datasets of tests are tiny, and shall have several blocks.
const BLOCK_BYTES: u64 = if cfg!(test) { 4 << 10 } else { 16 << 20 };
/// What a file begins with.
const MAGIC: [u8; 16] = *b"hematite ethash\n";
/// Where the header's own checksum is.
const CHECKSUM_AT: usize = SECTION_BYTES - 8;
/// What geth's files begin with: two little-endian words.
pub(super) const GETH_MAGIC: [u8; 8] = [0xfe, 0xca, 0xdd, 0xba, 0xad, 0xde, 0xe1, 0xfe];
/// How large a row or an item is.
pub(super) const ITEM_BYTES: u64 = 64;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It cannot be read.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    /// It is a directory or a device.
    #[error("is not a file")]
    NotAFile,
    /// It is shorter or longer than the epoch needs.
    #[error("has {found} bytes instead of {expected}")]
    Length {
        /// How many it has.
        found: u64,
        /// How many it must have.
        expected: u64,
    },
    /// It is not of this format, or its header is damaged.
    #[error("has no valid header")]
    Header,
    /// It is whole, but for something else.
    #[error("belongs to another epoch, kind or version")]
    Foreign,
    /// Its table of checksums is damaged.
    #[error("has a damaged table of checksums")]
    Table,
    /// Its data is damaged.
    #[error("is damaged in block {block}")]
    Block {
        /// The first block that was found damaged.
        block: usize,
    },
    /// A part was never written.
    #[error("was never written at item {item}")]
    Sparse {
        /// The first empty item that was found.
        item: u64,
    },
    /// An item is not what follows from the cache.
    #[error("has a wrong item {item}")]
    Item {
        /// Which.
        item: u64,
    },
}

/// What a file contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dataset,
    Cache,
}

impl Kind {
    /// The first word of the file's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Cache => "cache",
        }
    }

    /// The first word of geth's file's name.
    const fn geth_name(self) -> &'static str {
        match self {
            Self::Dataset => "full",
            Self::Cache => "cache",
        }
    }

    const fn number(self) -> u32 {
        match self {
            Self::Dataset => 1,
            Self::Cache => 2,
        }
    }
}

/// What a valid file of an epoch must be, to the byte. Everything follows from the epoch; nothing
/// is believed because a file says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) kind: Kind,
    pub(super) epoch: Epoch,
    pub(super) seed: B256,
    pub(super) data_bytes: u64,
    pub(super) block_bytes: u64,
}

impl Layout {
    pub(super) fn of_dataset(cache: &LightCache) -> Self {
        Self::new(Kind::Dataset, cache.epoch(), cache.dataset_bytes())
    }

    pub(super) fn of_cache(epoch: Epoch, cache_bytes: u64) -> Self {
        Self::new(Kind::Cache, epoch, cache_bytes)
    }

    fn new(kind: Kind, epoch: Epoch, data_bytes: u64) -> Self {
        Self { kind, epoch, seed: epoch.seed(), data_bytes, block_bytes: BLOCK_BYTES }
    }

    /// How many items or rows it has.
    pub(super) const fn items(&self) -> u64 {
        self.data_bytes / ITEM_BYTES
    }

    pub(super) const fn blocks(&self) -> usize {
        self.data_bytes.div_ceil(self.block_bytes) as usize
    }

    /// Where a block's data begins, and how long it is.
    pub(super) fn block(&self, block: usize) -> (u64, usize) {
        let start = block as u64 * self.block_bytes;
        (start, self.block_bytes.min(self.data_bytes - start) as usize)
    }

    pub(super) const fn table_bytes(&self) -> usize {
        self.data_start() as usize - SECTION_BYTES
    }

    /// Where the data begins: on the boundary of a huge page, so that it can be mapped in such;
    /// except where it would not fill one.
    pub(super) const fn data_start(&self) -> u64 {
        let boundary =
            if self.data_bytes < HUGE_PAGE_BYTES as u64 { SECTION_BYTES } else { HUGE_PAGE_BYTES };
        (SECTION_BYTES + self.blocks() * 8).next_multiple_of(boundary) as u64
    }

    pub(super) const fn file_bytes(&self) -> u64 {
        self.data_start() + self.data_bytes
    }

    /// The name of our file.
    pub(super) fn name(&self) -> String {
        format!("{}-v{VERSION}-{}", self.kind.name(), self.epoch.get())
    }

    /// The name of geth's file.
    pub(super) fn geth_name(&self) -> String {
        format!("{}-R23-{}", self.kind.geth_name(), hex::encode(&self.seed[..8]))
    }

    /// The header of a file with these checksums, and its table.
    pub(super) fn encode(&self, checksums: &[u64]) -> Vec<u8> {
        assert_eq!(checksums.len(), self.blocks(), "every block has a checksum");
        let mut bytes = vec![0; self.data_start() as usize];
        let (header, table) = bytes.split_at_mut(SECTION_BYTES);
        for (entry, checksum) in table.as_chunks_mut().0.iter_mut().zip(checksums) {
            *entry = checksum.to_le_bytes();
        }
        self.encode_header(header, xxh3_64(table));
        bytes
    }

    fn encode_header(&self, header: &mut [u8], table_checksum: u64) {
        let mut put = |at: usize, value: &[u8]| header[at..][..value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(16, &VERSION.to_le_bytes());
        put(20, &self.kind.number().to_le_bytes());
        put(24, &self.epoch.get().to_le_bytes());
        put(32, self.seed.as_slice());
        put(64, &self.data_bytes.to_le_bytes());
        put(72, &self.block_bytes.to_le_bytes());
        put(80, &table_checksum.to_le_bytes());
        let checksum = xxh3_64(&header[..CHECKSUM_AT]);
        header[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Checks a header and returns the checksum of the table.
    pub(super) fn check_header(&self, header: &[u8]) -> Result<u64, Damage> {
        let (before, checksum) = header.split_at_checked(CHECKSUM_AT).ok_or(Damage::Header)?;
        if !header.starts_with(&MAGIC) || xxh3_64(before).to_le_bytes() != *checksum {
            return Err(Damage::Header);
        }
        let table_checksum = word(&header[80..88]);
        let mut expected = vec![0; SECTION_BYTES];
        self.encode_header(&mut expected, table_checksum);
        if header == expected { Ok(table_checksum) } else { Err(Damage::Foreign) }
    }

    /// Checks a table and returns the checksums of the blocks.
    pub(super) fn check_table(&self, table: &[u8], checksum: u64) -> Result<Vec<u64>, Damage> {
        if table.len() != self.table_bytes() || xxh3_64(table) != checksum {
            return Err(Damage::Table);
        }
        Ok(table.as_chunks::<8>().0[..self.blocks()].iter().map(|entry| word(entry)).collect())
    }
}

/// The epoch of a file of ours of this kind, by its name; also of what belongs to it.
pub(super) fn epoch_of(name: &str, kind: Kind) -> Option<Epoch> {
    let rest = name.strip_prefix(kind.name())?.strip_prefix(&format!("-v{VERSION}-"))?;
    let (number, _) = rest.split_once('.').unwrap_or((rest, ""));
    number.parse().ok().map(Epoch::new)
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("a word has eight bytes"))
}
