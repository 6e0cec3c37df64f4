//! The way into the pool.

use std::{sync::Arc, time::Instant};

use primitives::{Address, B256, Transaction, in_shares, map::HashMap};

use crate::{
    Origin, Pool, PoolError, PooledTransaction,
    journal::Entered,
    read_facts,
    validate::{Base, Candidate, Facts, check_form, recover_sender},
};

/// How often a transaction is checked again because the base moved, before its sender is told to
/// try again.
const CHECKS_MAX: usize = 3;

type Answer = Result<B256, PoolError>;

/// Transactions on their way in, with what is known about each.
struct Intake<'a> {
    pool: &'a Pool,
    /// Present unless there is no journal or it is being loaded.
    journal: Option<&'a Entered<'a>>,
    waiting: Vec<Waiting>,
    answers: Vec<Option<Answer>>,
}

/// A transaction that is not answered yet.
struct Waiting {
    place: usize,
    candidate: Candidate,
    journaled: bool,
}

/// The base did not stay while something was read or written.
struct Moved;

impl Pool {
    /// Whether each local transaction waits for the disk to sync: milliseconds, in which a thread
    /// that serves others should not wait along.
    #[must_use]
    pub fn waits_for_disk(&self) -> bool {
        self.0.journal.as_ref().is_some_and(|journal| journal.waits_for_disk())
    }

    /// Takes one transaction in; its hash is the answer.
    ///
    /// A local transaction is in the journal when this returns. That takes a tenth of a
    /// millisecond or so, unless [`Self::waits_for_disk`] or the journal is being rewritten.
    ///
    /// # Errors
    ///
    /// See [`PoolError`]; the order of the checks is geth's.
    pub fn add(&self, origin: Origin, tx: Transaction) -> Result<B256, PoolError> {
        self.add_many(origin, vec![tx]).pop().expect("one answer for one transaction")
    }

    /// Takes transactions in, in order, under one lock; the answers are in the same order.
    /// Signatures of more than a few are checked on every core.
    pub fn add_many(
        &self,
        origin: Origin,
        transactions: Vec<Transaction>,
    ) -> Vec<Result<B256, PoolError>> {
        let entered = self.0.journal.as_ref().map(|journal| journal.enter());
        self.take(origin, transactions, entered.as_ref())
    }

    /// As [`Self::add_many`], for transactions that the journal has.
    pub(crate) fn add_unjournaled(
        &self,
        origin: Origin,
        transactions: Vec<Transaction>,
    ) -> Vec<Result<B256, PoolError>> {
        self.take(origin, transactions, None)
    }

    fn take(
        &self,
        origin: Origin,
        transactions: Vec<Transaction>,
        journal: Option<&Entered<'_>>,
    ) -> Vec<Answer> {
        let answers = vec![None; transactions.len()];
        let mut intake = Intake { pool: self, journal, waiting: Vec::new(), answers };
        intake.recover(origin, transactions);
        for _ in 0..CHECKS_MAX {
            if intake.attempt().is_ok() {
                return intake.finish();
            }
        }
        intake.refuse_all(&PoolError::Busy);
        intake.finish()
    }
}

