//! The ways to a dataset, best first.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::format::Layout;
use super::load::{self, Rejected, Sample, check_sample};
use super::lock::{Attempt, Lock};
use super::write::{Output, Source, Temporary, WriteError};
use super::{FileError, Notice, Obtained, Origin, Residence, Store, Unsaved};
use crate::dataset::MEMORY_PURPOSE;
use crate::kernel::Memory;
use crate::{Dataset, Effort, LightCache, MemoryError, Phase};

/// How often a process that waits looks whether the other one is done.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Rows of a mapping that are brought into memory at once: 64 MiB.
const POPULATED_ROWS: usize = 1 << 20;

/// The search for a dataset.
pub(super) struct Search<'a> {
    store: &'a Store,
    cache: &'a LightCache,
    layout: Layout,
    /// Where it is to be; changes at most once, when that is not to be had.
    residence: Residence,
    has_fallen_back: bool,
    /// What is mapped but has no name yet, and what is to be written before its data.
    unnamed: Option<(Temporary, Vec<u8>)>,
    effort: Effort<'a>,
    notice: &'a mut dyn FnMut(Notice),
}

/// How the search goes on.
enum Step {
    /// This is it.
    Found(Dataset),
    /// It is not to be had this way.
    Next,
    /// Told to stop.
    Stop,
}

/// What is known about the lock.
struct Permit {
    lock: Option<Lock>,
    /// Why files cannot be written, once that is known.
    unwritable: Option<io::ErrorKind>,
    has_waited: bool,
}

/// What a dataset comes from if there is no file of ours.
#[derive(Clone, Copy)]
enum Origins<'a> {
    Cache,
    Geth(&'a Path),
}

/// Why it did not come.
enum Failure {
    /// The disk refuses.
    Io(io::Error),
    /// The source is not to be used.
    Rejected(Rejected),
}

impl<E: Into<Rejected>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Rejected(error.into())
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io(error) => Self::Io(error),
            WriteError::Source(damage) => Self::Rejected(Rejected::Damaged(damage)),
            WriteError::Stopped => Self::Rejected(Rejected::Stopped),
        }
    }
}

impl<'a> Search<'a> {
    pub(super) fn new(
        store: &'a Store,
        cache: &'a LightCache,
        residence: Residence,
        effort: Effort<'a>,
        notice: &'a mut dyn FnMut(Notice),
    ) -> Self {
        let layout = Layout::of_dataset(cache);
        Self {
            store,
            cache,
            layout,
            residence,
            has_fallen_back: false,
            unnamed: None,
            effort,
            notice,
        }
    }

    pub(super) fn run(mut self) -> Result<Option<Obtained>, FileError> {
        // Most often it is there, and nobody needs a lock to read it.
        let own = Origin::Own(self.store.path(&self.layout));
        let mut step = self.load(false)?;
        let mut permit = Permit { lock: None, unwritable: None, has_waited: false };
        if let Step::Next = step {
            step = self.lock(&mut permit);
        }
        if let Step::Next = step
            && permit.has_waited
        {
            // Others waited, too. They should not wait for each other's reading.
            permit.lock = None;
            step = self.load(false)?;
            if let Step::Next = step {
                step = self.lock(&mut permit);
            }
        }
        if let Step::Next = step {
            step = self.load(true)?;
        }
        match step {
            Step::Found(dataset) => Ok(Some(Obtained { dataset, origin: own, unsaved: None })),
            Step::Stop => Ok(None),
            Step::Next => self.produce_any(permit),
        }
    }

    /// There is no file of ours: takes one of geth's, or makes one.
    fn produce_any(mut self, mut permit: Permit) -> Result<Option<Obtained>, FileError> {
        for folder in &self.store.geth_folders {
            let path = folder.join(self.layout.geth_name());
            match self.produce(Origins::Geth(&path), &mut permit)? {
                Step::Found(dataset) => {
                    // In private memory it is as good as a file of ours.
                    let is_unsaved = self.unnamed.is_some();
                    let unsaved = is_unsaved.then(|| self.into_unsaved(permit));
                    return Ok(Some(Obtained { dataset, origin: Origin::Geth(path), unsaved }));
                }
                Step::Stop => return Ok(None),
                Step::Next => {}
            }
        }
        let Step::Found(dataset) = self.produce(Origins::Cache, &mut permit)? else {
            return Ok(None);
        };
        let unsaved = permit.unwritable.is_none().then(|| self.into_unsaved(permit));
        Ok(Some(Obtained { dataset, origin: Origin::Made, unsaved }))
    }

