use std::net::Ipv4Addr;

use primitives::U256;

use super::{chain::tests as blocks, *};
use crate::message::{DatasetSeen, Info, Progress, Stats};

const SECOND: u64 = 1_000;

/// A dashboard with a clock of its own.
struct Running {
    dashboard: Dashboard,
    now: u64,
    sessions: u64,
}

impl Running {
    fn new() -> Self {
        let secrets = Secrets::new("one | two").unwrap();
        let dashboard = Dashboard::new(DashboardConfig { secrets });
        Self { dashboard, now: 1_700_000_000_000, sessions: 0 }
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.dashboard.on(event, self.now, &mut actions);
        actions
    }

    fn open(&mut self) -> SessionId {
        self.sessions += 1;
        let id = SessionId(self.sessions);
        self.on(Event::Opened(id, Ipv4Addr::LOCALHOST.into()));
        id
    }

    fn join(&mut self, name: &str) -> SessionId {
        self.join_net(name, "27587")
    }

    fn join_net(&mut self, name: &str, net: &str) -> SessionId {
        let id = self.open();
        let actions = self.on(Event::Said(id, hello(name, net, "one")));
        assert_eq!(actions[0], Action::Welcome(id, name.into()));
        assert_eq!(actions[1], Action::Send(id, ServerMessage::Ready, Duration::ZERO));
        id
    }

    fn block(&mut self, id: SessionId, block: &BlockSeen) -> Vec<Action> {
        self.on(Event::Said(id, NodeMessage::Block(Box::new(block.clone()))))
    }

