//! The simulation: several nodes in one thread, with real chains, real pools and real messages, on a
//! network that delays, loses and lies, in virtual time.
//!
//! One number decides everything that happens. `HEMATITE_SIM_SEED=7 cargo test --test sim` runs
//! world number 7 of every scenario; `HEMATITE_TIER=long` runs a hundred worlds of each, or as many
//! as `HEMATITE_SIM_SEEDS` says.

mod liar;
mod node;
mod scenarios;
mod verdict;
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How many worlds of each scenario the long tier runs.
const LONG_SEEDS: u64 = 100;

/// Runs a scenario with each seed; a failure says with which one, and how to see it again.
fn with_seeds(name: &str, short: u64, scenario: fn(u64)) {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let is_long = std::env::var("HEMATITE_TIER").is_ok_and(|tier| tier == "long");
    let count = variable("HEMATITE_SIM_SEEDS").unwrap_or(if is_long { LONG_SEEDS } else { short });
    let seeds = variable("HEMATITE_SIM_SEED").map_or(1..=count, |seed| seed..=seed);
    for seed in seeds {
        only(seed, name, scenario);
    }
}

/// Runs a scenario with one seed.
fn only(seed: u64, name: &str, scenario: fn(u64)) {
    let Err(cause) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) else { return };
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let Some(text) = text.or_else(|| cause.downcast_ref::<&str>().copied()) else {
        resume_unwind(cause)
    };
    panic!("HEMATITE_SIM_SEED={seed} cargo test --test sim {name}\nfailed: {text}");
}
