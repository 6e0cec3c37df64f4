//! The real binary, end to end: with real web3 libraries, beside real geth, killed and fed rubbish.
//!
//! The node under test is the file that `HEMATITE_BIN` names, or is built once in the profile of
//! these tests. `tests/setup` installs the others. `HEMATITE_ROUNDS` and `HEMATITE_TIER=long` say how
//! often nodes are killed, `HEMATITE_SEED` repeats a run.

mod attacks;
mod bad_input;
mod bench;
mod chains;
mod clients;
#[path = "../conformance.rs"]
mod conformance;
mod console;
mod dags;
mod damage;
mod dashboard;
mod dev;
mod devnet;
mod explorer;
mod hand_over;
mod harness;
mod interop;
mod keystores;
mod kills;
mod kills_of_imports;
mod network;
mod notices;
mod ops;
mod secured;
mod state_sync;
mod subscriptions;
mod traces;
mod troubles;
