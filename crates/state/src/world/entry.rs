use alloy_rlp::Encodable;
use alloy_trie::Nibbles;
use primitives::{
    Address, B256, EMPTY_ROOT_HASH, U256, keccak256,
    map::{HashMap, hash_map::Entry as MapEntry},
};

use super::take::Taken;
use crate::{
    Account, ReadError, StateChanges, StateReader, StorageOwner,
    trie::{Source, Trie},
};

/// What a world knows about one address.
#[derive(Debug)]
pub(super) struct Entry {
    /// Keccak of the address.
    pub(super) hash: B256,
    pub(super) current: Option<Account>,
    /// The account at the last take.
    taken: Option<Account>,
    /// The slots of the current life that were read or written.
    slots: HashMap<U256, Slot>,
    unhashed_slots: Vec<U256>,
    untaken_slots: Vec<U256>,
    /// Whether the reader may have slots of the current life.
    reader_has_slots: bool,
    /// Whether it changed since the last root.
    pub(super) unhashed: bool,
    /// Whether it changed since the last take.
    pub(super) untaken: bool,
}

#[derive(Debug)]
struct Slot {
    /// Keccak of the slot.
    hash: B256,
    value: U256,
    /// The value in the trie, which is that of the last root.
    hashed: U256,
    /// The value at the last take.
    taken: U256,
    unhashed: bool,
    untaken: bool,
}

impl Entry {
    /// An account as the reader has it.
    pub(super) fn read(hash: B256, account: Option<Account>) -> Self {
        let reader_has_slots =
            account.is_some_and(|account| account.storage_root != EMPTY_ROOT_HASH);
        Self {
            hash,
            current: account,
            taken: account,
            slots: HashMap::default(),
            unhashed_slots: Vec::new(),
            untaken_slots: Vec::new(),
            reader_has_slots,
            unhashed: false,
            untaken: false,
        }
    }

    /// The account, which begins a new life if it is absent.
    pub(super) fn account_or_new(&mut self, block: u64) -> &mut Account {
        let incarnation = self.next_incarnation(block);
        self.current.get_or_insert(Account::new(incarnation))
    }

    /// What a life that begins in this block is called: the number of the block. A life that began
    /// in this very block and was taken already has slots under that name; the next one is then
    /// called one more.
    pub(super) fn next_incarnation(&self, block: u64) -> u64 {
        self.taken.map_or(block, |taken| block.max(taken.incarnation + 1))
    }

    /// Ends a life: the account becomes this one, without slots.
    pub(super) fn clear(&mut self, account: Option<Account>) {
        self.current = account;
        self.slots.clear();
        self.unhashed_slots.clear();
        self.untaken_slots.clear();
        self.reader_has_slots = false;
    }

    pub(super) fn slot<R: StateReader>(
        &mut self,
        key: U256,
        reader: &R,
    ) -> Result<U256, ReadError> {
        let Some(account) = self.current else { return Ok(U256::ZERO) };
        if let Some(slot) = self.slots.get(&key) {
            return Ok(slot.value);
        }
        let source = self.reader_has_slots.then_some((account.owner(self.hash), reader));
        Ok(self.slots.entry(key).or_insert(Slot::read(key, source)?).value)
    }

    /// Whether the slot changed. The account must be there.
    pub(super) fn set_slot<R: StateReader>(
        &mut self,
        key: U256,
        value: U256,
        reader: &R,
    ) -> Result<bool, ReadError> {
        let account = self.current.expect("slots belong to an account");
        let slot = match self.slots.entry(key) {
            MapEntry::Occupied(known) => known.into_mut(),
            MapEntry::Vacant(place) => {
                let source = self.reader_has_slots.then_some((account.owner(self.hash), reader));
                place.insert(Slot::read(key, source)?)
            }
        };
        if slot.value == value {
            return Ok(false);
        }
        slot.value = value;
        if !slot.unhashed {
            slot.unhashed = true;
            self.unhashed_slots.push(key);
        }
        if !slot.untaken {
            slot.untaken = true;
            self.untaken_slots.push(key);
        }
        Ok(true)
    }

    pub(super) fn known_slots(&self) -> Vec<(U256, U256)> {
        self.slots.iter().map(|(key, slot)| (*key, slot.value)).collect()
    }

    pub(super) fn has_unhashed_slots(&self) -> bool {
        !self.unhashed_slots.is_empty()
    }

    /// Brings the storage trie up to date, and the account's storage root with it.
    pub(super) fn hash_slots<R: StateReader>(
        &mut self,
        trie: &mut Trie,
        source: Source<'_, R>,
    ) -> Result<(), ReadError> {
        let mut rlp = Vec::with_capacity(33);
        for key in self.unhashed_slots.drain(..) {
            let slot = self.slots.get_mut(&key).expect("a touched slot is known");
            slot.unhashed = false;
            if slot.value == slot.hashed {
                continue;
            }
            slot.hashed = slot.value;
            rlp.clear();
            if !slot.value.is_zero() {
                slot.value.encode(&mut rlp);
            }
            trie.set(source, Nibbles::unpack_array(&slot.hash), &rlp)?;
        }
        self.current.as_mut().expect("slots belong to an account").storage_root = trie.root();
        Ok(())
    }

    /// Adds what changed since the last take. If slots did, says whose.
    pub(super) fn take(
        &mut self,
        address: Address,
        changes: &mut StateChanges,
        taken: &mut Taken,
    ) -> Option<StorageOwner> {
        self.untaken = false;
        if self.current != self.taken {
            changes.accounts.insert(self.hash, self.current);
            if self.taken.is_none() {
                taken.preimage(self.hash, address.as_slice());
            }
            self.taken = self.current;
        }
        let owner = self.current?.owner(self.hash);
        if self.untaken_slots.is_empty() {
            return None;
        }
        let mut slots = HashMap::default();
        for key in self.untaken_slots.drain(..) {
            let slot = self.slots.get_mut(&key).expect("a touched slot is known");
            slot.untaken = false;
            if slot.value == slot.taken {
                continue;
            }
            if slot.taken.is_zero() {
                taken.preimage(slot.hash, &key.to_be_bytes::<32>());
            }
            slot.taken = slot.value;
            slots.insert(slot.hash, slot.value);
        }
        if !slots.is_empty() {
            changes.slots.insert(owner, slots);
        }
        Some(owner)
    }
}

impl Slot {
    /// A slot as the reader has it, or zero without one.
    fn read<R: StateReader>(
        key: U256,
        source: Option<(StorageOwner, &R)>,
    ) -> Result<Self, ReadError> {
        let hash = keccak256(key.to_be_bytes::<32>());
        let value = match source {
            Some((owner, reader)) => reader.slot(owner, hash)?,
            None => U256::ZERO,
        };
        Ok(Self { hash, value, hashed: value, taken: value, unhashed: false, untaken: false })
    }
}
