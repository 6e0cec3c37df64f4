//! The pool's books: how much there is, and who goes first when it is too much.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use primitives::Address;

use crate::{
    account::{Account, Moves},
    transaction::PooledTransaction,
};

/// How much the pool holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    /// Pending transactions.
    pub(super) pending: usize,
    /// Queued transactions.
    pub(super) queued: usize,
    /// Pending transactions of remote accounts.
    pub(super) remote_pending: usize,
    /// Queued transactions of remote accounts.
    pub(super) remote_queued: usize,
    /// Transactions of local accounts.
    pub(super) local: usize,
    /// Memory of all transactions.
    pub(super) bytes: usize,
    /// Memory of the transactions of local accounts.
    pub(super) local_bytes: usize,
}

/// Orders remote pending transactions, cheapest first; of equals the newest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Price {
    /// What the miner gets in the next block; nothing if the base fee is not met.
    tip: u128,
    fee_cap: u128,
    tip_cap: u128,
    arrival: Reverse<u64>,
    pub(super) sender: Address,
    pub(super) nonce: u64,
}

/// Totals and orders over all accounts, kept up to date with every change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Index {
    base_fee: Option<u64>,
    totals: Totals,
    prices: BTreeSet<Price>,
    /// Remote accounts by how many pending transactions they have.
    sizes: BTreeSet<(usize, Address)>,
    /// Remote accounts with queued transactions by last activity.
    activities: BTreeSet<(u64, Address)>,
}

impl Index {
    pub(super) const fn new(base_fee: Option<u64>) -> Self {
        Self {
            base_fee,
            totals: Totals {
                pending: 0,
                queued: 0,
                remote_pending: 0,
                remote_queued: 0,
                local: 0,
                bytes: 0,
                local_bytes: 0,
            },
            prices: BTreeSet::new(),
            sizes: BTreeSet::new(),
            activities: BTreeSet::new(),
        }
    }

    pub(super) const fn totals(&self) -> Totals {
        self.totals
    }

    /// The remote pending transaction that pays least.
    pub(super) fn cheapest(&self) -> Option<Price> {
        self.prices.first().copied()
    }

    /// The remote account with most pending transactions, and how many.
    pub(super) fn largest(&self) -> Option<(usize, Address)> {
        self.sizes.last().copied()
    }

    /// The remote account with queued transactions that was active last.
    pub(super) fn most_active(&self) -> Option<Address> {
        self.activities.last().map(|(_, address)| *address)
    }

    /// Takes an account off the books, before it changes.
    pub(super) fn close(&mut self, address: Address, account: &Account) {
        let tally = account.tally();
        self.totals.pending -= tally.pending;
        self.totals.queued -= tally.queued;
        self.totals.bytes -= tally.bytes;
        if account.local {
            self.totals.local -= tally.pending + tally.queued;
            self.totals.local_bytes -= tally.bytes;
            return;
        }
        self.totals.remote_pending -= tally.pending;
        self.totals.remote_queued -= tally.queued;
        self.sizes.remove(&(tally.pending, address));
        self.activities.remove(&(account.activity, address));
    }

    /// Enters an account, after it changed.
    pub(super) fn open(&mut self, address: Address, account: &Account) {
        let tally = account.tally();
        self.totals.pending += tally.pending;
        self.totals.queued += tally.queued;
        self.totals.bytes += tally.bytes;
        if account.local {
            self.totals.local += tally.pending + tally.queued;
            self.totals.local_bytes += tally.bytes;
            return;
        }
        self.totals.remote_pending += tally.pending;
        self.totals.remote_queued += tally.queued;
        if tally.pending > 0 {
            self.sizes.insert((tally.pending, address));
        }
        if tally.queued > 0 {
            self.activities.insert((account.activity, address));
        }
    }

    /// Follows what a change did to the prices of pending transactions.
    pub(super) fn apply(&mut self, local: bool, moves: &Moves) {
        if local {
            return;
        }
        for tx in &moves.demoted {
            self.prices.remove(&self.price(tx));
        }
        for (tx, was_pending) in &moves.dropped {
            if *was_pending {
                self.prices.remove(&self.price(tx));
            }
        }
        for tx in &moves.promoted {
            self.prices.insert(self.price(tx));
        }
    }

    /// Forgets the prices of an account that has become local.
    pub(super) fn release(&mut self, account: &Account) {
        for tx in account.pending() {
            self.prices.remove(&self.price(tx));
        }
    }

    /// Takes a new base fee; whether that changed anything.
    pub(super) fn reprice(&mut self, base_fee: Option<u64>) -> bool {
        std::mem::replace(&mut self.base_fee, base_fee) != base_fee
    }

    /// Orders all remote pending transactions anew.
    pub(super) fn rebuild_prices<'a>(
        &mut self,
        pending: impl Iterator<Item = &'a Arc<PooledTransaction>>,
    ) {
        self.prices = pending.map(|tx| self.price(tx)).collect();
    }

    fn price(&self, tx: &PooledTransaction) -> Price {
        Price {
            tip: tx.tip(self.base_fee).unwrap_or(0),
            fee_cap: tx.fee_cap(),
            tip_cap: tx.tip_cap(),
            arrival: Reverse(tx.arrival()),
            sender: tx.sender,
            nonce: tx.nonce(),
        }
    }
}
