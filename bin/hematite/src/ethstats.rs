//! `--ethstats`: what this node tells a dashboard, read off its parts.

use std::time::Duration;

use ::network::NetworkHandle;
use chain::{ChainEvent, ChainHandle, ChainView};
use ethash::Phase;
use ethstats::{
    Block, DatasetSeen, HistoryRequest, Identity, Progress, Report, ReporterConfig, Stats, Target,
};
use eyre::{Result, WrapErr};
use miner::MinerHandle;
use primitives::Hardfork;
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        mpsc, watch,
    },
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;
use txpool::Pool;

use crate::{config::Config, exit::UsageError, ops::Ops, report};

/// Reports that wait for the dashboard.
const REPORTS_MAX: usize = 16;
/// Questions for blocks that wait.
const QUESTIONS_MAX: usize = 2;
/// Blocks that are told when a dashboard does not say which.
const HISTORY_BLOCKS: u64 = 50;
/// How often the parts are looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// The versions of the eth protocol, newest first.
const PROTOCOL: &str = "eth/68, eth/67, eth/66, eth/65, eth/64, eth/63";

/// The parts that are told of.
pub(crate) struct Parts {
    pub(crate) chain: ChainHandle,
    pub(crate) pool: Pool,
    pub(crate) miner: Option<MinerHandle>,
    pub(crate) network: Option<NetworkHandle>,
    pub(crate) ops: Ops,
}

/// Starts to report, if there is a dashboard to report to; why that does not work is heard of.
///
/// # Errors
///
/// When its URL is wrong.
pub(crate) fn start(
    config: &Config,
    (parts, trouble): (Parts, watch::Sender<Option<String>>),
    connector: tls::Connector,
    network_id: u64,
    tasks: &mut JoinSet<Result<()>>,
    shutdown: &CancellationToken,
) -> Result<()> {
    let Some(url) = &config.network.ethstats else { return Ok(()) };
    let target: Target = url
        .expose()
        .parse()
        .map_err(|error: ethstats::TargetError| UsageError(error.to_string()))?;
    let listens = parts.network.as_ref().and_then(NetworkHandle::address);
    let identity = Identity {
        client: report::client_version(config.identity.as_deref()),
        port: listens.map_or(config.network.port, |address| address.port()),
        network_id,
        protocol: PROTOCOL.to_owned(),
        processor: report::go_arch().to_owned(),
    };
    let (sender, reports) = mpsc::channel(REPORTS_MAX);
    let (history, questions) = mpsc::channel(QUESTIONS_MAX);
    let reporter = ReporterConfig { target, connector, identity, reports, history, trouble };
    let token = shutdown.clone();
    tasks.spawn(async move {
        ethstats::report(reporter, token).await;
        Ok(())
    });
    let token = shutdown.clone();
    tasks.spawn(async move {
        let telling = tell(parts, sender, questions);
        token.run_until_cancelled(telling).await.unwrap_or(Ok(()))
    });
    Ok(())
}

/// Tells what happens, and answers questions, for as long as there is a chain.
async fn tell(
    parts: Parts,
    reports: mpsc::Sender<Report>,
    mut questions: mpsc::Receiver<HistoryRequest>,
) -> Result<()> {
    let mut events = parts.chain.events();
    let mut look = time::interval(LOOK_PERIOD);
    look.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let mut news = vec![head(&parts.chain).await?];
    loop {
        for report in news.drain(..).flatten() {
            if reports.send(report).await.is_err() {
                // The reporter ends only when the node does.
                return std::future::pending().await;
            }
        }
        tokio::select! {
            is_new = next_head(&mut events) => match is_new {
                true => news.push(head(&parts.chain).await?),
                false => return std::future::pending().await,
            },
            _ = look.tick() => news.extend(state(&parts).map(Some)),
            Some(HistoryRequest { numbers, reply }) = questions.recv() => {
                let view = parts.chain.view();
                let reading = move || history(&view, numbers);
                let blocks = tokio::task::spawn_blocking(reading).await;
                // A connection that ended in the meantime wants nothing.
                drop(reply.send(blocks.wrap_err("reading blocks panicked")??));
            }
        }
    }
}

/// Waits for a new head; of many that came at once, for the newest. `false` if there are no more.
async fn next_head(events: &mut Receiver<std::sync::Arc<ChainEvent>>) -> bool {
    loop {
        let is_head = match events.recv().await {
            Ok(event) => !event.adopted.is_empty(),
            Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => return false,
        };
        if is_head {
            *events = events.resubscribe();
            return true;
        }
    }
}

async fn head(chain: &ChainHandle) -> Result<Option<Report>> {
    let view = chain.view();
    let reading = move || block(&view, view.head.number);
    let block =
        tokio::task::spawn_blocking(reading).await.wrap_err("reading a block panicked")??;
    Ok(block.map(|block| Report::Head(Box::new(block))))
}

fn block(view: &ChainView, number: u64) -> Result<Option<Block>> {
    let Some(hash) = view.db.canonical_hash(number)? else { return Ok(None) };
    let (block, td) = (view.db.block(hash)?, view.db.td(hash)?);
    Ok(block.zip(td).map(|(block, td)| Block::new(&block, td)))
}

/// In the opposite order, and cut short at the first block that is unknown, as geth does.
fn history(view: &ChainView, numbers: Option<Vec<u64>>) -> Result<Vec<Block>> {
    let head = view.head.number;
    let newest = || (head.saturating_sub(HISTORY_BLOCKS - 1)..=head).collect();
    let numbers = numbers.unwrap_or_else(newest);
    let mut blocks = Vec::new();
    for number in numbers.into_iter().rev() {
        let Some(block) = block(view, number)? else { break };
        blocks.push(block);
    }
    Ok(blocks)
}

/// What is not the chain's.
fn state(parts: &Parts) -> [Report; 3] {
    let Parts { chain, pool, miner, network, ops } = parts;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let sync = network.as_ref().and_then(NetworkHandle::sync_progress);
    let stats = Stats {
        active: true,
        caught_up: sync.is_none_or(|sync| sync.current >= sync.highest),
        mining: miner.as_ref().is_some_and(MinerHandle::is_mining),
        hashrate: miner.as_ref().map_or(0, MinerHandle::hashrate),
        peers: network.as_ref().map_or(0, |network| count(network.peers().len())),
        gas_price: u64::try_from(pool.gas_price_floor()).unwrap_or(u64::MAX),
    };
    let view = chain.view();
    let (spec, number) = (&view.spec, view.head.number);
    let is_homestead = spec.forks.is_active(Hardfork::Homestead, number);
    let bomb_delay = is_homestead.then(|| consensus::bomb_delay(spec, number).unwrap_or_default());
    let dataset = miner.as_ref().and_then(dataset);
    [
        Report::Pending(count(pool.status().0)),
        Report::Stats(stats),
        Report::Progress(Progress { dataset, bomb_delay, trouble: ops.trouble() }),
    ]
}

fn dataset(miner: &MinerHandle) -> Option<DatasetSeen> {
    let progress = miner.dataset_progress()?;
    let phase = match progress.phase {
        Phase::Generating => "generating",
        Phase::Checking => "checking",
        Phase::Waiting => "waiting",
    };
    Some(DatasetSeen {
        epoch: progress.epoch.get(),
        phase: phase.to_owned(),
        done: progress.done,
        total: progress.total,
        eta: progress.eta().map(|eta| eta.as_secs()),
    })
}
