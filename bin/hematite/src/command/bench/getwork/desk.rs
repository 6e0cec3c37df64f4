//! Who hands out work and counts what comes back, without a socket or a clock.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use ethash::{Epoch, LightCache, Seal, Target};
use primitives::{B256, U256};
use serde_json::{Value, json};

use crate::command::bench::report::Miner;

/// Pieces of work that are remembered: miners hand in solutions of earlier ones.
const WORKS_MAX: usize = 256;
/// Solutions of one piece of work that are counted.
const SOLUTIONS_OF_WORK_MAX: usize = 4_096;
/// Names under which miners claim a hashrate.
const CLAIMS_MAX: usize = 256;
/// Difficulty of the first work, and the least: a processor of a telephone finds it.
const DIFFICULTY_MIN: u64 = 1_000;
/// Solutions after which the difficulty is chosen anew while calibrating.
const CALIBRATION_SOLUTIONS: u64 = 8;
/// Solutions per second that are aimed for.
const SOLUTIONS_PER_SECOND: f64 = 5.0;
/// Longest time that finding the right difficulty takes.
const CALIBRATION_TIME_MAX: Duration = Duration::from_secs(10);
/// What a normal variable is within for 95 % of the time, in standard deviations.
const Z: f64 = 1.96;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There was no solution yet.
    Waiting,
    /// The difficulty is being found.
    Calibrating,
    /// Solutions are counted.
    Counting,
    /// Time is over.
    Done,
}

/// Why a request has no result, as JSON-RPC numbers it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: i32,
    pub(super) message: String,
}

struct Work {
    seal_hash: B256,
    difficulty: u64,
    /// Nonces that solved it.
    solved: HashSet<u64>,
}

/// The counter at which miners get work and hand in solutions.
pub(super) struct Desk {
    cache: LightCache,
    length: Duration,
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// When it ended, if it did.
    counted: Duration,
    difficulty: u64,
    /// Since the difficulty was last chosen: when that was, and hashes that solutions stand for.
    recent: (Instant, u64, f64),
    serial: u64,
    works: VecDeque<Work>,
    claims: HashMap<String, f64>,
    solutions: u64,
    invalid: u64,
    stale: u64,
    /// Hashes that the counted solutions stand for.
    hashes: f64,
    /// Sum of the squares of their difficulties.
    squares: f64,
}

impl Desk {
    /// Nobody came yet; solutions will be counted for so long.
    pub(super) fn new(cache: LightCache, length: Duration) -> Self {
        let now = Instant::now();
        let mut desk = Self {
            cache,
            length,
            phase: Phase::Waiting,
            since: now,
            counted: Duration::ZERO,
            difficulty: DIFFICULTY_MIN,
            recent: (now, 0, 0.0),
            serial: 0,
            works: VecDeque::new(),
            claims: HashMap::new(),
            solutions: 0,
            invalid: 0,
            stale: 0,
            hashes: 0.0,
            squares: 0.0,
        };
        desk.renew();
        desk
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant) -> Phase {
        let passed = now.saturating_duration_since(self.since);
        if self.phase == Phase::Calibrating && passed >= self.calibration() {
            (self.phase, self.since) = (Phase::Counting, now);
        } else if self.phase == Phase::Counting && passed >= self.length {
            (self.phase, self.counted) = (Phase::Done, passed);
        }
        self.phase
    }

    /// How much of the time from the first solution on is over, and all of it.
    pub(super) fn progress(&self, now: Instant) -> (Duration, Duration) {
        let passed = now.saturating_duration_since(self.since);
        let done = match self.phase {
            Phase::Waiting => Duration::ZERO,
            Phase::Calibrating => passed,
            Phase::Counting | Phase::Done => self.calibration() + passed,
        };
        (done, self.calibration() + self.length)
    }

