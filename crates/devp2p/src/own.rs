//! How others find this node.

use std::net::IpAddr;

use primitives::ForkId;
use tokio::sync::watch;

use crate::{Enr, LocalRecord, NodeRecord};

/// How others find this node, whenever it is asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OwnNode(pub(crate) watch::Receiver<Own>);

/// What is told.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) node: NodeRecord,
    pub(crate) enr: Enr,
}

/// The record of a node without discovery, which its owner keeps up to date.
#[derive(Debug)]
pub struct OwnRecord {
    local: LocalRecord,
    told: watch::Sender<Own>,
}

impl OwnNode {
    /// Our id and address, as others see it.
    #[must_use]
    pub fn node(&self) -> NodeRecord {
        self.0.borrow().node
    }

    /// Our record.
    #[must_use]
    pub fn enr(&self) -> Enr {
        self.0.borrow().enr.clone()
    }
}

impl Own {
    fn of(local: &LocalRecord) -> Self {
        Self { node: *local.node(), enr: local.enr().clone() }
    }
}

impl OwnRecord {
    /// Tells this record.
    #[must_use]
    pub fn new(local: LocalRecord) -> (Self, OwnNode) {
        let (told, own) = watch::channel(Own::of(&local));
        (Self { local, told }, OwnNode(own))
    }

    /// Says another fork id.
    pub fn set_fork_id(&mut self, fork_id: ForkId) {
        self.local.set_fork_id(fork_id);
        self.tell();
    }

    /// Says another address; the ports stay.
    pub fn set_address(&mut self, ip: IpAddr) {
        self.local.set_address(ip, self.local.node().udp);
        self.tell();
    }

    fn tell(&self) {
        if self.told.borrow().enr.sequence() != self.local.enr().sequence() {
            self.told.send_replace(Own::of(&self.local));
        }
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::SecretKey;

    use super::*;
    use crate::PeerId;

    #[test]
    fn what_is_changed_is_told_and_signed() {
        let key = SecretKey::from_slice(&[7; 32]).unwrap();
        let ip = [10, 0, 0, 1].into();
        let node = NodeRecord { id: PeerId::of(&key), ip, tcp: 30_303, udp: 0 };
        let (mut record, own) = OwnRecord::new(LocalRecord::new(key, node, None, 5));
        assert_eq!((own.node(), own.enr().sequence()), (node, 5));
        let fork_id = ForkId { hash: [1; 4], next: 9 };
        record.set_fork_id(fork_id);
        record.set_fork_id(fork_id);
        record.set_address([10, 0, 0, 2].into());
        let moved = NodeRecord { ip: [10, 0, 0, 2].into(), ..node };
        assert_eq!((own.node(), own.enr().node()), (moved, Some(moved)));
        assert_eq!((own.enr().sequence(), own.enr().fork_id()), (7, Some(fork_id)));
    }
}
