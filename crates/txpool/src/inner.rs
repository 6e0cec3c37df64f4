//! The pool's contents and the rules that need to see all of them. Memory only.

mod eviction;
mod index;

use std::{sync::Arc, time::Instant};

use primitives::{
    Address, B256, TransactionFields as _,
    map::{HashMap, HashSet},
};

use crate::{
    Origin, PoolError,
    account::{Account, Moves, Tally},
    limits::{LOCAL_SENDERS_MAX, Limits},
    transaction::PooledTransaction,
    validate::{Base, Candidate, Facts},
};
use index::Index;

/// How many senders without transactions are remembered with nonce and balance.
const FACTS_MAX: usize = 16_384;

/// Everything behind the pool's lock but the view.
#[derive(Debug)]
pub(crate) struct Inner {
    limits: Limits,
    base: Arc<Base>,
    /// Counts the bases, so that facts read at another one are recognised.
    generation: u64,
    accounts: HashMap<Address, Account>,
    by_hash: HashMap<B256, Arc<PooledTransaction>>,
    /// Senders without transactions in the pool, as they are at the base.
    facts: HashMap<Address, Facts>,
    local_senders: HashSet<Address>,
    index: Index,
    activity: u64,
    /// The next base waits only for newcomers to stay away.
    is_closed: bool,
}

/// Whose accounts may be poorer, or have another nonce, at a new base.
#[derive(Debug)]
pub(crate) enum Touched {
    /// Anybody's.
    Everybody,
    /// These senders' only.
    Senders(HashSet<Address>),
}

/// Where the pool goes when the head moves.
#[derive(Debug)]
pub(crate) struct Step {
    /// The new base.
    pub(crate) base: Arc<Base>,
    /// Accounts that may have changed, as they are there.
    pub(crate) facts: HashMap<Address, Facts>,
    /// Transactions of blocks that are no longer canonical.
    pub(crate) reinject: Vec<Candidate>,
}

