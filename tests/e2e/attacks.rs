//! Attacks on a whole node, and what they may cost it. Each test names the row of the catalogue of
//! attacks that it is for; figures are the row's. Loads stay on the loopback network and end by
//! themselves.
//!
//! Latency is asserted with `HEMATITE_TIER=long` only, as are loads that take longer than seconds.
//!
//! Rows of JSON-RPC, of the pool and of secrets, and what shows them; a crate's name stands for tests
//! of that crate, everything else is below.
//!
//! | row | attack | shown by |
//! |---|---|---|
//! | RPC-01 | slow bodies | `rpc/connections` |
//! | RPC-02 | slow headers, slow readers, idle connections | `rpc/connections`; `rpc`: `server` |
//! | RPC-03 | too few descriptors | `rpc/connections` |
//! | RPC-04 | chunks, heads, smuggling, pipelines, HTTP/2 | `rpc/requests` |
//! | RPC-05 | malformed bodies, over HTTP and WebSocket | `rpc/messages` |
//! | RPC-06 | deep nesting | `rpc/messages`; `rpc`: `dispatch`, `transports::hostile` |
//! | RPC-07 | batches | `rpc/messages` |
//! | RPC-08 | heavy calls | `rpc/heavy`, `sealing` |
//! | RPC-09 | logs of everything | `rpc/heavy`; `rpc`: `eth::logs` |
//! | RPC-10 | traces | `rpc/heavy`; `rpc`: `debug` |
//! | RPC-11 | GraphQL | there is none |
//! | RPC-12 | pages from elsewhere | `rpc/doors`; `rpc`: `server::hosts`, `server::upgrade` |
//! | RPC-13 | theft of unlocked keys | `rpc/doors`; `rpc`: `accounts` |
//! | RPC-14 | guessing of passwords | `rpc/doors`; `rpc`: `server::guard` |
//! | RPC-15 | forged tokens | `rpc`: `server::guard`; `secured` |
//! | RPC-16 | sockets that do not listen, or say what is forbidden | `rpc/sockets`; `rpc`: `transports::hostile` |
//! | RPC-17 | filters that nobody polls | `rpc`: `eth::filter` |
//! | RPC-18 | endless answers | `rpc/heavy` |
//! | RPC-19 | metrics | `rpc/doors`; `ops` |
//! | TXP-01, 02, 03 (a) | futures, overdrafts, demotions | `txpool`: `inner` |
//! | TXP-03 (b) | work in vain for one miner | `sealing` |
//! | TXP-03 (c) | chains of replacements | `pool`; `network`: `replacements` |
//! | TXP-04, 05 | floods, remote and local | `pool` |
//! | TXP-06 | the books | `txpool`: `inner` |
//! | TXP-07 | shuffled nonces | `txpool` |
//! | TXP-08 | damaged journals | `txpool`: `journal` |
//! | TXP-09 | what is refused is not fetched again and again | `network`: `gossip` |
//! | TXP-10 | transactions that name no chain | `txpool`; `rpc`: `transactions` |
//! | KEY-01, 02 | key files, theirs and hostile ones | `accounts`: `key_file`; `keystores` |
//! | KEY-03 to 06 | kills, damaged files, leaks | `secrets`; `secured`, `dags`, `bad_input` |
//! | LOG-01, 02 | forged lines, and too many | `logs`; `hematite`: `logging` |
//! | CON-01 | answers that would be code | `console` |
//! | IPC-01 | the local socket's file | `rpc`: `transports` |

mod arena;
mod claims;
mod discovery;
mod flood;
mod handshake;
mod logs;
mod messages;
mod pool;
mod questions;
mod rpc;
mod sealing;
mod secrets;
mod transactions;
mod web;
