use alloy_consensus::{SignableTransaction, TxLegacy};
use primitives::{Signature, U256};

use super::*;

/// A gossip with peers, in virtual time.
struct World {
    gossip: TransactionGossip,
    now: Instant,
    pool: HashSet<B256>,
}

impl World {
    fn new(peers: u64, version: EthVersion) -> Self {
        let now = Instant::now();
        let mut world = Self { gossip: TransactionGossip::new(1), now, pool: HashSet::default() };
        for peer in 0..peers {
            world.join(peer, version, vec![]);
        }
        world
    }

    fn join(
        &mut self,
        peer: u64,
        version: EthVersion,
        pending: Vec<AnnouncedTransaction>,
    ) -> Vec<Action> {
        self.feed(Event::PeerJoined { peer: SessionId(peer), version, pending })
    }

    fn feed(&mut self, event: Event) -> Vec<Action> {
        let mut actions = vec![];
        let pool = &self.pool;
        self.gossip.on(event, self.now, &mut |hash| pool.contains(hash), &mut actions);
        actions
    }

    fn after(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.feed(Event::Tick)
    }

    fn announce(&mut self, peer: u64, transactions: Vec<AnnouncedTransaction>) -> Vec<Action> {
        self.feed(Event::Announced { peer: SessionId(peer), transactions })
    }
}

fn transaction(nonce: u64) -> Transaction {
    let signature = Signature::new(U256::from(1), U256::from(1), false);
    TxLegacy { nonce, ..TxLegacy::default() }.into_signed(signature).into()
}

fn announced(count: u32, size: u32) -> Vec<AnnouncedTransaction> {
    let metadata = Some(TransactionMetadata { tx_type: 0, size });
    let hash = |n: u32| B256::from(U256::from(n + 1));
    (0..count).map(|n| AnnouncedTransaction { hash: hash(n), metadata }).collect()
}

fn asked(actions: &[Action]) -> Vec<(u64, RequestId, Vec<B256>)> {
    let question = |action: &Action| match action {
        Action::Request { peer, message: Message::GetPooledTransactions { request, hashes } } => {
            Some((peer.0, *request, hashes.clone()))
        }
        _ => None,
    };
    actions.iter().filter_map(question).collect()
}

fn told(actions: &[Action]) -> (usize, usize) {
    let whole = actions.iter().filter(|action| matches!(action, Action::Send { .. })).count();
    let announced =
        actions.iter().filter(|action| matches!(action, Action::Announce { .. })).count();
    (whole, announced)
}

#[test]
fn sends_to_the_root_of_the_peers_and_announces_to_the_rest() {
    for (peers, whole) in [(0, 0), (1, 1), (3, 1), (4, 2), (10, 3), (50, 7)] {
        let mut world = World::new(peers, EthVersion::Eth65);
        let actions = world.feed(Event::Pooled { transactions: announced(1, 100), own: false });
        let rest = usize::try_from(peers).unwrap() - whole;
        assert_eq!(told(&actions), (whole, rest));
    }
}

#[test]
fn sends_whole_to_everybody_before_eth_65() {
    for version in [EthVersion::Eth63, EthVersion::Eth64] {
        let mut world = World::new(10, version);
        let actions = world.feed(Event::Pooled { transactions: announced(1, 100), own: false });
        assert_eq!(told(&actions), (10, 0));
    }
}

#[test]
fn tells_nobody_what_it_told_us() {
    let mut world = World::new(1, EthVersion::Eth65);
    world.announce(0, announced(1, 100));
    assert_eq!(world.feed(Event::Pooled { transactions: announced(1, 100), own: false }), vec![]);
    world.feed(Event::Received { peer: SessionId(0), transactions: vec![transaction(1)] });
    let same = vec![AnnouncedTransaction::of(&transaction(1))];
    assert_eq!(world.feed(Event::Pooled { transactions: same, own: false }), vec![]);
}

#[test]
fn tells_a_new_peer_everything_in_messages_of_a_fair_size() {
    let mut world = World::new(0, EthVersion::Eth65);
    assert_eq!(told(&world.join(1, EthVersion::Eth65, announced(4096, 100))), (0, 1));
    assert_eq!(told(&world.join(2, EthVersion::Eth65, announced(4097, 100))), (0, 2));
    assert_eq!(told(&world.join(3, EthVersion::Eth63, announced(1024, 100))), (1, 0));
    assert_eq!(told(&world.join(4, EthVersion::Eth63, announced(1025, 100))), (2, 0));
    assert_eq!(told(&world.join(5, EthVersion::Eth63, announced(3, 200_000))), (3, 0));
}

