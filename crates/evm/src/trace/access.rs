//! Which addresses and slots a call needs, so that they can be paid for in advance (EIP-2930).

use std::collections::{BTreeMap, BTreeSet};

use alloy_eips::eip2930::{AccessList, AccessListItem};
use primitives::{Address, B256, ChainSpec, Header, TxKind, U256};
use revm::bytecode::opcode;
use state::{StateReader, WorldState};

use super::{Step, TraceError, Tracer, Work, address_of, is_precompile, precompiles};
use crate::{
    BlockHashes, CallRequest,
    env::{Rules, machine},
    interrupt::{Interrupt, watch},
    message::Message,
    transact::{End, clear, transact},
};

/// Runs until the list does not change any more, at most. Each run can add what the one before
/// could not pay for.
const RUNS_MAX: usize = 16;

/// An access list and what a call costs with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessListOutcome {
    /// What the call touches, without sender, target and precompiled contracts.
    pub access_list: AccessList,
    /// Gas used, with the list.
    pub gas_used: u64,
    /// Why the call fails, if it does.
    pub error: Option<String>,
}

#[derive(Debug)]
pub(super) struct AccessTracer {
    excluded: [Address; 2],
    precompiles: u8,
    list: BTreeMap<Address, BTreeSet<B256>>,
}

impl AccessTracer {
    fn is_excluded(&self, address: Address) -> bool {
        self.excluded.contains(&address) || is_precompile(address, self.precompiles)
    }

    fn touch(&mut self, word: U256) {
        let address = address_of(word);
        if !self.is_excluded(address) {
            self.list.entry(address).or_default();
        }
    }

    pub(super) fn step(&mut self, step: &Step<'_>) {
        let Some(top) = step.word(0) else { return };
        match step.opcode {
            opcode::SLOAD | opcode::SSTORE => {
                self.list.entry(step.contract).or_default().insert(top.into());
            }
            opcode::EXTCODECOPY
            | opcode::EXTCODEHASH
            | opcode::EXTCODESIZE
            | opcode::BALANCE
            | opcode::SELFDESTRUCT => self.touch(top),
            opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL => {
                if let Some(callee) = step.word(1).filter(|_| step.stack.len() >= 5) {
                    self.touch(callee);
                }
            }
            _ => {}
        }
    }
}

/// The access list of a call, found by running it until the list is complete.
///
/// # Errors
///
/// [`TraceError::Execution`] if it cannot begin, [`TraceError::Interrupted`] once `interrupt`
/// answers yes.
pub fn access_list<R: StateReader>(
    spec: &ChainSpec,
    header: &Header,
    world: &mut WorldState<R>,
    ancestors: BlockHashes<'_>,
    request: &CallRequest,
    interrupt: Interrupt<'_>,
) -> Result<AccessListOutcome, TraceError> {
    let rules = Rules::new(spec, header);
    let target = match request.to {
        TxKind::Call(address) => address,
        TxKind::Create => {
            let nonce = world.account(request.from)?.map_or(0, |account| account.nonce);
            request.from.create(nonce)
        }
    };
    let precompiles = precompiles(&rules);
    let excluded = [request.from, target];
    let mut machine = machine(&rules, header, world, ancestors);
    watch(&mut machine, interrupt);
    let mut request = request.clone();
    let mut found =
        AccessListOutcome { access_list: AccessList::default(), gas_used: 0, error: None };
    for _ in 0..RUNS_MAX {
        let mut tracer = AccessTracer { excluded, precompiles, list: BTreeMap::new() };
        for item in &request.access_list.0 {
            if !tracer.is_excluded(item.address) {
                tracer.list.entry(item.address).or_default();
            }
            for slot in &item.storage_keys {
                tracer.list.entry(item.address).or_default().insert(*slot);
            }
        }
        machine.inspector = Tracer::of(Work::Access(tracer), usize::MAX);
        let outcome = transact(&mut machine, &rules, &Message::of_call(&request), u64::MAX);
        clear(&mut machine);
        if machine.ctx.journaled_state.database.watch.has_stopped() {
            return Err(TraceError::Interrupted);
        }
        let outcome = outcome?;
        let Tracer::On(recorder) = std::mem::take(&mut machine.inspector) else { break };
        let Work::Access(tracer) = recorder.work else { break };
        let list = tracer.list.into_iter().map(|(address, slots)| AccessListItem {
            address,
            storage_keys: slots.into_iter().collect(),
        });
        let list = AccessList(list.collect());
        let is_complete = list == request.access_list;
        found = AccessListOutcome {
            access_list: list.clone(),
            gas_used: outcome.gas_used,
            error: match outcome.end {
                End::Success => None,
                End::Revert => Some("execution reverted".to_owned()),
                End::Halt(reason) => Some(reason),
            },
        };
        if is_complete {
            break;
        }
        request.access_list = list;
    }
    Ok(found)
}
