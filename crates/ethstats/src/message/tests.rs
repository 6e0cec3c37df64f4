use std::time::Instant;

use primitives::{Header, SealedBlock, TotalDifficulty, U256};

use super::*;
use crate::{
    Identity, Report, Reporter, Target,
    reporter::{Action, Event},
};

/// 65 frames between real geth 1.9.13 and a dashboard, from a run of the book's cluster.
const RECORDED: &str = include_str!("frames-geth-1.9.13.jsonl");

/// The frames of one direction: `in` is what nodes say.
fn recorded(direction: &str) -> Vec<String> {
    let lines = RECORDED.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let frames = lines.filter(|line| line["dir"] == direction);
    frames.map(|line| line["frame"].as_str().unwrap().to_owned()).collect()
}

/// The name of every field and the type of every value, in place of the values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => json!("null"),
        Value::Bool(_) => json!("bool"),
        Value::Number(_) => json!("number"),
        Value::String(text) if text.starts_with("0x") => json!("hex"),
        Value::String(_) => json!("text"),
        // Lists of different lengths have one shape.
        Value::Array(items) => Value::Array(items.first().map(shape).into_iter().collect()),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect()
        }
    }
}

fn payload_shape(frame: &str, event: &str) -> Option<Value> {
    let frame: Value = serde_json::from_str(frame).unwrap();
    (frame["emit"][0] == event).then(|| shape(&frame["emit"][1]))
}

fn block(number: u64) -> Box<Block> {
    let header = Header { number, difficulty: U256::from(131_072), ..Header::default() };
    let block = primitives::Block { header, ..primitives::Block::default() };
    let td = TotalDifficulty::new(U256::from(number * 131_072));
    Box::new(Block::new(&SealedBlock::seal_slow(block), td))
}

/// All that a reporter says when it is asked everything.
fn reported() -> Vec<String> {
    let target: Target = "node:secret@host:3000".parse().unwrap();
    let identity = Identity {
        client: "Hematite/v0.1.0".into(),
        port: 30_303,
        network_id: 27_587,
        protocol: "eth/65".into(),
        processor: "amd64".into(),
    };
    let stats =
        Stats { active: true, caught_up: true, mining: true, hashrate: 1, peers: 2, gas_price: 3 };
    let mut reporter = Reporter::new(&target, &identity);
    let (mut actions, now) = (Vec::new(), Instant::now());
    for event in [
        Event::Opened,
        Event::Said(ServerMessage::Ready),
        Event::Report(Report::Head(block(7))),
        Event::Report(Report::Stats(stats)),
        Event::Said(ServerMessage::Pong(String::new(), 0)),
        Event::History(vec![*block(7), *block(6)]),
    ] {
        reporter.on(event, now, &mut actions);
    }
    let sent = actions.into_iter().filter_map(|action| match action {
        Action::Send(text) => Some(text),
        Action::FindBlocks(_) | Action::LoggedIn | Action::Close(_) => None,
    });
    sent.collect()
}

#[test]
fn every_recorded_frame_of_geth_is_understood() {
    let (from_nodes, from_dashboard) = (recorded("in"), recorded("out"));
    assert_eq!((from_nodes.len(), from_dashboard.len()), (49, 10));
    for frame in from_nodes {
        let message = NodeMessage::decode(&frame).unwrap_or_else(|e| panic!("{frame}: {e}"));
        assert_ne!(message, NodeMessage::Other, "{frame}");
        if let NodeMessage::Block(block) = &message {
            assert!(block.difficulty > U256::ZERO && block.td >= block.difficulty, "{frame}");
        }
        if let NodeMessage::History(blocks) = &message {
            assert!(blocks.is_sorted_by(|a, b| a.number > b.number), "newest first: {frame}");
        }
    }
    for frame in from_dashboard {
        let message = ServerMessage::decode(&frame).unwrap_or_else(|e| panic!("{frame}: {e}"));
        assert_ne!(message, ServerMessage::Other, "{frame}");
        let again: Value = serde_json::from_str(&message.encode()).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(&frame).unwrap());
    }
}

#[test]
fn what_the_reporter_says_has_the_fields_and_types_of_geth() {
    let ours = reported();
    for event in ["hello", "node-ping", "latency", "block", "pending", "stats", "history"] {
        let of = |frames: &[String]| frames.iter().find_map(|frame| payload_shape(frame, event));
        let (geth, ours) = (of(&recorded("in")), of(&ours));
        assert!(geth.is_some(), "{event}");
        // geth's first block is one without transactions, as ours is.
        assert_eq!(ours, geth, "{event}");
    }
}

