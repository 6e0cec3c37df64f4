//! Sends each of many JSON-RPC requests once and tells how long that took.
//!
//! `pour PORT CONNECTIONS < BODIES` reads one request body a line, keeps one request in flight on
//! each of the connections to 127.0.0.1, and prints two numbers: the seconds from the first request
//! to the last answer, and how many answers had a result. `wrk` cannot do this: it repeats
//! requests, and a transaction can be sent only once.

use std::{
    error::Error,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [port, connections] = args.as_slice() else {
        return Err("usage: pour PORT CONNECTIONS < BODIES".into());
    };
    let requests = io::stdin().lines().map(|body| Ok(request(&body?)));
    let requests = requests.collect::<io::Result<Vec<_>>>()?;
    // One thread, as wrk -t1 has: the node needs the others.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (seconds, results) =
        runtime.block_on(pour(port.parse()?, connections.parse()?, requests))?;
    writeln!(io::stdout(), "{seconds} {results}")?;
    Ok(())
}

fn request(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn pour(
    port: u16,
    connections: usize,
    requests: Vec<Vec<u8>>,
) -> Result<(f64, usize), Failure> {
    let requests = Arc::new(requests);
    let next = Arc::new(AtomicUsize::new(0));
    let mut wires = Vec::new();
    for _ in 0..connections {
        let socket = TcpStream::connect(("127.0.0.1", port)).await?;
        socket.set_nodelay(true)?;
        wires.push(Wire { socket, bytes: Vec::new(), taken: 0 });
    }
    let begun = Instant::now();
    let mut senders = JoinSet::new();
    for mut wire in wires {
        let (requests, next) = (requests.clone(), next.clone());
        senders.spawn(async move {
            let mut results = 0;
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                wire.socket.write_all(request).await?;
                results += answer(&mut wire).await?;
            }
            Ok::<_, Failure>(results)
        });
    }
    let mut results = 0;
    while let Some(sent) = senders.join_next().await {
        results += sent??;
    }
    Ok((begun.elapsed().as_secs_f64(), results))
}

/// How many results the next answer has, a body whole or in chunks.
async fn answer(wire: &mut Wire) -> Result<usize, Failure> {
    let head = wire.until(b"\r\n\r\n").await?.to_ascii_lowercase();
    let Some(place) = find(&head, b"content-length:") else {
        return chunks(wire).await;
    };
    let value = head[place + b"content-length:".len()..].trim_ascii_start();
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let length = std::str::from_utf8(&value[..digits])?.parse()?;
    Ok(results(wire.take(length).await?))
}

async fn chunks(wire: &mut Wire) -> Result<usize, Failure> {
    let mut body = Vec::new();
    loop {
        let line = wire.until(b"\r\n").await?;
        let length = usize::from_str_radix(std::str::from_utf8(line)?.trim(), 16)?;
        body.extend_from_slice(wire.take(length).await?);
        wire.take(b"\r\n".len()).await?;
        if length == 0 {
            return Ok(results(&body));
        }
    }
}

fn results(body: &[u8]) -> usize {
    let found = |bytes: &&[u8]| *bytes == b"\"result\"";
    body.windows(b"\"result\"".len()).filter(found).count()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A connection and what was read ahead of it.
struct Wire {
    socket: TcpStream,
    bytes: Vec<u8>,
    /// How much of them was taken.
    taken: usize,
}

impl Wire {
    /// The bytes up to the end of the next mark.
    async fn until(&mut self, mark: &[u8]) -> Result<&[u8], Failure> {
        loop {
            if let Some(place) = find(&self.bytes[self.taken..], mark) {
                return self.take(place + mark.len()).await;
            }
            self.read().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Result<&[u8], Failure> {
        while self.bytes.len() < self.taken + length {
            self.read().await?;
        }
        let begin = self.taken;
        self.taken += length;
        Ok(&self.bytes[begin..self.taken])
    }

    async fn read(&mut self) -> Result<(), Failure> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        match self.socket.read_buf(&mut self.bytes).await? {
            0 => Err("the node closed the connection".into()),
            _ => Ok(()),
        }
    }
}
