//! New blocks on their way through the node.

use std::sync::Arc;

use chain::ChainEvent;
use consensus::VerifiedBlock;
use primitives::{B256, SealedBlock, TotalDifficulty};
use storage::StorageError;

use super::{Action, Fault, Job, Protocol, Turn};
use crate::{
    gossip::blocks::{self, Event},
    sync,
    wire::Message,
};

/// Blocks that are passed on before they are in the chain. The gossip holds fewer.
const HELD_MAX: usize = 1_024;

/// A block on its way, and the work up to and including it.
#[derive(Debug, Clone)]
pub struct Held {
    pub(super) block: Arc<SealedBlock>,
    pub(super) td: TotalDifficulty,
}

impl Protocol {
    /// Tells everybody about blocks of this node's own.
    pub(super) fn on_adopted(&mut self, change: &ChainEvent, turn: &mut Turn<'_>) {
        for block in change.adopted.iter().chain(&change.side) {
            if !self.foreign.contains(&block.hash) {
                self.accept_transactions();
                self.on_blocks(Event::Sealed { block: *block }, turn);
            }
        }
    }

    /// After a sync: others may not have heard of the head.
    pub(super) fn announce_head(&mut self, turn: &mut Turn<'_>) {
        self.on_blocks(Event::Imported { block: turn.view.head_id() }, turn);
    }

    pub(super) fn on_verified(
        &mut self,
        block: Box<VerifiedBlock>,
        held: Held,
        turn: &mut Turn<'_>,
    ) {
        let hash = held.block.hash();
        if self.held.len() < HELD_MAX {
            self.held.insert(hash, held);
        }
        self.foreign.insert(hash);
        self.on_blocks(Event::Verified { hash }, turn);
        turn.actions.push(Action::Import(block));
    }

    pub(super) fn on_blocks(&mut self, event: Event, turn: &mut Turn<'_>) {
        let mut decided = Vec::new();
        let mut stored = |hash: &B256| matches!(turn.view.db.header(*hash), Ok(Some(_)));
        self.blocks.on(event, turn.now, &mut stored, &mut decided);
        for action in decided {
            self.perform_for_blocks(action, turn);
        }
    }

    fn perform_for_blocks(&mut self, action: blocks::Action, turn: &mut Turn<'_>) {
        match action {
            blocks::Action::Verify { peer: _, block } => {
                let view = Arc::clone(turn.view);
                turn.actions.push(Action::Start(Job::Verify { block, view }));
            }
            blocks::Action::Relay { peers, hash } => {
                let Some(Held { block, td }) = self.whole(hash, turn) else { return };
                let sends = peers.into_iter().map(|peer| {
                    let message = Message::NewBlock { block: Arc::clone(&block), td };
                    Action::Send { peer, message }
                });
                turn.actions.extend(sends);
            }
            blocks::Action::Announce { peers, block } => {
                let message = || Message::NewBlockHashes(vec![block]);
                let sends = peers.into_iter().map(|peer| Action::Send { peer, message: message() });
                turn.actions.extend(sends);
            }
            blocks::Action::Request { peer, message } => {
                turn.actions.push(Action::Send { peer, message });
            }
            blocks::Action::HintSync { peer, hash, td } => {
                turn.actions.push(Action::PeerHead { peer, head: hash, td });
                self.on_sync(sync::Event::PeerHead { peer, hash, td }, turn);
            }
            blocks::Action::Drop { peer, reason } => {
                turn.actions.push(Action::Drop { peer, fault: Fault::Block(reason) });
            }
        }
    }

    /// A block that is to be passed on: on its way into the chain, or just arrived there.
    fn whole(&self, hash: B256, turn: &Turn<'_>) -> Option<Held> {
        let stored = || -> Result<Option<Held>, StorageError> {
            let (block, td) = (turn.view.db.block(hash)?, turn.view.db.td(hash)?);
            Ok(block.zip(td).map(|(block, td)| Held { block: Arc::new(block), td }))
        };
        self.held.get(&hash).cloned().or_else(|| stored().ok().flatten())
    }
}