#[test]
fn waits_for_the_whole_transaction_before_asking() {
    let mut world = World::new(2, EthVersion::Eth66);
    world.announce(0, announced(1, 100));
    assert_eq!(world.after(Duration::from_millis(499)), vec![]);
    let questions = asked(&world.after(Duration::from_millis(1)));
    assert_eq!(questions.len(), 1);
    assert_eq!(questions[0].1.requester(), Some(Requester::Transactions));
    assert_eq!(world.after(Duration::from_secs(1)), vec![], "one question at a time");

    let tx = transaction(7);
    world.announce(1, vec![AnnouncedTransaction::of(&tx)]);
    let actions =
        world.feed(Event::Received { peer: SessionId(0), transactions: vec![tx.clone()] });
    assert_eq!(actions, vec![Action::Admit { peer: SessionId(0), transactions: vec![tx] }]);
    assert_eq!(asked(&world.after(Duration::from_secs(1))), vec![]);
}

#[test]
fn asks_for_a_bounded_number_and_goes_on_with_the_answer() {
    let mut world = World::new(1, EthVersion::Eth66);
    world.announce(0, announced(4096, 100));
    let more = (5_000_u32..5_010)
        .map(|n| AnnouncedTransaction { hash: B256::from(U256::from(n)), metadata: None });
    world.announce(0, more.collect());
    assert_eq!(world.gossip.wanted.len(), ANNOUNCED_MAX, "and no more");
    let (peer, request, hashes) = asked(&world.after(ARRIVAL)).pop().unwrap();
    assert_eq!(hashes.len(), 256);
    let peer = SessionId(peer);
    let next = asked(&world.feed(Event::Answered { peer, request, transactions: vec![] }));
    assert_eq!(next[0].2.len(), 256);
    assert!(next[0].2.iter().all(|hash| !hashes.contains(hash)), "it has not got them");
    assert_eq!(world.gossip.wanted.len(), ANNOUNCED_MAX - 256);
}

#[test]
fn asks_another_announcer_when_one_withholds() {
    let mut world = World::new(2, EthVersion::Eth66);
    world.announce(0, announced(1, 100));
    world.announce(1, announced(1, 100));
    let first = asked(&world.after(ARRIVAL));
    assert_eq!(first.len(), 1);
    assert_eq!(asked(&world.after(Duration::from_millis(4_999))), vec![]);
    let second = asked(&world.after(Duration::from_millis(1)));
    assert_eq!(second.len(), 1);
    assert_ne!(first[0].0, second[0].0);
    let now_gone = world.after(ANSWER);
    assert_eq!(now_gone, vec![]);
    assert!(world.gossip.wanted.is_empty());
}

#[test]
fn takes_a_late_answer_and_asks_the_peer_again_only_then() {
    let mut world = World::new(1, EthVersion::Eth66);
    let tx = transaction(1);
    world.announce(0, vec![AnnouncedTransaction::of(&tx)]);
    let (_, request, _) = asked(&world.after(ARRIVAL)).pop().unwrap();
    world.after(ANSWER);
    world.announce(0, announced(1, 100));
    assert_eq!(asked(&world.after(ARRIVAL)), vec![]);
    let late = Event::Answered { peer: SessionId(0), request, transactions: vec![tx.clone()] };
    let actions = world.feed(late);
    let admitted = Action::Admit { peer: SessionId(0), transactions: vec![tx] };
    assert!(actions.contains(&admitted));
    assert_eq!(asked(&actions).len(), 1);
}

#[test]
fn unsolicited_answers_never_enter_and_the_third_ends_the_connection() {
    let mut world = World::new(1, EthVersion::Eth66);
    let event = || Event::Answered {
        peer: SessionId(0),
        request: RequestId(99),
        transactions: vec![transaction(1)],
    };
    assert_eq!(world.feed(event()), vec![]);
    assert_eq!(world.feed(event()), vec![]);
    let reason = TransactionFault::Unsolicited;
    assert_eq!(world.feed(event()), vec![Action::Drop { peer: SessionId(0), reason }]);
}

#[test]
fn what_was_not_asked_for_never_enters() {
    let mut world = World::new(1, EthVersion::Eth66);
    let tx = transaction(1);
    world.announce(0, vec![AnnouncedTransaction::of(&tx)]);
    let (_, request, _) = asked(&world.after(ARRIVAL)).pop().unwrap();
    let transactions = vec![transaction(2), tx.clone()];
    let actions = world.feed(Event::Answered { peer: SessionId(0), request, transactions });
    assert_eq!(actions, vec![Action::Admit { peer: SessionId(0), transactions: vec![tx] }]);
}

