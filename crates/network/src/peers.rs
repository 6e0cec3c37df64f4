//! The peers that stay, and what others may know about them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use devp2p::{Capability, DisconnectReason, PeerId, Traffic};
use primitives::{B256, TotalDifficulty};

use crate::{
    SessionId,
    connection::{Identity, Joined, Sender},
    serve::Question,
    wire::EthVersion,
};

/// Questions of one peer that wait for their answer, one of which is being worked on. geth has a
/// handful open at most.
const QUESTIONS_MAX: usize = 16;
/// Two calls that cross each other become sessions within this time.
const CROSSING_PERIOD: Duration = Duration::from_secs(20);
/// Nodes that have a place always.
const TRUSTED_MAX: usize = 1_024;
/// How nodes that settle crossed calls as we do begin their name.
const OWN_NAME: &str = "Hematite/";

/// The peers, by session and by key.
#[derive(Debug)]
pub(crate) struct Peers {
    own: PeerId,
    by_session: HashMap<SessionId, Peer>,
    by_id: HashMap<PeerId, SessionId>,
    trusted: HashSet<PeerId>,
    places: Places,
}

/// Places for peers that are neither named nor trusted.
#[derive(Debug, Clone, Copy)]
struct Places {
    all: usize,
    /// Who calls us gets no more than these: whoever makes many nodes cannot fill the rest.
    inbound: usize,
}

/// A peer that passed both handshakes.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) identity: Identity,
    pub(crate) sender: Sender,
    named: bool,
    trusted: bool,
    pub(crate) head: B256,
    pub(crate) td: TotalDifficulty,
    since: Instant,
    traffic: Arc<Traffic>,
    /// Bytes received and sent that were told already.
    counted: (u64, u64),
    /// The first is being worked on.
    questions: VecDeque<Box<Question>>,
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
    /// Whether it has a place always.
    pub trusted: bool,
    /// What is spoken.
    pub version: EthVersion,
    /// The head it claims.
    pub head: B256,
    /// The work it claims.
    pub td: TotalDifficulty,
}

impl Peers {
    pub(crate) fn new(own: PeerId, places: usize, trusted: Vec<PeerId>) -> Self {
        let mut trusted: HashSet<PeerId> = trusted.into_iter().collect();
        trusted.remove(&own);
        let (by_session, by_id) = (HashMap::new(), HashMap::new());
        Self { own, by_session, by_id, trusted, places: Places::new(places) }
    }

    /// Gives a node a place always, or takes that back: then it may stay as long as it likes, but
    /// takes a place of the others.
    pub(crate) fn trust(&mut self, id: PeerId, trusted: bool) {
        if trusted && id != self.own && self.trusted.len() < TRUSTED_MAX {
            self.trusted.insert(id);
        } else if !trusted {
            self.trusted.remove(&id);
        }
        let trusted = self.trusted.contains(&id);
        if let Some(peer) = self.peer_mut(id) {
            peer.trusted = trusted;
        }
    }

    /// Notes that the operator named a node, or took that back.
    pub(crate) fn set_named(&mut self, id: PeerId, named: bool) {
        if let Some(peer) = self.peer_mut(id) {
            peer.named = named;
        }
    }

