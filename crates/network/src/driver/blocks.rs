//! The loop's work for new blocks.

use std::{sync::Arc, time::Instant};

use chain::{ChainEvent, ChainView, ImportError, Origin};
use consensus::{VerifiedBlock, verify_header};
use devp2p::DisconnectReason;
use primitives::{B256, BlockNumHash, SealedBlock, SealedHeader, TotalDifficulty};
use storage::StorageError;

use super::{Done as AnyDone, Driver};
use crate::{
    SessionId,
    gossip::blocks::{Action, Event},
    sync,
    wire::{Message, RequestId},
};

/// Blocks that are passed on before they are in the chain. The gossip holds fewer.
const HELD_MAX: usize = 1_024;

/// A block on its way, and the work up to and including it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    block: Arc<SealedBlock>,
    td: TotalDifficulty,
}

/// What a job about a block brought.
pub(crate) enum Done {
    /// Its seal and everything that needs no execution is right.
    Verified(Box<VerifiedBlock>, Held),
    /// It is in the chain.
    Imported(BlockNumHash),
    /// It is not.
    Rejected { hash: B256, is_invalid: bool },
}

impl Driver {
    pub(super) fn greet_with_blocks(&mut self, peer: SessionId, head: B256) {
        let Some(td) = self.peers.with(peer).map(|peer| peer.td) else { return };
        self.on_blocks(Event::PeerJoined { peer, head, td });
    }

    pub(super) fn forget_in_blocks(&mut self, peer: SessionId) {
        self.on_blocks(Event::PeerLeft { peer });
    }

    pub(super) fn tick_blocks(&mut self) {
        self.on_blocks(Event::Tick);
    }

    pub(super) fn on_new_block(
        &mut self,
        peer: SessionId,
        block: Arc<SealedBlock>,
        td: TotalDifficulty,
    ) {
        self.on_blocks(Event::NewBlock { peer, block, td });
    }

    pub(super) fn on_announced_blocks(&mut self, peer: SessionId, blocks: Vec<BlockNumHash>) {
        self.on_blocks(Event::Announced { peer, blocks });
    }

    pub(super) fn on_block_header(
        &mut self,
        peer: SessionId,
        request: RequestId,
        headers: Vec<SealedHeader>,
    ) {
        self.on_blocks(Event::Headers { peer, request, headers });
    }

    pub(super) fn on_block_body(
        &mut self,
        peer: SessionId,
        request: RequestId,
        bodies: Vec<primitives::BlockBody>,
    ) {
        self.on_blocks(Event::Bodies { peer, request, bodies });
    }

    /// Tells everybody about blocks of this node's own, and the gossip about the others.
    pub(super) fn on_adopted(&mut self, change: &ChainEvent) {
        self.on_blocks(Event::HeadChanged { number: change.view.head.number });
        for block in change.adopted.iter().chain(&change.side) {
            if !self.foreign.contains(&block.hash) {
                self.on_blocks(Event::Sealed { block: *block });
            }
        }
        self.forget_mined(change);
    }

    /// After a sync: others may not have heard of the head.
    pub(super) fn announce_head(&mut self, view: &ChainView) {
        self.on_blocks(Event::Imported { block: view.head_id() });
    }

    pub(super) fn on_block_done(&mut self, done: Done) {
        match done {
            Done::Verified(block, held) => {
                let hash = held.block.hash();
                if self.held.len() < HELD_MAX {
                    self.held.insert(hash, held);
                }
                self.foreign.insert(hash);
                self.on_blocks(Event::Verified { hash });
                let chain = self.chain.clone();
                self.jobs.spawn(async move { AnyDone::Block(outcome(*block, chain).await) });
            }
            Done::Imported(block) => {
                self.held.remove(&block.hash);
                self.on_blocks(Event::Imported { block });
            }
            Done::Rejected { hash, is_invalid } => {
                self.held.remove(&hash);
                self.on_blocks(Event::Rejected { hash, is_invalid });
            }
        }
    }

