use super::{ChainSpec, Forks};

const DAO: &str = "DAO fork block";

const EIP158: &str = "EIP158 fork block";

/// A new configuration contradicts blocks that were made under the stored one. The text is geth's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "mismatching {what} in database (have {}, want {}, rewindto {rewind_to})",
    shown(*.stored),
    shown(*.new)
)]
pub struct Incompatible {
    /// What differs, as in `Homestead fork block`.
    pub what: &'static str,
    /// When the stored configuration has it, if ever.
    pub stored: Option<u64>,
    /// When the new configuration has it, if ever.
    pub new: Option<u64>,
    /// The highest block on which both agree.
    pub rewind_to: u64,
}

impl Incompatible {
    fn new(what: &'static str, stored: Option<u64>, new: Option<u64>) -> Self {
        let first = stored.into_iter().chain(new).min().unwrap_or_default();
        Self { what, stored, new, rewind_to: first.saturating_sub(1) }
    }
}

impl ChainSpec {
    /// Checks that another configuration means the same for all blocks up to `head`.
    ///
    /// While there is only the genesis, any configuration that leads to the same one will do.
    ///
    /// # Errors
    ///
    /// With the difference that requires the deepest rewind.
    pub fn check_compatible(&self, new: &Self, head: u64) -> Result<(), Incompatible> {
        if head == 0 {
            return Ok(());
        }
        let mut deepest = None;
        let mut head = head;
        while let Some(found) =
            difference(&self.forks, &new.forks, self.chain_id != new.chain_id, head)
        {
            let stuck = deepest
                .as_ref()
                .is_some_and(|last: &Incompatible| last.rewind_to == found.rewind_to);
            head = found.rewind_to;
            if stuck {
                break;
            }
            deepest = Some(found);
        }
        deepest.map_or(Ok(()), Err)
    }
}

impl Forks {
    /// Checks that other forks mean the same for all blocks up to `head`.
    ///
    /// # Errors
    ///
    /// With the first difference in geth's order.
    pub fn compatible(&self, new: &Self, head: u64) -> Result<(), Incompatible> {
        difference(self, new, false, head).map_or(Ok(()), Err)
    }
}

/// The first difference for blocks up to `head`, in geth's order.
fn difference(
    stored: &Forks,
    new: &Forks,
    other_chain_id: bool,
    head: u64,
) -> Option<Incompatible> {
    let passed = |block: Option<u64>| block.is_some_and(|block| block <= head);
    let support = |forks: &Forks| forks.dao.is_some_and(|dao| dao.support);
    for ((what, have), (_, want)) in named(stored).into_iter().zip(named(new)) {
        if have != want && (passed(have) || passed(want)) {
            return Some(Incompatible::new(what, have, want));
        }
        let depending = match what {
            DAO if support(stored) != support(new) => "DAO fork support flag",
            EIP158 if other_chain_id => "EIP158 chain ID",
            _ => continue,
        };
        if passed(have) {
            return Some(Incompatible::new(depending, have, want));
        }
    }
    let (have, want) = (lowest_missing(stored, new), lowest_missing(new, stored));
    (passed(have) || passed(want))
        .then(|| Incompatible::new("Merge netsplit fork block", have, want))
}

/// The lowest of the blocks that count in the fork id only and that the other side does not have.
fn lowest_missing(of: &Forks, than: &Forks) -> Option<u64> {
    of.other.iter().copied().filter(|block| !than.other.contains(block)).min()
}

/// The forks under geth's names, in the order in which geth compares them.
fn named(forks: &Forks) -> [(&'static str, Option<u64>); 14] {
    [
        ("Homestead fork block", forks.homestead),
        (DAO, forks.dao.map(|dao| dao.block)),
        ("EIP150 fork block", forks.eip150),
        ("EIP155 fork block", forks.eip155),
        (EIP158, forks.eip158),
        ("Byzantium fork block", forks.byzantium),
        ("Constantinople fork block", forks.constantinople),
        ("Petersburg fork block", forks.petersburg),
        ("Istanbul fork block", forks.istanbul),
        ("Muir Glacier fork block", forks.muir_glacier),
        ("Berlin fork block", forks.berlin),
        ("London fork block", forks.london),
        ("Arrow Glacier fork block", forks.arrow_glacier),
        ("Gray Glacier fork block", forks.gray_glacier),
    ]
}

fn shown(block: Option<u64>) -> String {
    block.map_or_else(|| "<nil>".to_owned(), |block| block.to_string())
}