    fn peer_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.by_id.get(&id).and_then(|session| self.by_session.get_mut(session))
    }

    /// Peers that take a place, by whether we called.
    fn found(&self, dialled: bool) -> usize {
        let found = self.by_session.values().filter(|peer| !peer.named && !peer.trusted);
        found.filter(|peer| peer.identity.dialled == dialled).count()
    }

    /// Takes a peer in, unless there is no room; whom the operator named or trusts has room
    /// always, and takes no place. Of two
    /// sessions with one node only one stays: if that is the new one, the old one is returned, to
    /// be closed.
    pub(crate) fn admit(
        &mut self,
        joined: &Joined,
        named: bool,
        now: Instant,
    ) -> Result<Option<SessionId>, DisconnectReason> {
        let id = joined.identity.id;
        let old = self.by_id.get(&id).copied();
        if let Some(old) = old.and_then(|old| self.by_session.get(&old))
            && !gives_way(self.own, &old.identity, now - old.since, &joined.identity)
        {
            return Err(DisconnectReason::AlreadyConnected);
        }
        let trusted = self.trusted.contains(&id);
        let (inbound, outbound) = (self.found(false), self.found(true));
        let has_room = self.places.has_room(inbound, outbound, joined.identity.dialled);
        if old.is_none() && !named && !trusted && !has_room {
            return Err(DisconnectReason::TooManyPeers);
        }
        let peer = Peer {
            identity: joined.identity.clone(),
            sender: joined.sender.clone(),
            named,
            trusted,
            head: joined.status.head,
            td: joined.status.td,
            since: now,
            traffic: Arc::clone(&joined.traffic),
            counted: (0, 0),
            questions: VecDeque::new(),
        };
        self.by_id.insert(id, joined.session);
        self.by_session.insert(joined.session, peer);
        Ok(old)
    }

    /// Removes a peer. Whether another session with the same node stays is for
    /// [`Self::session_of`] to tell.
    pub(crate) fn remove(&mut self, session: SessionId) -> Option<Peer> {
        let peer = self.by_session.remove(&session)?;
        if self.by_id.get(&peer.identity.id) == Some(&session) {
            self.by_id.remove(&peer.identity.id);
        }
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

    /// The ways out to all peers.
    pub(crate) fn senders(&self) -> impl Iterator<Item = Sender> {
        self.by_session.values().map(|peer| peer.sender.clone())
    }

    /// Bytes that all peers have carried since the last call, in and out.
    pub(crate) fn carried(&mut self) -> (u64, u64) {
        let carried = self.by_session.values_mut().map(Peer::carried);
        carried.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
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
    pub(crate) fn ask(&mut self, question: Box<Question>) -> Result<Option<Question>, ()> {
        if self.questions.len() == QUESTIONS_MAX {
            return Err(());
        }
        self.questions.push_back(question);
        Ok((self.questions.len() == 1).then(|| (*self.questions[0]).clone()))
    }

    /// Bytes carried since the last call, in and out.
    pub(crate) fn carried(&mut self) -> (u64, u64) {
        let before = self.counted;
        self.counted = (self.traffic.bytes_in(), self.traffic.bytes_out());
        (self.counted.0 - before.0, self.counted.1 - before.1)
    }

    /// Ends the question that was worked on. The next one, if there is one.
    pub(crate) fn answered(&mut self) -> Option<Question> {
        self.questions.pop_front();
        self.questions.front().map(|question| (**question).clone())
    }

    fn info(&self) -> PeerInfo {
        let Identity { id, name, capabilities, address, local_address, dialled, version } =
            self.identity.clone();
        let (named, trusted, head, td) = (self.named, self.trusted, self.head, self.td);
        PeerInfo {
            id,
            name,
            capabilities,
            address,
            local_address,
            dialled,
            named,
            trusted,
            version,
            head,
            td,
        }
    }
}

impl Places {
    /// Two of three for those who call us, but one at least.
    fn new(all: usize) -> Self {
        Self { all, inbound: (all - all.div_ceil(3)).max(1) }
    }

    const fn has_room(self, inbound: usize, outbound: usize, dialled: bool) -> bool {
        inbound + outbound < self.all && (dialled || inbound < self.inbound)
    }
}

/// Whether a session of this age gives way to a newer one with the same node.
///
/// geth lets nobody get as far as a second session, so a newer one means that it has lost the
/// older one, as does a node that was started again. Nodes of our kind can call each other at the
/// same moment and see the two sessions in different order: both keep the one that the smaller
/// key called for, or each would close the one that the other keeps.
fn gives_way(own: PeerId, old: &Identity, age: Duration, new: &Identity) -> bool {
    let is_crossing =
        old.dialled != new.dialled && new.name.starts_with(OWN_NAME) && age < CROSSING_PERIOD;
    !is_crossing || new.dialled == (own < new.id)
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::*;

    fn identity(id: PeerId, name: &str, dialled: bool) -> Identity {
        let address = ([127, 0, 0, 1], 30_303).into();
        Identity {
            id,
            name: name.to_owned(),
            capabilities: Vec::new(),
            address,
            local_address: address,
            dialled,
            version: EthVersion::Eth68,
        }
    }

    #[test]
    fn callers_leave_a_third_of_the_places_to_calls_of_our_own() {
        for (all, inbound) in [(1, 1), (2, 1), (3, 2), (9, 6), (50, 33)] {
            let places = Places::new(all);
            assert!(places.has_room(inbound - 1, 0, false), "{all}");
            assert!(!places.has_room(inbound, 0, false), "{all}");
            assert_eq!(places.has_room(inbound, 0, true), inbound < all);
            assert!(!places.has_room(inbound, all - inbound, true));
            assert!(!places.has_room(0, all, false));
        }
    }

    #[test]
    fn trust_can_be_given_and_taken_back_and_is_bounded() {
        let id = |number: u32| {
            let mut key = [1; 32];
            key[..4].copy_from_slice(&(number + 1).to_be_bytes());
            PeerId::of(&SecretKey::from_slice(&key).unwrap())
        };
        let mut peers = Peers::new(id(0), 1, vec![id(0), id(1)]);
        assert!(!peers.trusted.contains(&id(0)), "a node is no peer of itself");
        assert!(peers.trusted.contains(&id(1)));
        peers.trust(id(1), false);
        assert!(peers.trusted.is_empty());
        for number in 0..=u32::try_from(TRUSTED_MAX).unwrap() + 1 {
            peers.trust(id(number), true);
        }
        assert_eq!(peers.trusted.len(), TRUSTED_MAX);
    }

    #[test]
    fn both_ends_of_crossed_calls_keep_the_same_one_whichever_they_see_first() {
        let [one, two] =
            [3, 4].map(|byte| PeerId::of(&SecretKey::from_slice(&[byte; 32]).unwrap()));
        let name = "Hematite/v0.1.0";
        // The call that stays, by who called.
        let kept = |own, other, first_dialled: bool| {
            let old = identity(other, name, first_dialled);
            let new = identity(other, name, !first_dialled);
            let gave = gives_way(own, &old, Duration::ZERO, &new);
            let dialled = if gave { new.dialled } else { old.dialled };
            if dialled { own } else { other }
        };
        let orders = [(false, false), (false, true), (true, false), (true, true)];
        for (at_one, at_two) in orders {
            assert_eq!(kept(one, two, at_one), kept(two, one, at_two));
        }
    }

    #[test]
    fn an_old_session_gives_way_to_a_node_that_was_started_again_and_to_any_of_geth() {
        let [own, other] =
            [3, 4].map(|byte| PeerId::of(&SecretKey::from_slice(&[byte; 32]).unwrap()));
        for (name, age) in [("Hematite/v0.1.0", CROSSING_PERIOD), ("Geth/v1.10.26", Duration::ZERO)]
        {
            for (old, new) in [(false, false), (false, true), (true, false), (true, true)] {
                let [old, new] = [old, new].map(|dialled| identity(other, name, dialled));
                assert!(gives_way(own, &old, age, &new));
            }
        }
    }
}
