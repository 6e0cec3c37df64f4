//! `debug_trace…`: transactions run again, watched.

use std::{
    cell::Cell,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use alloy_rlp::Decodable;
use chain::ChainView;
use evm::{
    BlockExecutor,
    trace::{FlatOptions, StepOptions, Trace, TraceConfig, TraceError, TraceKind, TracePlace},
};
use primitives::{B256, Block, RecoveredBlock, SealedBlock, SealedHeader};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use state::{StateReader, WorldState};

use super::block;
use crate::{
    convert::recovered,
    dispatch::{Patience, RESPONSE_BYTES_MAX},
    error::RpcError,
    eth::{
        call::{Asked, Scene, asked},
        overrides::{Pretences, block_overrides, overrides},
    },
    methods::Table,
    node::{Api, Place},
    pace::breathe,
    params::Params,
    parse::{self, BlockId, BlockTag},
};

/// How long one transaction may be traced when nothing else is asked for, as in geth.
const TRACE_SECONDS: u64 = 5;
/// How long anything may be traced, whatever is asked for: an answer must come before the request
/// times out.
const TRACE_SECONDS_MAX: u64 = 25;

pub(crate) fn register(table: &mut Table) {
    table.heavy("debug_traceTransaction", trace_transaction);
    table.heavy("debug_traceCall", trace_call);
    table.heavy("debug_traceBlockByNumber", trace_block_by_number);
    table.heavy("debug_traceBlockByHash", trace_block_by_hash);
    table.heavy("debug_traceBlock", trace_block);
    table.heavy("debug_traceBadBlock", trace_bad_block);
    table.heavy("debug_intermediateRoots", intermediate_roots);
}

/// What clients ask of a tracer. `reexec` is ignored, because every state is here, and so is
/// `enableReturnData`, of which geth 1.11.6 shows nothing either.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    enable_memory: Option<bool>,
    /// geth before 1.10.9 showed memory unless told not to.
    disable_memory: Option<bool>,
    disable_stack: Option<bool>,
    disable_storage: Option<bool>,
    limit: Option<u64>,
    tracer: Option<String>,
    #[serde(borrow)]
    tracer_config: Option<&'a RawValue>,
    timeout: Option<String>,
    #[serde(borrow)]
    state_overrides: Option<&'a RawValue>,
    #[serde(borrow)]
    block_overrides: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TracerFields {
    with_log: Option<bool>,
    only_top_call: Option<bool>,
    diff_mode: Option<bool>,
    convert_parity_errors: Option<bool>,
    include_precompiles: Option<bool>,
}

/// What is to be traced, and for how long.
#[derive(Debug)]
struct Asking {
    kind: TraceKind,
    time_max: Duration,
    pretences: Pretences,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            kind: TraceKind::Steps(StepOptions::default()),
            time_max: Duration::from_secs(TRACE_SECONDS),
            pretences: Pretences::default(),
        }
    }
}

fn asking(raw: &RawValue) -> Result<Asking, String> {
    let fields: Fields<'_> = parse::json_ref(raw)?;
    let is = |flag: Option<bool>| flag.unwrap_or(false);
    let kind = match fields.tracer.as_deref() {
        None | Some("") => TraceKind::Steps(StepOptions {
            disable_stack: is(fields.disable_stack),
            disable_storage: is(fields.disable_storage),
            enable_memory: fields.enable_memory.unwrap_or(fields.disable_memory == Some(false)),
            limit: usize::try_from(fields.limit.unwrap_or(0)).unwrap_or(usize::MAX),
        }),
        Some("muxTracer") => several(fields.tracer_config)?,
        Some(name) => kind(name, fields.tracer_config)?,
    };
    let time_max = match fields.timeout.as_deref() {
        Some(text) => duration(text)?.min(Duration::from_secs(TRACE_SECONDS_MAX)),
        None => Duration::from_secs(TRACE_SECONDS),
    };
    let pretences = Pretences {
        accounts: fields.state_overrides.map(overrides).transpose()?.unwrap_or_default(),
        block: fields.block_overrides.map(block_overrides).transpose()?.unwrap_or_default(),
    };
    Ok(Asking { kind, time_max, pretences })
}

