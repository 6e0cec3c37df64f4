//! TLS, tokens and passwords on the doors that others than the operator reach.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::{SinkExt, StreamExt};
use tls::{Stream, testing::Authority};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error as WsError, Message, client::IntoClientRequest},
};

use super::{Served, SocketAddr, Value, json};
use crate::{Guard, Hosts, Logins, TokenSecret};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
const ANSWER: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"0x539\"}\n";

fn secret() -> TokenSecret {
    TokenSecret::from_hex(&"5a".repeat(32)).unwrap()
}

/// Tokens and passwords.
fn guard() -> Guard {
    Guard::new(Some(secret()), Some(Logins::parse("alice:secret").unwrap()))
}

fn bearer() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    format!("Bearer {}", secret().issue(now))
}

fn basic(login: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(login))
}

impl Served {
    fn http_address(&self) -> SocketAddr {
        self.server.http_address().unwrap()
    }

    async fn plain(&self) -> Stream {
        TcpStream::connect(self.http_address()).await.unwrap().into()
    }
}

async fn encrypted(authority: &Authority, address: SocketAddr) -> Stream {
    let socket = TcpStream::connect(address).await.unwrap();
    authority.connector().connect("localhost", socket).await.unwrap()
}

/// Sends a request and reads to the end of the connection.
async fn exchange(mut stream: Stream, start: &str, headers: &str, body: &str) -> String {
    let request = format!(
        "{start} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    rest(&mut stream).await
}

async fn rest(stream: &mut Stream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is an end, too.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

fn authorization(value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("authorization: {value}\r\n") }
}

/// Asks over WebSocket; the status and the words of a refusal.
async fn ask(stream: Stream, authorization: &str) -> Result<Value, (u16, String)> {
    let mut request = "ws://localhost/".into_client_request().unwrap();
    if !authorization.is_empty() {
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
    }
    let (mut socket, _) = client_async(request, stream).await.map_err(|error| match error {
        WsError::Http(response) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status().as_u16(), String::from_utf8(body).unwrap().trim().to_owned())
        }
        other => panic!("{other}"),
    })?;
    socket.send(Message::text(CALL)).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    Ok(serde_json::from_str(answer.to_text().unwrap()).unwrap())
}

#[tokio::test]
async fn https_and_wss_answer_as_http_and_ws_do() {
    let authority = Authority::new();
    let served = Served::with(|config| config.tls = Some(authority.acceptor())).await;
    let stream = encrypted(&authority, served.http_address()).await;
    let answer = exchange(stream, "POST /", "", CALL).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(ANSWER), "{answer}");
    let stream = encrypted(&authority, served.ws_address()).await;
    assert_eq!(ask(stream, "").await.unwrap()["result"], "0x539");
    // Many in a row, longer than a record of TLS.
    let mut stream = encrypted(&authority, served.http_address()).await;
    let batch = format!("[{}]", vec![CALL; 900].join(","));
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{batch}",
        batch.len()
    );
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"]\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "closed early");
        }
        assert_eq!(String::from_utf8(answer).unwrap().matches("0x539").count(), 900);
    }
    drop(stream);
    let stranger = Authority::new();
    let socket = TcpStream::connect(served.http_address()).await.unwrap();
    let error = stranger.connector().connect("localhost", socket).await.unwrap_err();
    assert!(error.to_string().contains("--tls.cafile"), "{error}");
    served.stop().await;
}

