use primitives::{Address, B256, U256, map::HashMap};
use revm::{
    bytecode::Bytecode,
    database_interface::{DBErrorMarker, Database},
    state::AccountInfo,
};
use state::{ReadError, StateReader, WorldState};

use crate::{code, interrupt::Watch};

/// The hash of the ancestor with a number, by walking parents; asked for the 256 newest only.
pub type BlockHashes<'a> = &'a dyn Fn(u64) -> Result<Option<B256>, ReadError>;

/// A failed read on its way through revm.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct DatabaseError(#[from] pub(crate) ReadError);

impl DBErrorMarker for DatabaseError {}

/// The state as revm asks for it. It asks once per transaction for each account and slot, and
/// writes nothing.
pub(crate) struct WorldDatabase<'a, R> {
    pub(crate) world: &'a mut WorldState<R>,
    ancestors: BlockHashes<'a>,
    /// A contract may ask for the same hashes thousands of times, and each is a walk.
    known_hashes: HashMap<u64, B256>,
    pub(crate) watch: Watch<'a>,
}

impl<'a, R: StateReader> WorldDatabase<'a, R> {
    pub(crate) fn new(world: &'a mut WorldState<R>, ancestors: BlockHashes<'a>) -> Self {
        Self { world, ancestors, known_hashes: HashMap::default(), watch: Watch::none() }
    }
}

impl<R: StateReader> Database for WorldDatabase<'_, R> {
    type Error = DatabaseError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, DatabaseError> {
        self.watch.ask()?;
        let account = self.world.account(address)?;
        Ok(account.map(|account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code: None,
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, DatabaseError> {
        if let Some(code) = code::analysed(&code_hash) {
            return Ok(code);
        }
        // Not `new_raw`, which would read a delegation (EIP-7702) into old code that begins like one.
        let code = Bytecode::new_legacy(self.world.code(code_hash)?);
        code::keep(code_hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, DatabaseError> {
        self.watch.ask()?;
        Ok(self.world.storage(address, slot)?)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, DatabaseError> {
        if let Some(hash) = self.known_hashes.get(&number) {
            return Ok(*hash);
        }
        let hash = (self.ancestors)(number)?.unwrap_or_default();
        self.known_hashes.insert(number, hash);
        Ok(hash)
    }
}
