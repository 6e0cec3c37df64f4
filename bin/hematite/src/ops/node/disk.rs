//! How much room there is, and how much is taken. A disk that does not answer holds up nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{Criterion, FREE_BYTES_MIN, Family};

/// How often it is looked at.
const PERIOD: Duration = Duration::from_secs(15);
/// Files that are added up; a data directory has thousands.
const FILES_MAX: usize = 100_000;

/// A disk and our part of it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) free: u64,
    pub(super) size: u64,
    pub(super) used: u64,
}

/// Looks at a disk now and then, on a thread that may wait for it.
#[derive(Debug)]
pub(super) struct DiskWatch {
    directory: Option<PathBuf>,
    latest: Option<Disk>,
    looked: Option<Instant>,
    looking: JoinSet<Option<Disk>>,
}

impl DiskWatch {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory, latest: None, looked: None, looking: JoinSet::new() }
    }

    /// What was found last.
    pub(super) fn look(&mut self, now: Instant) -> Option<Disk> {
        if let Some(Ok(found)) = self.looking.try_join_next() {
            self.latest = found;
        }
        let is_due = self.looked.is_none_or(|looked| now - looked >= PERIOD);
        if let Some(directory) = &self.directory
            && is_due
            && self.looking.is_empty()
        {
            self.looked = Some(now);
            let directory = directory.clone();
            self.looking.spawn_blocking(move || Disk::at(&directory));
        }
        self.latest
    }
}

impl Disk {
    /// `None` if the system does not say.
    fn at(directory: &Path) -> Option<Self> {
        let found = rustix::fs::statvfs(directory).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        let used = used_bytes(directory);
        Some(Self { free: bytes(found.f_bavail), size: bytes(found.f_blocks), used })
    }

    pub(super) fn criterion(self) -> Criterion {
        let words = format!("{} MiB free of at least {}", self.free >> 20, FREE_BYTES_MIN >> 20);
        Criterion::new("disk", self.free >= FREE_BYTES_MIN, words)
    }

    pub(super) fn families(&self) -> Vec<Family> {
        let gauge = |name, help, bytes: u64| Family::gauge(name, help, bytes as f64);
        vec![
            gauge("storage_free_bytes", "Room on the disk of the data directory.", self.free),
            gauge("storage_size_bytes", "Size of the disk of the data directory.", self.size),
            gauge("storage_used_bytes", "What the node's files take, DAGs among them.", self.used),
        ]
    }
}

/// What all files of a folder take. Files that vanish meanwhile take nothing.
fn used_bytes(directory: &Path) -> u64 {
    let (mut folders, mut files, mut bytes) = (vec![directory.to_owned()], 0, 0_u64);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            files += 1;
            if files > FILES_MAX {
                return bytes;
            }
            match entry.metadata() {
                Ok(about) if about.is_dir() => folders.push(entry.path()),
                Ok(about) => bytes = bytes.saturating_add(about.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_all_folders_are_added_up_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(folder.path().join("a"), [0; 1_000]).unwrap();
        fs::write(inner.join("b"), [0; 24]).unwrap();
        assert_eq!(used_bytes(folder.path()), 1_024);
        std::os::unix::fs::symlink(folder.path(), inner.join("up")).unwrap();
        assert!(used_bytes(folder.path()) < 2_048);
        let disk = Disk::at(folder.path()).unwrap();
        assert!(disk.size >= disk.free && disk.size > 0);
        assert_eq!(Disk::at(&inner.join("none")), None);
    }

    #[test]
    fn a_disk_that_is_nearly_full_makes_a_node_unready() {
        let good = |free| {
            let disk = Disk { free, size: 1 << 40, used: 0 };
            disk.criterion().check(Default::default()).good
        };
        assert!(good(FREE_BYTES_MIN));
        assert!(!good(FREE_BYTES_MIN - 1));
    }

    #[tokio::test]
    async fn what_was_found_last_is_shown_while_it_is_looked_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mut watch, now) = (DiskWatch::new(Some(folder.path().to_owned())), Instant::now());
        assert_eq!(watch.look(now), None);
        let found = watch.looking.join_next().await.unwrap().unwrap();
        watch.latest = found;
        assert!(watch.look(now).is_some());
        assert!(watch.looking.is_empty(), "it is not due");
        fs::write(folder.path().join("a"), [0; 77]).unwrap();
        watch.look(now + PERIOD);
        let found = watch.looking.join_next().await.unwrap().unwrap();
        assert_eq!(found.unwrap().used, 77);
    }
}
