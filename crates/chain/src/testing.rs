//! Grows chains in memory without proof of work. Tests only.

use std::sync::Arc;

use alloy_consensus::{SignableTransaction, TxLegacy};
use consensus::{Engine, VerifiedBlock, prepare};
use evm::BlockExecutor;
use primitives::{
    Address, B256, Block, BlockBody, Bytes, ChainSpec, Genesis, GenesisAccount, Header,
    SealedBlock, SealedHeader, Signature, SignerRecoverable, Transaction, TxKind, U256, address,
    keccak256, ommers_hash, receipts_root, transactions_root,
};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};
use storage::StorageConfig;

use crate::{
    ChainConfig, ChainEvent, ChainHandle, ImportError, Imported, Importer, Origin, begin_block,
    finish_block,
    handle::{Publisher, threadless},
};

/// Who gets the rewards unless a test says otherwise.
pub const BENEFICIARY: Address = address!("0x00000000000000000000000000000000000000bb");

/// An account with a fixed key, funded by [`spec`].
#[derive(Debug, Clone, Copy)]
pub struct TestAccount(SecretKey);

impl TestAccount {
    /// One of the accounts that [`spec`] funds: 0, 1 or 2; [`spec_of`] funds others too.
    #[must_use]
    pub fn new(index: u8) -> Self {
        let mut key = [0x11; 32];
        key[31] = index + 1;
        Self(SecretKey::from_byte_array(&key).expect("the key is in range"))
    }

    /// The account's secret key.
    #[must_use]
    pub fn secret(&self) -> [u8; 32] {
        self.0.secret_bytes()
    }

    /// The account's address.
    #[must_use]
    pub fn address(&self) -> Address {
        let public = PublicKey::from_secret_key(SECP256K1, &self.0).serialize_uncompressed();
        Address::from_slice(&keccak256(&public[1..])[12..])
    }

    /// Signs any transaction.
    #[must_use]
    pub fn sign<T: SignableTransaction<Signature>>(&self, tx: T) -> Transaction
    where
        Transaction: From<alloy_consensus::Signed<T>>,
    {
        let message = Message::from_digest(tx.signature_hash().0);
        let signature = SECP256K1.sign_ecdsa_recoverable(&message, &self.0);
        let (recovery, bytes) = signature.serialize_compact();
        let odd = i32::from(recovery) & 1 == 1;
        tx.into_signed(Signature::from_bytes_and_parity(&bytes, odd)).into()
    }

    /// A plain transfer for 1 gwei of gas price.
    #[must_use]
    pub fn transfer(&self, chain_id: u64, nonce: u64, to: Address, value: U256) -> Transaction {
        self.sign(TxLegacy {
            chain_id: Some(chain_id),
            nonce,
            gas_price: 1_000_000_000,
            gas_limit: 21_000,
            to: TxKind::Call(to),
            value,
            input: Bytes::new(),
        })
    }

    /// A creation with this init code, for 1 gwei of gas price and a million gas.
    #[must_use]
    pub fn create(&self, chain_id: u64, nonce: u64, init_code: Bytes) -> Transaction {
        self.sign(TxLegacy {
            chain_id: Some(chain_id),
            nonce,
            gas_price: 1_000_000_000,
            gas_limit: 1_000_000,
            to: TxKind::Create,
            value: U256::ZERO,
            input: init_code,
        })
    }
}

/// A chain like the book's (rules of Spurious Dragon for ever), or with other forks, that funds the
/// three [`TestAccount`]s with 1 000 ether each.
#[must_use]
pub fn spec(forks: primitives::Forks) -> ChainSpec {
    spec_of(forks, 3)
}

/// The same, with so many [`TestAccount`]s.
#[must_use]
pub fn spec_of(forks: primitives::Forks, accounts: u8) -> ChainSpec {
    let mut genesis =
        Genesis { gas_limit: 8_000_000, difficulty: U256::from(131_072), ..Genesis::default() };
    for index in 0..accounts {
        let balance = U256::from(1_000) * U256::from(10).pow(U256::from(18));
        let account = GenesisAccount { balance, ..GenesisAccount::default() };
        genesis.alloc.insert(TestAccount::new(index).address(), account);
    }
    let config = serde_json::json!({ "chainId": 1_337 });
    ChainSpec::new(config, forks, 1_337, genesis)
}

/// The forks of the book's chain.
#[must_use]
pub fn book_forks() -> primitives::Forks {
    primitives::Forks {
        homestead: Some(0),
        eip150: Some(0),
        eip155: Some(0),
        eip158: Some(0),
        ..primitives::Forks::default()
    }
}

/// What a test may choose about a block.
#[derive(Debug, Clone)]
pub struct BlockOptions {
    /// Seconds after the parent.
    pub seconds: u64,
    /// Who gets the reward.
    pub beneficiary: Address,
    /// Ommers to include.
    pub ommers: Vec<Header>,
    /// Extra data, to tell siblings apart.
    pub extra_data: Bytes,
}

