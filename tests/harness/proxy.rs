//! A line between two nodes that is slow, narrow or cut: what netem does where there is one.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::{self, Instant},
};

/// What is read at once.
const PIECE_BYTES_MAX: usize = 16 * 1024;
/// Pieces under way in one direction; then the sender has to wait.
const PIECES_MAX: usize = 256;
/// Connections at once.
const CONNECTIONS_MAX: usize = 128;

/// What a line is like, in each direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line {
    /// How long bytes take.
    pub delay: Duration,
    /// How many pass in a second; as many as come if `None`.
    pub bytes_per_second: Option<u32>,
    /// Whether it is cut: connections are closed, and new ones at once.
    pub cut: bool,
}

/// A proxy. It runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a port of its own, for connections to an address.
    ///
    /// # Errors
    ///
    /// If there is no port.
    pub async fn start(to: SocketAddr, line: Line) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (line, seen) = watch::channel(line);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, to, seen));
        Ok(Self { address, line, _tasks: tasks })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the line another one, from now on.
    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn serve(listener: TcpListener, to: SocketAddr, line: watch::Receiver<Line>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                if connections.len() < CONNECTIONS_MAX {
                    connections.spawn(carry(stream, to, line.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection until an end closes it, or the line is cut.
async fn carry(from: TcpStream, to: SocketAddr, mut line: watch::Receiver<Line>) {
    if line.borrow().cut {
        return;
    }
    let Ok(onward) = TcpStream::connect(to).await else { return };
    if from.set_nodelay(true).and_then(|()| onward.set_nodelay(true)).is_err() {
        return;
    }
    let (near_in, near_out) = from.into_split();
    let (far_in, far_out) = onward.into_split();
    tokio::select! {
        () = pump(near_in, far_out, line.clone()) => {}
        () = pump(far_in, near_out, line.clone()) => {}
        _ = line.wait_for(|line| line.cut) => {}
    }
}

async fn pump(from: OwnedReadHalf, to: OwnedWriteHalf, line: watch::Receiver<Line>) {
    let (pieces, due) = mpsc::channel(PIECES_MAX);
    // The delay must not slow the line down, so reading does not wait for it.
    tokio::join!(take(from, pieces, line), give(to, due));
}

async fn take(
    mut from: OwnedReadHalf,
    pieces: mpsc::Sender<(Instant, Vec<u8>)>,
    line: watch::Receiver<Line>,
) {
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let Line { delay, bytes_per_second, cut: _ } = *line.borrow();
        if let Some(rate) = bytes_per_second {
            let bytes = u32::try_from(length).expect("a piece is short");
            time::sleep(Duration::from_secs(1) * bytes / rate.max(1)).await;
        }
        let piece = (Instant::now() + delay, buffer[..length].to_vec());
        if pieces.send(piece).await.is_err() {
            return;
        }
    }
}

async fn give(mut to: OwnedWriteHalf, mut due: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((at, piece)) = due.recv().await {
        time::sleep_until(at).await;
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends everything back.
    async fn echo() -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut streams = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                streams.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        (address, tasks)
    }

    #[tokio::test]
    async fn bytes_come_back_whole_and_not_before_both_delays() {
        let (to, _echo) = echo().await;
        let delay = Duration::from_millis(30);
        let line = Line { delay, bytes_per_second: Some(10_000_000), cut: false };
        let proxy = Proxy::start(to, line).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let sent: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let began = Instant::now();
        let mut back = vec![0; sent.len()];
        let (mut from, mut onward) = stream.split();
        let (read, written) = tokio::join!(from.read_exact(&mut back), onward.write_all(&sent));
        read.unwrap();
        written.unwrap();
        assert!(back == sent);
        assert!(began.elapsed() >= 2 * delay);
    }

    #[tokio::test]
    async fn a_cut_line_closes_what_is_open_and_what_comes() {
        let (to, _echo) = echo().await;
        let proxy = Proxy::start(to, Line::default()).await.unwrap();
        let mut open = TcpStream::connect(proxy.address()).await.unwrap();
        open.write_all(b"a").await.unwrap();
        let mut byte = [0];
        open.read_exact(&mut byte).await.unwrap();
        proxy.set(Line { cut: true, ..Line::default() });
        assert!(matches!(open.read(&mut byte).await, Ok(0) | Err(_)));
        let mut next = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(matches!(next.read(&mut byte).await, Ok(0) | Err(_)));
    }
}
