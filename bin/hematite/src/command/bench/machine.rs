//! What the figures were measured on.

use std::{fs, path::Path, thread};

use serde::{Deserialize, Serialize};

use crate::machine::{cpu_quota_below, memory_limit_below};

/// A load average from here on, per thread that may be used, means that others were working.
const BUSY_LOAD: f64 = 0.25;

/// A machine, as far as it decides the figures, and as this process may use it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// The processor's model.
    pub cpu: String,
    /// The processor's architecture, as Rust names it.
    pub architecture: String,
    /// Processors of the machine that are switched on.
    pub cores: usize,
    /// Threads that run at once for this process, by its affinity and quota.
    pub threads: usize,
    /// Processors' worth of time that its control group may use.
    pub quota: Option<f64>,
    /// Bytes of memory that its control group may use.
    pub memory_limit: Option<u64>,
    /// Bytes of memory of the machine.
    pub memory: u64,
    /// Bytes of memory that were not in use at the start.
    pub memory_available: u64,
    /// The operating system's kernel.
    pub kernel: String,
    /// How huge pages are given out.
    pub huge_pages: HugePages,
    /// Load averages over 1, 5 and 15 minutes at the start.
    pub load: Vec<f64>,
    /// Whether others were working at the start.
    pub busy: bool,
    /// Whether it is a virtual machine, as far as the processor tells.
    pub virtual_machine: bool,
}

/// How huge pages are given out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HugePages {
    /// The mode of transparent ones: `always`, `madvise` or `never`.
    pub transparent: String,
    /// Explicit ones that are free.
    pub explicit_free: u64,
    /// Bytes of an explicit one.
    pub explicit_bytes: u64,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let mut machine = Self::below(Path::new("/"));
        let uname = rustix::system::uname();
        machine.kernel =
            format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy());
        machine.architecture = std::env::consts::ARCH.to_owned();
        machine.threads = thread::available_parallelism().map_or(1, usize::from);
        machine.busy =
            machine.load.first().is_some_and(|load| *load >= BUSY_LOAD * machine.threads as f64);
        machine
    }

    /// What the files below a root say.
    fn below(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let cpuinfo = read("proc/cpuinfo");
        let meminfo = read("proc/meminfo");
        let bytes = |name| kibibytes(&meminfo, name).unwrap_or(0) * 1_024;
        let count = |name| field(&meminfo, name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let transparent = read("sys/kernel/mm/transparent_hugepage/enabled");
        let flags = field(&cpuinfo, "flags").unwrap_or_default();
        Self {
            cpu: model(&cpuinfo),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            quota: cpu_quota_below(root),
            memory_limit: memory_limit_below(root),
            memory: bytes("MemTotal"),
            memory_available: bytes("MemAvailable"),
            huge_pages: HugePages {
                transparent: chosen(&transparent).unwrap_or("not supported").to_owned(),
                explicit_free: count("HugePages_Free"),
                explicit_bytes: bytes("Hugepagesize"),
            },
            load: read("proc/loadavg")
                .split(' ')
                .take(3)
                .filter_map(|it| it.parse().ok())
                .collect(),
            virtual_machine: flags.split(' ').any(|flag| flag == "hypervisor"),
            ..Self::default()
        }
    }

    /// How much memory this process can have at most, in bytes, and what limits it; `None` if the
    /// system does not tell.
    #[must_use]
    pub fn memory_usable(&self) -> Option<(u64, &'static str)> {
        let limits = [
            (self.memory_limit, "the limit of its control group"),
            (Some(self.memory_available).filter(|bytes| *bytes > 0), "what is free on the machine"),
        ];
        limits.into_iter().filter_map(|(bytes, why)| Some((bytes?, why))).min_by_key(|it| it.0)
    }

    /// The machine in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut parts = vec![self.cpu.clone(), threads(self.threads)];
        if self.cores > self.threads {
            parts[1] += &format!(" of {} cores", self.cores);
        }
        if let Some(quota) = self.quota {
            parts.push(format!("quota {quota}"));
        }
        parts.push(format!("{:.0} GiB", self.memory as f64 / f64::from(1 << 30)));
        parts.push(self.kernel.clone());
        parts.retain(|part| !part.is_empty());
        parts.join(" · ")
    }

    /// Everything that is known, in words.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
        let HugePages { transparent, explicit_free, explicit_bytes } = &self.huge_pages;
        let mib = explicit_bytes >> 20;
        let load: Vec<String> = self.load.iter().map(|load| format!("{load:.2}")).collect();
        vec![
            ("Processor", self.cpu.clone()),
            ("Architecture", self.architecture.clone()),
            ("Cores", self.cores.to_string()),
            ("Usable threads", self.threads.to_string()),
            ("CPU quota", self.quota.map_or("none".into(), |quota| format!("{quota} cores"))),
            ("Memory", format!("{}, {} free", gib(self.memory), gib(self.memory_available))),
            ("Memory limit", self.memory_limit.map_or("none".into(), gib)),
            ("Transparent huge pages", transparent.clone()),
            ("Explicit huge pages", format!("{explicit_free} of {mib} MiB free")),
            ("Operating system", self.kernel.clone()),
            ("Virtual machine", if self.virtual_machine { "yes" } else { "not known" }.into()),
            ("Load at the start", load.join(" ")),
        ]
    }
}

/// `1 thread`, `2 threads`.
pub(super) fn threads(count: usize) -> String {
    if count == 1 { "1 thread".to_owned() } else { format!("{count} threads") }
}

