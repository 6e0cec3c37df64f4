//! Answers from one view of the chain. Whatever is asked, an answer is short and so is the way to it.

mod node_data;
mod snap;
mod window;

use std::sync::Mutex;

use alloy_rlp::Encodable;
use chain::ChainView;
use primitives::{B256, SealedHeader, map::HashSet};
use storage::StorageError;
use txpool::Pool;

use crate::wire::{HeaderQuery, Message, Origin, SnapAnswer, SnapQuestion};
pub(crate) use node_data::Places;
use window::Window;

/// Bytes after which nothing more is added to an answer, as in geth.
const ANSWER_BYTES: usize = 2 * 1024 * 1024;
/// Headers in an answer. geth 1.9 asks for 192 and later ones for less than this.
const HEADERS_MAX: u64 = 1_024;
/// What geth counts for a header.
const HEADER_BYTES: usize = 500;
/// Reads of one answer for which no other thread is woken: that costs more than they do.
const BRIEF_READS_MAX: u64 = 16;
/// Steps from a block that is not canonical towards its ancestors, in one answer.
const SIDE_STEPS_MAX: u64 = 100;

/// What a peer wants to know.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    Eth(Message),
    Snap(SnapQuestion),
}

/// What a peer is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Eth(Message),
    Snap(SnapAnswer),
}

/// Whether an answer takes a few point reads only, or none at all.
pub(crate) fn is_brief(view: &ChainView, question: &Question) -> bool {
    match question {
        Question::Eth(Message::GetBlockHeaders { query, .. }) => {
            let is_beyond =
                matches!(query.origin, Origin::Number(number) if number > view.head.number);
            let is_walk =
                query.reverse && query.skip > 0 && matches!(query.origin, Origin::Hash(_));
            is_beyond || (query.amount <= BRIEF_READS_MAX && !is_walk)
        }
        // They are in memory.
        Question::Eth(Message::GetPooledTransactions { .. }) => true,
        Question::Eth(_) | Question::Snap(_) => false,
    }
}

/// The answer to a question; `None` if the message is none, or one that is not answered here.
///
/// # Errors
///
/// When the database fails.
pub(crate) fn answer(
    view: &ChainView,
    pool: &Pool,
    places: &Mutex<Places>,
    question: Question,
) -> Result<Option<Answer>, StorageError> {
    match question {
        Question::Eth(message) => Ok(answer_eth(view, pool, places, message)?.map(Answer::Eth)),
        Question::Snap(question) => {
            snap::answer(&mut Window::of(view)?, question).map(|answer| Some(Answer::Snap(answer)))
        }
    }
}

fn answer_eth(
    view: &ChainView,
    pool: &Pool,
    places: &Mutex<Places>,
    question: Message,
) -> Result<Option<Message>, StorageError> {
    let answer = match question {
        Message::GetBlockHeaders { request, query } => {
            Message::BlockHeaders { request, headers: headers(view, &query)? }
        }
        Message::GetBlockBodies { request, hashes } => {
            let body = |hash| Ok(view.db.body(hash)?.map(|body| (body.length(), body)));
            Message::BlockBodies { request, bodies: each(hashes, body)? }
        }
        Message::GetReceipts { request, hashes } => {
            let receipts = |hash| {
                let receipts = view.db.receipts(hash)?;
                Ok(receipts.map(|receipts| (receipts.iter().map(bytes_of).sum(), receipts)))
            };
            Message::Receipts { request, receipts: each(hashes, receipts)? }
        }
        Message::GetPooledTransactions { request, hashes } => {
            let transaction =
                |hash| Ok(pool.get(hash).map(|pooled| (pooled.tx.length(), pooled.tx.clone())));
            Message::PooledTransactions { request, transactions: each(hashes, transaction)? }
        }
        Message::GetNodeData { request, hashes } => {
            let mut window = Window::of(view)?;
            let value = |hash| {
                let value = node_data::find(&mut window, places, hash)?;
                Ok(value.map(|value| (value.len(), value)))
            };
            Message::NodeData { request, values: each(hashes, value)? }
        }
        Message::Status(_)
        | Message::NewBlockHashes(_)
        | Message::Transactions(_)
        | Message::BlockHeaders { .. }
        | Message::BlockBodies { .. }
        | Message::NewBlock { .. }
        | Message::NewPooledTransactionHashes(_)
        | Message::PooledTransactions { .. }
        | Message::NodeData { .. }
        | Message::Receipts { .. } => return Ok(None),
    };
    Ok(Some(answer))
}

