use chain::{
    Origin,
    testing::{BlockOptions, ChainBuilder, SteppedChain, book_forks, spec},
};
use ethash::Epoch;

use super::*;

/// A node with all parts, of which everything is well.
fn facts() -> Facts {
    let chain = SteppedChain::new(spec(book_forks()));
    let view = chain.handle().view();
    Facts {
        clock: view.head.timestamp,
        age: Duration::from_secs(60),
        view,
        pulse: Pulse { is_running: true, is_busy: true, steps: 9 },
        stuck: Duration::ZERO,
        network: Some(Network {
            silent: Duration::ZERO,
            peers: Arc::default(),
            peers_max: 50,
            sync: None,
            sync_eta: None,
            why: None,
        }),
        own_clock: 0,
        dashboard: None,
        miner: Some(Miner {
            is_mining: true,
            hashrate: 5,
            threads: 1,
            dataset: None,
            waits: false,
            failure: None,
        }),
        disk: Some(Disk { free: 1 << 40, size: 1 << 41, used: 7 }),
        pool_max: (5_120, 1_024),
    }
}

fn network(facts: &mut Facts) -> &mut Network {
    facts.network.as_mut().unwrap()
}

/// The names of what is not well.
fn failed(facts: &Facts) -> Vec<&'static str> {
    let criteria = facts.report().criteria;
    let checks = criteria.iter().map(|criterion| criterion.check(Default::default()));
    checks.filter(|check| !check.good).map(|check| check.name).collect()
}

fn starting(facts: &Facts) -> Vec<String> {
    facts.report().starting.iter().map(ToString::to_string).collect()
}

fn preparing(facts: &Facts) -> Vec<String> {
    facts.report().preparing.iter().map(ToString::to_string).collect()
}

fn dead(facts: &Facts) -> Vec<String> {
    let alive = facts.report().alive;
    alive.iter().filter(|check| !check.good).map(ToString::to_string).collect()
}

#[test]
fn a_node_without_peers_is_alive_and_started_but_not_ready() {
    let facts = facts();
    assert_eq!(failed(&facts), ["peers"]);
    assert!(dead(&facts).is_empty() && starting(&facts).is_empty());
}

#[test]
fn a_node_that_is_to_have_no_peers_needs_none() {
    let facts = Facts { network: None, ..facts() };
    assert!(failed(&facts).is_empty());
    let asked = super::super::readiness::Thresholds { peers_min: Some(1), behind_max: None };
    assert!(!facts.peers().check(asked).good, "but it has none");
}

#[test]
fn a_thread_that_stopped_or_stands_still_ends_the_process() {
    let mut facts = facts();
    facts.stuck = BLOCK_PERIOD_MAX;
    assert!(dead(&facts).is_empty(), "a large block takes long");
    facts.stuck += Duration::from_secs(1);
    assert_eq!(dead(&facts), ["chain at one block for 121 s"]);
    (facts.stuck, facts.pulse.is_running) = (Duration::ZERO, false);
    assert_eq!(dead(&facts), ["chain stopped"]);
    facts.pulse.is_running = true;
    network(&mut facts).silent = NETWORK_SILENCE_MAX + Duration::from_secs(1);
    assert_eq!(dead(&facts), ["network silent for 31 s"]);
}

#[test]
fn a_sync_is_said_with_what_is_left_and_tolerated_when_short() {
    let mut facts = facts();
    network(&mut facts).sync = Some(SyncProgress { starting: 0, current: 100, highest: 500 });
    network(&mut facts).sync_eta = Some(Duration::from_millis(12_900));
    assert_eq!(starting(&facts), ["sync block 100 of 500, 12 s left"]);
    assert_eq!(failed(&facts), ["peers", "sync"]);
    network(&mut facts).sync = Some(SyncProgress { starting: 0, current: 497, highest: 500 });
    assert_eq!(failed(&facts), ["peers"]);
}

#[test]
fn the_time_that_is_left_follows_the_pace_since_it_was_first_seen() {
    let begun = Instant::now();
    let now = begun + Duration::from_secs(10);
    let at = |current| SyncProgress { starting: 0, current, highest: 500 };
    assert_eq!(eta(at(100), (begun, 100), now), None);
    assert_eq!(eta(at(300), (begun, 100), now), Some(Duration::from_secs(10)));
    assert_eq!(eta(at(50), (begun, 100), now), None, "a chain can become shorter");
}

#[test]
fn a_start_waits_for_the_dag_but_readiness_does_not() {
    let mut facts = facts();
    let dataset = DatasetProgress {
        epoch: Epoch::of_block(0),
        phase: Phase::Generating,
        done: 25,
        total: 100,
        elapsed: Duration::from_secs(10),
        expected: Duration::from_secs(60),
    };
    let miner = facts.miner.as_mut().unwrap();
    (miner.hashrate, miner.dataset) = (0, Some(dataset));
    assert_eq!(preparing(&facts), ["dag of epoch 0 being made, 25 %, 30 s left"]);
    assert!(starting(&facts).is_empty());
    assert_eq!(failed(&facts), ["peers"]);
    // The next epoch's is made beside the search.
    facts.miner.as_mut().unwrap().hashrate = 9;
    assert!(preparing(&facts).is_empty());
}

#[test]
fn a_start_looks_for_a_peer_but_not_for_ever() {
    let mut facts = facts();
    facts.age = FIRST_PEER_PERIOD / 2;
    assert_eq!(starting(&facts), ["peers looking for the first"]);
    facts.network = None;
    assert!(starting(&facts).is_empty());
}

