use std::fmt;

use primitives::{
    Address, B256, Bloom, ChainSpec, Hardfork, Header, Receipt, Transaction, Typed2718, logs_bloom,
};
use state::{ReadError, StateReader, WorldState};

use crate::{
    BlockHashes, ExecutionError, InvalidTransaction,
    commit::commit,
    env::{Machine, Rules, machine},
    interrupt::{Interrupt, watch},
    message::Message,
    trace::{self, Trace, TraceConfig, TraceError, Tracer},
    transact::{End, transact},
};

/// Executes the transactions of one block, in order, on the state of its parent.
///
/// Block rewards and irregular state changes are not its business: they happen before and after.
pub struct BlockExecutor<'a, R: StateReader> {
    machine: Machine<'a, R>,
    rules: Rules,
    gas_limit: u64,
    gas_used: u64,
    receipts: Vec<Receipt>,
    /// Whether receipts carry state roots, where the rules say so.
    puts_roots: bool,
    /// The read that failed. The state may be half changed since then.
    poison: Option<ReadError>,
}

/// What the transactions of a block left behind, beside the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// One for each transaction, in order.
    pub receipts: Vec<Receipt>,
    /// Gas used by all of them.
    pub gas_used: u64,
    /// The bloom filter of all their logs.
    pub bloom: Bloom,
}

impl<'a, R: StateReader> BlockExecutor<'a, R> {
    /// An executor for the block with this header, of which number, beneficiary, time, difficulty,
    /// gas limit and base fee are looked at.
    pub fn new(
        spec: &ChainSpec,
        header: &Header,
        world: &'a mut WorldState<R>,
        ancestors: BlockHashes<'a>,
    ) -> Self {
        let rules = Rules::new(spec, header);
        Self {
            machine: machine(&rules, header, world, ancestors),
            rules,
            gas_limit: header.gas_limit,
            gas_used: 0,
            receipts: Vec::new(),
            puts_roots: true,
            poison: None,
        }
    }

    /// Executes the next transaction and returns its receipt.
    ///
    /// # Errors
    ///
    /// [`ExecutionError::Invalid`] if it may not stand here: nothing has changed, and another one
    /// may be tried. [`ExecutionError::Read`] if the state cannot be read: the executor and its
    /// state are of no use any more, and every further call says so.
    pub fn execute(
        &mut self,
        tx: &Transaction,
        sender: Address,
    ) -> Result<&Receipt, ExecutionError> {
        if let Some(error) = &self.poison {
            return Err(error.clone().into());
        }
        let executed = self.try_execute(tx, sender, None);
        self.keep(executed)?;
        Ok(self.receipts.last().expect("one was pushed a line above"))
    }

    /// As [`Self::execute`], watched by a tracer.
    ///
    /// # Errors
    ///
    /// As [`Self::execute`]; [`TraceError::Interrupted`] and [`TraceError::TooLarge`] leave the
    /// executor and its state of no use, too.
    pub fn trace(
        &mut self,
        tx: &Transaction,
        sender: Address,
        config: &TraceConfig,
    ) -> Result<Trace, TraceError> {
        if let Some(error) = &self.poison {
            return Err(error.clone().into());
        }
        let executed = self.try_execute(tx, sender, Some(config));
        let is_full = self.machine.inspector.is_full();
        self.machine.inspector = Tracer::Off;
        let trace = self.keep(executed);
        if is_full {
            return Err(TraceError::TooLarge { max: config.bytes_max });
        }
        if self.has_stopped() {
            return Err(TraceError::Interrupted);
        }
        Ok(trace?.expect("a tracer was given"))
    }

    /// For looking back at a block: asks whether to stop, and puts no state roots into receipts,
    /// so that no trie is needed.
    #[must_use]
    pub fn looking_back(mut self, interrupt: Interrupt<'a>) -> Self {
        watch(&mut self.machine, interrupt);
        self.puts_roots = false;
        self
    }

