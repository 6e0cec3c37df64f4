mod entry;
mod take;
mod unwind;

use alloy_rlp::{Encodable, Header};
use alloy_trie::Nibbles;
use primitives::{
    Address, B256, Bytes, EMPTY_ROOT_HASH, KECCAK256_EMPTY, U256, keccak256,
    map::{AddressMap, B256Map, HashMap, hash_map::Entry as MapEntry},
};

use crate::{
    Account, ReadError, StateChanges, StateReader, StorageOwner,
    trie::{Source, Trie},
};
use entry::Entry;
use take::Taken;
pub use unwind::unwind;

/// Nodes of the account trie that stay in memory from block to block, about 50 MB.
const ACCOUNT_NODES_CACHED_MAX: usize = 131_072;

/// Nodes of all storage tries that stay in memory from block to block.
const SLOT_NODES_CACHED_MAX: usize = 131_072;

/// Bytes of code that stay in memory from block to block.
const CODE_BYTES_CACHED_MAX: usize = 16 * 1024 * 1024;

/// Length of the RLP of an account whose every field is as long as it can be.
const ACCOUNT_RLP_BYTES_MAX: usize = 2 + 9 + 33 + 33 + 33;

/// One state of the world that can be read, changed and hashed.
///
/// Everything read stays in memory until [`Self::rebase`], so a world can run through many blocks.
/// After a [`ReadError`] it is not usable any more.
#[derive(Debug)]
pub struct WorldState<R> {
    reader: R,
    /// Number of the block that is being executed.
    block: u64,
    accounts: AddressMap<Entry>,
    /// Accounts that changed since the last root.
    unhashed: Vec<Address>,
    /// Accounts that changed since the last take.
    untaken: Vec<Address>,
    trie: Trie,
    slot_tries: HashMap<StorageOwner, SlotTrie>,
    codes: B256Map<Bytes>,
    code_bytes: usize,
    untaken_codes: Vec<B256>,
    /// How often the reader was exchanged.
    rebased: u64,
    /// Bytes of the last take: about what the next one will need.
    taken_bytes: usize,
}

#[derive(Debug)]
struct SlotTrie {
    trie: Trie,
    /// The value of `rebased` when it was last needed.
    used: u64,
}

/// An account, and the way to it from the state root (EIP-1186).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountProof {
    /// Whose account.
    pub address: Address,
    /// The account; `None` if the proof is of its absence.
    pub account: Option<Account>,
    /// RLP of the nodes from the state root towards the account.
    pub proof: Vec<Bytes>,
    /// Its slots, in the order they were asked for.
    pub slots: Vec<SlotProof>,
}

/// A slot, and the way to it from the account's storage root (EIP-1186).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotProof {
    /// Which slot.
    pub slot: B256,
    /// Its value, zero if it is not there.
    pub value: U256,
    /// RLP of the nodes from the storage root towards the slot; none if there is no storage.
    pub proof: Vec<Bytes>,
}

impl<R: StateReader> WorldState<R> {
    /// The state with this root, as the reader has it, before the block of this number.
    pub fn at(root: B256, reader: R, block: u64) -> Self {
        Self {
            reader,
            block,
            accounts: AddressMap::default(),
            unhashed: Vec::new(),
            untaken: Vec::new(),
            trie: Trie::at(root),
            slot_tries: HashMap::default(),
            codes: B256Map::default(),
            code_bytes: 0,
            untaken_codes: Vec::new(),
            rebased: 0,
            taken_bytes: 0,
        }
    }

    /// Says that what follows happens in the block of this number: accounts that come to life from
    /// now on get it as their incarnation. So an account that is gone when changes are taken can
    /// come back under another number only.
    pub const fn begin_block(&mut self, number: u64) {
        self.block = number;
    }

    /// The reader below everything that changed.
    pub const fn reader(&self) -> &R {
        &self.reader
    }

    /// An account as it is now. Its storage root is that of the last call of [`Self::root`].
    ///
    /// # Errors
    ///
    /// When the reader fails.
    pub fn account(&mut self, address: Address) -> Result<Option<Account>, ReadError> {
        Ok(self.entry(address)?.current)
    }

