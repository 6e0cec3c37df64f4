//! What this process may use of its machine: the limits of its control groups, versions 1 and 2.
//!
//! A limit counts wherever it is set between the process's group and the root, so the lowest one
//! on the way up is the answer. Inside a container the group's path may not be visible; then the
//! root that is mounted there is the container's own group.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where control groups of version 2 are mounted: alone, or beside version 1.
const UNIFIED: [&str; 2] = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];
/// Limits from here on mean none: version 1 writes the largest number of whole pages.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// How many processors' worth of time this process may use, if that is limited: 0.4 is 40 ms in
/// each 100 ms.
#[must_use]
pub fn cpu_quota() -> Option<f64> {
    cpu_quota_below(Path::new("/"))
}

/// How much memory this process may use together with others of its group, in bytes, if that is
/// limited. Files that are cached on its behalf count, but give way.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    memory_limit_below(Path::new("/"))
}

/// [`cpu_quota`] as found below another root than `/`.
#[must_use]
pub fn cpu_quota_below(root: &Path) -> Option<f64> {
    let version_2 = groups(root, None).into_iter().filter_map(|group| {
        let text = fs::read_to_string(group.join("cpu.max")).ok()?;
        let (quota, period) = text.split_once(' ')?;
        share(quota.parse().ok()?, period.trim().parse().ok()?)
    });
    let version_1 = groups(root, Some("cpu")).into_iter().filter_map(|group| {
        // No limit is -1.
        let quota: i64 = number(&group.join("cpu.cfs_quota_us"))?;
        share(quota.try_into().ok()?, number(&group.join("cpu.cfs_period_us"))?)
    });
    version_2.chain(version_1).min_by(f64::total_cmp)
}

/// [`memory_limit`] as found below another root than `/`.
#[must_use]
pub fn memory_limit_below(root: &Path) -> Option<u64> {
    let files = [(None, "memory.max"), (Some("memory"), "memory.limit_in_bytes")];
    let limits = files.into_iter().flat_map(|(controller, name)| {
        groups(root, controller).into_iter().map(move |group| group.join(name))
    });
    limits.filter_map(|file| number(&file)).filter(|limit| *limit < UNLIMITED_BYTES).min()
}

fn share(quota: u64, period: u64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

fn number<T: std::str::FromStr>(path: &Path) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The folders of this process's group and of all above it, for a controller of version 1 or for
/// version 2.
fn groups(root: &Path, controller: Option<&str>) -> Vec<PathBuf> {
    let Ok(text) = fs::read_to_string(root.join("proc/self/cgroup")) else { return Vec::new() };
    let found = text.lines().find_map(|line| {
        // "4:cpu,cpuacct:/a/b" in version 1, "0::/a/b" in version 2.
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        let ours = match controller {
            Some(controller) => names.split(',').any(|name| name == controller),
            None => names.is_empty(),
        };
        ours.then_some((names, path))
    });
    let Some((names, path)) = found else { return Vec::new() };
    let mounts: Vec<PathBuf> = match controller {
        None => UNIFIED.map(|mount| root.join(mount)).to_vec(),
        Some(controller) => {
            [names, controller].map(|name| root.join("sys/fs/cgroup").join(name)).to_vec()
        }
    };
    let relative = Path::new(path.trim_start_matches('/'));
    let ways_up = relative.ancestors().filter(|part| !part.starts_with(".."));
    ways_up.flat_map(|part| mounts.iter().map(move |mount| mount.join(part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn reads_the_limits_of_a_container_of_version_2() {
        let root = root(&[
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/cpu.max", "40000 100000\n"),
            ("sys/fs/cgroup/memory.max", "2147483648\n"),
        ]);
        assert_eq!(cpu_quota_below(root.path()), Some(0.4));
        assert_eq!(memory_limit_below(root.path()), Some(2 << 30));
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let root = root(&[
            ("proc/self/cgroup", "0::/kubepods/pod1/one\n"),
            ("sys/fs/cgroup/kubepods/pod1/one/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/kubepods/pod1/one/memory.max", "max\n"),
            ("sys/fs/cgroup/kubepods/pod1/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/kubepods/cpu.max", "350000 100000\n"),
            ("sys/fs/cgroup/kubepods/memory.max", "4096\n"),
        ]);
        assert_eq!(cpu_quota_below(root.path()), Some(1.5));
        assert_eq!(memory_limit_below(root.path()), Some(4_096));
    }

    #[test]
    fn reads_the_limits_of_version_1_by_controller() {
        let root = root(&[
            ("proc/self/cgroup", "9:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n0::/\n"),
            ("sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_quota_us", "250000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/docker/a/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes", "1073741824\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(cpu_quota_below(root.path()), Some(2.5));
        assert_eq!(memory_limit_below(root.path()), Some(1 << 30));
    }

    #[test]
    fn a_path_that_is_not_mounted_means_the_mounted_root() {
        let root = root(&[
            ("proc/self/cgroup", "5:cpu:/../../host/a\n6:memory:/host/a\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n"),
        ]);
        assert_eq!(cpu_quota_below(root.path()), Some(2.0));
        assert_eq!(memory_limit_below(root.path()), Some(4_096));
    }

    #[test]
    fn no_limit_and_nonsense_are_no_limit() {
        let empty = root(&[]);
        assert_eq!((cpu_quota_below(empty.path()), memory_limit_below(empty.path())), (None, None));
        let root = root(&[
            ("proc/self/cgroup", "4:cpu:/\n3:memory:/\nrubbish\n0::/\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu.max", "100000 0\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/unified/memory.max", "lots\n"),
        ]);
        assert_eq!((cpu_quota_below(root.path()), memory_limit_below(root.path())), (None, None));
    }
}
