//! A node: a real chain, a real pool, and the network's machine between them.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use chain::{
    ChainEvent, ChainView,
    testing::{BlockOptions, SteppedChain, TestAccount},
};
use network::{
    SyncProgress,
    protocol::{Action, Event, Protocol},
};
use primitives::{
    Address, B256, Bytes, ChainSpec, Genesis, GenesisAccount, Header, SealedBlock, SealedHeader,
    U256,
    map::{HashMap, HashSet},
};
use state::StateReader;
use tokio::sync::broadcast;
use txpool::{Origin, Pool, PoolConfig};

use crate::liar::Lie;

/// The most transactions in a block.
const BLOCK_TRANSACTIONS_MAX: usize = 40;
/// How many blocks are remembered that may become ommers.
const SIBLINGS_MAX: usize = 16;
/// Which block an ommer's parent may be, counted from the block's own parent.
const OMMER_DEPTH_MAX: usize = 6;

/// A node of the world.
pub(crate) struct Node {
    pub(crate) chain: SteppedChain,
    pub(crate) pool: Pool,
    pub(crate) changes: broadcast::Receiver<B256>,
    pub(crate) waiting_own: broadcast::Receiver<B256>,
    pub(crate) protocol: Protocol,
    pub(crate) lie: Option<Lie>,
    pub(crate) mines: bool,
    /// How long it takes to answer a question.
    pub(crate) pace: Duration,
    pub(crate) account: TestAccount,
    pub(crate) nonce: u64,
    pub(crate) progress: Option<SyncProgress>,
    /// How often a sync began.
    pub(crate) syncs: usize,
    /// When each of its queues is empty.
    pub(crate) free_at: Queues,
    siblings: VecDeque<SealedHeader>,
    name: u8,
}

/// What keeps its order within a node.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    pub(crate) chain: Duration,
    pub(crate) batches: Duration,
    pub(crate) network: Duration,
    pub(crate) pool: Duration,
}

impl Node {
    pub(crate) fn new(name: u8, lie: Option<Lie>, seed: u64) -> Self {
        let chain = SteppedChain::new(spec());
        let pool = Pool::new(PoolConfig::default(), chain.handle());
        let protocol = Protocol::new(&chain.handle().view(), seed);
        Self {
            changes: pool.changes(),
            waiting_own: pool.changes_of_waiting_own(),
            pool,
            protocol,
            chain,
            lie,
            mines: false,
            pace: Duration::from_millis(5),
            account: TestAccount::new(name),
            nonce: 0,
            progress: None,
            syncs: 0,
            free_at: Queues::default(),
            siblings: VecDeque::new(),
            name,
        }
    }

    pub(crate) fn view(&self) -> Arc<ChainView> {
        self.chain.handle().view()
    }

