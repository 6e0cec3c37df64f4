use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
};

use primitives::{Header, U256};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::wire::{HeaderQuery, Origin};

/// A chain without rules: headers that follow each other, each body with one ommer.
#[derive(Clone)]
struct Chain(Vec<SealedBlock>);

/// How a peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// Never answers.
    Silent,
    /// Claims a head that nobody has.
    Pretender,
    /// Claims more work than its chain has.
    Exaggerator,
    /// Answers with other blocks' bodies.
    WrongBodies,
    /// Answers without any body.
    Bodiless,
    /// Answers with one item, just before a timeout.
    TarPit,
    /// Answers a question about the head, and no other.
    HeadOnly,
    /// Takes its time, and answers.
    Slow,
    /// Serves a chain whose blocks the importer refuses.
    Invalid,
}

impl Chain {
    fn genesis() -> Self {
        Self(vec![block(0, B256::ZERO, 0, 1)])
    }

    /// The first `keep` blocks above genesis, and then `more` of another branch.
    fn branch(&self, keep: usize, more: usize, branch: u8, difficulty: u64) -> Self {
        let mut blocks = self.0[..=keep].to_vec();
        for _ in 0..more {
            let parent = blocks.last().unwrap();
            let number = parent.header().number + 1;
            blocks.push(block(number, parent.hash(), branch, difficulty));
        }
        Self(blocks)
    }

    fn head(&self) -> Head {
        let block = self.0.last().unwrap();
        let work = self.0.iter().map(|block| block.header().difficulty).sum();
        let td = TotalDifficulty::new(work);
        Head { number: block.header().number, hash: block.hash(), td }
    }

    fn index(&self, hash: B256) -> Option<usize> {
        self.0.iter().position(|block| block.hash() == hash)
    }

    fn headers(&self, query: &HeaderQuery) -> Vec<SealedHeader> {
        let origin = match query.origin {
            Origin::Hash(hash) => self.index(hash),
            Origin::Number(number) => usize::try_from(number).ok(),
        };
        let Some(origin) = origin.filter(|origin| *origin < self.0.len()) else { return vec![] };
        let amount = usize::try_from(query.amount.min(192)).unwrap();
        let header = |block: &SealedBlock| block.clone_sealed_header();
        if query.reverse {
            return self.0[..=origin].iter().rev().take(amount).map(header).collect();
        }
        self.0[origin..].iter().take(amount).map(header).collect()
    }

    fn bodies(&self, hashes: &[B256]) -> Vec<BlockBody> {
        let wanted: BTreeSet<&B256> = hashes.iter().collect();
        let blocks = self.0.iter().filter(|block| wanted.contains(&block.hash()));
        blocks.take(128).map(|block| block.body().clone()).collect()
    }
}

fn block(number: u64, parent: B256, branch: u8, difficulty: u64) -> SealedBlock {
    let ommer = Header { number, extra_data: vec![branch].into(), ..Header::default() };
    let ommers = if number == 0 { vec![] } else { vec![ommer] };
    let header = Header {
        number,
        parent_hash: parent,
        ommers_hash: primitives::ommers_hash(&ommers),
        timestamp: number * 13,
        difficulty: U256::from(difficulty),
        extra_data: vec![branch].into(),
        ..Header::default()
    };
    let body = BlockBody { transactions: vec![], ommers, withdrawals: None };
    SealedBlock::seal_parts(header, body)
}

/// A node with peers, in virtual time.
struct World {
    sync: Sync,
    now: Instant,
    start: Instant,
    rng: StdRng,
    /// What will happen: when, in which order, what.
    agenda: BinaryHeap<Reverse<(Instant, u64)>>,
    events: HashMap<u64, Event>,
    serial: u64,
    peers: BTreeMap<SessionId, (Chain, Manner)>,
    /// What the importer has: number, work.
    blocks: HashMap<B256, (SealedBlock, TotalDifficulty)>,
    canonical: Vec<B256>,
    imports: usize,
    /// How many imports fail through nobody's fault.
    busy: usize,
    dropped: BTreeMap<SessionId, SyncFault>,
    requests: usize,
    rounds: usize,
    log: Vec<Action>,
    /// What a peer's chain becomes when it announces its head.
    reorg: Option<(SessionId, Chain)>,
}

