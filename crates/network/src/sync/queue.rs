//! Headers in order, the bodies that came for them, and what is complete.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use alloy_rlp::Encodable;
use primitives::{
    B256, BlockBody, EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, SealedBlock, SealedHeader,
    ommers_hash, transactions_root,
};

use super::{HEADER_BATCH, HEADER_BATCHES_MAX, IMPORT_BATCH_MAX, SyncFault, WAITING_BYTES_MAX};
use crate::wire::RequestId;

/// How many bodies are asked for at the front while too many wait behind it.
const FRONT: usize = 16;
/// What a header takes up, in bytes, about.
const HEADER_BYTES: usize = 700;

/// The part of the chain between what was handed over and the newest header.
#[derive(Debug)]
pub(super) struct Queue {
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first: u64,
    tip: B256,
    /// The bytes of the bodies here.
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    header: SealedHeader,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Missing,
    Asked { request: RequestId, since: Instant },
    Here { body: BlockBody, bytes: usize },
}

/// A block whose body is asked for, and what the body must hash to.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskedBody {
    pub(super) number: u64,
    pub(super) hash: B256,
    transactions_root: B256,
    ommers_hash: B256,
}

/// Blocks to import.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) blocks: Vec<SealedBlock>,
    pub(super) bytes: usize,
}

impl Queue {
    /// A queue that begins above this block.
    pub(super) const fn new(number: u64, hash: B256) -> Self {
        Self { slots: VecDeque::new(), first: number + 1, tip: hash, bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn next_number(&self) -> u64 {
        self.first + u64::try_from(self.slots.len()).expect("a queue is short")
    }

    pub(super) const fn tip(&self) -> B256 {
        self.tip
    }

    pub(super) fn has_room(&self) -> bool {
        self.slots.len() + HEADER_BATCH <= HEADER_BATCHES_MAX * HEADER_BATCH
    }

    /// Whether a body is missing that nobody is asked for.
    pub(super) fn misses_bodies(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.body, Body::Missing))
    }

    /// Appends headers that follow the tip and each other.
    pub(super) fn extend(&mut self, headers: Vec<SealedHeader>) -> Result<(), SyncFault> {
        for header in headers {
            let is_later =
                self.slots.back().is_none_or(|last| header.timestamp > last.header.timestamp);
            let follows = header.number == self.next_number() && header.parent_hash == self.tip;
            if !is_later || !follows || header.difficulty.is_zero() {
                return Err(SyncFault::WrongHeaders);
            }
            self.tip = header.hash();
            let is_empty = header.transactions_root == EMPTY_ROOT_HASH
                && header.ommers_hash == EMPTY_OMMER_ROOT_HASH;
            let body = if is_empty {
                self.bytes += HEADER_BYTES;
                Body::Here { body: BlockBody::default(), bytes: HEADER_BYTES }
            } else {
                Body::Missing
            };
            self.slots.push_back(Slot { header, body });
        }
        Ok(())
    }

    /// Takes the oldest bodies that nobody is asked for, and those at the very front whose
    /// question is older than `late`; the latter's request comes along.
    pub(super) fn pick(
        &mut self,
        capacity: usize,
        request: RequestId,
        now: Instant,
        late: Duration,
    ) -> (Vec<AskedBody>, Option<RequestId>) {
        let front = self.slots.iter().find(|slot| !matches!(slot.body, Body::Here { .. }));
        let overdue = front.and_then(|slot| match slot.body {
            Body::Asked { request, since } if now - since >= late => Some(request),
            Body::Asked { .. } | Body::Missing | Body::Here { .. } => None,
        });
        let mut asked = Vec::new();
        let span = if self.bytes > WAITING_BYTES_MAX { FRONT } else { self.slots.len() };
        for (number, slot) in (self.first..).zip(&mut self.slots).take(span) {
            let is_free = match slot.body {
                Body::Missing => true,
                Body::Asked { request, .. } => Some(request) == overdue,
                Body::Here { .. } => false,
            };
            if asked.len() == capacity {
                break;
            }
            if is_free {
                slot.body = Body::Asked { request, since: now };
                asked.push(AskedBody {
                    number,
                    hash: slot.header.hash(),
                    transactions_root: slot.header.transactions_root,
                    ommers_hash: slot.header.ommers_hash,
                });
            }
        }
        (asked, overdue)
    }