    /// What was found so far.
    pub(super) fn result(&self, address: String, now: Instant) -> Miner {
        let counted = match self.phase {
            Phase::Counting => now.saturating_duration_since(self.since),
            Phase::Waiting | Phase::Calibrating | Phase::Done => self.counted,
        };
        let seconds = counted.as_secs_f64();
        let per_second = |hashes: f64| if seconds > 0.0 { hashes / seconds } else { 0.0 };
        // Solutions of one difficulty that would be as uncertain as these of several.
        let effective = if self.squares > 0.0 { self.hashes.powi(2) / self.squares } else { 0.0 };
        let weight = if effective > 0.0 { self.hashes / effective } else { self.difficulty as f64 };
        let (low, high) = interval(effective);
        Miner {
            address,
            seconds,
            difficulty: self.difficulty,
            solutions: self.solutions,
            invalid: self.invalid,
            stale: self.stale,
            hashes_per_second: per_second(self.hashes),
            low: per_second(low * weight),
            high: per_second(high * weight),
            claimed: (!self.claims.is_empty()).then(|| self.claims.values().sum()),
        }
    }

    /// Answers a call.
    pub(super) fn call(
        &mut self,
        method: &str,
        params: &Value,
        now: Instant,
    ) -> Result<Value, Refusal> {
        match method {
            "eth_getWork" => Ok(self.work()),
            "eth_submitWork" => {
                let nonce = number(params, 0)?;
                let (seal_hash, mix_hash) = (hash(params, 1)?, hash(params, 2)?);
                Ok(json!(self.submit(nonce, seal_hash, mix_hash, now)))
            }
            "eth_submitHashrate" => {
                let name = text(params, 1).unwrap_or_default().to_owned();
                let rate = number(params, 0)? as f64;
                if self.claims.len() < CLAIMS_MAX || self.claims.contains_key(&name) {
                    self.claims.insert(name, rate);
                }
                Ok(json!(true))
            }
            "web3_clientVersion" => Ok(json!(crate::report::client_version(None))),
            "net_version" => Ok(json!("1")),
            "eth_syncing" => Ok(json!(false)),
            "eth_blockNumber" => Ok(json!(format!("{:#x}", self.block() - 1))),
            _ => {
                let message = format!("the method {method} does not exist/is not available");
                Err(Refusal { code: -32601, message })
            }
        }
    }

    fn block(&self) -> u64 {
        self.cache.epoch().get() * Epoch::BLOCKS + 1
    }

    /// Seal hash, seed hash, target and block, as geth answers.
    fn work(&self) -> Value {
        let work = self.works.back().expect("there is always work");
        let target = B256::from(target(work.difficulty).as_u256());
        json!([work.seal_hash, self.cache.epoch().seed(), target, format!("{:#x}", self.block())])
    }

    /// Takes a solution in. Whether it counts.
    fn submit(&mut self, nonce: u64, seal_hash: B256, mix_hash: B256, now: Instant) -> bool {
        let Some(work) = self.works.iter_mut().rev().find(|it| it.seal_hash == seal_hash) else {
            self.stale += 1;
            return false;
        };
        let seal = Seal { seal_hash, nonce, mix_hash, target: target(work.difficulty) };
        if self.cache.verify(&seal).is_err() {
            self.invalid += 1;
            return false;
        }
        if work.solved.len() >= SOLUTIONS_OF_WORK_MAX || !work.solved.insert(nonce) {
            self.stale += 1;
            return false;
        }
        let difficulty = work.difficulty;
        self.count(difficulty as f64, now);
        self.renew();
        true
    }

    fn count(&mut self, difficulty: f64, now: Instant) {
        match self.phase {
            // The time before it says nothing: a miner makes its dataset first.
            Phase::Waiting => {
                (self.phase, self.since, self.recent) = (Phase::Calibrating, now, (now, 0, 0.0));
            }
            Phase::Calibrating => {
                self.recent.1 += 1;
                self.recent.2 += difficulty;
                let passed = now.saturating_duration_since(self.recent.0).as_secs_f64();
                if self.recent.1 == CALIBRATION_SOLUTIONS && passed > 0.0 {
                    let rate = self.recent.2 / passed;
                    self.difficulty = ((rate / SOLUTIONS_PER_SECOND) as u64).max(DIFFICULTY_MIN);
                    self.recent = (now, 0, 0.0);
                }
            }
            Phase::Counting => {
                self.solutions += 1;
                self.hashes += difficulty;
                self.squares += difficulty * difficulty;
            }
            Phase::Done => {}
        }
    }