impl Inner {
    pub(crate) fn new(limits: Limits, base: Base) -> Self {
        let local_senders = limits.local_senders.iter().copied().collect();
        Self {
            index: Index::new(base.next_base_fee),
            limits,
            base: Arc::new(base),
            generation: 0,
            accounts: HashMap::default(),
            by_hash: HashMap::default(),
            facts: HashMap::default(),
            local_senders,
            activity: 0,
            is_closed: false,
        }
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn base(&self) -> Arc<Base> {
        self.base.clone()
    }

    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether what was checked at this generation may be put in.
    pub(crate) const fn is_at(&self, generation: u64) -> bool {
        self.generation == generation && !self.is_closed
    }

    /// Keeps newcomers away until the next [`Self::rebase`], or lets them in again.
    pub(crate) const fn close_door(&mut self, is_closed: bool) {
        self.is_closed = is_closed;
    }

    pub(crate) fn with_hash(&self, hash: B256) -> Option<&Arc<PooledTransaction>> {
        self.by_hash.get(&hash)
    }

    pub(crate) fn account(&self, address: Address) -> Option<&Account> {
        self.accounts.get(&address)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = (&Address, &Account)> {
        self.accounts.iter()
    }

    /// Pending and queued transactions, local ones included.
    pub(crate) fn status(&self) -> (usize, usize) {
        let totals = self.index.totals();
        (totals.pending, totals.queued)
    }

    /// Memory that all transactions take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.index.totals().bytes
    }

    /// Nonce and balance of a sender at the base, if known without asking the state.
    pub(crate) fn known_facts(&self, sender: Address) -> Option<Facts> {
        match self.accounts.get(&sender) {
            Some(account) if account.generation == self.generation => Some(account.facts()),
            Some(_) => None,
            None => self.facts.get(&sender).copied(),
        }
    }

    /// Remembers a sender that was read at the base of this generation.
    pub(crate) fn remember(&mut self, generation: u64, sender: Address, facts: Facts) {
        if generation != self.generation {
            return;
        }
        if self.facts.len() >= FACTS_MAX {
            self.facts.clear();
        }
        self.facts.insert(sender, facts);
    }

    /// Whether price floor and eviction spare this transaction, and the journal wants it.
    pub(crate) fn is_local(&self, tx: &PooledTransaction) -> bool {
        (tx.origin == Origin::Local && self.limits.spare_locals)
            || self.local_senders.contains(&tx.sender)
    }

    /// Checks a transaction against the pool, in geth's order. A local transaction that passes is
    /// accepted by [`Self::insert`]; a remote one may still turn out to be the worst of a full pool.
    pub(crate) fn check(&self, candidate: &Candidate, facts: Facts) -> Result<(), PoolError> {
        let tx = &candidate.tx;
        let local = self.is_local(tx);
        if self.by_hash.contains_key(&tx.hash()) {
            return Err(PoolError::AlreadyKnown);
        }
        if !local && tx.tip_cap() < self.limits.gas_price {
            return Err(PoolError::Underpriced);
        }
        if tx.nonce() < facts.nonce {
            return Err(PoolError::NonceTooLow);
        }
        if tx.nonce() == u64::MAX {
            return Err(PoolError::NonceMax);
        }
        if !tx.is_payable_with(facts.balance) {
            return Err(PoolError::InsufficientFunds);
        }
        if tx.tx.gas_limit() < candidate.intrinsic_gas {
            return Err(PoolError::IntrinsicGas);
        }
        let old = self.accounts.get(&tx.sender).and_then(|account| account.with_nonce(tx.nonce()));
        if let Some(old) = old {
            let bumped = self.limits.is_bumped(old.fee_cap(), tx.fee_cap())
                && self.limits.is_bumped(old.tip_cap(), tx.tip_cap());
            if !bumped {
                return Err(PoolError::ReplacementUnderpriced);
            }
        }
        if local { self.check_local_room(tx, old) } else { Ok(()) }
    }

    /// A local transaction displaces remote ones, but not the memory cap.
    fn check_local_room(
        &self,
        tx: &PooledTransaction,
        old: Option<&Arc<PooledTransaction>>,
    ) -> Result<(), PoolError> {
        let totals = self.index.totals();
        let freed = old.map_or(0, |old| old.memory_bytes());
        // What stays whatever happens: local accounts, and a remote sender about to become one.
        let becoming = self
            .accounts
            .get(&tx.sender)
            .filter(|account| !account.local)
            .map_or_else(Tally::default, Account::tally);
        let kept = totals.local_bytes + becoming.bytes - freed;
        let counted =
            totals.local + becoming.pending + becoming.queued + usize::from(old.is_none());
        if counted > self.limits.locals || kept + tx.memory_bytes() > self.limits.bytes {
            return Err(PoolError::Full);
        }
        Ok(())
    }

    /// Takes a transaction in and whatever is now too much out.
    ///
    /// Answers with the transactions that became pending by it.
    pub(crate) fn insert(
        &mut self,
        candidate: &Candidate,
        facts: Facts,
        now: Instant,
    ) -> Result<Vec<B256>, PoolError> {
        self.check(candidate, facts)?;
        let tx = &candidate.tx;
        let sender = tx.sender;
        let local = self.is_local(tx);
        let generation = self.generation;
        let mut promoted = Vec::new();
        if self.accounts.get(&sender).is_some_and(|account| account.generation != generation) {
            let moves =
                self.edit(sender, |account, moves| account.refresh(facts, generation, moves));
            promoted.extend(moves.promoted);
        }
        if local {
            self.make_local(sender);
        }
        self.facts.remove(&sender);
        self.accounts.entry(sender).or_insert_with(|| Account::new(facts, generation, local, now));
        self.activity += 1;
        let activity = self.activity;
        self.by_hash.insert(tx.hash(), tx.clone());
        let moves = self.edit(sender, |account, moves| {
            account.activity = activity;
            account.active_at = now;
            account.put(tx, moves);
        });
        promoted.extend(moves.promoted);
        let evicted = self.trim(vec![sender]);
        if let Some((_, reason)) = evicted.into_iter().find(|(hash, _)| *hash == tx.hash()) {
            return Err(reason);
        }
        Ok(self.still_pending(&promoted))
    }

    fn still_pending(&self, promoted: &[Arc<PooledTransaction>]) -> Vec<B256> {
        let is_pending = |tx: &&Arc<PooledTransaction>| {
            self.by_hash.contains_key(&tx.hash())
                && self.accounts.get(&tx.sender).is_some_and(|at| tx.nonce() < at.pending_end())
        };
        promoted.iter().filter(is_pending).map(|tx| tx.hash()).collect()
    }

    /// Remembers a sender as local, and what it already has here.
    fn make_local(&mut self, sender: Address) {
        if self.local_senders.len() >= LOCAL_SENDERS_MAX {
            let configured: HashSet<Address> = self.limits.local_senders.iter().copied().collect();
            let accounts = &self.accounts;
            self.local_senders
                .retain(|known| accounts.contains_key(known) || configured.contains(known));
        }
        self.local_senders.insert(sender);
        if self.accounts.get(&sender).is_some_and(|account| !account.local) {
            self.edit(sender, |account, _| account.local = true);
        }
    }

    /// Changes an account and keeps the books. An account without transactions is forgotten.
    fn edit(&mut self, sender: Address, change: impl FnOnce(&mut Account, &mut Moves)) -> Moves {
        let mut moves = Moves::default();
        let Some(account) = self.accounts.get_mut(&sender) else { return moves };
        self.index.close(sender, account);
        let was_local = account.local;
        change(account, &mut moves);
        self.index.open(sender, account);
        if account.local == was_local {
            self.index.apply(account.local, &moves);
        } else {
            self.index.release(account);
        }
        for (tx, _) in &moves.dropped {
            self.by_hash.remove(&tx.hash());
        }
        if account.is_empty() {
            self.index.close(sender, account);
            let (facts, generation) = (account.facts(), account.generation);
            self.accounts.remove(&sender);
            self.remember(generation, sender, facts);
        }
        moves
    }

    /// Which accounts a new base concerns, without those whose facts are `read`: those that it
    /// touched, and those that wait for money. `None` if that depends on who was touched and
    /// nothing is known about it.
    pub(crate) fn concerned(
        &self,
        touched: Option<&Touched>,
        read: impl Fn(&Address) -> bool,
    ) -> Option<Vec<Address>> {
        if self.accounts.is_empty() {
            return Some(Vec::new());
        }
        let touched = touched?;
        let concerned = self.accounts.iter().filter(|(address, account)| match touched {
            Touched::Everybody => true,
            Touched::Senders(senders) => account.waits_for_balance() || senders.contains(*address),
        });
        Some(concerned.map(|(address, _)| *address).filter(|address| !read(address)).collect())
    }

    /// Moves to another base. Accounts that were not read there keep what is known of them until
    /// somebody asks. Answers with the transactions that became pending.
    pub(crate) fn rebase(&mut self, step: Step, now: Instant) -> Vec<B256> {
        let Step { base, facts, reinject } = step;
        let lower_gas_limit = base.gas_limit < self.base.gas_limit;
        let older_rules = base.number < self.base.number;
        self.base = base;
        self.generation += 1;
        self.is_closed = false;
        self.facts.clear();
        if self.index.reprice(self.base.next_base_fee) {
            let accounts = self.accounts.values().filter(|account| !account.local);
            self.index.rebuild_prices(accounts.flat_map(Account::pending));
        }
        let mut promoted = Vec::new();
        let mut edited = Vec::new();
        let generation = self.generation;
        for (sender, facts) in &facts {
            if !self.accounts.contains_key(sender) {
                self.remember(generation, *sender, *facts);
                continue;
            }
            let moves =
                self.edit(*sender, |account, moves| account.refresh(*facts, generation, moves));
            promoted.extend(moves.promoted);
            edited.push(*sender);
        }
        if lower_gas_limit || older_rules {
            edited.extend(self.drop_misfits());
        }
        self.trim(edited);
        let mut promoted = self.still_pending(&promoted);
        for candidate in reinject {
            let known = facts.get(&candidate.tx.sender).copied();
            if let Some(facts) = known.or_else(|| self.known_facts(candidate.tx.sender)) {
                promoted.extend(self.insert(&candidate, facts, now).unwrap_or_default());
            }
        }
        promoted
    }

    /// Drops what no block on this base can hold: more gas than it has, or of a kind that is not
    /// known yet.
    fn drop_misfits(&mut self) -> Vec<Address> {
        let base = self.base();
        let misfits: Vec<_> = self
            .by_hash
            .values()
            .filter(|tx| tx.tx.gas_limit() > base.gas_limit || base.check_type(&tx.tx).is_err())
            .map(|tx| (tx.sender, tx.nonce()))
            .collect();
        self.remove_all(&misfits);
        misfits.into_iter().map(|(sender, _)| sender).collect()
    }

    /// Drops the queued transactions of remote accounts that were idle for too long.
    pub(crate) fn expire(&mut self, now: Instant) -> usize {
        let lifetime = self.limits.lifetime;
        let expired: Vec<_> = self
            .accounts
            .values()
            .filter(|at| !at.local && now.saturating_duration_since(at.active_at) > lifetime)
            .flat_map(Account::queued)
            .map(|tx| (tx.sender, tx.nonce()))
            .collect();
        self.remove_all(&expired);
        expired.len()
    }

    /// The least a remote transaction must leave the miner, in wei. Those below it go.
    pub(crate) fn set_gas_price(&mut self, gas_price: u128) {
        self.limits.gas_price = gas_price;
        let cheap: Vec<_> = self
            .accounts
            .values()
            .filter(|account| !account.local)
            .flat_map(Account::all)
            .filter(|tx| tx.tip_cap() < gas_price)
            .map(|tx| (tx.sender, tx.nonce()))
            .collect();
        self.remove_all(&cheap);
        self.trim(cheap.into_iter().map(|(sender, _)| sender).collect());
    }

    fn remove_all(&mut self, places: &[(Address, u64)]) {
        for (sender, nonce) in places {
            self.edit(*sender, |account, moves| account.remove(*nonce, moves));
        }
    }
}

#[cfg(test)]
impl Inner {
    /// Recomputes the books and compares, and checks that no limit is passed.
    pub(crate) fn audit(&self) {
        let mut index = Index::new(self.base.next_base_fee);
        let mut transactions = 0;
        for (address, account) in &self.accounts {
            account.audit();
            assert!(!account.is_empty(), "accounts without transactions are forgotten");
            index.open(*address, account);
            for tx in account.all() {
                transactions += 1;
                assert_eq!(tx.sender, *address);
                assert!(self.by_hash.contains_key(&tx.hash()));
            }
            if !account.local {
                let most = self.limits.account_queued.max(self.limits.queued / 2);
                assert!(account.tally().queued <= most);
            }
        }
        let remote = self.accounts.values().filter(|account| !account.local);
        index.rebuild_prices(remote.flat_map(Account::pending));
        assert_eq!(transactions, self.by_hash.len());
        assert_eq!(index, self.index);
        let totals = self.index.totals();
        assert!(totals.remote_pending <= self.limits.pending);
        assert!(totals.remote_queued <= self.limits.queued);
        assert!(totals.bytes <= self.limits.bytes);
    }
}

#[cfg(test)]
mod tests;
