//! The frames, as nodes and dashboards write them: `{"emit":["<event>",<payload>]}`.
//!
//! What nodes send is read leniently, for geth writes numbers where web3 writes strings; nothing of
//! it is kept longer than its limit.

mod block;

use serde_json::{Value, json};

pub use block::{Block, BlockSeen, Uncle};

use crate::target::NAME_BYTES_MAX;

/// Longest frame of a node that has logged in: a history of ten full blocks of the book's genesis,
/// with the hashes of their transactions. What is claimed and not sent takes no memory: the system
/// gives pages when they are written.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// All that a stranger may send before it has logged in.
pub(crate) const LOGIN_BYTES_MAX: usize = 16 * 1024;
/// Longest frame of a dashboard.
pub(crate) const SERVER_BYTES_MAX: usize = 64 * 1024;
/// Blocks of one history.
pub(crate) const HISTORY_MAX: usize = 50;
/// Characters that are kept of what a node says about itself.
const TEXT_CHARS_MAX: usize = 160;
/// Longest words of what is not well with a node, in characters.
const TROUBLE_CHARS_MAX: usize = 400;
/// Characters of a time that is echoed.
const TIME_CHARS_MAX: usize = 128;
/// What a Primus client's sign of life begins with.
const PRIMUS_PING: &str = "primus::ping::";

/// Why a frame was not understood.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It is no JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is no `{"emit":["…", …]}`.
    #[error("not an event")]
    Form,
    /// A field is missing or of a wrong type.
    #[error("no {0} in the event {1}")]
    Field(&'static str, &'static str),
    /// The node has no name, or a longer one than anybody reads.
    #[error("a node's id has 1 to {NAME_BYTES_MAX} bytes")]
    Id,
}

/// What a node says.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeMessage {
    /// Who it is.
    Hello(Box<Hello>),
    /// Asks for a sign of life, which must carry this time.
    Ping(String),
    /// Half of a round trip, in milliseconds.
    Latency(u32),
    /// Its newest block.
    Block(Box<BlockSeen>),
    /// Transactions that wait to be mined.
    Pending(u64),
    /// How it is.
    Stats(Stats),
    /// Blocks that it was asked for, newest first.
    History(Vec<BlockSeen>),
    /// What only our nodes tell.
    Progress(Progress),
    /// A Primus client's sign of life: the frame to answer with.
    KeepAlive(String),
    /// Something that this dashboard has no use for.
    Other,
}

/// The login.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// Its name.
    pub id: String,
    /// What it is.
    pub info: Info,
    /// What all nodes of the network know.
    pub secret: String,
}

impl std::fmt::Debug for Hello {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("id", &self.id)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// What a node says it is. Texts of strangers: bounded, and never to be trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// The name to be shown.
    pub name: String,
    /// Client and version.
    pub node: String,
    /// Where peers find it.
    pub port: u64,
    /// Network id.
    pub net: String,
    /// Versions of the eth protocol.
    pub protocol: String,
    /// Whether it answers RPC.
    pub api: String,
    /// Operating system.
    pub os: String,
    /// Version of the operating system; of geth, the processor.
    pub os_v: String,
    /// Version of the reporter.
    pub client: String,
    /// Whom to ask about it.
    pub contact: String,
    /// Whether it may be asked for blocks.
    pub can_update_history: bool,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Whether it runs.
    pub active: bool,
    /// Whether it has **caught up**: geth's field `syncing` means the opposite of its name.
    pub caught_up: bool,
    /// Whether it mines.
    pub mining: bool,
    /// Hashes a second.
    pub hashrate: u64,
    /// Peers.
    pub peers: u64,
    /// What it would pay for gas, in wei.
    pub gas_price: u64,
}

/// How far a node's dataset is, and what its chain's rules say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The dataset in the making.
    pub dataset: Option<DatasetSeen>,
    /// How many blocks the ice age is put off; `None` if the chain did not say.
    pub bomb_delay: Option<u64>,
    /// What is not well with it, in words.
    pub trouble: Option<String>,
}

/// A dataset in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetSeen {
    /// Whose dataset.
    pub epoch: u64,
    /// What is being done about it.
    pub phase: String,
    /// Items made.
    pub done: u64,
    /// Items in all.
    pub total: u64,
    /// How much longer it takes, in seconds.
    pub eta: Option<u64>,
}

