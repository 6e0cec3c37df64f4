//! The messages of the eth protocol, versions 63 to 68, and their bytes
//! ([devp2p/caps/eth](https://github.com/ethereum/devp2p/blob/master/caps/eth.md)), and those of
//! snap/1.
//!
//! Decoding is strict: canonical RLP, nothing behind the end, and every list is counted before
//! anything in it is decoded.

mod block;
mod items;
mod questions;
mod receipt;
mod snap;
#[cfg(test)]
mod tests;
mod transaction;

use std::sync::Arc;

use alloy_rlp::{BufMut, Encodable};
use primitives::{
    B256, BlockBody, BlockNumHash, Bytes, ForkId, Receipt, SealedBlock, SealedHeader,
    TotalDifficulty, Transaction, U256,
};

use self::items::{Items, encode_list, encode_list_of, list_length};
pub use self::{
    items::WireError,
    questions::Questions,
    snap::{
        CODES_MAX, SLOT_ACCOUNTS_MAX, SNAP_MESSAGE_CODES, SnapAnswer, SnapQuestion, TRIE_PATHS_MAX,
        slim,
    },
    transaction::{AnnouncedTransaction, TransactionMetadata},
};

/// The longest payload of a message, in bytes; geth's.
pub const MESSAGE_BYTES_MAX: usize = 10 * 1024 * 1024;
/// The most headers in an answer.
pub const HEADERS_MAX: usize = 1024;
/// The most bodies in an answer, and hashes in the question.
pub const BODIES_MAX: usize = 1024;
/// The most blocks whose receipts are in an answer, and hashes in the question.
pub const RECEIPTS_MAX: usize = 1024;
/// The most trie nodes in an answer, and hashes in the question.
pub const NODE_DATA_MAX: usize = 1024;
/// The most block hashes in an announcement.
pub const BLOCK_HASHES_MAX: usize = 512;
/// The most transaction hashes in an announcement.
pub const TRANSACTION_HASHES_MAX: usize = 4096;
/// The most transactions in one message of them.
pub const TRANSACTIONS_MAX: usize = 4096;
/// The most pooled transactions in an answer, and in a question of ours.
pub const POOLED_TRANSACTIONS_MAX: usize = 256;
/// Pooled transactions that a peer may ask for at once. geth asks for 256, its test suite for 2 000;
/// answers end after 2 MiB whatever is asked for.
pub const POOLED_TRANSACTIONS_ASKED_MAX: usize = 4_096;
/// The most bits of a total difficulty; geth's.
pub const TOTAL_DIFFICULTY_BITS_MAX: usize = 100;

/// How many codes the protocol takes up, in each version from 63 to 68.
pub const MESSAGE_CODES: u8 = 17;

const STATUS: u8 = 0x00;
const NEW_BLOCK_HASHES: u8 = 0x01;
const TRANSACTIONS: u8 = 0x02;
const GET_BLOCK_HEADERS: u8 = 0x03;
const BLOCK_HEADERS: u8 = 0x04;
const GET_BLOCK_BODIES: u8 = 0x05;
const BLOCK_BODIES: u8 = 0x06;
const NEW_BLOCK: u8 = 0x07;
const NEW_POOLED_TRANSACTION_HASHES: u8 = 0x08;
const GET_POOLED_TRANSACTIONS: u8 = 0x09;
const POOLED_TRANSACTIONS: u8 = 0x0a;
const GET_NODE_DATA: u8 = 0x0d;
const NODE_DATA: u8 = 0x0e;
const GET_RECEIPTS: u8 = 0x0f;
const RECEIPTS: u8 = 0x10;

