//! The node's end without a socket: what to say, and when, as geth 1.9.13 does.

pub mod connection;

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    message::{Block, Hello, Info, NodeMessage, Progress, ServerMessage, Stats},
    target::Target,
};

/// How often everything is told.
const FULL_PERIOD: Duration = Duration::from_secs(15);
/// How often the pool alone is told at most.
const PENDING_PERIOD_MIN: Duration = Duration::from_secs(1);
/// How long the answer to a ping, or to the login, may take.
const ANSWER_PERIOD_MAX: Duration = Duration::from_secs(5);

/// What a node reports.
#[derive(Debug, Clone)]
pub enum Report {
    /// Its newest block.
    Head(Box<Block>),
    /// Transactions that wait to be mined.
    Pending(u64),
    /// How it is.
    Stats(Stats),
    /// How far its dataset is.
    Progress(Progress),
}

/// A question for blocks, newest last, to whom the reports come from. The answer is in the
/// opposite order, and ends before the first block that is unknown.
#[derive(Debug)]
pub struct HistoryRequest {
    /// The numbers; `None` means the newest 50.
    pub numbers: Option<Vec<u64>>,
    /// Where the blocks go.
    pub reply: tokio::sync::oneshot::Sender<Vec<Block>>,
}

/// What a node says it is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Client and version.
    pub client: String,
    /// Where peers find it.
    pub port: u16,
    /// Network id.
    pub network_id: u64,
    /// Versions of the eth protocol.
    pub protocol: String,
    /// The processor, as Go calls it.
    pub processor: String,
}

/// What can happen.
#[derive(Debug)]
pub enum Event {
    /// The dashboard took the connection.
    Opened,
    /// The connection is gone.
    Closed,
    /// It said something.
    Said(ServerMessage),
    /// The node has something to report.
    Report(Report),
    /// The node found the blocks that were asked for.
    History(Vec<Block>),
    /// Time passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this frame.
    Send(String),
    /// Find these blocks; `None` means the newest 50.
    FindBlocks(Option<Vec<u64>>),
    /// The dashboard takes reports now.
    LoggedIn,
    /// Hang up.
    Close(Fault),
}

/// What is wrong with a dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It did not answer the login with `ready`.
    #[error("unauthorized: the dashboard does not take this name and secret")]
    Unauthorized,
    /// It does not answer pings.
    #[error("the dashboard did not answer a ping in time")]
    Silent,
}

/// The state of a reporter. The newest of everything is kept while nobody listens.
#[derive(Debug)]
pub struct Reporter {
    hello: Hello,
    phase: Phase,
    head: Option<Box<Block>>,
    pending: Option<u64>,
    stats: Option<Stats>,
    progress: Progress,
    /// When a ping went out that is not answered yet.
    pinged: Option<Instant>,
    pending_told: Option<Instant>,
    pending_waits: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Away,
    LoggingIn { since: Instant },
    In { reported: Instant },
}

impl Reporter {
    /// A reporter that is connected to nobody.
    #[must_use]
    pub fn new(target: &Target, identity: &Identity) -> Self {
        let info = Info {
            name: target.name().to_owned(),
            node: identity.client.clone(),
            port: identity.port.into(),
            net: identity.network_id.to_string(),
            protocol: identity.protocol.clone(),
            api: "No".to_owned(),
            os: std::env::consts::OS.to_owned(),
            os_v: identity.processor.clone(),
            client: "0.1.1".to_owned(),
            contact: String::new(),
            can_update_history: true,
        };
        let hello =
            Hello { id: target.name().to_owned(), info, secret: target.secret().to_owned() };
        Self {
            hello,
            phase: Phase::Away,
            head: None,
            pending: None,
            stats: None,
            progress: Progress::default(),
            pinged: None,
            pending_told: None,
            pending_waits: false,
        }
    }

    /// Takes one event and appends what to do about it.
    pub fn on(&mut self, event: Event, now: Instant, actions: &mut Vec<Action>) {
        match event {
            Event::Opened => {
                self.phase = Phase::LoggingIn { since: now };
                self.pinged = None;
                actions.push(Action::Send(self.hello.encode()));
            }
            Event::Closed => {
                self.phase = Phase::Away;
                self.pinged = None;
            }
            Event::Said(message) => self.said(message, now, actions),
            Event::Report(report) => self.take(report, now, actions),
            Event::History(blocks) => {
                let blocks: Vec<_> = blocks.iter().map(Block::json).collect();
                self.emit("history", json!({ "history": blocks }), actions);
            }
            Event::Tick => self.tick(now, actions),
        }
    }

