use std::sync::{
    Mutex,
    mpsc::{Receiver, SyncSender, sync_channel},
};

use super::*;
use crate::{error::ArgumentError, params::Params, parse};

/// `echo` answers its one parameter, `fail` fails, `panic` panics, `big` says much.
pub(crate) fn methods() -> Methods {
    let mut methods = Methods::default();
    methods.add(
        "test_echo",
        Weight::Light,
        Box::new(|raw| {
            let mut params = Params::new(raw)?;
            let text = params.required(parse::string)?;
            params.end()?;
            Ok(json(&format!("\"{text}\"")))
        }),
    );
    methods.add("test_null", Weight::Heavy, Box::new(|_| Ok(json("null"))));
    methods.add(
        "test_fail",
        Weight::Light,
        Box::new(|_| Err(RpcError::refused("header not found"))),
    );
    methods.add("test_panic", Weight::Light, Box::new(|_| panic!("on purpose")));
    methods.add("test_heavyPanic", Weight::Heavy, Box::new(|_| panic!("on purpose")));
    methods.add(
        "test_big",
        Weight::Light,
        Box::new(|_| Ok(json(&format!("\"{}\"", "x".repeat(1000))))),
    );
    for (name, weight) in [("test_many", Weight::Light), ("test_heavyMany", Weight::Heavy)] {
        methods.register_many(name, weight, together);
    }
    methods.register_brief("test_brief", patient);
    methods
}

/// Says whether it was done where it was read; `long` does not end in a moment.
fn patient(raw: Option<&str>, patience: Patience) -> Result<&'static str, RpcError> {
    let text = Params::new(raw)?.required(parse::string)?;
    match (text.as_str(), patience) {
        ("long", Patience::Until(_)) => Err(RpcError::Unfinished),
        ("fail", _) => Err(RpcError::refused("nonce too low")),
        ("panic", _) => panic!("on purpose"),
        (_, Patience::Until(_)) => Ok("here"),
        (_, Patience::Endless) => Ok("elsewhere"),
    }
}

/// Answers its parameter and how many calls came with it; `fail` fails, `panic` panics.
fn together(calls: &[Option<&str>]) -> Vec<Result<String, RpcError>> {
    let count = calls.len();
    let answer = |raw: &Option<&str>| {
        let text = Params::new(*raw)?.required(parse::string)?;
        match text.as_str() {
            "panic" => panic!("on purpose"),
            "fail" => Err(RpcError::refused("nonce too low")),
            text => Ok(format!("{text} of {count}")),
        }
    };
    calls.iter().map(answer).collect()
}

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap()
}

fn dispatcher() -> Dispatcher {
    let limits =
        DispatchLimits { batch_items: 3, response_bytes: 1500, ..DispatchLimits::default() };
    Dispatcher::new(methods(), limits)
}

async fn ask(body: &str) -> String {
    let answer = dispatcher().answer(body.as_bytes()).await.unwrap_or_default();
    String::from_utf8(answer).unwrap()
}

fn refusal(code: i32, message: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{{\"code\":{code},\"message\":\"{message}\"}}}}\n"
    )
}

#[tokio::test]
async fn an_id_comes_back_as_it_was_sent() {
    for id in ["1", "-1.5e3", "\"a\\u0000b\"", "null", "true", "18446744073709551616"] {
        let answer =
            ask(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"test_echo","params":["hi"]}}"#))
                .await;
        assert_eq!(answer, format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"hi\"}}\n"));
    }
}

#[tokio::test]
async fn answers_what_is_not_a_request_in_geths_words() {
    for body in ["{", "nul", "\u{feff}{}", "]", "{\"id\":1,}"] {
        assert_eq!(ask(body).await, refusal(-32700, "parse error"), "{body}");
    }
    for body in [
        "null",
        "1",
        "\"\"",
        "true",
        "{}",
        r#"{"id":[1],"method":"test_echo"}"#,
        r#"{"id":{},"method":"test_echo"}"#,
        r#"{"method":1}"#,
    ] {
        assert_eq!(ask(body).await, refusal(-32600, "invalid request"), "{body}");
    }
    assert_eq!(ask("[]").await, refusal(-32600, "empty batch"));
    assert_eq!(ask("[1,1,1,1]").await, refusal(-32600, "batch too large"));
    assert_eq!(ask("").await, "");
}

