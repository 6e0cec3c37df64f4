//! WebSocket and the local socket, on a node in memory.

mod hostile;
mod secured;
mod subscriptions;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream as Blocking},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::PathBuf,
    time::Duration,
};

use chain::testing::book_forks;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};
use tokio_util::sync::CancellationToken;

use super::Fixture;
use crate::{HttpConfig, IpcError, NAMESPACES, RpcConfig, RpcServer, StartError, WsConfig};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node in memory that is served on every transport.
struct Served {
    fixture: Fixture,
    server: RpcServer,
    shutdown: CancellationToken,
    ipc: PathBuf,
    _folder: tempfile::TempDir,
}

impl Served {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut RpcConfig)) -> Self {
        let fixture = Fixture::new(book_forks());
        let folder = tempfile::tempdir().unwrap();
        let ipc = folder.path().join("node").join("geth.ipc");
        let free = || "127.0.0.1:0".parse().unwrap();
        let mut config = RpcConfig {
            http: Some(HttpConfig::new(free())),
            ws: Some(WsConfig::new(free())),
            ipc: Some(ipc.clone()),
            ..RpcConfig::default()
        };
        change(&mut config);
        let shutdown = CancellationToken::new();
        let node = fixture.api.node.clone();
        let server = RpcServer::start(config, node, shutdown.clone()).await.unwrap();
        Self { fixture, server, shutdown, ipc, _folder: folder }
    }

    fn ws_address(&self) -> SocketAddr {
        self.server.ws_address().unwrap()
    }

    async fn ws(&self) -> Client {
        Client::ws(self.ws_address()).await
    }

    async fn ipc(&self) -> Client {
        Client::ipc(self.ipc.clone()).await
    }

    /// One of each.
    async fn clients(&self) -> [Client; 2] {
        [self.ws().await, self.ipc().await]
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.server.stopped().await;
    }
}

/// A client that blocks, as most do; what it does runs beside the server.
enum Socket {
    Ws(Box<WebSocket<Blocking>>),
    Ipc { socket: UnixStream, input: Vec<u8> },
}

impl Socket {
    fn send(&mut self, text: &str) {
        match self {
            Self::Ws(socket) => socket.send(Message::text(text)).unwrap(),
            Self::Ipc { socket, .. } => socket.write_all(text.as_bytes()).unwrap(),
        }
    }

    /// The next message; `None` when the server has ended it.
    fn receive(&mut self) -> Option<Value> {
        match self {
            Self::Ws(socket) => loop {
                match socket.read().ok()? {
                    Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                    Message::Close(_) => return None,
                    _ => {}
                }
            },
            Self::Ipc { socket, input } => loop {
                if let Some(end) = input.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = input.drain(..=end).collect();
                    return Some(serde_json::from_slice(&line).unwrap());
                }
                let mut chunk = [0; 4096];
                let count = socket.read(&mut chunk).ok()?;
                if count == 0 {
                    return None;
                }
                input.extend_from_slice(&chunk[..count]);
            },
        }
    }
}

struct Client(Option<Socket>);

impl Client {
    async fn ws(address: SocketAddr) -> Self {
        let connect = move || {
            let socket = Blocking::connect(address).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let (socket, _) = client(format!("ws://{address}/"), socket).unwrap();
            Self(Some(Socket::Ws(Box::new(socket))))
        };
        spawn_blocking(connect).await.unwrap()
    }

    async fn ipc(path: PathBuf) -> Self {
        let connect = move || {
            let socket = UnixStream::connect(path).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            Self(Some(Socket::Ipc { socket, input: Vec::new() }))
        };
        spawn_blocking(connect).await.unwrap()
    }