    /// The value of a slot, zero if there is none.
    ///
    /// # Errors
    ///
    /// When the reader fails.
    pub fn storage(&mut self, address: Address, slot: U256) -> Result<U256, ReadError> {
        let (entry, reader) = self.entry_and_reader(address)?;
        entry.slot(slot, reader)
    }

    /// The accounts that were changed since the world began or since the last take.
    #[must_use]
    pub fn changed_accounts(&self) -> &[Address] {
        &self.untaken
    }

    /// The slots of an account that were read or written since the world began, with their values.
    #[must_use]
    pub fn known_slots(&self, address: Address) -> Vec<(U256, U256)> {
        self.accounts.get(&address).map(Entry::known_slots).unwrap_or_default()
    }

    /// The code behind a hash, empty for the hash of nothing.
    ///
    /// # Errors
    ///
    /// When the reader fails, and [`ReadError::MissingCode`].
    pub fn code(&mut self, code_hash: B256) -> Result<Bytes, ReadError> {
        if code_hash == KECCAK256_EMPTY {
            return Ok(Bytes::new());
        }
        match self.codes.entry(code_hash) {
            MapEntry::Occupied(known) => Ok(known.get().clone()),
            MapEntry::Vacant(place) => {
                let code = self.reader.code(code_hash)?.ok_or(ReadError::MissingCode(code_hash))?;
                self.code_bytes += code.len();
                Ok(place.insert(code).clone())
            }
        }
    }

    /// Sets everything of an account but its slots, and creates it if it is absent, even if it is
    /// then empty. Balance in wei.
    ///
    /// # Errors
    ///
    /// When the reader fails.
    pub fn set_account(
        &mut self,
        address: Address,
        nonce: u64,
        balance: U256,
        code_hash: B256,
    ) -> Result<(), ReadError> {
        let block = self.block;
        let entry = self.entry(address)?;
        if let Some(old) = &entry.current
            && (old.nonce, old.balance, old.code_hash) == (nonce, balance, code_hash)
        {
            return Ok(());
        }
        let account = entry.account_or_new(block);
        (account.nonce, account.balance, account.code_hash) = (nonce, balance, code_hash);
        self.touch(address);
        Ok(())
    }

    /// Adds code, so that accounts can have it.
    pub fn set_code(&mut self, code_hash: B256, code: Bytes) {
        if code_hash != KECCAK256_EMPTY
            && let MapEntry::Vacant(place) = self.codes.entry(code_hash)
        {
            self.code_bytes += code.len();
            place.insert(code);
            self.untaken_codes.push(code_hash);
        }
    }

    /// Sets a slot; zero removes it. Creates the account if it is absent.
    ///
    /// # Errors
    ///
    /// When the reader fails.
    pub fn set_storage(
        &mut self,
        address: Address,
        slot: U256,
        value: U256,
    ) -> Result<(), ReadError> {
        let block = self.block;
        let (entry, reader) = self.entry_and_reader(address)?;
        entry.account_or_new(block);
        if entry.set_slot(slot, value, reader)? {
            self.touch(address);
        }
        Ok(())
    }

    /// Begins a new life of an account, without slots: a contract is created at its address. Does
    /// nothing if the account is absent; it begins without slots anyway.
    ///
    /// # Errors
    ///
    /// When the reader fails.
    pub fn reset_storage(&mut self, address: Address) -> Result<(), ReadError> {
        let block = self.block;
        let entry = self.entry(address)?;
        let Some(old) = entry.current else { return Ok(()) };
        let incarnation = entry.next_incarnation(block);
        entry.clear(Some(Account { incarnation, storage_root: EMPTY_ROOT_HASH, ..old }));
        let owner = old.owner(entry.hash);
        self.slot_tries.remove(&owner);
        self.touch(address);
        Ok(())
    }