/// What a large mapping of this process lies on, which is what it was given and not what it asked
/// for; `None` if the system does not tell.
pub(super) fn pages_of(bytes: u64) -> Option<&'static str> {
    pages_in(&fs::read_to_string("/proc/self/smaps_rollup").ok()?, bytes)
}

fn pages_in(rollup: &str, bytes: u64) -> Option<&'static str> {
    let share = |name| Some(kibibytes(rollup, name)? as f64 * 1_024.0 / bytes.max(1) as f64);
    let explicit = share("Private_Hugetlb")? + share("Shared_Hugetlb")?;
    let (anonymous, transparent) = (share("Anonymous")?, share("AnonHugePages")?);
    Some(if explicit > 0.9 {
        "huge-explicit"
    } else if anonymous < 0.5 {
        "file"
    } else if transparent > 0.9 {
        "huge-transparent"
    } else if transparent > 0.1 {
        "huge-partly"
    } else {
        "small"
    })
}

/// The processor's name; ARM writes numbers where others write one.
fn model(cpuinfo: &str) -> String {
    let named = ["model name", "Model", "cpu model", "Hardware"];
    if let Some(name) = named.iter().find_map(|name| field(cpuinfo, name)) {
        return name.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    match (field(cpuinfo, "CPU implementer"), field(cpuinfo, "CPU part")) {
        (Some(implementer), Some(part)) => arm(implementer, part),
        _ => "unknown processor".to_owned(),
    }
}

/// The processors that clouds rent out; numbers for the others.
fn arm(implementer: &str, part: &str) -> String {
    let core = match (implementer, part) {
        ("0x41", "0xd08") => "Cortex-A72",
        ("0x41", "0xd0b") => "Cortex-A76",
        ("0x41", "0xd0c") => "Neoverse N1",
        ("0x41", "0xd40") => "Neoverse V1",
        ("0x41", "0xd49") => "Neoverse N2",
        ("0x41", "0xd4f") => "Neoverse V2",
        ("0xc0", "0xac3") => "Ampere-1",
        _ => return format!("ARM processor {implementer} part {part}"),
    };
    core.to_owned()
}

/// The value after `name:` in the first line that begins so.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix(" kB")?.trim().parse().ok()
}

/// The word in brackets.
fn chosen(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn reads_what_a_machine_says_about_itself() {
        let root = tempfile::tempdir().unwrap();
        let cpu = "processor\t: 0\nmodel name\t: AMD  EPYC 9654\nflags\t\t: fpu hypervisor avx2\n";
        write(root.path(), "proc/cpuinfo", &format!("{cpu}\n{cpu}"));
        write(
            root.path(),
            "proc/meminfo",
            "MemTotal:  8388608 kB\nMemAvailable:  4194304 kB\nHugePages_Free:   7\nHugepagesize: 2048 kB\n",
        );
        write(root.path(), "proc/loadavg", "0.50 0.25 0.10 1/99 1234\n");
        write(
            root.path(),
            "sys/kernel/mm/transparent_hugepage/enabled",
            "always [madvise] never\n",
        );
        let machine = Machine::below(root.path());
        assert_eq!((machine.cpu.as_str(), machine.cores), ("AMD EPYC 9654", 2));
        assert_eq!((machine.memory, machine.memory_available), (8 << 30, 4 << 30));
        assert_eq!(machine.huge_pages.transparent, "madvise");
        assert_eq!(
            (machine.huge_pages.explicit_free, machine.huge_pages.explicit_bytes),
            (7, 2 << 20)
        );
        assert_eq!(machine.load, [0.5, 0.25, 0.1]);
        assert!(machine.virtual_machine);
        assert_eq!(machine.memory_usable(), Some((4 << 30, "what is free on the machine")));
    }

    #[test]
    fn a_system_that_tells_nothing_is_no_failure() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::below(root.path());
        assert_eq!(machine.cpu, "unknown processor");
        assert_eq!(machine.huge_pages.transparent, "not supported");
        assert_eq!(machine.memory_usable(), None);
    }

    #[test]
    fn arm_processors_are_named() {
        let text = |part| format!("processor : 0\nCPU implementer : 0x41\nCPU part : {part}\n");
        assert_eq!(model(&text("0xd0c")), "Neoverse N1");
        assert_eq!(model(&text("0xfff")), "ARM processor 0x41 part 0xfff");
    }

    #[test]
    fn pages_are_what_was_given() {
        let gib = 1 << 30;
        let gib_in_kib = 1 << 20;
        let pages = |anonymous: u64, huge: u64, explicit: u64| {
            let rollup = format!(
                "55-7f ---p 0 00:00 0 [rollup]\nRss: 9 kB\nAnonymous: {anonymous} kB\n\
                 AnonHugePages: {huge} kB\nShared_Hugetlb: 0 kB\nPrivate_Hugetlb: {explicit} kB\n"
            );
            pages_in(&rollup, gib)
        };
        assert_eq!(pages(gib_in_kib, gib_in_kib, 0), Some("huge-transparent"));
        assert_eq!(pages(gib_in_kib, gib_in_kib / 2, 0), Some("huge-partly"));
        assert_eq!(pages(gib_in_kib, 2_048, 0), Some("small"));
        assert_eq!(pages(9, 0, gib_in_kib), Some("huge-explicit"));
        assert_eq!(pages(9, 0, 0), Some("file"));
        assert_eq!(pages_in("", gib), None);
    }
}