/// The importer refuses this branch.
const INVALID_BRANCH: u8 = 66;

impl World {
    fn new(local: &Chain, seed: u64) -> Self {
        let now = Instant::now();
        let mut blocks = HashMap::new();
        let mut work = U256::ZERO;
        for block in &local.0 {
            work += block.header().difficulty;
            blocks.insert(block.hash(), (block.clone(), TotalDifficulty::new(work)));
        }
        Self {
            sync: Sync::new(local.head()),
            now,
            start: now,
            rng: StdRng::seed_from_u64(seed),
            agenda: BinaryHeap::new(),
            events: HashMap::new(),
            serial: 0,
            peers: BTreeMap::new(),
            blocks,
            canonical: local.0.iter().map(SealedBlock::hash).collect(),
            imports: 0,
            busy: 0,
            dropped: BTreeMap::new(),
            requests: 0,
            rounds: 0,
            log: vec![],
            reorg: None,
        }
    }

    fn join(&mut self, id: u64, chain: &Chain, manner: Manner) {
        let peer = SessionId(id);
        let Head { hash, td, .. } = chain.head();
        let lie = TotalDifficulty::new(U256::from(1_u128 << 99));
        let (head, td) = match manner {
            Manner::Pretender => (B256::repeat_byte(0xee), lie),
            Manner::Silent | Manner::Exaggerator | Manner::HeadOnly | Manner::TarPit => (hash, lie),
            _ => (hash, td),
        };
        self.peers.insert(peer, (chain.clone(), manner));
        self.later(0, Event::PeerJoined { peer, head, td });
    }

    fn later(&mut self, milliseconds: u64, event: Event) {
        self.serial += 1;
        self.events.insert(self.serial, event);
        self.agenda.push(Reverse((self.now + Duration::from_millis(milliseconds), self.serial)));
    }

    /// Runs until the node has this head, or so many seconds have passed; how long it took.
    fn run(&mut self, goal: Head, seconds: u64) -> Duration {
        self.run_until(|world| world.canonical.last() == Some(&goal.hash), seconds);
        let reached = self.canonical.len() - 1;
        let end = self.log.iter().rev().filter(|action| !matches!(action, Action::Import(_)));
        let end: Vec<&Action> = end.take(20).collect();
        assert_eq!(
            *self.canonical.last().unwrap(),
            goal.hash,
            "at {reached} after {seconds} s, dropped {:?}, {end:#?}",
            self.dropped
        );
        self.now - self.start
    }

    /// Runs until something is the case, or so many seconds have passed.
    fn run_until(&mut self, mut is_over: impl FnMut(&Self) -> bool, seconds: u64) {
        let end = self.start + Duration::from_secs(seconds);
        let mut tick = self.now;
        while self.now < end && !is_over(self) {
            let next = self.agenda.peek().map(|Reverse((at, _))| *at);
            if next.is_none_or(|at| at > tick) {
                self.now = tick;
                tick += Duration::from_millis(250);
                self.feed(Event::Tick);
                continue;
            }
            let Reverse((at, serial)) = self.agenda.pop().unwrap();
            self.now = self.now.max(at);
            let event = self.events.remove(&serial).unwrap();
            self.feed(event);
        }
    }

    fn feed(&mut self, event: Event) {
        let mut actions = vec![];
        match &event {
            Event::Imported(head) => {
                self.imports -= 1;
                self.adopt(*head);
            }
            Event::PeerHead { .. } => {
                if let Some((peer, chain)) = self.reorg.take() {
                    self.peers.insert(peer, (chain, Manner::Honest));
                }
            }
            Event::ImportFailed { .. } => self.imports = self.imports.saturating_sub(1),
            _ => {}
        }
        let canonical = &self.canonical;
        let mut known = |number| canonical.get(usize::try_from(number).ok()?).copied();
        self.sync.on(event, self.now, &mut known, &mut actions);
        for action in actions {
            self.log.push(action.clone());
            self.act(action);
        }
        self.check_limits();
    }