#[test]
fn the_third_lie_about_a_size_or_type_ends_the_connection() {
    let mut world = World::new(1, EthVersion::Eth68);
    let mut last = vec![];
    for nonce in 1..=4 {
        assert_eq!(last, vec![]);
        let tx = transaction(nonce);
        let mut claim = AnnouncedTransaction::of(&tx);
        let actual = claim.metadata.unwrap();
        claim.metadata = Some(match nonce {
            1 => TransactionMetadata { size: actual.size + SIZE_TOLERANCE, ..actual },
            2 => TransactionMetadata { size: actual.size + SIZE_TOLERANCE + 1, ..actual },
            _ => TransactionMetadata { tx_type: 2, ..actual },
        });
        world.announce(0, vec![claim]);
        last = world.feed(Event::Received { peer: SessionId(0), transactions: vec![tx] });
        last.retain(|action| !matches!(action, Action::Admit { .. }));
    }
    let reason = TransactionFault::Metadata;
    assert_eq!(last, vec![Action::Drop { peer: SessionId(0), reason }]);
}

#[test]
fn never_fetches_what_the_pool_has_or_refused() {
    let mut world = World::new(1, EthVersion::Eth66);
    let transactions = announced(3, 100);
    world.pool.insert(transactions[0].hash);
    world.feed(Event::Refused { hashes: vec![transactions[1].hash] });
    world.announce(0, transactions.clone());
    world.pool.insert(transactions[2].hash);
    assert_eq!(asked(&world.after(ARRIVAL)), vec![]);
    assert!(world.gossip.wanted.is_empty());
}

#[test]
fn asks_a_few_times_more_for_what_the_pool_had_no_room_for() {
    let mut world = World::new(2, EthVersion::Eth66);
    let tx = transaction(100);
    let hash = *tx.tx_hash();
    let peer = SessionId(0);
    let mut waited = Vec::new();
    world.feed(Event::Received { peer, transactions: vec![tx.clone()] });
    loop {
        world.feed(Event::Crowded { peer, hashes: vec![hash] });
        let since = world.now;
        let question = (0..400).find_map(|_| asked(&world.after(Duration::from_millis(100))).pop());
        let Some((0, request, hashes)) = question else { break };
        assert_eq!(hashes, [hash]);
        waited.push((world.now - since).as_secs());
        let actions = world.feed(Event::Answered { peer, request, transactions: vec![tx.clone()] });
        assert!(matches!(&actions[..], [Action::Admit { .. }]), "{actions:?}");
    }
    assert_eq!(waited, [1, 2, 4, 8, 16]);
    assert!(world.gossip.wanted.is_empty() && world.gossip.postponed.is_empty());
    // Who announces it anew is believed anew.
    world.announce(1, vec![AnnouncedTransaction::of(&tx)]);
    assert_eq!(asked(&world.after(ARRIVAL)).len(), 1);
}

#[test]
fn what_the_pool_has_no_room_for_is_remembered_within_bounds() {
    let mut world = World::new(3, EthVersion::Eth66);
    world.join(9, EthVersion::Eth64, vec![]);
    for peer in [0, 1, 2, 9] {
        let hash = |number: u64| B256::from(U256::from(peer * 1_000_000 + number));
        let hashes = (0..10_000).map(hash).collect();
        world.feed(Event::Crowded { peer: SessionId(peer), hashes });
    }
    assert!(world.gossip.postponed.len() <= POSTPONED_MAX);
    assert_eq!(world.gossip.wanted.len(), 3 * ANNOUNCED_MAX, "eth/64 cannot be asked");
    for peer in [0, 1, 2] {
        world.feed(Event::PeerLeft { peer: SessionId(peer) });
    }
    assert!(world.gossip.wanted.is_empty());
}

#[test]
fn announces_to_everybody_what_comes_back_after_a_reorg() {
    let mut world = World::new(9, EthVersion::Eth66);
    let old = 20;
    world.join(old, EthVersion::Eth64, vec![]);
    world.feed(Event::Pooled { transactions: announced(1, 100), own: false });
    let again = world.feed(Event::Pooled { transactions: announced(1, 100), own: false });
    assert_eq!(told(&again), (0, 9), "who cannot be told by hash is not sent it twice");
}

#[test]
fn announces_own_transactions_every_minute_while_the_pool_has_them() {
    let mut world = World::new(3, EthVersion::Eth65);
    world.pool.extend(announced(2, 100).iter().map(|tx| tx.hash));
    world.feed(Event::Pooled { transactions: announced(1, 100), own: true });
    world.feed(Event::Pooled { transactions: announced(2, 100), own: false });
    assert_eq!(world.after(Duration::from_millis(59_999)), vec![]);
    let again = world.after(Duration::from_millis(1));
    assert_eq!(told(&again), (0, 3));
    assert_eq!(told(&world.after(REPEAT)), (0, 3));
    world.pool.clear();
    assert_eq!(world.after(REPEAT), vec![]);
    assert!(world.gossip.own.is_empty());
}

