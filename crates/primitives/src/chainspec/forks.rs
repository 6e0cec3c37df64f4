use super::GenesisError;
use crate::B256;

/// A set of rules, in the order in which mainnet adopted them.
///
/// The DAO fork and EIP-155 are not in it: they change state once or signatures only, and have
/// their own fields in [`Forks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hardfork {
    /// The first rules.
    Frontier,
    /// EIP-2, 7, 8.
    Homestead,
    /// EIP-150, Tangerine Whistle.
    Eip150,
    /// EIP-160, 161, 170, Spurious Dragon.
    Eip158,
    /// EIP-100, 140, 196, 197, 198, 211, 214, 649, 658.
    Byzantium,
    /// EIP-145, 1014, 1052, 1234, and EIP-1283 until Petersburg.
    Constantinople,
    /// Constantinople without EIP-1283.
    Petersburg,
    /// EIP-152, 1108, 1344, 1884, 2028, 2200.
    Istanbul,
    /// EIP-2384.
    MuirGlacier,
    /// EIP-2565, 2718, 2929, 2930.
    Berlin,
    /// EIP-1559, 3198, 3529, 3541, 3554.
    London,
    /// EIP-4345.
    ArrowGlacier,
    /// EIP-5133.
    GrayGlacier,
}

/// The irregular state change of 2016.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaoFork {
    /// The first block of the fork.
    pub block: u64,
    /// Whether this chain moves the funds.
    pub support: bool,
}

/// When each set of rules begins, by block number; `None` is never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forks {
    /// Homestead.
    pub homestead: Option<u64>,
    /// The DAO fork.
    pub dao: Option<DaoFork>,
    /// Tangerine Whistle.
    pub eip150: Option<u64>,
    /// The hash that the first block of Tangerine Whistle must have, if any.
    pub eip150_hash: Option<B256>,
    /// Replay protection.
    pub eip155: Option<u64>,
    /// Spurious Dragon.
    pub eip158: Option<u64>,
    /// Byzantium.
    pub byzantium: Option<u64>,
    /// Constantinople.
    pub constantinople: Option<u64>,
    /// Petersburg; a genesis without it means Constantinople's block.
    pub petersburg: Option<u64>,
    /// Istanbul.
    pub istanbul: Option<u64>,
    /// Muir Glacier.
    pub muir_glacier: Option<u64>,
    /// Berlin.
    pub berlin: Option<u64>,
    /// London.
    pub london: Option<u64>,
    /// Arrow Glacier.
    pub arrow_glacier: Option<u64>,
    /// Gray Glacier.
    pub gray_glacier: Option<u64>,
    /// Blocks named `…Block` that change the fork id and no rule, such as `mergeNetsplitBlock`.
    pub other: Vec<u64>,
}

impl Forks {
    /// When a rule set begins. Frontier begins at 0.
    #[must_use]
    pub const fn activation(&self, fork: Hardfork) -> Option<u64> {
        match fork {
            Hardfork::Frontier => Some(0),
            Hardfork::Homestead => self.homestead,
            Hardfork::Eip150 => self.eip150,
            Hardfork::Eip158 => self.eip158,
            Hardfork::Byzantium => self.byzantium,
            Hardfork::Constantinople => self.constantinople,
            Hardfork::Petersburg => self.petersburg,
            Hardfork::Istanbul => self.istanbul,
            Hardfork::MuirGlacier => self.muir_glacier,
            Hardfork::Berlin => self.berlin,
            Hardfork::London => self.london,
            Hardfork::ArrowGlacier => self.arrow_glacier,
            Hardfork::GrayGlacier => self.gray_glacier,
        }
    }

    /// Whether a rule set is in force in a block of this number.
    #[must_use]
    pub fn is_active(&self, fork: Hardfork, number: u64) -> bool {
        self.activation(fork).is_some_and(|first| first <= number)
    }

    /// Whether replay-protected signatures are valid in a block of this number (EIP-155).
    #[must_use]
    pub fn is_eip155_active(&self, number: u64) -> bool {
        self.eip155.is_some_and(|first| first <= number)
    }

    /// The newest rule set in force in a block of this number.
    #[must_use]
    pub fn hardfork_at(&self, number: u64) -> Hardfork {
        const NEWEST_FIRST: [Hardfork; 12] = [
            Hardfork::GrayGlacier,
            Hardfork::ArrowGlacier,
            Hardfork::London,
            Hardfork::Berlin,
            Hardfork::MuirGlacier,
            Hardfork::Istanbul,
            Hardfork::Petersburg,
            Hardfork::Constantinople,
            Hardfork::Byzantium,
            Hardfork::Eip158,
            Hardfork::Eip150,
            Hardfork::Homestead,
        ];
        NEWEST_FIRST
            .into_iter()
            .find(|fork| self.is_active(*fork, number))
            .unwrap_or(Hardfork::Frontier)
    }
}

/// Checks the order of the forks as geth 1.10.26 does: none may be missing before a scheduled one,
/// except those that change nothing later ones build on.
pub(super) fn check_order(forks: &Forks, merge_netsplit: Option<u64>) -> Result<(), GenesisError> {
    let order = [
        ("homesteadBlock", forks.homestead, Necessity::Required),
        ("daoForkBlock", forks.dao.map(|dao| dao.block), Necessity::Skippable),
        ("eip150Block", forks.eip150, Necessity::Required),
        ("eip155Block", forks.eip155, Necessity::Required),
        ("eip158Block", forks.eip158, Necessity::Required),
        ("byzantiumBlock", forks.byzantium, Necessity::Required),
        ("constantinopleBlock", forks.constantinople, Necessity::Required),
        ("petersburgBlock", forks.petersburg, Necessity::Required),
        ("istanbulBlock", forks.istanbul, Necessity::Required),
        ("muirGlacierBlock", forks.muir_glacier, Necessity::Skippable),
        ("berlinBlock", forks.berlin, Necessity::Required),
        ("londonBlock", forks.london, Necessity::Required),
        ("arrowGlacierBlock", forks.arrow_glacier, Necessity::Skippable),
        ("grayGlacierBlock", forks.gray_glacier, Necessity::Skippable),
        ("mergeNetsplitBlock", merge_netsplit, Necessity::Skippable),
    ];
    let mut last = ("genesis", Some(0));
    for (name, block, necessity) in order {
        match (last.1, block) {
            (None, Some(block)) => {
                return Err(GenesisError::ForkWithoutPredecessor {
                    missing: last.0,
                    fork: name,
                    block,
                });
            }
            (Some(before), Some(block)) if before > block => {
                return Err(GenesisError::ForksReversed {
                    earlier: last.0,
                    earlier_block: before,
                    later: name,
                    later_block: block,
                });
            }
            _ => {}
        }
        if block.is_some() || matches!(necessity, Necessity::Required) {
            last = (name, block);
        }
    }
    Ok(())
}

/// Whether later forks may be scheduled without this one.
#[derive(Clone, Copy)]
enum Necessity {
    Required,
    Skippable,
}
