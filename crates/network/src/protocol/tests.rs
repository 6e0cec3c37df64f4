use std::sync::Arc;

use chain::testing::{SteppedChain, TestAccount, book_forks, spec};
use primitives::{Address, Transaction, U256};
use txpool::PoolConfig;

use super::*;

/// A node, and a peer that claims so much more work.
struct World {
    chain: SteppedChain,
    pool: Pool,
    protocol: Protocol,
}

impl World {
    fn new() -> Self {
        let chain = SteppedChain::new(spec(book_forks()));
        let pool = Pool::new(PoolConfig::default(), chain.handle());
        let protocol = Protocol::new(&chain.handle().view(), 1);
        Self { chain, pool, protocol }
    }

    fn feed(&mut self, event: Event) -> Vec<Action> {
        let mut actions = vec![];
        let view = self.chain.handle().view();
        self.protocol.on(event, Instant::now(), (&view, &self.pool), &mut actions);
        actions
    }

    fn join(&mut self, peer: u64, more: u64) {
        let td = self.chain.handle().view().td.get() + U256::from(more);
        let (td, head) = (TotalDifficulty::new(td), B256::repeat_byte(7));
        self.feed(Event::PeerJoined {
            peer: SessionId(peer),
            version: EthVersion::Eth66,
            head,
            td,
        });
    }

    /// Whether a transaction that the peer sends is offered to the pool.
    fn takes(&mut self, peer: u64) -> bool {
        let message = Message::Transactions(vec![transaction()]);
        let actions = self.feed(Event::Message { peer: SessionId(peer), message });
        actions.iter().any(|action| matches!(action, Action::Start(Job::Admit { .. })))
    }
}

fn transaction() -> Transaction {
    TestAccount::new(1).transfer(1337, 0, Address::repeat_byte(1), U256::from(1))
}

#[test]
fn transactions_are_taken_at_once_where_nobody_has_a_heavier_chain() {
    let mut world = World::new();
    assert!(!world.protocol.accepts_transactions(), "nobody is there to know");
    world.join(1, 0);
    assert!(world.takes(1));
}

#[test]
fn transactions_wait_until_the_chain_is_that_of_the_peers_for_the_first_time() {
    let mut world = World::new();
    world.join(1, 1_000);
    assert!(!world.takes(1));
    world.join(2, 0);
    assert!(!world.takes(2), "one that is behind as well proves nothing");
    world.feed(Event::PeerLeft { peer: SessionId(1) });
    assert!(world.takes(2));
    world.join(3, 5_000);
    assert!(world.takes(3), "once is enough");
}

#[test]
fn a_miner_takes_transactions_from_the_beginning() {
    let mut world = World::new();
    world.protocol.accept_transactions();
    world.join(1, 1_000);
    assert!(world.takes(1));
}

#[test]
fn a_block_that_is_imported_opens_the_door() {
    let mut world = World::new();
    world.join(1, u64::MAX);
    let block = world.chain.builder.extend(vec![]);
    let events = world.chain.publish();
    assert!(!world.takes(1));
    let mut other = World::new();
    other.join(1, u64::MAX);
    other.chain.builder.extend(vec![]);
    other.chain.publish();

    // Of its own.
    for event in events {
        world.feed(Event::ChainChanged(Arc::new(event)));
    }
    assert!(world.takes(1));
    // Of others.
    assert!(!other.takes(1));
    other.feed(Event::Done(Done::Imported(block.num_hash())));
    assert!(other.takes(1));
}

#[test]
fn what_was_announced_before_is_asked_for_when_the_door_opens() {
    let mut world = World::new();
    world.join(1, 1_000);
    let announced = vec![crate::wire::AnnouncedTransaction::of(&transaction())];
    let message = Message::NewPooledTransactionHashes(announced);
    world.feed(Event::Message { peer: SessionId(1), message });
    let later = Instant::now() + std::time::Duration::from_secs(2);
    let asks = |world: &mut World| {
        let (view, mut actions) = (world.chain.handle().view(), vec![]);
        world.protocol.on(Event::Tick, later, (&view, &world.pool), &mut actions);
        let is_question = |action: &Action| {
            let Action::Send { message, .. } = action else { return false };
            matches!(message, Message::GetPooledTransactions { .. })
        };
        actions.iter().any(is_question)
    };
    assert!(!asks(&mut world));
    world.protocol.accept_transactions();
    assert!(asks(&mut world));
}
