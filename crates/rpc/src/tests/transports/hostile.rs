use std::{
    io::{ErrorKind, Write},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{PATIENCE, Served, Socket};
use crate::{
    server::MESSAGE_BYTES_MAX,
    subscriptions::{QUERIES_BYTES_MAX, SUBSCRIPTIONS_MAX},
};

impl Socket {
    /// Bytes that need not be a message.
    fn send_raw(&mut self, bytes: &[u8]) {
        match self {
            Self::Ws(socket) => socket.get_mut().write_all(bytes).unwrap(),
            Self::Ipc { socket, .. } => socket.write_all(bytes).unwrap(),
        }
    }

    /// The code with which the server ends it.
    fn close_code(&mut self) -> Option<u16> {
        let Self::Ws(socket) = self else { panic!("only a WebSocket has one") };
        loop {
            if let Message::Close(frame) = socket.read().ok()? {
                return frame.map(|frame| frame.code.into());
            }
        }
    }
}

/// The head of a frame of text, with a mask that changes nothing.
fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first, 0x80 | 127];
    head.extend(length.to_be_bytes());
    head.extend([0; 4]);
    head
}

#[tokio::test]
async fn a_websocket_is_closed_for_what_the_protocol_forbids() {
    let served = Served::start().await;
    let max = u64::try_from(MESSAGE_BYTES_MAX).unwrap();
    let text =
        |bytes: &[u8]| [head(0x81, bytes.len().try_into().unwrap()), bytes.to_vec()].concat();
    for (bytes, code) in [
        (head(0x81, max + 1), 1009),
        (head(0x81, u64::MAX), 1009),
        ([head(0x01, 3), b"[1,".to_vec(), head(0x80, max)].concat(), 1009),
        (text(&[0xff, 0xfe]), 1007),
        (text(&[0xed, 0xa0, 0x80]), 1007),
        (vec![0x81, 2, b'{', b'}'], 1002),
        (vec![0xc1, 0x80, 0, 0, 0, 0], 1002),
        (vec![0x83, 0x80, 0, 0, 0, 0], 1002),
        (head(0x89, 126), 1002),
        (vec![0x80, 0x80, 0, 0, 0, 0], 1002),
    ] {
        let shown = bytes.clone();
        let mut client = served.ws().await;
        let closed = client.with(move |socket| {
            socket.send_raw(&bytes);
            socket.close_code()
        });
        assert_eq!(closed.await, Some(code), "{:?}", &shown[..shown.len().min(20)]);
    }
    served.stop().await;
}

