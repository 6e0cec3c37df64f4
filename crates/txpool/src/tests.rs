//! The pool on a chain.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use chain::{
    ChainEvent, ChainHandle, ChainThread, Imported,
    testing::{BlockOptions, ChainBuilder, TestAccount, book_forks, spec, spec_of},
};
use primitives::{Address, B256, ChainSpec, SealedBlock, Transaction, U256};
use tempfile::TempDir;
use tokio::{sync::broadcast::Receiver, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    JournalConfig, JournalSync, Limits, Origin, Pool, PoolConfig, PoolError, journal::Journal,
    testing::pooled,
};

const CHAIN_ID: u64 = 1_337;
const NOBODY: Address = Address::new([0xee; 20]);

/// A chain with its thread, beside one that builds blocks for it.
struct Bench {
    builder: ChainBuilder,
    chain: ChainHandle,
    events: Receiver<Arc<ChainEvent>>,
    _thread: ChainThread,
}

impl Bench {
    fn new() -> Self {
        Self::of(spec(book_forks()))
    }

    fn of(spec: ChainSpec) -> Self {
        let importer = ChainBuilder::new(spec.clone()).importer;
        let (chain, thread) = chain::spawn(importer).unwrap();
        let events = chain.events();
        let builder = ChainBuilder::new(spec);
        Self { builder, chain, events, _thread: thread }
    }

    fn pool(&self) -> Pool {
        Pool::new(PoolConfig::default(), self.chain.clone())
    }

    fn pool_at(&self, path: &TempDir) -> Pool {
        let journal = Some(journal(path));
        Pool::new(PoolConfig { journal, ..PoolConfig::default() }, self.chain.clone())
    }

    fn head(&self) -> B256 {
        self.builder.importer.view().head.hash()
    }

    /// A block on some block, known to the builder only.
    fn build(&mut self, parent: B256, extra: &str, transactions: Vec<Transaction>) -> SealedBlock {
        let extra_data = extra.as_bytes().to_vec().into();
        let options = BlockOptions { extra_data, ..BlockOptions::default() };
        let block = self.builder.block_on(parent, transactions, options);
        self.builder.import(block.clone()).unwrap();
        block
    }

    async fn import(&mut self, block: SealedBlock) -> Imported {
        let verified = self.builder.verify(block);
        self.chain.import(verified, chain::Origin::Other).await.unwrap()
    }

    /// Lets a pool digest what has happened since the last call.
    fn digest(&mut self, pool: &Pool) {
        while let Ok(event) = self.events.try_recv() {
            pool.on_event(&event);
        }
        pool.ground().inner.audit();
        assert_eq!(pool.ground().inner.base().hash, self.chain.view().head.hash());
    }
}

fn journal(directory: &TempDir) -> JournalConfig {
    JournalConfig::at(directory.path().join("hematite/transactions"))
}

fn transfer(account: u8, nonce: u64) -> Transaction {
    TestAccount::new(account).transfer(CHAIN_ID, nonce, NOBODY, U256::from(1))
}

fn sender(account: u8) -> Address {
    TestAccount::new(account).address()
}

