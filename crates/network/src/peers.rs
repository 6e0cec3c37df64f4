//! The peers that stay, and what others may know about them.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use devp2p::{Capability, DisconnectReason, PeerId};
use primitives::{B256, TotalDifficulty};

use crate::{
    SessionId,
    connection::{Identity, Joined, Sender},
    wire::{EthVersion, Message},
};

/// Questions of one peer that wait for their answer, one of which is being worked on. geth has a
/// handful open at most.
const QUESTIONS_MAX: usize = 16;

/// The peers, by session and by key.
#[derive(Debug)]
pub(crate) struct Peers {
    by_session: HashMap<SessionId, Peer>,
    by_id: HashMap<PeerId, SessionId>,
    places: usize,
}

/// A peer that passed both handshakes.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) identity: Identity,
    pub(crate) sender: Sender,
    pub(crate) named: bool,
    pub(crate) head: B256,
    pub(crate) td: TotalDifficulty,
    /// The first is being worked on.
    questions: VecDeque<Box<Message>>,
    /// Transactions without a valid signature that it sent.
    pub(crate) forgeries: usize,
}

/// What is known about a peer.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Its key.
    pub id: PeerId,
    /// Its software, as it says.
    pub name: String,
    /// What it speaks.
    pub capabilities: Vec<Capability>,
    /// Where it is.
    pub address: SocketAddr,
    /// This end of the connection.
    pub local_address: SocketAddr,
    /// Whether we called.
    pub dialled: bool,
    /// Whether the operator named it.
    pub named: bool,
    /// What is spoken.
    pub version: EthVersion,
    /// The head it claims.
    pub head: B256,
    /// The work it claims.
    pub td: TotalDifficulty,
}

impl Peers {
    pub(crate) fn new(places: usize) -> Self {
        Self { by_session: HashMap::new(), by_id: HashMap::new(), places }
    }

    /// Takes a peer in, unless it is here already or there is no room. Whom the operator named
    /// has room always.
    pub(crate) fn admit(&mut self, joined: &Joined, named: bool) -> Result<(), DisconnectReason> {
        let id = joined.identity.id;
        if self.by_id.contains_key(&id) {
            return Err(DisconnectReason::AlreadyConnected);
        }
        if self.by_session.len() >= self.places && !named {
            return Err(DisconnectReason::TooManyPeers);
        }
        let peer = Peer {
            identity: joined.identity.clone(),
            sender: joined.sender.clone(),
            named,
            head: joined.status.head,
            td: joined.status.td,
            questions: VecDeque::new(),
            forgeries: 0,
        };
        self.by_id.insert(id, joined.session);
        self.by_session.insert(joined.session, peer);
        Ok(())
    }

    pub(crate) fn remove(&mut self, session: SessionId) -> Option<Peer> {
        let peer = self.by_session.remove(&session)?;
        self.by_id.remove(&peer.identity.id);
        Some(peer)
    }

    pub(crate) fn with(&mut self, session: SessionId) -> Option<&mut Peer> {
        self.by_session.get_mut(&session)
    }

    pub(crate) fn has(&self, session: SessionId) -> bool {
        self.by_session.contains_key(&session)
    }

    pub(crate) fn session_of(&self, id: PeerId) -> Option<SessionId> {
        self.by_id.get(&id).copied()
    }

    /// What others may see, in the order of joining.
    pub(crate) fn infos(&self) -> Arc<Vec<PeerInfo>> {
        let mut peers: Vec<_> = self.by_session.iter().collect();
        peers.sort_by_key(|(session, _)| **session);
        Arc::new(peers.into_iter().map(|(_, peer)| peer.info()).collect())
    }
}

impl Peer {
    /// Queues a question. The one to work on now, if nothing is worked on; an error if the peer
    /// asks faster than it may.
    pub(crate) fn ask(&mut self, question: Box<Message>) -> Result<Option<Message>, ()> {
        if self.questions.len() == QUESTIONS_MAX {
            return Err(());
        }
        self.questions.push_back(question);
        Ok((self.questions.len() == 1).then(|| (*self.questions[0]).clone()))
    }

    /// Ends the question that was worked on. The next one, if there is one.
    pub(crate) fn answered(&mut self) -> Option<Message> {
        self.questions.pop_front();
        self.questions.front().map(|question| (**question).clone())
    }

    fn info(&self) -> PeerInfo {
        let Identity { id, name, capabilities, address, local_address, dialled, version } =
            self.identity.clone();
        let (named, head, td) = (self.named, self.head, self.td);
        PeerInfo {
            id,
            name,
            capabilities,
            address,
            local_address,
            dialled,
            named,
            version,
            head,
            td,
        }
    }
}
