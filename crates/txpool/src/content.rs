//! Looking into the pool.

use std::{collections::BTreeMap, sync::Arc};

use primitives::{Address, B256};

use crate::{
    BestTransactions, Origin, Pool, PoolError, PooledTransaction, account::Account, read_facts,
};

/// Everything in the pool at one moment, by sender.
pub type Content = BTreeMap<Address, AccountContent>;

/// The transactions of one sender, each list in the order of the nonces.
#[derive(Debug, Clone, Default)]
pub struct AccountContent {
    /// Can be mined one after the other, and paid for all together.
    pub pending: Vec<Arc<PooledTransaction>>,
    /// Wait for a missing nonce or for money.
    pub queued: Vec<Arc<PooledTransaction>>,
}

impl From<&Account> for AccountContent {
    fn from(account: &Account) -> Self {
        Self {
            pending: account.pending().cloned().collect(),
            queued: account.queued().cloned().collect(),
        }
    }
}

impl Pool {
    /// A transaction by its hash.
    #[must_use]
    pub fn get(&self, hash: B256) -> Option<Arc<PooledTransaction>> {
        self.ground().inner.with_hash(hash).cloned()
    }

    /// Those of these hashes that are not here, in their order: what a peer should be asked for.
    #[must_use]
    pub fn unknown(&self, hashes: &[B256]) -> Vec<B256> {
        let ground = self.ground();
        hashes.iter().filter(|hash| ground.inner.with_hash(**hash).is_none()).copied().collect()
    }

    /// How many transactions are pending and how many queued.
    #[must_use]
    pub fn status(&self) -> (usize, usize) {
        self.ground().inner.status()
    }

    /// Everything in the pool.
    #[must_use]
    pub fn content(&self) -> Content {
        let ground = self.ground();
        ground.inner.accounts().map(|(address, account)| (*address, account.into())).collect()
    }

    /// What one sender has in the pool.
    #[must_use]
    pub fn content_of(&self, sender: Address) -> AccountContent {
        self.ground().inner.account(sender).map(AccountContent::from).unwrap_or_default()
    }

    /// All pending transactions, those of one sender together and in the order of their nonces.
    #[must_use]
    pub fn pending(&self) -> Vec<Arc<PooledTransaction>> {
        let ground = self.ground();
        ground.inner.accounts().flat_map(|(_, account)| account.pending()).cloned().collect()
    }

    /// All transactions that were given to this node and wait for an earlier one of their sender.
    #[must_use]
    pub fn waiting_own(&self) -> Vec<Arc<PooledTransaction>> {
        let ground = self.ground();
        let queued = ground.inner.accounts().flat_map(|(_, account)| account.queued());
        queued.filter(|tx| tx.origin == Origin::Local).cloned().collect()
    }

    /// Senders whose transactions are spared price floor and eviction, of those that have some.
    #[must_use]
    pub fn local_senders(&self) -> Vec<Address> {
        let ground = self.ground();
        let local = ground.inner.accounts().filter(|(_, account)| account.local);
        local.map(|(address, _)| *address).collect()
    }

    /// The nonce that the sender's next transaction should have: after its pending ones.
    ///
    /// # Errors
    ///
    /// [`PoolError::Read`] when the sender has nothing pending and its account cannot be read.
    pub fn nonce(&self, sender: Address) -> Result<u64, PoolError> {
        let view = {
            let ground = self.ground();
            if let Some(account) = ground.inner.account(sender) {
                return Ok(account.pending_end());
            }
            if let Some(facts) = ground.inner.known_facts(sender) {
                return Ok(facts.nonce);
            }
            ground.view.clone()
        };
        Ok(read_facts(&view, sender)?.nonce)
    }

    /// What is pending now, in the order in which a miner wants it for a block with this base fee
    /// in wei (`None` before London).
    #[must_use]
    pub fn best(&self, base_fee: Option<u64>) -> BestTransactions {
        let accounts: Vec<_> = {
            let ground = self.ground();
            let accounts = ground.inner.accounts();
            accounts
                .map(|(_, account)| (account.local, account.pending().cloned().collect()))
                .collect()
        };
        BestTransactions::new(base_fee, accounts.into_iter())
    }
}