/// A message of the eth protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Who the sender is; the first message both ways.
    Status(Status),
    /// Blocks that the sender has.
    NewBlockHashes(Vec<BlockNumHash>),
    /// Transactions, unasked.
    Transactions(Vec<Transaction>),
    /// Asks for headers.
    GetBlockHeaders {
        /// What the answer will carry.
        request: RequestId,
        /// Which headers.
        query: HeaderQuery,
    },
    /// Headers, as asked.
    BlockHeaders {
        /// The question's.
        request: RequestId,
        /// In the order asked for; what the sender does not have is left out.
        headers: Vec<SealedHeader>,
    },
    /// Asks for the bodies of blocks.
    GetBlockBodies {
        /// What the answer will carry.
        request: RequestId,
        /// The blocks' hashes.
        hashes: Vec<B256>,
    },
    /// Bodies, as asked.
    BlockBodies {
        /// The question's.
        request: RequestId,
        /// In the order asked for; what the sender does not have is left out.
        bodies: Vec<BlockBody>,
    },
    /// A whole block, unasked.
    NewBlock {
        /// The block; neither its seal nor its roots are checked.
        block: Arc<SealedBlock>,
        /// What the sender says about the work up to and including it.
        td: TotalDifficulty,
    },
    /// Transactions that the sender has; from 65 on.
    NewPooledTransactionHashes(Vec<AnnouncedTransaction>),
    /// Asks for transactions of the pool; from 65 on.
    GetPooledTransactions {
        /// What the answer will carry.
        request: RequestId,
        /// The transactions' hashes.
        hashes: Vec<B256>,
    },
    /// Transactions, as asked; from 65 on.
    PooledTransactions {
        /// The question's.
        request: RequestId,
        /// In the order asked for; what the sender does not have is left out.
        transactions: Vec<Transaction>,
    },
    /// Asks for trie nodes and code; up to 66.
    GetNodeData {
        /// What the answer will carry.
        request: RequestId,
        /// Hashes of nodes or code.
        hashes: Vec<B256>,
    },
    /// Trie nodes and code, as asked; up to 66.
    NodeData {
        /// The question's.
        request: RequestId,
        /// The values behind the hashes.
        values: Vec<Bytes>,
    },
    /// Asks for the receipts of blocks.
    GetReceipts {
        /// What the answer will carry.
        request: RequestId,
        /// The blocks' hashes.
        hashes: Vec<B256>,
    },
    /// Receipts, as asked.
    Receipts {
        /// The question's.
        request: RequestId,
        /// One list for each block.
        receipts: Vec<Vec<Receipt>>,
    },
}

/// A version of the eth protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EthVersion {
    /// Fast sync.
    Eth63,
    /// Fork ids ([EIP-2364](https://eips.ethereum.org/EIPS/eip-2364)).
    Eth64,
    /// Transactions are announced ([EIP-2464](https://eips.ethereum.org/EIPS/eip-2464)).
    Eth65,
    /// Request ids ([EIP-2481](https://eips.ethereum.org/EIPS/eip-2481)).
    Eth66,
    /// No more node data ([EIP-4938](https://eips.ethereum.org/EIPS/eip-4938)).
    Eth67,
    /// Announcements tell type and size ([EIP-5793](https://eips.ethereum.org/EIPS/eip-5793)).
    Eth68,
}

/// Ties an answer to its question. Before eth/66 there is none on the wire: it is
/// [`RequestId::NONE`] when decoded and left out when encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Which part of this node asked. Two bits of a request id say it, so that an answer finds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Requester {
    /// The sync.
    Sync,
    /// The gossip of blocks.
    Blocks,
    /// The gossip of transactions.
    Transactions,
}

/// What a node tells about itself when the protocol begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The protocol version, 63 to 68.
    pub version: u64,
    /// Keeps networks apart; by custom the chain id.
    pub network_id: u64,
    /// The work of the head's chain, as the sender says.
    pub td: TotalDifficulty,
    /// The hash of the newest canonical block.
    pub head: B256,
    /// The hash of the first block.
    pub genesis: B256,
    /// Which forks the sender follows; from eth/64 on.
    pub fork_id: Option<ForkId>,
}

/// Which headers are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderQuery {
    /// The first header.
    pub origin: Origin,
    /// How many, at most.
    pub amount: u64,
    /// How many blocks are left out between two headers.
    pub skip: u64,
    /// Whether the numbers fall.
    pub reverse: bool,
}

/// Where a query of headers begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// At the block with this hash, canonical or not.
    Hash(B256),
    /// At the canonical block with this number.
    Number(u64),
}