#[tokio::test]
async fn deep_nesting_is_refused_without_deep_recursion() {
    let nested = "[".repeat(100_000);
    assert_eq!(ask(&nested).await, refusal(-32700, "parse error"));
    let params = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = ask(&format!(r#"{{"id":1,"method":"test_echo","params":{params}}}"#)).await;
    assert!(answer.contains("-32602"), "{answer}");
}

#[tokio::test]
async fn unknown_methods_are_named_in_the_answer() {
    let answer = ask(r#"{"id":7,"method":"eth_nothing"}"#).await;
    assert_eq!(
        answer,
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32601,\"message\":\"the method eth_nothing does not exist/is not available\"}}\n"
    );
}

#[tokio::test]
async fn parameters_are_refused_in_geths_words() {
    for (params, message) in [
        ("[]", "missing value for required argument 0"),
        ("null", "missing value for required argument 0"),
        ("[null]", "missing value for required argument 0"),
        ("[\"a\",1]", "too many arguments, want at most 1"),
        ("{}", "non-array args"),
        ("1", "non-array args"),
        (
            "[1]",
            "invalid argument 0: json: cannot unmarshal non-string into Go value of type string",
        ),
    ] {
        let answer = ask(&format!(r#"{{"id":1,"method":"test_echo","params":{params}}}"#)).await;
        assert!(
            answer.contains(&format!("{{\"code\":-32602,\"message\":\"{message}\"}}")),
            "{answer}"
        );
    }
    assert_eq!(ArgumentError::NotAnArray.to_string(), "non-array args");
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_omits_notifications() {
    let answer = ask(
        r#" [{"id":2,"method":"test_echo","params":["b"]},{"method":"test_echo","params":["n"]},{"id":1,"method":"test_null"}]"#,
    )
    .await;
    assert_eq!(
        answer,
        "[{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":\"b\"},{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}]\n"
    );
}

#[tokio::test]
async fn notifications_are_executed_and_not_answered() {
    assert_eq!(ask(r#"{"method":"test_echo","params":["n"]}"#).await, "");
    assert_eq!(ask(r#"[{"method":"test_panic"}]"#).await, "");
}

#[tokio::test]
async fn a_panicking_method_costs_its_caller_the_answer_only() {
    for method in ["test_panic", "test_heavyPanic"] {
        let answer = ask(&format!(r#"{{"id":1,"method":"{method}"}}"#)).await;
        assert!(
            answer.contains(r#"{"code":-32603,"message":"method handler crashed"}"#),
            "{answer}"
        );
    }
    assert!(ask(r#"{"id":1,"method":"test_null"}"#).await.contains("\"result\":null"));
}

#[tokio::test]
async fn a_batch_stops_growing_at_the_limit() {
    let call = r#"{"id":1,"method":"test_big"}"#;
    let answer = ask(&format!("[{call},{call}]")).await;
    assert!(answer.contains("xxx"));
    assert!(answer.contains(r#"{"code":-32003,"message":"response too large"}"#), "{answer}");
    // What comes after it is not run.
    let answer = ask(&format!("[{call},{call},{{\"id\":2,\"method\":\"test_panic\"}}]")).await;
    assert_eq!(answer.matches("-32003").count(), 2, "{answer}");
    let single = Dispatcher::new(
        methods(),
        DispatchLimits { response_bytes: 10, ..DispatchLimits::default() },
    );
    let answer = single.answer(call.as_bytes()).await.unwrap();
    assert!(String::from_utf8(answer).unwrap().contains("-32003"));
}

#[tokio::test]
async fn what_comes_too_late_is_not_begun() {
    let limits = DispatchLimits { request: Duration::ZERO, ..DispatchLimits::default() };
    let dispatcher = Dispatcher::new(methods(), limits);
    let answer = dispatcher.answer(br#"{"id":1,"method":"test_null"}"#).await.unwrap();
    assert!(
        String::from_utf8(answer)
            .unwrap()
            .contains(r#"{"code":-32002,"message":"request timed out"}"#)
    );
}

#[tokio::test]
async fn calls_of_one_method_that_follow_each_other_are_run_together() {
    let limits = DispatchLimits { batch_items: 300, ..DispatchLimits::default() };
    let dispatcher = Dispatcher::new(methods(), limits);
    let ask = async |calls: &[(&str, &str, &str)]| {
        let call = |(id, method, text): &(&str, &str, &str)| {
            format!(r#"{{{id}"method":"test_{method}","params":["{text}"]}}"#)
        };
        let calls: Vec<_> = calls.iter().map(call).collect();
        let answer = dispatcher.answer(format!("[{}]", calls.join(",")).as_bytes()).await.unwrap();
        let answer: Vec<serde_json::Value> = serde_json::from_slice(&answer).unwrap();
        let line = |answer: &serde_json::Value| {
            let said = answer.get("result").unwrap_or_else(|| &answer["error"]["message"]);
            format!("{}: {}", answer["id"], said.as_str().unwrap())
        };
        answer.iter().map(line).collect::<Vec<_>>()
    };
    for many in ["many", "heavyMany"] {
        let answers = ask(&[
            (r#""id":7,"#, many, "a"),
            (r#""id":1,"#, many, "fail"),
            ("", many, "not answered"),
            (r#""id":"x","#, many, "b"),
            (r#""id":3,"#, "echo", "c"),
            (r#""id":4,"#, many, "d"),
            (r#""id":5,"#, "nothing", ""),
        ])
        .await;
        let expected = [
            "7: a of 4",
            "1: nonce too low",
            "\"x\": b of 4",
            "3: c",
            "4: d of 1",
            "5: the method test_nothing does not exist/is not available",
        ];
        assert_eq!(answers, expected);

        let crashed = ask(&[(r#""id":1,"#, many, "a"), (r#""id":2,"#, many, "panic")]).await;
        assert_eq!(crashed, ["1: method handler crashed", "2: method handler crashed"]);

        let answers = ask(&[(r#""id":1,"#, many, "a"); RUN_ITEMS_MAX + 2]).await;
        assert_eq!(answers[0], format!("1: a of {RUN_ITEMS_MAX}"));
        assert_eq!(answers[RUN_ITEMS_MAX + 1], "1: a of 2");
    }
    let limits = DispatchLimits { request: Duration::ZERO, ..limits };
    let late = Dispatcher::new(methods(), limits);
    let call = r#"{"id":1,"method":"test_many","params":["a"]}"#;
    let answer = late.answer(format!("[{call},{call}]").as_bytes()).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap().matches("request timed out").count(), 2);
}

/// A heavy method that reports its start and ends when it is told to.
fn gate() -> (Methods, Receiver<()>, SyncSender<()>) {
    let (started, starts) = sync_channel(16);
    let (open, opened) = sync_channel::<()>(16);
    let opened = Mutex::new(opened);
    let mut methods = methods();
    methods.add(
        "test_gate",
        Weight::Heavy,
        Box::new(move |_| {
            started.send(()).unwrap();
            opened.lock().unwrap().recv().unwrap();
            Ok(json("true"))
        }),
    );
    (methods, starts, open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_calls_beyond_the_queue_are_refused_at_once() {
    let (methods, starts, open) = gate();
    let limits = DispatchLimits { heavy_running: 1, heavy_waiting: 1, ..DispatchLimits::default() };
    let dispatcher = Arc::new(Dispatcher::new(methods, limits));
    let call: &[u8] = br#"{"id":1,"method":"test_gate"}"#;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let dispatcher = Arc::clone(&dispatcher);
        tasks.spawn(async move { dispatcher.answer(call).await });
    }
    let _starts =
        tokio::task::spawn_blocking(move || starts.recv().map(|()| starts)).await.unwrap().unwrap();
    while dispatcher.capacity.waiting.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let refused = String::from_utf8(dispatcher.answer(call).await.unwrap()).unwrap();
    assert!(refused.contains("-32005"), "{refused}");
    let light =
        dispatcher.answer(br#"{"id":1,"method":"test_echo","params":["hi"]}"#).await.unwrap();
    assert!(String::from_utf8(light).unwrap().contains("hi"));
    open.send(()).unwrap();
    open.send(()).unwrap();
    while let Some(answer) = tasks.join_next().await {
        assert!(String::from_utf8(answer.unwrap().unwrap()).unwrap().contains("true"));
    }
}

#[tokio::test]
async fn a_call_that_may_be_short_goes_to_another_thread_only_if_it_is_not() {
    for (text, want) in [
        ("short", r#""result":"here""#),
        ("long", r#""result":"elsewhere""#),
        ("fail", "nonce too low"),
        ("panic", "method handler crashed"),
    ] {
        let call = format!(r#"{{"id":1,"method":"test_brief","params":["{text}"]}}"#);
        let answer = ask(&call).await;
        assert!(answer.contains(want), "{answer}");
        let answer = ask(&format!("[{call}]")).await;
        assert!(answer.contains(want), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_call_waits_with_the_others_while_no_core_is_free() {
    let (methods, starts, open) = gate();
    let limits = DispatchLimits { heavy_running: 1, heavy_waiting: 1, ..DispatchLimits::default() };
    let dispatcher = Arc::new(Dispatcher::new(methods, limits));
    let ask = |body: &'static str| {
        let dispatcher = Arc::clone(&dispatcher);
        async move { String::from_utf8(dispatcher.answer(body.as_bytes()).await.unwrap()).unwrap() }
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(ask(r#"{"id":1,"method":"test_gate"}"#));
    let _starts =
        tokio::task::spawn_blocking(move || starts.recv().map(|()| starts)).await.unwrap().unwrap();
    let call = r#"{"id":1,"method":"test_brief","params":["short"]}"#;
    tasks.spawn(ask(call));
    while dispatcher.capacity.waiting.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(ask(call).await.contains("-32005"));
    open.send(()).unwrap();
    let answers = tasks.join_all().await;
    assert!(answers.iter().any(|answer| answer.contains("elsewhere")), "{answers:?}");
    assert!(ask(call).await.contains("here"));
}

#[tokio::test]
async fn answers_that_are_still_being_sent_leave_less_room_for_others() {
    let mut methods = methods();
    methods.register("test_huge", Weight::Light, |_| Ok("x".repeat(100_000)));
    let limits = DispatchLimits { answers_bytes: 128 * 1024, ..DispatchLimits::default() };
    let dispatcher = Dispatcher::new(methods, limits);
    let text = |reply: &Reply| String::from_utf8(reply.as_ref().to_vec()).unwrap();
    let huge = r#"{"id":1,"method":"test_huge"}"#;
    let sent = dispatcher.reply(huge.as_bytes(), None).await.unwrap();
    assert!(text(&sent).contains("xxx"));
    let batch = format!(r#"[{huge},{huge},{{"id":2,"method":"test_null"}}]"#);
    let second = dispatcher.reply(batch.as_bytes(), None).await.unwrap();
    let answers: serde_json::Value = serde_json::from_slice(second.as_ref()).unwrap();
    assert_eq!(answers[0]["result"].as_str().unwrap().len(), 100_000);
    assert_eq!(answers[1]["error"]["code"], -32005);
    assert!(text(&second).contains("too many large answers are being sent"));
    assert!(answers[2]["result"].is_null() && answers[2]["error"].is_null());
    let refused = dispatcher.reply(huge.as_bytes(), None).await.unwrap();
    assert!(text(&refused).contains("-32005"));
    drop(sent);
    assert!(text(&dispatcher.reply(huge.as_bytes(), None).await.unwrap()).contains("xxx"));
}