/// What there is of what is asked for, each once, in order and until the answer is long enough.
fn each<T>(
    hashes: Vec<B256>,
    mut find: impl FnMut(B256) -> Result<Option<(usize, T)>, StorageError>,
) -> Result<Vec<T>, StorageError> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    let mut seen: HashSet<B256> = HashSet::default();
    for hash in hashes {
        if bytes >= ANSWER_BYTES {
            break;
        }
        if !seen.insert(hash) {
            continue;
        }
        if let Some((length, item)) = find(hash)? {
            bytes += length;
            found.push(item);
        }
    }
    Ok(found)
}

/// A bound is enough here: the bloom, three words, and the logs.
fn bytes_of(receipt: &primitives::Receipt) -> usize {
    let logs = receipt.logs.iter().map(|log| 100 + 33 * log.topics().len() + log.data.data.len());
    400 + logs.sum::<usize>()
}

/// Headers in the order asked for, as geth finds them: the first by hash even if it is not
/// canonical; forward only along one chain; nothing beyond the ends, whatever the numbers.
fn headers(view: &ChainView, query: &HeaderQuery) -> Result<Vec<SealedHeader>, StorageError> {
    let amount = query.amount.min(HEADERS_MAX);
    let mut headers: Vec<SealedHeader> = Vec::new();
    let mut next = match query.origin {
        _ if amount == 0 => None,
        Origin::Hash(hash) => view.db.header(hash)?,
        Origin::Number(number) => canonical(view, number)?,
    };
    let (mut bytes, mut steps) = (0, SIDE_STEPS_MAX);
    while let Some(header) = next.take() {
        bytes += HEADER_BYTES;
        headers.push(header);
        if headers.len() as u64 >= amount || bytes >= ANSWER_BYTES {
            break;
        }
        let header = headers.last().expect("one was just added");
        next = following(view, query, header, &mut steps)?;
    }
    Ok(headers)
}

/// The header after one that was found.
fn following(
    view: &ChainView,
    query: &HeaderQuery,
    header: &SealedHeader,
    steps: &mut u64,
) -> Result<Option<SealedHeader>, StorageError> {
    let Some(stride) = query.skip.checked_add(1) else { return Ok(None) };
    if query.reverse {
        let Some(number) = header.number.checked_sub(stride) else { return Ok(None) };
        let by_hash = matches!(query.origin, Origin::Hash(_));
        return if by_hash {
            ancestor(view, header, number, steps)
        } else {
            canonical(view, number)
        };
    }
    let Some(number) = header.number.checked_add(stride) else { return Ok(None) };
    // A block beside the canonical chain has no canonical descendants.
    if view.db.canonical_hash(header.number)? != Some(header.hash()) {
        return Ok(None);
    }
    canonical(view, number)
}

fn canonical(view: &ChainView, number: u64) -> Result<Option<SealedHeader>, StorageError> {
    if number > view.head.number { Ok(None) } else { view.db.header_by_number(number) }
}

/// Walks parents until the chain is canonical.
fn ancestor(
    view: &ChainView,
    from: &SealedHeader,
    number: u64,
    steps: &mut u64,
) -> Result<Option<SealedHeader>, StorageError> {
    let mut at = from.clone();
    while at.number > number {
        if view.db.canonical_hash(at.number)? == Some(at.hash()) {
            return canonical(view, number);
        }
        *steps = match steps.checked_sub(1) {
            Some(steps) => steps,
            None => return Ok(None),
        };
        let Some(parent) = view.db.header(at.parent_hash)? else { return Ok(None) };
        at = parent;
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests;
