//! What a node that goes leaves to its peers.

use std::{sync::Arc, time::Duration};

use chain::ChainEvent;
use tokio::{
    sync::{broadcast, oneshot},
    task::JoinSet,
    time,
};

use super::{Done, Driver};
use crate::protocol::own_transactions;

/// How long peers may take to read what they are left.
const READ_PERIOD_MAX: Duration = Duration::from_secs(3);

/// What was left, and to how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandOver {
    /// Transactions that were given to this node, and are not mined.
    pub transactions: usize,
    /// Peers who were sent all of them.
    pub peers: usize,
}

impl Driver {
    /// Tells what the chain has done so far: blocks of this node's own, above all.
    pub(super) fn tell_changes(&mut self, changes: &mut broadcast::Receiver<Arc<ChainEvent>>) {
        // No more than were there: the chain goes on.
        for _ in 0..changes.len() {
            match changes.try_recv() {
                Ok(change) => self.on_chain(Ok(change)),
                Err(_) => break,
            }
        }
    }

    /// Sends the node's own transactions whole to every peer. Who was only told of one would ask
    /// when nobody is here any more.
    pub(super) fn hand_over(&mut self, answer: oneshot::Sender<HandOver>) {
        self.announce();
        let (transactions, messages) = own_transactions(&self.pool);
        let (messages, mut writing) = (Arc::new(messages), JoinSet::new());
        for sender in self.peers.senders() {
            writing.spawn(sender.send_all(Arc::clone(&messages)));
        }
        self.jobs.spawn(async move {
            let mut peers = 0;
            let all = async {
                while let Some(written) = writing.join_next().await {
                    peers += usize::from(matches!(written, Ok(true)));
                }
            };
            if time::timeout(READ_PERIOD_MAX, all).await.is_err() {
                tracing::debug!("Some peers are slow to take over");
            }
            if answer.send(HandOver { transactions, peers }).is_err() {
                tracing::debug!(transactions, peers, "Nobody waits for the hand-over");
            }
            Done::HandedOver
        });
    }
}
