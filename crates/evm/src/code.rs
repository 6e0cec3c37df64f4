//! Analysed code by hash, shared by everything that executes in this process.
//!
//! Finding the jump destinations of a contract takes longer than a typical call to it. What is kept
//! is a function of the hash alone, so it can never be stale, and whose block or call put it there
//! makes no difference.

use std::{
    mem,
    sync::{LazyLock, Mutex, PoisonError},
};

use primitives::{B256, map::HashMap};
use revm::bytecode::Bytecode;

/// Bytes of code and tables that are kept, at most, in each of the two generations.
const GENERATION_BYTES_MAX: usize = 32 << 20;
/// What an entry takes beside its code.
const ENTRY_BYTES: usize = 256;

static ANALYSED: LazyLock<Mutex<AnalysedCode>> =
    LazyLock::new(|| Mutex::new(AnalysedCode::with_limit(GENERATION_BYTES_MAX)));

/// The analysed code behind a hash, if it is at hand.
pub(crate) fn analysed(hash: &B256) -> Option<Bytecode> {
    ANALYSED.lock().unwrap_or_else(PoisonError::into_inner).find(hash)
}

/// Keeps analysed code for the next one who asks.
pub(crate) fn keep(hash: B256, code: Bytecode) {
    ANALYSED.lock().unwrap_or_else(PoisonError::into_inner).insert(hash, code);
}

/// A map that forgets what was not asked for lately: when the young generation is full it becomes
/// the old one, and the old one is dropped. What is found in the old one moves back.
#[derive(Debug)]
struct AnalysedCode {
    young: HashMap<B256, Bytecode>,
    old: HashMap<B256, Bytecode>,
    young_bytes: usize,
    generation_bytes_max: usize,
}

impl AnalysedCode {
    fn with_limit(generation_bytes_max: usize) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            young_bytes: 0,
            generation_bytes_max,
        }
    }

    fn find(&mut self, hash: &B256) -> Option<Bytecode> {
        if let Some(code) = self.young.get(hash) {
            return Some(code.clone());
        }
        let code = self.old.remove(hash)?;
        self.insert(*hash, code.clone());
        Some(code)
    }

    fn insert(&mut self, hash: B256, code: Bytecode) {
        // One bit of jump table per byte of code.
        let bytes = code.len() + code.len() / 8 + ENTRY_BYTES;
        if self.young_bytes + bytes > self.generation_bytes_max {
            self.old = mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if self.young.insert(hash, code).is_none() {
            self.young_bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use primitives::{Bytes, keccak256};

    fn sample(byte: u8) -> (B256, Bytecode) {
        let bytes = Bytes::from(vec![byte; 744]);
        (keccak256(&bytes), Bytecode::new_legacy(bytes))
    }

    #[test]
    fn forgets_what_nobody_asks_for_and_keeps_the_rest() {
        let mut cache = AnalysedCode::with_limit(2 * (744 + 93 + ENTRY_BYTES));
        for byte in 1..=4 {
            let (hash, code) = sample(byte);
            cache.insert(hash, code);
            assert!(cache.find(&sample(1).0).is_some(), "asked for all the time");
        }
        assert!(cache.find(&sample(2).0).is_none());
        assert!(cache.find(&sample(4).0).is_some());
        assert!(cache.young.len() <= 2 && cache.old.len() <= 2);
    }
}