impl Message {
    /// Reads a message; `code` is relative to the protocol's first.
    ///
    /// # Errors
    ///
    /// If the code means nothing in this version, or the payload is not its one canonical form
    /// within the limits. The peer should be dropped then.
    pub fn decode(version: EthVersion, code: u8, payload: &[u8]) -> Result<Self, WireError> {
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err(WireError::Oversized { bytes: payload.len() });
        }
        if !version.has(code) {
            return Err(WireError::UnknownCode { code, version });
        }
        let mut items = Items::of_payload(payload)?;
        let message = match code {
            STATUS => Self::Status(Status::from_items(version, &mut items)?),
            NEW_BLOCK_HASHES => {
                let hashes = items.each(BLOCK_HASHES_MAX, |items| {
                    let mut pair = items.list()?;
                    let (hash, number) = (pair.value()?, pair.value()?);
                    pair.end()?;
                    Ok(BlockNumHash { number, hash })
                })?;
                Self::NewBlockHashes(hashes)
            }
            TRANSACTIONS => Self::Transactions(items.each(TRANSACTIONS_MAX, transaction::decode)?),
            NEW_BLOCK => {
                let block = Arc::new(block::decode_block(&mut items)?);
                let td = total_difficulty(&mut items)?;
                Self::NewBlock { block, td }
            }
            NEW_POOLED_TRANSACTION_HASHES => Self::NewPooledTransactionHashes(
                transaction::decode_announcement(version, &mut items)?,
            ),
            _ => return Self::decode_exchange(version, code, items),
        };
        items.end()?;
        Ok(message)
    }

    /// Questions and answers: what carries a request id from eth/66 on.
    fn decode_exchange(
        version: EthVersion,
        code: u8,
        mut items: Items<'_>,
    ) -> Result<Self, WireError> {
        let mut request = RequestId::NONE;
        if version.has_request_ids() {
            request = RequestId(items.value()?);
            let content = items.list()?;
            items.end()?;
            items = content;
        }
        let message = match code {
            GET_BLOCK_HEADERS => {
                Self::GetBlockHeaders { request, query: HeaderQuery::from_items(&mut items)? }
            }
            BLOCK_HEADERS => Self::BlockHeaders {
                request,
                headers: items.each(HEADERS_MAX, block::decode_header)?,
            },
            GET_BLOCK_BODIES => {
                Self::GetBlockBodies { request, hashes: items.each(BODIES_MAX, Items::value)? }
            }
            BLOCK_BODIES => {
                Self::BlockBodies { request, bodies: items.each(BODIES_MAX, block::decode_body)? }
            }
            GET_POOLED_TRANSACTIONS => Self::GetPooledTransactions {
                request,
                hashes: items.each(POOLED_TRANSACTIONS_ASKED_MAX, Items::value)?,
            },
            POOLED_TRANSACTIONS => Self::PooledTransactions {
                request,
                transactions: items.each(POOLED_TRANSACTIONS_MAX, transaction::decode)?,
            },
            GET_NODE_DATA => {
                Self::GetNodeData { request, hashes: items.each(NODE_DATA_MAX, Items::value)? }
            }
            NODE_DATA => {
                Self::NodeData { request, values: items.each(NODE_DATA_MAX, Items::value)? }
            }
            GET_RECEIPTS => {
                Self::GetReceipts { request, hashes: items.each(RECEIPTS_MAX, Items::value)? }
            }
            RECEIPTS => Self::Receipts {
                request,
                receipts: items.each(RECEIPTS_MAX, receipt::decode_block)?,
            },
            _ => return Err(WireError::UnknownCode { code, version }),
        };
        items.end()?;
        Ok(message)
    }

    /// The message's code, relative to the protocol's first, and its payload.
    ///
    /// A message that the version does not have is written in the form of the first that does;
    /// sending it is the caller's mistake. Announced transactions without metadata are left out
    /// from eth/68 on.
    #[must_use]
    pub fn encode(&self, version: EthVersion) -> (u8, Vec<u8>) {
        let mut out = Vec::new();
        match self {
            Self::Status(status) => status.encode(version, &mut out),
            Self::NewBlockHashes(hashes) => {
                let pairs: Vec<Vec<u8>> = hashes.iter().map(encode_block_hash).collect();
                encode_list(&pairs, &mut out);
            }
            Self::Transactions(transactions) => {
                encode_list(&transaction::encode_each(transactions), &mut out);
            }
            Self::NewBlock { block, td } => {
                let mut content = Vec::new();
                block::encode_block(block, &mut content);
                td.get().encode(&mut content);
                encode_list(&[content], &mut out);
            }
            Self::NewPooledTransactionHashes(announced) => {
                transaction::encode_announcement(version, announced, &mut out);
            }
            Self::GetBlockHeaders { request, .. }
            | Self::BlockHeaders { request, .. }
            | Self::GetBlockBodies { request, .. }
            | Self::BlockBodies { request, .. }
            | Self::GetPooledTransactions { request, .. }
            | Self::PooledTransactions { request, .. }
            | Self::GetNodeData { request, .. }
            | Self::NodeData { request, .. }
            | Self::GetReceipts { request, .. }
            | Self::Receipts { request, .. } => {
                let content = self.encode_content();
                if version.has_request_ids() {
                    let payload_length = request.0.length() + content.len();
                    alloy_rlp::Header { list: true, payload_length }.encode(&mut out);
                    request.0.encode(&mut out);
                }
                out.put_slice(&content);
            }
        }
        (self.code(), out)
    }

    /// What stands beside the request id; empty for a message that has none.
    fn encode_content(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::GetBlockHeaders { query, .. } => query.encode(&mut out),
            Self::BlockHeaders { headers, .. } => {
                encode_list_of(headers.iter().map(SealedHeader::header), &mut out);
            }
            Self::GetBlockBodies { hashes, .. }
            | Self::GetPooledTransactions { hashes, .. }
            | Self::GetNodeData { hashes, .. }
            | Self::GetReceipts { hashes, .. } => hashes.encode(&mut out),
            Self::BlockBodies { bodies, .. } => {
                let bodies: Vec<Vec<u8>> = bodies.iter().map(block::encode_body).collect();
                encode_list(&bodies, &mut out);
            }
            Self::PooledTransactions { transactions, .. } => {
                encode_list(&transaction::encode_each(transactions), &mut out);
            }
            Self::NodeData { values, .. } => values.encode(&mut out),
            Self::Receipts { receipts, .. } => {
                let blocks: Vec<Vec<u8>> =
                    receipts.iter().map(|block| receipt::encode_block(block)).collect();
                encode_list(&blocks, &mut out);
            }
            Self::Status(_)
            | Self::NewBlockHashes(_)
            | Self::Transactions(_)
            | Self::NewBlock { .. }
            | Self::NewPooledTransactionHashes(_) => {}
        }
        out
    }

    /// The message's code, relative to the protocol's first.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Status(_) => STATUS,
            Self::NewBlockHashes(_) => NEW_BLOCK_HASHES,
            Self::Transactions(_) => TRANSACTIONS,
            Self::GetBlockHeaders { .. } => GET_BLOCK_HEADERS,
            Self::BlockHeaders { .. } => BLOCK_HEADERS,
            Self::GetBlockBodies { .. } => GET_BLOCK_BODIES,
            Self::BlockBodies { .. } => BLOCK_BODIES,
            Self::NewBlock { .. } => NEW_BLOCK,
            Self::NewPooledTransactionHashes(_) => NEW_POOLED_TRANSACTION_HASHES,
            Self::GetPooledTransactions { .. } => GET_POOLED_TRANSACTIONS,
            Self::PooledTransactions { .. } => POOLED_TRANSACTIONS,
            Self::GetNodeData { .. } => GET_NODE_DATA,
            Self::NodeData { .. } => NODE_DATA,
            Self::GetReceipts { .. } => GET_RECEIPTS,
            Self::Receipts { .. } => RECEIPTS,
        }
    }
}