/// Several tracers at once: the configuration has the name of each, and its own.
fn several(config: Option<&RawValue>) -> Result<TraceKind, String> {
    let config: Option<BTreeMap<String, &RawValue>> =
        config.map(parse::json_ref).transpose()?.flatten();
    let kinds = config.unwrap_or_default().into_iter().map(|(name, config)| {
        let kind = kind(&name, Some(config))?;
        Ok((name, kind))
    });
    Ok(TraceKind::Several(kinds.collect::<Result<_, String>>()?))
}

/// A tracer by its name.
fn kind(name: &str, config: Option<&RawValue>) -> Result<TraceKind, String> {
    let is = |flag: Option<bool>| flag.unwrap_or(false);
    let config: Option<TracerFields> = config.map(parse::json_ref).transpose()?.flatten();
    let config = config.unwrap_or_default();
    let flat = |with_parity_errors: bool, with_precompiles: bool| {
        TraceKind::FlatCalls(FlatOptions { with_parity_errors, with_precompiles })
    };
    Ok(match name {
        "callTracer" => {
            TraceKind::Calls { with_log: is(config.with_log), only_top: is(config.only_top_call) }
        }
        "flatCallTracer" => flat(is(config.convert_parity_errors), is(config.include_precompiles)),
        "parityTracer" => flat(true, true),
        "prestateTracer" => TraceKind::Prestate { diff: is(config.diff_mode) },
        "4byteTracer" => TraceKind::Selectors,
        "noopTracer" => TraceKind::Nothing,
        "muxTracer" => return Err("a muxTracer cannot be within another".to_owned()),
        other => {
            let name: String = other.chars().take(32).collect();
            return Err(format!(
                "tracer {name:?} does not exist here: callTracer, flatCallTracer, muxTracer, \
                 parityTracer, prestateTracer, 4byteTracer and noopTracer do, scripts are not run"
            ));
        }
    })
}

/// A duration as Go writes it: `1m30s`, `1.5s`, `300ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let invalid = || {
        let shown: String = text.chars().take(32).collect();
        format!("time: invalid duration {shown:?}")
    };
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(invalid)?;
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let seconds = match &rest[..letters] {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "\u{b5}s" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(invalid()),
        };
        rest = &rest[letters..];
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| invalid())?;
        total = total.saturating_add(part);
    }
    Ok(total)
}

impl From<TraceError> for RpcError {
    fn from(error: TraceError) -> Self {
        match error {
            TraceError::Execution(error) => error.into(),
            TraceError::Interrupted | TraceError::TooLarge { .. } => {
                Self::Refused(error.to_string())
            }
        }
    }
}

/// Says when to stop: what is traced has its time, and everything together has.
struct Clock {
    start: Instant,
    part: Cell<Instant>,
    time_max: Duration,
}

impl Clock {
    fn new(time_max: Duration) -> Self {
        let start = Instant::now();
        Self { start, part: Cell::new(start), time_max }
    }

    fn begin_part(&self) {
        self.part.set(Instant::now());
    }

    fn is_late(&self) -> bool {
        breathe();
        self.part.get().elapsed() > self.time_max
            || self.start.elapsed() > Duration::from_secs(TRACE_SECONDS_MAX)
    }
}

/// The state on which a block's transactions run. The genesis block has none.
fn parent_world(
    view: &ChainView,
    block: &SealedBlock,
) -> Result<WorldState<impl StateReader + use<>>, RpcError> {
    if block.header().number == 0 {
        return Err(RpcError::refused("genesis is not traceable"));
    }
    let hash = block.header().parent_hash;
    let parent = view.db.header(hash).map_err(RpcError::storage)?;
    let parent = parent.ok_or_else(|| RpcError::Refused(format!("parent {hash} not found")))?;
    let mut world = view.world_at(&parent)?;
    chain::begin_block(&view.spec, block.header(), &mut world)?;
    Ok(world)
}

fn parent_id(header: &SealedHeader) -> primitives::BlockNumHash {
    primitives::BlockNumHash { number: header.number.saturating_sub(1), hash: header.parent_hash }
}

