//! When the ice age makes blocks slow: the difficulty's rule, read off the blocks, carried on.

use primitives::U256;
use serde_json::{Value, json};

use crate::message::BlockSeen;

/// The ice age doubles its part of the difficulty every so many blocks.
const PERIOD_BLOCKS: u64 = 100_000;
/// The lowest difficulty of a block that has a parent.
const DIFFICULTY_MIN: u64 = 131_072;
/// How many blocks forks put the ice age off, from Byzantium on.
const DELAYS: [u64; 6] = [3_000_000, 5_000_000, 9_000_000, 9_700_000, 10_700_000, 11_400_000];
/// Times between blocks, in seconds, that are foretold.
const MILESTONES: [f64; 3] = [20.0, 30.0, 60.0];
/// Periods that are looked ahead: by then blocks take years.
const PERIODS_MAX: u64 = 64;
/// The longest time between blocks that is computed, in seconds.
const BLOCK_TIME_MAX: f64 = 1e6;
/// Halvings that find a time between blocks: more than a float has bits.
const HALVINGS: u32 = 64;

/// The rule of the difficulty, as far as the ice age goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Homestead.
    Homestead,
    /// Byzantium and later, with the ice age so many blocks late.
    Byzantium(u64),
}

/// What is to come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Forecast {
    rule: Rule,
    /// Seconds between blocks at this hashrate.
    pub(super) mean: f64,
    /// The ice age's part of the difficulty now.
    pub(super) bomb: f64,
    /// Seconds between blocks, from which block on, and in how many seconds that is.
    pub(super) milestones: Vec<(f64, u64, f64)>,
}

impl Rule {
    /// The one rule that all of these blocks follow, newest first; a node of ours may have `told`
    /// the delay, which blocks show only once the ice age has begun.
    pub(crate) fn of(newest_first: &[&BlockSeen], told: Option<u64>) -> Option<Self> {
        let pairs = || newest_first.windows(2).map(|pair| (pair[0], pair[1]));
        let follow = |rule: &Self| {
            pairs().all(|(child, parent)| rule.next(child, parent) == child.difficulty)
        };
        let told =
            told.map(|delay| if delay == 0 { Self::Homestead } else { Self::Byzantium(delay) });
        if let Some(told) = told.filter(follow) {
            return Some(told);
        }
        let rules = std::iter::once(Self::Homestead).chain(DELAYS.map(Self::Byzantium));
        let mut fitting = rules.filter(follow);
        let rule = fitting.next()?;
        fitting.next().is_none().then_some(rule)
    }

    fn next(self, child: &BlockSeen, parent: &BlockSeen) -> U256 {
        let elapsed = child.timestamp.saturating_sub(parent.timestamp);
        let (up, down) = match self {
            Self::Homestead => (1, elapsed / 10),
            Self::Byzantium(_) => (if parent.uncles.is_empty() { 1 } else { 2 }, elapsed / 9),
        };
        let step = parent.difficulty / U256::from(2_048);
        let base = if down <= up {
            parent.difficulty.saturating_add(step.saturating_mul(U256::from(up - down)))
        } else {
            let steps = U256::from((down - up).min(99));
            parent.difficulty.saturating_sub(step.saturating_mul(steps))
        };
        let bomb = match self.period(child.number) {
            0 | 1 => U256::ZERO,
            period => usize::try_from(period - 2)
                .ok()
                .and_then(|exponent| U256::ONE.checked_shl(exponent))
                .unwrap_or(U256::MAX),
        };
        base.max(U256::from(DIFFICULTY_MIN)).saturating_add(bomb)
    }

    const fn delay(self) -> u64 {
        match self {
            Self::Homestead => 0,
            Self::Byzantium(delay) => delay,
        }
    }

    const fn period(self, number: u64) -> u64 {
        number.saturating_sub(self.delay()) / PERIOD_BLOCKS
    }

    /// How far the difficulty falls, in its own 2048ths a block, when blocks come at random and so
    /// many seconds apart on average. What rises is negative.
    fn fall(self, mean: f64) -> f64 {
        let step = match self {
            Self::Homestead => 10.0,
            Self::Byzantium(_) => 9.0,
        };
        1.0 / ((step / mean).exp() - 1.0) - 1.0
    }

