//! BlockchainTests: a genesis, blocks that must or must not be imported, and where that leads.
//!
//! Tests of the chain go through the real importer. State tests in the form of a block are many and
//! their chain is a line, so they run on the same rules and execution without a database.

use consensus::{Ancestor, Engine, verify_execution, verify_header, verify_ommers, verify_time};
use primitives::{B256, ChainSpec, Genesis, Header, SealedBlock, SealedHeader, receipts_root};
use serde_json::Value;
use state::{MemoryState, WorldState, genesis_changes};

use crate::{
    chains::{self, Refusal},
    json::{accounts, genesis, hash, list, maybe_bytes, object, text},
    network,
    report::{Sink, Skip},
};

/// How many ancestors the rule about ommers looks at.
const OMMER_ANCESTORS: usize = 7;

/// Runs all cases of a file.
pub(crate) fn run(json: &Value, sink: &mut Sink<'_>) {
    let in_a_line = sink.path.contains("/GeneralStateTests/");
    for (name, test) in object(json) {
        let network = text(&test["network"]);
        if network::is_post_merge(network) {
            sink.skip(Skip::PostMerge, 1);
        } else {
            sink.case(name, || run_case(network, test, in_a_line));
        }
    }
}

fn run_case(network: &str, test: &Value, in_a_line: bool) -> Result<(), String> {
    let genesis = genesis(&test["genesisBlockHeader"], &test["pre"]);
    let spec = network::spec(network, genesis).ok_or("a network of no rules that are known")?;
    let have = spec.genesis_block().hash();
    let want = hash(&test["genesisBlockHeader"]["hash"]);
    if have != want {
        return Err(format!("genesis {have}, expected {want}"));
    }
    if let Some(rlp) = test.get("genesisRLP") {
        let rlp = maybe_bytes(rlp).ok_or("the RLP of the genesis is no hex")?;
        let block = chains::decode(&rlp)?;
        if block != *spec.genesis_block() {
            return Err("the RLP of the genesis is another block".into());
        }
    }
    let engine = match test.get("sealEngine").map(text) {
        Some("NoProof") => chains::unsealed(),
        None | Some("Ethash") => chains::sealed(),
        Some(other) => return Err(format!("unknown seal engine {other}")),
    };
    let blocks = list(&test["blocks"]);
    let head = if in_a_line { line(&spec, engine, blocks)? } else { None };
    let head = match head {
        Some(head) => head,
        None => tree(spec, engine, blocks)?,
    };
    compare(&head, test)
}

/// Compares the head with what the test says.
fn compare(head: &SealedHeader, test: &Value) -> Result<(), String> {
    let want = hash(&test["lastblockhash"]);
    if head.hash() != want {
        return Err(format!("head {} {}, expected {want}", head.number, head.hash()));
    }
    let want = match test.get("postState").filter(|state| !state.is_null()) {
        Some(state) => Genesis { alloc: accounts(state), ..Genesis::default() }.state_root(),
        None => hash(&test["postStateHash"]),
    };
    if head.state_root == want {
        Ok(())
    } else {
        Err(format!("state {}, expected {want}", head.state_root))
    }
}

/// Feeds the blocks to the importer and returns its head.
fn tree(spec: ChainSpec, engine: &Engine, blocks: &[Value]) -> Result<SealedHeader, String> {
    let mut importer = chains::open(spec)?;
    for (place, block) in blocks.iter().enumerate() {
        let imported = match decode(block) {
            Ok(block) => chains::import(&mut importer, engine, block).map(|_| ()),
            Err(error) => Err(Refusal::Block(error)),
        };
        match imported {
            Ok(()) => must_be_wrong(place, block, None)?,
            Err(Refusal::Block(reason)) => must_be_wrong(place, block, Some(&reason))?,
            Err(Refusal::Ours(reason)) => return Err(format!("block {place}: {reason}")),
        }
    }
    Ok(importer.view().head.clone())
}