    fn node(&self, name: &str) -> Value {
        let shown = self.dashboard.snapshot(self.now);
        let nodes = shown["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["id"] == name).cloned().unwrap_or_default()
    }
}

fn hello(name: &str, net: &str, secret: &str) -> NodeMessage {
    let info =
        Info { name: name.into(), net: net.into(), can_update_history: true, ..Info::default() };
    NodeMessage::Hello(Box::new(Hello { id: name.into(), info, secret: secret.into() }))
}

fn stats(caught_up: bool) -> NodeMessage {
    let (active, mining, hashrate, peers, gas_price) = (true, true, 7, 3, 1);
    NodeMessage::Stats(Stats { active, caught_up, mining, hashrate, peers, gas_price })
}

#[test]
fn only_who_knows_a_secret_may_report() {
    let mut running = Running::new();
    for secret in ["one", "two"] {
        let id = running.open();
        let actions = running.on(Event::Said(id, hello(secret, "1", secret)));
        assert!(actions.contains(&Action::Send(id, ServerMessage::Ready, Duration::ZERO)));
    }
    for secret in ["", "three", "one | two", "onetwo", "on", "one "] {
        let id = running.open();
        let actions = running.on(Event::Said(id, hello("x", "1", secret)));
        assert_eq!(actions, [Action::Close(id, Refusal::Secret("x".into()))], "{secret:?}");
        assert!(running.on(Event::Said(id, hello("x", "1", "one"))).is_empty(), "it is out");
    }
    let id = running.open();
    let actions = running.on(Event::Said(id, NodeMessage::Pending(1)));
    assert_eq!(actions, [Action::Close(id, Refusal::Login)]);
    assert_eq!(running.dashboard.connected(), 2);
    assert!(Secrets::new(" | ").is_none());
}

#[test]
fn who_is_silent_is_sent_away_strangers_soon() {
    let mut running = Running::new();
    let (stranger, node) = (running.open(), running.join("a"));
    running.now += LOGIN_PERIOD_MAX;
    let life = NodeMessage::KeepAlive("x".into());
    assert_eq!(running.on(Event::Said(stranger, life)).len(), 1);
    assert!(running.on(Event::Tick).is_empty());
    running.now += 1;
    assert_eq!(running.on(Event::Tick), [Action::Close(stranger, Refusal::Login)]);
    running.on(Event::Said(node, NodeMessage::Pending(1)));
    running.now += SILENCE_MAX;
    assert!(running.on(Event::Tick).is_empty());
    running.now += 1;
    assert_eq!(running.on(Event::Tick), [Action::Close(node, Refusal::Silence)]);
    assert_eq!(running.node("a")["connected"], false);
    running.on(Event::Closed(node));
    assert_eq!(running.node("a")["sessions"], 0, "it left once");
}

#[test]
fn a_pong_comes_late_and_the_latency_does_not_show_it() {
    let mut running = Running::new();
    let id = running.join("a");
    let actions = running.on(Event::Said(id, NodeMessage::Ping("t".into())));
    let pong = ServerMessage::Pong("t".into(), running.now);
    assert_eq!(actions, [Action::Send(id, pong, PONG_DELAY)]);
    for (measured, shown) in [(75, 0), (80, 5), (10, 0)] {
        running.on(Event::Said(id, NodeMessage::Latency(measured)));
        assert_eq!(running.node("a")["latency"], shown);
    }
}

#[test]
fn propagation_counts_from_the_first_report_for_those_who_keep_up() {
    let mut running = Running::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| running.join(name));
    for id in [a, b, c] {
        running.block(id, &blocks::block(1, 1, 0));
        running.on(Event::Said(id, stats(id != c)));
    }
    let second = blocks::block(2, 1, 0);
    running.block(a, &second);
    running.now += 40;
    running.block(b, &second);
    running.block(b, &second);
    running.now += 60;
    running.block(c, &second);
    let late = running.join("late");
    running.now += SECOND;
    running.block(late, &second);
    assert_eq!(running.node("a")["delays"], json!([0]));
    assert_eq!(running.node("b")["delays"], json!([40]), "a repetition tells nothing");
    assert_eq!(running.node("c")["delays"], json!([]), "it syncs");
    assert_eq!(running.node("late")["delays"], json!([]), "it has just come");
    let details = running.dashboard.details(second.hash).unwrap();
    let delays: Vec<u64> = details["reports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["delay"].as_u64().unwrap())
        .collect();
    assert_eq!(delays, [0, 40, 100, 1_100], "but what each said is kept");
    assert_eq!(running.dashboard.details(B256::ZERO), None);
}

#[test]
fn a_branch_that_is_left_is_noted_with_its_depth_and_nodes() {
    let mut running = Running::new();
    let [a, b] = ["a", "b"].map(|name| running.join(name));
    for number in 1..=3 {
        running.block(a, &blocks::block(number, 1, 0));
        running.block(b, &blocks::block(number, 1, 0));
    }
    let left = [blocks::on(4, 2, 1), blocks::on(5, 2, 2)];
    let taken = [blocks::on(4, 3, 1), blocks::on(5, 3, 3), blocks::on(6, 3, 3)];
    for block in &left {
        running.block(a, block);
        running.block(b, block);
    }
    for block in &taken[..2] {
        running.on(Event::Said(a, NodeMessage::History(vec![block.clone()])));
    }
    running.block(a, &taken[2]);
    running.block(b, &taken[2]);
    let shown = running.dashboard.snapshot(running.now);
    let reorgs = shown["reorgs"].as_array().unwrap();
    assert_eq!(reorgs.len(), 1, "{reorgs:?}");
    assert_eq!((&reorgs[0]["depth"], &reorgs[0]["count"]), (&json!(2), &json!(2)));
    assert_eq!(reorgs[0]["nodes"], json!(["a", "b"]));
    assert_eq!(shown["head"], json!(taken[2].hash));
    let siblings = running.dashboard.details(taken[1].hash).unwrap()["siblings"].clone();
    assert_eq!(siblings[0]["nodes"], json!(["a", "b"]));
}

#[test]
fn blocks_that_are_missing_are_asked_for_until_a_node_has_none() {
    let mut running = Running::new();
    let id = running.join("a");
    let actions = running.block(id, &blocks::block(100, 1, 0));
    let asked: Vec<u64> = (90..=99).collect();
    let question = ServerMessage::History(Some(asked.clone()));
    assert_eq!(actions, [Action::Send(id, question, Duration::ZERO)]);
    assert!(running.on(Event::Said(id, NodeMessage::Pending(1))).is_empty(), "one at a time");
    let answer: Vec<BlockSeen> = asked.iter().rev().map(|n| blocks::block(*n, 1, 0)).collect();
    let actions = running.on(Event::Said(id, NodeMessage::History(answer)));
    let next = ServerMessage::History(Some((80..=89).collect()));
    assert_eq!(actions, [Action::Send(id, next, Duration::ZERO)]);
    assert!(running.on(Event::Said(id, NodeMessage::History(Vec::new()))).is_empty());
    running.now += HISTORY_PAUSE_LONG - 1;
    assert!(running.on(Event::Said(id, NodeMessage::Pending(2))).is_empty(), "it had nothing");
    running.now += 1;
    assert_eq!(running.on(Event::Said(id, NodeMessage::Pending(2))).len(), 1);
}

#[test]
fn a_stray_node_of_another_network_does_not_replace_the_chain() {
    let mut running = Running::new();
    let [a, b] = ["a", "b"].map(|name| running.join(name));
    let stray = running.join_net("stray", "1");
    let own = blocks::block(5, 1, 0);
    running.block(a, &own);
    running.block(b, &own);
    running.block(stray, &blocks::block(15_000_000, 9, u64::MAX));
    let shown = running.dashboard.snapshot(running.now);
    assert_eq!((&shown["head"], &shown["network"]), (&json!(own.hash), &json!("27587")));
}

#[test]
fn syncing_means_the_opposite_from_geth_and_from_web3() {
    let said = |syncing: Value| {
        let frame = json!({ "emit": ["stats", { "id": "a", "stats": { "syncing": syncing } }] });
        NodeMessage::decode(&frame.to_string()).unwrap()
    };
    let mut running = Running::new();
    for (api, syncing, caught_up) in [
        ("No", json!(true), true),
        ("No", json!(false), false),
        ("0.20.1", json!(false), true),
        ("0.20.1", json!({ "currentBlock": 1, "highestBlock": 2 }), false),
    ] {
        let id = running.open();
        let info = Info { api: api.into(), ..Info::default() };
        let hello = Hello { id: api.into(), info, secret: "one".into() };
        running.on(Event::Said(id, NodeMessage::Hello(Box::new(hello))));
        running.on(Event::Said(id, said(syncing.clone())));
        assert_eq!(running.node(api)["caughtUp"], caught_up, "{api} {syncing}");
    }
}

#[test]
fn two_nodes_of_one_name_share_a_row_that_says_so() {
    let mut running = Running::new();
    let [first, second] = [running.join("a"), running.join("a")];
    assert_eq!(running.node("a")["sessions"], 2);
    running.on(Event::Closed(first));
    assert_eq!(running.node("a")["connected"], true);
    running.on(Event::Closed(second));
    assert_eq!(running.node("a")["connected"], false);
}

#[test]
fn who_left_is_shown_for_a_while_and_makes_room_when_it_is_needed() {
    let mut running = Running::new();
    let names: Vec<String> = (0..NODES_MAX).map(|n| format!("n{n}")).collect();
    let ids: Vec<SessionId> = names.iter().map(|name| running.join(name)).collect();
    let id = running.open();
    let actions = running.on(Event::Said(id, hello("one-more", "27587", "one")));
    assert_eq!(actions, [Action::Close(id, Refusal::Full)]);
    running.on(Event::Closed(ids[0]));
    assert_eq!(running.node("n0")["connected"], false);
    running.dashboard.take_changes(running.now);
    running.join("one-more");
    let changes = running.dashboard.take_changes(running.now).unwrap();
    assert_eq!(changes["gone"], json!(["n0"]));
    running.on(Event::Closed(ids[1]));
    running.now += GONE_PERIOD;
    for id in &ids[2..] {
        running.on(Event::Said(*id, NodeMessage::Pending(0)));
    }
    running.on(Event::Tick);
    assert_eq!(running.node("n1")["connected"], false);
    running.now += 1;
    running.on(Event::Tick);
    assert_eq!(running.node("n1"), Value::Null);
}

#[test]
fn changes_are_told_once_and_only_if_there_are_some() {
    let mut running = Running::new();
    assert_eq!(running.dashboard.take_changes(running.now), None);
    let id = running.join("a");
    assert!(running.dashboard.take_changes(running.now).is_some());
    assert_eq!(running.dashboard.take_changes(running.now), None);
    let dataset =
        DatasetSeen { epoch: 3, phase: "generating".into(), done: 1, total: 4, eta: Some(9) };
    let progress = Progress { dataset: Some(dataset), bomb_delay: Some(0), trouble: None };
    running.on(Event::Said(id, NodeMessage::Progress(progress)));
    let changes = running.dashboard.take_changes(running.now).unwrap();
    assert_eq!(changes["nodes"][0]["dataset"]["eta"], 9);
    running.block(id, &blocks::block(1, 1, 0));
    let changes = running.dashboard.take_changes(running.now).unwrap();
    assert_eq!(changes["blocks"].as_array().unwrap().len(), 1);
    assert_eq!(changes["head"], json!(blocks::block(1, 1, 0).hash));
}

#[test]
fn what_is_kept_of_a_chain_has_a_limit() {
    let mut running = Running::new();
    let id = running.join("a");
    let most = u64::try_from(chain::HEIGHTS_MAX).unwrap();
    for number in 1..=most + 10 {
        running.block(id, &blocks::block(number, 1, 0));
    }
    for branch in 2..=255 {
        running.block(id, &blocks::on(most + 10, branch, 1));
    }
    assert!(running.dashboard.details(blocks::block(11, 1, 0).hash).is_some());
    assert_eq!(running.dashboard.details(blocks::block(10, 1, 0).hash), None);
    let shown = running.dashboard.snapshot(running.now);
    let at_top = shown["blocks"].as_array().unwrap().iter();
    assert_eq!(at_top.filter(|block| block["number"] == most + 10).count(), 16);
}

#[test]
fn who_claims_an_absurd_total_difficulty_is_doubted_and_holds_no_head() {
    let mut running = Running::new();
    let [honest, liar] = ["honest", "liar"].map(|name| running.join(name));
    let head = |running: &Running| running.dashboard.snapshot(running.now)["head"].clone();
    let fresh = |running: &Running, number: u64, branch: u8| {
        let mut block = blocks::block(number, branch, 0);
        block.timestamp = running.now / SECOND;
        block
    };
    let first = fresh(&running, 100, 1);
    running.block(honest, &first);
    let mut lie = fresh(&running, 101, 2);
    lie.td = U256::MAX;
    let said = running.block(liar, &lie);
    assert!(said.contains(&Action::Doubt(liar, "liar".into(), 101)), "{said:?}");
    assert_eq!(head(&running), json!(first.hash));
    assert_eq!(running.node("liar")["doubted"], true);
    assert_eq!(running.node("honest")["doubted"], false);
    // The next block of the others is the head as ever, and the next lie is no news.
    running.now += 10 * SECOND;
    let second = fresh(&running, 101, 1);
    running.block(honest, &second);
    assert_eq!(head(&running), json!(second.hash));
    let mut again = fresh(&running, 102, 2);
    again.td = U256::MAX;
    let said = running.block(liar, &again);
    assert!(!said.iter().any(|action| matches!(action, Action::Doubt(..))), "{said:?}");
    assert_eq!(head(&running), json!(second.hash));
}

#[test]
fn a_head_that_most_nodes_do_not_have_gives_way_and_who_told_of_it_is_not_believed() {
    let mut running = Running::new();
    let honest = ["a", "b", "c"].map(|name| running.join(name));
    let liar = running.join("liar");
    let head = |running: &Running| running.dashboard.snapshot(running.now)["head"].clone();
    // Heavier by less than is absurd.
    let lie = |running: &mut Running, number: u64| {
        let mut lie = blocks::block(number, 2, 5 * 131_072);
        lie.timestamp = running.now / SECOND;
        running.block(liar, &lie);
        lie.hash
    };
    let mut hash = lie(&mut running, 100);
    let mut number = 100;
    let mut is_over = false;
    while !is_over && number < 110 {
        for id in honest {
            let mut block = blocks::block(number, 1, 0);
            block.timestamp = running.now / SECOND;
            running.block(id, &block);
        }
        if head(&running) == json!(hash) && number < 102 {
            hash = lie(&mut running, number + 1);
        }
        running.now += 10 * SECOND;
        running.on(Event::Tick);
        is_over = head(&running) == json!(blocks::block(number, 1, 0).hash);
        number += 1;
    }
    assert!(is_over, "theirs is the head");
    lie(&mut running, number + 3);
    assert_eq!(head(&running), json!(blocks::block(number - 1, 1, 0).hash), "it stays so");
    let mut next = blocks::block(number, 1, 0);
    next.timestamp = running.now / SECOND;
    running.block(honest[0], &next);
    assert_eq!(head(&running), json!(next.hash));
}

#[test]
fn a_page_says_who_was_refused_until_the_secret_is_right() {
    let mut running = Running::new();
    let id = running.open();
    running.on(Event::Said(id, hello("lost", "1", "wrong")));
    let shown = running.dashboard.snapshot(running.now);
    assert_eq!(shown["refused"][0]["name"], "lost");
    assert_eq!(shown["refused"][0]["why"], "wrong secret");
    assert!(!shown.to_string().contains("\"wrong\""), "a secret is not shown");
    assert_eq!(running.dashboard.take_changes(running.now).unwrap()["refused"][0]["name"], "lost");
    for number in 0..3 * REFUSED_MAX {
        let id = running.open();
        running.on(Event::Said(id, hello(&format!("x{number}"), "1", "wrong")));
    }
    let refused = running.dashboard.snapshot(running.now)["refused"].as_array().unwrap().len();
    assert_eq!(refused, REFUSED_MAX);
    running.join("x23");
    assert!(!running.dashboard.snapshot(running.now)["refused"].to_string().contains("x23"));
}

#[test]
fn what_a_node_says_is_not_well_with_it_is_shown_while_it_is_there() {
    let mut running = Running::new();
    let id = running.join("a");
    let trouble = Some("clock about 40 s behind".to_owned());
    let progress = Progress { trouble, ..Progress::default() };
    running.on(Event::Said(id, NodeMessage::Progress(progress)));
    assert_eq!(running.node("a")["trouble"], "clock about 40 s behind");
    running.on(Event::Closed(id));
    assert_eq!(running.node("a")["trouble"], Value::Null);
}