    /// Makes what this request was about missing again.
    pub(super) fn release(&mut self, request: RequestId) {
        for slot in &mut self.slots {
            if matches!(slot.body, Body::Asked { request: asked, .. } if asked == request) {
                slot.body = Body::Missing;
            }
        }
    }

    /// Puts a body, checked by [`matching`], to its header.
    pub(super) fn put(&mut self, number: u64, body: BlockBody) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(slot) = index.and_then(|index| self.slots.get_mut(index)) else { return };
        if !matches!(slot.body, Body::Here { .. }) {
            let bytes = HEADER_BYTES + body.length();
            self.bytes += bytes;
            slot.body = Body::Here { body, bytes };
        }
    }

    /// Takes the complete blocks at the front, if there are `least` or the queue ends with them,
    /// up to this many bytes.
    pub(super) fn take_batch(&mut self, least: usize, bytes_max: usize) -> Option<Batch> {
        let mut batch = Batch { blocks: Vec::new(), bytes: 0 };
        let mut count = 0;
        for slot in self.slots.iter().take(IMPORT_BATCH_MAX) {
            let Body::Here { bytes, .. } = slot.body else { break };
            if batch.bytes + bytes > bytes_max {
                break;
            }
            batch.bytes += bytes;
            count += 1;
        }
        if count == 0 || count < least.min(self.slots.len()) {
            return None;
        }
        for slot in self.slots.drain(..count) {
            let Body::Here { body, .. } = slot.body else { break };
            batch.blocks.push(SealedBlock::from_sealed_parts(slot.header, body));
        }
        self.first += u64::try_from(count).expect("a batch is short");
        self.bytes -= batch.bytes;
        Some(batch)
    }
}

/// Which block each body belongs to; nothing if one belongs to none, or they are out of order. A
/// peer leaves out what it does not have.
pub(super) fn matching(
    asked: &[AskedBody],
    bodies: Vec<BlockBody>,
) -> Option<Vec<(u64, BlockBody)>> {
    if bodies.len() > asked.len() {
        return None;
    }
    let mut asked = asked.iter();
    let mut matched = Vec::with_capacity(bodies.len());
    for body in bodies {
        let transactions = transactions_root(&body.transactions);
        let ommers = ommers_hash(&body.ommers);
        let block = asked
            .find(|block| block.transactions_root == transactions && block.ommers_hash == ommers)?;
        matched.push((block.number, body));
    }
    Some(matched)
}

#[cfg(test)]
mod tests {
    use primitives::{Header, U256};

    use super::*;

    const START: B256 = B256::ZERO;

    /// Headers above block 9, with one ommer each.
    fn chain(count: u64) -> (Vec<SealedHeader>, Vec<BlockBody>) {
        let (mut headers, mut bodies) = (vec![], vec![]);
        let mut parent_hash = START;
        for number in 10..10 + count {
            let ommers = vec![Header { number, ..Header::default() }];
            let header = SealedHeader::seal_slow(Header {
                number,
                parent_hash,
                timestamp: number,
                difficulty: U256::from(1),
                ommers_hash: ommers_hash(&ommers),
                ..Header::default()
            });
            parent_hash = header.hash();
            headers.push(header);
            bodies.push(BlockBody { ommers, ..BlockBody::default() });
        }
        (headers, bodies)
    }

    fn queue(count: u64) -> (Queue, Vec<BlockBody>) {
        let (headers, bodies) = chain(count);
        let mut queue = Queue::new(9, START);
        queue.extend(headers).unwrap();
        (queue, bodies)
    }

    fn ask(queue: &mut Queue, capacity: usize, request: u64, now: Instant) -> Vec<u64> {
        let (asked, _) = queue.pick(capacity, RequestId(request), now, Duration::from_secs(1));
        asked.iter().map(|body| body.number).collect()
    }

