//! What methods read: the node's parts, and which block a request means.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use ::miner::{MinerHandle, WorkPackage};
use ::network::NetworkHandle;
use ::txpool::Pool;
use accounts::{Kdf, Keystore};
use chain::{ChainHandle, ChainView};
use consensus::Engine;
use primitives::{B256, Header, SealedHeader};
use state::{StateReader, WorldState};

use crate::{
    convert::sender,
    doors::Doors,
    error::RpcError,
    eth::{fees::Oracle, filter::Filters},
    parse::{BlockId, BlockTag},
    signer::Signer,
};

/// The parts of a node that the methods ask.
#[derive(Debug, Clone)]
pub struct Node {
    /// Blocks and states.
    pub chain: ChainHandle,
    /// What makes a block right, for blocks from files.
    pub engine: Arc<Engine>,
    /// Transactions waiting to be mined.
    pub pool: Pool,
    /// The miner, on nodes that have one.
    pub miner: Option<MinerHandle>,
    /// The peers, on nodes that may have some.
    pub network: Option<NetworkHandle>,
    /// The keys on this machine, if they are to be listed.
    pub keystore: Option<Arc<Keystore>>,
    /// Has all keys instead of the keystore, if it is there.
    pub signer: Option<Arc<dyn Signer>>,
    /// What `web3_clientVersion` says.
    pub client_version: String,
    /// What `net_version` says.
    pub network_id: u64,
    /// What `admin_datadir` says.
    pub data_directory: PathBuf,
    /// The most gas an `eth_call` or `eth_estimateGas` may use; 0 is no limit.
    pub gas_max: u64,
    /// How long an `eth_call` may execute; `None` is no limit.
    pub call_time_max: Option<Duration>,
    /// The highest fee of a transaction that `eth_sendRawTransaction` takes, in wei; `None` is no
    /// limit.
    pub tx_fee_max: Option<u128>,
    /// How many blocks lie on what `finalized` and `safe` mean; `None` is that there are no such
    /// blocks, as proof of work has none.
    pub finalized_depth: Option<u64>,
    /// Let `personal_unlockAccount` unlock although RPC can be reached over HTTP or WebSocket.
    pub allow_insecure_unlock: bool,
    /// How hard passwords of new keys are to guess.
    pub key_kdf: Kdf,
    /// What `debug_verbosity` and `debug_vmodule` change; `None` is that nothing can.
    pub log_levels: Option<LogLevels>,
    /// Omit `status` from receipts that carry a state root, as geth does. Clients of today read
    /// such receipts as neither success nor failure.
    pub strict_receipts: bool,
}

/// What is to be logged from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogChange {
    /// 0 is silent, 5 says everything.
    Verbosity(u8),
    /// Levels of parts, as `part=level,part=level`, beside the verbosity.
    Modules(String),
}

/// The way to the log levels, given by whoever keeps the log.
#[derive(Clone)]
pub struct LogLevels(Arc<dyn Fn(LogChange) -> Result<(), String> + Send + Sync>);

impl LogLevels {
    /// Changes are handed to `change`, which says what is wrong with one.
    pub fn new(change: impl Fn(LogChange) -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(change))
    }

    pub(crate) fn change(&self, change: LogChange) -> Result<(), RpcError> {
        (self.0)(change).map_err(RpcError::Refused)
    }
}

impl fmt::Debug for LogLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLevels").finish_non_exhaustive()
    }
}

/// The node, and what the interface itself has to remember.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) node: Node,
    pub(crate) filters: Arc<Filters>,
    pub(crate) oracle: Arc<Oracle>,
    /// Held while a nonce is chosen and until it is used.
    pub(crate) nonces: Arc<Mutex<()>>,
    /// What is listened on.
    pub(crate) doors: Weak<Doors>,
    /// Whether only this machine's operator calls here.
    pub(crate) is_local: bool,
    /// Namespaces that are exposed.
    pub(crate) modules: Vec<String>,
}

/// The block that a request means.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// A block with a hash.
    Sealed(Box<SealedHeader>),
    /// What the miner is working on, a child of the view's head.
    Pending(Arc<WorkPackage>),
}

impl Place {
    pub(crate) fn sealed(header: SealedHeader) -> Self {
        Self::Sealed(Box::new(header))
    }

