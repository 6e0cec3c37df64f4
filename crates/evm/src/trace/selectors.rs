//! `4byteTracer`: which functions were called, by the first four bytes of the call data.

use std::collections::BTreeMap;

use primitives::hex;
use revm::interpreter::{CallInputs, CreateInputs};
use state::StateReader;

use super::is_precompile;
use crate::env::MachineContext;

/// What an entry takes, in bytes.
const ENTRY_BYTES: usize = 40;

#[derive(Debug)]
pub(super) struct SelectorTracer {
    /// The highest address of a precompiled contract.
    precompiles: u8,
    counts: BTreeMap<String, u64>,
}

impl SelectorTracer {
    pub(super) const fn new(precompiles: u8) -> Self {
        Self { precompiles, counts: BTreeMap::new() }
    }

    pub(super) fn bytes(&self) -> usize {
        self.counts.len() * ENTRY_BYTES
    }

    fn count(&mut self, input: &[u8]) {
        let Some((selector, rest)) = input.split_first_chunk::<4>() else { return };
        let key = format!("0x{}-{}", hex::encode(selector), rest.len());
        *self.counts.entry(key).or_default() += 1;
    }

    pub(super) fn call<R: StateReader>(
        &mut self,
        context: &MachineContext<'_, R>,
        inputs: &CallInputs,
        depth: usize,
    ) {
        if depth == 1 || !is_precompile(inputs.bytecode_address, self.precompiles) {
            self.count(&inputs.input.as_bytes(context));
        }
    }

    /// As in geth, the code of a transaction that creates counts, that of other creations does not.
    pub(super) fn create(&mut self, inputs: &CreateInputs, depth: usize) {
        if depth == 1 {
            self.count(inputs.init_code());
        }
    }

    pub(super) fn finish(self) -> BTreeMap<String, u64> {
        self.counts
    }
}
