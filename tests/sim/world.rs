//! The world: one thread, one seed, and a clock that jumps from one happening to the next.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use chain::{ChainEvent, Origin};
use consensus::{Engine, VerifiedBlock};
use network::{
    SessionId,
    handshake::Handshake,
    protocol::{self, Action, Done, Event, Fault, Outcome, Verified},
    wire::{EthVersion, Message},
};
use primitives::{B256, TotalDifficulty};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    liar::Lie,
    node::Node,
    wire::{Edge, Wire, place, session},
};

/// When the worlds begin, in seconds since 1970.
pub(crate) const EPOCH: u64 = 1_600_000_000;
/// How often the machines are told that time passes.
const TICK: Duration = Duration::from_millis(200);
/// How often liars speak up.
const LIE_PERIOD: Duration = Duration::from_secs(4);
const NETWORK: u64 = 1_337;

/// What is going to happen.
enum Happening {
    Tick(usize),
    Lie(usize),
    Mine(usize),
    Spend(usize),
    Pooled(usize),
    Call(usize),
    Arrive { wire: usize, end: usize, code: u8, payload: Vec<u8> },
    Close { wire: usize, end: usize },
    Answer { wire: usize, end: usize, answer: Option<Box<Message>> },
    Done { node: usize, done: Done },
    Import { node: usize, block: Box<VerifiedBlock> },
    ImportMany { node: usize, verified: Box<Verified> },
    Imported { node: usize, outcome: Outcome },
    Changed { node: usize, event: Arc<ChainEvent> },
    Followed { node: usize, event: Arc<ChainEvent> },
}

/// A connection that a node ended.
#[derive(Clone, Copy)]
pub(crate) struct Dropped {
    pub(crate) at: Duration,
    pub(crate) by: usize,
    pub(crate) whom: usize,
    pub(crate) fault: Fault,
}

impl std::fmt::Debug for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, by, whom, fault } = self;
        write!(f, "at {at:?} node {by} dropped {whom}: {fault} ({fault:?})")
    }
}

/// All of it.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) drops: Vec<Dropped>,
    /// Messages that an honest node could not make sense of, with their senders.
    pub(crate) nonsense: Vec<(usize, String)>,
    /// The most work that any valid block stands for.
    pub(crate) heaviest: TotalDifficulty,
    pub(crate) spent: Vec<B256>,
    pub(crate) now: Duration,
    pub(crate) rng: StdRng,
    /// Seconds between two blocks of the whole world.
    pub(crate) block_seconds: f64,
    /// Seconds between two transactions of one node's user; nobody spends if there are none.
    pub(crate) spend_seconds: Option<u64>,
    pub(crate) is_mining: bool,
    /// Whether connections are so bad that answers are waited for in vain.
    pub(crate) may_time_out: bool,
    start: Instant,
    queue: BTreeMap<(Duration, u64), Happening>,
    order: u64,
    trace: DefaultHasher,
}

