use devp2p::DisconnectReason;
use metrics::{Counter, counter};
use metrics_derive::Metrics;

/// Peers that were dropped.
const DROPPED: &str = "network_dropped_total";
/// Why peers are dropped.
const REASONS: [DisconnectReason; 4] = [
    DisconnectReason::Requested,
    DisconnectReason::UselessPeer,
    DisconnectReason::AlreadyConnected,
    DisconnectReason::SubprotocolError,
];

/// What the network does, for whoever watches.
#[derive(Metrics)]
#[metrics(scope = "network")]
pub(crate) struct NetworkMetrics {
    /// Calls to other nodes.
    pub(crate) dials_total: Counter,
    /// Calls from other nodes that were taken.
    pub(crate) accepted_calls_total: Counter,
    /// Bytes that peers sent, as they were on the wire.
    pub(crate) received_bytes_total: Counter,
    /// Bytes that were sent to peers, as they were on the wire.
    pub(crate) sent_bytes_total: Counter,
}

impl NetworkMetrics {
    /// Says what is counted, and shows from the start on why peers are dropped, so that the first
    /// one is a growth.
    pub(crate) fn new() -> Self {
        metrics::describe_counter!(DROPPED, "Peers that were dropped, by what they were told.");
        for reason in REASONS {
            counter!(DROPPED, "reason" => reason.to_string()).increment(0);
        }
        Self::default()
    }

    /// A peer was dropped; what the peer itself says is no reason here, so the set is closed.
    pub(crate) fn dropped(reason: DisconnectReason) {
        counter!(DROPPED, "reason" => reason.to_string()).increment(1);
    }

    pub(crate) fn carried(&self, (received, sent): (u64, u64)) {
        self.received_bytes_total.increment(received);
        self.sent_bytes_total.increment(sent);
    }
}