/// What a dashboard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMessage {
    /// The login was right.
    Ready,
    /// The answer to a ping: its time, and the dashboard's in milliseconds.
    Pong(String, u64),
    /// Asks for blocks: these, or the newest.
    History(Option<Vec<u64>>),
    /// A Primus server's sign of life: the frame to answer with.
    KeepAlive(String),
    /// Something that this node has no use for.
    Other,
}

impl NodeMessage {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// When it is none, or lacks what it is for.
    pub fn decode(text: &str) -> Result<Self, MessageError> {
        if let Some(answer) = keep_alive(text) {
            return Ok(Self::KeepAlive(answer));
        }
        let frame: Value = serde_json::from_str(text)?;
        let (event, payload) = event(&frame)?;
        Ok(match event {
            "hello" => Self::Hello(Box::new(Hello::read(payload)?)),
            "node-ping" => Self::Ping(clip(&words(&payload["clientTime"]), TIME_CHARS_MAX)),
            "latency" => {
                let latency = number(&payload["latency"]);
                let latency = latency.ok_or(MessageError::Field("latency", "latency"))?;
                Self::Latency(u32::try_from(latency).unwrap_or(u32::MAX))
            }
            "block" => Self::Block(Box::new(
                BlockSeen::read(&payload["block"]).ok_or(MessageError::Field("block", "block"))?,
            )),
            "pending" => {
                let pending = number(&payload["stats"]["pending"]);
                Self::Pending(pending.ok_or(MessageError::Field("pending", "pending"))?)
            }
            "stats" => Self::Stats(Stats::read(&payload["stats"])?),
            "history" => {
                let blocks = payload["history"].as_array();
                let blocks = blocks.ok_or(MessageError::Field("history", "history"))?;
                let blocks = blocks.iter().take(HISTORY_MAX);
                Self::History(blocks.filter_map(BlockSeen::read).collect())
            }
            "progress" => Self::Progress(Progress::read(payload)),
            _ => Self::Other,
        })
    }

    /// Writes a frame for a node of this name, as geth 1.9.13 does. Blocks have a type of their
    /// own, [`Block`].
    #[must_use]
    pub(crate) fn emit(event: &str, mut payload: Value, id: &str) -> String {
        payload["id"] = json!(id);
        json!({ "emit": [event, payload] }).to_string()
    }
}

impl Hello {
    fn read(payload: &Value) -> Result<Self, MessageError> {
        let id = payload["id"].as_str().ok_or(MessageError::Field("id", "hello"))?;
        let clean = clip(id, NAME_BYTES_MAX);
        if clean.is_empty() || id.len() > NAME_BYTES_MAX {
            return Err(MessageError::Id);
        }
        let info = &payload["info"];
        let text = |name: &str| clip(&words(&info[name]), TEXT_CHARS_MAX);
        let name = text("name");
        let info = Info {
            name: if name.is_empty() { clean.clone() } else { name },
            node: text("node"),
            port: number(&info["port"]).unwrap_or(0),
            net: text("net"),
            protocol: text("protocol"),
            api: text("api"),
            os: text("os"),
            os_v: text("os_v"),
            client: text("client"),
            contact: text("contact"),
            can_update_history: info["canUpdateHistory"].as_bool().unwrap_or(false),
        };
        let secret = payload["secret"].as_str().unwrap_or_default().to_owned();
        Ok(Self { id: clean, info, secret })
    }

    /// The frame, with the keys and types of geth 1.9.13.
    #[must_use]
    pub fn encode(&self) -> String {
        let info = json!({
            "name": self.info.name,
            "node": self.info.node,
            "port": self.info.port,
            "net": self.info.net,
            "protocol": self.info.protocol,
            "api": self.info.api,
            "os": self.info.os,
            "os_v": self.info.os_v,
            "client": self.info.client,
            "canUpdateHistory": self.info.can_update_history,
        });
        NodeMessage::emit("hello", json!({ "info": info, "secret": self.secret }), &self.id)
    }
}

impl Stats {
    fn read(stats: &Value) -> Result<Self, MessageError> {
        if !stats.is_object() {
            return Err(MessageError::Field("stats", "stats"));
        }
        let flag = |name: &str| stats[name].as_bool();
        let count = |name: &str| number(&stats[name]).unwrap_or(0);
        Ok(Self {
            active: flag("active").unwrap_or(true),
            caught_up: flag("syncing").unwrap_or(true),
            mining: flag("mining").unwrap_or(false),
            hashrate: count("hashrate"),
            peers: count("peers"),
            gas_price: count("gasPrice"),
        })
    }

