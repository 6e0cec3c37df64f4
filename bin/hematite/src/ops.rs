//! Probes and metrics over HTTP, for every role: whether the process lives, has started and is
//! ready, and its numbers.
//!
//! Whoever runs a role makes an [`Ops`], tells it once a second how things stand, and
//! [`serve`]s it. Answers come from what was told last, so no number of questions disturbs the
//! node.

pub mod exposition;
pub mod geth;
mod listen;
pub mod node;
pub mod process;
pub mod readiness;
pub mod recorder;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use eyre::Result;
use http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::{
    exposition::{Family, Kind, Sample},
    listen::{Server, start},
    readiness::{Check, Criterion, Measure},
    recorder::{Registry, install},
};
use self::{
    exposition::{MEDIA_TYPE, render},
    process::Usage,
    readiness::{Readiness, Startup, Thresholds},
};
use crate::plain_http::{self, Question, Responder, Text};

/// How often things are looked at.
pub const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// How long nothing may be heard of how things stand.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The paths, for whoever looks around.
const PATHS: &str = "/livez\n/readyz\n/startupz\n/healthz\n/metrics\n/debug/metrics/prometheus\n";

/// How things stand with a process.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Whether its own loops run: if not, only a new process helps.
    pub alive: Vec<Check>,
    /// What has to be done before the process has started; empty when nothing is left.
    pub starting: Vec<Check>,
    /// What has to be done as well before it does all that it is for; it is of use without.
    pub preparing: Vec<Check>,
    /// What readiness depends on.
    pub criteria: Vec<Criterion>,
    /// Numbers beside those that the parts count.
    pub families: Vec<Family>,
}

