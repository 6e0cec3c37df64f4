//! The past: what a value was after some canonical block below the base.
//!
//! `history` holds, for every block that changed a key, the value before that block. So the value
//! after block N is the one recorded by the first block above N that changed the key, or the base's
//! if there is none.

use primitives::{B256, U256};
use state::{Account, StateChanges, StorageOwner};

use crate::{
    StorageError, View,
    codec::{bad, decode_account, decode_keys, decode_u256},
    schema::{Column, FlatKey, slot_key},
};

/// An account at the base.
pub(crate) fn base_account(
    view: &View,
    address_hash: B256,
) -> Result<Option<Account>, StorageError> {
    let key = address_hash.as_slice();
    match view.pinned().record(Column::Accounts, key)? {
        None => Ok(None),
        Some(value) => decode_account(Column::Accounts, key, &value),
    }
}

/// A slot at the base.
pub(crate) fn base_slot(
    view: &View,
    owner: StorageOwner,
    slot_hash: B256,
) -> Result<U256, StorageError> {
    let key = slot_key(owner, slot_hash);
    match view.pinned().record(Column::Slots, &key)? {
        None => Ok(U256::ZERO),
        Some(value) => decode_u256(Column::Slots, &key, &value),
    }
}

/// An account after canonical block `number`, which is not above the base.
pub(crate) fn account_at(
    view: &View,
    number: u64,
    address_hash: B256,
) -> Result<Option<Account>, StorageError> {
    match recorded_after(view, number, FlatKey::Account(address_hash))? {
        Some(value) => decode_account(Column::History, address_hash.as_slice(), &value),
        None => base_account(view, address_hash),
    }
}

/// A slot after canonical block `number`, which is not above the base.
pub(crate) fn slot_at(
    view: &View,
    number: u64,
    owner: StorageOwner,
    slot_hash: B256,
) -> Result<U256, StorageError> {
    match recorded_after(view, number, FlatKey::Slot(owner, slot_hash))? {
        Some(value) => decode_u256(Column::History, slot_hash.as_slice(), &value),
        None => base_slot(view, owner, slot_hash),
    }
}

/// What the first block above `number` that changed the key found there.
fn recorded_after(view: &View, number: u64, key: FlatKey) -> Result<Option<Vec<u8>>, StorageError> {
    let from = key.at(number.saturating_add(1));
    let end = key.at(u64::MAX);
    let cursor = view.pinned().cursor(Column::History, &from, Some(&end));
    Ok(cursor.item()?.map(|(_, value)| value.to_vec()))
}

/// The keys that a canonical block not above the base changed.
pub(crate) fn changed_keys(view: &View, number: u64) -> Result<Vec<FlatKey>, StorageError> {
    let key = number.to_be_bytes();
    let value = view
        .pinned()
        .record(Column::Changes, &key)?
        .ok_or_else(|| bad(Column::Changes, &key, "is missing"))?;
    decode_keys(number, &value)
}

/// The values after block `to` of everything that the blocks above it up to `from` changed. Neither
/// is above the base.
pub(crate) fn diff(view: &View, from: u64, to: u64) -> Result<StateChanges, StorageError> {
    let mut diff = StateChanges::default();
    for number in to.saturating_add(1)..=from {
        for key in changed_keys(view, number)? {
            match key {
                FlatKey::Account(address_hash) if !diff.accounts.contains_key(&address_hash) => {
                    let at = key.at(number);
                    let value = recorded(view, &at)?;
                    let account = decode_account(Column::History, &at, &value)?;
                    diff.accounts.insert(address_hash, account);
                }
                FlatKey::Slot(owner, slot_hash)
                    if !diff
                        .slots
                        .get(&owner)
                        .is_some_and(|slots| slots.contains_key(&slot_hash)) =>
                {
                    let at = key.at(number);
                    let value = recorded(view, &at)?;
                    let value = decode_u256(Column::History, &at, &value)?;
                    diff.slots.entry(owner).or_default().insert(slot_hash, value);
                }
                // A lower block changed it first, and what that one found is what counts.
                FlatKey::Account(_) | FlatKey::Slot(..) => {}
            }
        }
    }
    Ok(diff)
}

/// A record of `history` that `changes` promises.
fn recorded(view: &View, at: &[u8]) -> Result<Vec<u8>, StorageError> {
    let value = view.pinned().record(Column::History, at)?;
    value.map(|value| value.to_vec()).ok_or_else(|| bad(Column::History, at, "is missing"))
}
