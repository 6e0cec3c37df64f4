//! What JSON-RPC does, for whoever watches. Only names of methods that exist are labels.

use std::{sync::OnceLock, time::Duration};

use metrics::{Histogram, counter, histogram};

const SECONDS: &str = "rpc_request_seconds";
const ERRORS: &str = "rpc_errors_total";

/// Says what is counted.
pub(crate) fn describe() {
    metrics::describe_histogram!(SECONDS, "Seconds that a request took.");
    metrics::describe_counter!(ERRORS, "Requests that were answered with an error.");
}

/// How long the calls of one method take, once there was one: finding the histogram again for each
/// would take a lock.
#[derive(Default)]
pub(crate) struct Durations(OnceLock<Histogram>);

impl Durations {
    /// Some calls of the method were answered, each in this time.
    pub(crate) fn answered(&self, method: &'static str, each: Duration, calls: usize) {
        let histogram = self.0.get_or_init(|| histogram!(SECONDS, "method" => method));
        histogram.record_many(each, calls);
    }
}

/// A call of a method was answered with an error.
pub(crate) fn failed(method: &'static str) {
    counter!(ERRORS, "method" => method).increment(1);
}
