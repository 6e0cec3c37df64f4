//! Requests in forms that no client sends.

use serde_json::json;
use tests::harness::{gauge::MIB, random::say};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time,
};

use super::super::{
    arena::{Arena, PATIENCE},
    web::{Page, Web, call, post},
};

/// What all of it may take.
const RSS_MAX: u64 = 32 * MIB;
/// Requests that are sent before the first answer is read.
const PIPELINED: usize = 10_000;
/// What is sent in chunks, if somebody takes it.
const CHUNKED_BYTES: usize = 1 << 30;
/// What may be taken of it: the largest body there is, and what sockets hold.
const TAKEN_BYTES_MAX: usize = 32 << 20;

/// Sends bytes on a connection of their own: what is answered until the node hangs up.
async fn provoke(arena: &Arena, bytes: &[u8]) -> Vec<u8> {
    let mut web = Web::connect(arena.node.rpc.address()).await;
    let (mut from, mut to) = web.stream.get_mut().split();
    let mut answer = Vec::new();
    let exchange = async {
        // The node may have heard enough before the end.
        let send = async { drop(to.write_all(bytes).await) };
        tokio::join!(send, async { drop(from.read_to_end(&mut answer).await) })
    };
    time::timeout(PATIENCE, exchange).await.expect("the node hangs up");
    answer
}

fn statuses(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer).into_owned();
    let lines = text.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line.chars().take(3).collect()).collect()
}

fn head(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{lines}\r\n")
}

/// RPC-04. Each is refused or ends the connection, at once or when its time is over.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_end_their_connection_only() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let body = call("eth_chainId", json!([]));
    let length = body.len();
    let extension = format!("{length:x};{}\r\n", "x".repeat(1 << 20));
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned();
    let settings = preface.clone()
        + "\0\0\0\x04\0\0\0\0\0"
        + &"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08".repeat(1_000);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let requests = [
        ("an extension of a megabyte", head(chunked) + &extension + &body),
        (
            "chunks without end",
            head(chunked) + &"1\r\n \r\n".repeat(1 << 20) + &"x".repeat(6 << 20),
        ),
        ("a chunk of more than there is", head(chunked) + "ffffffffffffffffff\r\n"),
        ("a chunk of nothing in hexadecimal", head(chunked) + "xyz\r\n"),
        ("a trailer of a megabyte", head(chunked) + "0\r\nX: " + &"x".repeat(1 << 20) + "\r\n\r\n"),
        ("gzip", head("Transfer-Encoding: gzip\r\n") + &body),
        ("chunks within gzip", head("Transfer-Encoding: chunked, gzip\r\n") + &body),
        ("almost chunked", head("Transfer-Encoding: xchunked\r\n") + &body),
        ("chunks in HTTP/1.0", head(chunked).replace("HTTP/1.1", "HTTP/1.0") + "0\r\n\r\n"),
        ("two lengths", head("Content-Length: 1\r\nContent-Length: 2\r\n") + &body),
        ("a length below nothing", head("Content-Length: -1\r\n") + &body),
        ("a length with a sign", head("Content-Length: +5\r\n") + &body),
        ("a length of 2^64", head("Content-Length: 18446744073709551616\r\n") + &body),
        ("a length of 1 GiB", head("Content-Length: 1073741824\r\n") + &body),
        ("100 000 headers", head(&"X-Many: 1\r\n".repeat(100_000)) + &body),
        ("a header of a megabyte", head(&format!("X-Long: {}\r\n", "x".repeat(1 << 20))) + &body),
        ("a line of a megabyte", format!("POST /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20))),
        ("a header without a name", head(": x\r\n") + &body),
        ("a space before the colon", head("Content-Length : 1\r\n") + &body),
        ("a header on two lines", head("X-Two: a\r\n b\r\n") + &body),
        ("a control character", head("X-Nul: \0\r\n") + &body),
        ("HTTP/9.9", head("").replace("HTTP/1.1", "HTTP/9.9")),
        ("no HTTP", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".repeat(100)),
        ("HTTP/2", preface),
        ("HTTP/2 that resets at once", settings),
    ];
    for (what, request) in requests {
        let answer = provoke(&arena, request.as_bytes()).await;
        let refused = statuses(&answer);
        let is_refusal = |status: &String| status.starts_with('4');
        assert!(refused.len() <= 1 && refused.iter().all(is_refusal), "{what}: {refused:?}");
    }
    // HTTP/2 is not agreed on either.
    let upgrade =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    let mut web = Web::connect(arena.node.rpc.address()).await;
    assert!(web.send((post(upgrade, length) + &body).as_bytes()).await);
    let Page { status, head, .. } = web.page().await.expect("it is an ordinary request");
    assert!(status == 200 && !head.contains("h2c"), "{head}");
    arena.judge(gauge, "RPC-04", RSS_MAX).await;
}

/// RPC-04. Whoever is behind a proxy must not be able to hide a request in another's body.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_two_lengths_is_the_last_of_its_connection() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let body = call("eth_chainId", json!([]));
    let hidden = post("", body.len()) + &body;
    let (length, size) = (body.len(), format!("{:x}", body.len()));
    let chunks = format!("{size}\r\n{body}\r\n0\r\n\r\n");
    let long = format!("Content-Length: {}\r\n", chunks.len() + hidden.len());
    let short = format!("Content-Length: {length}\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    for lines in [
        format!("{long}{chunked}"),
        format!("{chunked}{long}"),
        format!("{short}{chunked}"),
        format!("{chunked}{short}"),
        format!("{chunked}{short}{chunked}"),
    ] {
        let answer = provoke(&arena, (head(&lines) + &chunks + &hidden).as_bytes()).await;
        let answered = statuses(&answer);
        assert_eq!(answered.len(), 1, "{lines}: {}", String::from_utf8_lossy(&answer));
    }
    arena.judge(gauge, "RPC-04 (smuggling)", RSS_MAX).await;
}

/// RPC-04.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_not_read_to_its_end() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let mut web = Web::connect(arena.node.rpc.address()).await;
    assert!(web.send(head("Transfer-Encoding: chunked\r\n").as_bytes()).await);
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut taken = 0;
    while taken < CHUNKED_BYTES && web.send(chunk.as_bytes()).await {
        taken += chunk.len();
    }
    say(&format!("RPC-04: {taken} bytes of a body of {CHUNKED_BYTES} are taken"));
    assert!(taken <= TAKEN_BYTES_MAX, "{taken} bytes");
    arena.judge(gauge, "RPC-04 (1 GiB)", RSS_MAX).await;
}

/// RPC-04.
#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_are_answered_in_turn() {
    let mut arena = Arena::new(&[]).await;
    let gauge = arena.gauge().await;
    let mut web = Web::connect(arena.node.rpc.address()).await;
    let body = call("eth_chainId", json!([]));
    let requests = (post("", body.len()) + &body).repeat(PIPELINED);
    let last = post("Connection: close\r\n", body.len()) + &body;
    let (mut from, mut to) = web.stream.get_mut().split();
    let mut answers = Vec::new();
    let exchange = async {
        let send = async {
            to.write_all(requests.as_bytes()).await.expect("the node reads");
            to.write_all(last.as_bytes()).await.expect("the node reads");
        };
        tokio::join!(send, async { drop(from.read_to_end(&mut answers).await) })
    };
    time::timeout(PATIENCE, exchange).await.expect("all are answered");
    let answers = statuses(&answers);
    assert_eq!(answers.len(), PIPELINED + 1);
    assert!(answers.iter().all(|status| status == "200"));
    arena.judge(gauge, "RPC-04 (pipeline)", RSS_MAX).await;
}
