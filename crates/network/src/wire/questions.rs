//! Which answers a peer owes, so that others are refused before they are decoded.

use std::collections::VecDeque;

use super::{
    BLOCK_BODIES, BLOCK_HEADERS, EthVersion, GET_BLOCK_BODIES, GET_BLOCK_HEADERS,
    GET_POOLED_TRANSACTIONS, Message, NODE_DATA, POOLED_TRANSACTIONS, RECEIPTS, RequestId,
};

/// How many questions of one kind may be open with a peer; the oldest is given up then.
const QUESTIONS_MAX: usize = 16;

/// The questions that one peer has not answered yet, of each kind.
///
/// Before eth/66 nothing but the order ties an answer to its question, so a question stays here
/// until its answer comes, however late.
#[derive(Debug, Default)]
pub struct Questions {
    headers: VecDeque<RequestId>,
    bodies: VecDeque<RequestId>,
    transactions: VecDeque<RequestId>,
}

impl Questions {
    /// Notes a question that is sent; other messages are none of its business.
    pub fn ask(&mut self, message: &Message) {
        let (Message::GetBlockHeaders { request, .. }
        | Message::GetBlockBodies { request, .. }
        | Message::GetPooledTransactions { request, .. }) = message
        else {
            return;
        };
        let Some(open) = self.of(message.code()) else { return };
        if open.len() == QUESTIONS_MAX {
            open.pop_front();
        }
        open.push_back(*request);
    }

    /// Whether a message with this code may come: it is no answer, or one that the peer owes.
    /// To be asked before the payload is decoded.
    #[must_use]
    pub fn may_come(&self, code: u8) -> bool {
        match code {
            BLOCK_HEADERS => !self.headers.is_empty(),
            BLOCK_BODIES => !self.bodies.is_empty(),
            POOLED_TRANSACTIONS => !self.transactions.is_empty(),
            // Nothing here asks for these.
            NODE_DATA | RECEIPTS => false,
            _ => true,
        }
    }

    /// Notes an answer, and gives it the id of its question where the version has none. Whether
    /// there is such a question.
    pub fn answer(&mut self, version: EthVersion, message: &mut Message) -> bool {
        let code = message.code();
        let (Message::BlockHeaders { request, .. }
        | Message::BlockBodies { request, .. }
        | Message::PooledTransactions { request, .. }) = message
        else {
            return self.may_come(code);
        };
        let Some(open) = self.of(code) else { return false };
        if !version.has_request_ids() {
            let question = open.pop_front();
            *request = question.unwrap_or(*request);
            return question.is_some();
        }
        let place = open.iter().position(|question| question == request);
        place.is_some_and(|place| open.remove(place).is_some())
    }

    const fn of(&mut self, code: u8) -> Option<&mut VecDeque<RequestId>> {
        match code {
            GET_BLOCK_HEADERS | BLOCK_HEADERS => Some(&mut self.headers),
            GET_BLOCK_BODIES | BLOCK_BODIES => Some(&mut self.bodies),
            GET_POOLED_TRANSACTIONS | POOLED_TRANSACTIONS => Some(&mut self.transactions),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::MESSAGE_CODES;

    fn question(number: u64) -> Message {
        Message::GetBlockBodies { request: RequestId(number), hashes: vec![] }
    }

    fn answer(number: u64) -> Message {
        Message::BlockBodies { request: RequestId(number), bodies: vec![] }
    }

    #[test]
    fn answers_are_refused_until_they_are_asked_for() {
        let mut questions = Questions::default();
        let answers = [BLOCK_HEADERS, BLOCK_BODIES, POOLED_TRANSACTIONS, NODE_DATA, RECEIPTS];
        for code in 0..MESSAGE_CODES {
            assert_eq!(questions.may_come(code), !answers.contains(&code));
        }
        questions.ask(&question(1));
        assert!(questions.may_come(BLOCK_BODIES) && !questions.may_come(BLOCK_HEADERS));
        assert!(!questions.answer(EthVersion::Eth66, &mut answer(2)));
        assert!(questions.answer(EthVersion::Eth66, &mut answer(1)));
        assert!(!questions.answer(EthVersion::Eth66, &mut answer(1)));
        assert!(!questions.may_come(BLOCK_BODIES));
    }

    #[test]
    fn before_eth_66_the_order_tells_the_question() {
        let mut questions = Questions::default();
        questions.ask(&question(5));
        questions.ask(&question(6));
        for expected in [5, 6] {
            let mut message = answer(0);
            assert!(questions.answer(EthVersion::Eth65, &mut message));
            assert_eq!(message, answer(expected));
        }
        assert!(!questions.answer(EthVersion::Eth65, &mut answer(0)));
    }

    #[test]
    fn remembers_a_bounded_number_of_questions() {
        let mut questions = Questions::default();
        for number in 0..100 {
            questions.ask(&question(number));
        }
        assert_eq!(questions.bodies.len(), QUESTIONS_MAX);
        assert!(!questions.answer(EthVersion::Eth66, &mut answer(83)));
        assert!(questions.answer(EthVersion::Eth66, &mut answer(84)));
    }
}