    fn check_limits(&self) {
        assert!(self.imports <= IMPORTS_MAX);
        let in_flight: usize = self.sync.importing.iter().sum();
        assert!(in_flight <= WAITING_BYTES_MAX);
        // One question of each kind at a time, and a pause after each failure.
        let seconds = usize::try_from((self.now - self.start).as_secs()).unwrap() + 1;
        let limit = 400 + self.peers.len() * 8 * seconds;
        assert!(self.requests < limit, "{} questions in {seconds} s", self.requests);
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Request { peer, message } => self.answer(peer, message),
            Action::Import(blocks) => self.import(&blocks),
            Action::Drop { peer, reason } => {
                assert!(self.dropped.insert(peer, reason).is_none());
                self.later(5, Event::PeerLeft { peer });
            }
            Action::Done => self.rounds += 1,
            Action::Progress { current, highest } => assert!(current <= highest),
        }
    }

    fn answer(&mut self, peer: SessionId, message: Message) {
        self.requests += 1;
        let (chain, manner) = self.peers[&peer].clone();
        let mut delay = self.rng.random_range(2..40);
        let slowness = if manner == Manner::Slow { 3_000 } else { 0 };
        let tarpit = manner == Manner::TarPit;
        let event = match message {
            Message::GetBlockHeaders { request, query } => {
                assert!(query.amount <= 192);
                let about_head = matches!(query.origin, Origin::Hash(_));
                let mut headers = chain.headers(&query);
                match manner {
                    Manner::Silent => return,
                    Manner::HeadOnly if !about_head => return,
                    Manner::Pretender => {
                        headers = chain.headers(&HeaderQuery { origin: Origin::Number(1), ..query })
                    }
                    Manner::TarPit => headers.truncate(1),
                    _ => {}
                }
                delay += if tarpit { 4_800 } else { slowness };
                Event::Headers { peer, request, headers }
            }
            Message::GetBlockBodies { request, hashes } => {
                assert!(hashes.len() <= 128);
                let mut bodies = chain.bodies(&hashes);
                match manner {
                    Manner::Silent | Manner::HeadOnly => return,
                    Manner::WrongBodies => bodies.iter_mut().for_each(|body| body.ommers.clear()),
                    Manner::Bodiless => bodies.clear(),
                    Manner::TarPit => bodies.truncate(1),
                    _ => {}
                }
                delay += if tarpit { 4_800 } else { slowness };
                Event::Bodies { peer, request, bodies }
            }
            other => panic!("the sync asks for headers and bodies only: {other:?}"),
        };
        self.later(delay, event);
    }

    fn import(&mut self, fetched: &[Fetched]) {
        assert!(!fetched.is_empty() && fetched.len() <= IMPORT_BATCH_MAX);
        self.imports += 1;
        let delay = self.rng.random_range(1..60);
        let mut last = None;
        if self.busy > 0 {
            self.busy -= 1;
            self.later(delay, Event::ImportFailed { hash: fetched[0].block.hash(), peer: None });
            return;
        }
        for Fetched { peer, block } in fetched {
            let hash = block.hash();
            let parent = self.blocks.get(&block.header().parent_hash);
            let is_valid = block.header().extra_data.as_ref() != [INVALID_BRANCH];
            let Some((_, td)) = parent.filter(|_| is_valid) else {
                self.later(delay, Event::ImportFailed { hash, peer: Some(*peer) });
                return;
            };
            let td = td.child(block.header().difficulty);
            self.blocks.insert(hash, (block.clone(), td));
            last = Some(Head { number: block.header().number, hash, td });
        }
        self.later(delay, Event::Imported(last.unwrap()));
    }

    /// The importer's answers reach the chain before they reach the sync.
    fn adopt(&mut self, head: Head) {
        let current = *self.canonical.last().unwrap();
        if head.td <= self.blocks[&current].1 {
            return;
        }
        let (mut hash, mut branch) = (head.hash, vec![]);
        loop {
            let (block, _) = &self.blocks[&hash];
            let number = usize::try_from(block.header().number).unwrap();
            if self.canonical.get(number) == Some(&hash) {
                self.canonical.truncate(number + 1);
                break;
            }
            branch.push(hash);
            hash = block.header().parent_hash;
        }
        self.canonical.extend(branch.into_iter().rev());
    }
}