    fn into_unsaved(self, permit: Permit) -> Unsaved {
        Unsaved {
            folder: self.store.folder.clone(),
            layout: self.layout,
            unnamed: self.unnamed,
            _lock: permit.lock,
        }
    }

    /// Takes the lock of the file, and waits until whoever has it gives it back.
    fn lock(&mut self, permit: &mut Permit) -> Step {
        let path = self.store.folder.join(format!("{}.lock", self.layout.name()));
        while !self.effort.is_stopped() {
            let attempt =
                fs::create_dir_all(&self.store.folder).and_then(|()| Lock::ask(path.clone()));
            match attempt {
                Ok(Attempt::Locked(lock)) => permit.lock = Some(lock),
                Ok(Attempt::Held) => {
                    if !permit.has_waited {
                        permit.has_waited = true;
                        self.effort.progress.begin(Phase::Waiting, self.layout.items());
                        (self.notice)(Notice::Waiting { path: self.store.path(&self.layout) });
                    }
                    thread::sleep(POLL_INTERVAL);
                    continue;
                }
                Ok(Attempt::Unsupported(source)) => {
                    (self.notice)(Notice::Unlockable { path, source });
                }
                Err(source) => {
                    permit.unwritable = Some(source.kind());
                    (self.notice)(Notice::Unwritable { path, source });
                }
            }
            return Step::Next;
        }
        Step::Stop
    }

    /// Looks for a file of ours. Whoever has the lock removes a damaged one; the others say
    /// nothing, because it may be another one by the time that they do.
    fn load(&mut self, has_lock: bool) -> Result<Step, FileError> {
        let path = self.store.path(&self.layout);
        loop {
            let read = match self.residence {
                Residence::Private => load::read_own,
                Residence::Mapped => load::map_own,
            };
            let dataset = read(&path, &self.layout, MEMORY_PURPOSE, self.effort)
                .and_then(|memory| self.check(memory, Sample::own(&path)));
            match dataset {
                Ok(dataset) => return Ok(Step::Found(dataset)),
                Err(Rejected::Memory(error)) => self.fall_back(error)?,
                Err(Rejected::Missing) => return Ok(Step::Next),
                Err(Rejected::Damaged(_)) if !has_lock => return Ok(Step::Next),
                Err(Rejected::Damaged(damage)) => {
                    let is_removed = fs::remove_file(&path).is_ok();
                    (self.notice)(Notice::Damaged { path, damage, is_removed });
                    return Ok(Step::Next);
                }
                Err(Rejected::Stopped) => return Ok(Step::Stop),
            }
        }
    }

    /// Gets the dataset from somewhere else than a file of ours.
    fn produce(&mut self, from: Origins<'_>, permit: &mut Permit) -> Result<Step, FileError> {
        loop {
            let dataset = match self.residence {
                Residence::Private => self.produce_private(from),
                Residence::Mapped => self.produce_mapped(from, permit.unwritable),
            };
            match dataset {
                Ok(dataset) => return Ok(Step::Found(dataset)),
                Err(Failure::Io(source)) => self.leave_disk(source, permit)?,
                Err(Failure::Rejected(Rejected::Memory(error))) => self.fall_back(error)?,
                Err(Failure::Rejected(Rejected::Stopped)) => return Ok(Step::Stop),
                Err(Failure::Rejected(Rejected::Missing)) => return Ok(Step::Next),
                Err(Failure::Rejected(Rejected::Damaged(damage))) => {
                    let Origins::Geth(path) = from else {
                        unreachable!("what is made is not damaged")
                    };
                    let path = path.to_owned();
                    (self.notice)(Notice::Damaged { path, damage, is_removed: false });
                    return Ok(Step::Next);
                }
            }
        }
    }