    /// Puts out new work: many miners begin at the same nonce each time.
    fn renew(&mut self) {
        self.serial += 1;
        let mut seal_hash = B256::with_last_byte(0);
        seal_hash[..8].copy_from_slice(b"hematite");
        seal_hash[24..].copy_from_slice(&self.serial.to_be_bytes());
        if self.works.len() == WORKS_MAX {
            self.works.pop_front();
        }
        let difficulty = self.difficulty;
        self.works.push_back(Work { seal_hash, difficulty, solved: HashSet::new() });
    }

    fn calibration(&self) -> Duration {
        (self.length / 4).min(CALIBRATION_TIME_MAX)
    }
}

fn target(difficulty: u64) -> Target {
    Target::from_difficulty(U256::from(difficulty)).expect("difficulties here are not zero")
}

/// The 95 % interval of the mean of a Poisson variable that came out as `count`, after Wilson and
/// Hilferty: right to a percent.
fn interval(count: f64) -> (f64, f64) {
    let cube =
        |count: f64, z: f64| count * (1.0 - 1.0 / (9.0 * count) + z / (3.0 * count.sqrt())).powi(3);
    let low = if count > 0.0 { cube(count, -Z).max(0.0) } else { 0.0 };
    (low, cube(count + 1.0, Z))
}

fn text(params: &Value, at: usize) -> Result<&str, Refusal> {
    let missing = || refuse(format!("missing value for required argument {at}"));
    params.get(at).and_then(Value::as_str).ok_or_else(missing)
}

fn hash(params: &Value, at: usize) -> Result<B256, Refusal> {
    let wrong = |_| refuse(format!("invalid argument {at}: want 0x and 64 hex digits"));
    text(params, at)?.parse().map_err(wrong)
}

fn number(params: &Value, at: usize) -> Result<u64, Refusal> {
    let wrong = || refuse(format!("invalid argument {at}: want 0x and up to 16 hex digits"));
    let digits = text(params, at)?.strip_prefix("0x").filter(|it| !it.is_empty());
    // Some miners write hashrates as 32 bytes.
    match digits.ok_or_else(wrong)?.trim_start_matches('0') {
        "" => Ok(0),
        digits => u64::from_str_radix(digits, 16).map_err(|_| wrong()),
    }
}