#[tokio::test]
async fn a_transaction_that_was_added_is_there() {
    let bench = Bench::new();
    let pool = bench.pool();
    let mut changes = pool.changes();
    let hash = pool.add(Origin::Local, transfer(0, 0)).unwrap();
    assert_eq!(hash, *transfer(0, 0).tx_hash());
    assert_eq!(pool.get(hash).map(|tx| tx.sender), Some(sender(0)));
    assert_eq!(pool.status(), (1, 0));
    assert_eq!(pool.nonce(sender(0)).unwrap(), 1);
    assert_eq!(pool.nonce(sender(1)).unwrap(), 0);
    assert_eq!(changes.try_recv().unwrap(), hash);
    assert_eq!(pool.local_senders(), [sender(0)]);
    assert_eq!(pool.unknown(&[B256::ZERO, hash]), [B256::ZERO]);
    let answer = pool.add(Origin::Remote, transfer(0, 0));
    assert!(matches!(answer, Err(PoolError::AlreadyKnown)));
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order() {
    let bench = Bench::new();
    let pool = bench.pool();
    let batch = vec![
        transfer(0, 1),
        TestAccount::new(0).transfer(CHAIN_ID + 1, 0, NOBODY, U256::ZERO),
        transfer(0, 0),
        transfer(0, 1),
        TestAccount::new(7).transfer(CHAIN_ID, 0, NOBODY, U256::ZERO),
    ];
    let answers = pool.add_many(Origin::Remote, batch);
    assert_eq!(*answers[0].as_ref().unwrap(), *transfer(0, 1).tx_hash());
    assert!(matches!(answers[1], Err(PoolError::InvalidSender)));
    assert!(answers[2].is_ok());
    assert!(matches!(answers[3], Err(PoolError::AlreadyKnown)));
    assert!(matches!(answers[4], Err(PoolError::InsufficientFunds)));
    let content = pool.content();
    let nonces: Vec<u64> = content[&sender(0)].pending.iter().map(|tx| tx.nonce()).collect();
    assert_eq!(nonces, [0, 1]);
    assert!(pool.content_of(sender(1)).pending.is_empty());
}

#[tokio::test]
async fn unprotected_transactions_are_taken_unless_configured_off() {
    let bench = Bench::new();
    let tx = alloy_consensus::TxLegacy {
        gas_price: 1,
        gas_limit: 21_000,
        to: primitives::TxKind::Call(NOBODY),
        ..Default::default()
    };
    let tx = TestAccount::new(0).sign(tx);
    bench.pool().add(Origin::Local, tx.clone()).unwrap();
    let limits = Limits { allow_unprotected: false, ..Limits::default() };
    let pool = Pool::new(PoolConfig { limits, journal: None }, bench.chain.clone());
    assert!(matches!(pool.add(Origin::Local, tx.clone()), Err(PoolError::Unprotected)));
    pool.add(Origin::Remote, tx).unwrap();
}

#[tokio::test]
async fn what_was_mined_leaves_and_what_follows_stays() {
    let mut bench = Bench::new();
    let pool = bench.pool();
    pool.add_many(Origin::Remote, vec![transfer(0, 0), transfer(0, 1), transfer(1, 0)]);
    let block = bench.build(bench.head(), "", vec![transfer(0, 0), transfer(2, 0)]);
    assert_eq!(bench.import(block).await, Imported::Head);
    bench.digest(&pool);
    assert_eq!(pool.status(), (2, 0));
    assert_eq!(pool.nonce(sender(0)).unwrap(), 2);
    assert_eq!(pool.nonce(sender(2)).unwrap(), 1);
    let answer = pool.add(Origin::Local, transfer(0, 0));
    assert!(matches!(answer, Err(PoolError::NonceTooLow)));
}

#[tokio::test]
async fn a_reorg_brings_back_what_it_retired() {
    let mut bench = Bench::new();
    let pool = bench.pool();
    let mut changes = pool.changes();
    let genesis = bench.head();
    let short = bench.build(genesis, "short", vec![transfer(0, 0), transfer(0, 1), transfer(1, 0)]);
    let first = bench.build(genesis, "long", vec![transfer(1, 0)]);
    let second = bench.build(first.hash(), "long", vec![]);
    bench.import(short).await;
    bench.digest(&pool);
    assert_eq!(pool.status(), (0, 0));
    bench.import(first).await;
    bench.import(second).await;
    bench.digest(&pool);
    assert_eq!(pool.status(), (2, 0));
    assert_eq!(pool.content_of(sender(0)).pending.len(), 2);
    assert_eq!(changes.try_recv().unwrap(), *transfer(0, 0).tx_hash());
    assert_eq!(changes.try_recv().unwrap(), *transfer(0, 1).tx_hash());
}

#[tokio::test]
async fn a_pool_that_missed_events_catches_up_over_a_reorg() {
    let mut bench = Bench::new();
    let pool = bench.pool();
    let genesis = bench.head();
    let short = bench.build(genesis, "short", vec![transfer(0, 0)]);
    let first = bench.build(genesis, "long", vec![transfer(1, 0)]);
    let second = bench.build(first.hash(), "long", vec![]);
    bench.import(short).await;
    bench.digest(&pool);
    pool.add(Origin::Remote, transfer(1, 0)).unwrap();
    bench.import(first).await;
    bench.import(second).await;
    while bench.events.try_recv().is_ok() {}
    pool.catch_up();
    bench.digest(&pool);
    assert_eq!(pool.status(), (1, 0));
    assert_eq!(pool.content_of(sender(0)).pending.len(), 1);
}

#[tokio::test]
async fn an_event_that_does_not_follow_moves_to_the_newest_view() {
    let mut bench = Bench::new();
    let pool = bench.pool();
    pool.add_many(Origin::Remote, vec![transfer(0, 0), transfer(1, 0)]);
    let first = bench.build(bench.head(), "", vec![transfer(0, 0)]);
    let second = bench.build(bench.head(), "", vec![transfer(1, 0)]);
    bench.import(first).await;
    bench.import(second).await;
    bench.events.try_recv().unwrap();
    bench.digest(&pool);
    assert_eq!(pool.status(), (0, 0));
}

#[tokio::test]
async fn money_that_arrives_makes_transactions_pending() {
    let mut bench = Bench::new();
    let pool = bench.pool();
    let poor = TestAccount::new(9);
    let gas = U256::from(21_000u64 * 1_000_000_000);
    let rich = TestAccount::new(0);
    let block =
        bench.build(bench.head(), "", vec![rich.transfer(CHAIN_ID, 0, poor.address(), gas)]);
    bench.import(block).await;
    bench.digest(&pool);
    let spend = |nonce| poor.transfer(CHAIN_ID, nonce, NOBODY, U256::ZERO);
    pool.add_many(Origin::Remote, vec![spend(0), spend(1)]);
    assert_eq!(pool.status(), (1, 1));
    let block =
        bench.build(bench.head(), "", vec![rich.transfer(CHAIN_ID, 1, poor.address(), gas)]);
    bench.import(block).await;
    bench.digest(&pool);
    assert_eq!(pool.status(), (2, 0));
}

#[tokio::test]
async fn local_transactions_survive_the_pool_and_remote_ones_do_not() {
    let mut bench = Bench::new();
    let directory = TempDir::new().unwrap();
    let pool = bench.pool_at(&directory);
    pool.add_many(Origin::Local, vec![transfer(0, 0), transfer(0, 1), transfer(0, 5)]);
    pool.add(Origin::Remote, transfer(1, 0)).unwrap();
    pool.add(Origin::Remote, transfer(0, 2)).unwrap();
    drop(pool);
    let block = bench.build(bench.head(), "", vec![transfer(0, 0)]);
    bench.import(block).await;
    let pool = bench.pool_at(&directory);
    assert_eq!(pool.status(), (2, 1), "a local sender's are kept, whoever brought them");
    assert_eq!(pool.local_senders(), [sender(0)]);
    drop(pool);
    assert_eq!(bench.pool_at(&directory).status(), (2, 1));
}

#[tokio::test]
async fn without_a_journal_nothing_local_is_accepted() {
    let bench = Bench::new();
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("hematite"), "in the way").unwrap();
    let pool = bench.pool_at(&directory);
    let error = pool.add(Origin::Local, transfer(0, 0)).unwrap_err();
    assert!(matches!(error, PoolError::Journal(_)), "{error}");
    assert_eq!(pool.status(), (0, 0));
    pool.add(Origin::Remote, transfer(0, 0)).unwrap();
    std::fs::remove_file(directory.path().join("hematite")).unwrap();
    pool.rotate_journal();
    pool.add(Origin::Local, transfer(1, 0)).unwrap();
    drop(pool);
    assert_eq!(bench.pool_at(&directory).status(), (1, 0));
}