    /// Removes an account and all of its slots.
    ///
    /// # Errors
    ///
    /// When the reader fails.
    pub fn destroy(&mut self, address: Address) -> Result<(), ReadError> {
        let entry = self.entry(address)?;
        let Some(old) = entry.current else { return Ok(()) };
        entry.clear(None);
        let owner = old.owner(entry.hash);
        self.slot_tries.remove(&owner);
        self.touch(address);
        Ok(())
    }

    /// Adds to a balance, in wei, and creates the account if it is absent, even for nothing.
    ///
    /// # Errors
    ///
    /// When the reader fails.
    ///
    /// # Panics
    ///
    /// If the balance exceeds 256 bits: there is not that much ether.
    pub fn add_balance(&mut self, address: Address, amount: U256) -> Result<(), ReadError> {
        let Account { nonce, balance, code_hash, .. } =
            self.account(address)?.unwrap_or(Account::new(self.block));
        let balance = balance.checked_add(amount).expect("all ether fits 256 bits");
        self.set_account(address, nonce, balance, code_hash)
    }

    /// The root after all changes so far. Cheap to call again: only what changed is hashed.
    ///
    /// # Errors
    ///
    /// When the reader fails, or a node of the trie is not there or not what it should be.
    pub fn root(&mut self) -> Result<B256, ReadError> {
        let source = Source { reader: &self.reader, owner: None };
        let mut rlp = Vec::with_capacity(ACCOUNT_RLP_BYTES_MAX);
        for address in self.unhashed.drain(..) {
            let entry = self.accounts.get_mut(&address).expect("a touched account is known");
            entry.unhashed = false;
            rlp.clear();
            if let Some(account) = &entry.current {
                let owner = account.owner(entry.hash);
                if entry.has_unhashed_slots() {
                    let opened = SlotTrie { trie: Trie::at(account.storage_root), used: 0 };
                    let slot_trie = self.slot_tries.entry(owner).or_insert(opened);
                    slot_trie.used = self.rebased;
                    let source = Source { reader: &self.reader, owner: Some(owner) };
                    entry.hash_slots(&mut slot_trie.trie, source)?;
                }
                let account = entry.current.as_ref().expect("hashing slots removes no account");
                encode_account(account, &mut rlp);
            }
            self.trie.set(source, Nibbles::unpack_array(&entry.hash), &rlp)?;
        }
        Ok(self.trie.root())
    }

    /// What really changed since the world began or since the last take, in order that it becomes a
    /// layer. The world lives on. A life that began and ended in between leaves nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::root`].
    pub fn take_changes(&mut self) -> Result<StateChanges, ReadError> {
        self.root()?;
        let mut changes = StateChanges::default();
        let mut taken = Taken::with_capacity(self.taken_bytes);
        changes.accounts.reserve(self.untaken.len());
        for address in self.untaken.drain(..) {
            let entry = self.accounts.get_mut(&address).expect("a touched account is known");
            if let Some(owner) = entry.take(address, &mut changes, &mut taken)
                && let Some(slot_trie) = self.slot_tries.get_mut(&owner)
            {
                taken.nodes_of(Some(owner), &mut slot_trie.trie);
            }
        }
        taken.nodes_of(None, &mut self.trie);
        for hash in self.untaken_codes.drain(..) {
            let code = self.codes.get(&hash).expect("new code stays until it is taken");
            changes.codes.insert(hash, code.clone());
        }
        self.taken_bytes = taken.finish(&mut changes);
        Ok(changes)
    }

    /// Exchanges the reader for one that has everything that was taken. Forgets values that were
    /// read or taken, and keeps a bounded number of trie nodes.
    pub fn rebase(&mut self, reader: R) {
        self.reader = reader;
        self.rebased += 1;
        if self.untaken.is_empty() {
            self.accounts = AddressMap::default();
        } else {
            self.accounts.retain(|_, entry| entry.untaken);
        }
        if self.code_bytes > CODE_BYTES_CACHED_MAX {
            self.codes.retain(|hash, _| self.untaken_codes.contains(hash));
            self.code_bytes = self.codes.values().map(|code| code.len()).sum();
        }
        self.trie.settle(ACCOUNT_NODES_CACHED_MAX);
        for slot_trie in self.slot_tries.values_mut() {
            slot_trie.trie.settle(SLOT_NODES_CACHED_MAX);
        }
        if self.untaken.is_empty() {
            self.drop_slot_tries();
        }
    }