    /// Does something with the socket while the server runs.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Socket) -> T + Send + 'static,
    ) -> T {
        let mut socket = self.0.take().unwrap();
        let (socket, result) = spawn_blocking(move || {
            let result = work(&mut socket);
            (socket, result)
        })
        .await
        .unwrap();
        self.0 = Some(socket);
        result
    }

    async fn exchange(&mut self, text: impl Into<String>) -> Value {
        let text = text.into();
        let ended = format!("the connection ended after {}", &text[..text.len().min(100)]);
        let answer = self.with(move |socket| {
            socket.send(&text);
            socket.receive()
        });
        answer.await.expect(&ended)
    }

    async fn receive(&mut self) -> Option<Value> {
        self.with(Socket::receive).await
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let answer = self.exchange(request.to_string()).await;
        assert_eq!(answer["id"], 7, "{answer}");
        answer
    }

    async fn result(&mut self, method: &str, params: Value) -> Value {
        let answer = self.call(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    async fn error(&mut self, method: &str, params: Value) -> (i64, String) {
        let answer = self.call(method, params).await;
        let error = &answer["error"];
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
    }

    /// The next notification of a subscription.
    async fn told(&mut self, id: &Value) -> Value {
        let told = self.receive().await.expect("the connection stays");
        assert_eq!(told["method"], "eth_subscription", "{told}");
        assert_eq!(&told["params"]["subscription"], id, "{told}");
        assert_eq!(told.as_object().unwrap().len(), 3, "{told}");
        told["params"]["result"].clone()
    }
}

#[tokio::test]
async fn every_transport_answers_calls_and_batches_in_order() {
    let served = Served::start().await;
    for mut client in served.clients().await {
        assert_eq!(client.result("eth_chainId", json!([])).await, "0x539");
        assert_eq!(client.result("net_version", json!([])).await, "1337");
        let batch = json!([
            {"id": "a", "method": "eth_blockNumber"},
            {"method": "eth_blockNumber"},
            {"id": null, "method": "web3_nothing"},
        ]);
        let answer = client.exchange(batch.to_string()).await;
        assert_eq!(answer[0], json!({"jsonrpc": "2.0", "id": "a", "result": "0x0"}));
        assert_eq!(answer[1]["error"]["code"], -32601);
        assert_eq!(answer.as_array().unwrap().len(), 2);
        // Many at once are answered as they came.
        let calls: String =
            (0..100).map(|id| format!(r#"{{"id":{id},"method":"eth_chainId"}}"#)).collect();
        let answers = client.with(move |socket| {
            match socket {
                Socket::Ipc { .. } => socket.send(&calls),
                Socket::Ws(_) => calls.split_inclusive('}').for_each(|call| socket.send(call)),
            }
            (0..100).map(|_| socket.receive().unwrap()["id"].clone()).collect::<Vec<_>>()
        });
        assert_eq!(answers.await, (0..100).map(Value::from).collect::<Vec<_>>());
    }
    served.stop().await;
}

#[tokio::test]
async fn the_local_socket_exposes_everything_and_others_what_they_are_told() {
    let served = Served::start().await;
    let [mut ws, mut ipc] = served.clients().await;
    let listed = json!({"eth": "1.0", "net": "1.0", "rpc": "1.0", "web3": "1.0"});
    assert_eq!(ws.result("rpc_modules", json!([])).await, listed);
    let text = "the method admin_datadir does not exist/is not available".to_owned();
    assert_eq!(ws.error("admin_datadir", json!([])).await, (-32601, text));
    let modules = ipc.result("rpc_modules", json!([])).await;
    assert_eq!(modules.as_object().unwrap().len(), NAMESPACES.len());
    assert_eq!(ipc.result("admin_datadir", json!([])).await, "/data");
    served.stop().await;
}

#[tokio::test]
async fn all_transports_know_the_same_filters() {
    let served = Served::start().await;
    let [mut ws, mut ipc] = served.clients().await;
    let id = ws.result("eth_newBlockFilter", json!([])).await;
    assert_eq!(ipc.result("eth_getFilterChanges", json!([id])).await, json!([]));
    assert_eq!(ws.result("eth_uninstallFilter", json!([id])).await, true);
    served.stop().await;
}

#[tokio::test]
async fn one_port_serves_http_and_websocket() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let served = Served::with(|config| {
        config.http = Some(HttpConfig::new(free));
        config.ws = Some(WsConfig { modules: vec!["web3".into()], ..WsConfig::new(free) });
    })
    .await;
    assert_eq!(
        (served.server.http_address(), served.server.ws_address()),
        (Some(free), Some(free))
    );
    let mut ws = served.ws().await;
    assert_eq!(ws.error("eth_chainId", json!([])).await.0, -32601);
    let over_http = super::post(free, r#"{"id":1,"method":"eth_chainId"}"#).await;
    assert_eq!(over_http["result"], "0x539");
    served.stop().await;
}

#[tokio::test]
async fn an_operator_opens_and_closes_listeners() {
    let served = Served::with(|config| config.http = None).await;
    let mut ipc = served.ipc().await;
    let start = json!(["127.0.0.1", 0, null, "web3,nothing"]);
    assert_eq!(ipc.result("admin_startHTTP", start.clone()).await, true);
    let address = served.server.http_address().unwrap();
    let call = r#"{"id":1,"method":"rpc_modules"}"#;
    let answer = super::post(address, call).await;
    assert_eq!(answer["result"], json!({"rpc": "1.0", "web3": "1.0"}));
    let running = format!("HTTP server already running on {address}");
    assert_eq!(ipc.error("admin_startRPC", start).await, (-32000, running));
    assert_eq!(ipc.result("admin_stopRPC", json!([])).await, true);
    assert_eq!(served.server.http_address(), None);
    // A connection that stays open ends with its listener.
    let mut ws = served.ws().await;
    assert_eq!(ws.result("eth_chainId", json!([])).await, "0x539");
    let enabled = "JSON-RPC over WebSocket is already enabled".to_owned();
    assert_eq!(ipc.error("admin_startWS", json!([])).await, (-32000, enabled));
    assert_eq!(ipc.result("admin_stopWS", json!([])).await, true);
    assert_eq!(ws.receive().await, None);
    assert_eq!(ipc.result("admin_startWS", json!(["127.0.0.1", 0])).await, true);
    assert_eq!(served.ws().await.result("eth_chainId", json!([])).await, "0x539");
    served.stop().await;
}

/// The head of the answer to a request on the WebSocket port.
async fn head(address: SocketAddr, request: String) -> String {
    let exchange = move || {
        let mut socket = Blocking::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        String::from_utf8(head).unwrap().to_lowercase()
    };
    spawn_blocking(exchange).await.unwrap()
}

#[tokio::test]
async fn agrees_to_a_websocket_as_geth_does() {
    let served = Served::with(|config| {
        let ws = config.ws.as_mut().unwrap();
        ws.prefix = "/ws".into();
    })
    .await;
    let address = served.ws_address();
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    let upgrade = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n";
    for (path, headers, want) in [
        ("/ws", format!("{upgrade}{KEY}{VERSION}"), "101 "),
        ("/ws/more", format!("{upgrade}{KEY}{VERSION}Origin: http://localhost\r\n"), "101 "),
        ("/ws", format!("{upgrade}{KEY}{VERSION}Origin: http://evil.example\r\n"), "403 "),
        ("/", format!("{upgrade}{KEY}{VERSION}"), "404 "),
        ("/ws", format!("{upgrade}{KEY}"), "400 "),
        ("/ws", format!("{upgrade}{VERSION}"), "400 "),
        ("/ws", format!("{upgrade}{VERSION}Sec-WebSocket-Key: short\r\n"), "400 "),
        ("/ws", String::new(), "404 "),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\n{headers}\r\n");
        let head = head(address, request.clone()).await;
        assert!(head.starts_with(&format!("http/1.1 {want}")), "{request}{head}");
        if want == "101 " {
            assert!(
                head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
                "{head}"
            );
            assert!(!head.contains("sec-websocket-extensions"), "{head}");
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn the_sockets_file_is_the_owners_and_goes_with_the_node() {
    let served = Served::start().await;
    let path = served.ipc.clone();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A second node finds the first one alive, and leaves it so.
    let config = RpcConfig { ipc: Some(path.clone()), ..RpcConfig::default() };
    let node = served.fixture.api.node.clone();
    let second = RpcServer::start(config.clone(), node.clone(), CancellationToken::new()).await;
    assert!(matches!(second, Err(StartError::Ipc(IpcError::InUse(_)))), "{second:?}");
    assert_eq!(served.ipc().await.result("eth_chainId", json!([])).await, "0x539");
    let Served { server, shutdown, _folder, .. } = served;
    shutdown.cancel();
    server.stopped().await;
    assert!(!path.exists());
    // What a crash leaves behind is replaced; what is no socket is not.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let token = CancellationToken::new();
    let third = RpcServer::start(config.clone(), node.clone(), token.clone()).await.unwrap();
    assert_eq!(Client::ipc(path.clone()).await.result("eth_chainId", json!([])).await, "0x539");
    token.cancel();
    third.stopped().await;
    std::fs::write(&path, "precious").unwrap();
    let fourth = RpcServer::start(config, node.clone(), CancellationToken::new()).await;
    assert!(matches!(fourth, Err(StartError::Ipc(IpcError::NotASocket(_)))), "{fourth:?}");
    let long = path.with_file_name("x".repeat(120));
    let config = RpcConfig { ipc: Some(long), ..RpcConfig::default() };
    let text =
        RpcServer::start(config, node, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(text.contains("a socket's may have 107"), "{text}");
}

#[tokio::test]
async fn what_was_asked_is_answered_before_a_stop_and_after_a_half_close() {
    let served = Served::start().await;
    let mut ipc = served.ipc().await;
    let answer = ipc.with(|socket| {
        socket.send(r#"{"id":1,"method":"eth_getLogs","params":[{}]}"#);
        let Socket::Ipc { socket: stream, .. } = &*socket else { unreachable!() };
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        (socket.receive(), socket.receive())
    });
    let (answer, end) = answer.await;
    assert_eq!((answer.unwrap()["result"].clone(), end), (json!([]), None));
    let mut ws = served.ws().await;
    assert_eq!(ws.result("eth_chainId", json!([])).await, "0x539");
    served.shutdown.cancel();
    let close = ws.with(|socket| {
        let Socket::Ws(socket) = socket else { unreachable!() };
        socket.read().unwrap()
    });
    let Message::Close(Some(frame)) = close.await else { panic!("no close frame") };
    assert_eq!(u16::from(frame.code), 1001);
    served.stop().await;
}
