use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::dispatch::{DispatchLimits, Dispatcher, tests::methods};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"test_echo","params":["hi"]}"#;
const ANSWER: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"hi\"}\n";

/// A server on a free port; dropping it stops it.
struct TestServer {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: tokio::task::JoinSet<()>,
}

impl TestServer {
    async fn start(limits: ServerLimits, origins: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dispatcher = Arc::new(Dispatcher::new(methods(), DispatchLimits::default()));
        let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let service = HttpService {
            dispatcher,
            guard: Guard::default(),
            hosts: Hosts::cluster(None),
            origins,
            prefix: String::new(),
            body_bytes: limits.body_bytes,
            bodies: bodies(),
            explorer: false,
        };
        let door = Arc::new(Door { http: Some(service), websocket: None, tls: None });
        let shutdown = CancellationToken::new();
        let mut task = tokio::task::JoinSet::new();
        task.spawn(serve(Listener::Tcp(listener, door), limits, shutdown.clone()));
        Self { address, shutdown, task }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads to the end of the connection.
    async fn exchange(&self, request: &str) -> String {
        let mut socket = self.connect().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        rest(&mut socket).await
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.task.join_next().await {
            ended.unwrap();
        }
    }
}

fn bodies() -> Arc<crate::budget::Budget> {
    Arc::new(crate::budget::Budget::new(BODIES_BYTES_MAX))
}

async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is an end, too.
    let _ = socket.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

/// Reads one answer with a declared length from a connection that stays open.
async fn one_answer(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).ends_with(ANSWER) {
        assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0, "closed early");
    }
    String::from_utf8(bytes).unwrap()
}

fn limits() -> ServerLimits {
    ServerLimits { connections: 100, ..ServerLimits::default() }
}

/// Limits under which only the named phase is short.
fn hurried(change: impl FnOnce(&mut Deadlines)) -> ServerLimits {
    let mut limits = limits();
    change(&mut limits.deadlines);
    limits
}