fn long_chain(blocks: usize) -> Chain {
    Chain::genesis().branch(0, blocks, 1, 10)
}

#[test]
fn catches_up_from_genesis_with_one_peer() {
    let chain = long_chain(2_000);
    let mut world = World::new(&Chain::genesis(), 1);
    world.join(1, &chain, Manner::Honest);
    world.run(chain.head(), 60);
    assert!(world.dropped.is_empty());
}

#[test]
fn is_done_once_and_asks_no_more() {
    let chain = long_chain(300);
    let mut world = World::new(&Chain::genesis(), 2);
    world.join(1, &chain, Manner::Honest);
    world.run(chain.head(), 60);
    assert!(!world.sync.is_syncing());
    assert_eq!(world.rounds, 1);
    let asked = world.requests;
    for _ in 0..100 {
        world.now += Duration::from_secs(1);
        world.feed(Event::Tick);
    }
    assert_eq!((world.requests, world.rounds), (asked, 1));
    let progress = world.log.iter().filter(|action| matches!(action, Action::Progress { .. }));
    assert!(progress.count() >= 2);
}

#[test]
fn a_block_or_two_take_one_question_about_headers() {
    let chain = long_chain(50);
    for behind in 1..=15 {
        let mut world = World::new(&chain.branch(50 - behind, 0, 1, 10), 3);
        world.join(1, &chain, Manner::Honest);
        world.run(chain.head(), 10);
        assert_eq!(world.requests, 2, "one for headers, one for bodies");
    }
}

#[test]
fn follows_a_fork_that_began_deep_below() {
    let common = long_chain(1_500);
    for depth in [1, 10, 100, 191, 192, 700, 1_499] {
        let keep = 1_500 - depth;
        let ours = common.branch(keep, depth, 2, 10);
        let theirs = common.branch(keep, depth - 1, 3, 10).branch(1_499, 2, 3, 11);
        let mut world = World::new(&ours, 4);
        world.join(1, &theirs, Manner::Honest);
        world.run(theirs.head(), 60);
        assert!(world.dropped.is_empty(), "{depth}: {:?}", world.dropped);
    }
}

#[test]
fn follows_a_shorter_chain_if_it_is_heavier() {
    let common = long_chain(400);
    let heavy = common.branch(300, 20, 4, 1_000);
    let mut world = World::new(&common, 5);
    world.join(1, &heavy, Manner::Honest);
    world.run(heavy.head(), 60);
}

#[test]
fn asks_nobody_who_claims_no_more_work() {
    let chain = long_chain(100);
    let mut world = World::new(&chain, 6);
    world.join(1, &chain, Manner::Honest);
    world.join(2, &long_chain(99), Manner::Honest);
    for _ in 0..20 {
        world.now += Duration::from_secs(1);
        let event = world.events.values().next().cloned();
        world.events.clear();
        world.feed(event.unwrap_or(Event::Tick));
    }
    assert_eq!(world.requests, 0);
    assert!(!world.sync.is_syncing());
}

#[test]
fn survives_every_kind_of_bad_peer_beside_an_honest_one() {
    let chain = long_chain(2_000);
    let invalid = chain.branch(500, 1_600, INVALID_BRANCH, 11);
    for manner in [
        Manner::Silent,
        Manner::Pretender,
        Manner::Exaggerator,
        Manner::WrongBodies,
        Manner::Bodiless,
        Manner::TarPit,
        Manner::HeadOnly,
        Manner::Invalid,
    ] {
        let mut world = World::new(&Chain::genesis(), 7);
        for bad in 1..=3 {
            let served = if manner == Manner::Invalid { &invalid } else { &chain };
            world.join(bad, served, manner);
        }
        world.join(9, &chain, Manner::Honest);
        let elapsed = world.run(chain.head(), 300);
        assert!(elapsed < Duration::from_secs(10), "{manner:?}: {elapsed:?}");
        assert!(!world.dropped.contains_key(&SessionId(9)), "{manner:?}: {:?}", world.dropped);
    }
}