impl Intake<'_> {
    /// Everything that a signature is needed for, and what geth checks before it.
    fn recover(&mut self, origin: Origin, transactions: Vec<Transaction>) {
        // A transaction remembers its hash, which should not be computed while others wait.
        transactions.iter().for_each(|tx| _ = tx.tx_hash());
        let (base, known, allow_unprotected) = {
            let ground = self.pool.ground();
            let with_known = |tx: Transaction| {
                let known = ground.inner.with_hash(*tx.tx_hash()).is_some();
                (tx, known)
            };
            let known: Vec<(Transaction, bool)> =
                transactions.into_iter().map(with_known).collect();
            (ground.inner.base(), known, ground.inner.limits().allow_unprotected)
        };
        let sender = |(tx, known): &(Transaction, bool)| {
            if *known {
                return Err(PoolError::AlreadyKnown);
            }
            check_form(&base, tx)?;
            recover_sender(&base, tx, origin, allow_unprotected)
        };
        let senders =
            in_shares(&known, self.pool.0.threads, |share| share.iter().map(sender).collect());
        for (place, ((tx, _), sender)) in known.into_iter().zip(senders).enumerate() {
            match sender {
                Ok(sender) => {
                    let arrival = self.pool.next_arrival();
                    let tx = Arc::new(PooledTransaction::new(tx, sender, origin, arrival));
                    let candidate = Candidate::new(&base, tx);
                    self.waiting.push(Waiting { place, candidate, journaled: false });
                }
                Err(error) => self.answers[place] = Some(Err(error)),
            }
        }
    }

    /// Checks what is waiting against one base and puts it in, if that base is still there then.
    fn attempt(&mut self) -> Result<(), Moved> {
        let (generation, base, view, missing) = {
            let ground = self.pool.ground();
            let inner = &ground.inner;
            let senders = self.waiting.iter().map(|waiting| waiting.tx().sender);
            let missing: Vec<Address> =
                senders.filter(|sender| inner.known_facts(*sender).is_none()).collect();
            (inner.generation(), inner.base(), ground.view.clone(), missing)
        };
        let mut read: HashMap<Address, Result<Facts, PoolError>> = HashMap::default();
        for sender in missing {
            read.entry(sender).or_insert_with(|| read_facts(&view, sender));
        }
        self.settle_unreadable(&base, &read);
        self.journal_locals(generation, &read)?;
        self.insert(generation, &read)
    }

    /// Answers those that do not fit the base or whose sender could not be read.
    fn settle_unreadable(
        &mut self,
        base: &Base,
        read: &HashMap<Address, Result<Facts, PoolError>>,
    ) {
        for waiting in &mut self.waiting {
            waiting.candidate = Candidate::new(base, waiting.tx().clone());
        }
        self.settle(|waiting| {
            check_form(base, &waiting.tx().tx)?;
            match read.get(&waiting.tx().sender) {
                Some(Err(error)) => Err(error.clone()),
                Some(Ok(_)) | None => Ok(()),
            }
        });
    }

    /// Writes local transactions that would be accepted now to the journal.
    fn journal_locals(
        &mut self,
        generation: u64,
        read: &HashMap<Address, Result<Facts, PoolError>>,
    ) -> Result<(), Moved> {
        let Some(journal) = self.journal else { return Ok(()) };
        let mut refused: HashMap<B256, PoolError> = HashMap::default();
        let mut accepted = Vec::new();
        {
            let ground = self.pool.ground();
            let inner = &ground.inner;
            if !inner.is_at(generation) {
                return Err(Moved);
            }
            for waiting in &self.waiting {
                let tx = waiting.tx();
                if waiting.journaled || !inner.is_local(tx) {
                    continue;
                }
                let facts = facts_of(inner.known_facts(tx.sender), read, tx.sender).ok_or(Moved)?;
                match inner.check(&waiting.candidate, facts) {
                    Ok(()) => accepted.push(tx.clone()),
                    Err(error) => {
                        refused.insert(tx.hash(), error);
                    }
                }
            }
        }
        let written =
            journal.append(&accepted).map_err(|error| PoolError::Journal(Arc::new(error)));
        match &written {
            Ok(()) => self.mark_journaled(&accepted),
            Err(error) => {
                refused.extend(accepted.iter().map(|tx| (tx.hash(), error.clone())));
            }
        }
        self.settle(|waiting| match refused.get(&waiting.tx().hash()) {
            Some(error) if !waiting.journaled => Err(error.clone()),
            Some(_) | None => Ok(()),
        });
        Ok(())
    }

    /// Marks these, which are in the order of those that wait.
    fn mark_journaled(&mut self, written: &[Arc<PooledTransaction>]) {
        let mut written = written.iter().peekable();
        for waiting in &mut self.waiting {
            let is_next = written.next_if(|tx| Arc::ptr_eq(tx, waiting.tx())).is_some();
            waiting.journaled |= is_next;
        }
    }

    /// Puts everything in that is still waiting.
    fn insert(
        &mut self,
        generation: u64,
        read: &HashMap<Address, Result<Facts, PoolError>>,
    ) -> Result<(), Moved> {
        let now = Instant::now();
        let (mut promoted, mut waiting_own) = (Vec::new(), Vec::new());
        let mut answers = Vec::new();
        {
            let mut ground = self.pool.ground();
            let inner = &mut ground.inner;
            if !inner.is_at(generation) {
                return Err(Moved);
            }
            for waiting in &self.waiting {
                let sender = waiting.tx().sender;
                let facts = facts_of(inner.known_facts(sender), read, sender)
                    .expect("facts of this generation were read or stay known");
                let answer = inner.insert(&waiting.candidate, facts, now);
                if answer.is_err() && inner.known_facts(sender).is_none() {
                    inner.remember(generation, sender, facts);
                }
                let (hash, origin) = (waiting.tx().hash(), waiting.tx().origin);
                answers.push(answer.map(|hashes| {
                    if origin == Origin::Local && !hashes.contains(&hash) {
                        waiting_own.push(hash);
                    }
                    promoted.extend(hashes);
                }));
            }
        }
        self.pool.announce(&promoted);
        for hash in waiting_own {
            // No listener is a normal state of affairs.
            let _ = self.pool.0.waiting_own.send(hash);
        }
        let mut answers = answers.into_iter();
        self.settle_all(|_| answers.next().expect("one answer for each that waits"));
        Ok(())
    }

    /// Answers those that a check refuses and lets the others wait on.
    fn settle(&mut self, check: impl Fn(&Waiting) -> Result<(), PoolError>) {
        let mut cancelled = Vec::new();
        let answers = &mut self.answers;
        self.waiting.retain(|waiting| {
            let Err(error) = check(waiting) else { return true };
            cancelled.extend(waiting.to_cancel(&error));
            answers[waiting.place] = Some(Err(error));
            false
        });
        self.cancel(cancelled);
    }

    /// Answers all that wait.
    fn settle_all(&mut self, mut answer: impl FnMut(&Waiting) -> Result<(), PoolError>) {
        let mut cancelled = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let answer = answer(&waiting).map(|()| waiting.tx().hash());
            if let Err(error) = &answer {
                cancelled.extend(waiting.to_cancel(error));
            }
            self.answers[waiting.place] = Some(answer);
        }
        self.cancel(cancelled);
    }

    fn refuse_all(&mut self, error: &PoolError) {
        self.settle_all(|_| Err(error.clone()));
    }

    fn cancel(&self, hashes: Vec<B256>) {
        if let Some(journal) = self.journal {
            journal.cancel(hashes);
        }
    }

    fn finish(self) -> Vec<Answer> {
        let answers: Vec<Answer> = self
            .answers
            .into_iter()
            .map(|answer| answer.expect("every transaction was answered"))
            .collect();
        let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
        self.pool.0.metrics.answered(accepted, answers.len() - accepted);
        self.pool.measure();
        answers
    }
}

impl Waiting {
    const fn tx(&self) -> &Arc<PooledTransaction> {
        &self.candidate.tx
    }

    /// The record to take back if this is refused. Somebody else's record of a transaction that the
    /// pool has must stay.
    fn to_cancel(&self, error: &PoolError) -> Option<B256> {
        let known = matches!(error, PoolError::AlreadyKnown);
        (self.journaled && !known).then(|| self.tx().hash())
    }
}

/// What the pool knows of a sender, or what was just read.
fn facts_of(
    known: Option<Facts>,
    read: &HashMap<Address, Result<Facts, PoolError>>,
    sender: Address,
) -> Option<Facts> {
    known.or_else(|| read.get(&sender).and_then(|facts| facts.as_ref().ok().copied()))
}