impl World {
    pub(crate) fn new(seed: u64, lies: &[Option<Lie>]) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let node = |(name, lie): (usize, &Option<Lie>)| {
            Node::new(u8::try_from(name).expect("a world is small"), *lie, rng.random())
        };
        let nodes: Vec<Node> = lies.iter().enumerate().map(node).collect();
        let heaviest = nodes[0].view().td;
        let mut world = Self {
            nodes,
            edges: Vec::new(),
            wires: Vec::new(),
            drops: Vec::new(),
            nonsense: Vec::new(),
            heaviest,
            spent: Vec::new(),
            now: Duration::ZERO,
            rng,
            block_seconds: 13.0,
            spend_seconds: None,
            is_mining: false,
            may_time_out: false,
            start: Instant::now(),
            queue: BTreeMap::new(),
            order: 0,
            trace: DefaultHasher::new(),
        };
        for (node, lie) in lies.iter().enumerate() {
            let first = world.millis(1, 200);
            world.after(first, Happening::Tick(node));
            if lie.is_some() {
                world.after(LIE_PERIOD, Happening::Lie(node));
            }
        }
        world
    }

    /// Connects two nodes, now and whenever the connection is lost.
    pub(crate) fn connect(&mut self, nodes: [usize; 2], version: EthVersion) -> usize {
        let mut edge = Edge::new(nodes, version);
        edge.delay = [self.millis(5, 250), self.millis(5, 250)];
        self.edges.push(edge);
        let number = self.edges.len() - 1;
        let soon = self.millis(1, 500);
        self.after(soon, Happening::Call(number));
        number
    }

    /// Lets these nodes mine from now on.
    pub(crate) fn mine(&mut self, miners: impl IntoIterator<Item = usize>) {
        self.is_mining = true;
        for node in miners {
            self.nodes[node].mines = true;
            self.find_later(node);
        }
    }

    /// Lets every honest node's user spend from now on.
    pub(crate) fn spend_every(&mut self, seconds: u64) {
        self.spend_seconds = Some(seconds);
        for node in self.honest() {
            let first = self.millis(1, 3_000);
            self.after(first, Happening::Spend(node));
        }
    }

    /// Cuts a connection, which both ends notice at different times, and keeps it cut.
    pub(crate) fn cut(&mut self, edge: usize) {
        self.edges[edge].is_up = false;
        self.lose(edge);
    }

    /// Loses a connection: nothing arrives any more, and both ends notice some time.
    pub(crate) fn lose(&mut self, edge: usize) {
        let Some(wire) = self.edges[edge].wire else { return };
        self.wires[wire].is_dead = true;
        for end in 0..2 {
            let noticed = self.millis(0, 4_000);
            self.after(noticed, Happening::Close { wire, end });
        }
    }

    /// Lets a connection come back.
    pub(crate) fn heal(&mut self, edge: usize) {
        if !self.edges[edge].is_up {
            self.edges[edge].is_up = true;
            let soon = self.millis(100, 5_000);
            self.after(soon, Happening::Call(edge));
        }
    }

    pub(crate) fn honest(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].lie.is_none()).collect()
    }

    pub(crate) fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            self.step();
        }
    }

    /// Runs until something is so, or until so many seconds have passed. Whether it became so.
    pub(crate) fn run_until(&mut self, seconds: u64, is_so: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + Duration::from_secs(seconds);
        while self.now < end {
            if is_so(self) {
                return true;
            }
            self.step();
        }
        is_so(self)
    }

    /// What the world's course was, in one number.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(from..=to))
    }

    fn unix(&self) -> u64 {
        EPOCH + 1 + self.now.as_secs()
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    fn at(&mut self, time: Duration, happening: Happening) {
        self.order += 1;
        self.queue.insert((time, self.order), happening);
    }

    fn step(&mut self) {
        let ((time, _), happening) = self.queue.pop_first().expect("ticks never end");
        self.now = time;
        match happening {
            Happening::Tick(node) => {
                self.after(TICK, Happening::Tick(node));
                self.feed(node, Event::Tick);
                self.pooled(node);
                crate::verdict::is_within_bounds(&self.nodes[node]);
            }
            Happening::Lie(node) => self.lie(node),
            Happening::Mine(node) => self.find(node),
            Happening::Spend(node) => self.spend(node),
            Happening::Pooled(node) => self.pooled(node),
            Happening::Call(edge) => self.call(edge),
            Happening::Arrive { wire, end, code, payload } => {
                self.arrive((wire, end), code, &payload);
            }
            Happening::Close { wire, end } => self.close(wire, end),
            Happening::Answer { wire, end, answer } => self.answer(wire, end, answer),
            Happening::Done { node, done } => self.feed(node, Event::Done(done)),
            Happening::Import { node, block } => self.import(node, *block),
            Happening::ImportMany { node, verified } => self.import_many(node, *verified),
            Happening::Imported { node, outcome } => self.feed(node, Event::Imported(outcome)),
            Happening::Changed { node, event } => {
                self.nodes[node].on_changed(&event);
                self.feed(node, Event::ChainChanged(event));
            }
            Happening::Followed { node, event } => {
                self.nodes[node].pool.on_event(&event);
                self.pooled(node);
            }
        }
    }

    fn feed(&mut self, node: usize, event: Event) {
        let now = self.start + self.now;
        for action in self.nodes[node].on(event, now) {
            self.perform(node, action);
        }
    }

    fn perform(&mut self, node: usize, action: Action) {
        match action {
            Action::Send { peer, message } => self.send(peer, message),
            Action::Drop { peer, fault } => self.drop_peer(node, peer, fault),
            Action::Start(job) => {
                let done = job.run(&Engine::Instant, &self.nodes[node].pool);
                let later = self.millis(1, 120);
                self.after(later, Happening::Done { node, done });
                let soon = self.millis(0, 20);
                self.after(soon, Happening::Pooled(node));
            }
            Action::Import(block) => {
                let later = self.millis(1, 60);
                let free = &mut self.nodes[node].free_at.chain;
                *free = (*free).max(self.now) + later;
                let time = *free;
                self.at(time, Happening::Import { node, block });
            }
            Action::ImportMany(blocks) => {
                let spec = self.nodes[node].view().spec.clone();
                let later = self.millis(5, 600);
                let verified = Box::new(Verified::new(blocks, &Engine::Instant, &spec, 1));
                let free = &mut self.nodes[node].free_at;
                free.batches = free.batches.max(free.chain).max(self.now) + later;
                free.chain = free.batches;
                let time = free.batches;
                self.at(time, Happening::ImportMany { node, verified });
            }
            Action::PeerHead { .. } | Action::Progress(_) => {}
        }
    }

    fn send(&mut self, peer: SessionId, message: Message) {
        let (wire, end) = place(peer);
        let node = self.wires[wire].nodes[end];
        let message = match self.nodes[node].lie {
            Some(lie) => lie.replace(message),
            None => Some(message),
        };
        let Some(message) = message else { return };
        let Wire { version, ref delay, is_dead, ref mut ends, .. } = self.wires[wire];
        if !ends[end].is_open {
            return;
        }
        ends[end].questions.ask(&message);
        let (code, payload) = message.encode(version);
        let other = &mut ends[1 - end];
        // A quarter more, now and then.
        let jitter = delay[1 - end] * self.rng.random_range(0..64) / 256;
        other.last = other.last.max(self.now + delay[1 - end] + jitter);
        let time = other.last;
        if !is_dead {
            self.at(time, Happening::Arrive { wire, end: 1 - end, code, payload });
        }
    }

    fn drop_peer(&mut self, by: usize, peer: SessionId, fault: Fault) {
        let (wire, end) = place(peer);
        let whom = self.wires[wire].nodes[1 - end];
        if self.wires[wire].ends[end].is_open {
            self.drops.push(Dropped { at: self.now, by, whom, fault });
            let delay = self.wires[wire].delay[1 - end];
            self.after(Duration::from_millis(1), Happening::Close { wire, end });
            self.after(delay, Happening::Close { wire, end: 1 - end });
        }
    }

    fn close(&mut self, wire: usize, end: usize) {
        let at = &mut self.wires[wire];
        let (node, edge) = (at.nodes[end], at.edge);
        if !std::mem::replace(&mut at.ends[end].is_open, false) {
            return;
        }
        if std::mem::replace(&mut at.ends[end].has_joined, false) {
            self.feed(node, Event::PeerLeft { peer: session(wire, end) });
        }
        let is_closed = self.wires[wire].ends.iter().all(|end| !end.is_open);
        if is_closed && self.edges[edge].wire == Some(wire) {
            self.edges[edge].wire = None;
            let later = self.millis(5_000, 30_000);
            self.after(later, Happening::Call(edge));
        }
    }

    fn call(&mut self, edge: usize) {
        if !self.edges[edge].is_up || self.edges[edge].wire.is_some() {
            return;
        }
        let wire = self.wires.len();
        self.edges[edge].wire = Some(wire);
        self.wires.push(Wire::new(edge, &self.edges[edge], self.now));
        for end in 0..2 {
            let node = &self.nodes[self.wires[wire].nodes[end]];
            let view = node.view();
            let mut status = handshake(&view).status(self.wires[wire].version);
            if let Some(lie) = node.lie {
                status = lie.status(status, &mut self.rng);
            }
            // Not a message of the machine's, so a liar that says nothing says this.
            let Wire { version, delay, ref mut ends, .. } = self.wires[wire];
            let (code, payload) = Message::Status(status).encode(version);
            ends[1 - end].last = self.now + delay[1 - end];
            self.after(delay[1 - end], Happening::Arrive { wire, end: 1 - end, code, payload });
        }
    }

    /// What a connection does with a message, then what the loop does.
    fn arrive(&mut self, (wire, end): (usize, usize), code: u8, payload: &[u8]) {
        (self.now, wire, end, code, payload).hash(&mut self.trace);
        if !self.wires[wire].ends[end].is_open || self.wires[wire].is_dead {
            return;
        }
        match self.read(wire, end, code, payload) {
            Ok(Some(message)) => self.hear(wire, end, message),
            Ok(None) => {}
            Err(error) => {
                self.nonsense.push((self.wires[wire].nodes[1 - end], error));
                self.after(Duration::ZERO, Happening::Close { wire, end });
                self.after(Duration::ZERO, Happening::Close { wire, end: 1 - end });
            }
        }
    }

    fn read(
        &mut self,
        wire: usize,
        end: usize,
        code: u8,
        payload: &[u8],
    ) -> Result<Option<Message>, String> {
        let version = self.wires[wire].version;
        let node = self.wires[wire].nodes[end];
        let at = &mut self.wires[wire].ends[end];
        if !at.questions.may_come(code) {
            return Err(format!("message {code:#04x} answers no question"));
        }
        let mut message =
            Message::decode(version, code, payload).map_err(|error| error.to_string())?;
        if !at.has_joined {
            let view = self.nodes[node].view();
            let status = handshake(&view).accept(version, &message);
            let status = status.map_err(|error| error.to_string())?;
            at.has_joined = true;
            let (peer, head, td) = (session(wire, end), status.head, status.td);
            self.feed(node, Event::PeerJoined { peer, version, head, td });
            return Ok(None);
        }
        if !at.questions.answer(version, &mut message) {
            return Err("answer to another question".to_owned());
        }
        Ok(Some(message))
    }

    fn hear(&mut self, wire: usize, end: usize, message: Message) {
        let node = self.wires[wire].nodes[end];
        let is_question = matches!(
            message,
            Message::GetBlockHeaders { .. }
                | Message::GetBlockBodies { .. }
                | Message::GetPooledTransactions { .. }
                | Message::GetReceipts { .. }
                | Message::GetNodeData { .. }
        );
        if is_question {
            let asked = &mut self.wires[wire].ends[end].asked;
            asked.push_back(message);
            if asked.len() == 1 {
                self.look_up(wire, end);
            }
        } else {
            self.feed(node, Event::Message { peer: session(wire, end), message });
        }
    }

    /// Begins to answer the oldest question.
    fn look_up(&mut self, wire: usize, end: usize) {
        let Some(question) = self.wires[wire].ends[end].asked.front().cloned() else { return };
        let node = &self.nodes[self.wires[wire].nodes[end]];
        let answer = protocol::answer(&node.view(), &node.pool, question).expect("it reads");
        let pace = node.pace;
        let later = pace + self.millis(0, 10);
        self.after(later, Happening::Answer { wire, end, answer: answer.map(Box::new) });
    }

    fn answer(&mut self, wire: usize, end: usize, answer: Option<Box<Message>>) {
        self.wires[wire].ends[end].asked.pop_front();
        if let Some(answer) = answer {
            self.send(session(wire, end), *answer);
        }
        self.look_up(wire, end);
    }

    fn import(&mut self, node: usize, block: VerifiedBlock) {
        let (id, unix) = (block.block().num_hash(), self.unix());
        let result = self.nodes[node].chain.builder.importer.import(block, Origin::Other, unix);
        self.publish(node);
        let done = Done::of_import(id, &result);
        let later = self.millis(0, 15);
        self.after(later, Happening::Done { node, done });
    }

    fn import_many(&mut self, node: usize, mut verified: Verified) {
        let unix = self.unix();
        let importer = &mut self.nodes[node].chain.builder.importer;
        let result = importer.import_many(verified.take_blocks(), Origin::Other, unix);
        self.publish(node);
        let outcome = verified.outcome(&result);
        // They come back through one queue.
        let later = self.millis(0, 5);
        let free = &mut self.nodes[node].free_at.batches;
        *free = (*free).max(self.now);
        self.after(later, Happening::Imported { node, outcome });
    }

    /// Lets the rest of a node see what its chain did: the network and the pool each in its time.
    fn publish(&mut self, node: usize) {
        for event in self.nodes[node].chain.publish() {
            let event = Arc::new(event);
            let (soon, later) = (self.millis(0, 15), self.millis(0, 60));
            let free = &mut self.nodes[node].free_at;
            free.network = free.network.max(self.now + soon);
            free.pool = free.pool.max(self.now + later);
            let (network, pool) = (free.network, free.pool);
            self.at(network, Happening::Changed { node, event: Arc::clone(&event) });
            self.at(pool, Happening::Followed { node, event });
        }
    }

    fn pooled(&mut self, node: usize) {
        let hashes = self.nodes[node].take_changes();
        if !hashes.is_empty() {
            // Sometimes they come faster than they are read.
            let is_lost = self.rng.random_range(0..8) == 0;
            self.feed(node, if is_lost { Event::PoolSkipped } else { Event::Pooled(hashes) });
        }
    }

    fn spend(&mut self, node: usize) {
        let Some(seconds) = self.spend_seconds else { return };
        let hash = self.nodes[node].spend();
        self.spent.push(hash);
        self.pooled(node);
        let next = self.millis(seconds * 500, seconds * 1_500);
        self.after(next, Happening::Spend(node));
    }

    fn find_later(&mut self, node: usize) {
        let miners = self.nodes.iter().filter(|node| node.mines).count();
        let mean = self.block_seconds * f64::from(u32::try_from(miners).expect("a few"));
        let chance: f64 = self.rng.random_range(f64::EPSILON..1.0);
        let wait = Duration::from_secs_f64((-chance.ln() * mean).clamp(0.05, 600.0));
        self.after(wait, Happening::Mine(node));
    }

    fn find(&mut self, node: usize) {
        if !self.is_mining || !self.nodes[node].mines {
            return;
        }
        self.find_later(node);
        self.seal(node);
    }

    /// Puts a new block of this node's on its head.
    pub(crate) fn seal(&mut self, node: usize) {
        let unix = self.unix();
        let Some(block) = self.nodes[node].build(unix) else { return };
        let builder = &mut self.nodes[node].chain.builder;
        let verified = builder.verify(block);
        builder.importer.import(verified, Origin::Own, unix).expect("its own block is right");
        self.publish(node);
        self.heaviest = self.heaviest.max(self.nodes[node].view().td);
    }

    fn lie(&mut self, node: usize) {
        self.after(LIE_PERIOD, Happening::Lie(node));
        let Some(lie) = self.nodes[node].lie else { return };
        let next = self.nodes[node].build(self.unix());
        let Some(message) = lie.gossip(next, &mut self.rng) else { return };
        for wire in 0..self.wires.len() {
            for end in 0..2 {
                let is_its = self.wires[wire].nodes[end] == node;
                if is_its && self.wires[wire].ends[end].has_joined {
                    self.send(session(wire, end), message.clone());
                }
            }
        }
    }
}

fn handshake(view: &chain::ChainView) -> Handshake<'_> {
    Handshake {
        chain: &view.spec,
        network_id: NETWORK,
        number: view.head.number,
        head: view.head.hash(),
        td: view.td,
    }
}