#[tokio::test]
async fn who_speaks_no_tls_to_it_is_told_so() {
    let authority = Authority::new();
    let served = Served::with(|config| config.tls = Some(authority.acceptor())).await;
    let answer = exchange(served.plain().await, "POST /", "", CALL).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("HTTPS server"), "{answer}");
    assert!(!answer.contains("0x539"), "{answer}");
    served.stop().await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut_like_slow_headers() {
    let authority = Authority::new();
    let served = Served::with(|config| {
        config.tls = Some(authority.acceptor());
        config.server.connections = 3;
        config.server.deadlines.header = Duration::from_millis(500);
    })
    .await;
    // Nothing; the head of a record; a whole head of a message that does not follow.
    let mut silent = Vec::new();
    for bytes in [&[][..], &[22, 3, 1], &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]] {
        let mut stream = served.plain().await;
        stream.write_all(bytes).await.unwrap();
        silent.push(stream);
    }
    // They have every place. Who comes next is served when they are gone.
    let stream = encrypted(&authority, served.http_address()).await;
    let answer = exchange(stream, "POST /", "", CALL).await;
    assert!(answer.ends_with(ANSWER), "{answer}");
    for mut stream in silent {
        assert_eq!(rest(&mut stream).await, "");
    }
    // After the handshake the same time still runs.
    let mut stream = encrypted(&authority, served.http_address()).await;
    stream.write_all(b"POST / HT").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
    served.stop().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_handshake() {
    let authority = Authority::new();
    let served = Served::with(|config| {
        config.tls = Some(authority.acceptor());
        config.server.deadlines.header = Duration::from_secs(100_000);
    })
    .await;
    let mut stream = served.plain().await;
    stream.write_all(&[22]).await.unwrap();
    served.stop().await;
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn only_who_has_a_secret_is_answered() {
    let served = Served::with(|config| config.guard = guard()).await;
    for (header, reason) in [
        (String::new(), Some("missing token")),
        (bearer(), None),
        (basic("alice:secret"), None),
        (basic("alice:wrong"), Some("wrong user or password")),
        (bearer() + "x", Some("signature is invalid")),
        (bearer() + "*", Some("token is malformed")),
        (format!("Bearer {}", secret().issue(1)), Some("stale token")),
        ("Digest x".to_owned(), Some("missing token")),
    ] {
        let answer = exchange(served.plain().await, "POST /", &authorization(&header), CALL).await;
        let stream = TcpStream::connect(served.ws_address()).await.unwrap().into();
        let asked = ask(stream, &header).await;
        match reason {
            None => {
                assert!(answer.ends_with(ANSWER), "{answer}");
                assert_eq!(asked.unwrap()["result"], "0x539");
            }
            Some(reason) => {
                assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
                assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
                assert!(answer.contains("www-authenticate: Basic realm="), "{answer}");
                assert!(answer.ends_with(&format!("\r\n\r\n{reason}\n")), "{answer}");
                assert_eq!(asked.unwrap_err(), (401, reason.to_owned()));
            }
        }
    }
    // The operator needs none.
    assert_eq!(served.ipc().await.result("eth_chainId", json!([])).await, "0x539");
    served.stop().await;
}

#[tokio::test]
async fn without_a_secret_one_learns_that_a_node_is_there_and_no_more() {
    let served = Served::with(|config| {
        config.guard = guard();
        let http = config.http.as_mut().unwrap();
        http.explorer = true;
        http.hosts = Hosts::listed(["localhost".to_owned()]);
        http.origins = vec!["https://wallet.example".to_owned()];
    })
    .await;
    let origin = "origin: https://wallet.example\r\n";
    let preflight = format!(
        "{origin}access-control-request-method: POST\r\n\
         access-control-request-headers: authorization\r\n"
    );
    for (start, headers, body, status) in [
        ("GET /", "", "", "200"),
        ("OPTIONS /", &*preflight, "", "200"),
        ("OPTIONS /", "", CALL, "401"),
        ("OPTIONS /", origin, CALL, "401"),
        ("GET /", "", CALL, "401"),
        ("GET /?x", "", "", "401"),
        ("PUT /", "", CALL, "401"),
        ("GET /explorer/", "", "", "401"),
        ("GET /explorer/node.js", "", "", "401"),
    ] {
        let answer = exchange(served.plain().await, start, headers, body).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{start}: {answer}");
        assert!(!answer.contains("0x539"), "{start}: {answer}");
        let allowed = answer.contains("access-control-allow-origin: https://wallet.example\r\n");
        assert_eq!(allowed, headers.contains("origin:"), "{start}: {answer}");
    }
    let answer = exchange(served.plain().await, "OPTIONS /", &preflight, "").await;
    assert!(answer.contains("access-control-allow-headers: authorization\r\n"), "{answer}");
    let login = authorization(&basic("alice:secret"));
    let page = exchange(served.plain().await, "GET /explorer/", &login, "").await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    served.stop().await;
}

#[tokio::test]
async fn a_door_that_is_opened_later_is_as_safe() {
    let authority = Authority::new();
    let served = Served::with(|config| {
        config.tls = Some(authority.acceptor());
        config.guard = guard();
        (config.http, config.ws) = (None, None);
    })
    .await;
    let mut ipc = served.ipc().await;
    for method in ["admin_startHTTP", "admin_startWS"] {
        assert_eq!(ipc.result(method, json!(["127.0.0.1", 0])).await, true);
    }
    let stream = encrypted(&authority, served.http_address()).await;
    let answer = exchange(stream, "POST /", "", CALL).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    let stream = encrypted(&authority, served.ws_address()).await;
    assert_eq!(ask(stream, "").await.unwrap_err().0, 401);
    let stream = encrypted(&authority, served.ws_address()).await;
    assert_eq!(ask(stream, &bearer()).await.unwrap()["result"], "0x539");
    drop(ipc);
    served.stop().await;
}