#[tokio::test]
async fn a_refused_transaction_does_not_come_back_from_the_journal() {
    let bench = Bench::new();
    let directory = TempDir::new().unwrap();
    let pool = bench.pool_at(&directory);
    pool.add(Origin::Local, transfer(0, 0)).unwrap();
    let other = TestAccount::new(0).transfer(CHAIN_ID, 0, NOBODY, U256::from(2));
    // Both pass the check, since neither is in yet; the second one is refused after it was written.
    let both = vec![transfer(0, 1), TestAccount::new(0).transfer(CHAIN_ID, 1, NOBODY, U256::ZERO)];
    assert!(matches!(pool.add(Origin::Local, other), Err(PoolError::ReplacementUnderpriced)));
    let answers = pool.add_many(Origin::Local, both);
    assert!(matches!(answers[1], Err(PoolError::ReplacementUnderpriced)));
    let kept: Vec<B256> = pool.pending().iter().map(|tx| tx.hash()).collect();
    drop(pool);
    let pool = bench.pool_at(&directory);
    assert_eq!(pool.pending().iter().map(|tx| tx.hash()).collect::<Vec<_>>(), kept);
}

#[tokio::test]
async fn a_base_that_never_stands_still_is_busy() {
    let bench = Bench::new();
    let directory = TempDir::new().unwrap();
    let pool = bench.pool_at(&directory);
    pool.ground().inner.close_door(true);
    for origin in [Origin::Local, Origin::Remote] {
        assert!(matches!(pool.add(origin, transfer(0, 0)), Err(PoolError::Busy)));
    }
    pool.ground().inner.close_door(false);
    pool.add(Origin::Local, transfer(0, 0)).unwrap();
}