impl Default for BlockOptions {
    fn default() -> Self {
        Self { seconds: 13, beneficiary: BENEFICIARY, ommers: Vec::new(), extra_data: Bytes::new() }
    }
}

/// Grows chains on an importer whose seals are not checked.
#[derive(Debug)]
pub struct ChainBuilder {
    /// The chain that grows.
    pub importer: Importer,
}

impl ChainBuilder {
    /// A chain in memory.
    ///
    /// # Panics
    ///
    /// When the database cannot be opened.
    #[must_use]
    pub fn new(spec: ChainSpec) -> Self {
        Self::open(StorageConfig::memory(), spec)
    }

    /// A chain somewhere.
    ///
    /// # Panics
    ///
    /// When the database cannot be opened.
    #[must_use]
    pub fn open(storage: StorageConfig, spec: ChainSpec) -> Self {
        let importer =
            Importer::open(ChainConfig { storage, spec: Some(spec) }).expect("chain opens");
        Self { importer }
    }

    /// A block on any executed block above the base, with everything but the seal right.
    ///
    /// # Panics
    ///
    /// When the parent is unknown or a transaction cannot be executed.
    #[must_use]
    pub fn block_on(
        &self,
        parent: B256,
        transactions: Vec<Transaction>,
        options: BlockOptions,
    ) -> SealedBlock {
        let view = self.importer.view();
        let parent: SealedHeader = view.db.header(parent).expect("reads").expect("parent is here");
        let timestamp = parent.timestamp + options.seconds;
        let spec: Arc<ChainSpec> = view.spec.clone();
        let mut header =
            prepare(&spec, &parent, timestamp, options.beneficiary, options.extra_data, 8_000_000);
        let mut world = view.world_at(&parent).expect("parent has a state");
        let from = parent.num_hash();
        let lookup = |number| view.ancestor_hash(from, number);
        begin_block(&spec, &header, &mut world).expect("reads");
        let mut executor = BlockExecutor::new(&spec, &header, &mut world, &lookup);
        for tx in &transactions {
            let sender = tx.recover_signer().expect("signature is right");
            executor.execute(tx, sender).expect("transaction executes");
        }
        let executed = executor.finish();
        header.state_root =
            finish_block(&spec, &header, &options.ommers, &mut world).expect("reads");
        header.gas_used = executed.gas_used;
        header.logs_bloom = executed.bloom;
        header.receipts_root = receipts_root(&executed.receipts);
        header.transactions_root = transactions_root(&transactions);
        header.ommers_hash = ommers_hash(&options.ommers);
        let body = BlockBody { transactions, ommers: options.ommers, withdrawals: None };
        SealedBlock::seal_slow(Block { header, body })
    }

    /// Verifies a block without its seal.
    ///
    /// # Panics
    ///
    /// When it breaks a rule that needs no other block.
    #[must_use]
    pub fn verify(&self, block: SealedBlock) -> VerifiedBlock {
        Engine::Instant.verify(&self.importer.spec(), block).expect("block holds on its own")
    }

    /// Imports a block.
    ///
    /// # Errors
    ///
    /// As [`Importer::import`].
    pub fn import(&mut self, block: SealedBlock) -> Result<Imported, ImportError> {
        let now = block.header().timestamp;
        self.importer.import(self.verify(block), Origin::Other, now)
    }

    /// Builds a block on the head and imports it.
    ///
    /// # Panics
    ///
    /// When it does not become the head.
    pub fn extend(&mut self, transactions: Vec<Transaction>) -> SealedBlock {
        let head = self.importer.view().head.hash();
        let block = self.block_on(head, transactions, BlockOptions::default());
        assert_eq!(self.import(block.clone()).expect("block imports"), Imported::Head);
        block
    }
}

/// A chain with a handle and without a thread: whoever owns it imports, and decides when others see
/// what changed.
#[derive(Debug)]
pub struct SteppedChain {
    /// The chain.
    pub builder: ChainBuilder,
    handle: ChainHandle,
    publisher: Publisher,
}

impl SteppedChain {
    /// A chain in memory.
    ///
    /// # Panics
    ///
    /// When the database cannot be opened.
    #[must_use]
    pub fn new(spec: ChainSpec) -> Self {
        let builder = ChainBuilder::new(spec);
        let (handle, publisher) = threadless(builder.importer.view());
        Self { builder, handle, publisher }
    }

    /// The chain as others see it. It imports nothing.
    #[must_use]
    pub fn handle(&self) -> ChainHandle {
        self.handle.clone()
    }

    /// Lets others see what changed since the last call, and returns it, in order.
    pub fn publish(&mut self) -> Vec<ChainEvent> {
        let events = self.builder.importer.take_events();
        self.publisher.publish(events.clone());
        events
    }
}