#[test]
fn drops_those_who_cannot_back_their_claim_in_time() {
    let chain = long_chain(30);
    for manner in [Manner::Silent, Manner::Pretender, Manner::Exaggerator, Manner::HeadOnly] {
        let mut world = World::new(&Chain::genesis(), 8);
        world.join(1, &chain, manner);
        world.run_until(
            |world| {
                let claims = manner == Manner::Silent && world.sync.is_syncing();
                assert!(!claims, "a claim is no sync");
                !world.dropped.is_empty()
            },
            40,
        );
        let waited = world.now - world.start;
        assert!(waited <= Duration::from_secs(17), "{manner:?}: {waited:?}");
        assert!(world.dropped.contains_key(&SessionId(1)));
    }
}

#[test]
fn drops_a_lone_peer_for_what_it_does() {
    let chain = long_chain(300);
    let invalid = chain.branch(100, 200, INVALID_BRANCH, 10);
    let hash = invalid.0[101].hash();
    for (manner, reason) in [
        (Manner::Bodiless, SyncFault::Withheld),
        (Manner::WrongBodies, SyncFault::WrongBodies),
        (Manner::Pretender, SyncFault::WrongHeaders),
        (Manner::Exaggerator, SyncFault::Unproven),
        (Manner::Silent, SyncFault::Unproven),
        (Manner::Invalid, SyncFault::InvalidBlock { hash }),
    ] {
        let mut world = World::new(&Chain::genesis(), 12);
        world.join(1, if manner == Manner::Invalid { &invalid } else { &chain }, manner);
        world.join(2, &chain.branch(0, 0, 1, 10), Manner::Honest);
        world.run_until(|world| !world.dropped.is_empty(), 60);
        assert_eq!(world.dropped, BTreeMap::from([(SessionId(1), reason)]), "{manner:?}");
        assert!(!world.sync.is_syncing());
    }
}

#[test]
fn any_mix_of_peers_ends_at_the_best_honest_head() {
    let common = long_chain(600);
    let best = common.branch(500, 400, 2, 10);
    let second = common.branch(550, 250, 3, 10);
    let invalid = common.branch(450, 600, INVALID_BRANCH, 10);
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let local = common.branch(rng.random_range(0..600), rng.random_range(0..50), 5, 10);
        let mut world = World::new(&local, seed);
        world.join(1, &best, Manner::Honest);
        world.join(2, &second, Manner::Honest);
        for id in 3..3 + rng.random_range(0..5) {
            let manner = match rng.random_range(0..9) {
                0 => Manner::Silent,
                1 => Manner::Pretender,
                2 => Manner::Exaggerator,
                3 => Manner::WrongBodies,
                4 => Manner::Bodiless,
                5 => Manner::TarPit,
                6 => Manner::HeadOnly,
                7 => Manner::Slow,
                _ => Manner::Invalid,
            };
            let chains = [&best, &second, &common];
            let served = chains[rng.random_range(0..3)];
            world.join(id, if manner == Manner::Invalid { &invalid } else { served }, manner);
        }
        world.run(best.head(), 120);
        for honest in [1, 2] {
            assert!(!world.dropped.contains_key(&SessionId(honest)), "{seed}: {:?}", world.dropped);
        }
    }
}

#[test]
fn unsolicited_answers_never_enter_and_the_third_ends_the_connection() {
    let chain = long_chain(20);
    let mut world = World::new(&chain, 9);
    let peer = SessionId(1);
    world.feed(Event::PeerJoined { peer, head: B256::ZERO, td: TotalDifficulty::new(U256::ZERO) });
    let headers = chain.headers(&HeaderQuery {
        origin: Origin::Number(1),
        amount: 9,
        skip: 0,
        reverse: false,
    });
    for _ in 0..3 {
        assert!(world.dropped.is_empty());
        world.feed(Event::Headers { peer, request: RequestId(5), headers: headers.clone() });
    }
    assert_eq!(world.dropped.get(&peer), Some(&SyncFault::Unsolicited));
}