    /// The hash; what is pending has none.
    pub(crate) fn hash(&self) -> Option<B256> {
        match self {
            Self::Sealed(header) => Some(header.hash()),
            Self::Pending(_) => None,
        }
    }

    /// The header, without seal if it is pending.
    pub(crate) fn header(&self) -> &Header {
        match self {
            Self::Sealed(header) => header.header(),
            Self::Pending(package) => &package.header,
        }
    }
}

impl Api {
    /// Whether others than the operator of this machine may call.
    pub(crate) fn is_reached_from_outside(&self) -> bool {
        let doors = self.doors.upgrade();
        doors.is_some_and(|doors| doors.http_address().or(doors.ws_address()).is_some())
    }

    /// The newest package that extends the view's head.
    pub(crate) fn pending(&self, view: &ChainView) -> Option<Arc<WorkPackage>> {
        let package = self.node.miner.as_ref()?.pending()?;
        (package.parent.hash == view.head.hash()).then_some(package)
    }

    /// The block a tag or number means; `None` if there is none (yet).
    pub(crate) fn by_tag(
        &self,
        view: &ChainView,
        tag: BlockTag,
    ) -> Result<Option<Place>, RpcError> {
        let number = match tag {
            BlockTag::Latest => return Ok(Some(Place::sealed(view.head.clone()))),
            BlockTag::Pending => {
                let pending = self.pending(view).map(Place::Pending);
                return Ok(Some(pending.unwrap_or_else(|| Place::sealed(view.head.clone()))));
            }
            BlockTag::Safe | BlockTag::Finalized => match self.node.finalized_depth {
                Some(depth) => view.head.number.saturating_sub(depth),
                None if tag == BlockTag::Safe => {
                    return Err(RpcError::refused("safe block not found"));
                }
                None => return Err(RpcError::refused("finalized block not found")),
            },
            BlockTag::Earliest => 0,
            BlockTag::Number(number) => number,
        };
        if number > view.head.number {
            return Ok(None);
        }
        if number == view.head.number {
            return Ok(Some(Place::sealed(view.head.clone())));
        }
        let header = view.db.header_by_number(number).map_err(RpcError::storage)?;
        Ok(header.map(Place::sealed))
    }

    /// The block whose state is asked for.
    pub(crate) fn place(&self, view: &ChainView, id: BlockId) -> Result<Place, RpcError> {
        match id {
            BlockId::Tag(tag) => {
                self.by_tag(view, tag)?.ok_or_else(|| RpcError::refused("header not found"))
            }
            BlockId::Hash { hash, require_canonical } => {
                let header = view.db.header(hash).map_err(RpcError::storage)?;
                let header =
                    header.ok_or_else(|| RpcError::refused("header for hash not found"))?;
                let canonical = || view.db.canonical_hash(header.number).map_err(RpcError::storage);
                if require_canonical && canonical()? != Some(hash) {
                    return Err(RpcError::refused("hash is not currently canonical"));
                }
                Ok(Place::sealed(header))
            }
        }
    }

    /// The state after a block, to execute on. A pending one is executed first.
    pub(crate) fn world(
        &self,
        view: &ChainView,
        place: &Place,
    ) -> Result<WorldState<impl StateReader + use<>>, RpcError> {
        match place {
            Place::Sealed(header) => Ok(view.world_at(header)?),
            Place::Pending(package) => {
                let mut world = view.world_at(&view.head)?;
                execute_pending(view, package, &mut world)?;
                Ok(world)
            }
        }
    }
}

/// Brings the head's state to that of the miner's package.
fn execute_pending<R: StateReader>(
    view: &ChainView,
    package: &WorkPackage,
    world: &mut WorldState<R>,
) -> Result<(), RpcError> {
    chain::begin_block(&view.spec, &package.header, world)?;
    let lookup = |number| view.ancestor_hash(view.head_id(), number);
    let mut executor = evm::BlockExecutor::new(&view.spec, &package.header, world, &lookup);
    for tx in &package.body.transactions {
        executor.execute(tx, sender(tx)?)?;
    }
    drop(executor);
    chain::finish_block(&view.spec, &package.header, &package.body.ommers, world)?;
    Ok(())
}
