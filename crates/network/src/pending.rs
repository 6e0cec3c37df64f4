//! Callers who have not said yet who they are.
//!
//! Silence must not keep others out, and in a cluster many callers can share one address: so there
//! is always room for one more, at the cost of the address that takes the most.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use devp2p::is_lan;
use tokio_util::sync::CancellationToken;

use crate::SessionId;

/// Such callers at once, unless it is configured.
pub const PENDING_MAX: usize = 50;
/// Of one address that is not of the site.
pub const PENDING_PER_ADDRESS_MAX: usize = 4;

/// Nobody gives way sooner, so that many who call at once are all served, one after the other. With
/// this and 50 places, whoever comes behind 1 000 others waits for 1.5 s.
const GRACE_PERIOD: Duration = Duration::from_millis(75);

/// The callers, oldest first.
#[derive(Debug)]
pub(crate) struct Pending {
    max: usize,
    callers: Vec<Caller>,
}

#[derive(Debug)]
struct Caller {
    session: SessionId,
    ip: IpAddr,
    since: Instant,
    stop: CancellationToken,
}

impl Pending {
    pub(crate) fn new(max: usize) -> Self {
        Self { max: max.max(1), callers: Vec::new() }
    }

    /// Whether there is room for one more, or somebody who can give way.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.callers.len() < self.max || self.callers.iter().any(|caller| caller.had_time(now))
    }

    /// Whether a caller from an address may begin.
    pub(crate) fn admits(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        is_lan(ip) || self.count(ip) < PENDING_PER_ADDRESS_MAX
    }

    /// Takes a caller in. The token ends its connection, if that has to give way; who gives way
    /// now is returned with the time when it called.
    pub(crate) fn add(
        &mut self,
        session: SessionId,
        ip: IpAddr,
        now: Instant,
    ) -> (CancellationToken, Option<(SessionId, Instant)>) {
        let evicted = if self.callers.len() >= self.max { self.evict(now) } else { None };
        let stop = CancellationToken::new();
        let ip = ip.to_canonical();
        self.callers.push(Caller { session, ip, since: now, stop: stop.clone() });
        (stop, evicted)
    }

    /// Forgets a caller who is known now, or gone.
    pub(crate) fn remove(&mut self, session: SessionId) {
        self.callers.retain(|caller| caller.session != session);
    }

    /// The oldest of the address that has most, of those who had time.
    fn evict(&mut self, now: Instant) -> Option<(SessionId, Instant)> {
        let all = self.callers.iter().enumerate();
        let had_time = all.filter(|(_, caller)| caller.had_time(now));
        let counts: Vec<(usize, usize)> =
            had_time.map(|(place, caller)| (place, self.count(caller.ip))).collect();
        let most = counts.iter().map(|(_, count)| count).max()?;
        let (place, _) = counts.iter().find(|(_, count)| count == most)?;
        let caller = self.callers.remove(*place);
        caller.stop.cancel();
        Some((caller.session, caller.since))
    }

    fn count(&self, ip: IpAddr) -> usize {
        self.callers.iter().filter(|caller| caller.ip == ip).count()
    }
}

impl Caller {
    fn had_time(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= GRACE_PERIOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Callers from addresses, numbered in their order, all at one time.
    fn callers(max: usize, ips: &[IpAddr], now: Instant) -> (Pending, Vec<CancellationToken>) {
        let mut pending = Pending::new(max);
        let mut add = |(number, ip): (usize, &IpAddr)| {
            pending.add(SessionId(u64::try_from(number).unwrap()), *ip, now).0
        };
        let tokens = ips.iter().enumerate().map(&mut add).collect();
        (pending, tokens)
    }

    #[test]
    fn at_the_limit_the_oldest_of_the_address_that_has_most_gives_way() {
        let now = Instant::now();
        let (mut pending, tokens) = callers(4, &[ip(1), ip(2), ip(2), ip(3)], now);
        assert!(tokens.iter().all(|token| !token.is_cancelled()));
        let later = now + GRACE_PERIOD;
        let (_, evicted) = pending.add(SessionId(9), ip(4), later);
        assert_eq!(evicted, Some((SessionId(1), now)));
        assert!(tokens[1].is_cancelled());
        // Now all have one: the oldest of all goes.
        let (_, evicted) = pending.add(SessionId(10), ip(5), later);
        assert_eq!(evicted, Some((SessionId(0), now)));
        assert_eq!(pending.callers.len(), 4);
    }

    #[test]
    fn who_called_a_moment_ago_does_not_give_way() {
        let now = Instant::now();
        let (pending, _) = callers(2, &[ip(1)], now);
        assert!(pending.is_open(now), "there is room");
        let (mut pending, tokens) = callers(2, &[ip(1), ip(1)], now);
        let early = now + GRACE_PERIOD - Duration::from_millis(1);
        assert!(!pending.is_open(early));
        assert!(pending.is_open(now + GRACE_PERIOD));
        pending.remove(SessionId(1));
        let (_, evicted) = pending.add(SessionId(2), ip(1), early);
        assert_eq!((evicted, tokens[0].is_cancelled()), (None, false));
        let (_, evicted) = pending.add(SessionId(3), ip(1), now + GRACE_PERIOD);
        assert_eq!(evicted, Some((SessionId(0), now)));
        assert!(!pending.is_open(now + GRACE_PERIOD));
    }

    #[test]
    fn a_flood_from_one_address_does_not_touch_a_caller_from_another() {
        let mut now = Instant::now();
        let (mut pending, tokens) = callers(PENDING_MAX, &[ip(1)], now);
        for number in 1..1_000 {
            now += GRACE_PERIOD;
            assert!(pending.is_open(now));
            pending.add(SessionId(number), ip(2), now);
        }
        assert_eq!(pending.callers.len(), PENDING_MAX);
        assert!(!tokens[0].is_cancelled());
    }

    #[test]
    fn who_is_known_takes_no_place() {
        let now = Instant::now();
        let (mut pending, tokens) = callers(2, &[ip(1), ip(2)], now);
        pending.remove(SessionId(0));
        assert_eq!(pending.add(SessionId(9), ip(3), now + GRACE_PERIOD).1, None);
        assert!(tokens.iter().all(|token| !token.is_cancelled()));
    }

    #[test]
    fn an_address_that_is_not_of_the_site_has_few_places() {
        let (public, now) = (IpAddr::from([8, 8, 8, 8]), Instant::now());
        let (pending, _) = callers(PENDING_MAX, &[public; PENDING_PER_ADDRESS_MAX - 1], now);
        assert!(pending.admits(public));
        let (pending, _) = callers(PENDING_MAX, &[public; PENDING_PER_ADDRESS_MAX], now);
        assert!(!pending.admits(public));
        assert!(!pending.admits("::ffff:8.8.8.8".parse().unwrap()));
        assert!(pending.admits(IpAddr::from([8, 8, 8, 9])));
        let (pending, _) = callers(PENDING_MAX, &[ip(1); PENDING_MAX], now);
        assert!(pending.admits(ip(1)));
    }
}