    fn on_blocks(&mut self, event: Event) {
        let (view, mut actions) = (self.view(), Vec::new());
        let mut stored = |hash: &B256| matches!(view.db.header(*hash), Ok(Some(_)));
        self.blocks.on(event, Instant::now(), &mut stored, &mut actions);
        for action in actions {
            self.perform_for_blocks(action, &view);
        }
    }

    fn perform_for_blocks(&mut self, action: Action, view: &Arc<ChainView>) {
        match action {
            Action::Verify { peer: _, block } => self.verify(block, Arc::clone(view)),
            Action::Relay { peers, hash } => {
                let Some(Held { block, td }) = self.whole(hash) else { return };
                let message = Message::NewBlock { block, td };
                for peer in peers {
                    self.send(peer, &message);
                }
            }
            Action::Announce { peers, block } => {
                let message = Message::NewBlockHashes(vec![block]);
                for peer in peers {
                    self.send(peer, &message);
                }
            }
            Action::Request { peer, message } => self.send(peer, &message),
            Action::HintSync { peer, hash, td } => {
                if let Some(known) = self.peers.with(peer) {
                    (known.head, known.td) = (hash, td);
                }
                self.on_sync(sync::Event::PeerHead { peer, hash, td });
            }
            Action::Drop { peer, reason } => {
                self.drop_peer(peer, DisconnectReason::SubprotocolError, &reason.to_string());
            }
        }
    }

    /// A block that is to be passed on: on its way into the chain, or just arrived there.
    fn whole(&self, hash: B256) -> Option<Held> {
        let stored = || -> Result<Option<Held>, StorageError> {
            let view = self.view();
            let (block, td) = (view.db.block(hash)?, view.db.td(hash)?);
            Ok(block.zip(td).map(|(block, td)| Held { block: Arc::new(block), td }))
        };
        self.held.get(&hash).cloned().or_else(|| stored().ok().flatten())
    }

    /// Cheapest first: the header against its parent, so that a stranger does not choose his own
    /// difficulty, then everything that needs no execution.
    fn verify(&mut self, block: Arc<SealedBlock>, view: Arc<ChainView>) {
        let (engine, room) = (Arc::clone(&self.engine), self.room.take());
        self.jobs.spawn_blocking(move || {
            // Held until the block is verified.
            let _held = room;
            let hash = block.hash();
            let rejected = |is_invalid| AnyDone::Block(Done::Rejected { hash, is_invalid });
            let parent = match view.db.header(block.header().parent_hash) {
                Ok(Some(parent)) => parent,
                Ok(None) => return rejected(false),
                Err(error) => return AnyDone::Failed(error),
            };
            let td = match view.db.td(parent.hash()) {
                Ok(Some(td)) => td,
                Ok(None) => return rejected(false),
                Err(error) => return AnyDone::Failed(error),
            };
            let td = TotalDifficulty::new(td.get().saturating_add(block.header().difficulty));
            let verified = verify_header(&view.spec, block.header(), parent.header())
                .and_then(|()| engine.verify(&view.spec, (*block).clone()));
            match verified {
                Ok(verified) => {
                    let held = Held { block, td };
                    AnyDone::Block(Done::Verified(Box::new(verified), held))
                }
                Err(error) => {
                    tracing::warn!(%hash, %error, "Peer sent an invalid block");
                    rejected(true)
                }
            }
        });
    }
}

async fn outcome(block: VerifiedBlock, chain: chain::ChainHandle) -> Done {
    let header = block.block().header();
    let (number, hash) = (header.number, block.block().hash());
    let started = Instant::now();
    match chain.import(block, Origin::Other).await {
        Ok(_) => {
            tracing::info!(number, %hash, elapsed = ?started.elapsed(), "Imported new chain segment");
            Done::Imported(BlockNumHash { number, hash })
        }
        Err(error) => {
            let is_invalid = error.is_senders_fault();
            if !matches!(error, ImportError::Stopped) {
                tracing::debug!(number, %hash, %error, "Could not import block");
            }
            Done::Rejected { hash, is_invalid }
        }
    }
}
