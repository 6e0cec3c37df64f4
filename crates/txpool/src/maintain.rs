//! Following the chain.

use std::{collections::hash_map::Entry, sync::Arc, time::Instant};

use chain::{ChainEvent, ChainView};
use primitives::{
    Address, B256, BlockNumHash, SignerRecoverable, Transaction,
    map::{HashMap, HashSet},
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    task::{JoinError, spawn_blocking},
    time::{self, Duration, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Origin, Pool, PoolError, PooledTransaction, base_of,
    inner::{Step, Touched},
    read_facts,
    validate::{Base, Candidate, Facts, check_form, recover_sender},
};

/// How deep a reorg may be for its transactions to come back (geth: 64).
pub(crate) const REINJECT_BLOCKS_MAX: usize = 64;
/// How many adopted blocks are looked through for who is concerned; beyond, everybody is.
const ADOPTED_MAX: u64 = 256;
/// How often idle accounts and the journal's size are looked at.
const TICK: Duration = Duration::from_secs(60);
/// How often a broken journal is tried again.
const REPAIR_TICK: Duration = Duration::from_secs(1);
/// How often accounts that came while others were read are read too, before newcomers have to wait.
const READS_MAX: usize = 8;

/// Blocks that left the canonical chain and blocks that joined it.
#[derive(Debug, Default)]
struct Route {
    /// Highest first.
    retired: Vec<BlockNumHash>,
    /// Lowest first.
    adopted: Vec<BlockNumHash>,
    /// Every account may have changed.
    everybody: bool,
}

impl Pool {
    /// Follows the chain until told to stop: drops what was mined, brings back what was retired,
    /// rechecks whom it concerns. Also lets idle queued transactions go and rewrites the journal.
    ///
    /// # Panics
    ///
    /// When an invariant of the pool is broken.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut events = self.0.chain.events();
        // Events before the subscription are in the view.
        self.blocking(|pool| pool.catch_up()).await;
        let mut tick = interval(TICK);
        let mut repair = interval(REPAIR_TICK);
        let mut rotated = time::Instant::now();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = events.recv() => {
                    if self.on_received(event, &mut events).await.is_break() {
                        break;
                    }
                }
                _ = tick.tick() => {
                    self.blocking(|pool| pool.expire(Instant::now())).await;
                    if rotated.elapsed() >= self.0.rotation {
                        rotated = time::Instant::now();
                        self.blocking(|pool| pool.rotate_journal()).await;
                    }
                }
                _ = repair.tick() => {
                    if self.0.journal.as_ref().is_some_and(|journal| journal.wants_rotation()) {
                        self.blocking(|pool| pool.rotate_journal()).await;
                    }
                }
            }
        }
        self.blocking(|pool| pool.sync_journal()).await;
    }

    async fn on_received(
        &self,
        event: Result<Arc<ChainEvent>, RecvError>,
        events: &mut Receiver<Arc<ChainEvent>>,
    ) -> std::ops::ControlFlow<()> {
        match event {
            Ok(event) => self.blocking(move |pool| pool.on_event(&event)).await,
            Err(RecvError::Lagged(missed)) => {
                tracing::debug!(missed, "Fell behind the chain, reading its newest view");
                // What is still in the queue is older than that view.
                *events = events.resubscribe();
                self.blocking(|pool| pool.catch_up()).await;
            }
            Err(RecvError::Closed) => return std::ops::ControlFlow::Break(()),
        }
        std::ops::ControlFlow::Continue(())
    }

    /// Runs what reads the disk where it may block.
    async fn blocking(&self, work: impl FnOnce(&Self) + Send + 'static) {
        let pool = self.clone();
        if let Some(panic) = spawn_blocking(move || work(&pool)).await.err().and_then(into_panic) {
            std::panic::resume_unwind(panic);
        }
    }

    /// Digests one event with its own view, or catches up if it does not follow from the base.
    /// [`Self::run`] does so by itself.
    pub fn on_event(&self, event: &ChainEvent) {
        if event.adopted.is_empty() && event.retired.is_empty() {
            return;
        }
        let base = self.ground().inner.base();
        let moved = match follows(event, &base) {
            Ok(true) => self.step(&event.view, &Route::of(event)),
            Ok(false) => return self.catch_up(),
            Err(error) => Err(error),
        };
        self.report(moved);
    }

    /// Moves the base to the newest view.
    pub(crate) fn catch_up(&self) {
        let view = self.0.chain.view();
        let base = self.ground().view.clone();
        if base.head.hash() == view.head.hash() {
            return;
        }
        let moved = Route::between(&base, &view).and_then(|route| self.step(&view, &route));
        self.report(moved);
    }

    /// A base that could not be moved stays; the next event tries again, from there.
    fn report(&self, moved: Result<(), PoolError>) {
        if let Err(error) = moved {
            tracing::error!(%error, "Could not follow the chain");
        }
        self.measure();
    }

    /// Moves the base to a view, over the blocks in between.
    fn step(&self, view: &Arc<ChainView>, route: &Route) -> Result<(), PoolError> {
        let base = Arc::new(base_of(view));
        let reinject = self.reinjected(view, &base, route)?;
        let mut facts: HashMap<Address, Facts> = HashMap::default();
        for candidate in &reinject {
            read_into(&mut facts, view, candidate.tx.sender)?;
        }
        // An empty pool does not care who sent what.
        let mut touched = None;
        for round in 0..=READS_MAX {
            let missing = {
                let mut ground = self.ground();
                let missing = ground.inner.concerned(touched.as_ref(), |at| facts.contains_key(at));
                match missing {
                    Some(missing) if missing.is_empty() => {
                        let step = Step { base, facts, reinject };
                        let promoted = ground.inner.rebase(step, Instant::now());
                        ground.view = view.clone();
                        drop(ground);
                        self.announce(&promoted);
                        return Ok(());
                    }
                    // From now on newcomers are told to try again, so that this ends.
                    missing => {
                        ground.inner.close_door(round + 1 >= READS_MAX);
                        missing
                    }
                }
            };
            let read = match missing {
                None => self.touched(view, route).map(|senders| touched = Some(senders)),
                Some(missing) => {
                    missing.into_iter().try_for_each(|sender| read_into(&mut facts, view, sender))
                }
            };
            read.inspect_err(|_| self.ground().inner.close_door(false))?;
        }
        unreachable!("nobody came in after the door was closed")
    }

    /// Whose accounts the adopted blocks may have made poorer.
    ///
    /// Only its own transactions take from an account that has a key. After a reorg no such rule
    /// holds, since what it was given may be gone.
    fn touched(&self, view: &ChainView, route: &Route) -> Result<Touched, PoolError> {
        if route.everybody || !route.retired.is_empty() {
            return Ok(Touched::Everybody);
        }
        let mut senders: HashSet<Address> = HashSet::default();
        for block in &route.adopted {
            let transactions = transactions(view, *block)?;
            let known: Vec<Option<Address>> = {
                let ground = self.ground();
                let sender = |tx: &Transaction| Some(ground.inner.with_hash(*tx.tx_hash())?.sender);
                transactions.iter().map(sender).collect()
            };
            for (tx, known) in transactions.iter().zip(known) {
                senders.extend(known.or_else(|| tx.recover_signer_unchecked().ok()));
            }
        }
        Ok(Touched::Senders(senders))
    }

    /// The transactions of retired blocks that were not adopted again, in the order in which they
    /// were mined.
    fn reinjected(
        &self,
        view: &ChainView,
        base: &Base,
        route: &Route,
    ) -> Result<Vec<Candidate>, PoolError> {
        if route.retired.len() > REINJECT_BLOCKS_MAX {
            tracing::debug!(depth = route.retired.len(), "Skipped transactions of a deep reorg");
            return Ok(Vec::new());
        }
        let mut lost = Vec::new();
        for block in route.retired.iter().rev() {
            lost.extend(transactions(view, *block)?);
        }
        if lost.is_empty() {
            return Ok(Vec::new());
        }
        let mut adopted: HashSet<B256> = HashSet::default();
        for block in &route.adopted {
            adopted.extend(transactions(view, *block)?.iter().map(|tx| *tx.tx_hash()));
        }
        let candidates = lost.into_iter().filter_map(|tx| {
            if adopted.contains(tx.tx_hash()) {
                return None;
            }
            check_form(base, &tx).ok()?;
            let sender = recover_sender(base, &tx, Origin::Remote, true).ok()?;
            let tx = PooledTransaction::new(tx, sender, Origin::Remote, self.next_arrival());
            Some(Candidate::new(base, Arc::new(tx)))
        });
        Ok(candidates.collect())
    }

    fn expire(&self, now: Instant) {
        let dropped = self.ground().inner.expire(now);
        if dropped > 0 {
            tracing::debug!(dropped, "Dropped transactions of idle accounts");
            self.measure();
        }
    }

    /// Rewrites the journal with what is local and still here.
    pub(crate) fn rotate_journal(&self) {
        let Some(journal) = &self.0.journal else { return };
        let locals = || {
            let ground = self.ground();
            let accounts = ground.inner.accounts().filter(|(_, account)| account.local);
            let mut locals: Vec<_> =
                accounts.flat_map(|(_, account)| account.all()).cloned().collect();
            locals.sort_unstable_by_key(|tx| tx.arrival());
            locals
        };
        if let Err(error) = journal.rotate(locals) {
            let path = journal.path().display();
            tracing::warn!(%path, %error, "Could not rewrite the transaction journal");
        }
    }

    /// Waits until every accepted local transaction is on the disk.
    fn sync_journal(&self) {
        if let Some(Err(error)) = self.0.journal.as_ref().map(|journal| journal.sync()) {
            tracing::error!(%error, "Could not sync the transaction journal");
        }
    }
}