#[test]
fn an_import_that_nobody_is_to_blame_for_is_tried_again() {
    let chain = long_chain(5);
    let mut world = World::new(&Chain::genesis(), 10);
    world.busy = 2;
    world.join(1, &chain, Manner::Honest);
    let elapsed = world.run(chain.head(), 30);
    assert!(world.dropped.is_empty());
    assert!(elapsed >= Duration::from_secs(2 * REST_SECONDS), "a pause after each");
}

#[test]
fn goes_on_when_the_lead_leaves() {
    let chain = long_chain(1_000);
    let mut world = World::new(&Chain::genesis(), 11);
    world.join(1, &chain, Manner::Honest);
    world.join(2, &chain, Manner::Honest);
    world.later(300, Event::PeerLeft { peer: SessionId(1) });
    world.run(chain.head(), 60);
}

#[test]
fn gets_there_if_everybody_is_slow() {
    let chain = long_chain(600);
    for peers in 1..5 {
        let mut world = World::new(&Chain::genesis(), peers);
        for peer in 0..peers {
            world.join(peer, &chain, Manner::Slow);
        }
        world.run(chain.head(), 120);
        assert!(world.dropped.is_empty(), "{:?}", world.dropped);
    }
}

#[test]
fn goes_on_when_the_lead_reorganises() {
    let chain = long_chain(1_000);
    let other = chain.branch(999, 2, 3, 10);
    for milliseconds in (0..600).step_by(20) {
        let mut world = World::new(&Chain::genesis(), milliseconds);
        world.join(1, &chain, Manner::Honest);
        let Head { hash, td, .. } = other.head();
        world.reorg = Some((SessionId(1), other.clone()));
        world.later(milliseconds, Event::PeerHead { peer: SessionId(1), hash, td });
        world.run(other.head(), 60);
        assert!(world.dropped.is_empty(), "{milliseconds}: {:?}", world.dropped);
    }
}

#[test]
fn finds_the_ancestor_of_chains_without_depth_limit_but_not_beyond_it() {
    let known = |number: u64| (number < 7).then_some(B256::repeat_byte(1));
    let mut search = ancestor::Search::new(200_000, 200_000);
    let header = |number: u64| {
        SealedHeader::new(Header { number, ..Header::default() }, B256::repeat_byte(2))
    };
    let mut answers = 0;
    let end = loop {
        let Origin::Number(from) = search.query().origin else { panic!("asks by number") };
        match search.take(&[header(from)], &mut |number| known(number)) {
            Ok(None) => answers += 1,
            Ok(Some(ancestor)) => panic!("{ancestor:?}"),
            Err(fault) => break fault,
        }
    };
    assert_eq!(end, SyncFault::TooDeep);
    assert!(answers < 20);
}

#[test]
fn a_peer_whose_claim_came_true_by_another_way_owes_nothing() {
    let local = Chain::genesis();
    let ahead = local.branch(0, 5, 1, 1).head();
    let (mut sync, start, mut actions) = (Sync::new(local.head()), Instant::now(), vec![]);
    let peer = SessionId(1);
    let mut feed = |event, seconds| {
        let now = start + Duration::from_secs(seconds);
        sync.on(event, now, &mut |_| None, &mut actions);
    };
    feed(Event::PeerJoined { peer, head: ahead.hash, td: ahead.td }, 0);
    feed(Event::HeadChanged(ahead), 1);
    for seconds in 2..30 {
        feed(Event::Tick, seconds);
    }
    assert!(actions.iter().any(|action| matches!(action, Action::Request { .. })));
    assert!(!actions.iter().any(|action| matches!(action, Action::Drop { .. })), "{actions:?}");
}
