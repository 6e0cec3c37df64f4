//! Tests that belong to no single crate: tidy, official vectors, end to end.
