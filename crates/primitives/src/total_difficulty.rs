use crate::U256;

/// Work accumulated from genesis up to and including a block. The heaviest chain is canonical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TotalDifficulty(U256);

impl TotalDifficulty {
    /// The total difficulty that this number of expected hashes stands for.
    #[must_use]
    pub const fn new(value: U256) -> Self {
        Self(value)
    }

    /// The number itself, in expected hashes.
    #[must_use]
    pub const fn get(self) -> U256 {
        self.0
    }

    /// The total difficulty of a child with this difficulty.
    ///
    /// # Panics
    ///
    /// On overflow: 2^256 hashes of work cannot exist, so this is corruption.
    #[must_use]
    pub fn child(self, difficulty: U256) -> Self {
        Self(self.0.checked_add(difficulty).expect("total difficulty stays below 2^256"))
    }
}

impl std::fmt::Display for TotalDifficulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