fn trace_transaction(api: &Api, params: &mut Params<'_>) -> Result<Trace, RpcError> {
    let view = api.node.chain.view();
    let hash = params.required(parse::hash)?;
    let asking = params.optional(asking)?.unwrap_or_default();
    params.end()?;
    let place = view.db.transaction_place(hash).map_err(RpcError::storage)?;
    let (id, index) = place.ok_or_else(|| RpcError::refused("transaction not found"))?;
    let block = block(&view, id.hash)?;
    let mut world = parent_world(&view, &block)?;
    let clock = Clock::new(asking.time_max);
    let is_late = || clock.is_late();
    let parent = parent_id(block.sealed_header());
    let ancestors = |number| view.ancestor_hash(parent, number);
    let executor = BlockExecutor::new(&view.spec, block.header(), &mut world, &ancestors);
    let mut executor = executor.looking_back(&is_late);
    let config = TraceConfig { kind: asking.kind, bytes_max: RESPONSE_BYTES_MAX };
    let signed = block.body().transactions.iter().zip(block.senders());
    for (at, (tx, sender)) in signed.enumerate() {
        clock.begin_part();
        if at == index {
            let mut trace = executor.trace(tx, *sender, &config)?;
            trace.locate(place_of(&block, index));
            return Ok(trace);
        }
        let executed = executor.execute(tx, *sender).map(drop);
        if executor.has_stopped() {
            return Err(TraceError::Interrupted.into());
        }
        executed?;
    }
    Err(RpcError::refused("transaction not found"))
}

fn place_of(block: &RecoveredBlock, position: usize) -> TracePlace {
    TracePlace {
        block_hash: Some(block.hash()),
        block_number: block.header().number,
        transaction_hash: Some(*block.body().transactions[position].tx_hash()),
        transaction_position: position,
    }
}

/// A transaction of a traced block.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TracedTransaction {
    tx_hash: B256,
    result: Trace,
}

fn of_block(
    view: &ChainView,
    block: &RecoveredBlock,
    asking: Asking,
) -> Result<Vec<TracedTransaction>, RpcError> {
    let mut world = parent_world(view, block)?;
    let clock = Clock::new(asking.time_max);
    let is_late = || clock.is_late();
    let parent = parent_id(block.sealed_header());
    let ancestors = |number| view.ancestor_hash(parent, number);
    let executor = BlockExecutor::new(&view.spec, block.header(), &mut world, &ancestors);
    let mut executor = executor.looking_back(&is_late);
    let mut config = TraceConfig { kind: asking.kind, bytes_max: RESPONSE_BYTES_MAX };
    let mut traces = Vec::with_capacity(block.body().transactions.len());
    let signed = block.body().transactions.iter().zip(block.senders());
    for (at, (tx, sender)) in signed.enumerate() {
        clock.begin_part();
        let mut result = executor.trace(tx, *sender, &config)?;
        result.locate(place_of(block, at));
        config.bytes_max = config.bytes_max.saturating_sub(result.bytes);
        traces.push(TracedTransaction { tx_hash: *tx.tx_hash(), result });
    }
    Ok(traces)
}

fn trace_block_by_number(
    api: &Api,
    params: &mut Params<'_>,
) -> Result<Vec<TracedTransaction>, RpcError> {
    trace_found(api, params, parse::block_tag, block_by_tag)
}

fn trace_block_by_hash(
    api: &Api,
    params: &mut Params<'_>,
) -> Result<Vec<TracedTransaction>, RpcError> {
    trace_found(api, params, parse::hash, |_, view, hash| block(view, hash))
}

/// A block that is found by what the first parameter says.
fn trace_found<T>(
    api: &Api,
    params: &mut Params<'_>,
    parse: fn(&RawValue) -> Result<T, String>,
    find: fn(&Api, &ChainView, T) -> Result<RecoveredBlock, RpcError>,
) -> Result<Vec<TracedTransaction>, RpcError> {
    let view = api.node.chain.view();
    let which = params.required(parse)?;
    let asking = params.optional(asking)?.unwrap_or_default();
    params.end()?;
    let block = find(api, &view, which)?;
    of_block(&view, &block, asking)
}

