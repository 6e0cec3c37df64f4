//! Connections between nodes: bytes, in order, after a while, or never.

use std::{collections::VecDeque, time::Duration};

use network::{
    SessionId,
    wire::{EthVersion, Message, Questions},
};

/// Two nodes that are connected whenever they can be.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) nodes: [usize; 2],
    pub(crate) version: EthVersion,
    /// How long a message takes towards each end.
    pub(crate) delay: [Duration; 2],
    /// Whether a call gets through.
    pub(crate) is_up: bool,
    /// The connection, while there is one.
    pub(crate) wire: Option<usize>,
}

/// One connection. Its number is its place in the world; its ends are 0 and 1.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) edge: usize,
    pub(crate) nodes: [usize; 2],
    pub(crate) version: EthVersion,
    pub(crate) delay: [Duration; 2],
    /// Whether anything that is sent arrives.
    pub(crate) is_dead: bool,
    pub(crate) ends: [End; 2],
}

/// What one node knows of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) is_open: bool,
    pub(crate) has_joined: bool,
    /// What the other end has not answered.
    pub(crate) questions: Questions,
    /// What the other end asked; the first is being worked on.
    pub(crate) asked: VecDeque<Message>,
    /// When the last message towards this end arrives: nothing overtakes it.
    pub(crate) last: Duration,
}

impl Edge {
    pub(crate) fn new(nodes: [usize; 2], version: EthVersion) -> Self {
        let delay = [Duration::from_millis(40), Duration::from_millis(60)];
        Self { nodes, version, delay, is_up: true, wire: None }
    }
}

impl Wire {
    pub(crate) fn new(number: usize, edge: &Edge, now: Duration) -> Self {
        let end = || End {
            is_open: true,
            has_joined: false,
            questions: Questions::default(),
            asked: VecDeque::new(),
            last: now,
        };
        Self {
            edge: number,
            nodes: edge.nodes,
            version: edge.version,
            delay: edge.delay,
            is_dead: false,
            ends: [end(), end()],
        }
    }
}

/// What a node calls its end of a connection.
pub(crate) fn session(wire: usize, end: usize) -> SessionId {
    SessionId(u64::try_from(wire * 2 + end).expect("a world has few connections"))
}

/// Which connection and which end of it a node means.
pub(crate) fn place(session: SessionId) -> (usize, usize) {
    let number = usize::try_from(session.0).expect("a world has few connections");
    (number / 2, number % 2)
}