fn interval(period: Duration) -> time::Interval {
    let mut interval = time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn into_panic(error: JoinError) -> Option<Box<dyn std::any::Any + Send>> {
    error.try_into_panic().ok()
}

impl Route {
    fn of(event: &ChainEvent) -> Self {
        Self { retired: event.retired.clone(), adopted: event.adopted.clone(), everybody: false }
    }

    /// The way from one view to a newer one. Beyond what is worth walking it only says that
    /// everybody may have changed.
    fn between(from: &ChainView, to: &ChainView) -> Result<Self, PoolError> {
        let mut route = Self { everybody: true, ..Self::default() };
        let mut at = from.head_id();
        while to.db.canonical_hash(at.number).map_err(unreadable)? != Some(at.hash) {
            route.retired.push(at);
            let header = from.db.header(at.hash).map_err(unreadable)?;
            let Some(header) = header.filter(|_| route.retired.len() <= REINJECT_BLOCKS_MAX) else {
                return Ok(route);
            };
            at = BlockNumHash { number: at.number - 1, hash: header.parent_hash };
        }
        if to.head.number - at.number > ADOPTED_MAX {
            // What was mined again meanwhile is refused for its nonce.
            return Ok(route);
        }
        for number in at.number + 1..=to.head.number {
            let hash = to.db.canonical_hash(number).map_err(unreadable)?;
            route.adopted.extend(hash.map(|hash| BlockNumHash { number, hash }));
        }
        route.everybody = false;
        Ok(route)
    }
}

/// Whether an event begins where the pool stands.
fn follows(event: &ChainEvent, base: &Base) -> Result<bool, PoolError> {
    if let Some(retired) = event.retired.first() {
        return Ok(retired.hash == base.hash);
    }
    let Some(first) = event.adopted.first() else { return Ok(false) };
    let header = event.view.db.header(first.hash).map_err(unreadable)?;
    Ok(header.is_some_and(|header| header.parent_hash == base.hash))
}

fn transactions(view: &ChainView, block: BlockNumHash) -> Result<Vec<Transaction>, PoolError> {
    let body = view.db.body(block.hash).map_err(unreadable)?;
    Ok(body.map(|body| body.transactions).unwrap_or_default())
}

fn read_into(
    facts: &mut HashMap<Address, Facts>,
    view: &ChainView,
    sender: Address,
) -> Result<(), PoolError> {
    if let Entry::Vacant(place) = facts.entry(sender) {
        place.insert(read_facts(view, sender)?);
    }
    Ok(())
}

fn unreadable(error: impl std::fmt::Display) -> PoolError {
    PoolError::Read(error.to_string())
}