/// A sealed block. What is being mined has no state that is kept.
fn block_by_tag(api: &Api, view: &ChainView, tag: BlockTag) -> Result<RecoveredBlock, RpcError> {
    match api.by_tag(view, tag)? {
        Some(Place::Sealed(header)) => block(view, header.hash()),
        Some(Place::Pending(_)) => {
            Err(RpcError::refused("tracing on top of pending is not supported"))
        }
        None => {
            let shown = match tag {
                BlockTag::Number(number) => format!("#{number}"),
                other => format!("{other:?}").to_lowercase(),
            };
            Err(RpcError::Refused(format!("block {shown} not found")))
        }
    }
}

/// A block that the caller brings along; its parent must be here.
fn trace_block(api: &Api, params: &mut Params<'_>) -> Result<Vec<TracedTransaction>, RpcError> {
    let view = api.node.chain.view();
    let rlp = params.required(parse::bytes)?;
    let asking = params.optional(asking)?.unwrap_or_default();
    params.end()?;
    let decoded = Block::decode(&mut &rlp[..]);
    let block =
        decoded.map_err(|error| RpcError::Refused(format!("could not decode block: {error}")))?;
    let block = SealedBlock::seal_slow(block);
    // It may claim to be one that is stored, and have other transactions.
    let senders = recovered(&block)?;
    of_block(&view, &RecoveredBlock::new_sealed(block, senders), asking)
}

fn trace_bad_block(api: &Api, params: &mut Params<'_>) -> Result<Vec<TracedTransaction>, RpcError> {
    let view = api.node.chain.view();
    let hash = params.required(parse::hash)?;
    let asking = params.optional(asking)?.unwrap_or_default();
    params.end()?;
    let rejected = api.node.chain.rejected().into_iter().find(|block| block.hash() == hash);
    let missing = || RpcError::Refused(format!("bad block {hash} not found"));
    let rejected = rejected.ok_or_else(missing)?;
    of_block(&view, &rejected, asking)
}

/// The state root after each transaction of a block.
fn intermediate_roots(api: &Api, params: &mut Params<'_>) -> Result<Vec<B256>, RpcError> {
    let view = api.node.chain.view();
    let hash = params.required(parse::hash)?;
    params.optional(asking)?;
    params.end()?;
    let block = block(&view, hash)?;
    let mut world = parent_world(&view, &block)?;
    let clock = Clock::new(Duration::from_secs(TRACE_SECONDS_MAX));
    let parent = parent_id(block.sealed_header());
    let ancestors = |number| view.ancestor_hash(parent, number);
    let mut executor = BlockExecutor::new(&view.spec, block.header(), &mut world, &ancestors);
    let mut roots = Vec::new();
    for (tx, sender) in block.body().transactions.iter().zip(block.senders()) {
        if clock.is_late() {
            return Err(TraceError::Interrupted.into());
        }
        executor.execute(tx, *sender)?;
        roots.push(executor.root()?);
    }
    Ok(roots)
}

fn trace_call(api: &Api, params: &mut Params<'_>) -> Result<Trace, RpcError> {
    let view = api.node.chain.view();
    let Asked { mut request, gas } = params.required(asked)?;
    let id = params.optional(parse::block_id)?.unwrap_or(BlockId::Tag(BlockTag::Latest));
    let asking = params.optional(asking)?.unwrap_or_default();
    params.end()?;
    let Scene { header, mut world, parent } =
        api.scene(&view, id, asking.pretences, Patience::Endless)?;
    request.gas = api.gas_of_call(gas);
    let clock = Clock::new(asking.time_max);
    let is_late = || clock.is_late();
    let ancestors = |number| view.ancestor_hash(parent, number);
    let config = TraceConfig { kind: asking.kind, bytes_max: RESPONSE_BYTES_MAX };
    let asked = (&request, &config);
    let trace = evm::trace_call(&view.spec, &header, &mut world, &ancestors, asked, &is_late);
    trace.map_err(|error| match error {
        TraceError::Execution(error) => {
            let text = RpcError::from(error).to_string();
            RpcError::Refused(format!("tracing failed: {text}"))
        }
        error => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, milliseconds) in
            [("5s", 5_000), ("1m30s", 90_000), ("1.5s", 1_500), ("300ms", 300), ("2h", 7_200_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "5x", "1..5s", "-5s", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
