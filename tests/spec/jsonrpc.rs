//! Requests and answers of the execution-apis suites, on the chains that lie beside them.
//!
//! As the suites want it, values are compared and not texts, of errors only that there is one, and
//! of answers of newer clients only the members that both have.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use chain::{ChainThread, Origin};
use consensus::Engine;
use primitives::ChainSpec;
use rpc::{Node, dispatch::Dispatcher};
use serde_json::Value;
use tokio::runtime::Runtime;
use txpool::{Pool, PoolConfig};

use crate::{
    chains::{self, with_causes},
    data::DataFile,
    report::Sink,
};

/// Gas that a call may use, as geth's default.
const GAS_MAX: u64 = 50_000_000;

/// A node in memory with a suite's chain.
struct Served {
    dispatcher: Dispatcher,
    _thread: ChainThread,
}

/// Runs one file.
pub(crate) fn run_file(file: &DataFile, sink: &mut Sink<'_>) {
    let text = String::from_utf8_lossy(&file.read()).into_owned();
    let folder = file.path.parent().and_then(Path::parent).expect("suite/method/file");
    let by_schema = text.contains("speconly:");
    sink.case("requests", || {
        let served = served(folder)?;
        let mut request = None;
        for line in text.lines() {
            if let Some(asked) = line.strip_prefix(">> ") {
                request = Some(asked);
            } else if let Some(answer) = line.strip_prefix("<< ") {
                let asked = request.take().ok_or("an answer to nothing")?;
                check(served, asked, answer, by_schema)?;
            }
        }
        Ok(())
    });
}

fn check(served: &Served, asked: &str, answer: &str, by_schema: bool) -> Result<(), String> {
    let want: Value = answer.parse().map_err(|_| "the answer is no JSON".to_owned())?;
    let have = runtime().block_on(served.dispatcher.answer(asked.as_bytes()));
    let have = have.ok_or("no answer")?;
    let have: Value = String::from_utf8_lossy(&have).parse().map_err(|_| "no JSON".to_owned())?;
    let agrees = match (want.get("error"), have.get("error")) {
        (Some(_), Some(_)) => true,
        (None, None) => by_schema || agrees(&have["result"], &want["result"]),
        (Some(_), None) | (None, Some(_)) => false,
    };
    if agrees { Ok(()) } else { Err(format!("{asked}: have {have}, want {want}")) }
}

/// Whether two answers say the same, as far as both say something.
fn agrees(have: &Value, want: &Value) -> bool {
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => {
            want.iter().all(|(name, want)| have.get(name).is_none_or(|have| agrees(have, want)))
        }
        (Value::Array(have), Value::Array(want)) => {
            have.len() == want.len() && have.iter().zip(want).all(|(a, b)| agrees(a, b))
        }
        (Value::String(have), Value::String(want)) => have.eq_ignore_ascii_case(want),
        (have, want) => have == want,
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime"))
}

/// The node of a suite, made once.
fn served(folder: &Path) -> Result<&'static Served, String> {
    static SERVED: Mutex<BTreeMap<PathBuf, Result<&'static Served, String>>> =
        Mutex::new(BTreeMap::new());
    let mut nodes = SERVED.lock().unwrap_or_else(PoisonError::into_inner);
    let made = || start(folder).map(|served| &*Box::leak(Box::new(served)));
    nodes.entry(folder.to_owned()).or_insert_with(made).clone()
}

fn start(folder: &Path) -> Result<Served, String> {
    let read = |name: &str| fs::read(folder.join(name)).map_err(|error| error.to_string());
    let genesis = String::from_utf8_lossy(&read("genesis.json")?).into_owned();
    let spec = ChainSpec::from_json(&genesis).map_err(|error| with_causes(&error))?;
    let mut blocks = chains::decode_all(&read("chain.rlp")?)?;
    blocks.retain(|block| block.header().number > 0);
    let mined = blocks.iter().take_while(|block| !block.header().difficulty.is_zero()).count();
    blocks.truncate(mined);
    let mut importer = chains::open(spec)?;
    let spec = importer.spec();
    let verified: Result<Vec<_>, _> =
        chains::unsealed().verify_many(&spec, blocks, 1).into_iter().collect();
    let verified = verified.map_err(|error| with_causes(&error))?;
    importer
        .import_many(verified, Origin::Operator, chains::now())
        .map_err(|error| with_causes(&error))?;
    let (chain, thread) = chain::spawn(importer).map_err(|error| error.to_string())?;
    let pool = Pool::new(PoolConfig::default(), chain.clone());
    let node = Node {
        chain: chain.clone(),
        engine: Arc::new(Engine::Instant),
        pool,
        miner: None,
        network: None,
        keystore: None,
        signer: None,
        client_version: "Hematite".to_owned(),
        network_id: chain.view().spec.chain_id,
        data_directory: PathBuf::new(),
        gas_max: GAS_MAX,
        call_time_max: None,
        tx_fee_max: None,
        finalized_depth: None,
        allow_insecure_unlock: false,
        key_kdf: accounts::Kdf::Light,
        log_levels: None,
        strict_receipts: false,
    };
    let dispatcher = rpc::testing::dispatcher(node);
    Ok(Served { dispatcher, _thread: thread })
}