#[test]
fn forgets_what_only_a_leaving_peer_announced() {
    let mut world = World::new(2, EthVersion::Eth66);
    world.announce(0, announced(5, 100));
    world.announce(1, announced(2, 100));
    world.feed(Event::PeerLeft { peer: SessionId(0) });
    assert_eq!(world.gossip.wanted.len(), 2);
    assert_eq!(asked(&world.after(ARRIVAL))[0].2.len(), 2);
    world.feed(Event::PeerLeft { peer: SessionId(1) });
    assert!(world.gossip.wanted.is_empty());
}

/// Announces something new every second for so long: what was asked, and the last actions.
fn announce_for(world: &mut World, seconds: u64, nonce: &mut u64) -> (Vec<usize>, Vec<Action>) {
    let (mut questions, mut last) = (vec![], vec![]);
    for _ in 0..seconds {
        let news: Vec<_> =
            (0..3).map(|n| AnnouncedTransaction::of(&transaction(*nonce + n))).collect();
        *nonce += 3;
        world.announce(0, news);
        last = world.after(Duration::from_secs(1));
        questions.extend(asked(&last).into_iter().map(|(_, _, hashes)| hashes.len()));
    }
    (questions, last)
}

#[test]
fn who_announces_and_never_answers_is_asked_less_and_then_dropped() {
    let (mut world, mut nonce) = (World::new(1, EthVersion::Eth66), 0);
    let (first, _) = announce_for(&mut world, 30, &mut nonce);
    assert_eq!(first.len(), 1, "one question while it owes an answer");
    let (second, _) = announce_for(&mut world, 30, &mut nonce);
    assert_eq!(second.len(), 1);
    assert!(second[0] > 1, "one silence may be an accident");
    let (rest, _) = announce_for(&mut world, 30, &mut nonce);
    assert_eq!(rest, [1], "it is tried with one transaction");
    assert!(world.gossip.wanted.len() <= 1, "and nothing else is remembered");
    let mut dropped = None;
    for second in 0..60 {
        let (_, last) = announce_for(&mut world, 1, &mut nonce);
        let reason = TransactionFault::Silent;
        if last.contains(&Action::Drop { peer: SessionId(0), reason }) {
            dropped = Some(second);
            break;
        }
    }
    assert!(dropped.is_some());
    assert!(world.gossip.wanted.is_empty() && world.gossip.peers.is_empty());
}

#[test]
fn who_answers_in_the_end_is_asked_for_everything_again() {
    let (mut world, mut open) = (World::new(1, EthVersion::Eth66), None);
    for nonce in 0..75 {
        world.announce(0, vec![AnnouncedTransaction::of(&transaction(nonce))]);
        let actions = world.after(Duration::from_secs(1));
        assert!(!actions.iter().any(|action| matches!(action, Action::Drop { .. })));
        open = asked(&actions).pop().or(open);
    }
    assert_eq!(world.gossip.peers[&SessionId(0)].silences, 2);
    while let Some((_, request, _)) = open {
        let answer = Event::Answered { peer: SessionId(0), request, transactions: vec![] };
        open = asked(&world.feed(answer)).pop();
    }
    assert_eq!(world.gossip.peers[&SessionId(0)].silences, 0);
    world.announce(0, announced(4096, 100));
    assert_eq!(asked(&world.after(ARRIVAL))[0].2.len(), 256);
}

#[test]
fn an_answer_to_a_question_that_was_given_up_is_no_fault() {
    let mut world = World::new(1, EthVersion::Eth66);
    let tx = transaction(1);
    world.announce(0, vec![AnnouncedTransaction::of(&tx)]);
    let (_, request, _) = asked(&world.after(ARRIVAL)).pop().unwrap();
    assert_eq!(world.after(PATIENCE), vec![]);
    let late = Event::Answered { peer: SessionId(0), request, transactions: vec![tx.clone()] };
    let admitted = Action::Admit { peer: SessionId(0), transactions: vec![tx] };
    assert_eq!(world.feed(late), vec![admitted]);
    let peer = &world.gossip.peers[&SessionId(0)];
    assert_eq!((peer.silences, peer.faults), (0, 0));
}

#[test]
fn what_is_announced_while_nothing_is_wanted_is_asked_for_later() {
    let mut world = World::new(1, EthVersion::Eth66);
    world.gossip.listen(false);
    world.announce(0, announced(2, 100));
    world.announce(0, announced(5_000, 100));
    let sent = Event::Received { peer: SessionId(0), transactions: vec![transaction(1)] };
    assert_eq!(world.feed(sent), vec![]);
    assert_eq!(world.after(Duration::from_secs(60)), vec![]);
    assert_eq!(world.gossip.wanted.len(), ANNOUNCED_MAX);
    world.gossip.listen(true);
    assert_eq!(asked(&world.after(ARRIVAL))[0].2.len(), 256);
}
