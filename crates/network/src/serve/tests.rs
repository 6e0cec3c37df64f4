//! Answers from real chains.

mod blocks;
mod grown;
mod proof;
mod states;

use chain::{ChainThread, testing::ChainBuilder};
use txpool::PoolConfig;

use super::*;

/// Somebody who asks.
struct Asker {
    pool: Pool,
    places: Mutex<Places>,
    _thread: ChainThread,
}

impl Asker {
    fn new() -> Self {
        let importer = ChainBuilder::new(chain::testing::spec(Default::default())).importer;
        let (chain, thread) = chain::spawn(importer).unwrap();
        let pool = Pool::new(PoolConfig::default(), chain);
        Self { pool, places: Mutex::default(), _thread: thread }
    }

    fn eth(&self, view: &ChainView, message: Message) -> Message {
        let answered = answer(view, &self.pool, &self.places, Question::Eth(message)).unwrap();
        match answered {
            Some(Answer::Eth(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn snap(&self, view: &ChainView, question: SnapQuestion) -> SnapAnswer {
        let answered = answer(view, &self.pool, &self.places, Question::Snap(question)).unwrap();
        match answered {
            Some(Answer::Snap(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }
}
