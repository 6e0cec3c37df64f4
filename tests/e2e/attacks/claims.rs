//! Work that was never done.

use std::time::Duration;

use network::wire::{EthVersion, Message};
use primitives::{B256, Header, SealedHeader, TotalDifficulty, U256};
use serde_json::json;
use tests::harness::{
    attacker::{Peer, Target, key, source},
    gauge::RSS_DELTA_MAX,
    random::{is_long, say},
};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};

use super::arena::{Arena, CHAIN, PATIENCE, blocks_per_second, start};
use crate::harness::branches::write;

/// Peers that claim work.
const CLAIMERS: u64 = 6;
/// How long a claim may be believed: 15 s, and what is left of a second for either side's goodbye.
const CLAIM_PERIOD_MAX: Duration = Duration::from_secs(15 + 2);
/// How long an honest node may take to catch up meanwhile.
const SYNC_PERIOD_MAX: Duration = Duration::from_secs(20);
/// The question that tests a claim.
const GET_BLOCK_HEADERS: u8 = 0x03;

/// What a peer does when it is asked for its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Nothing,
    Empty,
    /// A header that is right, and nothing more.
    OneThenNothing,
    /// A header that nobody asked for.
    Wrong,
}

/// ETH-09.
#[tokio::test(flavor = "multi_thread")]
async fn claims_of_work_that_nobody_did_never_stop_the_sealing_nor_the_sync() {
    let mut arena = Arena::new(&["--role", "miner"]).await;
    arena.node.wait_for_block(2, PATIENCE);
    let gauge = arena.gauge().await;
    let alone = blocks_per_second(&mut arena.node).await;
    let mut claimers = JoinSet::new();
    for number in 0..CLAIMERS {
        claimers.spawn(claim(arena.target, number));
    }
    let beset = blocks_per_second(&mut arena.node).await;
    // A node that knows nothing yet meets claimers and the honest one at the same time.
    let folder = tempfile::tempdir().expect("a folder");
    let genesis = write(folder.path(), "genesis.json", CHAIN.genesis.to_string());
    let mut reader = start(&genesis, &folder.path().join("reader"), &[]);
    let target = Target::of(&reader.enode());
    for number in 0..CLAIMERS {
        claimers.spawn(claim(target, 100 + number));
    }
    let goal = arena.node.rpc.block_number();
    let began = Instant::now();
    reader.rpc.call("admin_addPeer", json!([arena.node.enode()]));
    reader.wait_for_block(goal, PATIENCE);
    let synced = began.elapsed();
    let ends = time::timeout(PATIENCE, claimers.join_all()).await.expect("every claim ends");
    let (longest, slowest) = ends.into_iter().max().expect("there are claims");
    say(&format!(
        "ETH-09: {alone:.2} blocks/s alone, {beset:.2} beset, claims ended within {longest:.2?} ({slowest:?}), \
         {goal} blocks fetched in {synced:.2?}"
    ));
    assert!(beset >= 0.95 * alone || !is_long(), "{beset} of {alone} blocks/s");
    assert!(longest <= CLAIM_PERIOD_MAX || !is_long(), "{longest:?}");
    assert!(synced <= SYNC_PERIOD_MAX || !is_long(), "{synced:?}");
    arena.judge(gauge, "ETH-09", RSS_DELTA_MAX).await;
    reader.stop_well();
}

/// Claims 2^99 of work and behaves as its number says, until it is dropped. How long that took from
/// the first question on that it failed to answer well.
async fn claim(target: Target, number: u64) -> (Duration, Answer) {
    let ways = [Answer::Nothing, Answer::Empty, Answer::OneThenNothing, Answer::Wrong];
    let way = ways[usize::try_from(number % 4).expect("a place")];
    let stream = target.connect(source(number)).await.expect("the node listens");
    let sender = key(7_000 + number);
    let link = tests::harness::attacker::Encrypted::dial(stream, &target, &sender).await;
    let mut peer = link.expect("it answers").greet(EthVersion::Eth66).await.expect("it takes it");
    let status = peer
        .tell_status(|status| {
            status.td = TotalDifficulty::new(U256::from(1) << 99);
            status.head = B256::from([u8::try_from(number).expect("a byte"); 32]);
        })
        .await;
    // Who answers well may not be asked again at once: somebody else leads meanwhile.
    let good_answers = u32::from(way == Answer::OneThenNothing);
    let (mut began, mut answered) = (Instant::now(), 0);
    while let Ok(question) = peer.hear_eth(&[GET_BLOCK_HEADERS]).await {
        if answered <= good_answers {
            began = Instant::now();
        }
        answer(&mut peer, way, &question, status.genesis, answered).await;
        answered += 1;
    }
    assert!(answered > 0, "every claim is tested");
    (began.elapsed(), way)
}

async fn answer(peer: &mut Peer, way: Answer, question: &Message, genesis: B256, answered: u32) {
    let Message::GetBlockHeaders { request, .. } = question else { return };
    let header = |number, parent_hash| {
        let difficulty = U256::from(131_072);
        let extra = Header { number, parent_hash, difficulty, ..Header::default() };
        vec![SealedHeader::seal_slow(extra)]
    };
    let headers = match way {
        Answer::Nothing => return,
        Answer::OneThenNothing if answered > 0 => return,
        Answer::OneThenNothing => header(1, genesis),
        Answer::Empty => Vec::new(),
        Answer::Wrong => header(1_000_000, B256::repeat_byte(9)),
    };
    // Who was dropped meanwhile learns it next.
    peer.tell(&Message::BlockHeaders { request: *request, headers }).await.ok();
}