/// What is answered to probes and scrapes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ops(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    role: &'static str,
    registry: &'static Registry,
    /// Cancelled from SIGTERM on.
    shutdown: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` before the first.
    report: Option<Report>,
    /// When it came.
    told: Instant,
    /// Whether it is of use.
    useful: Startup,
    /// Whether it does all that it is for.
    startup: Startup,
    readiness: Readiness,
    load: Load,
}

/// How much of a processor is used.
#[derive(Debug, Default)]
struct Load {
    /// When it was looked at, and how many seconds of processors had been used until then.
    looked: Option<(Instant, f64)>,
    /// Processors in use since the look before, 1 being one of them.
    processors: f64,
}

impl Ops {
    /// Nothing is known yet. The token is the one that ends the process's work.
    #[must_use]
    pub fn new(role: &'static str, shutdown: CancellationToken) -> Self {
        let state = State {
            report: None,
            told: Instant::now(),
            useful: Startup::default(),
            startup: Startup::default(),
            readiness: Readiness::default(),
            load: Load::default(),
        };
        Self(Arc::new(Shared { role, registry: install(), shutdown, state: Mutex::new(state) }))
    }

    /// Takes in how things stand.
    pub fn tell(&self, report: Report, now: Instant) {
        let used = process::cpu_seconds();
        let mut state = self.state();
        state.load.on(used, now);
        let (is_starting, is_preparing) =
            (!report.starting.is_empty(), !report.preparing.is_empty());
        state.useful.on(is_starting, now);
        state.startup.on(is_starting || is_preparing, now);
        state.readiness.look(&report.criteria, now);
        // Metrics show what somebody without wishes would be told.
        state.readiness.ask(&report.criteria, Thresholds::default(), now);
        (state.report, state.told) = (Some(report), now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is answered at a path.
    #[must_use]
    pub fn answer(&self, question: &Question<'_>, now: Instant) -> Text {
        let probe = match question.path {
            // Who asks for health may kill for the lack of it, so peers and blocks must not count.
            "/livez" | "/liveness" | "/healthz" => Ok(("livez", self.alive(now))),
            "/startupz" => Ok(("startupz", self.startup(false, now))),
            "/readyz" | "/readiness" => match Thresholds::of_query(question.query) {
                Ok(thresholds) => Ok(("readyz", self.readiness(thresholds, now))),
                Err(error) => Err(Text {
                    status: StatusCode::BAD_REQUEST,
                    ..Text::plain(format!("{error}\n"))
                }),
            },
            "/metrics" => Err(exposition(self.families(now))),
            "/debug/metrics/prometheus" => Err(exposition(self.geth_families(now))),
            "/" => Err(Text::plain(PATHS.to_owned())),
            _ => Err(Text {
                status: StatusCode::NOT_FOUND,
                ..Text::plain(format!("there is nothing here, but at\n{PATHS}"))
            }),
        };
        match probe {
            Ok((name, checks)) => write(name, &checks, question),
            Err(text) => text,
        }
    }

    fn alive(&self, now: Instant) -> Vec<Check> {
        let state = self.state();
        let silence = now.saturating_duration_since(state.told);
        let Some(report) = &state.report else {
            return vec![Check::new("process", true, "opening its data")];
        };
        let heard = match silence > SILENCE_MAX {
            true => {
                let words = format!("nothing heard for {} s", silence.as_secs());
                Check::new("watch", false, words)
            }
            false => Check::new("watch", true, "ok"),
        };
        report.alive.iter().cloned().chain([heard]).collect()
    }

    /// What has to be done before the process is of use, or before it does all that it is for.
    fn startup(&self, useful: bool, now: Instant) -> Vec<Check> {
        let state = self.state();
        let Some(report) = &state.report else {
            let seconds = now.saturating_duration_since(state.told).as_secs();
            return vec![Check::new("data", false, format!("is being opened for {seconds} s"))];
        };
        let left: Vec<Check> = match useful {
            true => report.starting.clone(),
            false => report.starting.iter().chain(&report.preparing).cloned().collect(),
        };
        let startup = if useful { &state.useful } else { &state.startup };
        if startup.is_done() {
            vec![Check::new("start", true, "done")]
        } else if left.is_empty() {
            vec![Check::new("start", false, "done in a moment")]
        } else {
            left
        }
    }

    fn readiness(&self, thresholds: Thresholds, now: Instant) -> Vec<Check> {
        let left = self.startup(true, now);
        let startup = Check {
            name: "startup",
            good: left.iter().all(|check| check.good),
            words: left.iter().map(Check::to_string).collect::<Vec<_>>().join("; "),
        };
        let State { report, readiness, .. } = &mut *self.state();
        let stopping = match self.0.shutdown.is_cancelled() {
            true => Check::new("shutdown", false, "in progress"),
            false => Check::new("shutdown", true, "not asked for"),
        };
        let criteria = report.as_ref().map(|report| report.criteria.as_slice());
        let judged = readiness.ask(criteria.unwrap_or_default(), thresholds, now);
        [startup].into_iter().chain(judged).chain([stopping]).collect()
    }

    /// Everything under our names.
    fn families(&self, now: Instant) -> Vec<Family> {
        let mut families = self.0.registry.families();
        let mut ready = Family::new(
            "node_ready",
            "Whether a criterion of readiness is met, and all of them.",
            Kind::Gauge,
        );
        let checks = self.readiness(Thresholds::default(), now);
        let flag = |good: bool| f64::from(u8::from(good));
        let all = checks.iter().all(|check| check.good);
        ready = ready.with(&[("criterion", "all")], flag(all));
        for check in &checks {
            ready = ready.with(&[("criterion", check.name)], flag(check.good));
        }
        let build = Family::new("build_info", "What runs here; always 1.", Kind::Gauge);
        families.push(ready);
        families.push(build.with(
            &[
                ("role", self.0.role),
                ("version", env!("CARGO_PKG_VERSION")),
                ("architecture", std::env::consts::ARCH),
            ],
            1.0,
        ));
        families.extend(Usage::now().families());
        families.extend(self.told_families());
        families
    }

    fn geth_families(&self, now: Instant) -> Vec<Family> {
        let load = self.state().load.processors;
        geth::families(self.0.registry, &self.families(now), load)
    }

    fn told_families(&self) -> Vec<Family> {
        self.state().report.as_ref().map(|report| report.families.clone()).unwrap_or_default()
    }
}

impl Load {
    fn on(&mut self, used: Option<f64>, now: Instant) {
        let Some(used) = used else { return };
        if let Some((looked, before)) = self.looked.replace((now, used)) {
            let seconds = now.saturating_duration_since(looked).as_secs_f64();
            self.processors = (used - before).max(0.0) / seconds.max(f64::EPSILON);
        }
    }
}

/// Answers probes and scrapes until it is told to stop: last of all, so that whoever asks in the
/// meantime hears that the process is stopping.
///
/// # Errors
///
/// None; the type is that of every part of the node.
pub async fn serve(listener: TcpListener, ops: Ops, shutdown: CancellationToken) -> Result<()> {
    let responder: Responder = Arc::new(move |question| ops.answer(question, Instant::now()));
    plain_http::respond(listener, responder, shutdown).await
}

/// Numbers as Prometheus reads them.
#[must_use]
pub fn exposition(families: Vec<Family>) -> Text {
    Text { kind: MEDIA_TYPE, ..Text::plain(render(families)) }
}

/// As Kubernetes' own servers write it: `ok`, or line by line when that was asked for or something
/// is not well.
fn write(name: &str, checks: &[Check], question: &Question<'_>) -> Text {
    let good = checks.iter().all(|check| check.good);
    let asks = |word: &str| question.query.split('&').any(|part| part == word);
    if question.accept.contains("application/json") || asks("format=json") {
        let checks: Vec<_> = checks
            .iter()
            .map(|check| json!({ "name": check.name, "ok": check.good, "detail": check.words }))
            .collect();
        let body = json!({ "status": if good { "ok" } else { "failed" }, "checks": checks });
        let text = Text { kind: "application/json", ..Text::plain(format!("{body}\n")) };
        return text.if_good(good);
    }
    if good && !asks("verbose") && !asks("verbose=1") && !asks("verbose=true") {
        return Text::plain("ok\n".to_owned());
    }
    let mut body = String::new();
    for check in checks {
        let sign = if check.good { '+' } else { '-' };
        body += &format!("[{sign}]{check}\n");
    }
    body += &format!("{name} check {}\n", if good { "passed" } else { "failed" });
    Text::plain(body).if_good(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask<'a>(path: &'a str, query: &'a str) -> Question<'a> {
        Question { path, query, accept: "" }
    }

    fn healthy() -> Report {
        Report {
            alive: vec![Check::new("chain", true, "ok")],
            criteria: vec![
                Criterion::new("chain", true, "ok"),
                Criterion {
                    name: "peers",
                    measure: Measure::Peers { connected: 1, wanted: 1, trouble: None },
                },
            ],
            families: vec![Family::gauge("a", "An a.", 1.0)],
            ..Report::default()
        }
    }

    /// A process that runs well since a while, and the moment.
    fn running() -> (Ops, CancellationToken, Instant) {
        let shutdown = CancellationToken::new();
        let (ops, mut now) = (Ops::new("tx", shutdown.clone()), Instant::now());
        for _ in 0..5 {
            now += LOOK_PERIOD;
            ops.tell(healthy(), now);
        }
        (ops, shutdown, now)
    }

    #[test]
    fn a_process_that_opens_its_data_lives_but_has_not_started() {
        let (ops, now) = (Ops::new("tx", CancellationToken::new()), Instant::now());
        let later = now + Duration::from_secs(3_600);
        for path in ["/livez", "/liveness", "/healthz"] {
            assert_eq!(ops.answer(&ask(path, ""), later).status, StatusCode::OK);
        }
        for path in ["/startupz", "/readyz", "/readiness"] {
            let text = ops.answer(&ask(path, ""), later);
            assert_eq!(text.status, StatusCode::SERVICE_UNAVAILABLE);
            assert!(text.body.contains("data is being opened for 3600 s\n"), "{}", text.body);
        }
        assert_eq!(ops.answer(&ask("/metrics", ""), later).status, StatusCode::OK);
    }

    #[test]
    fn what_is_left_to_do_is_said_until_it_was_done_once() {
        let (ops, mut now) = (Ops::new("miner", CancellationToken::new()), Instant::now());
        let making = |percent| Report {
            preparing: vec![Check::new("dag", false, format!("{percent} %, 60 s left"))],
            ..healthy()
        };
        ops.tell(making(12), now);
        let text = ops.answer(&ask("/startupz", ""), now);
        assert_eq!(text.body, "[-]dag 12 %, 60 s left\nstartupz check failed\n");
        for _ in 0..5 {
            now += LOOK_PERIOD;
            ops.tell(making(50), now);
        }
        assert_eq!(ops.answer(&ask("/startupz", ""), now).status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ops.answer(&ask("/readyz", ""), now).body, "ok\n", "it is of use to others");
        for _ in 0..5 {
            now += LOOK_PERIOD;
            ops.tell(healthy(), now);
        }
        assert_eq!(ops.answer(&ask("/startupz", ""), now).body, "ok\n");
        ops.tell(making(1), now);
        assert_eq!(ops.answer(&ask("/startupz", ""), now).status, StatusCode::OK);
    }

    #[test]
    fn load_is_what_was_used_since_the_look_before() {
        let (mut load, now) = (Load::default(), Instant::now());
        load.on(Some(10.0), now);
        assert!(load.processors.abs() < 1e-9);
        load.on(Some(13.0), now + Duration::from_secs(2));
        assert!((load.processors - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_ready_node_says_ok_and_why_when_asked() {
        let (ops, _, now) = running();
        assert_eq!(ops.answer(&ask("/readyz", ""), now).body, "ok\n");
        assert_eq!(
            ops.answer(&ask("/readyz", "verbose"), now).body,
            "[+]startup start done\n[+]chain ok\n[+]peers 1 of at least 1\n[+]shutdown not asked for\n\
             readyz check passed\n"
        );
        let few = ops.answer(&ask("/readyz", "minPeers=2"), now);
        assert_eq!(few.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(few.body.contains("[-]peers 1 of at least 2\n"), "{}", few.body);
        assert_eq!(ops.answer(&ask("/readyz", "minPeers=x"), now).status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn json_is_written_for_those_who_ask_for_it() {
        let (ops, _, now) = running();
        let accept = "text/html, application/json";
        let wanted = Question { accept, ..ask("/livez", "") };
        for question in [wanted, ask("/livez", "format=json")] {
            let text = ops.answer(&question, now);
            assert_eq!(text.kind, "application/json");
            let body: serde_json::Value = serde_json::from_str(&text.body).unwrap();
            assert_eq!(body["status"], "ok");
            let chain = json!({ "name": "chain", "ok": true, "detail": "ok" });
            assert_eq!(body["checks"][0], chain);
        }
    }

    #[test]
    fn from_sigterm_on_a_node_is_not_ready_but_alive() {
        let (ops, shutdown, now) = running();
        shutdown.cancel();
        let text = ops.answer(&ask("/readyz", ""), now);
        assert_eq!(text.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.body.contains("[-]shutdown in progress\n"), "{}", text.body);
        assert_eq!(ops.answer(&ask("/livez", ""), now).status, StatusCode::OK);
    }

    #[test]
    fn a_process_of_which_nothing_is_heard_is_not_alive() {
        let (ops, _, now) = running();
        let later = now + SILENCE_MAX + Duration::from_secs(1);
        let text = ops.answer(&ask("/livez", ""), later);
        assert_eq!(text.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.body.contains("[-]watch nothing heard for 31 s\n"), "{}", text.body);
    }

    #[test]
    fn metrics_hold_what_was_told_and_what_is_judged() {
        let (ops, _, now) = running();
        let text = ops.answer(&ask("/metrics", ""), now);
        assert_eq!(text.kind, MEDIA_TYPE);
        let lines = [
            "a 1",
            "node_ready{criterion=\"all\"} 1",
            "node_ready{criterion=\"peers\"} 1",
            "# TYPE process_open_fds gauge",
        ];
        for line in lines {
            assert!(text.body.lines().any(|found| found == line), "{line}: {}", text.body);
        }
        assert!(text.body.contains("build_info{role=\"tx\",version="), "{}", text.body);
    }

    #[test]
    fn other_paths_are_not_found_and_the_root_lists_them() {
        let (ops, _, now) = running();
        let root = ops.answer(&ask("/", ""), now);
        assert_eq!(root.status, StatusCode::OK);
        assert!(root.body.lines().count() > 3);
        for path in root.body.lines() {
            assert_eq!(ops.answer(&ask(path, ""), now).status, StatusCode::OK, "{path}");
        }
        assert_eq!(ops.answer(&ask("/debug/pprof", ""), now).status, StatusCode::NOT_FOUND);
    }
}
