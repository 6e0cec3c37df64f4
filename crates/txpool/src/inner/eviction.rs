//! What goes when there is too much.

use primitives::{Address, B256};

use super::Inner;
use crate::PoolError;

/// One transaction that has to go, and what its sender is told if it was just brought.
struct Victim {
    sender: Address,
    nonce: u64,
    reason: PoolError,
}

impl Inner {
    /// Drops remote transactions until every limit holds. `edited` are the accounts that may have
    /// more queued than they should.
    ///
    /// Queued transactions never push out pending ones: the queue has its own limit, and when
    /// memory runs out it is emptied first. Among the pending, accounts with more than their share
    /// give first, as in geth; then the cheapest goes.
    pub(super) fn trim(&mut self, mut edited: Vec<Address>) -> Vec<(B256, PoolError)> {
        let mut evicted = Vec::new();
        loop {
            let victim = self.over_account_limit(&mut edited).or_else(|| self.over_pool_limit());
            let Some(Victim { sender, nonce, reason }) = victim else { return evicted };
            let moves = self.edit(sender, |account, moves| account.remove(nonce, moves));
            evicted.extend(moves.dropped.iter().map(|(tx, _)| (tx.hash(), reason.clone())));
            // What followed a pending victim is queued now.
            edited.push(sender);
        }
    }

    /// An account may queue more than its share while half of the queue is free: the nonce that is
    /// missing is on its way, and whoever sends much by several nodes has many behind it.
    fn over_account_limit(&self, edited: &mut Vec<Address>) -> Option<Victim> {
        if self.index.totals().remote_queued <= self.limits.queued / 2 {
            return None;
        }
        while let Some(&sender) = edited.last() {
            let account = self.accounts.get(&sender).filter(|account| !account.local);
            let crowded = account.filter(|at| at.tally().queued > self.limits.account_queued);
            if let Some(last) = crowded.and_then(|account| account.queued().next_back()) {
                return Some(Victim {
                    sender,
                    nonce: last.nonce(),
                    reason: PoolError::AccountLimit,
                });
            }
            edited.pop();
        }
        None
    }

    fn over_pool_limit(&self) -> Option<Victim> {
        let totals = self.index.totals();
        if totals.remote_queued > self.limits.queued {
            return self.newest_queued();
        }
        if totals.remote_pending > self.limits.pending {
            return self.greediest().or_else(|| self.cheapest());
        }
        if totals.bytes > self.limits.bytes {
            return self.newest_queued().or_else(|| self.cheapest());
        }
        None
    }

    /// The last of the account that queued most recently: whoever floods pushes out his own.
    fn newest_queued(&self) -> Option<Victim> {
        let sender = self.index.most_active()?;
        let last = self.accounts[&sender].queued().next_back()?;
        Some(Victim { sender, nonce: last.nonce(), reason: PoolError::Full })
    }

    /// The last pending one of the account with most, if that is more than its share.
    fn greediest(&self) -> Option<Victim> {
        let (count, sender) = self.index.largest()?;
        if count <= self.limits.account_pending {
            return None;
        }
        let last = self.accounts[&sender].pending().next_back()?;
        Some(Victim { sender, nonce: last.nonce(), reason: PoolError::Full })
    }

    /// The pending one that pays least.
    fn cheapest(&self) -> Option<Victim> {
        let price = self.index.cheapest()?;
        Some(Victim { sender: price.sender, nonce: price.nonce, reason: PoolError::Underpriced })
    }
}