    fn produce_private(&self, from: Origins<'_>) -> Result<Dataset, Failure> {
        match from {
            Origins::Cache => {
                let dataset = Dataset::generate(self.cache, self.effort)?;
                Ok(dataset.ok_or(Rejected::Stopped)?)
            }
            Origins::Geth(path) => {
                let memory = load::read_geth(path, &self.layout, MEMORY_PURPOSE, self.effort)?;
                Ok(self.check(memory, Sample::geth(path))?)
            }
        }
    }

    fn produce_mapped(
        &mut self,
        from: Origins<'_>,
        unwritable: Option<io::ErrorKind>,
    ) -> Result<Dataset, Failure> {
        match from {
            Origins::Cache => {
                unwritable.map_or(Ok(()), |kind| Err(Failure::Io(kind.into())))?;
                self.write(Source::Cache(self.cache), None)
            }
            // geth's data begins eight bytes into the file, so that every page would straddle
            // three cache lines; and geth may write to its files.
            Origins::Geth(path) => {
                let (file, start) = load::open_geth(path, &self.layout)?;
                unwritable.map_or(Ok(()), |kind| Err(Failure::Io(kind.into())))?;
                self.write(Source::Geth(&file, start), Some(Sample::geth(path)))
            }
        }
    }

    /// Writes a file of ours, and maps it. The disk may take its time until it has everything, so
    /// the name comes later.
    fn write(&mut self, source: Source<'_>, sample: Option<Sample>) -> Result<Dataset, Failure> {
        let layout = &self.layout;
        let temporary =
            Temporary::create(&self.store.folder, &layout.name()).map_err(Failure::Io)?;
        temporary.reserve(layout.file_bytes(), self.effort).map_err(Failure::Io)?;
        let output = Output { file: &temporary.file, layout, data_start: layout.data_start() };
        let checksums = output.write(source, self.effort)?;
        let (start, bytes) = (layout.data_start() as usize, layout.data_bytes as usize);
        let memory = Memory::map(&temporary.file, start, bytes, MEMORY_PURPOSE)?;
        // It is in memory already, so this takes no time; without it the search would.
        let rows = layout.items() as usize;
        for first in (0..rows).step_by(POPULATED_ROWS) {
            memory.populate(first..rows.min(first + POPULATED_ROWS));
        }
        let dataset = match sample {
            Some(sample) => self.check(memory, sample)?,
            None => Dataset::new(self.cache, memory),
        };
        let before_data = layout.encode(&checksums);
        self.unnamed = Some((temporary, before_data));
        Ok(dataset)
    }

    fn check(&self, memory: Memory, sample: Sample) -> Result<Dataset, Rejected> {
        let dataset = Dataset::new(self.cache, memory);
        let item_of = |number: usize| Ok(dataset.items()[number]);
        check_sample(self.cache, &item_of, self.effort, sample)?;
        Ok(dataset)
    }

    /// There is no memory of the wanted kind: from now on, the other one.
    pub(super) fn fall_back(&mut self, source: MemoryError) -> Result<(), FileError> {
        if self.has_fallen_back {
            return Err(source.into());
        }
        self.has_fallen_back = true;
        self.residence = match self.residence {
            Residence::Private => Residence::Mapped,
            Residence::Mapped => Residence::Private,
        };
        (self.notice)(Notice::FellBack { to: self.residence, source });
        Ok(())
    }

    /// The disk refuses: from now on, private memory.
    fn leave_disk(&mut self, source: io::Error, permit: &mut Permit) -> Result<(), FileError> {
        let path = self.store.path(&self.layout);
        if self.has_fallen_back {
            return Err(FileError::Disk { path, source });
        }
        self.has_fallen_back = true;
        self.residence = Residence::Private;
        if permit.unwritable.is_none() {
            permit.unwritable = Some(source.kind());
            (self.notice)(Notice::Unwritable { path, source });
        }
        Ok(())
    }
}
