//! Reading another node's clock.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use secp256k1::SecretKey;
use tokio::{net::UdpSocket, time};

use super::unix_seconds;
use crate::{
    NodeRecord,
    discv4::{DATAGRAM_BYTES_MAX, Endpoint, Envelope, Packet, seconds_ahead},
};

/// How long the pings hold, one after the other: whoever is ahead does not answer to one that seems
/// to be over. Nodes of ours take none that ends in more than an hour, geth takes any.
const PING_SECONDS: [u64; 4] = [20, 20, 30 * 60, 2 * 24 * 60 * 60];

/// By how many seconds a node's clock is ahead of ours, behind if negative; `None` if it does not
/// answer to a ping of version 4 in time. Packets are taken to hold for 20 s, as geth's.
///
/// # Errors
///
/// If the ping cannot be sent, or nobody listens there.
pub async fn clock_of(node: &NodeRecord, patience: Duration) -> io::Result<Option<i64>> {
    let at = node.udp_address();
    let any = match at {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(at).await?;
    let own = socket.local_addr()?;
    let key = SecretKey::new(&mut secp256k1::rand::thread_rng());
    let turn = patience / u32::try_from(PING_SECONDS.len()).expect("they are few");
    for seconds in PING_SECONDS {
        let ping = Packet::Ping {
            from: Endpoint::new(own, 0),
            to: Endpoint::new(at, 0),
            expiration: unix_seconds().saturating_add(seconds),
            enr_sequence: None,
        };
        let (bytes, hash) = ping.seal(&key);
        socket.send(&bytes).await?;
        let answer = async {
            let mut buffer = [0; DATAGRAM_BYTES_MAX];
            loop {
                let length = socket.recv(&mut buffer).await?;
                let Ok(envelope) = Envelope::open(&buffer[..length]) else { continue };
                if let Packet::Pong { ping_hash, expiration, .. } = envelope.packet
                    && ping_hash == hash
                    && envelope.sender() == Ok(node.id)
                {
                    return Ok(seconds_ahead(expiration, unix_seconds()));
                }
            }
        };
        if let Ok(answer) = time::timeout(turn, answer).await {
            return answer;
        }
    }
    Ok(None)
}
