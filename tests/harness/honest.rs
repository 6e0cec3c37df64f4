//! A peer that keeps to the rules while others do not, to see that it may stay.

use std::{net::Ipv4Addr, time::Duration};

use devp2p::testing::{PING, PONG};
use network::wire::EthVersion;
use tokio::{sync::mpsc, task::JoinSet, time};

use super::attacker::{Ear, Heard, Peer, Target, key};

/// How long a sign of life may take.
const SIGN_PERIOD_MAX: Duration = Duration::from_secs(60);
/// Messages that wait to be looked at.
const HEARD_MAX: usize = 64;
/// The payload of a ping and of a pong.
const NOTHING: [u8; 1] = [alloy_rlp::EMPTY_LIST_CODE];

/// A peer that answers pings and wants nothing. It runs until it is dropped.
#[derive(Debug)]
pub struct Honest {
    questions: mpsc::Sender<()>,
    signs: mpsc::Receiver<()>,
    _tasks: JoinSet<()>,
}

impl Honest {
    /// Joins a node with one of [`key`]'s keys.
    pub async fn join(target: &Target, number: u64) -> Self {
        let from = Ipv4Addr::new(127, 0, 0, 99);
        Self::of(Peer::join(target, from, &key(number), EthVersion::Eth66).await)
    }

    /// Goes on as a peer that has joined.
    #[must_use]
    pub fn of(peer: Peer) -> Self {
        let (ear, mut mouth) = peer.split();
        let (heard, mut incoming) = mpsc::channel(HEARD_MAX);
        let (questions, mut asked) = mpsc::channel(1);
        let (signed, signs) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(ear, heard));
        tasks.spawn(async move {
            loop {
                let sent = tokio::select! {
                    code = incoming.recv() => match code {
                        Some(PING) => mouth.send(PONG, &NOTHING).await,
                        Some(PONG) => {
                            // Who asked may have stopped waiting.
                            signed.try_send(()).ok();
                            Ok(())
                        }
                        Some(_) => Ok(()),
                        None => return,
                    },
                    Some(()) = asked.recv() => mouth.send(PING, &NOTHING).await,
                };
                if sent.is_err() {
                    return;
                }
            }
        });
        Self { questions, signs, _tasks: tasks }
    }

    /// Whether the node still answers.
    pub async fn is_connected(&mut self) -> bool {
        let asked = async {
            self.questions.send(()).await.ok()?;
            self.signs.recv().await
        };
        matches!(time::timeout(SIGN_PERIOD_MAX, asked).await, Ok(Some(())))
    }
}

/// A read must not be given up halfway, so it has a task of its own.
async fn listen(mut ear: Ear, heard: mpsc::Sender<u64>) {
    while let Heard::Message(code, _) = ear.hear().await {
        if heard.send(code).await.is_err() {
            return;
        }
    }
}
