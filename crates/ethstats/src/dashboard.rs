//! The dashboard without a socket and without a clock: what nodes say goes in, what to tell them
//! and what pages show comes out.

mod chain;
mod figures;
mod forecast;
mod metered;
mod node;
mod pages;
pub mod server;
mod sockets;
mod trust;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use primitives::B256;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use self::{
    chain::Chain,
    forecast::Forecast,
    node::{Head, Node},
};
use crate::message::{BlockSeen, Hello, NodeMessage, ServerMessage};

/// Nodes that are shown, with those that left.
pub const NODES_MAX: usize = 1_000;
/// How long a node is shown after it left: pods of new names come after those of old ones.
const GONE_PERIOD: u64 = 10 * 60 * 1_000;
/// How long a node may be silent; geth reports every 15 s.
const SILENCE_MAX: u64 = 90 * 1_000;
/// How long a login may take.
const LOGIN_PERIOD_MAX: u64 = 10 * 1_000;
/// Nodes that were sent away for their secret and are shown.
const REFUSED_MAX: usize = 8;
/// How long a pong is held back: geth 1.9.13 hangs up when it comes before geth waits for it.
pub const PONG_DELAY: Duration = Duration::from_millis(150);
/// What that adds to the half round trip that geth measures, in milliseconds.
const PONG_DELAY_HALF: u32 = 75;
/// Blocks that are asked for at once, so that the answer is shorter than a frame may be.
const HISTORY_ASKED_MAX: usize = 10;
/// How long after a question for blocks the next one comes, in milliseconds.
const HISTORY_PAUSE: u64 = 3_000;
/// The same when the answer brought nothing.
const HISTORY_PAUSE_LONG: u64 = 120_000;
/// How long the head may be none that most nodes have, in milliseconds: a block takes seconds to
/// all of them, and a branch is left within a few blocks.
const DISSENT_PERIOD_MAX: u64 = 30_000;
/// How often that is looked at, in milliseconds.
const POLL_PERIOD: u64 = 1_000;
/// Heads that are looked at, those of most nodes first.
const POLLED_HEADS_MAX: usize = 32;
/// A delay above this says that the node was busy, not that the network is slow, in milliseconds.
const DELAY_MAX: u64 = 120_000;

/// What nodes must know to report.
#[derive(Clone)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// One secret, or several with `|` between them; `None` if there is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let secrets: Vec<String> =
            text.split('|').map(str::trim).filter(|one| !one.is_empty()).map(Into::into).collect();
        (!secrets.is_empty()).then_some(Self(secrets))
    }

    fn accept(&self, given: &str) -> bool {
        let fits = |secret: &String| bool::from(secret.as_bytes().ct_eq(given.as_bytes()));
        self.0.iter().fold(false, |found, secret| found | fits(secret))
    }
}

impl std::fmt::Debug for Secrets {
    /// Without them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Secrets").field(&self.0.len()).finish()
    }
}

/// What a dashboard is told at its start.
#[derive(Debug, Clone)]
pub struct DashboardConfig {
    /// What nodes must know.
    pub secrets: Secrets,
}

/// A connection of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What can happen.
#[derive(Debug)]
pub enum Event {
    /// Somebody connected.
    Opened(SessionId, IpAddr),
    /// It said something.
    Said(SessionId, NodeMessage),
    /// It is gone.
    Closed(SessionId),
    /// Time passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Say this, not before so much time has passed.
    Send(SessionId, ServerMessage, Duration),
    /// Hang up.
    Close(SessionId, Refusal),
    /// A node is in.
    Welcome(SessionId, String),
    /// A node claims a total difficulty that is not believed; said once, until it claims less.
    Doubt(SessionId, String, u64),
}

/// Why a node is sent away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not know the secret.
    #[error("wrong secret")]
    Secret(String),
    /// It reported before it logged in.
    #[error("no login")]
    Login,
    /// There are enough.
    #[error("there are {NODES_MAX} nodes already")]
    Full,
    /// It says nothing.
    #[error("silence")]
    Silence,
}

