use futures_util::{SinkExt, StreamExt};
use primitives::{Header, SealedBlock, TotalDifficulty, U256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message},
};

use super::*;
use crate::{
    Block, DashboardConfig, HistoryRequest, Identity, Report, ReporterConfig, Secrets, Target,
    report,
};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A dashboard on a socket. Stopped when dropped.
struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

impl Running {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let secrets = Secrets::new("right").unwrap();
        let dashboard = Dashboard::new(DashboardConfig { secrets });
        let token = shutdown.clone();
        tasks.spawn(async move { serve(dashboard, listener, token).await.unwrap() });
        Self { address, shutdown, tasks }
    }

    async fn connect(&self, path: &str) -> Client {
        connect_async(format!("ws://{}{path}", self.address)).await.unwrap().0
    }

    /// A node's reports, and the questions that it gets.
    fn node(&mut self, login: &str) -> (mpsc::Sender<Report>, mpsc::Receiver<HistoryRequest>) {
        let target: Target = format!("{login}@{}", self.address).parse().unwrap();
        let (reports, received) = mpsc::channel(16);
        let (history, questions) = mpsc::channel(2);
        let identity = Identity {
            client: "Hematite/v0".into(),
            port: 1,
            network_id: 27_587,
            protocol: "eth/68".into(),
            processor: "amd64".into(),
        };
        let trouble = watch::Sender::new(None);
        let connector = tls::Connector::default();
        let config =
            ReporterConfig { target, connector, identity, reports: received, history, trouble };
        let token = self.shutdown.clone();
        self.tasks.spawn(report(config, token));
        (reports, questions)
    }

    async fn get(&self, path: &str) -> String {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
    }

    async fn exchange(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn block(number: u64) -> Block {
    let header = Header { number, difficulty: U256::from(131_072), ..Header::default() };
    let block = primitives::Block { header, ..primitives::Block::default() };
    Block::new(&SealedBlock::seal_slow(block), TotalDifficulty::new(U256::from(number)))
}

/// The next text; `None` once the other side has hung up.
async fn next(client: &mut Client) -> Option<String> {
    loop {
        match client.next().await? {
            Ok(Message::Text(text)) => return Some(text.to_string()),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Reads a page's feed until something holds.
async fn until(page: &mut Client, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let text = next(page).await.expect("the page is served");
        let update: Value = serde_json::from_str(&text).unwrap();
        if holds(&update) {
            return update;
        }
    }
}

fn hello(secret: &str) -> Message {
    let frame = json!({ "emit": ["hello", { "id": "n", "info": {}, "secret": secret }] });
    Message::text(frame.to_string())
}

#[tokio::test]
async fn what_a_node_reports_reaches_a_page_that_is_open() {
    let mut running = Running::new().await;
    let mut page = running.connect("/live").await;
    let empty = until(&mut page, |_| true).await;
    assert_eq!((&empty["all"], &empty["nodes"]), (&json!(true), &json!([])));
    let (reports, mut questions) = running.node("miner-0:right");
    reports.send(Report::Head(Box::new(block(2)))).await.unwrap();
    let told = until(&mut page, |update| update["blocks"][0]["number"] == 2).await;
    assert_eq!(told["head"], told["blocks"][0]["hash"]);
    // The dashboard wants the blocks before, and gets one of two.
    let question = questions.recv().await.unwrap();
    assert_eq!(question.numbers, Some(vec![0, 1]));
    question.reply.send(vec![block(1)]).unwrap();
    until(&mut page, |update| update["blocks"][0]["number"] == 1).await;
    let mut late = running.connect("/live").await;
    let all = until(&mut late, |_| true).await;
    assert_eq!(all["nodes"][0]["id"], "miner-0");
    assert_eq!(all["blocks"].as_array().unwrap().len(), 2);
    let hash = told["head"].as_str().unwrap();
    let details = running.get(&format!("/api/v1/blocks/{hash}")).await;
    assert!(details.contains("\"reports\":[{\"at\":"), "{details}");
    drop(reports);
    until(&mut page, |update| update["nodes"][0]["connected"] == false).await;
}

#[tokio::test]
async fn a_pong_is_held_back_until_geth_listens() {
    let running = Running::new().await;
    let mut node = running.connect("/api").await;
    node.send(hello("right")).await.unwrap();
    assert_eq!(next(&mut node).await.unwrap(), "{\"emit\":[\"ready\"]}");
    let ping = json!({ "emit": ["node-ping", { "id": "n", "clientTime": "then" }] });
    let began = Instant::now();
    node.send(Message::text(ping.to_string())).await.unwrap();
    let pong: Value = serde_json::from_str(&next(&mut node).await.unwrap()).unwrap();
    assert!(began.elapsed() >= super::super::PONG_DELAY);
    assert_eq!(pong["emit"][1]["clientTime"], "then");
    node.send(Message::text("\"primus::ping::5\"")).await.unwrap();
    assert_eq!(next(&mut node).await.unwrap(), "\"primus::pong::5\"");
}

#[tokio::test]
async fn strangers_and_nonsense_are_sent_away_and_the_others_stay() {
    let running = Running::new().await;
    let mut good = running.connect("/").await;
    good.send(hello("right")).await.unwrap();
    assert!(next(&mut good).await.is_some());
    for first in
        [hello("wrong"), Message::text("{\"emit\":[\"pending\",{\"stats\":{\"pending\":1}}]}")]
    {
        let mut stranger = running.connect("/api").await;
        stranger.send(first).await.unwrap();
        assert_eq!(next(&mut stranger).await, None);
    }
    let mut loud = running.connect("/api").await;
    // It may be sent away before it has said everything.
    drop(loud.send(Message::text("x".repeat(LOUD))).await);
    assert_eq!(next(&mut loud).await, None);
    let mut babbling = running.connect("/api").await;
    babbling.send(hello("right")).await.unwrap();
    assert!(next(&mut babbling).await.is_some());
    while babbling.send(Message::text("nonsense")).await.is_ok() {}
    let ping = json!({ "emit": ["node-ping", { "id": "n", "clientTime": "still" }] });
    good.send(Message::text(ping.to_string())).await.unwrap();
    assert!(next(&mut good).await.unwrap().contains("still"));
}

/// More blocks than changes may wait for a page.
const MANY: u64 = 64;
/// More than a login, less than what nodes may send.
const LOUD: usize = 64 * 1_024;

#[tokio::test]
async fn a_node_may_send_what_a_stranger_may_not() {
    let running = Running::new().await;
    let mut node = running.connect("/api").await;
    node.send(hello("right")).await.unwrap();
    assert!(next(&mut node).await.is_some());
    let frame = json!({ "emit": ["other", "x".repeat(LOUD)] });
    node.send(Message::text(frame.to_string())).await.unwrap();
    node.send(Message::text("primus::ping::1")).await.unwrap();
    assert_eq!(next(&mut node).await.unwrap(), "\"primus::pong::1\"");
    let too_long = "x".repeat(crate::message::FRAME_BYTES_MAX + 1);
    drop(node.send(Message::text(too_long)).await);
    assert_eq!(next(&mut node).await, None);
}

#[tokio::test]
async fn the_page_is_whole_and_may_load_nothing_else() {
    let running = Running::new().await;
    let page = running.get("/").await;
    assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    for part in ["/style.css", "/app.js", "/network.js", "/plots.js", "/views.js", "/icon.svg"] {
        let answer = running.get(part).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{part}");
        assert!(!answer.contains("innerHTML") && !answer.contains("https://"), "{part}");
    }
    for (path, status) in [
        ("/livez", "200"),
        ("/metrics", "200"),
        ("/api", "426"),
        ("/x", "404"),
        ("/../x", "404"),
        ("/api/v1/blocks/0x12", "404"),
        ("/api/v1/network", "200"),
    ] {
        let answer = running.get(path).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
    let posted = running.exchange("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
    let elsewhere = connect_async(format!("ws://{}/primus", running.address)).await;
    assert!(matches!(elsewhere, Err(Error::Http(answer)) if answer.status() == 404));
}

#[tokio::test]
async fn a_page_that_does_not_read_holds_up_nobody() {
    let mut running = Running::new().await;
    let _asleep = running.connect("/live").await;
    let mut page = running.connect("/live").await;
    let (reports, _questions) = running.node("a:right");
    for number in 1..=MANY {
        reports.send(Report::Head(Box::new(block(number)))).await.unwrap();
    }
    until(&mut page, |update| {
        let blocks = update["blocks"].as_array();
        blocks.is_some_and(|blocks| blocks.iter().any(|one| one["number"] == MANY))
    })
    .await;
}

#[tokio::test]
async fn who_does_not_know_the_secret_is_not_shown_and_all_stop_together() {
    let mut running = Running::new().await;
    let (reports, _questions) = running.node("a:wrong");
    reports.send(Report::Pending(1)).await.unwrap();
    let mut page = running.connect("/live").await;
    let (right, _more) = running.node("b:right");
    right.send(Report::Pending(5)).await.unwrap();
    let told = until(&mut page, |update| update["nodes"][0]["pending"] == 5).await;
    assert_eq!(told["nodes"][0]["id"], "b", "who does not know the secret is not shown");
    running.shutdown.cancel();
    while let Some(ended) = running.tasks.join_next().await {
        ended.unwrap();
    }
}
