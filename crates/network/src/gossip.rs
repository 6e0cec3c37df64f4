//! Passing on what is new: blocks and transactions.
//!
//! Whole to a few peers, by hash to the rest, and never to one who has it.

pub mod blocks;
pub mod replacements;
pub mod transactions;

use rand::{rngs::StdRng, seq::SliceRandom};

/// Splits those who lack something into the square root of them, chosen by chance, and the rest.
fn split_by_root<T>(mut lacking: Vec<T>, rng: &mut StdRng) -> (Vec<T>, Vec<T>) {
    lacking.shuffle(rng);
    let rest = lacking.split_off(lacking.len().isqrt());
    (lacking, rest)
}
