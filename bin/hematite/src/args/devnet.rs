//! What a development network is made of.

// The doc comments are help texts too, where `[…]` is a default and not a link.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

use clap::{Args, value_parser};

/// Most nodes of a kind: each is a process of its own.
const NODES_MAX: i64 = 8;
/// Longest time between blocks that can be wished for, in seconds.
const BLOCK_SECONDS_MAX: u64 = 600;

/// The rest that can be said, and examples.
pub(super) const EXAMPLES: &str = "Flags of a node that mean the same here:
  --datadir DIR          keep the chain there; without it, it goes when the network ends
  --genesis FILE|PRESET  another genesis; without it accounts are funded and their keys printed
  --http.port PORT       RPC of the first tx node; WebSocket is one above, the next node two [8545]
  --ethash.dagdir DIR    where the DAG is kept, once for all nodes [~/.hematite/ethash]
  --fakepow              no proof of work and no DAG: a block a second
  --verbosity LEVEL      4 and 5 show everything that the nodes log [3]

Examples:
  hematite devnet                            a miner and a tx node
  hematite devnet --miners 3 --txs 2 --datadir net
  hematite devnet --http.port 0 --dashboard.port 0    beside another one";

/// How many nodes, and where they are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DevnetArgs {
    /// Nodes that mine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..=NODES_MAX))]
    pub miners: u16,
    /// Nodes that serve RPC
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..=NODES_MAX))]
    pub txs: u16,
    /// Port of the dashboard, on loopback; 0 takes a free one
    #[arg(long = "dashboard.port", value_name = "PORT", default_value_t = 3_000)]
    pub dashboard_port: u16,
    /// Seconds between blocks at the start; the rule of the difficulty makes 13 of it in hours
    #[arg(long = "block-time", value_name = "S", default_value_t = 5, value_parser = value_parser!(u64).range(1..=BLOCK_SECONDS_MAX))]
    pub block_time: u64,
}