/// Compares whether a block was refused with whether it should have been.
fn must_be_wrong(place: usize, block: &Value, refusal: Option<&str>) -> Result<(), String> {
    match (refusal, block.get("blockHeader").is_some()) {
        (None, true) | (Some(_), false) => Ok(()),
        (Some(reason), true) => Err(format!("block {place} refused: {reason}")),
        (None, false) => {
            let why = block.as_object().into_iter().flatten();
            let why = why.filter(|(key, _)| key.starts_with("expectException"));
            let why: Vec<String> = why.map(|(_, value)| value.to_string()).collect();
            Err(format!("block {place} taken, though wrong: {}", why.join(", ")))
        }
    }
}

fn decode(block: &Value) -> Result<SealedBlock, String> {
    let rlp = maybe_bytes(&block["rlp"]).ok_or("no hex")?;
    chains::decode(&rlp)
}

/// A chain without a fork, in maps.
struct Line<'a> {
    spec: &'a ChainSpec,
    engine: &'a Engine,
    state: MemoryState,
    /// From the genesis on.
    blocks: Vec<Ancestor>,
}

/// Why a block does not extend a line.
enum Stop {
    Refused(String),
    /// It may be right, and belongs elsewhere.
    Fork,
}

impl From<consensus::InvalidBlock> for Stop {
    fn from(error: consensus::InvalidBlock) -> Self {
        Self::Refused(chains::with_causes(&error))
    }
}

/// Executes blocks in a line and returns the last; `None` if they are no line.
fn line(
    spec: &ChainSpec,
    engine: &Engine,
    blocks: &[Value],
) -> Result<Option<SealedHeader>, String> {
    let (_, changes) = genesis_changes(&spec.genesis);
    let mut state = MemoryState::default();
    state.apply(&changes);
    let genesis = Ancestor { header: spec.genesis_header(), ommers: Vec::new() };
    let mut line = Line { spec, engine, state, blocks: vec![genesis] };
    for (place, block) in blocks.iter().enumerate() {
        let pushed = match decode(block) {
            Ok(block) => line.push(block),
            Err(error) => Err(Stop::Refused(error)),
        };
        match pushed {
            Ok(()) => must_be_wrong(place, block, None)?,
            Err(Stop::Refused(reason)) => must_be_wrong(place, block, Some(&reason))?,
            Err(Stop::Fork) => return Ok(None),
        }
    }
    Ok(line.blocks.pop().map(|last| last.header))
}

impl Line<'_> {
    fn push(&mut self, block: SealedBlock) -> Result<(), Stop> {
        let tip = self.blocks[self.blocks.len() - 1].header.clone();
        if block.header().parent_hash != tip.hash() {
            return Err(Stop::Fork);
        }
        let block = self.engine.verify(self.spec, block)?;
        let (block, senders) = block.into_parts();
        let header = block.header();
        verify_time(header, chains::now()).map_err(|error| Stop::Refused(error.to_string()))?;
        verify_header(self.spec, header, tip.header())?;
        let ancestors = self.blocks.iter().rev().take(OMMER_ANCESTORS).cloned();
        verify_ommers(self.spec, &block, &ancestors.collect::<Vec<_>>())?;
        self.execute(&block, &senders, tip.state_root)?;
        let ommers = block.body().ommers.iter().map(Header::hash_slow).collect();
        self.blocks.push(Ancestor { header: block.clone_sealed_header(), ommers });
        Ok(())
    }

    fn execute(
        &mut self,
        block: &SealedBlock,
        senders: &[primitives::Address],
        root: B256,
    ) -> Result<(), Stop> {
        let mut world = WorldState::at(root, &self.state, block.header().number);
        let hash_at = |number: u64| {
            let place = usize::try_from(number).expect("a short chain");
            Ok(self.blocks.get(place).map(|ancestor| ancestor.header.hash()))
        };
        let outcome = chain::execute_block(self.spec, block, senders, &mut world, &hash_at);
        let outcome = outcome
            .map_err(|(index, error)| Stop::Refused(format!("transaction {index}: {error}")))?;
        verify_execution(
            block.header(),
            outcome.executed.gas_used,
            &outcome.executed.bloom,
            receipts_root(&outcome.executed.receipts),
            outcome.state_root,
        )?;
        let changes = world.take_changes().expect("memory never fails");
        self.state.apply(&changes);
        Ok(())
    }
}
