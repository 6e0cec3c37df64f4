//! The ethstats protocol, both ends: a node that reports, and the dashboard it reports to.
//!
//! Does not know where reports come from. [`Reporter`] is the node's end without a socket and
//! [`report`] drives it; [`Dashboard`] is the other end without a socket and [`serve`] drives it.
//!
//! ```
//! let target: ethstats::Target = "miner-0:secret@eth-ethstats:8080".parse().unwrap();
//! assert_eq!((target.name(), target.url()), ("miner-0", "ws://eth-ethstats:8080/api".into()));
//! ```

pub mod dashboard;
mod message;
pub mod reporter;
mod target;

pub use dashboard::{
    Dashboard, DashboardConfig, Secrets,
    server::{ServeError, serve},
};
pub use message::{
    Block, BlockSeen, DatasetSeen, FRAME_BYTES_MAX, Hello, Info, MessageError, NodeMessage,
    Progress, ServerMessage, Stats, Uncle,
};
pub use reporter::{
    HistoryRequest, Identity, Report, Reporter,
    connection::{ReporterConfig, report},
};
pub use target::{Target, TargetError};
