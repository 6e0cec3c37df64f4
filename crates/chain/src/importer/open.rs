use std::sync::Arc;

use primitives::{ChainSpec, TotalDifficulty};
use storage::{StorageConfig, StorageError, View, Writer};

use super::{BadBlocks, Importer};
use crate::{ChainView, OpenError, metrics::ChainMetrics, rejected::Rejected};

/// What a chain is opened with.
#[derive(Debug, Clone)]
pub struct ChainConfig {
    /// Where the database is.
    pub storage: StorageConfig,
    /// Which chain it must be; `None` takes whatever the database holds.
    pub spec: Option<ChainSpec>,
}

impl Importer {
    /// Opens the database, or initialises an empty one with the genesis given.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; a database that holds another chain is not touched.
    pub fn open(config: ChainConfig) -> Result<Self, OpenError> {
        let (mut writer, view) = storage::open(&config.storage)?;
        let (spec, db) = match view.head() {
            None => initialise(&mut writer, config.spec)?,
            Some(_) => (existing(&mut writer, &view, config.spec)?, view),
        };
        let missing = |what: &'static str| StorageError::corrupt(what, "of the head".into());
        let id = db.head().ok_or_else(|| missing("meta"))?;
        let head = db.header(id.hash)?.ok_or_else(|| missing("headers"))?;
        let td = db.td(id.hash)?.ok_or_else(|| missing("td"))?;
        let unexecuted_bytes = db.unexecuted_bytes()?;
        let metrics = ChainMetrics::default();
        metrics.head_number.set(head.number as f64);
        Ok(Self {
            writer,
            view: Arc::new(ChainView { head, td, db, spec: Arc::new(spec) }),
            own_head: false,
            world: None,
            bad: BadBlocks::default(),
            rejected: Rejected::default(),
            unexecuted_bytes,
            events: Vec::new(),
            metrics,
            steps: Arc::default(),
        })
    }
}

fn initialise(
    writer: &mut Writer,
    spec: Option<ChainSpec>,
) -> Result<(ChainSpec, View), OpenError> {
    let spec = spec.ok_or(OpenError::NoGenesis)?;
    let genesis = spec.genesis_block();
    let (root, changes) = state::genesis_changes(&spec.genesis);
    assert_eq!(root, genesis.header().state_root, "both ways to the genesis root agree");
    let td = TotalDifficulty::new(genesis.header().difficulty);
    let view = writer.initialise(genesis, td, changes, &spec.to_geth_json())?;
    Ok((spec, view))
}

/// The rules of a database that is not empty, replaced by compatible new ones if given.
fn existing(
    writer: &mut Writer,
    view: &View,
    given: Option<ChainSpec>,
) -> Result<ChainSpec, OpenError> {
    let missing = || StorageError::corrupt("canonical", "the genesis block is missing".into());
    let have = view.canonical_hash(0)?.ok_or_else(missing)?;
    let genesis = view.block(have)?.ok_or_else(missing)?;
    let json = view.genesis_config_json()?;
    let stored =
        ChainSpec::from_json(&json).map_err(OpenError::Config)?.with_genesis_block(genesis);
    let Some(given) = given else { return Ok(stored) };
    let new = given.genesis_block().hash();
    if new != have {
        return Err(OpenError::WrongGenesis { have, new });
    }
    let head = view.head().map_or(0, |head| head.number);
    stored
        .check_compatible(&given, head)
        .map_err(|error| OpenError::Incompatible(error.to_string()))?;
    if given.config != stored.config {
        writer.set_config(&given.to_geth_json())?;
    }
    Ok(given)
}
