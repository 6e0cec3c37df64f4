//! Single blocks with all that is needed of the state before them: trie nodes and code by hash.

use std::collections::HashMap;

use alloy_rlp::{Decodable, Header as RlpHeader, PayloadView};
use consensus::{Engine, verify_execution};
use primitives::{
    B256, Block, BlockBody, Bytes, ChainSpec, EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header,
    KECCAK256_EMPTY, SealedBlock, Transaction, U256, keccak256, receipts_root,
};
use serde_json::Value;
use state::{Account, MemoryState, Nibbles, StateChanges, WorldState};

use crate::{
    chains::with_causes,
    json::{object, text},
    pow::same,
};

/// The prefix of keys of headers and lists of ommers.
const HEADER: u8 = 0;

/// The prefix of keys of code, in some of the files.
const CODE: u8 = 6;

/// Executes the block and compares everything with its header.
pub(super) fn run(json: &Value) -> Result<(), String> {
    let dump = Dump::new(&json["state"])?;
    let height = u64::from_str_radix(text(&json["blockNumber"]).trim_start_matches("0x"), 16);
    let block = dump.block(height.map_err(|error| error.to_string())?)?;
    let parent = dump.header(block.header().parent_hash)?;
    let spec = ChainSpec::preset("mainnet").expect("a built-in chain");
    let block = Engine::Instant.verify(&spec, block).map_err(|error| with_causes(&error))?;
    let (block, senders) = block.into_parts();
    let state = dump.state(parent.state_root)?;
    let mut world = WorldState::at(parent.state_root, state, block.header().number);
    let hash_at = |number| Ok((number == parent.number).then(|| block.header().parent_hash));
    let outcome = chain::execute_block(&spec, &block, &senders, &mut world, &hash_at)
        .map_err(|(index, error)| format!("transaction {index}: {}", with_causes(&error)))?;
    let executed = outcome.executed;
    verify_execution(
        block.header(),
        executed.gas_used,
        &executed.bloom,
        receipts_root(&executed.receipts),
        outcome.state_root,
    )
    .map_err(|error| with_causes(&error))
}

/// The database: bytes by key.
struct Dump(HashMap<Vec<u8>, Bytes>);

/// One trie of the database, as far as its nodes are there.
#[derive(Default)]
struct Found {
    /// By path. Nodes that lie inside their parent are not among them.
    nodes: Vec<(Nibbles, Bytes)>,
    /// Values by path.
    leaves: Vec<(Nibbles, Vec<u8>)>,
}

impl Dump {
    fn new(state: &Value) -> Result<Self, String> {
        let hex = |text: &str| primitives::hex::decode(text).map_err(|error| error.to_string());
        let entries = object(state).map(|(key, value)| Ok((hex(key)?, hex(text(value))?.into())));
        entries.collect::<Result<_, String>>().map(Self)
    }

    fn header(&self, hash: B256) -> Result<Header, String> {
        let rlp = self.prefixed(hash).ok_or_else(|| format!("no header {hash}"))?;
        Header::decode(&mut rlp.as_ref()).map_err(|error| error.to_string())
    }

    fn prefixed(&self, hash: B256) -> Option<&Bytes> {
        self.0.get(&[&[HEADER], hash.as_slice()].concat())
    }

    /// The block of this number, put together from header, transaction trie and list of ommers.
    fn block(&self, height: u64) -> Result<SealedBlock, String> {
        let headers = self.0.iter().filter(|(key, _)| key.len() == 33 && key[0] == HEADER);
        let mut headers = headers.filter_map(|(_, rlp)| Header::decode(&mut rlp.as_ref()).ok());
        let header = headers.find(|header| header.number == height).ok_or("no header")?;
        let mut found = Found::default();
        self.walk_root(header.transactions_root, &mut found)?;
        let mut transactions = found.leaves;
        transactions.sort_by_key(|(path, _)| {
            let key = path.pack();
            usize::decode(&mut key.as_slice()).expect("a key is the RLP of a place")
        });
        let transactions = transactions
            .iter()
            .map(|(_, rlp)| Transaction::decode(&mut rlp.as_slice()))
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let ommers = if header.ommers_hash == EMPTY_OMMER_ROOT_HASH {
            Vec::new()
        } else {
            let rlp = self.prefixed(header.ommers_hash).ok_or("no ommers")?;
            Vec::decode(&mut rlp.as_ref()).map_err(|error| error.to_string())?
        };
        let body = BlockBody { transactions, ommers, withdrawals: None };
        Ok(SealedBlock::seal_slow(Block { header, body }))
    }

