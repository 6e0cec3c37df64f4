//! `prestateTracer`: the accounts and slots that a transaction looks at, as they were before it,
//! or what it changed of them.

use std::collections::{BTreeMap, BTreeSet};

use primitives::{Address, B256, Bytes, KECCAK256_EMPTY, TxKind, U256};
use revm::{
    bytecode::opcode,
    interpreter::{CreateInputs, InstructionResult},
};
use serde::Serialize;
use state::{ReadError, StateReader};

use super::{Findings, Step, address_of, is_seen_before};
use crate::{
    env::{Machine, MachineContext},
    message::Message,
};

/// What an account takes beside code and slots, in bytes of JSON.
const ACCOUNT_BYTES: usize = 200;
/// What a slot takes, in bytes of JSON.
const SLOT_BYTES: usize = 140;

/// Accounts by address.
pub type Prestate = BTreeMap<Address, PrestateAccount>;

/// What an account has; only what there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PrestateAccount {
    /// In wei.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<U256>,
    /// Its code, if it has some.
    #[serde(skip_serializing_if = "has_no_code")]
    pub code: Bytes,
    /// A plain number.
    #[serde(skip_serializing_if = "is_zero")]
    pub nonce: u64,
    /// Slots, as words with all their zeros.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage: BTreeMap<B256, B256>,
}

fn has_no_code(code: &Bytes) -> bool {
    code.is_empty()
}

const fn is_zero(nonce: &u64) -> bool {
    *nonce == 0
}

impl PrestateAccount {
    fn is_nothing(&self) -> bool {
        self.balance.is_none_or(|balance| balance.is_zero())
            && self.code.is_empty()
            && self.nonce == 0
            && self.storage.is_empty()
    }
}

#[derive(Debug)]
enum Look {
    Account(Address),
    Slot(Address, U256),
    /// One account destroys itself for another.
    Farewell(Address, Address),
}

#[derive(Debug)]
pub(super) struct PrestateTracer {
    diff: bool,
    touched: BTreeMap<Address, BTreeSet<U256>>,
    /// What the instruction that runs looks at, if it can be paid for.
    look: Option<Look>,
    created: BTreeSet<Address>,
    destroyed: BTreeSet<Address>,
    bytes: usize,
}