/// The dashboard. Times are milliseconds since 1970.
#[derive(Debug)]
pub struct Dashboard {
    config: DashboardConfig,
    sessions: HashMap<SessionId, Session>,
    nodes: BTreeMap<Arc<str>, Node>,
    gone: Vec<Arc<str>>,
    chain: Chain,
    history_next: u64,
    shown_head: Option<B256>,
    /// Since when most nodes have another chain than the head's.
    dissent: Option<u64>,
    poll_next: u64,
    refused: VecDeque<Refused>,
    refused_changed: bool,
}

/// A node that was sent away.
#[derive(Debug)]
struct Refused {
    at: u64,
    name: String,
    address: IpAddr,
    why: String,
}

#[derive(Debug)]
struct Session {
    address: IpAddr,
    /// Which node it is, once it has logged in.
    node: Option<Arc<str>>,
    last: u64,
    /// Whether it has told of a block: the first may be old.
    has_block: bool,
}

impl Session {
    fn silent(&self, now: u64) -> Option<Refusal> {
        let silence = now.saturating_sub(self.last);
        match self.node {
            Some(_) => (silence > SILENCE_MAX).then_some(Refusal::Silence),
            None => (silence > LOGIN_PERIOD_MAX).then_some(Refusal::Login),
        }
    }
}

impl Dashboard {
    /// A dashboard that knows of nobody.
    #[must_use]
    pub fn new(config: DashboardConfig) -> Self {
        Self {
            config,
            sessions: HashMap::new(),
            nodes: BTreeMap::new(),
            gone: Vec::new(),
            chain: Chain::default(),
            history_next: 0,
            shown_head: None,
            dissent: None,
            poll_next: 0,
            refused: VecDeque::new(),
            refused_changed: false,
        }
    }

    /// Takes one event and appends what to do about it.
    pub fn on(&mut self, event: Event, now: u64, actions: &mut Vec<Action>) {
        match event {
            Event::Opened(session, address) => {
                let new = Session { address, node: None, last: now, has_block: false };
                self.sessions.insert(session, new);
            }
            Event::Said(session, message) => self.said(session, message, now, actions),
            Event::Closed(session) => self.closed(session, now),
            Event::Tick => self.tick(now, actions),
        }
    }

    fn said(&mut self, id: SessionId, message: NodeMessage, now: u64, actions: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        // Who has not logged in gets no more time by talking.
        if session.node.is_some() {
            session.last = now;
        }
        let node = match (message, session.node.clone()) {
            (NodeMessage::Hello(hello), None) => return self.login(id, *hello, now, actions),
            (NodeMessage::KeepAlive(answer), _) => {
                let answer = ServerMessage::KeepAlive(answer);
                return actions.push(Action::Send(id, answer, Duration::ZERO));
            }
            (_, None) => return self.refuse(id, Refusal::Login, actions),
            (message, Some(name)) => {
                let Some(node) = self.nodes.get_mut(&name) else { return };
                node.heard(now);
                match message {
                    NodeMessage::Ping(time) => {
                        let pong = ServerMessage::Pong(time, now);
                        actions.push(Action::Send(id, pong, PONG_DELAY));
                    }
                    NodeMessage::Latency(latency) => {
                        node.latency = Some(latency.saturating_sub(PONG_DELAY_HALF));
                    }
                    NodeMessage::Pending(pending) => node.pending = Some(pending),
                    NodeMessage::Stats(mut stats) => {
                        stats.caught_up ^= node.is_of_web3();
                        node.stats = Some(stats);
                    }
                    NodeMessage::Progress(progress) => node.progress = progress,
                    NodeMessage::Block(block) => self.block(id, &name, *block, (now, actions)),
                    NodeMessage::History(blocks) => self.history(&name, blocks, now),
                    NodeMessage::Hello(_) | NodeMessage::KeepAlive(_) | NodeMessage::Other => {}
                }
                name
            }
        };
        self.ask_history(id, &node, now, actions);
    }

