//! What the sync knows about a peer.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use primitives::{B256, TotalDifficulty};

use super::{BODY_BATCH_MAX, queue::AskedBody};
use crate::wire::{HeaderQuery, RequestId};

/// How long an answer is waited for at first, and at least.
const PATIENCE_SECONDS_MIN: u64 = 5;
/// How long an answer is waited for at most.
const PATIENCE_SECONDS_MAX: u64 = 20;
/// How many bodies a peer is asked for at first.
const BODY_BATCH_FIRST: usize = 32;
/// An answer that takes longer earns a question that is hardly larger.
const PROMPT: Duration = Duration::from_secs(1);

/// A peer, what it claims and what it owes.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) head: B256,
    pub(super) td: TotalDifficulty,
    pub(super) failures: u8,
    /// It does not lead before.
    pub(super) rests_until: Option<Instant>,
    /// How often another peer was asked because this one took too long.
    pub(super) slow: u8,
    /// Since when it owes headers that back its claim.
    pub(super) owes_since: Option<Instant>,
    /// Whether it has not got the bodies of this round.
    pub(super) lacks: bool,
    pub(super) headers: Option<OpenHeaders>,
    pub(super) bodies: Option<OpenBodies>,
    pub(super) patience: Duration,
    pub(super) latency: Duration,
    /// How many bodies to ask for at once.
    pub(super) capacity: usize,
    /// The question whose answer came too late to be waited for, and may still come.
    late: Option<RequestId>,
}

/// A question about headers.
#[derive(Debug)]
pub(super) struct OpenHeaders {
    pub(super) request: RequestId,
    pub(super) sent: Instant,
    pub(super) cycle: u64,
    pub(super) query: HeaderQuery,
}

/// A question about bodies.
#[derive(Debug)]
pub(super) struct OpenBodies {
    pub(super) request: RequestId,
    pub(super) sent: Instant,
    pub(super) cycle: u64,
    pub(super) asked: Vec<AskedBody>,
}

impl Peer {
    pub(super) const fn new(head: B256, td: TotalDifficulty) -> Self {
        Self {
            head,
            td,
            failures: 0,
            rests_until: None,
            slow: 0,
            owes_since: None,
            lacks: false,
            headers: None,
            bodies: None,
            patience: Duration::from_secs(PATIENCE_SECONDS_MIN),
            latency: Duration::ZERO,
            capacity: BODY_BATCH_FIRST,
            late: None,
        }
    }

    /// The least is asked first.
    pub(super) const fn rank(&self) -> (u8, u8, bool, Reverse<TotalDifficulty>) {
        (self.failures, self.slow, self.owes_since.is_some(), Reverse(self.td))
    }

    pub(super) fn ask_headers(
        &mut self,
        request: RequestId,
        sent: Instant,
        cycle: u64,
        query: HeaderQuery,
    ) {
        self.headers = Some(OpenHeaders { request, sent, cycle, query });
        self.owes_since.get_or_insert(sent);
    }

    pub(super) fn answered(&mut self, elapsed: Duration) {
        self.latency = (self.latency + elapsed) / 2;
        let least = Duration::from_secs(PATIENCE_SECONDS_MIN);
        let most = Duration::from_secs(PATIENCE_SECONDS_MAX);
        self.patience = (self.latency * 4).clamp(least, most);
    }

    /// Learns from an answer how much to ask for next.
    pub(super) fn delivered(&mut self, asked: usize, delivered: usize, elapsed: Duration) {
        if delivered == 0 {
            self.lacks = true;
        } else if delivered < asked {
            self.capacity = delivered;
        } else if elapsed < PROMPT {
            self.capacity = (self.capacity * 2).min(BODY_BATCH_MAX);
            self.slow = self.slow.saturating_sub(1);
        } else {
            self.capacity = (self.capacity + 1).min(BODY_BATCH_MAX);
        }
    }

    pub(super) fn overtaken(&mut self) {
        self.slow = self.slow.saturating_add(1);
        self.capacity = (self.capacity / 2).max(1);
    }

    /// A question was not answered in time.
    pub(super) fn expired(&mut self, request: RequestId) {
        self.late = Some(request);
        self.capacity = 1;
        self.slow = self.slow.saturating_add(1);
        self.patience = (self.patience * 2).min(Duration::from_secs(PATIENCE_SECONDS_MAX));
    }

    /// Whether this answer is only late; it is, once.
    pub(super) fn forgive(&mut self, request: RequestId) -> bool {
        self.late.take_if(|late| request.answers(*late)).is_some()
    }
}
