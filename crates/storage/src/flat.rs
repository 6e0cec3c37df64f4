//! All accounts of one state, or all slots of one account, in the order of their hashes.
//!
//! The disk has them at the base. What the layers above the base changed, or what the history below it
//! says was different, is laid over them.

use std::{
    collections::{BTreeMap, btree_map::Range},
    iter::Peekable,
};

use primitives::{B256, U256};
use state::{Account, LayerView, StateChanges, StorageOwner};

use crate::{
    StorageError, View,
    codec::{bad, decode_account, decode_u256},
    database::Cursor,
    history,
    schema::{Column, OWNER_KEY_BYTES, owner_key, slot_key},
};

/// What differs from the base, in order; `None` is a value that is not there.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    accounts: BTreeMap<B256, Option<Account>>,
    slots: BTreeMap<StorageOwner, BTreeMap<B256, Option<U256>>>,
}

impl Overlay {
    /// What the layers of a block above the base say.
    pub(crate) fn above(layers: &LayerView) -> Self {
        let mut overlay = Self::default();
        // Newest first: what is already there counts.
        for layer in layers.layers() {
            for (hash, account) in &layer.changes.accounts {
                overlay.accounts.entry(*hash).or_insert(*account);
            }
            for (owner, slots) in &layer.changes.slots {
                let over = overlay.slots.entry(*owner).or_default();
                for (slot, value) in slots {
                    over.entry(*slot).or_insert(present(*value));
                }
            }
        }
        overlay
    }

    /// What the history of a canonical block below the base says.
    pub(crate) fn below(view: &View, number: u64) -> Result<Self, StorageError> {
        let StateChanges { accounts, slots, .. } = history::diff(view, view.base().number, number)?;
        let slots = slots.into_iter().map(|(owner, slots)| {
            (owner, slots.into_iter().map(|(slot, value)| (slot, present(value))).collect())
        });
        Ok(Self { accounts: accounts.into_iter().collect(), slots: slots.collect() })
    }
}

fn present(value: U256) -> Option<U256> {
    (!value.is_zero()).then_some(value)
}

/// Decodes a record; `None` is as good as no record.
type Decode<V> = fn(Column, &[u8], &[u8]) -> Result<Option<V>, StorageError>;

/// Walks flat values. After an error it ends.
pub(crate) struct Flat<'a, V> {
    column: Column,
    base: Cursor<'a>,
    over: Peekable<Range<'a, B256, Option<V>>>,
    decode: Decode<V>,
    has_ended: bool,
}

impl<'a> Flat<'a, Account> {
    /// The accounts from this hash on.
    pub(crate) fn accounts(view: &'a View, over: &'a Overlay, start: B256) -> Self {
        Self {
            column: Column::Accounts,
            base: view.pinned().cursor(Column::Accounts, start.as_slice(), None),
            over: over.accounts.range(start..).peekable(),
            decode: decode_account,
            has_ended: false,
        }
    }
}

impl<'a> Flat<'a, U256> {
    /// The slots of one life of an account from this hash on.
    pub(crate) fn slots(
        view: &'a View,
        over: &'a Overlay,
        owner: StorageOwner,
        start: B256,
    ) -> Self {
        let over = over.slots.get(&owner).map(|slots| slots.range(start..)).unwrap_or_default();
        let mut base = view.pinned().prefix(Column::Slots, &owner_key(owner));
        base.seek(&slot_key(owner, start));
        let decode: Decode<U256> =
            |column, key, value| decode_u256(column, key, value).map(present);
        Self { column: Column::Slots, base, over: over.peekable(), decode, has_ended: false }
    }
}

impl<V: Copy> Flat<'_, V> {
    fn step(&mut self) -> Result<Option<(B256, V)>, StorageError> {
        loop {
            let below = match self.base.item()? {
                None => None,
                Some((key, value)) => {
                    let hash = match self.column {
                        Column::Slots => key.get(OWNER_KEY_BYTES..),
                        _ => Some(key),
                    };
                    let hash = hash.and_then(|hash| B256::try_from(hash).ok());
                    let hash = hash.ok_or_else(|| bad(self.column, key, "has a bad key"))?;
                    Some((hash, (self.decode)(self.column, key, value)?))
                }
            };
            let above = self.over.peek().map(|(hash, value)| (**hash, **value));
            let (hash, value) = match (below, above) {
                (None, None) => return Ok(None),
                (Some(below), None) => {
                    self.base.advance();
                    below
                }
                (None, Some(above)) => {
                    self.over.next();
                    above
                }
                (Some(below), Some(above)) => {
                    if below.0 <= above.0 {
                        self.base.advance();
                    }
                    if above.0 <= below.0 {
                        self.over.next();
                    }
                    if below.0 < above.0 { below } else { above }
                }
            };
            if let Some(value) = value {
                return Ok(Some((hash, value)));
            }
        }
    }
}

impl<V: Copy> Iterator for Flat<'_, V> {
    type Item = Result<(B256, V), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let next = self.step().transpose();
        self.has_ended = !matches!(next, Some(Ok(_)));
        next
    }
}
