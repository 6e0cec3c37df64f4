//! Transactions on their way through the node.

use std::sync::Arc;

use alloy_eips::eip2718::Encodable2718;
use primitives::B256;
use txpool::{Origin, Pool, PooledTransaction};

use super::{Action, Fault, Job, Protocol, Turn};
use crate::{
    SessionId,
    gossip::transactions::{self, Event},
    wire::{AnnouncedTransaction, EthVersion, Message},
};

/// How many bytes of transactions go into one message, if there is more than one; as gossip does.
const PACK_BYTES_MAX: usize = 100 * 1024;

/// The transactions that were given to this node, pending or not, in messages for peers, and how
/// many there are. Those of one sender are in the order of their nonces. The pool bounds them.
pub(crate) fn own_transactions(pool: &Pool) -> (usize, Vec<Message>) {
    let (mut count, mut messages) = (0, Vec::new());
    let (mut pack, mut bytes) = (Vec::new(), 0);
    for account in pool.content().into_values() {
        for pooled in account.pending.iter().chain(&account.queued) {
            if pooled.origin != Origin::Local {
                continue;
            }
            let size = pooled.tx.encode_2718_len();
            if bytes + size > PACK_BYTES_MAX && !pack.is_empty() {
                messages.push(Message::Transactions(std::mem::take(&mut pack)));
                bytes = 0;
            }
            (count, bytes) = (count + 1, bytes + size);
            pack.push(pooled.tx.clone());
        }
    }
    if !pack.is_empty() {
        messages.push(Message::Transactions(pack));
    }
    (count, messages)
}

/// What is pending, and what users gave to this node: others may have what that waits for, and it
/// would wait at each node in turn if a sender's transactions are given to several.
fn to_pass_on(pool: &Pool) -> Vec<Arc<PooledTransaction>> {
    let mut pooled = pool.pending();
    pooled.extend(pool.waiting_own());
    pooled
}

impl Protocol {
    pub(super) fn greet_with_transactions(
        &mut self,
        peer: SessionId,
        version: EthVersion,
        turn: &mut Turn<'_>,
    ) {
        let pooled = to_pass_on(turn.pool);
        let pending = pooled.iter().map(|pooled| AnnouncedTransaction::of(&pooled.tx)).collect();
        self.on_transactions(Event::PeerJoined { peer, version, pending }, turn);
    }

    pub(super) fn on_pooled(&mut self, hashes: &[B256], turn: &mut Turn<'_>) {
        let now = turn.now;
        let mut pooled: Vec<_> = hashes.iter().filter_map(|hash| turn.pool.get(*hash)).collect();
        pooled.retain(|pooled| {
            let slot = (pooled.sender, pooled.nonce());
            self.replacements.admits(slot, pooled.hash(), now)
        });
        let is_own = |pooled: &Arc<PooledTransaction>| pooled.origin == Origin::Local;
        let (own, others): (Vec<_>, Vec<_>) = pooled.into_iter().partition(is_own);
        for (pooled, own) in [(own, true), (others, false)] {
            if !pooled.is_empty() {
                let of = |pooled: &Arc<PooledTransaction>| AnnouncedTransaction::of(&pooled.tx);
                let transactions = pooled.iter().map(of).collect();
                self.on_transactions(Event::Pooled { transactions, own }, turn);
            }
        }
    }

    /// Passes on what was never passed on: to spread the rest once more would tell
    /// everybody everything.
    pub(super) fn on_pool_skipped(&mut self, turn: &mut Turn<'_>) {
        let pooled = to_pass_on(turn.pool);
        let hashes = pooled.iter().map(|pooled| *pooled.tx.tx_hash());
        let missed: Vec<B256> = hashes.filter(|hash| !self.transactions.has_spread(hash)).collect();
        self.on_pooled(&missed, turn);
    }

    pub(super) fn on_transactions(&mut self, event: Event, turn: &mut Turn<'_>) {
        let mut decided = Vec::new();
        let mut pooled = |hash: &B256| turn.pool.get(*hash).is_some();
        self.transactions.on(event, turn.now, &mut pooled, &mut decided);
        for action in decided {
            let action = match action {
                transactions::Action::Send { peer, hashes } => {
                    let pooled = hashes.into_iter().filter_map(|hash| turn.pool.get(hash));
                    let transactions: Vec<_> = pooled.map(|pooled| pooled.tx.clone()).collect();
                    if transactions.is_empty() {
                        continue;
                    }
                    Action::Send { peer, message: Message::Transactions(transactions) }
                }
                transactions::Action::Announce { peer, transactions } => {
                    let message = Message::NewPooledTransactionHashes(transactions);
                    Action::Send { peer, message }
                }
                transactions::Action::Request { peer, message } => Action::Send { peer, message },
                transactions::Action::Admit { peer, transactions } => {
                    Action::Start(Job::Admit { peer, transactions })
                }
                transactions::Action::Drop { peer, reason } => {
                    Action::Drop { peer, fault: Fault::Transaction(reason) }
                }
            };
            turn.actions.push(action);
        }
    }
}
