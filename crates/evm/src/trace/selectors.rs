//! `4byteTracer`: which functions were called, by the first four bytes of the call data.

use std::collections::BTreeMap;

use primitives::hex;
use revm::interpreter::{CallInputs, CreateInputs, InstructionResult};
use state::StateReader;

use super::{is_precompile, is_refused_unseen};
use crate::env::MachineContext;

/// What an entry takes, in bytes.
const ENTRY_BYTES: usize = 40;

#[derive(Debug)]
pub(super) struct SelectorTracer {
    /// The highest address of a precompiled contract.
    precompiles: u8,
    counts: BTreeMap<String, u64>,
    /// What was counted last, while it is not sure that the call began.
    begun: Option<String>,
}

impl SelectorTracer {
    pub(super) const fn new(precompiles: u8) -> Self {
        Self { precompiles, counts: BTreeMap::new(), begun: None }
    }

    pub(super) fn bytes(&self) -> usize {
        self.counts.len() * ENTRY_BYTES
    }

    fn count(&mut self, input: &[u8]) {
        let Some((selector, rest)) = input.split_first_chunk::<4>() else { return };
        let key = format!("0x{}-{}", hex::encode(selector), rest.len());
        *self.counts.entry(key.clone()).or_default() += 1;
        self.begun = Some(key);
    }

    /// A call that never began was none.
    pub(super) fn leave(&mut self, code: InstructionResult) {
        let Some(key) = self.begun.take().filter(|_| is_refused_unseen(code)) else { return };
        let count = self.counts.entry(key.clone()).or_default();
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.counts.remove(&key);
        }
    }

    pub(super) fn call<R: StateReader>(
        &mut self,
        context: &MachineContext<'_, R>,
        inputs: &CallInputs,
        depth: usize,
    ) {
        self.begun = None;
        if depth == 1 || !is_precompile(inputs.bytecode_address, self.precompiles) {
            self.count(&inputs.input.as_bytes(context));
        }
    }

    /// As in geth, the code of a transaction that creates counts, that of other creations does not.
    pub(super) fn create(&mut self, inputs: &CreateInputs, depth: usize) {
        self.begun = None;
        if depth == 1 {
            self.count(inputs.init_code());
        }
    }

    pub(super) fn finish(self) -> BTreeMap<String, u64> {
        self.counts
    }
}
