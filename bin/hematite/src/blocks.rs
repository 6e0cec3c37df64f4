//! Blocks in files: concatenated RLP as geth exports it, plain or gzipped, and era1 archives.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_rlp::Decodable;
use flate2::bufread::MultiGzDecoder;
use primitives::{Block, BlockBody, Header, SealedBlock};

/// The longest block that is read, in bytes: as much as a peer's message may carry.
const BLOCK_BYTES_MAX: usize = 10 << 20;
/// What a gzip file begins with (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Type and length of the record that an e2store file begins with.
const ERA1_VERSION: [u8; 8] = *b"e2\0\0\0\0\0\0";
const READ_BUFFER_BYTES: usize = 1 << 20;

/// Why a file of blocks cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum BlocksError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The file ends within a block.
    #[error("{path}: truncated in block {index} of the file; the blocks before it are whole")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Blocks before it.
        index: u64,
    },
    /// What should be a block is none.
    #[error("{path}: block {index} of the file is not a block: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Blocks before it.
        index: u64,
        /// Why not.
        reason: String,
    },
}

/// Reads the blocks of one file, in order.
pub struct BlockFile {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    kind: Kind,
    index: u64,
    buffer: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rlp,
    Era1,
}

impl std::fmt::Debug for BlockFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockFile").field("path", &self.path).field("kind", &self.kind).finish()
    }
}

/// Counts the bytes that were read from a file, compressed or not.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

