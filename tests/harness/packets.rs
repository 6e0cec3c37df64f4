//! Datagrams of discovery, well-formed or not, from any address of the loopback network.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use devp2p::{
    PeerId,
    discv4::{Endpoint, Envelope, Packet},
};
use primitives::{B256, keccak256};
use secp256k1::SecretKey;

use super::attacker::Target;

/// How long an answer may take.
pub const ANSWER_PERIOD_MAX: Duration = Duration::from_secs(60);
/// After this much silence nothing more will come.
pub const SILENCE: Duration = Duration::from_millis(300);
/// How long packets hold.
const EXPIRATION_SECONDS: u64 = 20;
/// The longest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Datagrams that are read at once.
const READ_MAX: usize = 10_000;

/// A socket with a key, that counts what goes and what comes.
#[derive(Debug)]
pub struct Gun {
    socket: UdpSocket,
    key: SecretKey,
    to: SocketAddr,
    /// Bytes that went.
    pub bytes_out: usize,
    /// Bytes that came.
    pub bytes_in: usize,
}

impl Gun {
    /// Aims at a node, from an address.
    ///
    /// # Panics
    ///
    /// If there is no such address.
    #[must_use]
    pub fn new(target: &Target, from: Ipv4Addr, key: SecretKey) -> Self {
        let socket = UdpSocket::bind((from, 0)).expect("the loopback network has this address");
        Self { socket, key, to: target.udp, bytes_out: 0, bytes_in: 0 }
    }

    /// Where it shoots from.
    ///
    /// # Panics
    ///
    /// Never: it is bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is bound")
    }

    /// Sends bytes as they are. A full buffer of the node is no failure.
    pub fn fire(&mut self, datagram: &[u8]) {
        if let Ok(sent) = self.socket.send_to(datagram, self.to) {
            self.bytes_out += sent;
        }
    }

    /// Signs and sends a packet; its hash.
    pub fn send(&mut self, packet: &Packet) -> B256 {
        let (datagram, hash) = packet.seal(&self.key);
        self.fire(&datagram);
        hash
    }

    /// A ping as it should be.
    #[must_use]
    pub fn ping(&self) -> Packet {
        let (from, to) = (Endpoint::new(self.address(), 0), Endpoint::new(self.to, 0));
        Packet::Ping { from, to, expiration: expiration(), enr_sequence: None }
    }

    /// The next datagram, if one comes in time.
    ///
    /// # Panics
    ///
    /// If the node sends what is no packet, or the socket fails.
    pub fn hear(&mut self, longest: Duration) -> Option<Envelope> {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let longest = longest.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(longest)).expect("the period is not zero");
        match self.socket.recv_from(&mut buffer) {
            Ok((length, _)) => {
                self.bytes_in += length;
                Some(Envelope::open(&buffer[..length]).expect("the node sends packets"))
            }
            Err(error) if is_silence(&error) => None,
            Err(error) => panic!("the socket fails: {error}"),
        }
    }

    /// Everything that comes until it is silent.
    pub fn hear_all(&mut self) -> Vec<Packet> {
        let mut heard = Vec::new();
        while heard.len() < READ_MAX
            && let Some(envelope) = self.hear(SILENCE)
        {
            heard.push(envelope.packet);
        }
        heard
    }

    /// The first packet that is as wanted, if one comes in time. Pings are answered meanwhile.
    pub fn hear_for(&mut self, mut wanted: impl FnMut(&Packet) -> bool) -> Option<Packet> {
        let deadline = Instant::now() + ANSWER_PERIOD_MAX;
        loop {
            let left = deadline.checked_duration_since(Instant::now())?;
            let Some(Envelope { hash, packet, .. }) = self.hear(left) else { continue };
            if matches!(packet, Packet::Ping { .. }) {
                self.pong(hash);
            }
            if wanted(&packet) {
                return Some(packet);
            }
        }
    }

    /// Answers a ping.
    pub fn pong(&mut self, ping_hash: B256) -> B256 {
        let to = Endpoint::new(self.to, 0);
        self.send(&Packet::Pong { to, ping_hash, expiration: expiration(), enr_sequence: None })
    }

    /// Proves to the node that this address answers, and it to us.
    ///
    /// # Panics
    ///
    /// If the node does not take part.
    pub fn bond(&mut self) {
        let ours = self.send(&self.ping());
        let (mut ponged, mut pinged) = (false, false);
        let bonded = self.hear_for(|packet| {
            ponged |= matches!(packet, Packet::Pong { ping_hash, .. } if *ping_hash == ours);
            pinged |= matches!(packet, Packet::Ping { .. });
            ponged && pinged
        });
        assert!(bonded.is_some(), "no bond: pong {ponged}, ping {pinged}");
    }

    /// Whether the node answers a ping.
    pub fn is_answered(&mut self) -> bool {
        let ours = self.send(&self.ping());
        self.hear_for(
            |packet| matches!(packet, Packet::Pong { ping_hash, .. } if *ping_hash == ours),
        )
        .is_some()
    }

    /// Who it is.
    #[must_use]
    pub fn id(&self) -> PeerId {
        PeerId::of(&self.key)
    }

    /// Where it seems to be.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address().ip()
    }
}

/// When a packet of now ends, in Unix time.
///
/// # Panics
///
/// Before 1970.
#[must_use]
pub fn expiration() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    since.as_secs() + EXPIRATION_SECONDS
}

/// Makes the hash of a bent datagram right again, so that it is read further.
pub fn rehash(datagram: &mut [u8]) {
    if datagram.len() > 32 {
        let hash = keccak256(&datagram[32..]);
        datagram[..32].copy_from_slice(hash.as_slice());
    }
}

/// Nothing came, or the port of the node was closed for a moment.
fn is_silence(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted | ConnectionRefused)
}