    /// The state with this root by path, as far as it is here.
    fn state(&self, root: B256) -> Result<MemoryState, String> {
        let mut found = Found::default();
        self.walk_root(root, &mut found)?;
        let mut changes = StateChanges::default();
        changes.account_nodes.extend(found.nodes.into_iter().map(|(path, rlp)| (path, Some(rlp))));
        for (path, rlp) in found.leaves {
            let account = decode_account(&rlp).map_err(|error| error.to_string())?;
            let address_hash = key_of(&path)?;
            let owner = account.owner(address_hash);
            changes.accounts.insert(address_hash, Some(account));
            if let Some(code) = self.code(account.code_hash)
                && account.code_hash != KECCAK256_EMPTY
            {
                changes.codes.insert(account.code_hash, code.clone());
            }
            let mut found = Found::default();
            self.walk_root(account.storage_root, &mut found)?;
            let nodes = found.nodes.into_iter().map(|(path, rlp)| (path, Some(rlp)));
            changes.slot_nodes.entry(owner).or_default().extend(nodes);
            for (path, rlp) in found.leaves {
                let value = U256::decode(&mut rlp.as_slice()).map_err(|error| error.to_string())?;
                changes.slots.entry(owner).or_default().insert(key_of(&path)?, value);
            }
        }
        let mut state = MemoryState::default();
        state.apply(&changes);
        Ok(state)
    }

    /// Code lies under its hash, with or without a prefix.
    fn code(&self, hash: B256) -> Option<&Bytes> {
        let prefixed = || self.0.get(&[&[CODE], hash.as_slice()].concat());
        self.0.get(hash.as_slice()).or_else(prefixed).filter(|code| keccak256(code) == hash)
    }

    fn walk_root(&self, root: B256, found: &mut Found) -> Result<(), String> {
        if root == EMPTY_ROOT_HASH { Ok(()) } else { self.walk_hash(root, Nibbles::new(), found) }
    }

    /// Visits a node by its hash. One that is not here is not needed.
    fn walk_hash(&self, hash: B256, path: Nibbles, found: &mut Found) -> Result<(), String> {
        let Some(rlp) = self.0.get(hash.as_slice()) else { return Ok(()) };
        same("hash of a node", &keccak256(rlp), &hash)?;
        found.nodes.push((path, rlp.clone()));
        self.walk(rlp, path, found)
    }

    fn walk(&self, node: &[u8], path: Nibbles, found: &mut Found) -> Result<(), String> {
        let items = match RlpHeader::decode_raw(&mut &node[..]) {
            Ok(PayloadView::List(items)) => items,
            Ok(PayloadView::String(_)) | Err(_) => return Err("a node is no list".into()),
        };
        if let [prefix, target] = items[..] {
            let prefix = payload(prefix)?;
            let (rest, is_leaf) = unprefixed(prefix)?;
            let path = path.join(&rest);
            if is_leaf {
                found.leaves.push((path, payload(target)?.to_vec()));
                return Ok(());
            }
            return self.walk_child(target, path, found);
        }
        for (nibble, child) in (0..16).zip(&items) {
            let mut path = path;
            path.push(nibble);
            self.walk_child(child, path, found)?;
        }
        Ok(())
    }

    /// Visits a child by its reference: nothing, a hash, or the node itself.
    fn walk_child(&self, child: &[u8], path: Nibbles, found: &mut Found) -> Result<(), String> {
        if child.first().is_some_and(|first| *first >= alloy_rlp::EMPTY_LIST_CODE) {
            return self.walk(child, path, found);
        }
        match payload(child)? {
            [] => Ok(()),
            hash => {
                let hash = B256::try_from(hash).map_err(|error| error.to_string())?;
                self.walk_hash(hash, path, found)
            }
        }
    }
}

fn payload(mut item: &[u8]) -> Result<&[u8], String> {
    RlpHeader::decode_bytes(&mut item, false).map_err(|error| error.to_string())
}

/// The path in a node, and whether it ends there (Yellow Paper, appendix C).
fn unprefixed(prefix: &[u8]) -> Result<(Nibbles, bool), String> {
    let flags = prefix.first().ok_or("an empty path")? >> 4;
    let skipped = if flags & 1 == 1 { 1 } else { 2 };
    let nibbles = prefix.iter().flat_map(|byte| [byte >> 4, byte & 15]).skip(skipped);
    Ok((nibbles.collect(), flags & 2 == 2))
}

fn key_of(path: &Nibbles) -> Result<B256, String> {
    B256::try_from(path.pack().as_slice()).map_err(|error| error.to_string())
}

fn decode_account(rlp: &[u8]) -> alloy_rlp::Result<Account> {
    let mut rest = RlpHeader::decode_bytes(&mut &rlp[..], true)?;
    Ok(Account {
        nonce: u64::decode(&mut rest)?,
        balance: U256::decode(&mut rest)?,
        storage_root: B256::decode(&mut rest)?,
        code_hash: B256::decode(&mut rest)?,
        incarnation: 0,
    })
}
