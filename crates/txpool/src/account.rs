//! The transactions of one sender.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use primitives::U256;

use crate::{transaction::PooledTransaction, validate::Facts};

/// The transactions of one sender by nonce: first the pending ones, then the queued ones.
///
/// Pending are those that follow one another from the account's nonce on, as far as the balance
/// pays for all of them together. So a chain of transactions that each spend everything has one
/// pending transaction, and there is no overdraft to discover later.
#[derive(Debug)]
pub(crate) struct Account {
    /// Nonce and balance that the split into pending and queued rests on.
    facts: Facts,
    /// In which generation of the pool's base the facts were read.
    pub(crate) generation: u64,
    /// Whether price floor and eviction spare it.
    pub(crate) local: bool,
    /// Orders accounts by their last activity.
    pub(crate) activity: u64,
    /// When that was.
    pub(crate) active_at: Instant,
    transactions: BTreeMap<u64, Arc<PooledTransaction>>,
    /// The nonce after the last pending one.
    pending_end: u64,
    /// The sum of the pending ones' costs, in wei.
    pending_cost: U256,
    bytes: usize,
}

/// What one change of an account did to its transactions, demotions before promotions.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// Became pending; some may have been demoted by the same change before.
    pub(crate) promoted: Vec<Arc<PooledTransaction>>,
    /// Were pending and had to leave that place.
    pub(crate) demoted: Vec<Arc<PooledTransaction>>,
    /// Left the pool; were they pending until then?
    pub(crate) dropped: Vec<(Arc<PooledTransaction>, bool)>,
}

/// How much of the pool an account takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) pending: usize,
    pub(crate) queued: usize,
    pub(crate) bytes: usize,
}

impl Account {
    pub(crate) const fn new(facts: Facts, generation: u64, local: bool, now: Instant) -> Self {
        Self {
            facts,
            generation,
            local,
            activity: 0,
            active_at: now,
            transactions: BTreeMap::new(),
            pending_end: facts.nonce,
            pending_cost: U256::ZERO,
            bytes: 0,
        }
    }

    pub(crate) const fn facts(&self) -> Facts {
        self.facts
    }

    /// The nonce after the last pending transaction: the one to use next.
    pub(crate) const fn pending_end(&self) -> u64 {
        self.pending_end
    }