#[test]
fn a_reported_block_is_what_is_seen() {
    let extra_data = primitives::Bytes::from_static(&[1]);
    let uncle = Header { number: 6, extra_data, ..Header::default() };
    let header = Header { number: 7, timestamp: 9, gas_limit: 5, ..Header::default() };
    let body = primitives::BlockBody { ommers: vec![uncle.clone()], ..Default::default() };
    let sealed = SealedBlock::seal_slow(primitives::Block { header, body });
    let hash = sealed.hash();
    let block = Block::new(&sealed, TotalDifficulty::new(U256::from(77)));
    let frame = NodeMessage::emit("block", json!({ "block": block.json() }), "node");
    let Ok(NodeMessage::Block(seen)) = NodeMessage::decode(&frame) else { panic!("{frame}") };
    assert_eq!((seen.number, seen.hash, seen.timestamp), (7, hash, 9));
    assert_eq!((seen.gas_limit, seen.td), (5, U256::from(77)));
    assert_eq!(seen.uncles[0].hash, Some(uncle.hash_slow()));
    assert_eq!(seen.uncles[0].number, Some(6));
    let uncle = |frame: &str| {
        let frame: Value = serde_json::from_str(frame).unwrap();
        let payload = &frame["emit"][1];
        let history = payload["history"].as_array().cloned().unwrap_or_default();
        let mut blocks = history.into_iter().chain([payload["block"].clone()]);
        blocks.find_map(|block| block["uncles"].get(0).map(shape))
    };
    let geth = recorded("in").iter().find_map(|frame| uncle(frame));
    assert!(geth.is_some());
    assert_eq!(uncle(&frame), geth);
}

#[test]
fn numbers_may_be_texts_and_texts_may_be_anything() {
    for (value, expected) in [
        (json!(5), Some(5)),
        (json!("5"), Some(5)),
        (json!("0x10"), Some(16)),
        (json!(5.9), Some(5)),
        (json!("12.5"), Some(12)),
        (json!(1e30), Some(u64::MAX)),
        (json!(-1), None),
        (json!("-1"), None),
        (json!("x"), None),
        (json!(null), None),
        (json!([5]), None),
    ] {
        assert_eq!(number(&value), expected, "{value}");
    }
}

#[test]
fn a_name_that_hides_or_turns_text_around_shows_what_it_is() {
    let hello = |id: &str| {
        let frame = json!({ "emit": ["hello", { "id": id, "info": {}, "secret": "s" }] });
        NodeMessage::decode(&frame.to_string())
    };
    let Ok(NodeMessage::Hello(said)) = hello("a\u{202e}b\u{0}c\u{200b}\n<script>") else {
        panic!("a login");
    };
    assert_eq!(said.id, "abc<script>");
    assert_eq!(said.info.name, said.id);
    assert!(hello(&"x".repeat(NAME_BYTES_MAX)).is_ok());
    for id in ["", "\u{0}", &"x".repeat(NAME_BYTES_MAX + 1)] {
        assert!(matches!(hello(id), Err(MessageError::Id)), "{id:?}");
    }
    let shown = format!("{said:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn what_is_no_event_is_an_error_or_nothing_never_a_panic() {
    let hash = format!("0x{}", "1".repeat(64));
    for frame in [
        "",
        "{}",
        "[]",
        "null",
        "\"x\"",
        "{\"emit\":5}",
        "{\"emit\":[]}",
        "{\"emit\":[5]}",
        "{\"emit\":[\"hello\"]}",
        "{\"emit\":[\"hello\",{\"id\":5}]}",
        "{\"emit\":[\"block\",{}]}",
        "{\"emit\":[\"block\",{\"block\":{\"number\":9007199254740992}}]}",
        "{\"emit\":[\"stats\",{}]}",
        "{\"emit\":[\"pending\",{}]}",
        "{\"emit\":[\"latency\",{}]}",
        "{\"emit\":[\"history\",{}]}",
        "{\"emit\":[\"history\",{\"history\":5}]}",
        &"[".repeat(10_000),
        &format!("{{\"emit\":[\"block\",{{\"block\":{{\"number\":1,\"hash\":\"{hash}\"}}}}]}}"),
    ] {
        assert!(NodeMessage::decode(frame).is_err(), "{frame}");
    }
    let other = NodeMessage::decode("{\"emit\":[\"block_new_payload\",{}]}").unwrap();
    assert_eq!(other, NodeMessage::Other);
    let many = vec![json!({ "number": 1, "hash": hash, "parentHash": hash }); HISTORY_MAX + 1];
    let frame = json!({ "emit": ["history", { "history": many }] }).to_string();
    let Ok(NodeMessage::History(blocks)) = NodeMessage::decode(&frame) else { panic!("a history") };
    assert_eq!(blocks.len(), HISTORY_MAX);
}

#[test]
fn signs_of_life_of_primus_are_answered_with_or_without_quotes() {
    let pong = Some("\"primus::pong::123\"".to_owned());
    assert_eq!(keep_alive("primus::ping::123"), pong);
    assert_eq!(keep_alive("\"primus::ping::123\"\n"), pong);
    assert_eq!(keep_alive("primus::ping::1\"}{"), None);
    assert_eq!(keep_alive("primus::pong::1"), None);
    let asked = ServerMessage::decode("{\"emit\":[\"history\",false]}").unwrap();
    assert_eq!(asked, ServerMessage::History(None));
}
