//! Tells how late subscribers hear of a new head when there are many of them.
//!
//! `ws-heads URL CONNECTIONS HEADS` opens the connections, each subscribes to `newHeads`, and waits for
//! heads (`--dev.period 1` makes one a second). One more connection asks for the block's number all the
//! time: a head's delay is counted from the last question that was answered without it until a
//! subscriber has read it, so this program's own work is in it.

use std::{
    error::Error,
    io::{self, Write},
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async, tungstenite::protocol::Message,
};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Failure = Box<dyn Error + Send + Sync>;

/// Handshakes at the same time.
const HANDSHAKES_MAX: usize = 32;
/// Arrivals that wait to be counted.
const ARRIVALS_MAX: usize = 65_536;
/// How long a head may take to everybody.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// From one question for the block's number to the next.
const QUESTIONS_PERIOD: Duration = Duration::from_millis(2);

/// A subscriber has read a head.
struct Arrival {
    number: String,
    at: Instant,
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, connections, heads] = args.as_slice() else {
        return Err("usage: ws-heads URL CONNECTIONS HEADS".into());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(url, connections.parse()?, heads.parse()?))
}

async fn measure(url: &str, connections: usize, heads: usize) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let begun = Instant::now();
    let (arrivals, mut arrived) = mpsc::channel(ARRIVALS_MAX);
    let mut listeners = JoinSet::new();
    let mut handshakes = JoinSet::new();
    for opened in 0..connections + HANDSHAKES_MAX {
        if opened >= HANDSHAKES_MAX
            && let Some(socket) = handshakes.join_next().await
        {
            listeners.spawn(listen(socket??, arrivals.clone()));
        }
        if opened < connections {
            let url = url.to_owned();
            handshakes.spawn(async move { subscribe(&url).await });
        }
    }
    while let Some(socket) = handshakes.join_next().await {
        listeners.spawn(listen(socket??, arrivals.clone()));
    }
    writeln!(out, "{connections} subscribers after {:.1} s", begun.elapsed().as_secs_f64())?;

    let (mut caller, _) = connect_async(url).await?;
    let mut worst = Duration::ZERO;
    for _ in 0..heads {
        let (number, since) = next_head(&mut caller).await?;
        let mut delays = Vec::with_capacity(connections);
        while delays.len() < connections {
            let arrival: Arrival =
                timeout(HEAD_TIMEOUT, arrived.recv()).await?.ok_or("everybody was cut off")?;
            // Those of the head that came while the connections were opened.
            if arrival.number == number {
                delays.push(arrival.at.saturating_duration_since(since));
            }
        }
        delays.sort_unstable();
        let last = delays.last().copied().unwrap_or_default();
        let at =
            |share: usize| delays[(delays.len() * share / 100).min(delays.len() - 1)].as_millis();
        let (first, half, most) = (at(0), at(50), at(99));
        writeln!(
            out,
            "head {number}: first {first} ms, half {half}, 99 % {most}, all {}",
            last.as_millis()
        )?;
        worst = worst.max(last);
    }
    writeln!(out, "worst: {} ms", worst.as_millis())?;
    listeners.abort_all();
    Ok(())
}

/// The number of the next head, and a time when it was not there yet.
async fn next_head(caller: &mut Socket) -> Result<(String, Instant), Failure> {
    let mut since = Instant::now();
    let known = call(caller, "eth_blockNumber", json!([])).await?;
    loop {
        sleep(QUESTIONS_PERIOD).await;
        let asked = Instant::now();
        let number = call(caller, "eth_blockNumber", json!([])).await?;
        if number != known {
            return Ok((number.as_str().unwrap_or_default().to_owned(), since));
        }
        since = asked;
    }
}

/// A connection that will be told of heads.
async fn subscribe(url: &str) -> Result<Socket, Failure> {
    let (mut socket, _) = connect_async(url).await?;
    call(&mut socket, "eth_subscribe", json!(["newHeads"])).await?;
    Ok(socket)
}

/// Asks, and waits for the answer. Nothing else may be told meanwhile.
async fn call(socket: &mut Socket, method: &str, params: Value) -> Result<Value, Failure> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    socket.send(Message::text(body.to_string())).await?;
    let mut answer = read(socket).await?;
    if !answer["error"].is_null() {
        return Err(format!("{method}: {}", answer["error"]).into());
    }
    Ok(answer["result"].take())
}

async fn listen(mut socket: Socket, arrivals: mpsc::Sender<Arrival>) {
    while let Ok(told) = read(&mut socket).await {
        let at = Instant::now();
        let number = told["params"]["result"]["number"].as_str().unwrap_or_default().to_owned();
        if arrivals.send(Arrival { number, at }).await.is_err() {
            return;
        }
    }
}

/// The next message that says something.
async fn read(socket: &mut Socket) -> Result<Value, Failure> {
    loop {
        let message = socket.next().await.ok_or("the node closed the connection")??;
        if let Message::Text(text) = message {
            return Ok(serde_json::from_str(&text)?);
        }
    }
}