    pub(crate) fn tally(&self) -> Tally {
        let pending = usize::try_from(self.pending_end - self.facts.nonce)
            .expect("no more are pending than there are");
        Tally { pending, queued: self.transactions.len() - pending, bytes: self.bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    pub(crate) fn with_nonce(&self, nonce: u64) -> Option<&Arc<PooledTransaction>> {
        self.transactions.get(&nonce)
    }

    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &Arc<PooledTransaction>> {
        self.transactions.values()
    }

    pub(crate) fn pending(&self) -> impl DoubleEndedIterator<Item = &Arc<PooledTransaction>> {
        self.transactions.range(..self.pending_end).map(|(_, tx)| tx)
    }

    pub(crate) fn queued(&self) -> impl DoubleEndedIterator<Item = &Arc<PooledTransaction>> {
        self.transactions.range(self.pending_end..).map(|(_, tx)| tx)
    }

    /// Whether the next transaction is here and only the balance keeps it from being pending.
    pub(crate) fn waits_for_balance(&self) -> bool {
        self.transactions.contains_key(&self.pending_end)
    }

    /// Takes a transaction in, in the place of one with the same nonce.
    pub(crate) fn put(&mut self, tx: &Arc<PooledTransaction>, moves: &mut Moves) {
        let nonce = tx.nonce();
        let old = self.transactions.insert(nonce, tx.clone());
        self.bytes += tx.memory_bytes();
        if let Some(old) = &old {
            self.bytes -= old.memory_bytes();
        }
        match old {
            Some(old) if nonce < self.pending_end => self.swap_pending(tx, old, moves),
            Some(old) => moves.dropped.push((old, false)),
            None => {}
        }
        self.extend(moves);
    }

    /// Accounts for a pending transaction that took the place of another.
    fn swap_pending(
        &mut self,
        tx: &Arc<PooledTransaction>,
        old: Arc<PooledTransaction>,
        moves: &mut Moves,
    ) {
        let others = self.pending_cost - old.cost();
        moves.dropped.push((old, true));
        match others.checked_add(tx.cost()) {
            Some(sum) if sum <= self.facts.balance => {
                self.pending_cost = sum;
                moves.promoted.push(tx.clone());
            }
            _ => {
                self.pending_cost = others;
                self.truncate(tx.nonce() + 1, moves);
                self.pending_end = tx.nonce();
            }
        }
    }

    /// Takes a transaction out; those above it are queued from now on.
    pub(crate) fn remove(&mut self, nonce: u64, moves: &mut Moves) {
        if !self.transactions.contains_key(&nonce) {
            return;
        }
        let was_pending = nonce < self.pending_end;
        if was_pending {
            self.truncate(nonce + 1, moves);
            self.pending_end = nonce;
        }
        let tx = self.transactions.remove(&nonce).expect("it was there a moment ago");
        if was_pending {
            self.pending_cost -= tx.cost();
        }
        self.bytes -= tx.memory_bytes();
        moves.dropped.push((tx, was_pending));
    }

    /// Rests the split on new facts: what was mined or can no longer be paid goes, what can now be
    /// paid becomes pending.
    pub(crate) fn refresh(&mut self, facts: Facts, generation: u64, moves: &mut Moves) {
        self.generation = generation;
        if facts.nonce < self.facts.nonce {
            self.truncate(self.facts.nonce, moves);
            self.pending_end = facts.nonce;
        }
        self.facts.nonce = facts.nonce;
        while let Some(mined) = self.transactions.first_entry() {
            if *mined.key() >= facts.nonce {
                break;
            }
            let (nonce, tx) = mined.remove_entry();
            let was_pending = nonce < self.pending_end;
            if was_pending {
                self.pending_cost -= tx.cost();
            }
            self.bytes -= tx.memory_bytes();
            moves.dropped.push((tx, was_pending));
        }
        self.pending_end = self.pending_end.max(facts.nonce);
        self.facts.balance = facts.balance;
        while self.pending_cost > facts.balance {
            self.truncate(self.pending_end - 1, moves);
        }
        let unpayable = |tx: &PooledTransaction| !tx.is_payable_with(facts.balance);
        let lost: Vec<u64> =
            self.queued().filter(|tx| unpayable(tx)).map(|tx| tx.nonce()).collect();
        for nonce in lost {
            self.remove(nonce, moves);
        }
        self.extend(moves);
    }

    /// Makes pending what follows the last pending one, as far as the balance reaches.
    fn extend(&mut self, moves: &mut Moves) {
        while let Some(tx) = self.transactions.get(&self.pending_end) {
            match self.pending_cost.checked_add(tx.cost()) {
                Some(sum) if sum <= self.facts.balance => self.pending_cost = sum,
                _ => return,
            }
            moves.promoted.push(tx.clone());
            self.pending_end += 1;
        }
    }

    /// Queues the pending ones from this nonce on.
    fn truncate(&mut self, nonce: u64, moves: &mut Moves) {
        while self.pending_end > nonce {
            self.pending_end -= 1;
            let tx = &self.transactions[&self.pending_end];
            self.pending_cost -= tx.cost();
            moves.demoted.push(tx.clone());
        }
    }
}

#[cfg(test)]
impl Account {
    /// Recomputes what is kept beside the transactions.
    pub(crate) fn audit(&self) {
        let mut nonce = self.facts.nonce;
        let mut cost = U256::ZERO;
        for tx in self.pending() {
            assert_eq!(tx.nonce(), nonce, "pending nonces follow one another");
            cost = cost.checked_add(tx.cost()).expect("pending costs stay below the balance");
            nonce += 1;
        }
        assert_eq!(nonce, self.pending_end);
        assert_eq!(cost, self.pending_cost);
        assert!(cost <= self.facts.balance, "no overdraft");
        assert_eq!(self.bytes, self.all().map(|tx| tx.memory_bytes()).sum::<usize>());
        assert!(self.all().all(|tx| tx.nonce() >= self.facts.nonce && tx.nonce() < u64::MAX));
    }
}
