//! A node that reports.

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use primitives::B256;
use serde_json::{Value, json};

use crate::message::{Info, Progress, Stats};

/// Propagation times that are kept of each node, as on the dashboard before.
const DELAYS_MAX: usize = 40;

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: Arc<str>,
    pub(crate) info: Info,
    pub(crate) address: IpAddr,
    /// Connections that report under this name; more than one is somebody's mistake.
    pub(crate) sessions: u32,
    pub(crate) stats: Option<Stats>,
    pub(crate) pending: Option<u64>,
    pub(crate) latency: Option<u32>,
    pub(crate) progress: Progress,
    pub(crate) head: Option<Head>,
    /// Whether its newest block is heavier than is believed.
    pub(crate) is_doubted: bool,
    /// Whether what it alone says is believed: not if most others had another chain.
    pub(crate) is_trusted: bool,
    delays: VecDeque<u64>,
    /// When it was heard of first, and last, in milliseconds since 1970.
    first: u64,
    pub(crate) last: u64,
    /// Since when it is connected, or when it left.
    pub(crate) since: u64,
    /// Milliseconds it was connected before.
    connected_before: u64,
    pub(crate) changed: bool,
}

/// A node's newest block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    /// When it told of it first.
    pub(crate) at: u64,
    /// How long after the first node; `None` if that says nothing about the network.
    pub(crate) delay: Option<u64>,
}

impl Node {
    pub(crate) fn new(id: Arc<str>, info: Info, address: IpAddr, now: u64) -> Self {
        Self {
            id,
            info,
            address,
            sessions: 0,
            stats: None,
            pending: None,
            latency: None,
            progress: Progress::default(),
            head: None,
            is_doubted: false,
            is_trusted: true,
            delays: VecDeque::new(),
            first: now,
            last: now,
            since: now,
            connected_before: 0,
            changed: true,
        }
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.sessions > 0
    }

    pub(crate) fn join(&mut self, info: Info, address: IpAddr, now: u64) {
        if self.sessions == 0 {
            self.since = now;
        }
        self.sessions += 1;
        (self.info, self.address) = (info, address);
        self.heard(now);
    }

    pub(crate) fn leave(&mut self, now: u64) {
        self.sessions = self.sessions.saturating_sub(1);
        if self.sessions == 0 {
            let connected = now.saturating_sub(self.since);
            self.connected_before = self.connected_before.saturating_add(connected);
            self.since = now;
            (self.latency, self.progress) = (None, Progress::default());
        }
        self.changed = true;
    }

    pub(crate) const fn heard(&mut self, now: u64) {
        self.last = now;
        self.changed = true;
    }

    /// Whether eth-net-intelligence-api reports for it, whose `syncing` means what it says: `false`,
    /// or an object that is no `bool`. geth has no web3, and says so.
    pub(crate) fn is_of_web3(&self) -> bool {
        !matches!(self.info.api.as_str(), "" | "No")
    }

    pub(crate) fn has_caught_up(&self) -> bool {
        self.stats.is_none_or(|stats| stats.caught_up)
    }

    pub(crate) fn moved(&mut self, head: Head) {
        self.head = Some(head);
        if let Some(delay) = head.delay {
            if self.delays.len() >= DELAYS_MAX {
                self.delays.pop_front();
            }
            self.delays.push_back(delay);
        }
    }

    /// The share of the time since it was first heard of that it was connected, in percent.
    fn uptime(&self, now: u64) -> u64 {
        let current = if self.is_connected() { now.saturating_sub(self.since) } else { 0 };
        let whole = now.saturating_sub(self.first).max(1);
        let connected = self.connected_before.saturating_add(current);
        (connected.saturating_mul(100) / whole).min(100)
    }

    pub(crate) fn json(&self, now: u64) -> Value {
        let head = self.head.map(|head| {
            json!({
                "number": head.number,
                "hash": head.hash,
                "at": head.at,
                "delay": head.delay,
            })
        });
        let stats = self.stats;
        json!({
            "id": *self.id,
            "name": self.info.name,
            "node": self.info.node,
            "port": self.info.port,
            "net": self.info.net,
            "protocol": self.info.protocol,
            "api": self.info.api,
            "os": self.info.os,
            "osVersion": self.info.os_v,
            "client": self.info.client,
            "contact": self.info.contact,
            "address": self.address,
            "connected": self.is_connected(),
            "sessions": self.sessions,
            "since": self.since,
            "last": self.last,
            "latency": self.latency,
            "active": stats.is_some_and(|stats| stats.active),
            "caughtUp": stats.map(|stats| stats.caught_up),
            "mining": stats.is_some_and(|stats| stats.mining),
            "hashrate": stats.map(|stats| stats.hashrate),
            "peers": stats.map(|stats| stats.peers),
            "gasPrice": stats.map(|stats| stats.gas_price.to_string()),
            "pending": self.pending,
            "block": head,
            "delays": self.delays,
            "uptime": self.uptime(now),
            "doubted": self.is_doubted,
            "trouble": self.progress.trouble,
            "dataset": self.progress.dataset.as_ref().map(crate::message::DatasetSeen::json),
        })
    }
}
