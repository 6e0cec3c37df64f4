//! Why there is no connection: what went wrong lately, in words, and what to do about it.

use std::{io, net::SocketAddr, time::SystemTime};

use devp2p::{DisconnectReason, Ended, HandshakeError, PeerId, RlpxError};

/// Troubles that are remembered. The one that is longest ago gives way, strangers' first.
pub const TROUBLES_MAX: usize = 128;

/// What went wrong with a node, most recently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Its key, as far as it is known.
    pub id: Option<PeerId>,
    /// Where it is, or where it called from.
    pub address: Option<SocketAddr>,
    /// Whether we called.
    pub dialled: bool,
    /// What happened, and what to do about it.
    pub reason: String,
    /// How often anything went wrong with it.
    pub count: u32,
    /// When it did last.
    pub last: SystemTime,
}

/// Whom a trouble is about: a node with a key, or whoever calls from an address.
type About = (Option<PeerId>, Option<std::net::IpAddr>);

/// The troubles, the latest first.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    all: Vec<Trouble>,
}

impl Troubles {
    /// Remembers what happened. Whether it is something else than the last time.
    pub(crate) fn add(
        &mut self,
        (id, address): (Option<PeerId>, Option<SocketAddr>),
        dialled: bool,
        reason: &str,
        now: SystemTime,
    ) -> bool {
        let about: About = (id, address.filter(|_| id.is_none()).map(|address| address.ip()));
        let known = self.all.iter().position(|trouble| trouble.about() == about);
        let before = known.map(|place| self.all.remove(place));
        let is_new = before.as_ref().is_none_or(|trouble| trouble.reason != reason);
        let trouble = Trouble {
            id,
            address: address.or(before.as_ref().and_then(|trouble| trouble.address)),
            dialled,
            reason: reason.to_owned(),
            count: before.map_or(0, |trouble| trouble.count).saturating_add(1),
            last: now,
        };
        self.all.insert(0, trouble);
        if self.all.len() > TROUBLES_MAX {
            // Strangers must not push out those whose key is known.
            let stranger = self.all.iter().rposition(|trouble| trouble.id.is_none());
            self.all.remove(stranger.unwrap_or(TROUBLES_MAX));
        }
        is_new
    }

    /// A node is connected: whatever was wrong with it is over.
    pub(crate) fn settle(&mut self, id: PeerId) {
        self.all.retain(|trouble| trouble.id != Some(id));
    }

    /// Whether something went wrong when we called this node.
    pub(crate) fn has_dialled(&self, id: PeerId) -> bool {
        self.all.iter().any(|trouble| trouble.dialled && trouble.id == Some(id))
    }

    pub(crate) fn all(&self) -> &[Trouble] {
        &self.all
    }
}

impl Trouble {
    fn about(&self) -> About {
        (self.id, self.address.filter(|_| self.id.is_none()).map(|address| address.ip()))
    }
}

/// What a call that reached nobody means.
pub(crate) fn unreachable(address: SocketAddr, error: Option<&io::Error>) -> String {
    match error {
        None => format!(
            "no answer from {address}; a firewall may drop TCP to this port, or the node advertises \
             an address where it is not: set --nat extip:IP there"
        ),
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            format!("nothing listens at {address}; is the node running, and is this its --port?")
        }
        Some(error) => {
            format!("cannot reach {address}: {error}; check the address and the network")
        }
    }
}

/// What a clock means that is so many seconds ahead of ours.
pub(crate) fn clock(seconds: i64) -> String {
    let (off, way) = (seconds.unsigned_abs(), if seconds < 0 { "behind" } else { "ahead" });
    format!(
        "this node's clock or its is off by about {off} s (its is {way}), so packets of discovery \
         end before they arrive, and blocks may seem to be of the future; run NTP on both machines"
    )
}

/// What a failed handshake means.
pub(crate) fn handshake(error: &HandshakeError, dialled: bool) -> String {
    let what = in_words(error);
    let fix = match error {
        HandshakeError::Disconnected(reason) => return refused(*reason),
        HandshakeError::Refused(DisconnectReason::UselessPeer) => {
            "it speaks none of eth/63 to eth/68: it is no node of a chain, or for a chain without \
             proof of work"
        }
        HandshakeError::Refused(DisconnectReason::ConnectedToSelf) => {
            "this node's own URL is among those that it was given"
        }
        HandshakeError::Refused(_)
        | HandshakeError::Hello(_)
        | HandshakeError::NoHello
        | HandshakeError::Rlpx(RlpxError::FrameTooLarge { .. }) => "check its software",
        HandshakeError::Timeout => "it is overloaded, or no Ethereum node",
        HandshakeError::Rlpx(_) if dialled => {
            "it has another key than its URL says (was its data directory made anew?), or it is \
             full and says so before it introduces itself"
        }
        HandshakeError::Rlpx(_) => "it means another node, or is none",
    };
    format!("{what}; {fix}")
}

