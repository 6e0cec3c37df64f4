//! What JSON-RPC does, for whoever watches. Only names of methods that exist are labels.

use std::time::Duration;

use metrics::{counter, histogram};

const SECONDS: &str = "rpc_request_seconds";
const ERRORS: &str = "rpc_errors_total";

/// Says what is counted.
pub(crate) fn describe() {
    metrics::describe_histogram!(SECONDS, "Seconds that a request took.");
    metrics::describe_counter!(ERRORS, "Requests that were answered with an error.");
}

/// Some calls of a method were answered, each in this time.
pub(crate) fn answered(method: &'static str, each: Duration, calls: usize) {
    histogram!(SECONDS, "method" => method).record_many(each, calls);
}

/// A call of a method was answered with an error.
pub(crate) fn failed(method: &'static str) {
    counter!(ERRORS, "method" => method).increment(1);
}
