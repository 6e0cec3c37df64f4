//! The order in which a miner takes transactions.

use std::{cmp::Reverse, collections::BinaryHeap, iter::Peekable, sync::Arc, vec};

use primitives::{
    Address,
    map::{HashMap, HashSet},
};

use crate::transaction::PooledTransaction;

/// The pending transactions of one moment, best first.
///
/// Local accounts come before remote ones; then whoever leaves the miner most for a unit of gas;
/// then whoever came first. Within an account the nonces keep their order, so a cheap transaction
/// holds back those that follow it. Transactions that do not meet the base fee, and what follows
/// them, are left out.
#[derive(Debug)]
pub struct BestTransactions {
    base_fee: Option<u64>,
    heads: BinaryHeap<Head>,
    accounts: HashMap<Address, Rest>,
    skipped: HashSet<Address>,
}

#[derive(Debug)]
struct Rest {
    local: bool,
    transactions: Peekable<vec::IntoIter<Arc<PooledTransaction>>>,
}

/// The next transaction of an account; the greatest is the best.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    local: bool,
    tip: u128,
    arrival: Reverse<u64>,
    sender: Address,
}

impl BestTransactions {
    /// `accounts` are pending transactions of one sender each, in the order of their nonces, and
    /// whether the sender is local.
    pub(crate) fn new(
        base_fee: Option<u64>,
        accounts: impl Iterator<Item = (bool, Vec<Arc<PooledTransaction>>)>,
    ) -> Self {
        let mut best = Self {
            base_fee,
            heads: BinaryHeap::new(),
            accounts: HashMap::default(),
            skipped: HashSet::default(),
        };
        for (local, transactions) in accounts {
            let Some(sender) = transactions.first().map(|tx| tx.sender) else { continue };
            let transactions = transactions.into_iter().peekable();
            best.accounts.insert(sender, Rest { local, transactions });
            best.push_head(sender);
        }
        best
    }

    /// Leaves out what is left of an account: one of its transactions failed, so those that follow
    /// must wait.
    pub fn skip_account(&mut self, sender: Address) {
        self.skipped.insert(sender);
        self.accounts.remove(&sender);
    }

    fn push_head(&mut self, sender: Address) {
        let Some(rest) = self.accounts.get_mut(&sender) else { return };
        let local = rest.local;
        let next =
            rest.transactions.peek().and_then(|tx| Some((tx.tip(self.base_fee)?, tx.arrival())));
        match next {
            Some((tip, arrival)) => {
                self.heads.push(Head { local, tip, arrival: Reverse(arrival), sender });
            }
            None => {
                self.accounts.remove(&sender);
            }
        }
    }
}

impl Iterator for BestTransactions {
    type Item = Arc<PooledTransaction>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Head { sender, .. } = self.heads.pop()?;
            if self.skipped.contains(&sender) {
                continue;
            }
            let tx = self.accounts.get_mut(&sender).and_then(|rest| rest.transactions.next());
            self.push_head(sender);
            if tx.is_some() {
                return tx;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Draft, address, draft, fee_market};

    fn best(
        base_fee: Option<u64>,
        accounts: Vec<(bool, Vec<Arc<PooledTransaction>>)>,
    ) -> BestTransactions {
        BestTransactions::new(base_fee, accounts.into_iter())
    }

    fn pooled(drafts: impl IntoIterator<Item = Draft>) -> Vec<Arc<PooledTransaction>> {
        drafts.into_iter().map(Draft::pooled).collect()
    }

    fn order(best: BestTransactions) -> Vec<(Address, u64)> {
        best.map(|tx| (tx.sender, tx.nonce())).collect()
    }

    #[test]
    fn the_best_price_comes_first_and_nonces_keep_their_order() {
        let accounts = vec![
            (false, pooled([draft(1, 0, 5), draft(1, 1, 100)])),
            (false, pooled([draft(2, 7, 50), draft(2, 8, 4)])),
        ];
        let expected = [(address(2), 7), (address(1), 0), (address(1), 1), (address(2), 8)];
        assert_eq!(order(best(None, accounts)), expected);
    }

    #[test]
    fn locals_come_first_whatever_they_pay() {
        let accounts = vec![
            (false, pooled([draft(1, 0, 1_000)])),
            (true, pooled([draft(2, 0, 1), draft(2, 1, 1)])),
        ];
        assert_eq!(
            order(best(None, accounts)),
            [(address(2), 0), (address(2), 1), (address(1), 0)]
        );
    }

    #[test]
    fn of_equal_prices_the_first_seen_comes_first() {
        let transactions = pooled([draft(3, 0, 5), draft(1, 0, 5), draft(2, 0, 5)]);
        let accounts = transactions.into_iter().rev().map(|tx| (false, vec![tx])).collect();
        assert_eq!(
            order(best(None, accounts)),
            [(address(3), 0), (address(1), 0), (address(2), 0)]
        );
    }

    #[test]
    fn the_effective_tip_decides_and_the_base_fee_must_be_met() {
        let accounts = vec![
            (false, vec![fee_market(1, 0, 1_000, 3)]),
            (false, vec![fee_market(2, 0, 105, 50)]),
            (false, vec![fee_market(3, 0, 99, 99), fee_market(3, 1, 1_000, 99)]),
            (
                false,
                vec![
                    fee_market(4, 0, 1_000, 9),
                    fee_market(4, 1, 99, 9),
                    fee_market(4, 2, 1_000, 9),
                ],
            ),
        ];
        let expected = [(address(4), 0), (address(2), 0), (address(1), 0)];
        assert_eq!(order(best(Some(100), accounts)), expected);
    }

    #[test]
    fn a_skipped_account_gives_nothing_more() {
        let accounts = vec![
            (false, pooled([draft(1, 0, 9), draft(1, 1, 9)])),
            (false, pooled([draft(2, 0, 5), draft(2, 1, 5)])),
        ];
        let mut best = best(None, accounts);
        assert_eq!(best.next().map(|tx| tx.sender), Some(address(1)));
        best.skip_account(address(1));
        assert_eq!(order(best), [(address(2), 0), (address(2), 1)]);
    }
}