    /// The way to an account, and to slots of it, from the root after all changes so far.
    ///
    /// # Errors
    ///
    /// As [`Self::root`].
    pub fn prove(&mut self, address: Address, slots: &[B256]) -> Result<AccountProof, ReadError> {
        self.root()?;
        let account = self.account(address)?;
        let source = Source { reader: &self.reader, owner: None };
        let proof = self.trie.prove(source, &Nibbles::unpack_array(&keccak256(address)))?;
        let mut slot_proofs = Vec::with_capacity(slots.len());
        for slot in slots {
            let value = self.storage(address, U256::from_be_bytes(slot.0))?;
            let proof = match account {
                None => Vec::new(),
                Some(account) => self.prove_slot(account, address, *slot)?,
            };
            slot_proofs.push(SlotProof { slot: *slot, value, proof });
        }
        Ok(AccountProof { address, account, proof, slots: slot_proofs })
    }

    fn prove_slot(
        &mut self,
        account: Account,
        address: Address,
        slot: B256,
    ) -> Result<Vec<Bytes>, ReadError> {
        let owner = account.owner(self.entry(address)?.hash);
        let opened = SlotTrie { trie: Trie::at(account.storage_root), used: self.rebased };
        let slot_trie = self.slot_tries.entry(owner).or_insert(opened);
        let source = Source { reader: &self.reader, owner: Some(owner) };
        slot_trie.trie.prove(source, &Nibbles::unpack_array(&keccak256(slot)))
    }

    fn entry(&mut self, address: Address) -> Result<&mut Entry, ReadError> {
        Ok(self.entry_and_reader(address)?.0)
    }

    fn entry_and_reader(&mut self, address: Address) -> Result<(&mut Entry, &R), ReadError> {
        let entry = match self.accounts.entry(address) {
            MapEntry::Occupied(known) => known.into_mut(),
            MapEntry::Vacant(place) => {
                let hash = keccak256(address);
                place.insert(Entry::read(hash, self.reader.account(hash)?))
            }
        };
        Ok((entry, &self.reader))
    }

    /// Notes that an account, or a slot of it, changed.
    fn touch(&mut self, address: Address) {
        let entry = self.accounts.get_mut(&address).expect("a touched account is known");
        if !entry.unhashed {
            entry.unhashed = true;
            self.unhashed.push(address);
        }
        if !entry.untaken {
            entry.untaken = true;
            self.untaken.push(address);
        }
    }

    /// Drops the storage tries that were not needed for longest, if there are too many nodes.
    fn drop_slot_tries(&mut self) {
        let size = |slot_trie: &SlotTrie| slot_trie.trie.loaded() + 1;
        let mut nodes: usize = self.slot_tries.values().map(size).sum();
        if nodes <= SLOT_NODES_CACHED_MAX {
            return;
        }
        let mut oldest: Vec<_> =
            self.slot_tries.iter().map(|(o, t)| (t.used, size(t), *o)).collect();
        oldest.sort_unstable();
        for (_, size, owner) in oldest {
            if nodes <= SLOT_NODES_CACHED_MAX / 2 {
                break;
            }
            nodes -= size;
            self.slot_tries.remove(&owner);
        }
    }
}

/// The account as the trie has it (Yellow Paper §4.1).
fn encode_account(account: &Account, out: &mut Vec<u8>) {
    let Account { nonce, balance, storage_root, code_hash, incarnation: _ } = account;
    let payload_length = nonce.length() + balance.length() + 2 * 33;
    Header { list: true, payload_length }.encode(out);
    nonce.encode(out);
    balance.encode(out);
    storage_root.encode(out);
    code_hash.encode(out);
}

#[cfg(test)]
mod tests;