#[test]
fn a_clock_that_went_back_and_a_full_disk_are_noticed() {
    let mut facts = facts();
    let facts_at = |facts: &mut Facts, ahead: u64| {
        let mut header = facts.view.head.header().clone();
        header.timestamp = facts.clock + ahead;
        let mut view = (*facts.view).clone();
        view.head = primitives::SealedHeader::seal_slow(header);
        facts.view = Arc::new(view);
    };
    facts_at(&mut facts, AHEAD_SECONDS_MAX);
    assert_eq!(failed(&facts), ["peers"]);
    facts_at(&mut facts, AHEAD_SECONDS_MAX + 1);
    facts.disk = Some(Disk { free: 0, size: 1, used: 1 });
    assert_eq!(failed(&facts), ["peers", "disk", "clock"]);
}

#[test]
fn large_numbers_keep_their_size() {
    assert!((float(U256::from(1_u64) << 70) - 2_f64.powi(70)).abs() < 1.0);
    assert!(float(U256::MAX) > 1e77);
}

#[tokio::test]
async fn a_busy_thread_that_goes_on_is_not_stuck() {
    let chain = SteppedChain::new(spec(book_forks()));
    let parts = Parts {
        chain: chain.handle(),
        network: None,
        clock: OwnClock::default(),
        dashboard: None,
        miner: None,
        directory: None,
        pool_max: (1, 1),
    };
    let mut watch = Watch::new(parts, Instant::now());
    // This chain has no thread.
    let facts = watch.look().await;
    assert_eq!(dead(&facts), ["chain stopped"]);
    let long_ago = Instant::now().checked_sub(Duration::from_secs(1_000)).unwrap();
    let busy = Pulse { is_busy: true, ..facts.pulse };
    watch.pulse = (busy, long_ago);
    assert!(watch.look().await.stuck < Duration::from_secs(900), "it is no longer busy");
}

#[tokio::test]
async fn a_thread_that_imports_takes_steps_until_it_stops() {
    let builder = ChainBuilder::new(spec(book_forks()));
    let parent = builder.importer.view().head.hash();
    let block = builder.verify(builder.block_on(parent, Vec::new(), BlockOptions::default()));
    let (chain, thread) = chain::spawn(builder.importer).unwrap();
    let before = chain.pulse();
    assert!(before.is_running && !before.is_busy);
    chain.import(block, Origin::Other).await.unwrap();
    assert!(chain.pulse().steps > before.steps);
    let parts = Parts {
        chain,
        network: None,
        clock: OwnClock::default(),
        dashboard: None,
        miner: None,
        directory: None,
        pool_max: (5_120, 1_024),
    };
    let facts = Watch::new(parts, Instant::now()).look().await;
    assert!(dead(&facts).is_empty());
    let names = facts.report().families.into_iter().map(|family| family.name);
    let names: Vec<String> = names.collect();
    assert!(names.contains(&"chain_total_difficulty".to_owned()), "{names:?}");
    drop(facts);
    // The last handle is gone.
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap().unwrap();
}

/// A criterion in words, and whether it is met.
fn said(facts: &Facts, name: &str) -> Option<(bool, String)> {
    let criteria = facts.report().criteria;
    let criterion = criteria.iter().find(|criterion| criterion.name == name)?;
    let check = criterion.check(Default::default());
    Some((check.good, check.words))
}

#[test]
fn a_node_that_is_alone_says_what_it_knows_about_why() {
    let mut facts = facts();
    network(&mut facts).why = Some("10.0.0.1:30303: another genesis".to_owned());
    let (good, words) = said(&facts, "peers").unwrap();
    assert!(!good);
    assert_eq!(words, "0 of at least 1: 10.0.0.1:30303: another genesis");
}

#[test]
fn a_clock_that_most_nodes_disagree_with_is_said() {
    let mut facts = facts();
    assert_eq!(said(&facts, "clock"), Some((true, "ok".to_owned())));
    for (ahead, words) in [(62, "62 s ahead"), (-40, "40 s behind")] {
        facts.own_clock = ahead;
        let (good, found) = said(&facts, "clock").unwrap();
        assert!(!good && found.contains(words) && found.contains("NTP"), "{found}");
    }
}

#[test]
fn a_miner_that_cannot_have_its_dag_says_so_and_has_not_started() {
    let mut facts = facts();
    assert_eq!(said(&facts, "dag"), Some((true, "ok".to_owned())));
    let miner = facts.miner.as_mut().unwrap();
    (miner.hashrate, miner.failure) = (0, Some("cannot be had: no memory".to_owned()));
    assert_eq!(said(&facts, "dag"), Some((false, "cannot be had: no memory".to_owned())));
    assert_eq!(preparing(&facts), ["dag cannot be had: no memory"]);
    let miner = facts.miner.as_mut().unwrap();
    (miner.failure, miner.waits) = (None, true);
    assert_eq!(preparing(&facts), ["dag is about to be made"]);
    facts.miner.as_mut().unwrap().threads = 0;
    assert_eq!(said(&facts, "dag"), None, "others search");
}

#[test]
fn a_dashboard_that_does_not_hear_of_a_node_is_no_reason_to_take_it_out() {
    let mut facts = facts();
    assert_eq!(said(&facts, "dashboard"), None);
    facts.dashboard = Some(Some("cannot reach x:3000".to_owned()));
    let (good, words) = said(&facts, "dashboard").unwrap();
    assert!(good && words == "does not hear of this node: cannot reach x:3000", "{words}");
    facts.dashboard = Some(None);
    assert_eq!(said(&facts, "dashboard"), Some((true, "hears of this node".to_owned())));
}
