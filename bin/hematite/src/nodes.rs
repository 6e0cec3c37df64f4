//! The node database: nodes that were there in earlier runs, so that a restart does not depend on
//! bootnodes alone, and the sequence of our record.
//!
//! It is a help and never a hindrance: damage is said, and then one begins afresh.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use devp2p::{Discovery, NodeRecord, PeerId};
use eyre::{Result, WrapErr};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// Nodes that are kept: those seen last.
pub const NODES_MAX: usize = 512;
/// How long a node is kept that was not seen again, as in geth.
const AGE_SECONDS_MAX: u64 = 5 * 24 * 60 * 60;
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Of the format.
const VERSION: u32 = 1;
/// How often discovery is asked who is there.
const SURVEY_PERIOD: Duration = Duration::from_secs(5);
/// The file is written once in so many surveys, if nothing but the nodes changed.
const SURVEYS_PER_SAVE: u32 = 60;

/// The nodes, in memory.
#[derive(Debug, Clone)]
pub struct NodeDatabase {
    path: PathBuf,
    own: PeerId,
    sequence: u64,
    nodes: HashMap<PeerId, Seen>,
    is_saved: bool,
}

/// A node, and when it was seen last, in Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    node: NodeRecord,
    at: u64,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    /// Whose sequence it is.
    own: String,
    sequence: u64,
    nodes: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    node: String,
    seen: u64,
}

/// Why a file is no database.
#[derive(Debug, thiserror::Error)]
enum DamageError {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it has more than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("it is no database of nodes: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("its version is {0}, not {VERSION}")]
    Version(u32),
}

impl NodeDatabase {
    /// Reads the file, if there is one. `now` is the Unix time in seconds.
    #[must_use]
    pub fn open(path: PathBuf, own: PeerId, now: u64) -> Self {
        let mut database = Self { path, own, sequence: 0, nodes: HashMap::new(), is_saved: false };
        match read(&database.path) {
            Ok(Some(content)) => database.take(content, now),
            Ok(None) => {}
            Err(error) => {
                let path = database.path.display();
                tracing::warn!(%path, %error, "Could not use the node database, began afresh");
            }
        }
        database
    }

    /// The sequence of the last record that was signed with our key; 0 if it is not known.
    #[must_use]
    pub const fn last_sequence(&self) -> u64 {
        self.sequence
    }

    /// The nodes, in random order: whoever filled the file gains nothing by its order.
    #[must_use]
    pub fn seeds(&self) -> Vec<NodeRecord> {
        let mut seeds: Vec<NodeRecord> = self.nodes.values().map(|seen| seen.node).collect();
        seeds.shuffle(&mut rand::rng());
        seeds
    }

    /// Notes which nodes are there now, and the sequence of our record. Returns whether the file
    /// should be written now: for a new sequence, and for the first nodes.
    pub fn note(&mut self, nodes: &[NodeRecord], sequence: u64, now: u64) -> bool {
        let was_empty = self.nodes.is_empty();
        for node in nodes.iter().filter(|node| node.id != self.own) {
            let seen = Seen { node: *node, at: now };
            self.is_saved &= self.nodes.insert(node.id, seen) == Some(seen);
        }
        self.prune(now);
        let is_new = sequence > self.sequence;
        self.sequence = self.sequence.max(sequence);
        self.is_saved &= !is_new;
        is_new || (was_empty && !self.nodes.is_empty())
    }

    /// Writes the file, if anything changed.
    ///
    /// # Errors
    ///
    /// Those of writing; then the file is as it was before.
    pub fn save(&mut self) -> io::Result<()> {
        if self.is_saved {
            return Ok(());
        }
        let mut nodes: Vec<Line> = self.nodes.values().map(Line::from).collect();
        nodes.sort_by(|one, other| (other.seen, &one.node).cmp(&(one.seen, &other.node)));
        let own = self.own.to_string();
        let content = Content { version: VERSION, own, sequence: self.sequence, nodes };
        replace(&self.path, &serde_json::to_vec_pretty(&content)?)?;
        self.is_saved = true;
        Ok(())
    }