    pub(crate) fn payload(self) -> Value {
        json!({ "stats": {
            "active": self.active,
            "syncing": self.caught_up,
            "mining": self.mining,
            "hashrate": self.hashrate,
            "peers": self.peers,
            "gasPrice": self.gas_price,
            "uptime": 100,
        } })
    }
}

impl Progress {
    fn read(payload: &Value) -> Self {
        let dataset = &payload["dataset"];
        let dataset = dataset.is_object().then(|| DatasetSeen {
            epoch: number(&dataset["epoch"]).unwrap_or(0),
            phase: clip(&words(&dataset["phase"]), TEXT_CHARS_MAX),
            done: number(&dataset["done"]).unwrap_or(0),
            total: number(&dataset["total"]).unwrap_or(0),
            eta: number(&dataset["eta"]),
        });
        let trouble = clip(&words(&payload["trouble"]), TROUBLE_CHARS_MAX);
        Self {
            dataset,
            bomb_delay: number(&payload["bombDelay"]),
            trouble: Some(trouble).filter(|words| !words.is_empty()),
        }
    }

    pub(crate) fn payload(&self) -> Value {
        let dataset = self.dataset.as_ref().map(DatasetSeen::json);
        json!({
            "dataset": dataset,
            "bombDelay": self.bomb_delay,
            "trouble": self.trouble,
        })
    }
}

impl DatasetSeen {
    pub(crate) fn json(&self) -> Value {
        json!({
            "epoch": self.epoch,
            "phase": self.phase,
            "done": self.done,
            "total": self.total,
            "eta": self.eta,
        })
    }
}

impl ServerMessage {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn decode(text: &str) -> Result<Self, MessageError> {
        if let Some(answer) = keep_alive(text) {
            return Ok(Self::KeepAlive(answer));
        }
        let frame: Value = serde_json::from_str(text)?;
        let (event, payload) = event(&frame)?;
        Ok(match event {
            "ready" => Self::Ready,
            "node-pong" => {
                let time = number(&payload["serverTime"]).unwrap_or(0);
                Self::Pong(clip(&words(&payload["clientTime"]), TIME_CHARS_MAX), time)
            }
            "history" => {
                let list = payload["list"].as_array();
                let numbers =
                    |list: &Vec<Value>| list.iter().take(HISTORY_MAX).filter_map(number).collect();
                Self::History(list.map(numbers))
            }
            _ => Self::Other,
        })
    }

    /// Writes a frame.
    #[must_use]
    pub fn encode(&self) -> String {
        let emit = match self {
            Self::Ready => json!(["ready"]),
            Self::Pong(client, server) => {
                json!(["node-pong", { "clientTime": client, "serverTime": server }])
            }
            Self::History(None) => json!(["history", false]),
            Self::History(Some(list)) => {
                let (min, max) = (list.iter().min(), list.iter().max());
                json!(["history", { "max": max, "min": min, "list": list }])
            }
            Self::KeepAlive(frame) => return frame.clone(),
            Self::Other => json!([]),
        };
        json!({ "emit": emit }).to_string()
    }
}

fn event(frame: &Value) -> Result<(&str, &Value), MessageError> {
    let emitted = frame["emit"].as_array().ok_or(MessageError::Form)?;
    let name = emitted.first().and_then(Value::as_str).ok_or(MessageError::Form)?;
    Ok((name, emitted.get(1).unwrap_or(&Value::Null)))
}

/// The answer to a sign of life, which Primus writes with quotes and geth reads without as well.
fn keep_alive(text: &str) -> Option<String> {
    let text = text.trim();
    let time = text.trim_matches('"').strip_prefix(PRIMUS_PING)?;
    let time = time.get(..TIME_CHARS_MAX).unwrap_or(time);
    let is_time = time.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
    is_time.then(|| format!("\"primus::pong::{time}\""))
}

/// A number, however it is written: as such, or as text, decimal or hexadecimal.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim();
            match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).ok(),
                None => text.parse().ok().or_else(|| whole(text.parse().ok()?)),
            }
        }
        _ => None,
    }
}

/// The whole part; of what does not fit, the nearest that does.
fn whole(number: f64) -> Option<u64> {
    if !number.is_finite() || number < 0.0 {
        return None;
    }
    format!("{:.0}", number.floor()).parse().ok().or(Some(u64::MAX))
}

/// A text or a number, as text.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// At most so many characters, none of which changes how the others look.
fn clip(text: &str, most: usize) -> String {
    let shows = |letter: &char| {
        !letter.is_control()
            && !matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().filter(shows).take(most).collect()
}

#[cfg(test)]
mod tests;
