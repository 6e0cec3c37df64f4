//! What this process takes of its machine, as the system tells.

use std::{fs, path::Path, time::SystemTime};

use super::exposition::Family;

/// Descriptors that are counted; a process that has more shows this number.
const DESCRIPTORS_MAX: usize = 1 << 20;

/// The unit of times in `/proc`: Linux tells programs 100, however it counts itself.
const TICKS_PER_SECOND: f64 = 100.0;

/// What this process takes. `None` where the system does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Time on processors, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory that is in use, in bytes.
    pub resident_bytes: Option<u64>,
    /// The part of it that no file holds, in bytes.
    pub anonymous_bytes: Option<u64>,
    /// Addresses that are in use, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// Descriptors at most.
    pub descriptors_max: Option<u64>,
    /// Bytes read from disks.
    pub read_bytes: Option<u64>,
    /// Bytes written to disks.
    pub written_bytes: Option<u64>,
    /// Seconds since the process began.
    pub age_seconds: Option<f64>,
}

impl Usage {
    /// Of this process, now.
    #[must_use]
    pub fn now() -> Self {
        let mut usage = Self::below(Path::new("/proc"));
        usage.descriptors = fs::read_dir("/proc/self/fd").ok().map(|entries| {
            u64::try_from(entries.take(DESCRIPTORS_MAX).count()).unwrap_or(u64::MAX)
        });
        #[cfg(target_os = "linux")]
        {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            usage.descriptors_max = limit.current;
        }
        usage
    }

    /// What the files of `/proc` say, wherever that is.
    fn below(proc: &Path) -> Self {
        let read = |name: &str| fs::read_to_string(proc.join(name)).unwrap_or_default();
        let (status, io, stat) = (read("self/status"), read("self/io"), read("self/stat"));
        let kib = |name: &str| field(&status, name).map(|kib| kib << 10);
        // The name may hold spaces and parentheses; the first field after it has number 3.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().collect())
            .unwrap_or_default();
        let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let cpu_ticks = ticks(14).zip(ticks(15)).map(|(user, system)| user + system);
        let uptime: Option<f64> =
            read("uptime").split_whitespace().next().and_then(|seconds| seconds.parse().ok());
        Self {
            cpu_seconds: cpu_ticks.map(|ticks| ticks / TICKS_PER_SECOND),
            resident_bytes: kib("VmRSS:"),
            anonymous_bytes: kib("RssAnon:"),
            virtual_bytes: kib("VmSize:"),
            threads: field(&status, "Threads:"),
            read_bytes: field(&io, "read_bytes:"),
            written_bytes: field(&io, "write_bytes:"),
            age_seconds: uptime.zip(ticks(22)).map(|(now, start)| now - start / TICKS_PER_SECOND),
            ..Self::default()
        }
    }

    /// Under the names that all processes use.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let whole = |value: Option<u64>| value.map(|value| value as f64);
        let started = self.age_seconds.and_then(|age| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
            Some(now.as_secs_f64() - age)
        });
        let gauges = [
            ("process_resident_memory_bytes", "Memory in use.", whole(self.resident_bytes)),
            (
                "process_anonymous_memory_bytes",
                "Memory in use that no file holds.",
                whole(self.anonymous_bytes),
            ),
            ("process_virtual_memory_bytes", "Addresses in use.", whole(self.virtual_bytes)),
            ("process_threads", "Threads.", whole(self.threads)),
            ("process_open_fds", "Open descriptors.", whole(self.descriptors)),
            ("process_max_fds", "Descriptors at most.", whole(self.descriptors_max)),
            ("process_start_time_seconds", "When the process began, since 1970.", started),
        ];
        let counters = [
            ("process_cpu_seconds_total", "Time on processors.", self.cpu_seconds),
            ("process_disk_read_bytes_total", "Read from disks.", whole(self.read_bytes)),
            ("process_disk_written_bytes_total", "Written to disks.", whole(self.written_bytes)),
        ];
        let gauges = gauges
            .into_iter()
            .filter_map(|(name, help, value)| Some(Family::gauge(name, help, value?)));
        let counters = counters
            .into_iter()
            .filter_map(|(name, help, value)| Some(Family::counter(name, help, value?)));
        gauges.chain(counters).collect()
    }
}

/// Time that this process has spent on processors, in seconds.
#[must_use]
pub fn cpu_seconds() -> Option<f64> {
    Usage::below(Path::new("/proc")).cpu_seconds
}

fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_takes_memory_time_and_descriptors() {
        let usage = Usage::now();
        assert!(usage.resident_bytes.unwrap() > 1 << 20);
        assert!(usage.threads.unwrap() >= 1);
        assert!(usage.descriptors.unwrap() >= 3);
        assert!(usage.descriptors_max.unwrap() >= usage.descriptors.unwrap());
        assert!(usage.age_seconds.unwrap() >= 0.0);
        assert!(usage.cpu_seconds.is_some());
    }

    #[test]
    fn reads_what_is_there_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Usage::below(folder.path()), Usage::default());
        fs::create_dir(folder.path().join("self")).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("self/status", "Name:\tx\nVmSize:\t 20 kB\nVmRSS:\t 10 kB\nThreads:\t7\n");
        write("self/io", "rchar: 9\nread_bytes: 4096\nwrite_bytes: junk\n");
        let rest = "S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 7 0 1000 0 0";
        write("self/stat", &format!("42 (a ) b) {rest}"));
        write("uptime", "30.0 1.0\n");
        let usage = Usage::below(folder.path());
        assert_eq!((usage.virtual_bytes, usage.resident_bytes), (Some(20_480), Some(10_240)));
        assert_eq!(
            (usage.threads, usage.read_bytes, usage.written_bytes),
            (Some(7), Some(4_096), None)
        );
        assert_eq!(usage.cpu_seconds, Some(200.0 / TICKS_PER_SECOND));
        assert_eq!(usage.age_seconds, Some(30.0 - 1_000.0 / TICKS_PER_SECOND));
    }
}
