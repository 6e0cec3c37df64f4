//! The sockets of discovery.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::Instant,
};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use tokio::time;

/// How much may wait to be read, in bytes.
const RECEIVE_BYTES: usize = 1024 * 1024;

/// One socket, which speaks both families if it is one for IPv6; or one for each family. None of
/// them blocks.
///
/// They are the runtime's only while it waits for them: each datagram wakes it up, and in a flood
/// that costs more than reading does.
#[derive(Debug)]
pub(crate) struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Sockets {
    /// One socket.
    pub(super) fn together(listen: SocketAddr) -> io::Result<Self> {
        let socket = bound(listen)?;
        widen(&socket);
        let socket = Some(socket);
        Ok(match listen {
            SocketAddr::V4(_) => Self { v4: socket, v6: None },
            SocketAddr::V6(_) => Self { v4: None, v6: socket },
        })
    }

    /// A socket for each family at the same port, if all addresses are asked for. Version 5 takes
    /// an IPv4 address in the clothes of IPv6 for another one.
    pub(crate) fn apart(listen: SocketAddr) -> io::Result<Self> {
        if listen.is_ipv4() {
            return Self::together(listen);
        }
        if !listen.ip().is_unspecified() {
            return Ok(Self { v4: None, v6: Some(only_v6(listen)?) });
        }
        let v4 = bound((Ipv4Addr::UNSPECIFIED, listen.port()).into())?;
        let port = v4.local_addr()?.port();
        let v6 = match only_v6(SocketAddr::new(listen.ip(), port)) {
            Ok(socket) => Some(socket),
            Err(error) if listen.port() == 0 => {
                tracing::debug!(port, %error, "Free port is taken for IPv6");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self { v4: Some(v4), v6 })
    }

    /// The same sockets for version 5, as the runtime's.
    pub(crate) fn by_family(&self) -> io::Result<[Option<Arc<tokio::net::UdpSocket>>; 2]> {
        let open = |socket: &Option<UdpSocket>| {
            socket.as_ref().map(|socket| registered(socket).map(Arc::new)).transpose()
        };
        Ok([open(&self.v4)?, open(&self.v6)?])
    }

    pub(super) fn port(&self) -> io::Result<u16> {
        let socket = self.v4.as_ref().or(self.v6.as_ref()).expect("there is one at least");
        Ok(socket.local_addr()?.port())
    }

    /// Waits until one can be read, and does not look before `at`.
    pub(super) async fn readable(&self, at: Instant) -> io::Result<()> {
        time::sleep_until(at.into()).await;
        match (&self.v4, &self.v6) {
            (Some(v4), Some(v6)) => tokio::select! {
                readable = readable(v4) => readable,
                readable = readable(v6) => readable,
            },
            (Some(socket), None) | (None, Some(socket)) => readable(socket).await,
            (None, None) => std::future::pending().await,
        }
    }

    /// A datagram that is there already, and where it is from.
    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, SocketAddr)>> {
        for socket in [&self.v4, &self.v6].into_iter().flatten() {
            match socket.recv_from(buffer) {
                Ok(received) => return Ok(Some(received)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Sends it, unless too much waits to be sent already.
    pub(super) fn send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let ip = to.ip().to_canonical();
        let (socket, ip) = match (ip, &self.v4, &self.v6) {
            (IpAddr::V4(_), Some(socket), _) | (IpAddr::V6(_), _, Some(socket)) => (socket, ip),
            // A socket for IPv6 sends to IPv4 by mapped addresses only.
            (IpAddr::V4(ip), None, Some(socket)) => (socket, ip.to_ipv6_mapped().into()),
            (IpAddr::V6(_), _, None) | (IpAddr::V4(_), None, None) => {
                return Err(io::ErrorKind::AddrNotAvailable.into());
            }
        };
        socket.send_to(bytes, SocketAddr::new(ip, to.port())).map(drop)
    }
}

/// Asks for a larger buffer: what comes between two looks waits there. The system gives what it may.
fn widen(socket: &UdpSocket) {
    if let Err(error) = sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BYTES) {
        tracing::debug!(%error, "Kept the size of the socket's buffer");
    }
}

async fn readable(socket: &UdpSocket) -> io::Result<()> {
    registered(socket)?.readable().await
}

/// The same socket, by a descriptor of its own, as the runtime's.
fn registered(socket: &UdpSocket) -> io::Result<tokio::net::UdpSocket> {
    tokio::net::UdpSocket::from_std(socket.try_clone()?)
}

fn bound(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(listen)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn only_v6(listen: SocketAddr) -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET6, SocketType::DGRAM, flags, None)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    bind(&socket, &listen)?;
    Ok(UdpSocket::from(socket))
}