impl PrestateTracer {
    pub(super) const fn new(diff: bool) -> Self {
        Self {
            diff,
            touched: BTreeMap::new(),
            look: None,
            created: BTreeSet::new(),
            destroyed: BTreeSet::new(),
            bytes: 0,
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    fn touch(&mut self, address: Address) -> &mut BTreeSet<U256> {
        let bytes = &mut self.bytes;
        self.touched.entry(address).or_insert_with(|| {
            *bytes += ACCOUNT_BYTES;
            BTreeSet::new()
        })
    }

    pub(super) fn step(&mut self, step: &Step<'_>) {
        self.look = step.word(0).and_then(|top| match step.opcode {
            opcode::SLOAD | opcode::SSTORE => Some(Look::Slot(step.contract, top)),
            opcode::EXTCODECOPY | opcode::EXTCODEHASH | opcode::EXTCODESIZE | opcode::BALANCE => {
                Some(Look::Account(address_of(top)))
            }
            opcode::SELFDESTRUCT => Some(Look::Farewell(step.contract, address_of(top))),
            opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL => {
                let callee = step.word(1).filter(|_| step.stack.len() >= 5);
                callee.map(|callee| Look::Account(address_of(callee)))
            }
            _ => None,
        });
    }

    /// geth looks after it knows that the instruction can be paid for, and before it runs.
    pub(super) fn step_end(&mut self, ended: Option<InstructionResult>) {
        let Some(look) = self.look.take() else { return };
        if ended.is_some_and(is_seen_before) {
            return;
        }
        match look {
            Look::Account(address) => {
                self.touch(address);
            }
            Look::Slot(address, slot) => {
                if self.touch(address).insert(slot) {
                    self.bytes += SLOT_BYTES;
                }
            }
            Look::Farewell(address, heir) => {
                self.touch(heir);
                self.destroyed.insert(address);
            }
        }
    }

    pub(super) fn create<R: StateReader>(
        &mut self,
        context: &MachineContext<'_, R>,
        inputs: &CreateInputs,
    ) {
        let creator = context.journaled_state.inner.state.get(&inputs.caller());
        let address = inputs.created_address(creator.map_or(0, |account| account.info.nonce));
        self.touch(address);
        self.created.insert(address);
    }

    pub(super) fn finish<R: StateReader>(
        mut self,
        machine: &mut Machine<'_, R>,
        message: &Message<'_>,
    ) -> Result<Findings, ReadError> {
        let world = &mut machine.ctx.journaled_state.database.world;
        let nonce = world.account(message.from)?.map_or(0, |account| account.nonce);
        let target = match message.to {
            TxKind::Call(address) => address,
            TxKind::Create => {
                let address = message.from.create(nonce);
                self.created.insert(address);
                address
            }
        };
        for address in [message.from, target, machine.ctx.block.beneficiary] {
            self.touch(address);
        }
        let mut pre = Prestate::new();
        for (address, slots) in std::mem::take(&mut self.touched) {
            pre.insert(address, before(machine, address, &slots)?);
        }
        // geth 1.11.6 looks at a new contract too late and shows a nonce of 1 that was not there;
        // later versions leave it out, and so does this.
        if !self.diff {
            if message.to.is_create() && pre.get(&target).is_some_and(PrestateAccount::is_nothing) {
                pre.remove(&target);
            }
            return Ok(Findings::Prestate(pre));
        }
        let post = self.difference(machine, &mut pre)?;
        Ok(Findings::Diff { post, pre })
    }

    /// What changed; leaves of `pre` only what did.
    fn difference<R: StateReader>(
        &self,
        machine: &mut Machine<'_, R>,
        pre: &mut Prestate,
    ) -> Result<Prestate, ReadError> {
        let mut post = Prestate::new();
        let mut unchanged = BTreeSet::new();
        for (address, was) in pre.iter_mut() {
            if self.destroyed.contains(address) {
                continue;
            }
            let is = after(machine, *address, was)?;
            if let Some(changes) = changes(was, is) {
                post.insert(*address, changes);
            } else {
                unchanged.insert(*address);
            }
        }
        pre.retain(|address, was| {
            !(unchanged.contains(address) || self.created.contains(address) && was.is_nothing())
        });
        Ok(post)
    }
}

/// What is different now, if anything; leaves only those slots that are.
fn changes(was: &mut PrestateAccount, is: PrestateAccount) -> Option<PrestateAccount> {
    let mut changes = PrestateAccount::default();
    if is.balance != was.balance {
        changes.balance = is.balance;
    }
    if is.nonce != was.nonce {
        changes.nonce = is.nonce;
    }
    let has_new_code = is.code != was.code;
    if has_new_code {
        changes.code = is.code;
    }
    let mut has_changed = has_new_code || is.nonce != was.nonce || changes.balance.is_some();
    was.storage.retain(|slot, before| {
        let after = is.storage.get(slot).copied().unwrap_or_default();
        if after == *before {
            return false;
        }
        has_changed = true;
        if !after.is_zero() {
            changes.storage.insert(*slot, after);
        }
        !before.is_zero()
    });
    has_changed.then_some(changes)
}

/// An account as the messages before this one left it.
fn before<R: StateReader>(
    machine: &mut Machine<'_, R>,
    address: Address,
    slots: &BTreeSet<U256>,
) -> Result<PrestateAccount, ReadError> {
    let world = &mut machine.ctx.journaled_state.database.world;
    let mut found = PrestateAccount { balance: Some(U256::ZERO), ..PrestateAccount::default() };
    if let Some(account) = world.account(address)? {
        found.balance = Some(account.balance);
        found.nonce = account.nonce;
        found.code = world.code(account.code_hash)?;
    }
    for slot in slots {
        found.storage.insert(B256::from(*slot), world.storage(address, *slot)?.into());
    }
    Ok(found)
}

/// The same account, as this message leaves it.
fn after<R: StateReader>(
    machine: &mut Machine<'_, R>,
    address: Address,
    was: &PrestateAccount,
) -> Result<PrestateAccount, ReadError> {
    let journal = &mut machine.ctx.journaled_state;
    let Some(account) = journal.inner.state.get(&address) else { return Ok(was.clone()) };
    let info = &account.info;
    let code = match &info.code {
        _ if info.code_hash == KECCAK256_EMPTY => Bytes::new(),
        Some(code) => code.original_bytes(),
        None => journal.database.world.code(info.code_hash)?,
    };
    let mut storage = was.storage.clone();
    for (slot, value) in &mut storage {
        match account.storage.get(&U256::from_be_bytes(slot.0)) {
            Some(present) => *value = present.present_value.into(),
            None if account.is_created() => *value = B256::ZERO,
            None => {}
        }
    }
    Ok(PrestateAccount { balance: Some(info.balance), code, nonce: info.nonce, storage })
}