impl EthVersion {
    /// All versions, the oldest first.
    pub const ALL: [Self; 6] =
        [Self::Eth63, Self::Eth64, Self::Eth65, Self::Eth66, Self::Eth67, Self::Eth68];

    /// The number in Hello and Status.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Eth63 => 63,
            Self::Eth64 => 64,
            Self::Eth65 => 65,
            Self::Eth66 => 66,
            Self::Eth67 => 67,
            Self::Eth68 => 68,
        }
    }

    /// The version with this number, if this node speaks it.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|version| u64::from(version.number()) == number)
    }

    /// Whether Status carries a fork id.
    #[must_use]
    pub fn has_fork_id(self) -> bool {
        self >= Self::Eth64
    }

    /// Whether transactions are announced and asked for by hash.
    #[must_use]
    pub fn has_pooled_transactions(self) -> bool {
        self >= Self::Eth65
    }

    /// Whether questions and answers carry a request id.
    #[must_use]
    pub fn has_request_ids(self) -> bool {
        self >= Self::Eth66
    }

    /// Whether announcements tell the type and size of each transaction.
    #[must_use]
    pub fn has_metadata(self) -> bool {
        self >= Self::Eth68
    }

    /// Whether the code means a message in this version.
    #[must_use]
    pub fn has(self, code: u8) -> bool {
        match code {
            STATUS..=NEW_BLOCK | GET_RECEIPTS | RECEIPTS => true,
            NEW_POOLED_TRANSACTION_HASHES..=POOLED_TRANSACTIONS => self.has_pooled_transactions(),
            GET_NODE_DATA | NODE_DATA => self <= Self::Eth66,
            _ => false,
        }
    }
}