    #[test]
    fn takes_headers_that_follow_each_other_only() {
        let (headers, _) = chain(3);
        let changed = |change: &dyn Fn(&mut Header)| {
            let mut header = headers[1].clone_header();
            change(&mut header);
            let headers = vec![headers[0].clone(), SealedHeader::seal_slow(header)];
            Queue::new(9, START).extend(headers)
        };
        assert_eq!(changed(&|_| {}), Ok(()));
        let wrong = Err(SyncFault::WrongHeaders);
        assert_eq!(changed(&|header| header.number = 12), wrong);
        assert_eq!(changed(&|header| header.parent_hash = B256::repeat_byte(1)), wrong);
        assert_eq!(changed(&|header| header.timestamp = 10), wrong);
        assert_eq!(changed(&|header| header.difficulty = U256::ZERO), wrong);
        assert_eq!(Queue::new(9, START).extend(headers[1..].to_vec()), wrong);
    }

    #[test]
    fn asks_for_each_body_once_until_it_is_overdue() {
        let (mut queue, bodies) = queue(5);
        let now = Instant::now();
        assert_eq!(ask(&mut queue, 2, 1, now), [10, 11]);
        assert_eq!(ask(&mut queue, 9, 2, now), [12, 13, 14]);
        assert_eq!(ask(&mut queue, 9, 3, now), [0_u64; 0]);
        queue.release(RequestId(2));
        assert_eq!(ask(&mut queue, 9, 3, now), [12, 13, 14]);
        let late = now + Duration::from_secs(1);
        assert_eq!(ask(&mut queue, 9, 4, late), [10, 11], "at the front only");
        queue.put(10, bodies[0].clone());
        queue.put(11, bodies[1].clone());
        assert_eq!(ask(&mut queue, 9, 5, late), [12, 13, 14]);
    }

    #[test]
    fn hands_over_in_order_and_within_the_limits() {
        let (mut queue, bodies) = queue(300);
        for (number, body) in (10..).zip(&bodies).skip(1) {
            queue.put(number, body.clone());
        }
        assert!(queue.take_batch(1, usize::MAX).is_none(), "the first is missing");
        queue.put(10, bodies[0].clone());
        let total = queue.bytes;
        let batch = queue.take_batch(1, usize::MAX).unwrap();
        assert_eq!(batch.blocks.len(), IMPORT_BATCH_MAX);
        assert!(queue.take_batch(1, 100).is_none(), "no block has so few bytes");
        let one = batch.bytes / IMPORT_BATCH_MAX;
        assert_eq!(queue.take_batch(1, one * 3 + 10).unwrap().blocks.len(), 3);
        let rest = queue.take_batch(IMPORT_BATCH_MAX, usize::MAX).unwrap();
        assert_eq!(rest.blocks.len(), 300 - IMPORT_BATCH_MAX - 3);
        assert!(queue.is_empty() && queue.bytes == 0 && total > batch.bytes);
        assert_eq!(queue.next_number(), 310);
    }

    #[test]
    fn asks_for_the_front_only_while_too_much_waits() {
        let (mut queue, _) = queue(100);
        queue.bytes = WAITING_BYTES_MAX + 1;
        assert_eq!(ask(&mut queue, 128, 1, Instant::now()).len(), FRONT);
    }

    #[test]
    fn has_room_for_a_bounded_number_of_headers() {
        let whole = u64::try_from(HEADER_BATCH * HEADER_BATCHES_MAX).unwrap();
        let batch = u64::try_from(HEADER_BATCH).unwrap();
        assert!(queue(whole - batch).0.has_room());
        assert!(!queue(whole - batch + 1).0.has_room());
    }

    #[test]
    fn matches_bodies_that_were_asked_for_in_order() {
        let (mut queue, bodies) = queue(4);
        let late = Duration::from_secs(1);
        let (asked, _) = queue.pick(4, RequestId(1), Instant::now(), late);
        let numbers = |places: &[usize]| {
            let bodies = places.iter().map(|place| bodies[*place].clone()).collect();
            let matched = matching(&asked, bodies)?;
            Some(matched.into_iter().map(|(number, _)| number).collect::<Vec<_>>())
        };
        assert_eq!(numbers(&[]), Some(vec![]));
        assert_eq!(numbers(&[0, 1, 2, 3]), Some(vec![10, 11, 12, 13]));
        assert_eq!(numbers(&[1, 3]), Some(vec![11, 13]), "what a peer lacks it leaves out");
        assert_eq!(numbers(&[1, 0]), None);
        assert_eq!(numbers(&[1, 1]), None);
        assert_eq!(numbers(&[0, 1, 2, 3, 3]), None);
        assert_eq!(matching(&asked, vec![BlockBody::default()]).map(|_| ()), None);
    }
}