impl BlockFile {
    /// Opens a file; what kind it is shows in its first bytes. `read` counts the bytes taken from it.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open(path: &Path, read: Arc<AtomicU64>) -> Result<Self, BlocksError> {
        let failed = |source| BlocksError::Io { path: path.into(), source };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let mut raw = BufReader::with_capacity(READ_BUFFER_BYTES, Counted { file, read });
        let gzip = raw.fill_buf().map_err(failed)?.starts_with(&GZIP_MAGIC);
        let mut input: Box<dyn BufRead + Send> = if gzip {
            Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, MultiGzDecoder::new(raw)))
        } else {
            Box::new(raw)
        };
        let era1 = input.fill_buf().map_err(failed)?.starts_with(&ERA1_VERSION);
        let kind = if era1 { Kind::Era1 } else { Kind::Rlp };
        Ok(Self { path: path.into(), input, kind, index: 0, buffer: Vec::new() })
    }

    /// The next block, or `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// See [`BlocksError`].
    pub fn next_block(&mut self) -> Result<Option<SealedBlock>, BlocksError> {
        let block = match self.kind {
            Kind::Rlp => self.next_rlp()?,
            Kind::Era1 => self.next_era1()?,
        };
        self.index += u64::from(block.is_some());
        Ok(block.map(SealedBlock::seal_slow))
    }

    fn next_rlp(&mut self) -> Result<Option<Block>, BlocksError> {
        if self.at_end()? {
            return Ok(None);
        }
        self.buffer.resize(1, 0);
        self.fill(0)?;
        let first = self.buffer[0];
        let length = match first {
            0xc0..=0xf7 => usize::from(first - 0xc0),
            0xf8..=0xff => {
                let width = usize::from(first - 0xf7);
                self.buffer.resize(1 + width, 0);
                self.fill(1)?;
                let bytes = &self.buffer[1..];
                bytes.iter().fold(0usize, |n, b| n.saturating_mul(256).saturating_add((*b).into()))
            }
            _ => return Err(self.malformed("expected a list")),
        };
        if length > BLOCK_BYTES_MAX {
            return Err(self.malformed(format!("{length} bytes are too many")));
        }
        let start = self.buffer.len();
        self.buffer.resize(start + length, 0);
        self.fill(start)?;
        Block::decode(&mut self.buffer.as_slice())
            .map(Some)
            .map_err(|error| self.malformed(error.to_string()))
    }

    /// A header record and a body record make a block; every other record is passed over.
    fn next_era1(&mut self) -> Result<Option<Block>, BlocksError> {
        const COMPRESSED_HEADER: u16 = 0x03;
        const COMPRESSED_BODY: u16 = 0x04;
        let mut header: Option<Header> = None;
        while !self.at_end()? {
            self.buffer.resize(8, 0);
            self.fill(0)?;
            let kind = u16::from_le_bytes([self.buffer[0], self.buffer[1]]);
            let length = u32::from_le_bytes(self.buffer[2..6].try_into().expect("four bytes"));
            let length = usize::try_from(length).expect("32 bits fit");
            if length > BLOCK_BYTES_MAX {
                return Err(self.malformed(format!("a record of {length} bytes is too long")));
            }
            self.buffer.resize(length, 0);
            self.fill(0)?;
            match (kind, header.take()) {
                (COMPRESSED_HEADER, _) => header = Some(self.decode_framed()?),
                (COMPRESSED_BODY, Some(header)) => {
                    let body: BlockBody = self.decode_framed()?;
                    return Ok(Some(Block { header, body }));
                }
                (_, kept) => header = kept,
            }
        }
        match header {
            Some(_) => Err(BlocksError::Truncated { path: self.path.clone(), index: self.index }),
            None => Ok(None),
        }
    }

    fn decode_framed<T: Decodable>(&self) -> Result<T, BlocksError> {
        let mut rlp = Vec::new();
        snap::read::FrameDecoder::new(self.buffer.as_slice())
            .take(BLOCK_BYTES_MAX as u64)
            .read_to_end(&mut rlp)
            .map_err(|error| self.malformed(error.to_string()))?;
        T::decode(&mut rlp.as_slice()).map_err(|error| self.malformed(error.to_string()))
    }

    fn at_end(&mut self) -> Result<bool, BlocksError> {
        match self.input.fill_buf() {
            Ok(bytes) => Ok(bytes.is_empty()),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Reads the rest of the buffer from `start` on.
    fn fill(&mut self, start: usize) -> Result<(), BlocksError> {
        match self.input.read_exact(&mut self.buffer[start..]) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, source: io::Error) -> BlocksError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::UnexpectedEof => BlocksError::Truncated { path, index: self.index },
            _ => BlocksError::Io { path, source },
        }
    }

    fn malformed(&self, reason: impl Into<String>) -> BlocksError {
        BlocksError::Malformed { path: self.path.clone(), index: self.index, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use alloy_rlp::Encodable;
    use primitives::ChainSpec;

    use super::*;

    fn read_all(bytes: &[u8]) -> (usize, Option<BlocksError>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blocks");
        std::fs::write(&path, bytes).unwrap();
        let mut file = BlockFile::open(&path, Arc::default()).unwrap();
        let mut count = 0;
        loop {
            match file.next_block() {
                Ok(Some(_)) => count += 1,
                Ok(None) => return (count, None),
                Err(error) => return (count, Some(error)),
            }
        }
    }

    fn two_blocks() -> Vec<u8> {
        let block = ChainSpec::preset("book").unwrap().genesis_block().clone_block();
        let mut bytes = Vec::new();
        block.encode(&mut bytes);
        block.encode(&mut bytes);
        bytes
    }

    #[test]
    fn reads_plain_and_gzipped_rlp() {
        let plain = two_blocks();
        assert!(matches!(read_all(&plain), (2, None)));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        assert!(matches!(read_all(&gzip.finish().unwrap()), (2, None)));
        assert!(matches!(read_all(&[]), (0, None)));
    }

    #[test]
    fn says_where_a_file_breaks() {
        let plain = two_blocks();
        let cut = &plain[..plain.len() - 1];
        assert!(matches!(read_all(cut), (1, Some(BlocksError::Truncated { index: 1, .. }))));
        let mut garbage = plain.clone();
        garbage.extend_from_slice(b"text");
        assert!(matches!(read_all(&garbage), (2, Some(BlocksError::Malformed { index: 2, .. }))));
        let long = [0xfb, 0xff, 0xff, 0xff, 0xff];
        assert!(matches!(read_all(&long), (0, Some(BlocksError::Malformed { .. }))));
    }
}