fn post(headers: &str, body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test]
async fn answers_a_call_and_keeps_the_connection() {
    let server = TestServer::start(limits(), &[]).await;
    let mut socket = server.connect().await;
    let call = post("", CALL).replace("Connection: close\r\n", "");
    for _ in 0..3 {
        socket.write_all(call.as_bytes()).await.unwrap();
        let answer = one_answer(&mut socket).await;
        assert_eq!((status(&answer), body(&answer)), ("200", ANSWER));
        assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        assert!(!answer.contains("access-control"), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_failed_call_is_still_http_200() {
    let server = TestServer::start(limits(), &[]).await;
    for call in [r#"{"id":1,"method":"test_fail"}"#, r#"{"id":1,"method":"no"}"#, "{", "[]"] {
        assert_eq!(status(&server.exchange(&post("", call)).await), "200", "{call}");
    }
    server.stop().await;
}

#[tokio::test]
async fn refuses_the_wrong_form_as_geth_does() {
    let server = TestServer::start(limits(), &[]).await;
    let head = |start: &str, headers: &str| {
        format!("{start} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
    };
    for (request, want_status, want_body) in [
        (head("GET /", ""), "200", ""),
        (head("OPTIONS /", ""), "200", ""),
        (head("PUT /", ""), "405", "method not allowed\n"),
        (head("DELETE /", ""), "405", "method not allowed\n"),
        (head("GET /?x", ""), "415", "invalid content type, only application/json is supported\n"),
        (
            post("", CALL).replace("application/json", "text/plain"),
            "415",
            "invalid content type, only application/json is supported\n",
        ),
        (
            post("", CALL).replace("application/json", "application/json; charset=utf-8"),
            "200",
            ANSWER,
        ),
        (post("", CALL).replace("application/json", "application/json-rpc"), "200", ANSWER),
        (post("", CALL).replace("application/json", "application/jsonrequest"), "200", ANSWER),
        (
            head("POST /", "Content-Type: application/json\r\nContent-Length: 5242881\r\n"),
            "413",
            "content length too large (5242881>5242880)\n",
        ),
        (post("", ""), "200", ""),
    ] {
        let answer = server.exchange(&request).await;
        assert_eq!((status(&answer), body(&answer)), (want_status, want_body), "{request}");
    }
    server.stop().await;
}

#[tokio::test]
async fn strangers_names_are_not_served() {
    let server = TestServer::start(limits(), &["*"]).await;
    for (host, want) in [
        ("Host: localhost:8545\r\n", "200"),
        ("Host: 127.0.0.1:8545\r\n", "200"),
        ("Host: [::1]:8545\r\n", "200"),
        ("Host: geth-tx.chain.svc.cluster.local\r\n", "200"),
        ("Host: evil.example.com\r\n", "403"),
        ("Host: localhost.evil\r\n", "403"),
        ("Host: localhost\r\nHost: evil.example.com\r\n", "403"),
    ] {
        let answer = server.exchange(&post("", CALL).replace("Host: localhost\r\n", host)).await;
        assert_eq!(status(&answer), want, "{host}");
        if want == "403" {
            assert_eq!(body(&answer), "invalid host specified\n");
        }
    }
    let absolute = post("", CALL).replace("POST / ", "POST http://evil.example.com/ ");
    assert_eq!(status(&server.exchange(&absolute).await), "403");
    server.stop().await;
}

#[tokio::test]
async fn pages_of_listed_origins_may_read_answers() {
    let server = TestServer::start(limits(), &["https://remix.ethereum.org"]).await;
    let preflight = "OPTIONS / HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\nOrigin: https://remix.ethereum.org\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n";
    let answer = server.exchange(preflight).await;
    assert_eq!(status(&answer), "200");
    for header in [
        "access-control-allow-origin: https://remix.ethereum.org\r\n",
        "access-control-allow-methods: POST, GET\r\n",
        "access-control-allow-headers: content-type\r\n",
        "access-control-max-age: 600\r\n",
    ] {
        assert!(answer.contains(header), "{answer}");
    }
    let mine = server.exchange(&post("Origin: https://remix.ethereum.org\r\n", CALL)).await;
    assert!(mine.contains("access-control-allow-origin: https://remix.ethereum.org\r\n"), "{mine}");
    let theirs = server.exchange(&post("Origin: https://evil.example.com\r\n", CALL)).await;
    assert!(!theirs.contains("access-control-allow-origin"), "{theirs}");
    assert_eq!(status(&server.exchange(&preflight.replace("remix.ethereum", "evil")).await), "403");
    server.stop().await;
}

#[tokio::test]
async fn chunked_bodies_are_counted_as_they_arrive() {
    let server = TestServer::start(ServerLimits { body_bytes: 100, ..limits() }, &[]).await;
    let chunked = |size: usize| {
        post("Transfer-Encoding: chunked\r\n", "").replace("Content-Length: 0\r\n", "")
            + &format!("{size:x}\r\n{CALL:<size$}\r\n0\r\n\r\n")
    };
    assert_eq!(body(&server.exchange(&chunked(100)).await), ANSWER);
    let answer = server.exchange(&chunked(101)).await;
    assert_eq!(status(&answer), "413");
    assert_eq!(body(&answer), "content length too large (101>100)\n");
    server.stop().await;
}

#[tokio::test]
async fn a_declared_body_at_the_limit_is_read_and_one_byte_more_is_not() {
    let server = TestServer::start(ServerLimits { body_bytes: 100, ..limits() }, &[]).await;
    assert_eq!(body(&server.exchange(&post("", &format!("{CALL:<100}"))).await), ANSWER);
    assert_eq!(status(&server.exchange(&post("", &format!("{CALL:<101}"))).await), "413");
    server.stop().await;
}

#[tokio::test]
async fn slow_headers_are_cut() {
    let server = TestServer::start(hurried(|d| d.header = Duration::from_millis(50)), &[]).await;
    assert_eq!(server.exchange("").await, "");
    assert_eq!(server.exchange("POST / HTTP/1.1\r\nHost: loc").await, "");
    server.stop().await;
}

#[tokio::test]
async fn slow_bodies_are_cut_while_others_are_served() {
    let server = TestServer::start(hurried(|d| d.body = Duration::from_millis(200)), &[]).await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut socket = server.connect().await;
        let request = post("", CALL);
        socket.write_all(&request.as_bytes()[..request.len() - 1]).await.unwrap();
        slow.push(socket);
    }
    for _ in 0..20 {
        assert_eq!(body(&server.exchange(&post("", CALL)).await), ANSWER);
    }
    for mut socket in slow {
        assert_eq!(rest(&mut socket).await, "");
    }
    server.stop().await;
}

/// A connection that has had one answer and is kept.
async fn used(server: &TestServer) -> TcpStream {
    let mut socket = server.connect().await;
    socket.write_all(post("", CALL).replace("Connection: close\r\n", "").as_bytes()).await.unwrap();
    one_answer(&mut socket).await;
    socket
}

#[tokio::test]
async fn idle_connections_are_cut_and_idle_time_is_not_headers_time() {
    let deadlines = |d: &mut Deadlines| {
        d.idle = Duration::from_millis(600);
        d.header = Duration::from_millis(300);
    };
    let server = TestServer::start(hurried(deadlines), &[]).await;
    let mut socket = used(&server).await;
    let idle = std::time::Instant::now();
    assert_eq!(rest(&mut socket).await, "");
    assert!(idle.elapsed() >= Duration::from_millis(500), "{:?}", idle.elapsed());
    server.stop().await;
}

#[tokio::test]
async fn headers_time_starts_with_their_first_byte() {
    let server = TestServer::start(hurried(|d| d.header = Duration::from_millis(300)), &[]).await;
    let mut socket = used(&server).await;
    socket.write_all(b"POST").await.unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(rest(&mut socket).await, "");
    assert!(begun.elapsed() < Duration::from_secs(60), "idle time would be two minutes");
    server.stop().await;
}

#[tokio::test]
async fn answers_that_nobody_takes_are_cut() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut slow = crate::dispatch::Methods::default();
    let long = format!("\"{}\"", "x".repeat(20 * 1024 * 1024));
    slow.add(
        "test_long",
        crate::dispatch::Weight::Light,
        Box::new(move |_| Ok(serde_json::value::RawValue::from_string(long.clone()).unwrap())),
    );
    let dispatcher = Arc::new(Dispatcher::new(slow, DispatchLimits::default()));
    let service = HttpService {
        dispatcher,
        guard: Guard::default(),
        hosts: Hosts::cluster(None),
        origins: vec![],
        prefix: String::new(),
        body_bytes: BODY_BYTES_MAX,
        bodies: bodies(),
        explorer: false,
    };
    let door = Arc::new(Door { http: Some(service), websocket: None, tls: None });
    let limits = hurried(|d| d.write = Duration::from_millis(50));
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(post("", r#"{"id":1,"method":"test_long"}"#).as_bytes()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    // The server's side of the connection ends by itself although nobody reads.
    let (watch, token) = (Watch::new(limits.deadlines), CancellationToken::new());
    serve_connection(Accepted::Tcp(accepted, door), watch, limits.session, token).await;
    let mut taken = Vec::new();
    let _ = socket.read_to_end(&mut taken).await;
    assert!(taken.len() < 20 * 1024 * 1024);
}

#[tokio::test]
async fn at_the_limit_accepting_pauses_and_nobody_is_refused() {
    let mut limits = hurried(|d| d.header = Duration::from_millis(300));
    limits.connections = 2;
    let server = TestServer::start(limits, &[]).await;
    let mut silent = [server.connect().await, server.connect().await];
    let answer = server.exchange(&post("", CALL)).await;
    assert_eq!((status(&answer), body(&answer)), ("200", ANSWER));
    for socket in &mut silent {
        assert_eq!(rest(socket).await, "");
    }
    server.stop().await;
}

/// In each phase in which the node waits for a client; no deadline would end it in a test's time.
#[tokio::test]
async fn at_the_limit_whoever_has_dawdled_longest_gives_way() {
    let never = Duration::from_secs(100_000);
    let patient = |d: &mut Deadlines| {
        *d = Deadlines { header: never, body: never, write: never, idle: never };
    };
    let whole = post("", CALL);
    for sent in [0, 1, whole.len() - 1] {
        let limits = ServerLimits { connections: 3, ..hurried(patient) };
        let server = TestServer::start(limits, &[]).await;
        let mut slow = Vec::new();
        for _ in 0..2 {
            let mut socket = server.connect().await;
            socket.write_all(&whole.as_bytes()[..sent]).await.unwrap();
            slow.push(socket);
        }
        let mut idle = used(&server).await;
        let _fourth = used(&server).await;
        assert_eq!(rest(&mut slow[0]).await, "", "after {sent} bytes");
        // The others have their places still.
        slow[1].write_all(&whole.as_bytes()[sent..]).await.unwrap();
        assert_eq!(body(&rest(&mut slow[1]).await), ANSWER);
        idle.write_all(whole.as_bytes()).await.unwrap();
        assert_eq!(body(&rest(&mut idle).await), ANSWER);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_connection_is_usable_after_malformed_requests() {
    let server = TestServer::start(limits(), &[]).await;
    let mut socket = server.connect().await;
    for bad in [
        "null",
        "{",
        "[[]]",
        r#"{"id":1e400,"method":"test_echo","params":[1e400]}"#,
        "\u{0}",
        "[null]",
    ] {
        let request = post("", bad).replace("Connection: close\r\n", "");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        while !String::from_utf8_lossy(&bytes).ends_with("}\n")
            && !String::from_utf8_lossy(&bytes).ends_with("]\n")
        {
            assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0, "closed after {bad}");
        }
    }
    socket.write_all(post("", CALL).as_bytes()).await.unwrap();
    assert_eq!(body(&rest(&mut socket).await), ANSWER);
    server.stop().await;
}

#[tokio::test]
async fn oversized_and_ambiguous_heads_are_refused() {
    let server = TestServer::start(limits(), &[]).await;
    let long = format!("X-Long: {}\r\n", "x".repeat(1024 * 1024));
    assert!(matches!(status(&server.exchange(&post(&long, CALL)).await), "431" | "none"));
    let many = "X-Many: 1\r\n".repeat(1000);
    assert!(matches!(status(&server.exchange(&post(&many, CALL)).await), "431" | "none"));
    let both = server.exchange(&post("Transfer-Encoding: gzip\r\n", CALL)).await;
    assert_eq!(status(&both), "400");
    server.stop().await;
}

#[tokio::test]
async fn a_stop_finishes_the_answer_under_way() {
    let server = TestServer::start(limits(), &[]).await;
    let mut socket = server.connect().await;
    let request = post("", CALL);
    let (first, last) = request.split_at(request.len() - 1);
    socket.write_all(first.as_bytes()).await.unwrap();
    // An answered second connection proves that the first one was accepted and its head may be read.
    assert_eq!(body(&server.exchange(&post("", CALL)).await), ANSWER);
    tokio::task::yield_now().await;
    server.shutdown.cancel();
    socket.write_all(last.as_bytes()).await.unwrap();
    assert_eq!(body(&rest(&mut socket).await), ANSWER);
    let address = server.address;
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[test]
fn half_of_the_descriptors_stay_with_the_rest_of_the_node() {
    assert_eq!(2 * connections_within(CONNECTIONS_MAX, Some(512)), 256);
    assert_eq!(connections_within(CONNECTIONS_MAX, Some(1)), 1);
    assert_eq!(connections_within(CONNECTIONS_MAX, None), CONNECTIONS_MAX);
    assert_eq!(connections_within(5_100, Some(30_000)), 5_100);
}