    pub(crate) fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let (view, mut actions) = (self.view(), Vec::new());
        self.protocol.on(event, now, (&view, &self.pool), &mut actions);
        for action in &actions {
            if let Action::Progress(progress) = action {
                self.syncs += usize::from(self.progress.is_none() && progress.is_some());
                self.progress = *progress;
            }
        }
        actions
    }

    /// Remembers what may become ommers.
    pub(crate) fn on_changed(&mut self, event: &ChainEvent) {
        for id in event.retired.iter().chain(&event.side) {
            if let Some(header) = event.view.db.header(id.hash).expect("the database works") {
                self.siblings.push_back(header);
            }
        }
        let surplus = self.siblings.len().saturating_sub(SIBLINGS_MAX);
        self.siblings.drain(..surplus);
    }

    /// What the pool says is new, in an order that does not depend on its hash tables.
    pub(crate) fn take_changes(&mut self) -> Vec<B256> {
        let mut hashes = Vec::new();
        for changes in [&mut self.changes, &mut self.waiting_own] {
            hashes.extend(std::iter::from_fn(|| changes.try_recv().ok()));
        }
        hashes.sort_by_key(|hash| self.pool.get(*hash).map(|tx| (tx.sender, tx.nonce())));
        hashes
    }

    /// A transaction of this node's user, put into its pool.
    pub(crate) fn spend(&mut self) -> B256 {
        let chain_id = self.view().spec.chain_id;
        let to = Address::repeat_byte(self.name);
        let tx = self.account.transfer(chain_id, self.nonce, to, U256::from(1));
        self.nonce += 1;
        self.pool.add(Origin::Local, tx).expect("the pool takes a good transaction")
    }

    /// A block on the head, with what the pool has and an ommer or two; `None` while the head is
    /// younger than a second.
    pub(crate) fn build(&self, unix: u64) -> Option<SealedBlock> {
        let view = self.view();
        let seconds = unix.checked_sub(view.head.timestamp).filter(|seconds| *seconds > 0)?;
        let (mut nonces, mut transactions) = (HashMap::<Address, u64>::default(), Vec::new());
        let mut best = self.pool.best(None);
        while let Some(pooled) = best.next()
            && transactions.len() < BLOCK_TRANSACTIONS_MAX
        {
            let sender = pooled.sender;
            let nonce = nonces.entry(sender).or_insert_with(|| nonce_of(&view, sender));
            // The pool follows the chain, a little behind.
            if pooled.nonce() == *nonce {
                *nonce += 1;
                transactions.push(pooled.tx.clone());
            } else if pooled.nonce() > *nonce {
                best.skip_account(sender);
            }
        }
        let options = BlockOptions {
            seconds,
            beneficiary: Address::repeat_byte(0xb0 + self.name),
            ommers: self.ommers(&view),
            extra_data: Bytes::from(vec![self.name]),
        };
        Some(self.chain.builder.block_on(view.head.hash(), transactions, options))
    }

    fn ommers(&self, view: &ChainView) -> Vec<Header> {
        let ancestors = view.ancestors(&view.head).expect("the database works");
        let mut used: HashSet<B256> =
            ancestors.iter().flat_map(|ancestor| ancestor.ommers.iter().copied()).collect();
        used.extend(ancestors.iter().map(|ancestor| ancestor.header.hash()));
        let parents: Vec<B256> = ancestors
            .iter()
            .skip(1)
            .take(OMMER_DEPTH_MAX)
            .map(|ancestor| ancestor.header.hash())
            .collect();
        let mut ommers = Vec::new();
        for sibling in &self.siblings {
            let fits = parents.contains(&sibling.parent_hash) && used.insert(sibling.hash());
            if fits && ommers.len() < 2 {
                ommers.push(sibling.header().clone());
            }
        }
        ommers
    }
}

fn nonce_of(view: &ChainView, sender: Address) -> u64 {
    view.account(sender).expect("the database works").map_or(0, |account| account.nonce)
}

/// A chain that funds every node's user.
pub(crate) fn spec() -> ChainSpec {
    let mut genesis = Genesis {
        gas_limit: 8_000_000,
        difficulty: U256::from(131_072),
        timestamp: crate::world::EPOCH,
        ..Genesis::default()
    };
    for name in 0..16 {
        let balance = U256::from(10).pow(U256::from(21));
        let account = GenesisAccount { balance, ..GenesisAccount::default() };
        genesis.alloc.insert(TestAccount::new(name).address(), account);
    }
    let config = serde_json::json!({ "chainId": 1_337 });
    ChainSpec::new(config, chain::testing::book_forks(), 1_337, genesis)
}

/// Whether a node's head has the state that it names: the sender's nonce is there to be read.
pub(crate) fn mined_nonce(view: &ChainView, account: &TestAccount) -> u64 {
    let state = view.state_at(view.head.hash()).expect("the head is executed");
    let found = state.account(primitives::keccak256(account.address())).expect("it reads");
    found.map_or(0, |account| account.nonce)
}