/// What the end of a session means, if it is one that somebody should know of.
pub(crate) fn ended(ended: &Ended) -> String {
    match ended {
        Ended::Remote(reason) => refused(*reason),
        Ended::Local(reason) => format!("we left: {reason}"),
        Ended::Error(error) => in_words(error),
    }
}

/// What a peer means that says why it does not want us.
fn refused(reason: DisconnectReason) -> String {
    let fix = match reason {
        DisconnectReason::TooManyPeers => {
            "; raise its --maxpeers, or put this node among its trusted nodes"
        }
        DisconnectReason::UselessPeer => {
            "; it shares no version of eth with us, or needs a capability that we have not"
        }
        DisconnectReason::SubprotocolError => {
            "; before both know each other's status that means another genesis, --networkid or \
             fork: compare admin_nodeInfo of both"
        }
        DisconnectReason::UnexpectedIdentity | DisconnectReason::InvalidIdentity => {
            "; it knows us by another key"
        }
        DisconnectReason::IncompatibleVersion => "; check its software",
        _ => "",
    };
    format!("peer left: {reason}{fix}")
}

/// An error and its causes on one line.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secp256k1::SecretKey;

    use super::*;

    fn id(number: u8) -> PeerId {
        PeerId::of(&SecretKey::from_slice(&[number; 32]).unwrap())
    }

    fn address(last: u8, port: u16) -> SocketAddr {
        ([10, 0, 0, last], port).into()
    }

    #[test]
    fn a_node_has_one_trouble_until_it_is_connected() {
        let (mut troubles, now) = (Troubles::default(), SystemTime::UNIX_EPOCH);
        troubles.add((Some(id(1)), Some(address(1, 1))), true, "first", now);
        troubles.add((Some(id(2)), None), true, "other", now);
        troubles.add((Some(id(1)), None), true, "second", now + Duration::from_secs(1));
        let all = troubles.all();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].reason.as_str(), all[0].count), ("second", 2));
        assert_eq!(all[0].address, Some(address(1, 1)));
        troubles.settle(id(1));
        assert_eq!(troubles.all().len(), 1);
    }

    #[test]
    fn callers_without_a_key_are_told_apart_by_their_address_only() {
        let (mut troubles, now) = (Troubles::default(), SystemTime::UNIX_EPOCH);
        for port in 0..10 {
            troubles.add((None, Some(address(1, port))), false, "silent", now);
        }
        assert_eq!(troubles.all().len(), 1);
        assert_eq!(troubles.all()[0].count, 10);
        troubles.add((Some(id(1)), None), true, "off", now);
        for last in 0..=u8::MAX {
            troubles.add((None, Some(address(last, 1))), false, "silent", now);
        }
        assert_eq!(troubles.all().len(), TROUBLES_MAX);
        assert!(troubles.all().iter().any(|trouble| trouble.id == Some(id(1))));
    }

    #[test]
    fn reasons_name_the_fix() {
        let refused_by_kernel = io::Error::from(io::ErrorKind::ConnectionRefused);
        for (text, fix) in [
            (unreachable(address(1, 1), None), "--nat extip:IP"),
            (unreachable(address(1, 1), Some(&refused_by_kernel)), "--port"),
            (clock(-62), "off by about 62 s (its is behind)"),
            (clock(99), "off by about 99 s (its is ahead)"),
            (clock(i64::MIN), "run NTP"),
            (refused(DisconnectReason::TooManyPeers), "--maxpeers"),
            (refused(DisconnectReason::SubprotocolError), "--networkid"),
            (handshake(&HandshakeError::Rlpx(RlpxError::Closed), true), "another key"),
            (
                handshake(&HandshakeError::Refused(DisconnectReason::ConnectedToSelf), true),
                "own URL",
            ),
        ] {
            assert!(text.contains(fix), "{text}");
        }
    }
}
