use super::{ChainSpec, Forks};
use crate::B256;

/// Checksum of the forks passed and the number of the next one
/// ([EIP-2124](https://eips.ethereum.org/EIPS/eip-2124)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkId {
    /// CRC-32 of the genesis hash and the passed fork numbers.
    pub hash: [u8; 4],
    /// The next fork's number, 0 if none is known.
    pub next: u64,
}

/// Why a peer's fork id does not fit ours. The texts are geth's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForkIdMismatch {
    /// The peer is on our chain but does not know a fork that we have passed.
    #[error("remote needs update")]
    RemoteStale,
    /// The peer is on another chain, or knows a fork that we do not.
    #[error("local incompatible or needs update")]
    LocalIncompatibleOrStale,
}

impl Forks {
    /// The fork id of a node on this chain whose head has this number
    /// ([EIP-2124](https://eips.ethereum.org/EIPS/eip-2124)).
    #[must_use]
    pub fn fork_id(&self, genesis: B256, head: u64) -> ForkId {
        let blocks = self.fork_blocks();
        let passed = blocks.partition_point(|block| *block <= head);
        ForkId {
            hash: checksums(genesis, &blocks)[passed],
            next: blocks.get(passed).copied().unwrap_or_default(),
        }
    }

    /// Checks whether a peer with this fork id can be on our chain, `head` being our newest block
    /// ([EIP-2124](https://eips.ethereum.org/EIPS/eip-2124), validation rules).
    ///
    /// # Errors
    ///
    /// If one of the two follows other forks than the other.
    pub fn check_fork_id(
        &self,
        genesis: B256,
        head: u64,
        remote: ForkId,
    ) -> Result<(), ForkIdMismatch> {
        let blocks = self.fork_blocks();
        let passed = blocks.partition_point(|block| *block <= head);
        let Some(known) = checksums(genesis, &blocks).iter().position(|hash| *hash == remote.hash)
        else {
            return Err(ForkIdMismatch::LocalIncompatibleOrStale);
        };
        if known == passed && remote.next > 0 && head >= remote.next {
            return Err(ForkIdMismatch::LocalIncompatibleOrStale);
        }
        if known < passed && blocks[known] != remote.next {
            return Err(ForkIdMismatch::RemoteStale);
        }
        Ok(())
    }

    /// The numbers that make up the fork id: sorted, each once, without 0.
    #[must_use]
    pub fn fork_blocks(&self) -> Vec<u64> {
        let named = [
            self.homestead,
            self.dao.map(|dao| dao.block),
            self.eip150,
            self.eip155,
            self.eip158,
            self.byzantium,
            self.constantinople,
            self.petersburg,
            self.istanbul,
            self.muir_glacier,
            self.berlin,
            self.london,
            self.arrow_glacier,
            self.gray_glacier,
        ];
        let mut blocks: Vec<u64> = named
            .into_iter()
            .flatten()
            .chain(self.other.iter().copied())
            .filter(|n| *n > 0)
            .collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    }
}

impl ChainSpec {
    /// The fork id of a node whose head has this number (EIP-2124).
    #[must_use]
    pub fn fork_id(&self, head: u64) -> ForkId {
        self.forks.fork_id(self.genesis_block().hash(), head)
    }

    /// Checks whether a peer with this fork id can be on this chain, `head` being our newest block.
    ///
    /// # Errors
    ///
    /// If one of the two follows other forks than the other.
    pub fn check_fork_id(&self, head: u64, remote: ForkId) -> Result<(), ForkIdMismatch> {
        self.forks.check_fork_id(self.genesis_block().hash(), head, remote)
    }
}

/// The checksum before the first fork, and after each.
fn checksums(genesis: B256, blocks: &[u64]) -> Vec<[u8; 4]> {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(genesis.as_slice());
    let mut sums = vec![checksum.clone().finalize().to_be_bytes()];
    for block in blocks {
        checksum.update(&block.to_be_bytes());
        sums.push(checksum.clone().finalize().to_be_bytes());
    }
    sums
}
