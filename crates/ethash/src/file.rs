//! Files of datasets and caches: kept between starts, and shared by every process of a machine.
//!
//! A file is used only after all of it was read and found right; how that is told, `format`
//! says. It is written under a temporary name, synced and renamed, so that there is never half
//! a file under a name that counts; and it is never written to again, only replaced, so that it
//! can be mapped while others prepare the next one.

mod format;
mod geth;
mod load;
mod lock;
mod obtain;
mod prepare;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
mod write;

use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

pub use self::format::Damage;
pub use self::geth::GethFile;
pub use self::prepare::Preparation;

use self::format::{Kind, Layout, epoch_of};
use self::load::Rejected;
use self::lock::Lock;
use self::obtain::Search;
use self::write::{Output, Source, Temporary, WriteError, remove_unlocked};
use crate::kernel::{Instructions, Row};
use crate::{Dataset, Effort, Epoch, Kernel, KernelError, LightCache, MemoryError, Progress};

/// A folder of files, and folders of geth's that may be read, too.
///
/// Nobody but the node may write to the folder: checksums find accidents and not forgeries.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    geth_folders: Vec<PathBuf>,
}

/// Where a dataset is while it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residence {
    /// In memory of this process, in huge pages if there are some: the fastest.
    Private,
    /// In its file, which all processes of a machine share, and which the system may drop from
    /// memory and read again.
    Mapped,
}

/// A dataset, and how it came.
#[derive(Debug)]
pub struct Obtained {
    /// The dataset.
    pub dataset: Dataset,
    /// Where it is from.
    pub origin: Origin,
    /// What is left to be done if it is not on the disk yet.
    pub unsaved: Option<Unsaved>,
}

/// Where a dataset is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From this file of ours.
    Own(PathBuf),
    /// From this file of geth's.
    Geth(PathBuf),
    /// It was made.
    Made,
}

/// A dataset that can be used but whose file is not on the disk yet. Other processes wait for it
/// until it is saved or this is dropped.
#[derive(Debug)]
pub struct Unsaved {
    folder: PathBuf,
    layout: Layout,
    /// The file if it is written, and what comes before its data.
    unnamed: Option<(Temporary, Vec<u8>)>,
    _lock: Option<Lock>,
}

/// What whoever runs the node should know. Nothing of it is an error: there is another way.
#[derive(Debug)]
pub enum Notice {
    /// A file is not what it should be, and was not used.
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
        /// Whether it was removed: ours are, geth's are not.
        is_removed: bool,
    },
    /// The disk refuses a file, so this process keeps it to itself.
    Unwritable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder's file system has no locks: several processes may make the same file.
    Unlockable {
        /// Which file is not locked.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process makes the file.
    Waiting {
        /// Which.
        path: PathBuf,
    },
    /// The wanted residence is not to be had, so it is the other one.
    FellBack {
        /// Which it is now.
        to: Residence,
        /// Why.
        source: MemoryError,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { path, damage, is_removed } => {
                let fate = if *is_removed { "removed" } else { "ignored" };
                write!(f, "{} {} and was {fate}", path.display(), Chain(damage))
            }
            Self::Unwritable { path, source } => {
                write!(f, "cannot write {}: {source}", path.display())
            }
            Self::Unlockable { path, source } => {
                write!(f, "cannot lock {}: {source}", path.display())
            }
            Self::Waiting { path } => write!(f, "another process makes {}", path.display()),
            Self::FellBack { to: Residence::Private, source } => {
                write!(f, "{}, using private memory instead", Chain(source))
            }
            Self::FellBack { to: Residence::Mapped, source } => {
                write!(f, "{}, using a mapped file instead", Chain(source))
            }
        }
    }
}

/// An error with its causes.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.0.source().map_or(Ok(()), |source| write!(f, ": {}", Chain(source)))
    }
}

