//! Nodes that break the rules: honest ones whose messages are replaced on the way out.

use std::sync::Arc;

use network::wire::{Message, Status};
use primitives::{
    B256, Block, BlockBody, BlockNumHash, Header, SealedBlock, TotalDifficulty, U256,
};
use rand::{Rng, rngs::StdRng};

/// How a node lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Announces blocks that nobody gets to see, and answers no question about blocks.
    Withholds,
    /// Gives other blocks' bodies.
    WrongBodies,
    /// Claims more work than there is.
    WrongTotalDifficulty,
    /// Sends blocks that show only when they are executed that they are invalid, and others.
    InvalidBlocks,
    /// Answers nothing at all, and claims a head that does not exist.
    Stalls,
}

impl Lie {
    /// Whether somebody who looks has to drop it.
    pub(crate) const fn must_be_dropped(self) -> bool {
        match self {
            Self::Withholds | Self::WrongTotalDifficulty | Self::InvalidBlocks | Self::Stalls => {
                true
            }
            // Only who asks for bodies sees them.
            Self::WrongBodies => false,
        }
    }

    pub(crate) fn status(self, mut status: Status, rng: &mut StdRng) -> Status {
        match self {
            Self::WrongTotalDifficulty => status.td = huge(),
            Self::Stalls => (status.td, status.head) = (huge(), rng.random::<[u8; 32]>().into()),
            Self::Withholds | Self::WrongBodies | Self::InvalidBlocks => {}
        }
        status
    }

    /// What is sent instead of a message.
    pub(crate) fn replace(self, message: Message) -> Option<Message> {
        match (self, message) {
            (Self::Withholds, Message::BlockHeaders { .. } | Message::BlockBodies { .. })
            | (Self::Stalls, _) => None,
            (Self::WrongBodies, Message::BlockBodies { request, bodies }) => {
                let ommers = vec![Header { number: 7, ..Header::default() }];
                let wrong = BlockBody { ommers, ..BlockBody::default() };
                Some(Message::BlockBodies { request, bodies: vec![wrong; bodies.len()] })
            }
            (Self::WrongTotalDifficulty, Message::NewBlock { block, .. }) => {
                Some(Message::NewBlock { block, td: huge() })
            }
            (_, message) => Some(message),
        }
    }

    /// What it says every now and then to everybody.
    pub(crate) fn gossip(self, next: Option<SealedBlock>, rng: &mut StdRng) -> Option<Message> {
        let next = next?;
        match self {
            Self::Withholds => {
                let hash = B256::from(rng.random::<[u8; 32]>());
                Some(Message::NewBlockHashes(vec![BlockNumHash {
                    number: next.header().number,
                    hash,
                }]))
            }
            Self::InvalidBlocks => {
                let mut header = next.header().clone();
                header.state_root = B256::from(rng.random::<[u8; 32]>());
                if rng.random_bool(0.2) {
                    header.gas_limit += header.gas_limit / 2;
                }
                let block = SealedBlock::seal_slow(Block { header, body: next.body().clone() });
                let td = TotalDifficulty::new(U256::from(1_u64 << 30));
                Some(Message::NewBlock { block: Arc::new(block), td })
            }
            Self::WrongTotalDifficulty => {
                Some(Message::NewBlock { block: Arc::new(next), td: huge() })
            }
            Self::WrongBodies | Self::Stalls => None,
        }
    }
}

fn huge() -> TotalDifficulty {
    TotalDifficulty::new(U256::from(1) << 99)
}
