//! What to do about what a peer sends, or does not send.

use std::time::Duration;

use primitives::Bytes;
use tokio::time::Instant;

use super::Message;
use crate::base::{BASE_CODES, DISCONNECT, DisconnectReason, HELLO, PING, Shared};

/// Messages of the base protocol that may come at once.
pub(super) const BASE_BURST_MAX: u32 = 10;
/// How often one more may come.
const BASE_PERIOD: Duration = Duration::from_secs(1);

/// What a peer does.
#[derive(Debug)]
pub(super) enum Event {
    /// It sent a message.
    Message { code: u64, payload: Vec<u8> },
    /// It sent something that is none.
    Nonsense,
    /// It sent nothing for [`super::PING_PERIOD`].
    Quiet,
    /// It sent nothing for [`super::READ_PERIOD_MAX`].
    Silent,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask for a sign of life.
    Ping,
    /// Give one.
    Pong,
    /// Hand a message to whoever speaks its capability.
    Deliver(Message),
    /// The peer has left.
    Leave(DisconnectReason),
    /// Send the peer away.
    Disconnect(DisconnectReason),
}

/// The receiving side of a session, without a socket or a clock.
#[derive(Debug)]
pub(super) struct Inbound {
    shared: Vec<Shared>,
    allowance: Allowance,
}

impl Inbound {
    pub(super) const fn new(shared: Vec<Shared>, now: Instant) -> Self {
        Self { shared, allowance: Allowance { left: BASE_BURST_MAX, counted: now } }
    }

    /// Takes one event and appends what to do about it.
    pub(super) fn on(&mut self, event: Event, now: Instant, actions: &mut Vec<Action>) {
        actions.push(match event {
            Event::Message { code, payload } if code < BASE_CODES => {
                let Some(action) = self.base(code, &payload, now) else { return };
                action
            }
            Event::Message { code, payload } => self.deliver(code, payload),
            Event::Nonsense => Action::Disconnect(DisconnectReason::BreachOfProtocol),
            Event::Quiet => Action::Ping,
            Event::Silent => Action::Disconnect(DisconnectReason::ReadTimeout),
        });
    }

    fn base(&mut self, code: u64, payload: &[u8], now: Instant) -> Option<Action> {
        match code {
            DISCONNECT => Some(Action::Leave(DisconnectReason::decode(payload))),
            HELLO => Some(Action::Disconnect(DisconnectReason::BreachOfProtocol)),
            _ if !self.allowance.take(now) => {
                Some(Action::Disconnect(DisconnectReason::SubprotocolError))
            }
            PING => Some(Action::Pong),
            // A pong has done its work by coming, and other codes are for the future.
            _ => None,
        }
    }

    fn deliver(&self, code: u64, payload: Vec<u8>) -> Action {
        let message =
            |(capability, shared): (usize, &Shared)| shared.id(code).map(|id| (capability, id));
        match self.shared.iter().enumerate().find_map(message) {
            Some((capability, id)) => {
                Action::Deliver(Message { capability, id, payload: Bytes::from(payload) })
            }
            None => Action::Disconnect(DisconnectReason::BreachOfProtocol),
        }
    }
}

/// A token bucket.
#[derive(Debug)]
struct Allowance {
    left: u32,
    counted: Instant,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        while self.left < BASE_BURST_MAX && now - self.counted >= BASE_PERIOD {
            self.left += 1;
            self.counted += BASE_PERIOD;
        }
        if self.left == BASE_BURST_MAX {
            // A full bucket gains nothing by waiting.
            self.counted = now;
        }
        let taken = self.left > 0;
        self.left = self.left.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Capability, PONG};

    fn inbound(now: Instant) -> Inbound {
        let shared = |name, messages, offset| Shared {
            capability: Capability::new(name, 1),
            messages,
            offset,
        };
        Inbound::new(vec![shared("eth", 17, 16), shared("snap", 8, 33)], now)
    }

    fn on(inbound: &mut Inbound, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        inbound.on(event, now, &mut actions);
        actions
    }

    fn message(code: u64, payload: &[u8]) -> Event {
        Event::Message { code, payload: payload.to_vec() }
    }

    #[test]
    fn messages_go_to_the_capability_that_has_their_code() {
        let now = Instant::now();
        let mut inbound = inbound(now);
        for (code, capability, id) in [(16, 0, 0), (32, 0, 16), (33, 1, 0), (40, 1, 7)] {
            let payload = Bytes::from_static(b"\xc0");
            let delivered = Action::Deliver(Message { capability, id, payload });
            assert_eq!(on(&mut inbound, message(code, b"\xc0"), now), [delivered]);
        }
    }

    #[test]
    fn codes_that_nobody_has_are_a_breach_of_protocol() {
        let now = Instant::now();
        let breach = || [Action::Disconnect(DisconnectReason::BreachOfProtocol)];
        for code in [HELLO, 41, 255, 256, 272, u64::MAX] {
            assert_eq!(on(&mut inbound(now), message(code, b""), now), breach());
        }
        assert_eq!(on(&mut inbound(now), Event::Nonsense, now), breach());
    }

    #[test]
    fn codes_for_the_future_are_ignored() {
        let now = Instant::now();
        for code in PONG..BASE_CODES {
            assert!(on(&mut inbound(now), message(code, b"garbage"), now).is_empty());
        }
    }

    #[test]
    fn a_peer_that_leaves_is_believed_whatever_it_says() {
        let now = Instant::now();
        for (payload, reason) in [
            (&b"\xc1\x04"[..], DisconnectReason::TooManyPeers),
            (b"\xffgarbage", DisconnectReason::Requested),
        ] {
            let left = on(&mut inbound(now), message(DISCONNECT, payload), now);
            assert_eq!(left, [Action::Leave(reason)]);
        }
    }

    #[test]
    fn quiet_is_asked_about_and_silence_is_the_end() {
        let now = Instant::now();
        assert_eq!(on(&mut inbound(now), Event::Quiet, now), [Action::Ping]);
        let timeout = Action::Disconnect(DisconnectReason::ReadTimeout);
        assert_eq!(on(&mut inbound(now), Event::Silent, now), [timeout]);
    }

    #[test]
    fn messages_of_the_base_protocol_are_allowed_ten_and_then_one_a_second() {
        for (code, allowed) in [(PING, vec![Action::Pong]), (PONG, vec![]), (15, vec![])] {
            let mut now = Instant::now();
            let mut inbound = inbound(now);
            for (seconds, count) in [(0, BASE_BURST_MAX), (2, 2), (1_000_000, BASE_BURST_MAX)] {
                now += BASE_PERIOD * seconds;
                for _ in 0..count {
                    assert_eq!(on(&mut inbound, message(code, b"\xc0"), now), allowed);
                }
                let flood = Action::Disconnect(DisconnectReason::SubprotocolError);
                assert_eq!(on(&mut inbound, message(code, b"\xc0"), now), [flood]);
            }
        }
    }
}