/// Why there is no dataset, or no file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The folder or a file in it cannot be written, or not be read where that is needed.
    #[error("cannot write {}", path.display())]
    Disk {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no memory, neither private nor of a file.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

impl FileError {
    fn disk(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Disk { path: path.to_owned(), source }
    }
}

impl Store {
    /// The files in a folder, and geth's in these folders. The folder is created when needed.
    #[must_use]
    pub const fn new(folder: PathBuf, geth_folders: Vec<PathBuf>) -> Self {
        Self { folder, geth_folders }
    }

    /// The dataset of a cache: from a valid file of ours, else from a valid one of geth's, else
    /// made. `None` when told to stop, within 100 ms.
    ///
    /// Of several processes one makes it, and the others wait for its file. Files that are damaged
    /// in any way are never used; they are told to `notice`, and ours are removed. What geth left
    /// has no checksums, so it is only checked for holes and by a sample of 4 096 items; whoever
    /// uses such a dataset must check what it finds by the cache.
    ///
    /// A dataset that had to be made can be used before the disk has it: see [`Unsaved`].
    ///
    /// # Errors
    ///
    /// If there is neither memory nor room on the disk. If only one of them lacks, the other one
    /// is used, with a notice.
    pub fn obtain(
        &self,
        cache: &LightCache,
        residence: Residence,
        effort: Effort<'_>,
        notice: &mut dyn FnMut(Notice),
    ) -> Result<Option<Obtained>, FileError> {
        Search::new(self, cache, residence, effort, notice).run()
    }

    /// Begins with the file of a later epoch, or `None` if it is there or another process is at
    /// it. Whether the file is whole is not looked at: whoever obtains it does.
    ///
    /// # Errors
    ///
    /// If the disk refuses, or has no room for it.
    pub fn prepare<'a>(&self, cache: &'a LightCache) -> Result<Option<Preparation<'a>>, FileError> {
        Preparation::begin(&self.folder, cache)
    }

    /// The cache of an epoch: from a valid file of ours, else made and saved.
    ///
    /// geth's `cache-R23-*` files are not read: they have no checksums, and the one way to check
    /// all of one is to make it again, which a sample does not replace here. A dataset with a wrong
    /// item costs a block of our own that is checked by the cache; a wrong cache checks wrongly.
    ///
    /// # Errors
    ///
    /// If this processor lacks the kernel.
    ///
    /// # Panics
    ///
    /// If the epoch lies beyond [`Epoch::MAX`].
    pub fn cache(
        &self,
        epoch: Epoch,
        kernel: Kernel,
        notice: &mut dyn FnMut(Notice),
    ) -> Result<LightCache, KernelError> {
        let instructions = Instructions::of(kernel)?;
        let sizes = (epoch.cache_bytes(), epoch.dataset_bytes());
        let cache = self.load_cache(epoch, sizes, instructions, notice).unwrap_or_else(|| {
            let cache = LightCache::for_epoch(epoch, instructions);
            self.save_cache(&cache, notice);
            cache
        });
        Ok(cache)
    }

    fn load_cache(
        &self,
        epoch: Epoch,
        (cache_bytes, dataset_bytes): (u64, u64),
        instructions: Instructions,
        notice: &mut dyn FnMut(Notice),
    ) -> Option<LightCache> {
        let layout = Layout::of_cache(epoch, cache_bytes);
        let path = self.path(&layout);
        let (progress, stop) = (Progress::default(), AtomicBool::new(false));
        let effort = Effort::new(1, &progress, &stop);
        match load::read_own(&path, &layout, "a light cache", effort) {
            Ok(rows) => Some(LightCache::of_rows(epoch, rows, dataset_bytes, instructions)),
            Err(Rejected::Damaged(damage)) => {
                // Two processes may do so at once: what they write instead is the same.
                let is_removed = fs::remove_file(&path).is_ok();
                notice(Notice::Damaged { path, damage, is_removed });
                None
            }
            // If there is no memory for it, making it says so.
            Err(Rejected::Missing | Rejected::Memory(_) | Rejected::Stopped) => None,
        }
    }

    fn save_cache(&self, cache: &LightCache, notice: &mut dyn FnMut(Notice)) {
        let layout = Layout::of_cache(cache.epoch(), size_of_val(cache.rows()) as u64);
        let stop = AtomicBool::new(false);
        if let Err(WriteError::Io(source)) = save(&self.folder, &layout, cache.rows(), &stop) {
            notice(Notice::Unwritable { path: self.path(&layout), source });
        }
    }

    /// Removes our dataset files of epochs that lie `keep` or more before the current one. Later
    /// ones stay, and so does what another process is writing.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read, or a file not be removed.
    pub fn prune(&self, current: Epoch, keep: usize) -> Result<(), FileError> {
        self.prune_kind(Kind::Dataset, current, keep)
    }

    /// [`Self::prune`] for cache files.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn prune_caches(&self, current: Epoch, keep: usize) -> Result<(), FileError> {
        self.prune_kind(Kind::Cache, current, keep)
    }

    fn prune_kind(&self, kind: Kind, current: Epoch, keep: usize) -> Result<(), FileError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(FileError::disk(&self.folder))?,
        };
        for entry in entries {
            let path = entry.map_err(FileError::disk(&self.folder))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let Some(epoch) = epoch_of(name, kind) else { continue };
            if epoch.get().saturating_add(keep as u64) > current.get() {
                continue;
            }
            if name.contains('.') {
                remove_unlocked(&path);
            } else {
                fs::remove_file(&path).map_err(FileError::disk(&path))?;
            }
        }
        Ok(())
    }

    fn path(&self, layout: &Layout) -> PathBuf {
        self.folder.join(layout.name())
    }
}

impl Unsaved {
    /// Writes the file of the dataset that this came with, for later starts and for other
    /// processes; the dataset may be used meanwhile. Returns where it is, or `None` if it was told
    /// to stop, which it looks at until the disk syncs.
    ///
    /// # Errors
    ///
    /// If the disk refuses or is full.
    ///
    /// # Panics
    ///
    /// If the dataset is another one.
    pub fn save(self, dataset: &Dataset, stop: &AtomicBool) -> Result<Option<PathBuf>, FileError> {
        let items = dataset.items();
        let is_ours =
            dataset.epoch() == self.layout.epoch && items.len() as u64 == self.layout.items();
        assert!(is_ours, "the dataset is the one that was obtained");
        let path = self.folder.join(self.layout.name());
        let saved = match self.unnamed {
            Some((temporary, before_data)) => {
                temporary.keep(&before_data).map_err(WriteError::from)
            }
            None => save(&self.folder, &self.layout, items, stop),
        };
        match saved {
            Ok(path) => Ok(Some(path)),
            Err(WriteError::Io(source)) => Err(FileError::Disk { path, source }),
            Err(WriteError::Source(_)) => unreachable!("memory is not damaged"),
            Err(WriteError::Stopped) => Ok(None),
        }
    }
}

/// Writes a file of rows that are in memory.
fn save(
    folder: &Path,
    layout: &Layout,
    rows: &[Row],
    stop: &AtomicBool,
) -> Result<PathBuf, WriteError> {
    let progress = Progress::default();
    let effort = Effort::new(1, &progress, stop);
    let temporary = Temporary::create(folder, &layout.name())?;
    temporary.reserve(layout.file_bytes(), effort)?;
    let output = Output { file: &temporary.file, layout, data_start: layout.data_start() };
    let checksums = output.write(Source::Rows(rows), effort)?;
    Ok(temporary.keep(&layout.encode(&checksums))?)
}
