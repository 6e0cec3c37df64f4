//! The same numbers under geth's names and with geth's types, for the dashboards that people have:
//! the path of the registry with `_` for `/`, and a gauge whatever it counts.
//!
//! Only what means the same here is shown: a dashboard is better without a line than with a wrong
//! one.

use super::{
    exposition::{Family, Kind, Sample},
    recorder::{Distribution, Registry},
};

/// The shares that geth shows of what takes time.
const QUANTILES: [(&str, f64); 6] = [
    ("0.5", 0.5),
    ("0.75", 0.75),
    ("0.95", 0.95),
    ("0.99", 0.99),
    ("0.999", 0.999),
    ("0.9999", 0.9999),
];
/// geth measures time in these.
const NANOSECONDS: f64 = 1e9;

/// Sums of our numbers by geth's name.
const SUMS: [(&str, &str); 21] = [
    ("chain_head_block", "chain_head_number"),
    ("chain_head_header", "chain_head_number"),
    ("chain_head_receipt", "chain_head_number"),
    ("chain_reorg_add", "chain_reorg_adopted_blocks_total"),
    ("chain_reorg_drop", "chain_retired_blocks_total"),
    ("eth_db_chaindata_disk_size", "storage_used_bytes"),
    ("eth_db_chaindata_disk_read", "process_disk_read_bytes_total"),
    ("eth_db_chaindata_disk_write", "process_disk_written_bytes_total"),
    ("p2p_peers", "network_peers"),
    ("p2p_dials", "network_dials_total"),
    ("p2p_serves", "network_accepted_calls_total"),
    ("p2p_ingress", "network_received_bytes_total"),
    ("p2p_egress", "network_sent_bytes_total"),
    ("rpc_failure", "rpc_errors_total"),
    ("system_cpu_threads", "process_threads"),
    ("system_disk_readbytes", "process_disk_read_bytes_total"),
    ("system_disk_writebytes", "process_disk_written_bytes_total"),
    ("system_memory_held", "process_resident_memory_bytes"),
    ("system_memory_used", "process_anonymous_memory_bytes"),
    ("txpool_valid", "txpool_accepted_total"),
    ("txpool_invalid", "txpool_refused_total"),
];
/// What takes time, by geth's name.
const TIMERS: [(&str, &str); 4] = [
    ("chain_inserts", "chain_import_seconds"),
    ("chain_execution", "chain_execution_seconds"),
    ("chain_write", "chain_commit_seconds"),
    ("rpc_duration_all", "rpc_request_seconds"),
];

/// Everything that geth has too, out of our numbers. The load is in processors.
#[must_use]
pub fn families(registry: &Registry, ours: &[Family], load: f64) -> Vec<Family> {
    let sum = |name: &str| {
        let family = ours.iter().find(|family| family.name == name)?;
        let plain = family.samples.iter().filter(|sample| sample.suffix.is_empty());
        plain.map(|sample| sample.value).reduce(|sum, value| sum + value)
    };
    let gauge = |name: &str, value: f64| Family::gauge(name, "", value);
    let sums = SUMS.iter().filter_map(|(theirs, name)| Some(gauge(theirs, sum(name)?)));
    let mut families: Vec<Family> = sums.collect();
    for pool in ["pending", "queued"] {
        let held = registry.sum("txpool_transactions", &[("pool", pool)]);
        families.extend(held.map(|held| gauge(&format!("txpool_{pool}"), held)));
    }
    for (theirs, name) in TIMERS {
        families.extend(registry.distribution(name).map(|times| timer(theirs, &times)));
    }
    let count = |name: &str| registry.distribution(name).map(|found| found.count() as f64);
    families.extend(count("chain_reorg_blocks").map(|count| gauge("chain_reorg_executes", count)));
    if let Some(requests) = count("rpc_request_seconds") {
        let failures = sum("rpc_errors_total").unwrap_or(0.0);
        families.push(gauge("rpc_requests", requests));
        families.push(gauge("rpc_success", (requests - failures).max(0.0)));
    }
    families.push(gauge("system_cpu_procload", (load * 100.0).round()));
    families
}

fn timer(name: &str, times: &Distribution) -> Family {
    let mut family = Family::new(name, "", Kind::Summary);
    for (label, share) in QUANTILES {
        let value = (times.quantile(share) * NANOSECONDS).round();
        family.samples.push(Sample::labelled(&[("quantile", label)], value));
    }
    let count = times.count() as f64;
    family.samples.push(Sample { suffix: "_count", ..Sample::labelled(&[], count) });
    family
}

#[cfg(test)]
mod tests {
    use metrics::{Key, Level, Metadata, Recorder};

    use super::{super::exposition::render, *};

    #[test]
    fn geth_has_gauges_and_summaries_in_nanoseconds_and_nothing_that_is_not_here() {
        let registry = Registry::default();
        let place = Metadata::new("here", Level::INFO, None);
        let gauge = |name: &'static str, labels: &[(&'static str, &'static str)], value: f64| {
            registry.register_gauge(&Key::from_parts(name, labels), &place).set(value);
        };
        gauge("chain_head_number", &[], 7.0);
        gauge("txpool_transactions", &[("pool", "pending")], 3.0);
        let time = registry.register_histogram(&Key::from_name("rpc_request_seconds"), &place);
        time.record_many(0.001, 4);
        let errors = registry.register_counter(&Key::from_name("rpc_errors_total"), &place);
        errors.increment(1);
        let mut ours = registry.families();
        let peers = Family::new("network_peers", "", Kind::Gauge);
        ours.push(peers.with(&[("direction", "inbound")], 2.0).with(&[], 1.0));
        let text = render(families(&registry, &ours, 0.251));
        let expected = [
            "# TYPE chain_head_block gauge",
            "chain_head_block 7",
            "p2p_peers 3",
            "rpc_duration_all_count 4",
            "rpc_failure 1",
            "rpc_requests 4",
            "rpc_success 3",
            "system_cpu_procload 25",
            "txpool_pending 3",
            "# TYPE rpc_duration_all summary",
        ];
        for line in expected {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
        let median = text.lines().find_map(|line| {
            line.strip_prefix("rpc_duration_all{quantile=\"0.5\"} ")?.parse::<f64>().ok()
        });
        assert!((300_000.0..=1_000_000.0).contains(&median.unwrap()), "{text}");
        assert!(!text.contains("txpool_queued") && !text.contains("counter"), "{text}");
    }
}