    fn take(&mut self, content: Content, now: u64) {
        if content.own == self.own.to_string() {
            self.sequence = content.sequence;
        }
        for Line { node, seen } in content.nodes {
            // A clock that went back makes nobody younger.
            let at = seen.min(now);
            match node.parse::<NodeRecord>() {
                Ok(node) if node.id != self.own && node.udp != 0 => {
                    self.nodes.insert(node.id, Seen { node, at });
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(node, %error, "Left out of the node database"),
            }
        }
        self.prune(now);
    }

    /// Keeps those seen last.
    fn prune(&mut self, now: u64) {
        self.nodes.retain(|_, seen| now.saturating_sub(seen.at) <= AGE_SECONDS_MAX);
        if self.nodes.len() > NODES_MAX {
            let mut all: Vec<Seen> = self.nodes.values().copied().collect();
            all.sort_by_key(|seen| std::cmp::Reverse((seen.at, seen.node.id)));
            for seen in &all[NODES_MAX..] {
                self.nodes.remove(&seen.node.id);
            }
        }
    }
}

impl From<&Seen> for Line {
    fn from(seen: &Seen) -> Self {
        Self { node: seen.node.to_string(), seen: seen.at }
    }
}

/// Keeps the file up to date until the end.
///
/// # Errors
///
/// Only if saving panics: a file that cannot be written is said, and the node goes on.
pub async fn keep(
    mut database: NodeDatabase,
    discovery: Discovery,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut period = tokio::time::interval(SURVEY_PERIOD);
    let mut round = 0_u32;
    while shutdown.run_until_cancelled(period.tick()).await.is_some() {
        let Ok(nodes) = discovery.nodes().await else { break };
        let is_urgent = database.note(&nodes, discovery.enr().sequence(), unix_seconds());
        round = (round + 1) % SURVEYS_PER_SAVE;
        if is_urgent || round == 0 {
            database = save(database).await?;
        }
    }
    // The loop of discovery ends at the same time; its record is still known.
    database.note(&[], discovery.enr().sequence(), unix_seconds());
    save(database).await.map(drop)
}

async fn save(mut database: NodeDatabase) -> Result<NodeDatabase> {
    let saving = move || {
        if let Err(error) = database.save() {
            let path = database.path.display();
            tracing::warn!(%path, %error, "Could not write the node database");
        }
        database
    };
    tokio::task::spawn_blocking(saving).await.wrap_err("saving the node database panicked")
}

fn read(path: &Path) -> Result<Option<Content>, DamageError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(DamageError::TooLarge);
    }
    let content: Content = serde_json::from_slice(&bytes)?;
    if content.version == VERSION {
        Ok(Some(content))
    } else {
        Err(DamageError::Version(content.version))
    }
}

/// After a crash the file is as it was before, or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