#[tokio::test]
async fn a_websocket_stays_usable_after_what_is_no_request() {
    let served = Served::start().await;
    let mut ws = served.ws().await;
    let deep =
        |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    for (message, code) in [
        ("".to_owned(), None),
        ("{".to_owned(), Some(-32700)),
        ("{\"id\":1".to_owned(), Some(-32700)),
        ("\u{feff}{}".to_owned(), Some(-32700)),
        ("\0".to_owned(), Some(-32700)),
        ("null".to_owned(), Some(-32600)),
        ("[]".to_owned(), Some(-32600)),
        ("{}".to_owned(), Some(-32600)),
        (deep("[", ""), Some(-32700)),
        (deep("{\"a\":", "}"), Some(-32600)),
        (
            format!(r#"{{"id":1,"method":"eth_subscribe","params":{}}}"#, deep("[", "]")),
            Some(-32602),
        ),
        (
            format!(r#"{{"id":1,"method":"{}_subscribe","params":["x"]}}"#, "x".repeat(1000)),
            Some(-32601),
        ),
    ] {
        let shown = message[..message.len().min(40)].to_owned();
        if let Some(code) = code {
            let answer = ws.exchange(message).await;
            assert_eq!(answer["error"]["code"], code, "{shown}: {answer}");
        } else {
            ws.with(move |socket| socket.send(&message)).await;
        }
        assert_eq!(ws.result("eth_chainId", json!([])).await, "0x539", "{shown}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_million_fragments_and_pings_are_one_message() {
    let served = Served::start().await;
    let mut ws = served.ws().await;
    let answer = ws.with(|socket| {
        let empty = [0x00, 0x80, 0, 0, 0, 0];
        let ping = [0x89, 0x80, 0, 0, 0, 0];
        socket.send_raw(&[&[0x01, 0x81, 0, 0, 0, 0, b'{'][..], &empty.repeat(1_000_000)].concat());
        for _ in 0..100 {
            socket.send_raw(&ping.repeat(100));
        }
        let rest = br#""id":7,"method":"eth_chainId"}"#;
        socket.send_raw(&[head(0x80, rest.len().try_into().unwrap()), rest.to_vec()].concat());
        socket.receive().unwrap()
    });
    assert_eq!(answer.await["result"], "0x539");
    served.stop().await;
}

#[tokio::test]
async fn the_local_socket_ends_with_what_is_no_json() {
    let served = Served::start().await;
    for (stream, code) in [
        (&b"x"[..], -32700),
        (b"{\"id\":1,\"method\":\"\xff\"}", -32700),
        (b"{]", -32700),
        (b"nul ", -32700),
    ] {
        let mut ipc = served.ipc().await;
        let answers = ipc.with(move |socket| {
            socket.send(r#"{"id":1,"method":"eth_chainId"} 1 "x" [] "#);
            socket.send_raw(stream);
            std::iter::from_fn(|| socket.receive()).collect::<Vec<Value>>()
        });
        let answers = answers.await;
        assert_eq!(answers[0]["result"], "0x539");
        let codes: Vec<_> =
            answers[1..].iter().map(|answer| answer["error"]["code"].clone()).collect();
        assert_eq!(codes, [-32600, -32600, -32600, code], "{stream:?}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_local_request_in_halves_is_one_and_an_endless_one_is_cut() {
    let served = Served::start().await;
    let mut ipc = served.ipc().await;
    ipc.with(|socket| socket.send(r#"{"id":1,"meth"#)).await;
    let mut other = served.ipc().await;
    assert_eq!(other.result("eth_chainId", json!([])).await, "0x539");
    assert_eq!(ipc.exchange(r#"od":"eth_chainId"}"#).await["result"], "0x539");
    let end = ipc.with(|socket| {
        let Socket::Ipc { socket: stream, .. } = socket else { unreachable!() };
        let chunk = vec![b'['; 64 * 1024];
        // The server may end it while it is written.
        (0..=MESSAGE_BYTES_MAX / chunk.len()).any(|_| stream.write_all(&chunk).is_err())
            || socket.receive().is_none()
    });
    assert!(end.await);
    assert_eq!(other.result("eth_chainId", json!([])).await, "0x539");
    served.stop().await;
}

#[tokio::test]
async fn ten_thousand_subscriptions_are_a_hundred() {
    let mut served = Served::start().await;
    for mut client in served.clients().await {
        let answers = client.with(|socket| {
            let mut answers = Vec::new();
            for _ in 0..100 {
                for _ in 0..100 {
                    socket.send(r#"{"id":1,"method":"eth_subscribe","params":["newHeads"]}"#);
                }
                answers.extend((0..100).map(|_| socket.receive().unwrap()));
            }
            answers
        });
        let answers = answers.await;
        let made = answers.iter().filter(|answer| answer.get("result").is_some()).count();
        assert_eq!(made, SUBSCRIPTIONS_MAX);
        let refused =
            json!({"code": -32005, "message": "query exceeds the limit of 100 subscriptions"});
        assert!(answers[made..].iter().all(|answer| answer["error"] == refused));
        let block = served.fixture.grow(vec![]).await;
        for _ in 0..SUBSCRIPTIONS_MAX {
            let told = client.receive().await.unwrap();
            assert_eq!(told["params"]["result"]["hash"], json!(block.hash()));
        }
    }
    served.stop().await;
}

/// Waits until the other end has gone, without reading what it sent.
fn wait_for_cut(socket: &mut Socket) {
    let Socket::Ipc { socket, .. } = socket else { panic!("only the local socket says so") };
    let deadline = Instant::now() + PATIENCE;
    loop {
        match socket.write(b" ") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return,
            Err(error) => panic!("{error}"),
            Ok(_) => assert!(Instant::now() < deadline, "still there"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn who_does_not_read_is_cut_and_nobody_waits() {
    const BLOCKS: usize = 8;
    let mut served = Served::with(|config| {
        config.server.session.notification = Duration::from_millis(100);
    })
    .await;
    let mut lazy = served.ipc().await;
    lazy.with(|socket| {
        for _ in 0..SUBSCRIPTIONS_MAX {
            socket.send(r#"{"id":1,"method":"eth_subscribe","params":["newHeads"]}"#);
            assert!(socket.receive().unwrap()["result"].is_string());
        }
    })
    .await;
    let mut reader = served.ipc().await;
    let id = reader.result("eth_subscribe", json!(["newHeads"])).await;
    for _ in 0..BLOCKS {
        let block = served.fixture.grow(vec![]).await;
        assert_eq!(reader.told(&id).await["hash"], json!(block.hash()));
    }
    let told = lazy.with(|socket| {
        wait_for_cut(socket);
        std::iter::from_fn(|| socket.receive()).count()
    });
    assert!(told.await < BLOCKS * SUBSCRIPTIONS_MAX);
    served.stop().await;
}

#[tokio::test]
async fn who_gives_no_sign_of_life_is_asked_and_then_cut() {
    let served = Served::with(|config| {
        config.server.session.silence = Duration::from_millis(50);
        config.server.session.pong = Duration::from_millis(50);
    })
    .await;
    // One that reads answers pings, and stays.
    let mut alive = served.ws().await;
    let pings = alive.with(|socket| {
        let Socket::Ws(socket) = socket else { unreachable!() };
        (0..5).filter(|_| matches!(socket.read(), Ok(Message::Ping(_)))).count()
    });
    assert_eq!(pings.await, 5);
    // One that does not, is gone; what it finds in the end is the question.
    let mut silent = served.ws().await;
    let found = silent.with(|socket| {
        let Socket::Ws(socket) = socket else { unreachable!() };
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(socket.get_mut(), &mut bytes).map(|_| bytes)
    });
    assert_eq!(found.await.unwrap(), [0x89, 0]);
    // The local socket is not asked.
    let mut ipc = served.ipc().await;
    assert_eq!(ipc.result("eth_chainId", json!([])).await, "0x539");
    served.stop().await;
}

#[tokio::test]
async fn subscriptions_that_look_for_much_are_few() {
    let served = Served::start().await;
    let [mut first, mut second] = served.clients().await;
    let topics = vec![vec![primitives::B256::ZERO; 1_000]; 4];
    let addresses = vec![primitives::Address::ZERO; 1_000];
    let query = json!(["logs", { "address": addresses, "topics": topics }]);
    let bytes = 4 * 1_000 * 32 + 1_000 * 20;
    let mut made = 0;
    for client in [&mut first, &mut second] {
        for _ in 0..SUBSCRIPTIONS_MAX {
            let answer = client.call("eth_subscribe", query.clone()).await;
            if let Some(error) = answer.get("error") {
                assert_eq!(error["code"], -32005, "{answer}");
                break;
            }
            made += 1;
        }
    }
    let most = QUERIES_BYTES_MAX / bytes;
    assert!((most - 2..=most + 2).contains(&made), "{made} of {most}");
    assert!(second.result("eth_subscribe", json!(["newHeads"])).await.is_string());
    drop(first);
    // The room comes back with the end of a connection, which the server sees a little later.
    let mut third = served.ws().await;
    let deadline = Instant::now() + PATIENCE;
    while third.call("eth_subscribe", query.clone()).await.get("error").is_some() {
        assert!(Instant::now() < deadline, "there is no room");
    }
    served.stop().await;
}
