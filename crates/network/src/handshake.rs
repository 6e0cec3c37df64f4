//! The exchange of Status that the eth protocol begins with: what we say, and whether a peer fits.

use primitives::{B256, ChainSpec, ForkId, TotalDifficulty, chainspec::ForkIdMismatch};

use crate::wire::{EthVersion, Message, Status};

/// What this node says about itself, and compares peers with.
#[derive(Debug, Clone, Copy)]
pub struct Handshake<'a> {
    /// The chain that this node follows.
    pub chain: &'a ChainSpec,
    /// Keeps networks apart; by custom the chain id.
    pub network_id: u64,
    /// The number of this node's newest canonical block.
    pub number: u64,
    /// Its hash.
    pub head: B256,
    /// The work of its chain.
    pub td: TotalDifficulty,
}

/// Why a peer cannot be ours. The texts name the cause and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// The peer began with something else.
    #[error(
        "peer sent message {code:#04x} where its status belongs; it does not speak the protocol: \
         check its software"
    )]
    NotStatus {
        /// What it sent.
        code: u8,
    },
    /// The peer is in another network.
    #[error(
        "peer is in network {theirs} and this node in network {ours}; \
         start both with the same --networkid"
    )]
    NetworkId {
        /// This node's.
        ours: u64,
        /// The peer's.
        theirs: u64,
    },
    /// The peer's status is of another version than the one agreed on.
    #[error("peer says version {theirs} where {ours} was agreed on; check its software")]
    Version {
        /// What was agreed on.
        ours: EthVersion,
        /// What the status says.
        theirs: u64,
    },
    /// The peer's chain begins with another block.
    #[error(
        "peer's genesis block is {theirs} and this node's {ours}; \
         initialise both with the same genesis file"
    )]
    Genesis {
        /// This node's.
        ours: B256,
        /// The peer's.
        theirs: B256,
    },
    /// The peer does not know a fork that this node has passed.
    #[error(
        "peer's fork id is {}/{} and this node's {}/{}: the peer does not know a fork that this \
         node has passed; update the peer, or the fork blocks of its genesis file",
        hex(.theirs), .theirs.next, hex(.ours), .ours.next
    )]
    RemoteStale {
        /// This node's.
        ours: ForkId,
        /// The peer's.
        theirs: ForkId,
    },
    /// The peer follows other forks, or knows one that this node does not.
    #[error(
        "peer's fork id is {}/{} and this node's {}/{}: the peer follows forks that this node does \
         not know; update this node, or make the fork blocks of both genesis files the same",
        hex(.theirs), .theirs.next, hex(.ours), .ours.next
    )]
    LocalIncompatibleOrStale {
        /// This node's.
        ours: ForkId,
        /// The peer's.
        theirs: ForkId,
    },
    /// The peer's status has no fork id, though the version demands one.
    #[error("peer's status has no fork id, which {version} demands; check its software")]
    NoForkId {
        /// What was agreed on.
        version: EthVersion,
    },
}

impl Handshake<'_> {
    /// What this node says.
    #[must_use]
    pub fn status(&self, version: EthVersion) -> Status {
        Status {
            version: u64::from(version.number()),
            network_id: self.network_id,
            td: self.td,
            head: self.head,
            genesis: self.chain.genesis_block().hash(),
            fork_id: version.has_fork_id().then(|| self.chain.fork_id(self.number)),
        }
    }

    /// The peer's status, if its first message is one that fits.
    ///
    /// # Errors
    ///
    /// If the message is another one, or the peer is on another chain or network.
    pub fn accept(&self, version: EthVersion, message: &Message) -> Result<Status, StatusError> {
        let Message::Status(status) = message else {
            return Err(StatusError::NotStatus { code: message.code() });
        };
        self.check(version, status)?;
        Ok(*status)
    }

    /// Checks a peer's status, in geth's order.
    ///
    /// # Errors
    ///
    /// If the peer is on another chain or network, or the status contradicts the version.
    pub fn check(&self, version: EthVersion, status: &Status) -> Result<(), StatusError> {
        let ours = self.network_id;
        if status.network_id != ours {
            return Err(StatusError::NetworkId { ours, theirs: status.network_id });
        }
        if status.version != u64::from(version.number()) {
            return Err(StatusError::Version { ours: version, theirs: status.version });
        }
        let ours = self.chain.genesis_block().hash();
        if status.genesis != ours {
            return Err(StatusError::Genesis { ours, theirs: status.genesis });
        }
        if !version.has_fork_id() {
            return Ok(());
        }
        let theirs = status.fork_id.ok_or(StatusError::NoForkId { version })?;
        let ours = self.chain.fork_id(self.number);
        self.chain.check_fork_id(self.number, theirs).map_err(|mismatch| match mismatch {
            ForkIdMismatch::RemoteStale => StatusError::RemoteStale { ours, theirs },
            ForkIdMismatch::LocalIncompatibleOrStale => {
                StatusError::LocalIncompatibleOrStale { ours, theirs }
            }
        })
    }
}

