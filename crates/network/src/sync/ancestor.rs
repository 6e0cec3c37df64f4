//! The search for the newest block that this node shares with a peer.

use primitives::{B256, SealedHeader};

use super::SyncFault;
use crate::wire::{HeaderQuery, Origin};

/// How far below the head a common block is looked for; geth's.
pub(super) const DEPTH_MAX: u64 = 90_000;
/// How many of the newest headers are looked at before the search halves.
const SPAN: u64 = 192;

/// Looks at the newest blocks that both can have, then halves what is below.
#[derive(Debug, Clone)]
pub(super) enum Search {
    /// The blocks from here up, as many as this.
    Span { from: u64, amount: u64 },
    /// `low` is shared if it is the genesis block or was seen; `high` is not shared.
    Halve { floor: u64, low: u64, high: u64 },
}

/// A block that both have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ancestor {
    pub(super) number: u64,
    pub(super) hash: B256,
}

impl Search {
    /// A search between two chains of these heights.
    pub(super) fn new(local: u64, remote: u64) -> Self {
        let top = local.min(remote);
        let from = top.saturating_sub(SPAN - 1);
        Self::Span { from, amount: top - from + 1 }
    }

    pub(super) const fn query(&self) -> HeaderQuery {
        let (from, amount) = match self {
            Self::Span { from, amount } => (*from, *amount),
            Self::Halve { low, high, .. } => (low.midpoint(*high), 1),
        };
        HeaderQuery { origin: Origin::Number(from), amount, skip: 0, reverse: false }
    }

    /// Takes the answer to [`Self::query`] in.
    pub(super) fn take(
        &mut self,
        headers: &[SealedHeader],
        known: &mut dyn FnMut(u64) -> Option<B256>,
    ) -> Result<Option<Ancestor>, SyncFault> {
        if headers.is_empty() {
            return Err(SyncFault::Empty);
        }
        let query = self.query();
        let Origin::Number(from) = query.origin else { return Err(SyncFault::WrongHeaders) };
        let numbered = (from..).zip(headers).all(|(number, header)| header.number == number);
        let linked = headers.windows(2).all(|pair| pair[1].parent_hash == pair[0].hash());
        let few = u64::try_from(headers.len()).is_ok_and(|count| count <= query.amount);
        if !numbered || !linked || !few {
            return Err(SyncFault::WrongHeaders);
        }
        let shared =
            headers.iter().rev().find(|header| known(header.number) == Some(header.hash()));
        match self {
            Self::Span { .. } => {
                if let Some(shared) = shared {
                    let (number, hash) = (shared.number, shared.hash());
                    return Ok(Some(Ancestor { number, hash }));
                }
                // The handshake said that the genesis block is shared.
                if from == 0 {
                    return Err(SyncFault::WrongHeaders);
                }
                let floor = from.saturating_sub(DEPTH_MAX);
                *self = Self::Halve { floor, low: floor, high: from };
            }
            Self::Halve { low, high, .. } => {
                let middle = low.midpoint(*high);
                *(if shared.is_some() { low } else { high }) = middle;
            }
        }
        self.found(known)
    }

    fn found(
        &self,
        known: &mut dyn FnMut(u64) -> Option<B256>,
    ) -> Result<Option<Ancestor>, SyncFault> {
        match *self {
            Self::Halve { floor, low, high } if high - low <= 1 => {
                if low == floor && floor > 0 {
                    return Err(SyncFault::TooDeep);
                }
                let hash = known(low).ok_or(SyncFault::TooDeep)?;
                Ok(Some(Ancestor { number: low, hash }))
            }
            Self::Halve { .. } | Self::Span { .. } => Ok(None),
        }
    }
}
