//! Tests that belong to no single crate: tidy, official vectors, end to end. Here is what they are
//! made with.

pub mod harness;