    fn said(&mut self, message: ServerMessage, now: Instant, actions: &mut Vec<Action>) {
        match (self.phase, message) {
            (_, ServerMessage::KeepAlive(answer)) => actions.push(Action::Send(answer)),
            (Phase::LoggingIn { .. }, ServerMessage::Ready) => {
                self.phase = Phase::In { reported: now };
                actions.push(Action::LoggedIn);
                self.ping(now, actions);
            }
            (Phase::LoggingIn { .. }, _) => actions.push(Action::Close(Fault::Unauthorized)),
            (Phase::In { .. }, ServerMessage::Pong(..)) => {
                let Some(sent) = self.pinged.take() else { return };
                let half = now.saturating_duration_since(sent).as_millis() / 2;
                self.emit("latency", json!({ "latency": half.to_string() }), actions);
                self.tell_head(actions);
                self.tell_pending(now, actions);
                self.tell_stats(actions);
            }
            (Phase::In { .. }, ServerMessage::History(numbers)) => {
                actions.push(Action::FindBlocks(numbers));
            }
            (Phase::In { .. }, ServerMessage::Ready | ServerMessage::Other) | (Phase::Away, _) => {}
        }
    }

    fn take(&mut self, report: Report, now: Instant, actions: &mut Vec<Action>) {
        match report {
            Report::Head(block) => {
                self.head = Some(block);
                self.tell_head(actions);
                self.tell_pending(now, actions);
            }
            Report::Pending(pending) => {
                if self.pending.replace(pending) == Some(pending) {
                    return;
                }
                self.pending_waits = true;
                self.tell_waiting(now, actions);
            }
            Report::Stats(stats) => self.stats = Some(stats),
            Report::Progress(progress) => {
                if progress != self.progress {
                    self.progress = progress;
                    self.tell_progress(actions);
                }
            }
        }
    }

    fn tick(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let is_late = |since: Instant| now.saturating_duration_since(since) >= ANSWER_PERIOD_MAX;
        match self.phase {
            Phase::LoggingIn { since } if is_late(since) => {
                actions.push(Action::Close(Fault::Unauthorized));
            }
            Phase::In { .. } if self.pinged.is_some_and(is_late) => {
                actions.push(Action::Close(Fault::Silent));
            }
            Phase::In { reported } => {
                self.tell_waiting(now, actions);
                if now.saturating_duration_since(reported) >= FULL_PERIOD {
                    self.phase = Phase::In { reported: now };
                    self.ping(now, actions);
                }
            }
            Phase::Away | Phase::LoggingIn { .. } => {}
        }
    }

    /// Begins a full report: the rest follows the answer, as geth has it.
    fn ping(&mut self, now: Instant, actions: &mut Vec<Action>) {
        self.pinged = Some(now);
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let time = time.unwrap_or_default().as_nanos().to_string();
        self.emit("node-ping", json!({ "clientTime": time }), actions);
    }

    fn tell_head(&self, actions: &mut Vec<Action>) {
        if let Some(head) = &self.head {
            self.emit("block", json!({ "block": head.json() }), actions);
        }
    }

    fn tell_pending(&mut self, now: Instant, actions: &mut Vec<Action>) {
        (self.pending_told, self.pending_waits) = (Some(now), false);
        let pending = self.pending.unwrap_or(0);
        self.emit("pending", json!({ "stats": { "pending": pending } }), actions);
    }

    fn tell_waiting(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let is_early = self
            .pending_told
            .is_some_and(|told| now.saturating_duration_since(told) < PENDING_PERIOD_MIN);
        if self.pending_waits && !is_early {
            self.tell_pending(now, actions);
        }
    }

    fn tell_stats(&self, actions: &mut Vec<Action>) {
        if let Some(stats) = self.stats {
            self.emit("stats", stats.payload(), actions);
        }
        self.tell_progress(actions);
    }

    /// An event that geth does not have; dashboards before ignore it.
    fn tell_progress(&self, actions: &mut Vec<Action>) {
        self.emit("progress", self.progress.payload(), actions);
    }

    fn emit(&self, event: &str, payload: serde_json::Value, actions: &mut Vec<Action>) {
        if let Phase::In { .. } = self.phase {
            actions.push(Action::Send(NodeMessage::emit(event, payload, &self.hello.id)));
        }
    }
}

#[cfg(test)]
mod tests;