    /// Seconds between blocks at which the difficulty falls as fast as the ice age raises it.
    fn balance(self, hashrate: f64, period: u64) -> f64 {
        let bomb = bomb(period);
        let (mut low, mut high) = (1.0, BLOCK_TIME_MAX);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if hashrate * middle / 2_048.0 * self.fall(middle) < bomb {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

fn bomb(period: u64) -> f64 {
    match i32::try_from(period) {
        Ok(0 | 1) => 0.0,
        Ok(period) => 2_f64.powi(period - 2),
        Err(_) => f64::MAX,
    }
}

/// Carries the chain on at this many hashes a second.
pub(crate) fn forecast(rule: Rule, number: u64, hashrate: f64, mean: f64) -> Option<Forecast> {
    if !hashrate.is_finite() || hashrate <= 0.0 {
        return None;
    }
    let current = rule.period(number);
    let mut milestones = Vec::new();
    let (mut seconds, mut at) = (0.0, number);
    for period in current..current + PERIODS_MAX {
        let pace = rule.balance(hashrate, period);
        while let Some(slow) = MILESTONES.get(milestones.len()).filter(|slow| pace >= **slow) {
            milestones.push((*slow, at, seconds));
        }
        let end = rule.delay() + (period + 1) * PERIOD_BLOCKS;
        let blocks = u32::try_from(end.saturating_sub(at)).unwrap_or(u32::MAX);
        seconds += f64::from(blocks) * pace;
        at = end;
    }
    Some(Forecast { rule, mean, bomb: bomb(current), milestones })
}

impl Forecast {
    pub(crate) fn json(&self) -> Value {
        let milestones: Vec<Value> = self
            .milestones
            .iter()
            .map(|(slow, number, seconds)| {
                json!({ "blockTime": slow, "number": number, "seconds": seconds.round() })
            })
            .collect();
        json!({
            "rule": match self.rule { Rule::Homestead => "homestead", Rule::Byzantium(_) => "byzantium" },
            "delay": self.rule.delay(),
            "blockTime": self.mean,
            "bomb": self.bomb,
            "milestones": milestones,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::chain::tests::block;

    /// A chain that follows a rule, newest first.
    fn chain(rule: Rule, first: u64) -> Vec<BlockSeen> {
        let mut newest = block(first, 1, 0);
        newest.difficulty = U256::from(471_861);
        let mut blocks = vec![newest];
        for elapsed in [3, 12, 25, 40, 9, 1, 14, 2_000] {
            let parent = blocks.last().unwrap();
            let mut child = block(parent.number + 1, 1, 0);
            child.timestamp = parent.timestamp + elapsed;
            child.difficulty = rule.next(&child, parent);
            blocks.push(child);
        }
        blocks.reverse();
        blocks
    }

    fn found(rule: Rule, first: u64, told: Option<u64>) -> Option<Rule> {
        let blocks = chain(rule, first);
        Rule::of(&blocks.iter().collect::<Vec<_>>(), told)
    }

    #[test]
    fn the_rule_is_read_off_the_blocks() {
        assert_eq!(found(Rule::Homestead, 9_000, None), Some(Rule::Homestead));
        assert_eq!(found(Rule::Homestead, 900_000, None), Some(Rule::Homestead));
        let late = Rule::Byzantium(5_000_000);
        assert_eq!(found(late, 6_400_000, None), Some(late));
        assert_eq!(found(late, 9_000, None), None, "nothing shows how late it is");
        assert_eq!(found(late, 9_000, Some(5_000_000)), Some(late), "but a node says so");
        assert_eq!(found(late, 6_400_000, Some(9_000_000)), Some(late), "a node that errs");
    }

    #[test]
    fn the_books_chain_has_blocks_of_20_seconds_in_half_a_year() {
        // Block 9107 of the book has difficulty 471 861; its blocks come every 14.4 s.
        let hashrate = 471_861.0 / 14.4;
        let forecast = forecast(Rule::Homestead, 9_107, hashrate, 14.4).unwrap();
        let (slow, number, seconds) = forecast.milestones[0];
        assert_eq!((slow, number), (20.0, 1_000_000));
        let days = seconds / 86_400.0;
        assert!((165.0..195.0).contains(&days), "{days} days");
        assert!((Rule::Homestead.balance(hashrate, 0) - 14.43).abs() < 0.01);
        assert_eq!(forecast.milestones.len(), MILESTONES.len());
    }
}
