//! Trie nodes and code by hash, for fast sync up to eth/66.
//!
//! The disk has no nodes by hash. But whoever asks for one has its hash from the node above it, and
//! that one was told by this node or by another one like it, from the root downwards: so it is enough
//! to remember where the nodes lie that the told ones refer to.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use alloy_rlp::Decodable;
use primitives::{B256, Bytes, EMPTY_ROOT_HASH, U256, keccak256, map::HashMap};
use state::{Nibbles, NodeLinks, StateReader, StorageOwner};
use storage::StorageError;

use super::window::Window;

/// Nodes of the account trie's top that are remembered: those of two states at least.
const UPPER_MAX: usize = 16_384;
/// How far down the top reaches, in nibbles: at most 4 369 nodes. Who works depth first comes back
/// to these last.
const UPPER_NIBBLES: usize = 3;
/// Other nodes that are remembered. Who works depth first soon asks for them or never again.
const LOWER_MAX: usize = 65_536;

/// Where trie nodes lie, by hash: those below the nodes that were told. Shared by all sessions.
#[derive(Debug)]
pub(crate) struct Places {
    upper: Newest,
    lower: Newest,
}

/// Where a trie node lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The root of a state that has it.
    root: B256,
    owner: Option<StorageOwner>,
    path: Nibbles,
}

/// The places put in last, between half the limit and the limit.
#[derive(Debug)]
struct Newest {
    limit: usize,
    young: HashMap<B256, Place>,
    old: HashMap<B256, Place>,
}

impl Default for Places {
    fn default() -> Self {
        Self { upper: Newest::new(UPPER_MAX), lower: Newest::new(LOWER_MAX) }
    }
}

impl Places {
    fn find(&self, hash: &B256) -> Option<Place> {
        self.upper.find(hash).or_else(|| self.lower.find(hash))
    }

    fn insert(&mut self, hash: B256, place: Place) {
        let is_upper = place.owner.is_none() && place.path.len() <= UPPER_NIBBLES;
        if is_upper { self.upper.insert(hash, place) } else { self.lower.insert(hash, place) }
    }
}

impl Newest {
    fn new(limit: usize) -> Self {
        Self { limit, young: HashMap::default(), old: HashMap::default() }
    }

    fn find(&self, hash: &B256) -> Option<Place> {
        self.young.get(hash).or_else(|| self.old.get(hash)).copied()
    }

    fn insert(&mut self, hash: B256, place: Place) {
        if self.young.len() >= self.limit / 2 && !self.young.contains_key(&hash) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(hash, place);
    }
}

/// The node or code behind a hash, if it is known where it lies.
pub(super) fn find(
    window: &mut Window<'_>,
    places: &Mutex<Places>,
    hash: B256,
) -> Result<Option<Bytes>, StorageError> {
    let known = match window.has(hash) {
        true => Some(Place { root: hash, owner: None, path: Nibbles::new() }),
        false => locked(places).find(&hash),
    };
    let Some(Place { root, owner, path }) = known else { return window.view.db.code(hash) };
    // When the base has moved past the state, the node may be in its place all the same.
    for root in [root, window.lowest()] {
        let Some(state) = window.state(root)? else { continue };
        let Some(rlp) = state.node(owner, &path)?.filter(|rlp| keccak256(rlp) == hash) else {
            continue;
        };
        let below = places_below(state, &rlp, Place { root, owner, path })?;
        let mut places = locked(places);
        for (hash, place) in below {
            places.insert(hash, place);
        }
        return Ok(Some(rlp));
    }
    Ok(None)
}

/// Where the nodes lie that a node refers to, storage tries of its accounts included.
fn places_below(
    state: &impl StateReader,
    rlp: &[u8],
    place: Place,
) -> Result<Vec<(B256, Place)>, StorageError> {
    let Some(NodeLinks { nodes, values }) = NodeLinks::of(rlp, &place.path) else {
        return Ok(Vec::new());
    };
    let mut below: Vec<_> =
        nodes.into_iter().map(|(hash, path)| (hash, Place { path, ..place })).collect();
    if place.owner.is_some() {
        return Ok(below);
    }
    for (address_hash, value) in values {
        let root = storage_root(&value).filter(|root| *root != EMPTY_ROOT_HASH);
        if let Some(root) = root
            && let Some(account) = state.account(address_hash)?
        {
            let owner = Some(account.owner(address_hash));
            below.push((root, Place { owner, path: Nibbles::new(), ..place }));
        }
    }
    Ok(below)
}

/// The storage root in an account of the trie (Yellow Paper §4.1).
fn storage_root(account: &[u8]) -> Option<B256> {
    let mut fields = alloy_rlp::Header::decode_bytes(&mut &*account, true).ok()?;
    u64::decode(&mut fields).ok()?;
    U256::decode(&mut fields).ok()?;
    B256::decode(&mut fields).ok()
}

fn locked(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &[u8]) -> Place {
        Place { root: B256::ZERO, owner: None, path: Nibbles::from_nibbles(path) }
    }

    fn hash(number: usize) -> B256 {
        keccak256(number.to_be_bytes())
    }

    #[test]
    fn a_bounded_number_of_places_is_remembered_and_the_newest_half_surely() {
        let mut places = Places::default();
        let deep = place(&[1, 2, 3, 4]);
        for number in 0..3 * LOWER_MAX {
            places.insert(hash(number), deep);
            assert!(places.lower.young.len() + places.lower.old.len() <= LOWER_MAX);
        }
        for number in 3 * LOWER_MAX - LOWER_MAX / 2..3 * LOWER_MAX {
            assert_eq!(places.find(&hash(number)), Some(deep));
        }
        assert_eq!(places.find(&hash(0)), None);
    }

    #[test]
    fn deep_places_do_not_push_out_those_of_the_top() {
        let mut places = Places::default();
        let top = place(&[1, 2, 3]);
        places.insert(hash(0), top);
        for number in 1..3 * LOWER_MAX {
            places.insert(hash(number), place(&[1, 2, 3, 4]));
        }
        assert_eq!(places.find(&hash(0)), Some(top));
    }
}
