//! Chance that can be repeated, and how much of it.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

/// Rounds of killing unless `HEMATITE_ROUNDS` says otherwise.
const ROUNDS: u64 = 3;
/// Rounds of killing when time does not matter.
const ROUNDS_LONG: u64 = 50;

/// Whether time does not matter: `HEMATITE_TIER=long`.
#[must_use]
pub fn is_long() -> bool {
    std::env::var("HEMATITE_TIER").is_ok_and(|tier| tier == "long")
}

/// How often a node is killed in a test.
///
/// # Panics
///
/// If `HEMATITE_ROUNDS` is no number.
#[must_use]
pub fn rounds() -> u64 {
    if let Ok(text) = std::env::var("HEMATITE_ROUNDS") {
        return text.parse().expect("HEMATITE_ROUNDS is a number");
    }
    if is_long() { ROUNDS_LONG } else { ROUNDS }
}

/// Numbers that a seed repeats (xorshift64*, Vigna 2016).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by `HEMATITE_SEED`, or by the clock; the seed is printed.
    ///
    /// # Panics
    ///
    /// If `HEMATITE_SEED` is no number.
    #[must_use]
    pub fn new(what: &str) -> Self {
        let seed = match std::env::var("HEMATITE_SEED") {
            Ok(text) => text.parse().expect("HEMATITE_SEED is a number"),
            Err(_) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
                u64::from(since.subsec_nanos()) ^ (since.as_secs() << 20)
            }
        };
        say(&format!("{what}: HEMATITE_SEED={seed} HEMATITE_ROUNDS={}", rounds()));
        Self::seeded(seed)
    }

    /// The numbers of a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number of this range.
    pub fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + (self.next() >> 11) % (range.end - range.start)
    }
}

/// Tells whoever runs the tests, whether they succeed or not.
pub fn say(line: &str) {
    // A closed stderr is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{line}");
}