    /// Whether it was told to stop: then everything fails.
    #[must_use]
    pub const fn has_stopped(&self) -> bool {
        self.machine.ctx.journaled_state.database.watch.has_stopped()
    }

    fn keep(
        &mut self,
        executed: Result<(Receipt, Option<Trace>), ExecutionError>,
    ) -> Result<Option<Trace>, ExecutionError> {
        match executed {
            Ok((receipt, trace)) => {
                self.gas_used = receipt.cumulative_gas_used;
                self.receipts.push(receipt);
                Ok(trace)
            }
            Err(error) => {
                if let ExecutionError::Read(error) = &error {
                    self.poison = Some(error.clone());
                }
                Err(error)
            }
        }
    }

    fn try_execute(
        &mut self,
        tx: &Transaction,
        sender: Address,
        tracing: Option<&TraceConfig>,
    ) -> Result<(Receipt, Option<Trace>), ExecutionError> {
        if tx.ty() > self.tx_type_max() {
            return Err(InvalidTransaction::TypeNotSupported.into());
        }
        let message = Message::of_transaction(tx, sender);
        let gas_left = self.gas_left();
        if let Some(config) = tracing {
            self.machine.inspector = Tracer::new(config, &self.rules);
        }
        let outcome = transact(&mut self.machine, &self.rules, &message, gas_left)?;
        let trace = match tracing {
            Some(_) => Some(trace::finish(&mut self.machine, &message, &outcome)?),
            None => None,
        };
        commit(&mut self.machine, &self.rules)?;
        let puts_root = self.puts_roots && self.rules.receipts_carry_roots();
        let post_state = if puts_root { Some(self.root()?) } else { None };
        let receipt = Receipt {
            tx_type: tx.ty(),
            success: outcome.end == End::Success,
            cumulative_gas_used: self.gas_used + outcome.gas_used,
            logs: outcome.logs,
            post_state,
        };
        Ok((receipt, trace))
    }

    /// The newest type of transaction that the fork knows (EIP-2930, EIP-1559).
    fn tx_type_max(&self) -> u8 {
        if self.rules.hardfork >= Hardfork::London {
            2
        } else {
            u8::from(self.rules.hardfork >= Hardfork::Berlin)
        }
    }

    fn world(&mut self) -> &mut WorldState<R> {
        self.machine.ctx.journaled_state.database.world
    }

    /// The state root after the transactions so far.
    ///
    /// # Errors
    ///
    /// When the state cannot be read.
    pub fn root(&mut self) -> Result<B256, ReadError> {
        self.world().root()
    }

    /// Gas used so far.
    #[must_use]
    pub const fn gas_used(&self) -> u64 {
        self.gas_used
    }

    /// Gas that the next transaction's limit may be, at most.
    #[must_use]
    pub const fn gas_left(&self) -> u64 {
        self.gas_limit - self.gas_used
    }

    /// The result of the block.
    ///
    /// # Panics
    ///
    /// If a read had failed: there is no result then.
    #[must_use]
    pub fn finish(self) -> Executed {
        assert!(self.poison.is_none(), "a block whose state could not be read has no result");
        let bloom = logs_bloom(self.receipts.iter().flat_map(|receipt| &receipt.logs));
        Executed { receipts: self.receipts, gas_used: self.gas_used, bloom }
    }
}