const fn refuse(message: String) -> Refusal {
    Refusal { code: -32602, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A miner as simple as can be: the first nonce that solves the work.
    fn mine(cache: &LightCache, work: &Value) -> (u64, Value) {
        let hash = |at: usize| work[at].as_str().unwrap().parse::<B256>().unwrap();
        let (seal_hash, target) = (hash(0), U256::from_be_bytes(hash(2).0));
        let tries = (0..).step_by(64).flat_map(|first| {
            let tries: Vec<_> = (first..first + 64).map(|nonce| (seal_hash, nonce)).collect();
            (first..).zip(cache.hashimoto_many(&tries))
        });
        let mut solved = tries.filter(|(_, pow)| U256::from_be_bytes(pow.result.0) <= target);
        let (nonce, pow) = solved.next().unwrap();
        (nonce, json!([format!("{nonce:#018x}"), seal_hash, pow.mix_hash]))
    }

    fn desk() -> Desk {
        Desk::new(LightCache::tiny(), 8 * SECOND)
    }

    #[test]
    fn work_is_what_geth_answers() {
        let work = desk().call("eth_getWork", &json!([]), Instant::now()).unwrap();
        assert_eq!(work.as_array().unwrap().len(), 4);
        assert_eq!(work[1], json!(B256::ZERO));
        assert_eq!(work[3], "0x1");
        assert!(work[2].as_str().unwrap().starts_with("0x00418937"), "{work}");
    }

    #[test]
    fn a_miner_is_measured_by_what_it_finds() {
        let (mut desk, start) = (desk(), Instant::now());
        let cache = LightCache::tiny();
        let (mut now, mut tried) = (start, 0);
        // Solutions come as fast as a miner of 2 kH/s tries nonces.
        while desk.tick(now) != Phase::Done {
            let work = desk.call("eth_getWork", &json!([]), now).unwrap();
            let (nonce, solution) = mine(&cache, &work);
            tried += nonce + 1;
            now += SECOND.mul_f64((nonce + 1) as f64 / 2_000.0);
            assert_eq!(desk.call("eth_submitWork", &solution, now), Ok(json!(true)));
        }
        let found = desk.result("here".to_owned(), now);
        assert!(found.low < 2_000.0 && 2_000.0 < found.high, "{found:?} of {tried}");
        assert!(found.solutions > 10 && found.invalid == 0 && found.claimed.is_none(), "{found:?}");
    }

    #[test]
    fn the_difficulty_follows_the_miner() {
        let (mut desk, mut now) = (desk(), Instant::now());
        for _ in 0..40 {
            now += SECOND / 100;
            desk.count(desk.difficulty as f64, now);
        }
        assert!(desk.difficulty > 100 * DIFFICULTY_MIN, "{}", desk.difficulty);
        let difficulty = desk.difficulty;
        assert_eq!(desk.tick(now + 5 * SECOND), Phase::Counting);
        desk.count(1.0, now + 6 * SECOND);
        assert_eq!(desk.difficulty, difficulty, "it stays while solutions are counted");
    }

    #[test]
    fn wrong_repeated_and_unknown_solutions_do_not_count() {
        let (mut desk, now) = (desk(), Instant::now());
        let work = desk.call("eth_getWork", &json!([]), now).unwrap();
        let (_, right) = mine(&LightCache::tiny(), &work);
        let wrong = json!([right[0], right[1], B256::repeat_byte(1)]);
        let unknown = json!([right[0], B256::repeat_byte(2), right[2]]);
        assert_eq!(desk.call("eth_submitWork", &wrong, now), Ok(json!(false)));
        assert_eq!(desk.call("eth_submitWork", &unknown, now), Ok(json!(false)));
        assert_eq!(desk.call("eth_submitWork", &right, now), Ok(json!(true)));
        assert_eq!(desk.call("eth_submitWork", &right, now), Ok(json!(false)));
        let found = desk.result(String::new(), now);
        assert_eq!((found.invalid, found.stale, found.solutions), (1, 2, 0));
    }

    #[test]
    fn claims_are_kept_by_name_and_limited() {
        let (mut desk, now) = (desk(), Instant::now());
        let mut claim =
            |rate: &str, name: &str| desk.call("eth_submitHashrate", &json!([rate, name]), now);
        let padded = format!("0x{:064x}", 500);
        assert_eq!(claim("0x3e8", "a"), Ok(json!(true)));
        assert_eq!(claim(&padded, "a"), Ok(json!(true)));
        assert_eq!(claim("0x64", "b"), Ok(json!(true)));
        assert!(claim("fast", "b").is_err() && claim("0x", "b").is_err());
        assert_eq!(desk.result(String::new(), now).claimed, Some(600.0));
        for name in 0..2 * CLAIMS_MAX {
            let claim = json!(["0x0", name.to_string()]);
            desk.call("eth_submitHashrate", &claim, now).unwrap();
        }
        assert_eq!(desk.claims.len(), CLAIMS_MAX);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let (mut desk, now) = (desk(), Instant::now());
        let mut code = |method, params| desk.call(method, &params, now).unwrap_err().code;
        assert_eq!(code("eth_coinbase", json!([])), -32601);
        for params in
            [json!([]), json!({}), json!(null), json!([1, 2, 3]), json!(["0x1", "0x2", "0x3"])]
        {
            assert_eq!(code("eth_submitWork", params), -32602);
        }
    }

    #[test]
    fn only_recent_work_is_remembered() {
        let mut desk = desk();
        for _ in 0..3 * WORKS_MAX {
            desk.renew();
        }
        assert_eq!(desk.works.len(), WORKS_MAX);
    }

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Exact (Garwood) limits of the means: 0 to 3.69, 0.0253 to 5.57, 4.80 to 18.4, 81.4 to 121.6.
        let near = |found: f64, exact: f64| (found - exact).abs() < 0.02 * exact + 0.15;
        for (count, low, high) in
            [(0.0, 0.0, 3.69), (1.0, 0.0253, 5.57), (10.0, 4.8, 18.4), (100.0, 81.4, 121.6)]
        {
            let found = interval(count);
            assert!(near(found.0, low) && near(found.1, high), "{count}: {found:?}");
        }
    }
}