    fn login(&mut self, id: SessionId, hello: Hello, now: u64, actions: &mut Vec<Action>) {
        if !self.config.secrets.accept(&hello.secret) {
            self.note_refused(id, &hello.id, now);
            return self.refuse(id, Refusal::Secret(hello.id), actions);
        }
        let name: Arc<str> = hello.id.into();
        if !self.nodes.contains_key(&name) && self.nodes.len() >= NODES_MAX && !self.make_room() {
            return self.refuse(id, Refusal::Full, actions);
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.node = Some(name.clone());
        let address = session.address;
        let node = self.nodes.entry(name.clone());
        let node =
            node.or_insert_with(|| Node::new(name.clone(), hello.info.clone(), address, now));
        node.join(hello.info, address, now);
        self.gone.retain(|gone| *gone != name);
        let before = self.refused.len();
        self.refused.retain(|refused| refused.name != *name);
        self.refused_changed |= self.refused.len() != before;
        actions.push(Action::Welcome(id, name.to_string()));
        actions.push(Action::Send(id, ServerMessage::Ready, Duration::ZERO));
    }

    /// Notes somebody without the secret, so that a page can say why a node is missing.
    fn note_refused(&mut self, id: SessionId, name: &str, now: u64) {
        let Some(address) = self.sessions.get(&id).map(|session| session.address) else { return };
        self.refused.retain(|old| old.name != name);
        self.refused.truncate(REFUSED_MAX - 1);
        let why = Refusal::Secret(String::new()).to_string();
        self.refused.push_front(Refused { at: now, name: name.to_owned(), address, why });
        self.refused_changed = true;
    }

    fn refuse(&mut self, id: SessionId, why: Refusal, actions: &mut Vec<Action>) {
        self.sessions.remove(&id);
        actions.push(Action::Close(id, why));
    }

    /// Forgets the node that left first.
    fn make_room(&mut self) -> bool {
        let left = self.nodes.values().filter(|node| !node.is_connected());
        let Some(oldest) = left.min_by_key(|node| node.since).map(|node| node.id.clone()) else {
            return false;
        };
        self.forget(&oldest);
        true
    }

    fn forget(&mut self, name: &Arc<str>) {
        self.nodes.remove(name);
        self.gone.push(name.clone());
    }

    fn block(
        &mut self,
        id: SessionId,
        name: &Arc<str>,
        block: BlockSeen,
        (now, actions): (u64, &mut Vec<Action>),
    ) {
        let is_first = self
            .sessions
            .get_mut(&id)
            .is_none_or(|session| !std::mem::replace(&mut session.has_block, true));
        if self.is_elsewhere(name) {
            return;
        }
        let (number, hash) = (block.number, block.hash);
        let is_trusted = self.nodes.get(name).is_none_or(|node| node.is_trusted);
        let reported = self.chain.reported(block, (name, is_trusted), now);
        let is_doubted = self.chain.doubts(hash);
        let head = self.chain.head().map(|head| head.1);
        let follows = head.is_some_and(|head| self.chain.is_on_branch(head, hash));
        let Some(node) = self.nodes.get_mut(name) else { return };
        node.is_trusted |= follows;
        if is_doubted && !std::mem::replace(&mut node.is_doubted, is_doubted) {
            actions.push(Action::Doubt(id, name.to_string(), number));
        }
        node.is_doubted = is_doubted;
        let before = node.head;
        if before.is_some_and(|head| head.hash == hash) {
            return;
        }
        let tells = !is_first && node.has_caught_up();
        let delay = reported.filter(|delay| tells && *delay <= DELAY_MAX);
        node.moved(Head { number, hash, at: now, delay });
        if let Some(before) = before {
            self.chain.moved(before.hash, hash, name, now);
        }
    }

    /// Whether most nodes are on another network: a stray node must not replace everybody's chain.
    fn is_elsewhere(&self, name: &Arc<str>) -> bool {
        let Some(node) = self.nodes.get(name) else { return true };
        self.network().is_some_and(|net| net != node.info.net)
    }

    /// The network of most nodes that are here; of two with as many, the one that was here first.
    fn network(&self) -> Option<&str> {
        let mut votes: BTreeMap<&str, (u32, std::cmp::Reverse<u64>)> = BTreeMap::new();
        for node in self.nodes.values().filter(|node| node.is_connected()) {
            let vote = votes.entry(&node.info.net).or_insert((0, std::cmp::Reverse(u64::MAX)));
            vote.0 += 1;
            vote.1 = std::cmp::Reverse(vote.1.0.min(node.since));
        }
        votes.into_iter().max_by_key(|(_, vote)| *vote).map(|(net, _)| net)
    }

    fn history(&mut self, name: &Arc<str>, blocks: Vec<BlockSeen>, now: u64) {
        if self.is_elsewhere(name) {
            return;
        }
        let new = blocks.into_iter().filter(|block| self.chain.learned(block.clone())).count();
        let pause = if new > 0 { 0 } else { HISTORY_PAUSE_LONG };
        self.history_next = now.saturating_add(pause);
    }

    fn ask_history(&mut self, id: SessionId, name: &Arc<str>, now: u64, actions: &mut Vec<Action>) {
        let Some(node) = self.nodes.get(name) else { return };
        let knows = node.head.map(|head| head.hash) == self.chain.head().map(|head| head.1);
        if now < self.history_next || !node.info.can_update_history || !knows {
            return;
        }
        let mut missing = self.chain.missing(HISTORY_ASKED_MAX);
        if missing.is_empty() {
            return;
        }
        missing.reverse();
        self.history_next = now.saturating_add(HISTORY_PAUSE);
        actions.push(Action::Send(id, ServerMessage::History(Some(missing)), Duration::ZERO));
    }

    fn closed(&mut self, id: SessionId, now: u64) {
        let name = self.sessions.remove(&id).and_then(|session| session.node);
        if let Some(node) = name.and_then(|name| self.nodes.get_mut(&name)) {
            node.leave(now);
        }
    }

    fn tick(&mut self, now: u64, actions: &mut Vec<Action>) {
        let silent: Vec<(SessionId, Refusal)> =
            self.sessions.iter().filter_map(|(id, one)| Some((*id, one.silent(now)?))).collect();
        for (id, why) in silent {
            self.closed(id, now);
            actions.push(Action::Close(id, why));
        }
        let is_over =
            |node: &&Node| !node.is_connected() && now.saturating_sub(node.since) > GONE_PERIOD;
        let over: Vec<Arc<str>> =
            self.nodes.values().filter(is_over).map(|node| node.id.clone()).collect();
        for name in over {
            self.forget(&name);
        }
        if now >= self.poll_next {
            self.poll_next = now.saturating_add(POLL_PERIOD);
            self.poll(now);
        }
    }

    /// Sees that the head is one that most nodes have. If it is not for long, theirs is the head,
    /// and who told of the other is not believed any more until it follows.
    fn poll(&mut self, now: u64) {
        let mut votes: BTreeMap<B256, u32> = BTreeMap::new();
        let net = self.network().map(str::to_owned);
        let votes_count = |node: &&Node| {
            node.is_connected() && node.has_caught_up() && Some(&node.info.net) == net.as_ref()
        };
        for head in self.nodes.values().filter(votes_count).filter_map(|node| node.head) {
            *votes.entry(head.hash).or_default() += 1;
        }
        let all: u32 = votes.values().sum();
        // Liars may have as many heads as there are nodes.
        let mut votes: Vec<(B256, u32)> = votes.into_iter().collect();
        votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        votes.truncate(POLLED_HEADS_MAX);
        let have = |hash: B256| -> u32 {
            let on_branch = votes.iter().filter(|(head, _)| self.chain.is_on_branch(*head, hash));
            on_branch.map(|(_, count)| count).sum()
        };
        let Some((_, head)) = self.chain.head() else { return };
        // A head that is new is one that few have; who has an ancestor of it is on its branch, too.
        let follow = |hash: &B256| self.chain.is_on_branch(head, *hash);
        let agree: u32 = votes.iter().filter(|(hash, _)| follow(hash)).map(|(_, n)| n).sum();
        if 2 * (agree.max(have(head))) > all || all == 0 {
            self.dissent = None;
            return;
        }
        let since = *self.dissent.get_or_insert(now);
        if now.saturating_sub(since) <= DISSENT_PERIOD_MAX {
            return;
        }
        let popular = votes.iter().map(|(hash, _)| (have(*hash), *hash)).max();
        let Some((_, theirs)) = popular.filter(|(count, _)| 2 * count > all) else { return };
        let heads: Vec<B256> = votes.into_iter().map(|(hash, _)| hash).collect();
        self.chain.believe(theirs, &heads, now);
        self.dissent = None;
        for node in self.nodes.values_mut() {
            let hash = node.head.map(|head| head.hash);
            let is_other = hash.is_some_and(|hash| !self.chain.is_on_branch(hash, theirs));
            let is_ahead = hash.is_some_and(|hash| self.chain.doubts(hash));
            (node.is_doubted, node.changed) = (is_ahead, true);
            node.is_trusted &= !(is_other && is_ahead);
        }
    }

    /// All that a page shows, as JSON.
    #[must_use]
    pub fn snapshot(&self, now: u64) -> Value {
        let nodes: Vec<Value> = self.nodes.values().map(|node| node.json(now)).collect();
        json!({
            "all": true,
            "now": now,
            "nodes": nodes,
            "blocks": self.chain.blocks(),
            "head": self.chain.head().map(|head| head.1),
            "network": self.network(),
            "reorgs": self.chain.reorgs(),
            "refused": self.refused(),
            "forecast": self.forecast(),
        })
    }

    /// What of it changed since this was asked last; `None` if nothing did.
    pub fn take_changes(&mut self, now: u64) -> Option<Value> {
        let mut nodes = Vec::new();
        for node in self.nodes.values_mut() {
            if std::mem::take(&mut node.changed) {
                nodes.push(node.json(now));
            }
        }
        let blocks = self.chain.take_changed();
        let gone = std::mem::take(&mut self.gone);
        let reorgs = std::mem::take(&mut self.chain.reorgs_changed).then(|| self.chain.reorgs());
        let refused = std::mem::take(&mut self.refused_changed).then(|| self.refused());
        let is_same = blocks.is_empty() && gone.is_empty() && reorgs.is_none();
        if nodes.is_empty() && is_same && refused.is_none() {
            return None;
        }
        let mut changes = json!({
            "now": now,
            "nodes": nodes,
            "blocks": blocks,
            "head": self.chain.head().map(|head| head.1),
            "network": self.network(),
            "gone": gone.iter().map(|name| json!(**name)).collect::<Vec<Value>>(),
        });
        if let Some(reorgs) = reorgs {
            changes["reorgs"] = json!(reorgs);
        }
        if let Some(refused) = refused {
            changes["refused"] = json!(refused);
        }
        let head = self.chain.head().map(|head| head.1);
        if head != self.shown_head {
            self.shown_head = head;
            changes["forecast"] = json!(self.forecast());
        }
        Some(changes)
    }

    fn forecast(&self) -> Option<Value> {
        self.foretell().map(|forecast| forecast.json())
    }

    /// When the ice age makes blocks slow.
    fn foretell(&self) -> Option<Forecast> {
        let told = self.nodes.values().find_map(|node| node.progress.bomb_delay);
        self.chain.forecast(told)
    }

    fn refused(&self) -> Vec<Value> {
        let one = |refused: &Refused| {
            json!({
                "at": refused.at,
                "name": refused.name,
                "address": refused.address,
                "why": refused.why,
            })
        };
        self.refused.iter().map(one).collect()
    }

    /// A block, and what each node told of it and when.
    #[must_use]
    pub fn details(&self, hash: B256) -> Option<Value> {
        self.chain.details(hash)
    }

    /// Nodes that are connected.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.nodes.values().filter(|node| node.is_connected()).count()
    }
}

#[cfg(test)]
mod tests;
