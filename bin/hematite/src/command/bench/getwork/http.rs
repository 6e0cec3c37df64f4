//! JSON-RPC over plain HTTP for a few miners, with strict limits.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet, time};

use super::desk::{Desk, Refusal};

/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Calls in one request.
const BATCH_MAX: usize = 32;
/// How long a request may take to arrive.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// How long to wait when the system has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until dropped.
pub(super) async fn serve(listener: TcpListener, desk: Arc<Mutex<Desk>>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        let socket = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = socket else {
            time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let desk = desk.clone();
        connections.spawn(async move {
            // An answer that waits for the client's acknowledgement would cost the miner 40 ms.
            let _ = socket.set_nodelay(true);
            let respond = service_fn(move |request| respond(request, desk.clone()));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIME_MAX);
            http.max_buf_size(HEAD_BYTES_MAX);
            if let Err(error) = http.serve_connection(TokioIo::new(socket), respond).await {
                tracing::debug!(%error, "Connection of a miner failed");
            }
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    desk: Arc<Mutex<Desk>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST {
        return Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "JSON-RPC comes by POST\n"));
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let body = match time::timeout(REQUEST_TIME_MAX, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, "at most 64 KiB\n")),
        Err(_) => return Ok(plain(StatusCode::REQUEST_TIMEOUT, "the request took too long\n")),
    };
    let answer = {
        let mut desk = desk.lock().expect("nobody panics with the lock held");
        answer(&mut desk, &body, Instant::now())
    };
    let mut response = plain(StatusCode::OK, &answer.to_string());
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    response
}

/// Answers a call, or several.
fn answer(desk: &mut Desk, body: &[u8], now: Instant) -> Value {
    match serde_json::from_slice(body) {
        Ok(Value::Array(calls)) if (1..=BATCH_MAX).contains(&calls.len()) => {
            calls.iter().map(|call| answer_one(desk, call, now)).collect()
        }
        Ok(Value::Array(_)) => {
            failure(&Value::Null, -32600, &format!("1 to {BATCH_MAX} calls at once"))
        }
        Ok(call) => answer_one(desk, &call, now),
        Err(_) => failure(&Value::Null, -32700, "parse error"),
    }
}

fn answer_one(desk: &mut Desk, call: &Value, now: Instant) -> Value {
    let id = call.get("id").unwrap_or(&Value::Null);
    let Some(method) = call.get("method").and_then(Value::as_str) else {
        return failure(id, -32600, "invalid request");
    };
    match desk.call(method, call.get("params").unwrap_or(&Value::Null), now) {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Err(Refusal { code, message }) => failure(id, code, &message),
    }
}

fn failure(id: &Value, code: i32, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

#[cfg(test)]
mod tests {
    use ethash::LightCache;

    use super::*;

    fn ask(body: &str) -> Value {
        let mut desk = Desk::new(LightCache::tiny(), Duration::from_secs(1));
        answer(&mut desk, body.as_bytes(), Instant::now())
    }

    #[test]
    fn answers_calls_one_by_one_and_together() {
        let call = r#"{"jsonrpc":"2.0","id":7,"method":"eth_getWork","params":[]}"#;
        let one = ask(call);
        assert_eq!((&one["id"], one["result"].as_array().unwrap().len()), (&json!(7), 4));
        let several = ask(&format!("[{call},{call}]"));
        assert_eq!(several.as_array().unwrap().len(), 2);
        // Without the optional members, as small miners write it.
        assert!(ask(r#"{"id":"x","method":"eth_getWork"}"#)["result"].is_array());
    }

    #[test]
    fn nonsense_has_an_error() {
        let code = |body: &str| ask(body)["error"]["code"].as_i64();
        assert_eq!(code("{"), Some(-32700));
        assert_eq!(code("[]"), Some(-32600));
        assert_eq!(code("5"), Some(-32600));
        assert_eq!(code(&format!("[{}]", ["1"; BATCH_MAX + 1].join(","))), Some(-32600));
        assert_eq!(code(r#"{"id":1,"method":"eth_mine"}"#), Some(-32601));
    }
}
