//! What everybody reads: one moment of the database.

use std::{
    collections::VecDeque,
    fmt,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use primitives::{
    Address, B256, BlockBody, BlockNumHash, Bytes, Header, Receipt, RecoveredBlock, SealedBlock,
    SealedHeader, TotalDifficulty, Transaction,
};
use rocksdb::DB;
use state::{LayerView, Layers, StateChanges};

use crate::{
    StateAt, StorageError,
    body::Record,
    codec::{bad, decode, decode_u64, decode_u256},
    database::{Cursor, Pinned},
    flat::Overlay,
    history,
    schema::{Column, block_key, meta, parse_block_key, parse_place},
};

/// How far behind the head unexecuted blocks count in [`View::unexecuted_bytes`], in blocks. Older
/// ones will hardly ever be executed.
const UNEXECUTED_DEPTH_MAX: u64 = 4_096;

/// Blocks whose differences from the base are kept in order, for whoever asks for their state part
/// by part.
const OVERLAYS_MAX: usize = 2;

/// The database as it stood when one commit was done.
///
/// Everything read through one view agrees with everything else read through it. Cheap to clone; as
/// long as one is held, the data it pins stays on the disk.
#[derive(Clone)]
pub struct View {
    inner: Arc<Inner>,
}

struct Inner {
    pinned: Pinned,
    layers: Layers,
    head: Option<BlockNumHash>,
    base: BlockNumHash,
    /// By block, the newest last. Locked for a look only.
    overlays: Mutex<VecDeque<(B256, Arc<Overlay>)>>,
}

impl View {
    /// Pins the database as it stands now.
    pub(crate) fn now(
        db: Arc<DB>,
        layers: Layers,
        head: Option<BlockNumHash>,
        base: BlockNumHash,
    ) -> Self {
        let (pinned, overlays) = (Pinned::now(db), Mutex::default());
        Self { inner: Arc::new(Inner { pinned, layers, head, base, overlays }) }
    }

    pub(crate) fn pinned(&self) -> &Pinned {
        &self.inner.pinned
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.inner.layers
    }

    /// The newest canonical block; `None` before the genesis block is written.
    #[must_use]
    pub fn head(&self) -> Option<BlockNumHash> {
        self.inner.head
    }

    /// The canonical block whose state is on the disk. Number and hash are zero before the genesis
    /// block is written.
    #[must_use]
    pub fn base(&self) -> BlockNumHash {
        self.inner.base
    }

    /// The hash of the canonical block at this height.
    ///
    /// # Errors
    ///
    /// When the database fails or holds something that does not decode. So do all reads below.
    pub fn canonical_hash(&self, number: u64) -> Result<Option<B256>, StorageError> {
        let key = number.to_be_bytes();
        let Some(value) = self.pinned().record(Column::Canonical, &key)? else { return Ok(None) };
        B256::try_from(&*value).map(Some).map_err(|_| bad(Column::Canonical, &key, "is not a hash"))
    }

    /// The height of a block, canonical or not.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn number_of(&self, hash: B256) -> Result<Option<u64>, StorageError> {
        let Some(value) = self.pinned().record(Column::Numbers, hash.as_slice())? else {
            return Ok(None);
        };
        decode_u64(Column::Numbers, hash.as_slice(), &value).map(Some)
    }

    /// The hashes of all blocks at this height, side blocks too, in ascending order.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn hashes_at(&self, number: u64) -> Result<Vec<B256>, StorageError> {
        let mut cursor = self.pinned().prefix(Column::Headers, &number.to_be_bytes());
        let mut hashes = Vec::new();
        while let Some((key, _)) = cursor.item()? {
            let id =
                parse_block_key(key).ok_or_else(|| bad(Column::Headers, key, "has a bad key"))?;
            hashes.push(id.hash);
            cursor.advance();
        }
        Ok(hashes)
    }

    /// A header, canonical or not.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn header(&self, hash: B256) -> Result<Option<SealedHeader>, StorageError> {
        let Some(number) = self.number_of(hash)? else { return Ok(None) };
        let header = self.of_block::<Header>(Column::Headers, BlockNumHash { number, hash })?;
        Ok(header.map(|header| SealedHeader::new(header, hash)))
    }

    /// The canonical header at this height.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn header_by_number(&self, number: u64) -> Result<Option<SealedHeader>, StorageError> {
        let Some(hash) = self.canonical_hash(number)? else { return Ok(None) };
        let header = self.of_block::<Header>(Column::Headers, BlockNumHash { number, hash })?;
        Ok(header.map(|header| SealedHeader::new(header, hash)))
    }

    /// The canonical headers of a range in their order, as far as there are some. Much cheaper than one
    /// by one.
    pub fn headers(
        &self,
        numbers: RangeInclusive<u64>,
    ) -> impl Iterator<Item = Result<SealedHeader, StorageError>> + '_ {
        let (from, end) = (numbers.start().to_be_bytes(), numbers.end().checked_add(1));
        let end = end.map(u64::to_be_bytes);
        let end = end.as_ref().map(<[u8; 8]>::as_slice);
        let mut canonical = self.pinned().cursor(Column::Canonical, &from, end);
        let mut headers = self.pinned().cursor(Column::Headers, &from, end);
        std::iter::from_fn(move || next_header(&mut canonical, &mut headers).transpose())
    }

    /// A block's transactions and ommers.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn body(&self, hash: B256) -> Result<Option<BlockBody>, StorageError> {
        let Some(number) = self.number_of(hash)? else { return Ok(None) };
        self.of_body(BlockNumHash { number, hash }, |record| record.body())
    }

    /// The block of a header, and who signed its transactions.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn recovered_block(
        &self,
        header: SealedHeader,
    ) -> Result<Option<RecoveredBlock>, StorageError> {
        let found = self.of_body(header.num_hash(), |record| record.body_and_senders())?;
        Ok(found.map(|(body, senders)| {
            RecoveredBlock::new_sealed(SealedBlock::from_sealed_parts(header, body), senders)
        }))
    }

    /// A transaction by its block and place, and who signed it. Cheaper than the whole body.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn transaction(
        &self,
        block: BlockNumHash,
        index: usize,
    ) -> Result<Option<(Transaction, Address)>, StorageError> {
        Ok(self.of_body(block, |record| record.transaction(index))?.flatten())
    }

    /// The hashes of a block's transactions at these places, which are in ascending order. Places that
    /// there are not are left out.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn transaction_hashes(
        &self,
        block: BlockNumHash,
        places: &[usize],
    ) -> Result<Vec<B256>, StorageError> {
        Ok(self.of_body(block, |record| record.hashes(places))?.unwrap_or_default())
    }

    /// A block, canonical or not.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn block(&self, hash: B256) -> Result<Option<SealedBlock>, StorageError> {
        let Some(number) = self.number_of(hash)? else { return Ok(None) };
        let id = BlockNumHash { number, hash };
        let Some(header) = self.of_block::<Header>(Column::Headers, id)? else { return Ok(None) };
        let Some(body) = self.of_body(id, |record| record.body())? else { return Ok(None) };
        Ok(Some(SealedBlock::from_parts_unchecked(header, body, hash)))
    }

    /// A block's receipts; `None` for unknown blocks and those that have never been executed.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn receipts(&self, hash: B256) -> Result<Option<Vec<Receipt>>, StorageError> {
        let Some(number) = self.number_of(hash)? else { return Ok(None) };
        self.receipts_of(BlockNumHash { number, hash })
    }

    /// As [`Self::receipts`], for whoever knows the number.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn receipts_of(&self, block: BlockNumHash) -> Result<Option<Vec<Receipt>>, StorageError> {
        self.of_block(Column::Receipts, block)
    }

    /// The work up to and including a block.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn td(&self, hash: B256) -> Result<Option<TotalDifficulty>, StorageError> {
        let Some(number) = self.number_of(hash)? else { return Ok(None) };
        let key = block_key(BlockNumHash { number, hash });
        let Some(value) = self.pinned().record(Column::Td, &key)? else { return Ok(None) };
        decode_u256(Column::Td, &key, &value).map(|td| Some(TotalDifficulty::new(td)))
    }

    /// The canonical block that holds a transaction, and the transaction's place in it.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn transaction_place(
        &self,
        tx_hash: B256,
    ) -> Result<Option<(BlockNumHash, usize)>, StorageError> {
        let key = tx_hash.as_slice();
        let Some(value) = self.pinned().record(Column::TxIndex, key)? else { return Ok(None) };
        let wrong = |why| bad(Column::TxIndex, key, why);
        let (number, index) = parse_place(&value).ok_or_else(|| wrong("is not a place"))?;
        let hash = self
            .canonical_hash(number)?
            .ok_or_else(|| wrong("points above the canonical chain"))?;
        let index = usize::try_from(index).map_err(|_| wrong("is not a place"))?;
        Ok(Some((BlockNumHash { number, hash }, index)))
    }

    /// Whether the block's state can be read. A block that left the canonical chain before the base
    /// must be executed again first.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn is_executed(&self, hash: B256) -> Result<bool, StorageError> {
        let Some(number) = self.number_of(hash)? else { return Ok(false) };
        let key = block_key(BlockNumHash { number, hash });
        Ok(self.pinned().record(Column::Unexecuted, &key)?.is_none())
    }

    /// Whether the trie after this block is here, so that a child of it can be executed.
    #[must_use]
    pub fn has_trie(&self, hash: B256) -> bool {
        self.head().is_some() && (hash == self.base().hash || self.layers().contains(hash))
    }

    /// The size of the unexecuted side blocks not far behind the head, in bytes.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn unexecuted_bytes(&self) -> Result<u64, StorageError> {
        let head = self.head().map_or(0, |head| head.number);
        let lowest = head.saturating_sub(UNEXECUTED_DEPTH_MAX).to_be_bytes();
        let mut cursor = self.pinned().cursor(Column::Unexecuted, &lowest, None);
        let mut bytes = 0_u64;
        while let Some((key, value)) = cursor.item()? {
            bytes = bytes.saturating_add(decode_u64(Column::Unexecuted, key, value)?);
            cursor.advance();
        }
        Ok(bytes)
    }

    /// The state after a block: any canonical one, and any executed one above the base.
    ///
    /// # Errors
    ///
    /// [`StorageError::UnknownBlock`], [`StorageError::NoState`], or as [`Self::canonical_hash`].
    pub fn state_at(&self, hash: B256) -> Result<StateAt, StorageError> {
        if self.head().is_some() && hash == self.base().hash {
            return Ok(StateAt::base(self.clone()));
        }
        if let Some(layers) = self.layers().view(hash) {
            return Ok(StateAt::layered(self.clone(), layers));
        }
        let number = self.number_of(hash)?.ok_or(StorageError::UnknownBlock(hash))?;
        if number < self.base().number && self.canonical_hash(number)? == Some(hash) {
            return Ok(StateAt::past(self.clone(), number));
        }
        Err(StorageError::NoState(hash))
    }

    /// The canonical blocks whose whole state is here, tries included, with their state roots: the
    /// head first, the base last.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn recent_roots(&self) -> Result<Vec<(B256, BlockNumHash)>, StorageError> {
        let Some(layers) = self.head().and_then(|head| self.layers().view(head.hash)) else {
            return Ok(Vec::new());
        };
        let mut roots: Vec<_> = layers.layers().map(|layer| (layer.root, layer.block)).collect();
        let base = self.base();
        let header = self.header(base.hash)?.ok_or(StorageError::UnknownBlock(base.hash))?;
        roots.push((header.state_root, base));
        Ok(roots)
    }

    /// What the layers of a block say, in order. Several parts of one state are often asked for one
    /// after the other.
    pub(crate) fn overlay_of(&self, layers: &LayerView) -> Arc<Overlay> {
        let Some(block) = layers.layers().next().map(|layer| layer.block.hash) else {
            return Arc::default();
        };
        let overlays = || self.inner.overlays.lock().unwrap_or_else(PoisonError::into_inner);
        let known = overlays().iter().find(|(of, _)| *of == block).map(|(_, known)| known.clone());
        known.unwrap_or_else(|| {
            let overlay = Arc::new(Overlay::above(layers));
            let mut overlays = overlays();
            if overlays.len() == OVERLAYS_MAX {
                overlays.pop_front();
            }
            overlays.push_back((block, overlay.clone()));
            overlay
        })
    }

    /// The values after canonical block `to` of every account and slot that the canonical blocks
    /// above it changed, up to and including `from` but not above the base. Flat values only.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`]; [`StorageError::Corrupt`] too if a block in between has no
    /// record of its changes.
    pub fn history_diff(&self, from: u64, to: u64) -> Result<StateChanges, StorageError> {
        history::diff(self, from.min(self.base().number), to)
    }

    /// Code by its hash.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn code(&self, code_hash: B256) -> Result<Option<Bytes>, StorageError> {
        let code = self.pinned().record(Column::Codes, code_hash.as_slice())?;
        Ok(code.map(|code| Bytes::copy_from_slice(&code)))
    }

    /// The address (20 bytes) or slot (32 bytes) behind a hash that the state's keys use.
    ///
    /// # Errors
    ///
    /// See [`Self::canonical_hash`].
    pub fn preimage(&self, hash: B256) -> Result<Option<Bytes>, StorageError> {
        let preimage = self.pinned().record(Column::Preimages, hash.as_slice())?;
        Ok(preimage.map(|preimage| Bytes::copy_from_slice(&preimage)))
    }

    /// The genesis configuration that the database was initialised with or [`crate::Writer::set_config`]
    /// was given, as geth's JSON.
    ///
    /// # Errors
    ///
    /// [`StorageError::Empty`] before the genesis block is written, or as [`Self::canonical_hash`].
    pub fn genesis_config_json(&self) -> Result<String, StorageError> {
        let json = self.pinned().record(Column::Meta, meta::CONFIG)?.ok_or(StorageError::Empty)?;
        String::from_utf8(json.to_vec())
            .map_err(|_| bad(Column::Meta, meta::CONFIG, "is not UTF-8"))
    }

    fn of_body<T>(
        &self,
        id: BlockNumHash,
        read: impl FnOnce(&Record<'_>) -> Result<T, StorageError>,
    ) -> Result<Option<T>, StorageError> {
        let key = block_key(id);
        let Some(value) = self.pinned().record(Column::Bodies, &key)? else { return Ok(None) };
        read(&Record::parse(&key, &value)?).map(Some)
    }

    fn of_block<T: alloy_rlp::Decodable>(
        &self,
        column: Column,
        id: BlockNumHash,
    ) -> Result<Option<T>, StorageError> {
        let key = block_key(id);
        let Some(value) = self.pinned().record(column, &key)? else { return Ok(None) };
        decode(column, &key, &value).map(Some)
    }
}

/// The header of the canonical block that a cursor stands on, which is taken on to the next.
fn next_header(
    canonical: &mut Cursor<'_>,
    headers: &mut Cursor<'_>,
) -> Result<Option<SealedHeader>, StorageError> {
    let Some((number, hash)) = canonical.item()? else { return Ok(None) };
    let key = [number, hash].concat();
    let id = parse_block_key(&key)
        .ok_or_else(|| bad(Column::Canonical, number, "is no number with a hash"))?;
    // Side blocks may lie in between.
    while let Some((at, value)) = headers.item()?
        && at <= key.as_slice()
    {
        let header =
            if at == key { Some(decode::<Header>(Column::Headers, at, value)?) } else { None };
        headers.advance();
        if let Some(header) = header {
            canonical.advance();
            return Ok(Some(SealedHeader::new(header, id.hash)));
        }
    }
    Err(bad(Column::Headers, &key, "is missing"))
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("head", &self.head())
            .field("base", &self.base())
            .finish_non_exhaustive()
    }
}
