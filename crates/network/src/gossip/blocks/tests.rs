use std::time::Duration;

use primitives::{Header, U256};

use super::*;
use crate::wire::{Origin, Requester};

const HEAD: u64 = 100;

/// A gossip with peers, in virtual time.
struct World {
    gossip: BlockGossip,
    now: Instant,
    stored: BTreeSet<B256>,
}

impl World {
    fn new(peers: u64) -> Self {
        let gossip = BlockGossip::new(HEAD, 1);
        let stored = BTreeSet::from([parent()]);
        let mut world = Self { gossip, now: Instant::now(), stored };
        for peer in 0..peers {
            let td = td(1_000);
            world.feed(Event::PeerJoined { peer: SessionId(peer), head: parent(), td });
        }
        world
    }

    fn feed(&mut self, event: Event) -> Vec<Action> {
        let mut actions = vec![];
        let stored = &self.stored;
        self.gossip.on(event, self.now, &mut |hash| stored.contains(hash), &mut actions);
        actions
    }

    fn after(&mut self, milliseconds: u64) -> Vec<Action> {
        self.now += Duration::from_millis(milliseconds);
        self.feed(Event::Tick)
    }

    fn announce(&mut self, peer: u64, block: &SealedBlock) -> Vec<Action> {
        let blocks = vec![block.num_hash()];
        self.feed(Event::Announced { peer: SessionId(peer), blocks })
    }

    fn send(&mut self, peer: u64, block: &SealedBlock) -> Vec<Action> {
        let block = Arc::new(block.clone());
        self.feed(Event::NewBlock { peer: SessionId(peer), block, td: td(900) })
    }

    fn headers(&mut self, asked: Asked, headers: Vec<SealedHeader>) -> Vec<Action> {
        let (peer, request) = (SessionId(asked.peer), asked.request);
        self.feed(Event::Headers { peer, request, headers })
    }

    fn bodies(&mut self, asked: Asked, bodies: Vec<BlockBody>) -> Vec<Action> {
        let (peer, request) = (SessionId(asked.peer), asked.request);
        self.feed(Event::Bodies { peer, request, bodies })
    }
}

/// A question that was sent.
#[derive(Debug, Clone, Copy)]
struct Asked {
    peer: u64,
    request: RequestId,
    is_body: bool,
}

fn td(work: u64) -> TotalDifficulty {
    TotalDifficulty::new(U256::from(work))
}

fn parent() -> B256 {
    B256::repeat_byte(0xaa)
}

fn block_on(parent_hash: B256, number: u64, ommers: usize) -> SealedBlock {
    let ommers = vec![Header { number: number - 1, ..Header::default() }; ommers];
    let header = Header {
        number,
        parent_hash,
        difficulty: U256::from(10),
        ommers_hash: ommers_hash(&ommers),
        ..Header::default()
    };
    SealedBlock::seal_parts(header, BlockBody { transactions: vec![], ommers, withdrawals: None })
}

fn block(number: u64) -> SealedBlock {
    block_on(parent(), number, 1)
}

fn asked(actions: &[Action]) -> Vec<Asked> {
    let question = |action: &Action| match action {
        Action::Request { peer, message: Message::GetBlockHeaders { request, query } } => {
            assert!(matches!(query.origin, Origin::Hash(_)) && query.amount == 1);
            Some(Asked { peer: peer.0, request: *request, is_body: false })
        }
        Action::Request { peer, message: Message::GetBlockBodies { request, .. } } => {
            Some(Asked { peer: peer.0, request: *request, is_body: true })
        }
        _ => None,
    };
    actions.iter().filter_map(question).collect()
}

fn verify(peer: u64, block: &SealedBlock) -> Action {
    Action::Verify { peer: SessionId(peer), block: Arc::new(block.clone()) }
}

fn dropped(actions: &[Action]) -> Option<BlockFault> {
    actions.iter().find_map(|action| match action {
        Action::Drop { reason, .. } => Some(*reason),
        _ => None,
    })
}