impl<R: StateReader> fmt::Debug for BlockExecutor<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockExecutor")
            .field("rules", &self.rules)
            .field("gas_limit", &self.gas_limit)
            .field("gas_used", &self.gas_used)
            .field("receipts", &self.receipts.len())
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxLegacy};
    use primitives::{
        B256, Bytes, EMPTY_ROOT_HASH, KECCAK256_EMPTY, Signature, TxKind, U256, keccak256,
    };
    use state::{Account, MemoryState, Nibbles, StorageOwner};

    use super::*;
    use crate::testing::{
        BENEFICIARY, CONTRACT, FUNDS, SENDER, STRANGER, header, legacy, plain, spec, world,
    };

    /// PUSH the word, PUSH1 the slot, SSTORE.
    const STORE_NUMBER_DIFFICULTY_AND_HASHES: &[u8] = &[
        0x43, 0x60, 0, 0x55, // NUMBER
        0x44, 0x60, 1, 0x55, // DIFFICULTY
        0x60, 1, 0x43, 0x03, 0x40, 0x60, 2, 0x55, // BLOCKHASH(NUMBER - 1)
        0x61, 1, 1, 0x43, 0x03, 0x40, 0x60, 3, 0x55, // BLOCKHASH(NUMBER - 257)
        0x43, 0x40, 0x60, 4, 0x55, // BLOCKHASH(NUMBER)
    ];

    fn execute(
        hardfork: Hardfork,
        world: &mut WorldState<MemoryState>,
        txs: &[TxLegacy],
    ) -> Vec<Receipt> {
        let spec = spec(hardfork);
        let hash =
            |number: u64| Ok(Some(B256::with_last_byte(u8::try_from(number % 251).unwrap())));
        let mut executor = BlockExecutor::new(&spec, &header(&spec), world, &hash);
        for tx in txs {
            executor.execute(&legacy(tx.clone()), SENDER).unwrap();
        }
        executor.finish().receipts
    }

    fn refusal(hardfork: Hardfork, tx: &Transaction) -> String {
        let (spec, mut world) = (spec(hardfork), world(&[]));
        let before = world.root().unwrap();
        let mut executor = BlockExecutor::new(&spec, &header(&spec), &mut world, &|_| Ok(None));
        let error = executor.execute(tx, SENDER).unwrap_err();
        assert!(executor.finish().receipts.is_empty());
        assert_eq!(world.root().unwrap(), before, "a refusal changes nothing");
        error.to_string()
    }

    #[test]
    fn pays_recipient_and_beneficiary_and_burns_the_base_fee() {
        for (hardfork, fee) in [(Hardfork::Berlin, 210_000), (Hardfork::London, 63_000)] {
            let mut world = world(&[]);
            let tx = TxLegacy { value: U256::from(5), ..plain(TxKind::Call(STRANGER)) };
            let receipts = execute(hardfork, &mut world, &[tx]);
            assert!(receipts[0].success);
            assert_eq!(receipts[0].cumulative_gas_used, 21_000);
            assert_eq!(receipts[0].post_state, None);
            let mut balance = |address| world.account(address).unwrap().unwrap().balance;
            assert_eq!(balance(STRANGER), U256::from(5));
            assert_eq!(balance(BENEFICIARY), U256::from(fee));
            assert_eq!(balance(SENDER), U256::from(FUNDS - 210_000 - 5));
        }
    }

    #[test]
    fn keeps_a_touched_empty_account_before_eip158_and_removes_it_after() {
        let free = TxLegacy { gas_price: 0, ..plain(TxKind::Call(STRANGER)) };
        for (hardfork, exists) in [(Hardfork::Eip150, true), (Hardfork::Eip158, false)] {
            let mut world = world(&[]);
            execute(hardfork, &mut world, std::slice::from_ref(&free));
            assert_eq!(world.account(STRANGER).unwrap().is_some(), exists, "{hardfork:?}");
            assert_eq!(world.account(BENEFICIARY).unwrap().is_some(), exists, "{hardfork:?}");
        }
        let mut world = world(&[]);
        execute(Hardfork::Frontier, &mut world, std::slice::from_ref(&free));
        execute(Hardfork::Eip158, &mut world, &[TxLegacy { nonce: 1, ..free }]);
        assert_eq!(
            world.account(STRANGER).unwrap(),
            None,
            "an old empty account goes when touched"
        );
    }

    #[test]
    fn puts_the_root_after_each_transaction_into_its_receipt_before_byzantium() {
        let second = TxLegacy { nonce: 1, ..plain(TxKind::Call(STRANGER)) };
        let mut world = world(&[]);
        let receipts =
            execute(Hardfork::Eip158, &mut world, &[plain(TxKind::Call(STRANGER)), second]);
        let roots: Vec<_> = receipts.iter().map(|receipt| receipt.post_state.unwrap()).collect();
        assert_ne!(roots[0], roots[1]);
        assert_eq!(roots[1], world.root().unwrap());
    }

    #[test]
    fn shows_a_contract_its_block() {
        let mut world = world(STORE_NUMBER_DIFFICULTY_AND_HASHES);
        let tx = TxLegacy { gas_limit: 200_000, ..plain(TxKind::Call(CONTRACT)) };
        assert!(execute(Hardfork::London, &mut world, &[tx])[0].success);
        let expected = [300, 0x1234, 299 % 251, 0, 0];
        for (slot, value) in (0..).zip(expected) {
            assert_eq!(
                world.storage(CONTRACT, U256::from(slot)).unwrap(),
                U256::from(value),
                "{slot}"
            );
        }
    }

    #[test]
    fn leaves_a_contract_without_code_when_frontier_cannot_pay_for_it() {
        // PUSH2 0x1000 PUSH1 0 RETURN: 4096 bytes of code, 200 gas each.
        let tx = TxLegacy {
            input: Bytes::from_static(&[0x61, 0x10, 0, 0x60, 0, 0xf3]),
            ..plain(TxKind::Create)
        };
        let created = SENDER.create(0);
        let mut frontier = world(&[]);
        let receipts = execute(Hardfork::Frontier, &mut frontier, std::slice::from_ref(&tx));
        assert!(receipts[0].cumulative_gas_used < 30_000, "the rest of the gas comes back");
        assert_eq!(frontier.account(created).unwrap(), Some(Account::new(300)));

        let mut homestead = world(&[]);
        let receipts = execute(Hardfork::Homestead, &mut homestead, &[tx]);
        assert_eq!(receipts[0].cumulative_gas_used, 100_000);
        assert_eq!(homestead.account(created).unwrap(), None);
    }

    #[test]
    fn a_destroyed_contract_loses_what_it_is_paid_in_the_same_transaction_only() {
        // ADDRESS SELFDESTRUCT
        let mut world = world(&[0x30, 0xff]);
        let pay = TxLegacy { value: U256::from(4), ..plain(TxKind::Call(CONTRACT)) };
        let again = TxLegacy { nonce: 1, value: U256::from(5), ..pay.clone() };
        execute(Hardfork::London, &mut world, &[pay, again]);
        let account = world.account(CONTRACT).unwrap().unwrap();
        assert_eq!((account.balance, account.code_hash), (U256::from(5), KECCAK256_EMPTY));
    }

    #[test]
    fn a_new_contract_has_nonce_code_and_slots() {
        // SSTORE(1, 2), then return one byte of code: STOP.
        let init = [0x60, 2, 0x60, 1, 0x55, 0x60, 1, 0x60, 0, 0xf3];
        for (hardfork, nonce) in [(Hardfork::Eip150, 0), (Hardfork::Eip158, 1)] {
            let tx = TxLegacy { input: Bytes::copy_from_slice(&init), ..plain(TxKind::Create) };
            let mut world = world(&[]);
            assert!(execute(hardfork, &mut world, &[tx])[0].success);
            let created = SENDER.create(0);
            let account = world.account(created).unwrap().unwrap();
            assert_eq!((account.nonce, account.code_hash), (nonce, keccak256([0])));
            assert_eq!(world.storage(created, U256::from(1)).unwrap(), U256::from(2));
            assert_eq!(world.code(account.code_hash).unwrap(), Bytes::from_static(&[0]));
        }
    }

    #[test]
    fn meters_net_gas_in_constantinople_only() {
        // Twice SSTORE(0, 1): the second changes nothing.
        let code = [0x60, 1, 0x60, 0, 0x55, 0x60, 1, 0x60, 0, 0x55];
        for (hardfork, gas) in [
            (Hardfork::Byzantium, 25_000),
            (Hardfork::Constantinople, 20_200),
            (Hardfork::Petersburg, 25_000),
            (Hardfork::Istanbul, 20_800),
        ] {
            let receipts = execute(hardfork, &mut world(&code), &[plain(TxKind::Call(CONTRACT))]);
            assert_eq!(receipts[0].cumulative_gas_used, 21_000 + 12 + gas, "{hardfork:?}");
        }
    }

    #[test]
    fn refuses_with_the_words_of_geth() {
        let base = plain(TxKind::Call(STRANGER));
        let address = SENDER.to_checksum(None);
        let cases = [
            (
                TxLegacy { nonce: 1, ..base.clone() },
                format!("nonce too high: address {address}, tx: 1 state: 0"),
            ),
            (
                TxLegacy { gas_limit: 20_999, ..base.clone() },
                "intrinsic gas too low: have 20999, want 21000".to_owned(),
            ),
            (
                TxLegacy { gas_limit: 52_999, to: TxKind::Create, ..base.clone() },
                "intrinsic gas too low: have 52999, want 53000".to_owned(),
            ),
            (TxLegacy { gas_limit: 10_000_001, ..base.clone() }, "gas limit reached".to_owned()),
            (
                TxLegacy { value: U256::from(FUNDS), ..base.clone() },
                format!(
                    "insufficient funds for gas * price + value: address {address} have {FUNDS} want {}",
                    FUNDS + 1_000_000
                ),
            ),
            (
                TxLegacy { gas_price: 6, ..base.clone() },
                format!(
                    "max fee per gas less than block base fee: address {address}, maxFeePerGas: 6 baseFee: 7"
                ),
            ),
        ];
        for (tx, text) in cases {
            assert_eq!(refusal(Hardfork::London, &legacy(tx)), text);
        }
        let beyond = TxLegacy { value: U256::MAX, gas_price: u128::MAX, ..base };
        assert!(refusal(Hardfork::London, &legacy(beyond)).starts_with("insufficient funds"));
        let tip = TxEip1559 {
            chain_id: 1,
            gas_limit: 21_000,
            max_fee_per_gas: 8,
            max_priority_fee_per_gas: 9,
            ..TxEip1559::default()
        };
        let tip: Transaction = tip.into_signed(Signature::test_signature()).into();
        assert!(
            refusal(Hardfork::London, &tip).starts_with("max priority fee per gas higher than")
        );
        assert_eq!(refusal(Hardfork::Berlin, &tip), "transaction type not supported");
        let list: Transaction =
            TxEip2930::default().into_signed(Signature::test_signature()).into();
        assert_eq!(refusal(Hardfork::Istanbul, &list), "transaction type not supported");
    }

    #[test]
    fn refuses_used_and_used_up_nonces_and_contracts_as_senders() {
        let address = SENDER.to_checksum(None);
        let tx = legacy(TxLegacy { nonce: u64::MAX, ..plain(TxKind::Call(STRANGER)) });
        for (nonce, code_hash, text) in [
            (
                u64::MAX,
                KECCAK256_EMPTY,
                format!("nonce has max value: address {address}, nonce: {}", u64::MAX),
            ),
            (
                u64::MAX - 1,
                KECCAK256_EMPTY,
                format!(
                    "nonce too high: address {address}, tx: {0} state: {1}",
                    u64::MAX,
                    u64::MAX - 1
                ),
            ),
        ] {
            let (spec, mut world) = (spec(Hardfork::London), world(&[]));
            world.set_account(SENDER, nonce, U256::from(FUNDS), code_hash).unwrap();
            let mut executor = BlockExecutor::new(&spec, &header(&spec), &mut world, &|_| Ok(None));
            assert_eq!(executor.execute(&tx, SENDER).unwrap_err().to_string(), text);
        }
        let (spec, mut world) = (spec(Hardfork::London), world(&[0]));
        let mut executor = BlockExecutor::new(&spec, &header(&spec), &mut world, &|_| Ok(None));
        let tx = |nonce| legacy(TxLegacy { nonce, ..plain(TxKind::Call(STRANGER)) });
        let too_low = executor.execute(&tx(0), CONTRACT).unwrap_err().to_string();
        assert_eq!(too_low, format!("nonce too low: address {CONTRACT}, tx: 0 state: 1"));
        let contract = executor.execute(&tx(1), CONTRACT).unwrap_err().to_string();
        assert_eq!(contract, format!("sender not an eoa: address {CONTRACT}"));
    }

    #[test]
    fn goes_on_after_a_refusal() {
        let (spec, mut world) = (spec(Hardfork::London), world(&[]));
        let mut executor = BlockExecutor::new(&spec, &header(&spec), &mut world, &|_| Ok(None));
        let big = TxLegacy { gas_limit: 9_990_000, ..plain(TxKind::Call(STRANGER)) };
        executor.execute(&legacy(big.clone()), SENDER).unwrap();
        assert_eq!(executor.gas_left(), 10_000_000 - 21_000);
        executor.execute(&legacy(TxLegacy { nonce: 1, ..big }), SENDER).unwrap_err();
        let small = TxLegacy { nonce: 1, ..plain(TxKind::Call(STRANGER)) };
        let receipt = executor.execute(&legacy(small), SENDER).unwrap();
        assert_eq!(receipt.cumulative_gas_used, 42_000);
        assert_eq!(executor.finish().gas_used, 42_000);
    }

    /// A disk that has the sender and fails for all else.
    struct BrokenState;

    fn failure() -> ReadError {
        ReadError::Database("gone".to_owned())
    }

    impl StateReader for BrokenState {
        fn account(&self, address_hash: B256) -> Result<Option<Account>, ReadError> {
            let sender = Account { balance: U256::from(FUNDS), ..Account::new(0) };
            let contract = Account {
                code_hash: B256::repeat_byte(1),
                storage_root: B256::repeat_byte(2),
                ..sender
            };
            match address_hash {
                hash if hash == keccak256(SENDER) || hash == keccak256(BENEFICIARY) => {
                    Ok(Some(sender))
                }
                hash if hash == keccak256(CONTRACT) => Ok(Some(contract)),
                _ => Err(failure()),
            }
        }

        fn slot(&self, _: StorageOwner, _: B256) -> Result<U256, ReadError> {
            Err(failure())
        }

        fn node(&self, _: Option<StorageOwner>, _: &Nibbles) -> Result<Option<Bytes>, ReadError> {
            Err(failure())
        }

        fn code(&self, _: B256) -> Result<Option<Bytes>, ReadError> {
            // SLOAD(0)
            Ok(Some(Bytes::from_static(&[0x60, 0, 0x54])))
        }
    }

    #[test]
    fn says_so_for_ever_when_a_read_fails() {
        let spec = spec(Hardfork::London);
        for to in [STRANGER, CONTRACT] {
            let mut world = WorldState::at(EMPTY_ROOT_HASH, BrokenState, 300);
            let mut executor = BlockExecutor::new(&spec, &header(&spec), &mut world, &|_| Ok(None));
            for to in [to, SENDER] {
                let error = executor.execute(&legacy(plain(TxKind::Call(to))), SENDER).unwrap_err();
                assert!(
                    matches!(error, ExecutionError::Read(ReadError::Database(_))),
                    "{to}: {error}"
                );
            }
        }
    }

    #[test]
    fn says_so_when_the_root_cannot_be_made() {
        let spec = spec(Hardfork::Frontier);
        let mut world = WorldState::at(B256::repeat_byte(9), BrokenState, 300);
        let mut executor = BlockExecutor::new(&spec, &header(&spec), &mut world, &|_| Ok(None));
        for _ in 0..2 {
            let error = executor.execute(&legacy(plain(TxKind::Call(SENDER))), SENDER).unwrap_err();
            assert!(matches!(error, ExecutionError::Read(_)), "{error}");
        }
    }
}
