//! The loop's work for transactions.

use std::time::Instant;

use chain::ChainEvent;
use devp2p::DisconnectReason;
use primitives::{B256, Transaction};
use tokio::sync::broadcast;
use txpool::{Origin, PoolError, PooledTransaction};

use super::{Done as AnyDone, Driver};
use crate::{
    SessionId,
    gossip::transactions::{Action, Event},
    wire::{AnnouncedTransaction, EthVersion, Message},
};

/// How many changes of the pool are passed on at once.
const POOLED_MAX: usize = 1_024;
/// A peer that sent as many transactions without a valid signature is dropped.
const FORGERIES_MAX: usize = 100;

/// What a job about transactions brought.
pub(crate) enum Done {
    /// What the pool said to a peer's transactions.
    Offered { peer: SessionId, refused: Vec<B256>, forged: usize },
    /// These are in a block.
    Mined(Vec<B256>),
}

impl Driver {
    pub(super) fn greet_with_transactions(&mut self, peer: SessionId, version: EthVersion) {
        let pending = self.pool.pending();
        let pending = pending.iter().map(|pooled| AnnouncedTransaction::of(&pooled.tx)).collect();
        self.on_transactions(Event::PeerJoined { peer, version, pending });
    }

    /// The pool has something new; more may wait behind it.
    pub(super) fn on_pooled(
        &mut self,
        first: Result<B256, broadcast::error::RecvError>,
        changes: &mut broadcast::Receiver<B256>,
    ) {
        let Ok(first) = first else { return };
        let mut hashes = vec![first];
        while hashes.len() < POOLED_MAX
            && let Ok(hash) = changes.try_recv()
        {
            hashes.push(hash);
        }
        let pooled = hashes.into_iter().filter_map(|hash| self.pool.get(hash));
        let is_own = |pooled: &std::sync::Arc<PooledTransaction>| pooled.origin == Origin::Local;
        let (own, others): (Vec<_>, Vec<_>) = pooled.partition(is_own);
        for (pooled, own) in [(own, true), (others, false)] {
            if !pooled.is_empty() {
                let of = |pooled: &std::sync::Arc<PooledTransaction>| {
                    AnnouncedTransaction::of(&pooled.tx)
                };
                let transactions = pooled.iter().map(of).collect();
                self.on_transactions(Event::Pooled { transactions, own });
            }
        }
    }

    /// Transactions that are in a block need not be announced again.
    pub(super) fn forget_mined(&mut self, change: &ChainEvent) {
        if self.pool.local_senders().is_empty() {
            return;
        }
        let (view, adopted) = (change.view.clone(), change.adopted.clone());
        self.jobs.spawn_blocking(move || {
            let mut mined = Vec::new();
            for block in adopted {
                match view.db.body(block.hash) {
                    Ok(Some(body)) => {
                        mined.extend(body.transactions.iter().map(|tx| *tx.tx_hash()))
                    }
                    Ok(None) => {}
                    Err(error) => return AnyDone::Failed(error),
                }
            }
            AnyDone::Transactions(Done::Mined(mined))
        });
    }

    pub(super) fn on_transactions_done(&mut self, done: Done) {
        match done {
            Done::Mined(hashes) => self.on_transactions(Event::Gone { hashes }),
            Done::Offered { peer, refused, forged } => {
                self.on_transactions(Event::Refused { hashes: refused });
                let Some(known) = self.peers.with(peer) else { return };
                known.forgeries += forged;
                if known.forgeries >= FORGERIES_MAX {
                    let why = "transactions without valid signatures";
                    self.drop_peer(peer, DisconnectReason::SubprotocolError, why);
                }
            }
        }
    }

    pub(super) fn on_transactions(&mut self, event: Event) {
        let (pool, mut actions) = (self.pool.clone(), Vec::new());
        let mut pooled = |hash: &B256| pool.get(*hash).is_some();
        self.transactions.on(event, Instant::now(), &mut pooled, &mut actions);
        for action in actions {
            match action {
                Action::Send { peer, hashes } => {
                    let pooled = hashes.into_iter().filter_map(|hash| self.pool.get(hash));
                    let transactions: Vec<_> = pooled.map(|pooled| pooled.tx.clone()).collect();
                    if !transactions.is_empty() {
                        self.send(peer, &Message::Transactions(transactions));
                    }
                }
                Action::Announce { peer, transactions } => {
                    self.send(peer, &Message::NewPooledTransactionHashes(transactions));
                }
                Action::Request { peer, message } => self.send(peer, &message),
                Action::Admit { peer, transactions } => self.offer(peer, transactions),
                Action::Drop { peer, reason } => {
                    let why = reason.to_string();
                    self.drop_peer(peer, DisconnectReason::SubprotocolError, &why);
                }
            }
        }
    }

    fn offer(&mut self, peer: SessionId, transactions: Vec<Transaction>) {
        let (pool, room) = (self.pool.clone(), self.room.take());
        self.jobs.spawn_blocking(move || {
            let hashes: Vec<B256> = transactions.iter().map(|tx| *tx.tx_hash()).collect();
            let answers = pool.add_many(Origin::Remote, transactions);
            let forged =
                |answer: &&Result<B256, PoolError>| matches!(answer, Err(PoolError::InvalidSender));
            let forged = answers.iter().filter(forged).count();
            let refused = hashes.into_iter().zip(answers).filter(|(_, answer)| answer.is_err());
            let refused = refused.map(|(hash, _)| hash).collect();
            drop(room);
            AnyDone::Transactions(Done::Offered { peer, refused, forged })
        });
    }
}