fn hex(fork_id: &ForkId) -> String {
    primitives::hex::encode_prefixed(fork_id.hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use primitives::U256;

    fn chain(forks: &str) -> ChainSpec {
        let text = format!(
            r#"{{"config": {{"chainId": 7, "homesteadBlock": 0, "eip150Block": 0,
                "eip155Block": 0, "eip158Block": 0, "byzantiumBlock": 0{forks}}},
                "difficulty": "0x400", "gasLimit": "0x8000000", "alloc": {{}}}}"#
        );
        ChainSpec::from_json(&text).unwrap()
    }

    fn at(chain: &ChainSpec, number: u64) -> Handshake<'_> {
        let td = TotalDifficulty::new(U256::from(1024));
        Handshake { chain, network_id: 7, number, head: B256::repeat_byte(1), td }
    }

    const CONSTANTINOPLE: &str = r#", "constantinopleBlock": 10, "petersburgBlock": 10"#;

    #[test]
    fn takes_a_peer_of_the_same_chain_in_every_version() {
        let chain = chain(CONSTANTINOPLE);
        for version in EthVersion::ALL {
            let ours = at(&chain, 3);
            let status = at(&chain, 50).status(version);
            assert_eq!(status.fork_id.is_some(), version.has_fork_id());
            assert_eq!(ours.accept(version, &Message::Status(status)), Ok(status));
        }
    }

    #[test]
    fn refuses_what_is_not_a_status() {
        let chain = chain("");
        let other = Message::Transactions(vec![]);
        let refusal = at(&chain, 0).accept(EthVersion::Eth65, &other);
        assert_eq!(refusal, Err(StatusError::NotStatus { code: 2 }));
    }

    #[test]
    fn tells_the_cause_and_the_fix() {
        let (chain, newer) = (chain(""), self::chain(CONSTANTINOPLE));
        let (ours, version) = (at(&chain, 20), EthVersion::Eth66);
        let good = ours.status(version);
        let refusal = |status: Status| ours.check(version, &status).unwrap_err().to_string();

        let network = refusal(Status { network_id: 8, ..good });
        assert!(network.contains("network 8") && network.contains("--networkid"), "{network}");
        let wrong_version = refusal(Status { version: 65, ..good });
        assert!(wrong_version.contains("65") && wrong_version.contains("eth/66"));
        let genesis = refusal(Status { genesis: B256::repeat_byte(9), ..good });
        assert!(genesis.contains(&B256::repeat_byte(9).to_string()));
        assert!(genesis.contains(&good.genesis.to_string()) && genesis.contains("genesis file"));
        let no_fork_id = refusal(Status { fork_id: None, ..good });
        assert!(no_fork_id.contains("no fork id"));
        // The peer has passed a fork that we do not have.
        let ahead = refusal(Status { fork_id: Some(newer.fork_id(20)), ..good });
        assert!(ahead.contains("update this node"), "{ahead}");
    }

    #[test]
    fn refuses_a_peer_that_missed_a_fork() {
        let (old, chain) = (chain(""), chain(CONSTANTINOPLE));
        let ours = at(&chain, 20);
        let stale = Status { fork_id: Some(old.fork_id(20)), ..ours.status(EthVersion::Eth64) };
        let refusal = ours.check(EthVersion::Eth64, &stale).unwrap_err();
        assert!(matches!(refusal, StatusError::RemoteStale { .. }));
        assert!(refusal.to_string().contains("update the peer"));
        // Before either passed it, the two still fit (EIP-2124).
        assert_eq!(at(&chain, 5).check(EthVersion::Eth64, &stale), Ok(()));
    }
}