#[test]
fn sends_an_own_block_to_the_root_of_the_peers_and_its_hash_to_the_rest() {
    for (peers, whole) in [(1, 1), (2, 1), (3, 1), (4, 2), (10, 3), (50, 7)] {
        let mut world = World::new(peers);
        let block = block(101).num_hash();
        let actions = world.feed(Event::Sealed { block });
        let Action::Relay { peers: few, hash } = &actions[0] else { panic!("{actions:?}") };
        assert_eq!((few.len(), *hash), (whole, block.hash));
        let rest = actions.get(1).map_or(0, |action| match action {
            Action::Announce { peers, .. } => peers.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(whole + rest, usize::try_from(peers).unwrap());
        assert_eq!(world.feed(Event::Imported { block }), vec![], "everybody has it");
    }
    assert_eq!(World::new(0).feed(Event::Sealed { block: block(101).num_hash() }), vec![]);
}

#[test]
fn relays_after_verification_and_announces_after_import() {
    let mut world = World::new(10);
    let block = block(101);
    assert_eq!(world.send(0, &block), vec![verify(0, &block)]);
    let relayed = world.feed(Event::Verified { hash: block.hash() });
    let [Action::Relay { peers: few, .. }] = &relayed[..] else { panic!("{relayed:?}") };
    assert_eq!(few.len(), 3);
    let announced = world.feed(Event::Imported { block: block.num_hash() });
    let [Action::Announce { peers: rest, .. }] = &announced[..] else { panic!("{announced:?}") };
    assert_eq!(rest.len(), 6);
    assert!(!few.contains(&SessionId(0)) && !rest.contains(&SessionId(0)), "it gave it");
    assert!(rest.iter().all(|peer| !few.contains(peer)));
}

#[test]
fn takes_blocks_within_the_window_only() {
    for (number, is_taken) in [(92, false), (93, true), (132, true), (133, false)] {
        let block = block(number);
        let mut world = World::new(1);
        assert_eq!(world.send(0, &block) == vec![verify(0, &block)], is_taken, "{number}");
        let mut world = World::new(1);
        world.announce(0, &block);
        assert_eq!(asked(&world.after(500)).len() == 1, is_taken, "{number}");
    }
}

#[test]
fn verifies_a_block_once_and_never_one_that_is_stored() {
    let mut world = World::new(2);
    let block = block(101);
    assert_eq!(world.send(0, &block).len(), 1);
    assert_eq!(world.send(1, &block), vec![]);
    world.feed(Event::Imported { block: block.num_hash() });
    world.stored.insert(block.hash());
    assert_eq!(world.send(1, &block), vec![]);
    world.announce(1, &block);
    assert_eq!(world.after(1_000), vec![]);
}

#[test]
fn hints_at_the_parent_of_a_heavier_block() {
    let mut world = World::new(1);
    let block = Arc::new(block_on(B256::repeat_byte(3), 5_000, 0));
    let hint = |work| Event::NewBlock { peer: SessionId(0), block: block.clone(), td: td(work) };
    let hash = block.header().parent_hash;
    let expected = Action::HintSync { peer: SessionId(0), hash, td: td(1_001) };
    assert_eq!(world.feed(hint(1_011)), vec![expected]);
    assert_eq!(world.feed(hint(1_011)), vec![], "it said so");
    let reason = BlockFault::TotalDifficulty;
    assert_eq!(dropped(&world.feed(hint(9))), Some(reason));
}

#[test]
fn a_wrong_body_does_not_taint_the_block() {
    let mut world = World::new(2);
    let block = block(101);
    let header = block.clone_sealed_header();
    let wrong = SealedBlock::from_sealed_parts(header, BlockBody::default());
    assert_eq!(world.send(0, &wrong), vec![]);
    assert_eq!(world.send(1, &block), vec![verify(1, &block)]);
    let other = block_on(parent(), 102, 2).clone_sealed_header();
    let wrong = SealedBlock::from_sealed_parts(other, BlockBody::default());
    assert_eq!(world.send(0, &wrong), vec![]);
    assert_eq!(dropped(&world.send(0, &wrong)), Some(BlockFault::WrongBody));
}

#[test]
fn drops_the_giver_of_an_invalid_block_and_not_of_an_early_one() {
    let mut world = World::new(2);
    let (bad, early) = (block(101), block(102));
    world.send(0, &early);
    assert_eq!(world.feed(Event::Rejected { hash: early.hash(), is_invalid: false }), vec![]);
    assert_eq!(world.send(1, &early), vec![verify(1, &early)], "it may be in time now");
    world.send(0, &bad);
    let hash = bad.hash();
    let actions = world.feed(Event::Rejected { hash, is_invalid: true });
    assert_eq!(dropped(&actions), Some(BlockFault::InvalidBlock { hash }));
}

#[test]
fn blames_nobody_for_what_only_execution_shows() {
    let mut world = World::new(3);
    let bad = block(101);
    let hash = bad.hash();
    world.send(0, &bad);
    world.feed(Event::Verified { hash });
    assert_eq!(world.feed(Event::Rejected { hash, is_invalid: true }), vec![]);
    assert_eq!(world.send(1, &bad), vec![], "it is looked at once");
    let child = block_on(hash, 102, 0);
    assert_eq!(world.send(1, &child), vec![]);
    assert_eq!(world.send(2, &block_on(child.hash(), 103, 0)), vec![]);
    assert!(world.gossip.held.is_empty());
}

#[test]
fn holds_a_block_until_its_parent_is_imported() {
    let mut world = World::new(1);
    let first = block(101);
    let second = block_on(first.hash(), 102, 0);
    assert_eq!(world.send(0, &second), vec![]);
    assert_eq!(world.send(0, &first), vec![verify(0, &first)]);
    world.stored.insert(first.hash());
    let actions = world.feed(Event::Imported { block: first.num_hash() });
    assert_eq!(actions, vec![verify(0, &second)]);
}

#[test]
fn asks_whoever_gave_an_orphan_for_the_ancestor_that_is_missing() {
    let mut world = World::new(1);
    let first = block(101);
    let second = block_on(first.hash(), 102, 0);
    let third = block_on(second.hash(), 103, 0);
    world.send(0, &second);
    let question = asked(&world.after(500))[0];
    assert_eq!(world.headers(question, vec![]), vec![], "it does not say");
    world.send(0, &third);
    let question = asked(&world.after(500))[0];
    let body = asked(&world.headers(question, vec![first.clone_sealed_header()]))[0];
    assert_eq!(world.bodies(body, vec![first.body().clone()]), vec![verify(0, &first)]);
    world.stored.insert(first.hash());
    let actions = world.feed(Event::Imported { block: first.num_hash() });
    assert_eq!(actions, vec![verify(0, &second)]);
}

#[test]
fn forgets_what_waited_for_an_invalid_block() {
    let mut world = World::new(1);
    let first = block(101);
    world.send(0, &block_on(first.hash(), 102, 0));
    world.send(0, &first);
    world.feed(Event::Rejected { hash: first.hash(), is_invalid: true });
    assert!(world.gossip.held.is_empty());
}

#[test]
fn holds_no_more_orphans_than_allowed() {
    let mut world = World::new(10);
    for peer in 0..10_u8 {
        for number in 101..120 {
            world.send(u64::from(peer), &block_on(B256::repeat_byte(peer + 1), number, 0));
        }
        assert!(world.gossip.held.len() <= HELD_PER_PEER_MAX * (usize::from(peer) + 1));
    }
    assert_eq!(world.gossip.held.len(), HELD_MAX);
    world.feed(Event::HeadChanged { number: 1_000 });
    assert!(world.gossip.held.is_empty());
}

#[test]
fn fetches_header_and_body_if_the_block_does_not_come_whole() {
    let mut world = World::new(1);
    let block = block(101);
    world.announce(0, &block);
    assert_eq!(world.after(499), vec![]);
    let header = asked(&world.after(1))[0];
    assert_eq!(header.request.requester(), Some(Requester::Blocks));
    let body = asked(&world.headers(header, vec![block.clone_sealed_header()]))[0];
    assert!(!header.is_body && body.is_body);
    assert_eq!(world.bodies(body, vec![block.body().clone()]), vec![verify(0, &block)]);
    assert!(world.gossip.wanted.is_empty());
}

#[test]
fn needs_no_body_of_an_empty_block() {
    let mut world = World::new(1);
    let block = block_on(parent(), 101, 0);
    world.announce(0, &block);
    let header = asked(&world.after(500))[0];
    let actions = world.headers(header, vec![block.clone_sealed_header()]);
    assert_eq!(actions, vec![verify(0, &block)]);
}

#[test]
fn fetches_nothing_that_came_whole() {
    let mut world = World::new(2);
    let block = block(101);
    world.announce(0, &block);
    assert_eq!(world.send(1, &block), vec![verify(1, &block)]);
    assert_eq!(world.after(600), vec![]);
}

#[test]
fn asks_the_next_announcer_when_one_withholds() {
    let mut world = World::new(2);
    let block = block(101);
    world.announce(0, &block);
    world.announce(1, &block);
    let first = asked(&world.after(500));
    assert_eq!(first[0].peer, 0);
    assert_eq!(asked(&world.after(499)).len(), 0);
    let second = asked(&world.after(1));
    assert_eq!(second[0].peer, 1);
    let body = asked(&world.headers(second[0], vec![block.clone_sealed_header()]))[0];
    assert_eq!(body.peer, 1);
    assert_eq!(world.bodies(body, vec![block.body().clone()]), vec![verify(1, &block)]);
    // The first one's answer comes too late for anything.
    assert_eq!(world.headers(first[0], vec![block.clone_sealed_header()]), vec![]);
}

#[test]
fn a_peer_that_never_answers_is_left() {
    let mut world = World::new(1);
    world.announce(0, &block(101));
    assert_eq!(asked(&world.after(500)).len(), 1);
    assert_eq!(world.after(5_000), vec![]);
    world.announce(0, &block(102));
    assert_eq!(world.after(20_000), vec![], "it is not asked anything else meanwhile");
    assert_eq!(dropped(&world.after(20_000)), Some(BlockFault::Timeout));
}

#[test]
fn the_third_unanswered_question_ends_the_connection() {
    let mut world = World::new(1);
    for round in 1..=3_u64 {
        let block = block(100 + round);
        world.announce(0, &block);
        let question = asked(&world.after(500))[0];
        let late = world.after(5_000);
        if round == 3 {
            assert_eq!(dropped(&late), Some(BlockFault::Timeout));
            return;
        }
        assert_eq!(late, vec![]);
        assert_eq!(world.headers(question, vec![]), vec![]);
    }
}

#[test]
fn drops_those_who_answer_with_another_block() {
    let block = block(101);
    let other = block_on(parent(), 102, 0).clone_sealed_header();
    for headers in [vec![other.clone()], vec![block.clone_sealed_header(), other]] {
        let mut world = World::new(1);
        world.announce(0, &block);
        let header = asked(&world.after(500))[0];
        let actions = world.headers(header, headers);
        assert_eq!(dropped(&actions), Some(BlockFault::WrongAnswer));
    }
    // The number is not the announced one.
    let mut world = World::new(1);
    let blocks = vec![BlockNumHash { number: 110, hash: block.hash() }];
    world.feed(Event::Announced { peer: SessionId(0), blocks });
    let header = asked(&world.after(500))[0];
    let actions = world.headers(header, vec![block.clone_sealed_header()]);
    assert_eq!(dropped(&actions), Some(BlockFault::WrongAnswer));
}

#[test]
fn a_wrong_body_is_asked_for_elsewhere() {
    let mut world = World::new(2);
    let block = block(101);
    world.announce(0, &block);
    world.announce(1, &block);
    let header = asked(&world.after(500))[0];
    let body = asked(&world.headers(header, vec![block.clone_sealed_header()]))[0];
    assert_eq!(world.bodies(body, vec![BlockBody::default()]), vec![]);
    let again = asked(&world.after(500))[0];
    assert!(again.is_body && again.peer != body.peer);
    let actions = world.bodies(again, vec![block.body().clone()]);
    assert_eq!(actions, vec![verify(again.peer, &block)]);
}

#[test]
fn unsolicited_answers_never_enter_and_the_third_ends_the_connection() {
    let mut world = World::new(1);
    let block = block(101);
    let stray = Asked { peer: 0, request: RequestId(77), is_body: false };
    assert_eq!(world.headers(stray, vec![block.clone_sealed_header()]), vec![]);
    assert_eq!(world.bodies(stray, vec![block.body().clone()]), vec![]);
    let actions = world.bodies(stray, vec![block.body().clone()]);
    assert_eq!(dropped(&actions), Some(BlockFault::Unsolicited));
}

#[test]
fn remembers_a_bounded_number_of_announcements() {
    let announcements = |count: u64| {
        let one = |n: u64| BlockNumHash { number: 101, hash: B256::from(U256::from(n + 1)) };
        (0..count).map(one).collect::<Vec<_>>()
    };
    let mut world = World::new(1);
    let flood = |count| Event::Announced { peer: SessionId(0), blocks: announcements(count) };
    assert_eq!(world.feed(flood(512)), vec![]);
    assert_eq!(world.gossip.wanted.len(), ANNOUNCED_MAX);
    assert_eq!(dropped(&world.feed(flood(513))), Some(BlockFault::Flood));
    assert!(world.gossip.wanted.is_empty(), "nobody else announced them");
}

#[test]
fn one_peer_cannot_fill_the_importer() {
    let mut world = World::new(2);
    let many = (0..PENDING_MAX + 10).map(|n| block_on(parent(), 101, n)).collect::<Vec<_>>();
    let taken = many.iter().filter(|block| !world.send(0, block).is_empty()).count();
    assert_eq!(taken, PENDING_MAX);
    assert_eq!(world.send(1, &block_on(parent(), 103, 0)).len(), 1);
}
