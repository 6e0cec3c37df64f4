//! HTTP as strangers speak it: what they send is theirs to choose.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::harness::{random::is_long, rpc::Rpc};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    time,
};

use super::arena::PATIENCE;

/// How long a visitor may wait, but for one in a hundred.
pub(super) const VISIT_P99_MAX: Duration = Duration::from_millis(100);
/// How often somebody visits.
const VISIT_INTERVAL: Duration = Duration::from_millis(20);

/// A connection whose other end speaks HTTP.
#[derive(Debug)]
pub(super) struct Web {
    pub(super) stream: BufReader<TcpStream>,
}

/// What was answered to one request.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    /// In lower case.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Page {
    /// The body as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Web {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::from(Ipv4Addr::LOCALHOST, address).await
    }

    /// Connects, if the node lets it.
    pub(super) async fn try_connect(address: SocketAddr) -> io::Result<Self> {
        TcpStream::connect(address).await.map(Self::of)
    }

    /// Connects from an address of the loopback network.
    pub(super) async fn from(source: Ipv4Addr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("there are descriptors");
        socket.bind(SocketAddr::from((source, 0))).expect("the network is this machine's");
        Self::of(socket.connect(address).await.expect("the node listens"))
    }

    /// Connects with a window of few bytes: who does that is not going to read.
    pub(super) async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("there are descriptors");
        socket.set_recv_buffer_size(4_096).expect("the size is one");
        Self::of(socket.connect(address).await.expect("the node listens"))
    }

    fn of(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Sends bytes; false if the node does not take them.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = time::timeout(PATIENCE, self.stream.get_mut().write_all(bytes));
        sent.await.expect("the node reads or hangs up").is_ok()
    }

    /// The next answer, `None` if the node has hung up instead.
    pub(super) async fn page(&mut self) -> Option<Page> {
        time::timeout(PATIENCE, self.read()).await.expect("the node answers or hangs up").ok()
    }

    async fn read(&mut self) -> io::Result<Page> {
        let mut head = String::new();
        loop {
            let before = head.len();
            if self.stream.read_line(&mut head).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if head[before..].trim().is_empty() {
                break;
            }
        }
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(head.clone()))?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.map_or(Ok(0), |length| length.trim().parse());
        let mut body = vec![0; length.map_err(io::Error::other)?];
        self.stream.read_exact(&mut body).await?;
        Ok(Page { status, head, body })
    }

    /// Asks something over a connection that is kept.
    pub(super) async fn ask(&mut self, body: &str) -> Option<Page> {
        self.ask_bytes(body.as_bytes()).await
    }

    /// The same, of what may be no text.
    pub(super) async fn ask_bytes(&mut self, body: &[u8]) -> Option<Page> {
        if self.send(&[post("", body.len()).as_bytes(), body].concat()).await {
            self.page().await
        } else {
            None
        }
    }

    /// Calls a method.
    pub(super) async fn call(&mut self, method: &str, params: Value) -> Value {
        let page = self.ask(&call(method, params)).await;
        page.unwrap_or_else(|| panic!("no answer to {method}")).json()
    }
}

/// The head of a request.
pub(super) fn post(headers: &str, length: usize) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{headers}\r\n"
    )
}

/// The text of a call.
pub(super) fn call(method: &str, params: Value) -> String {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()
}

/// Honest clients, one after the other, each on a connection of its own. They come until this is
/// dropped.
#[derive(Debug)]
pub(super) struct Visitors {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Duration>>>,
}

impl Visitors {
    pub(super) fn start(rpc: &Rpc) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, nowhere) = (Arc::clone(&stop), rpc.again());
        let thread = thread::spawn(move || {
            let mut visits = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let (mut rpc, began) = (nowhere.again(), Instant::now());
                let answer = rpc.try_call("eth_blockNumber", &json!([]));
                answer.unwrap_or_else(|fault| panic!("a visitor was not served: {fault:?}"));
                visits.push(began.elapsed());
                thread::sleep(VISIT_INTERVAL);
            }
            visits
        });
        Self { stop, thread: Some(thread) }
    }

    /// Asserts that all were served, and where nothing else runs that they were soon; in words.
    pub(super) fn judge(self) -> String {
        self.judge_within(VISIT_P99_MAX)
    }

    /// The same, with another time for all but one in a hundred.
    pub(super) fn judge_within(mut self, longest: Duration) -> String {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it is taken here only");
        let mut visits = thread.join().expect("every visitor is served");
        visits.sort();
        assert!(!visits.is_empty(), "nobody came");
        let at = (visits.len() * 99).div_ceil(100) - 1;
        let (p99, most) = (visits[at], visits[visits.len() - 1]);
        let words = format!("{} visitors, p99 {p99:.2?}, longest {most:.2?}", visits.len());
        assert!(p99 <= longest || !is_long(), "{words}");
        words
    }
}

/// Threads must not outlive a test that failed.
impl Drop for Visitors {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