impl std::fmt::Display for EthVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "eth/{}", self.number())
    }
}

impl RequestId {
    /// What stands for the id that a message before eth/66 does not have.
    pub const NONE: Self = Self(0);

    /// The id of this requester's question with this number.
    #[must_use]
    pub const fn of(requester: Requester, number: u64) -> Self {
        let tag = match requester {
            Requester::Sync => 1,
            Requester::Blocks => 2,
            Requester::Transactions => 3,
        };
        Self((number << 2) | tag)
    }

    /// Who asked, if a part of this node did.
    #[must_use]
    pub const fn requester(self) -> Option<Requester> {
        match self.0 & 3 {
            1 => Some(Requester::Sync),
            2 => Some(Requester::Blocks),
            3 => Some(Requester::Transactions),
            _ => None,
        }
    }

    /// Whether an answer with this id can belong to the question with that one: before eth/66
    /// every answer can.
    pub(crate) fn answers(self, question: Self) -> bool {
        self == question || self == Self::NONE
    }
}

impl Status {
    fn from_items(version: EthVersion, items: &mut Items<'_>) -> Result<Self, WireError> {
        let (number, network_id) = (items.value()?, items.value()?);
        let td = total_difficulty(items)?;
        let (head, genesis) = (items.value()?, items.value()?);
        let mut fork_id = None;
        if version.has_fork_id() {
            let mut parts = items.list()?;
            fork_id = Some(ForkId { hash: parts.value()?, next: parts.value()? });
            parts.end()?;
        }
        Ok(Self { version: number, network_id, td, head, genesis, fork_id })
    }

    fn encode(&self, version: EthVersion, out: &mut Vec<u8>) {
        let mut content = Vec::new();
        self.version.encode(&mut content);
        self.network_id.encode(&mut content);
        self.td.get().encode(&mut content);
        self.head.encode(&mut content);
        self.genesis.encode(&mut content);
        if let Some(fork_id) = self.fork_id
            && version.has_fork_id()
        {
            let payload_length = fork_id.hash.length() + fork_id.next.length();
            alloy_rlp::Header { list: true, payload_length }.encode(&mut content);
            fork_id.hash.encode(&mut content);
            fork_id.next.encode(&mut content);
        }
        encode_list(&[content], out);
    }
}

impl HeaderQuery {
    fn from_items(items: &mut Items<'_>) -> Result<Self, WireError> {
        let origin = if items.next_is_hash() {
            Origin::Hash(items.value()?)
        } else {
            Origin::Number(items.value()?)
        };
        let (amount, skip, reverse) = (items.value()?, items.value()?, items.value()?);
        Ok(Self { origin, amount, skip, reverse })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut content = Vec::new();
        match self.origin {
            Origin::Hash(hash) => hash.encode(&mut content),
            Origin::Number(number) => number.encode(&mut content),
        }
        self.amount.encode(&mut content);
        self.skip.encode(&mut content);
        self.reverse.encode(&mut content);
        encode_list(&[content], out);
    }
}

fn total_difficulty(items: &mut Items<'_>) -> Result<TotalDifficulty, WireError> {
    let td: U256 = items.value()?;
    if td.bit_len() > TOTAL_DIFFICULTY_BITS_MAX {
        return Err(WireError::TotalDifficultyTooLarge { bits: td.bit_len() });
    }
    Ok(TotalDifficulty::new(td))
}

fn encode_block_hash(block: &BlockNumHash) -> Vec<u8> {
    let payload_length = block.hash.length() + block.number.length();
    let mut out = Vec::with_capacity(list_length(payload_length));
    alloy_rlp::Header { list: true, payload_length }.encode(&mut out);
    block.hash.encode(&mut out);
    block.number.encode(&mut out);
    out
}