#[tokio::test]
async fn many_threads_and_a_moving_head_leave_the_books_in_order() {
    let mut bench = Bench::new();
    let directory = TempDir::new().unwrap();
    let pool = bench.pool_at(&directory);
    let blocks: Vec<SealedBlock> = (0..10)
        .map(|nonce| bench.build(bench.head(), "", vec![transfer(0, nonce), transfer(1, nonce)]))
        .collect();
    let adders: Vec<_> = (0..3)
        .map(|account| {
            let pool = pool.clone();
            let origin = if account == 0 { Origin::Local } else { Origin::Remote };
            thread::spawn(move || {
                for nonce in 0..40 {
                    match pool.add(origin, transfer(account, nonce)) {
                        Ok(_) | Err(PoolError::NonceTooLow | PoolError::Busy) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        })
        .collect();
    for block in blocks {
        bench.import(block).await;
        bench.digest(&pool);
        pool.rotate_journal();
    }
    adders.into_iter().for_each(|adder| adder.join().unwrap());
    pool.ground().inner.audit();
    let before: Vec<u64> = pool.content_of(sender(0)).pending.iter().map(|tx| tx.nonce()).collect();
    drop(pool);
    let pool = bench.pool_at(&directory);
    let after: Vec<u64> = pool.content_of(sender(0)).pending.iter().map(|tx| tx.nonce()).collect();
    assert_eq!(after, before);
}

#[tokio::test]
async fn it_follows_the_chain_until_it_is_told_to_stop() {
    let mut bench = Bench::new();
    let directory = TempDir::new().unwrap();
    let journal = JournalConfig { sync: JournalSync::Always, ..journal(&directory) };
    let config = PoolConfig { journal: Some(journal), ..PoolConfig::default() };
    let pool = Pool::new(config, bench.chain.clone());
    pool.add_many(Origin::Local, vec![transfer(0, 0), transfer(0, 1)]);
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(pool.clone().run(shutdown.clone()));
    let block = bench.build(bench.head(), "", vec![transfer(0, 0)]);
    bench.import(block).await;
    while pool.status() != (1, 0) {
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn the_best_of_the_pool_can_be_mined() {
    let mut bench = Bench::new();
    let pool = bench.pool();
    let all = (0..3).flat_map(|account| (0..3).map(move |nonce| transfer(account, nonce)));
    pool.add_many(Origin::Remote, all.collect());
    let best = pool.best(None).map(|tx| tx.tx.clone()).collect();
    let block = bench.build(bench.head(), "", best);
    bench.import(block).await;
    bench.digest(&pool);
    assert_eq!(pool.status(), (0, 0));
}

/// For how long nonces are shuffled: `HEMATITE_TIER=long` makes it an hour.
fn shuffling() -> Duration {
    let is_long = std::env::var("HEMATITE_TIER").is_ok_and(|tier| tier == "long");
    if is_long { Duration::from_secs(3_600) } else { Duration::ZERO }
}

/// How long the pool may keep anybody waiting.
const HELD_MAX: Duration = Duration::from_millis(500);

const SHUFFLED_ACCOUNTS: u8 = 100;
const SHUFFLED_NONCES: u64 = 8;
const SHUFFLED_ROUNDS: u64 = 5;

/// Adds the next transactions of all accounts in an order in which few fit at once.
fn shuffle(pool: &Pool, origin: Origin, nonce: u64) {
    let accounts = u64::from(SHUFFLED_ACCOUNTS);
    let count = accounts * SHUFFLED_NONCES;
    // 487 is prime, so that each comes once.
    let places: Vec<u64> = (0..count).map(|step| step * 487 % count).collect();
    for some in places.chunks(if origin == Origin::Local { 1 } else { 50 }) {
        let of = |place: &u64| {
            let account = u8::try_from(place % accounts).unwrap();
            transfer(account, nonce + place / accounts)
        };
        for answer in pool.add_many(origin, some.iter().map(of).collect()) {
            match answer {
                Ok(_)
                | Err(
                    PoolError::AlreadyKnown
                    | PoolError::NonceTooLow
                    | PoolError::Busy
                    | PoolError::ReplacementUnderpriced,
                ) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A block that is taken back for two others. What was in it is in the third again.
fn reorganisation(bench: &mut Bench, nonce: u64) -> [SealedBlock; 3] {
    let of = |rest: u8| -> Vec<Transaction> {
        let accounts = (0..SHUFFLED_ACCOUNTS).filter(|account| account % 2 == rest);
        accounts.map(|account| transfer(account, nonce)).collect()
    };
    let parent = bench.head();
    let first = bench.build(parent, "a", of(0));
    let second = bench.build(parent, "b", of(1));
    let third = bench.build(second.hash(), "c", of(0));
    [first, second, third]
}

/// The longest that one who only looks has waited.
async fn longest_wait(pool: Pool, stop: CancellationToken) -> Duration {
    let mut longest = Duration::ZERO;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let began = Instant::now();
        let _ = pool.status();
        longest = longest.max(began.elapsed());
    }
    longest
}

/// TXP-07: nonces in any order, from users and peers, while the head moves on and back.
#[tokio::test(flavor = "multi_thread")]
async fn shuffled_nonces_and_reorgs_lock_nobody_out() {
    let mut bench = Bench::of(spec_of(book_forks(), SHUFFLED_ACCOUNTS));
    let directory = TempDir::new().unwrap();
    let pool = bench.pool_at(&directory);
    let stop = CancellationToken::new();
    let (mut following, mut watching) = (JoinSet::new(), JoinSet::new());
    following.spawn(pool.clone().run(stop.clone()));
    watching.spawn(longest_wait(pool.clone(), stop.clone()));
    let (began, mut nonce) = (Instant::now(), 0);
    while nonce < SHUFFLED_ROUNDS || began.elapsed() < shuffling() {
        let mut adders = JoinSet::new();
        for origin in [Origin::Local, Origin::Remote, Origin::Remote] {
            let pool = pool.clone();
            adders.spawn_blocking(move || shuffle(&pool, origin, nonce));
        }
        for block in reorganisation(&mut bench, nonce) {
            bench.import(block).await;
        }
        adders.join_all().await;
        pool.ground().inner.audit();
        nonce += 1;
    }
    stop.cancel();
    following.join_all().await;
    let longest = watching.join_all().await[0];
    assert!(longest <= HELD_MAX || shuffling().is_zero(), "{longest:?} in {nonce} rounds");
    // What came while the head moved may have been refused.
    pool.catch_up();
    for account in 0..SHUFFLED_ACCOUNTS {
        for nonce in nonce..nonce + SHUFFLED_NONCES {
            pool.add(Origin::Remote, transfer(account, nonce)).ok();
        }
        let pending = pool.content_of(sender(account)).pending;
        let nonces: Vec<u64> = pending.iter().map(|tx| tx.nonce()).collect();
        let expected: Vec<u64> = (nonce..nonce + SHUFFLED_NONCES).collect();
        assert_eq!(nonces, expected, "account {account}");
    }
    pool.ground().inner.audit();
}

/// TXP-08.
#[tokio::test]
async fn a_journal_of_another_chain_is_of_no_use_and_does_no_harm() {
    let bench = Bench::new();
    let directory = TempDir::new().unwrap();
    let (other, _) = Journal::open(&journal(&directory));
    other.rotate(Vec::new).unwrap();
    for chain_id in [CHAIN_ID + 1, CHAIN_ID] {
        let account = TestAccount::new(0);
        let tx = account.transfer(chain_id, 0, NOBODY, U256::from(1));
        other.enter().append(&[pooled(tx, account.address(), Origin::Local)]).unwrap();
    }
    drop(other);
    let pool = bench.pool_at(&directory);
    let pending = pool.content_of(sender(0)).pending;
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].hash(), *transfer(0, 0).tx_hash());
}