/// The Unix time in seconds.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn node(number: u32) -> NodeRecord {
        let mut key = [1; 32];
        key[..4].copy_from_slice(&(number + 1).to_be_bytes());
        let id = PeerId::of(&SecretKey::from_byte_array(&key).unwrap());
        NodeRecord { id, ip: [10, 0, 0, 1].into(), tcp: 30_303, udp: 30_301 }
    }

    fn open(folder: &tempfile::TempDir, now: u64) -> NodeDatabase {
        NodeDatabase::open(folder.path().join("hematite").join("nodes.json"), node(0).id, now)
    }

    #[test]
    fn what_was_noted_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = open(&folder, NOW);
        assert_eq!((database.seeds(), database.last_sequence()), (Vec::new(), 0));
        assert!(database.note(&[node(1), node(0)], 7, NOW), "a new sequence is written at once");
        assert!(!database.note(&[node(2)], 7, NOW));
        let mut fresh = open(&folder, NOW);
        fresh.note(&[], 1, NOW);
        assert!(fresh.note(&[node(1)], 1, NOW));
        database.save().unwrap();
        let again = open(&folder, NOW);
        let mut seeds = again.seeds();
        seeds.sort_by_key(|seed| seed.id != node(1).id);
        assert_eq!(seeds, [node(1), node(2)]);
        assert_eq!(again.last_sequence(), 7);
        let other = NodeDatabase::open(again.path, node(9).id, NOW);
        assert_eq!(other.last_sequence(), 0, "it is the sequence of another key");
    }

    #[test]
    fn the_sequence_never_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = open(&folder, NOW);
        database.note(&[], 7, NOW);
        assert!(!database.note(&[], 6, NOW));
        assert_eq!(database.last_sequence(), 7);
    }

    #[test]
    fn nodes_are_bounded_and_those_seen_last_stay() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = open(&folder, NOW);
        let count = u32::try_from(NODES_MAX).unwrap();
        let many: Vec<NodeRecord> = (1..=count).map(node).collect();
        database.note(&many, 1, NOW);
        assert_eq!(database.seeds().len(), NODES_MAX);
        database.note(&[node(count + 1)], 1, NOW + 1);
        assert_eq!(database.seeds().len(), NODES_MAX);
        assert!(database.seeds().contains(&node(count + 1)));
        database.save().unwrap();
        assert_eq!(open(&folder, NOW).seeds().len(), NODES_MAX);
        database.note(&[], 1, NOW + 1 + AGE_SECONDS_MAX);
        assert_eq!(database.seeds(), [node(count + 1)]);
        assert_eq!(open(&folder, NOW + 1 + AGE_SECONDS_MAX).seeds(), [node(count + 1)]);
    }

    #[test]
    fn damage_is_a_fresh_start_and_is_repaired() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = open(&folder, NOW);
        database.note(&[node(1)], 7, NOW);
        database.save().unwrap();
        let path = database.path.clone();
        let good = std::fs::read(&path).unwrap();
        let other_version =
            String::from_utf8(good.clone()).unwrap().replace("\"version\": 1", "\"version\": 2");
        let too_large = [&good[..], &vec![b' '; 1024 * 1024]].concat();
        for bad in [&good[..good.len() / 2], b"", b"\xff\xfe", other_version.as_bytes(), &too_large]
        {
            std::fs::write(&path, bad).unwrap();
            let mut fresh = open(&folder, NOW);
            assert_eq!((fresh.seeds(), fresh.last_sequence()), (Vec::new(), 0));
            fresh.note(&[node(2)], 9, NOW);
            fresh.save().unwrap();
            assert_eq!(open(&folder, NOW).seeds(), [node(2)]);
        }
        std::fs::write(&path, &good).unwrap();
        assert_eq!(open(&folder, NOW).seeds(), [node(1)]);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(open(&folder, NOW).seeds(), [], "a directory is no file");
    }

    #[test]
    fn a_write_that_fails_leaves_the_file_as_it_was_and_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = open(&folder, NOW);
        database.note(&[node(1)], 7, NOW);
        database.save().unwrap();
        let new = database.path.with_extension("new");
        fs::create_dir(&new).unwrap();
        database.note(&[node(2)], 8, NOW);
        assert!(database.save().is_err());
        assert_eq!(open(&folder, NOW).seeds(), [node(1)]);
        fs::remove_dir(&new).unwrap();
        // What a crash left of the last attempt is no harm.
        fs::write(&new, "half").unwrap();
        database.save().unwrap();
        assert_eq!(open(&folder, NOW).seeds().len(), 2);
    }

    #[test]
    fn a_line_that_is_no_node_costs_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = open(&folder, NOW);
        database.note(&[node(1), node(2)], 7, NOW);
        database.save().unwrap();
        let text = std::fs::read_to_string(&database.path).unwrap();
        std::fs::write(&database.path, text.replacen("enode://", "enode:/", 1)).unwrap();
        assert_eq!(open(&folder, NOW).seeds().len(), 1);
    }

    #[test]
    fn nothing_is_written_when_nothing_changed() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = open(&folder, NOW);
        database.note(&[node(1)], 7, NOW);
        database.save().unwrap();
        std::fs::remove_file(&database.path).unwrap();
        database.note(&[node(1)], 7, NOW);
        database.save().unwrap();
        assert!(!database.path.exists());
        database.note(&[node(1)], 7, NOW + 1);
        database.save().unwrap();
        assert!(database.path.exists());
    }
}
