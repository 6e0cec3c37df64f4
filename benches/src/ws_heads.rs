//! Tells how late subscribers hear of a new head when there are many of them.
//!
//! `ws-heads URL CONNECTIONS HEADS` opens the connections, each subscribes to `newHeads`, and has a
//! node with an unlocked account that mines every transaction at once (`--dev`) make heads, one a
//! second. A head's delay is counted from before its transaction is sent until a subscriber has read
//! it, so mining and this program's own work are in it.

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
    let account = call(&mut caller, "eth_accounts", json!([])).await?[0].clone();
    let mut worst = Duration::ZERO;
    for _ in 0..heads {
        sleep(Duration::from_secs(1)).await;
        let sent = Instant::now();
        let transaction = json!([{ "from": account, "to": account, "value": "0x1" }]);
        call(&mut caller, "eth_sendTransaction", transaction).await?;
        let mut delays = Vec::with_capacity(connections);
        let mut number = None;
        while delays.len() < connections {
            let arrival: Arrival =
                timeout(HEAD_TIMEOUT, arrived.recv()).await?.ok_or("everybody was cut off")?;
            if number.get_or_insert_with(|| arrival.number.clone()) != &arrival.number {
                return Err(format!("head {} before all had {number:?}", arrival.number).into());
            }
            delays.push(arrival.at.saturating_duration_since(sent));
        }
        delays.sort_unstable();
        let last = delays.last().copied().unwrap_or_default();
        let at =
            |share: usize| delays[(delays.len() * share / 100).min(delays.len() - 1)].as_millis();
        let name = number.unwrap_or_default();
        let (first, half, most) = (at(0), at(50), at(99));
        writeln!(
            out,
            "head {name}: first {first} ms, half {half}, 99 % {most}, all {}",
            last.as_millis()
        )?;
        worst = worst.max(last);
    }
    writeln!(out, "worst: {} ms", worst.as_millis())?;
    listeners.abort_all();
    Ok(())
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
