use primitives::{Header, SealedBlock, TotalDifficulty, U256};

use super::*;

/// A reporter that is logged in, and has told everything once.
struct Running {
    reporter: Reporter,
    now: Instant,
}

impl Running {
    fn new() -> Self {
        let target: Target = "node:secret@host:3000".parse().unwrap();
        let identity = Identity {
            client: "x".into(),
            port: 1,
            network_id: 1,
            protocol: "eth/65".into(),
            processor: "amd64".into(),
        };
        Self { reporter: Reporter::new(&target, &identity), now: Instant::now() }
    }

    fn logged_in() -> Self {
        let mut running = Self::new();
        running.on(Event::Opened);
        running.on(Event::Said(ServerMessage::Ready));
        running.on(Event::Said(pong()));
        running
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.reporter.on(event, self.now, &mut actions);
        actions
    }

    /// Names of the events that are sent.
    fn said(&mut self, event: Event) -> Vec<String> {
        self.on(event).iter().map(name).collect()
    }
}

fn pong() -> ServerMessage {
    ServerMessage::Pong("1".into(), 1)
}

fn name(action: &Action) -> String {
    match action {
        Action::Send(text) => {
            let frame: serde_json::Value = serde_json::from_str(text).unwrap();
            frame["emit"][0].as_str().unwrap_or(text).to_owned()
        }
        other => format!("{other:?}"),
    }
}

fn head(number: u64) -> Report {
    let header = Header { number, ..Header::default() };
    let block = primitives::Block { header, ..primitives::Block::default() };
    let td = TotalDifficulty::new(U256::ONE);
    Report::Head(Box::new(Block::new(&SealedBlock::seal_slow(block), td)))
}

const STATS: Stats =
    Stats { active: true, caught_up: true, mining: false, hashrate: 0, peers: 0, gas_price: 0 };

#[test]
fn a_full_report_follows_the_answer_to_its_ping_in_geths_order() {
    let mut running = Running::new();
    assert!(running.on(Event::Report(head(3))).is_empty(), "nobody listens yet");
    running.on(Event::Report(Report::Stats(STATS)));
    assert_eq!(running.said(Event::Opened), ["hello"]);
    assert_eq!(running.said(Event::Said(ServerMessage::Ready)), ["LoggedIn", "node-ping"]);
    let told = running.said(Event::Said(pong()));
    assert_eq!(told, ["latency", "block", "pending", "stats", "progress"]);
    assert!(running.said(Event::Said(pong())).is_empty(), "an answer nobody asked for");
    running.now += FULL_PERIOD - Duration::from_millis(1);
    assert!(running.said(Event::Tick).is_empty());
    running.now += Duration::from_millis(1);
    assert_eq!(running.said(Event::Tick), ["node-ping"]);
    running.now += Duration::from_millis(40);
    let told = running.on(Event::Said(pong()));
    let Action::Send(latency) = &told[0] else { panic!("{told:?}") };
    assert!(latency.contains("\"latency\":\"20\""), "half of the round trip: {latency}");
}

#[test]
fn heads_are_told_at_once_and_the_pool_once_a_second() {
    let mut running = Running::logged_in();
    assert_eq!(running.said(Event::Report(head(4))), ["block", "pending"]);
    assert_eq!(running.said(Event::Report(head(5))), ["block", "pending"]);
    assert!(running.said(Event::Report(Report::Pending(1))).is_empty(), "too early");
    assert!(running.said(Event::Report(Report::Pending(2))).is_empty());
    running.now += PENDING_PERIOD_MIN;
    let told = running.on(Event::Tick);
    let [Action::Send(text)] = told.as_slice() else { panic!("{told:?}") };
    assert!(text.contains("\"pending\":2"), "{text}");
    running.now += PENDING_PERIOD_MIN;
    assert!(running.said(Event::Report(Report::Pending(2))).is_empty(), "nothing new");
}

#[test]
fn a_dashboard_that_does_not_say_ready_or_says_nothing_is_left() {
    for answer in [ServerMessage::Other, pong(), ServerMessage::History(None)] {
        let mut running = Running::new();
        running.on(Event::Opened);
        let fault = Action::Close(Fault::Unauthorized);
        assert_eq!(running.on(Event::Said(answer)), [fault]);
    }
    let mut running = Running::new();
    running.on(Event::Opened);
    running.now += ANSWER_PERIOD_MAX;
    assert_eq!(running.on(Event::Tick), [Action::Close(Fault::Unauthorized)]);
    let mut running = Running::logged_in();
    running.now += FULL_PERIOD;
    running.on(Event::Tick);
    running.now += ANSWER_PERIOD_MAX;
    assert_eq!(running.on(Event::Tick), [Action::Close(Fault::Silent)]);
}

#[test]
fn questions_for_blocks_go_to_the_node_and_its_answer_to_the_dashboard() {
    let mut running = Running::logged_in();
    let asked = ServerMessage::History(Some(vec![1, 2]));
    assert_eq!(running.on(Event::Said(asked)), [Action::FindBlocks(Some(vec![1, 2]))]);
    assert_eq!(running.said(Event::History(Vec::new())), ["history"]);
    running.on(Event::Closed);
    assert!(running.on(Event::History(Vec::new())).is_empty(), "nobody listens any more");
    let life = ServerMessage::KeepAlive("\"primus::pong::1\"".into());
    assert_eq!(running.on(Event::Said(life)), [Action::Send("\"primus::pong::1\"".into())]);
}
