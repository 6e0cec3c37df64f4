//! One round of catching up, with one lead.

use primitives::{B256, SealedHeader, TotalDifficulty};

use super::{
    HEADER_BATCH, SyncFault,
    ancestor::{Ancestor, Search},
    queue::Queue,
};
use crate::{
    SessionId,
    wire::{HeaderQuery, Origin},
};

/// How many headers below its head a lead is asked for at first. A node that is a few blocks
/// behind needs no other question.
const FIRST_HEADERS: u64 = 16;

/// A round: the lead's head when it began is what is aimed at.
#[derive(Debug)]
pub(super) struct Cycle {
    pub(super) id: u64,
    pub(super) lead: SessionId,
    pub(super) head: B256,
    pub(super) td: TotalDifficulty,
    pub(super) stage: Stage,
    /// The lead's chain ends with another block now than when the round began, so what it claimed
    /// then need not hold.
    pub(super) moved: bool,
}

/// How far a round has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// The lead's head is asked for.
    Head,
    /// The head is known, the common block is not.
    Ancestor(Target),
    /// Headers and bodies come in, up to the block with this number.
    Fill { target: u64, queue: Queue },
}

/// The search for the common block, and the number of the lead's head.
#[derive(Debug)]
pub(super) struct Target {
    number: u64,
    search: Search,
}

impl Cycle {
    pub(super) const fn new(id: u64, lead: SessionId, head: B256, td: TotalDifficulty) -> Self {
        Self { id, lead, head, td, stage: Stage::Head, moved: false }
    }

    pub(super) const fn queue_mut(&mut self) -> Option<&mut Queue> {
        match &mut self.stage {
            Stage::Fill { queue, .. } => Some(queue),
            Stage::Head | Stage::Ancestor(_) => None,
        }
    }

    /// Whether everything that the lead has was handed over.
    pub(super) fn is_exhausted(&self) -> bool {
        match &self.stage {
            Stage::Fill { target, queue } => queue.is_empty() && queue.next_number() > *target,
            Stage::Head | Stage::Ancestor(_) => false,
        }
    }

    /// Whether there are headers whose bodies nobody is asked for.
    pub(super) fn misses_bodies(&self) -> bool {
        match &self.stage {
            Stage::Fill { queue, .. } => queue.misses_bodies(),
            Stage::Head | Stage::Ancestor(_) => false,
        }
    }

    /// What to ask the lead next, if anything.
    pub(super) fn next_query(&self) -> Option<HeaderQuery> {
        match &self.stage {
            Stage::Head => Some(HeaderQuery {
                origin: Origin::Hash(self.head),
                amount: FIRST_HEADERS,
                skip: 0,
                reverse: true,
            }),
            Stage::Ancestor(target) => Some(target.search.query()),
            Stage::Fill { target, queue } => {
                let next = queue.next_number();
                if next > *target || !queue.has_room() {
                    return None;
                }
                let batch = u64::try_from(HEADER_BATCH).expect("a small constant");
                let amount = (*target - next + 1).min(batch);
                Some(HeaderQuery { origin: Origin::Number(next), amount, skip: 0, reverse: false })
            }
        }
    }

    /// Takes the lead's answer to [`Self::next_query`] in.
    pub(super) fn take_headers(
        &mut self,
        query: &HeaderQuery,
        headers: Vec<SealedHeader>,
        local: u64,
        known: &mut dyn FnMut(u64) -> Option<B256>,
    ) -> Result<(), SyncFault> {
        if headers.is_empty() {
            return Err(SyncFault::Empty);
        }
        if u64::try_from(headers.len()).map_or(true, |count| count > query.amount) {
            return Err(SyncFault::WrongHeaders);
        }
        match &mut self.stage {
            Stage::Head => self.take_first(headers, local, known),
            Stage::Ancestor(target) => {
                let number = target.number;
                let ancestor = target.search.take(&headers, known)?;
                ancestor.map_or(Ok(()), |ancestor| self.fill(number, ancestor))
            }
            Stage::Fill { target, queue } => {
                let count = headers.len();
                queue.extend(headers)?;
                self.moved = queue.next_number() > *target && queue.tip() != self.head;
                if u64::try_from(count).is_ok_and(|count| count == query.amount) {
                    Ok(())
                } else {
                    Err(SyncFault::ShortAnswer)
                }
            }
        }
    }

    /// The head and some headers below it, the newest first.
    fn take_first(
        &mut self,
        mut headers: Vec<SealedHeader>,
        local: u64,
        known: &mut dyn FnMut(u64) -> Option<B256>,
    ) -> Result<(), SyncFault> {
        let linked = headers.windows(2).all(|pair| {
            pair[0].parent_hash == pair[1].hash()
                && pair[0].number.checked_sub(1) == Some(pair[1].number)
        });
        if headers[0].hash() != self.head || !linked {
            return Err(SyncFault::WrongHeaders);
        }
        let top = headers[0].number;
        let unshared =
            headers.iter().take_while(|header| known(header.number) != Some(header.hash())).count();
        if unshared == 0 {
            // This node has the peer's head, so its chain has no more work than ours.
            return Err(SyncFault::Unproven);
        }
        headers.truncate(unshared);
        headers.reverse();
        let (parent, number) = (headers[0].parent_hash, headers[0].number);
        let below = number.checked_sub(1).ok_or(SyncFault::WrongHeaders)?;
        if known(below) != Some(parent) {
            self.stage = Stage::Ancestor(Target { number: top, search: Search::new(local, top) });
            return Ok(());
        }
        self.fill(top, Ancestor { number: below, hash: parent })?;
        self.queue_mut().map_or(Ok(()), |queue| queue.extend(headers))
    }

    fn fill(&mut self, target: u64, ancestor: Ancestor) -> Result<(), SyncFault> {
        if ancestor.number >= target {
            return Err(SyncFault::Unproven);
        }
        self.stage = Stage::Fill { target, queue: Queue::new(ancestor.number, ancestor.hash) };
        Ok(())
    }
}
