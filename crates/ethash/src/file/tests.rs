use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::thread;

use alloy_primitives::B256;
use proptest::prelude::*;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use super::format::{GETH_MAGIC, SECTION_BYTES};
use super::lock::Attempt;
use super::*;
use crate::Phase;
use crate::kernel::row_bytes;

const BOTH: [Residence; 2] = [Residence::Private, Residence::Mapped];

/// A folder, a folder of geth's, and what was said about them.
struct Fixture {
    folder: TempDir,
    geth: TempDir,
    cache: LightCache,
    notices: Vec<Notice>,
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let geth = TempDir::new().unwrap();
        Self { folder, geth, cache: LightCache::tiny(), notices: Vec::new() }
    }

    fn layout(&self) -> Layout {
        Layout::of_dataset(&self.cache)
    }

    fn store(&self) -> Store {
        Store::new(self.folder.path().into(), vec![self.geth.path().into()])
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("dataset-v1-0")
    }

    fn geth_path(&self) -> PathBuf {
        self.geth.path().join("full-R23-0000000000000000")
    }

    fn obtain_from(&mut self, store: &Store, residence: Residence) -> Obtained {
        let (progress, stop) = (Progress::default(), AtomicBool::new(false));
        let mut notice = |notice| self.notices.push(notice);
        let obtained = store
            .obtain(&self.cache, residence, Effort::new(2, &progress, &stop), &mut notice)
            .unwrap();
        let obtained = obtained.expect("nobody says stop");
        assert_eq!(obtained.dataset.items(), self.cache.dataset().items());
        obtained
    }

    /// Obtains and saves. Returns where the dataset is from.
    fn obtain(&mut self, residence: Residence) -> Origin {
        let Obtained { dataset, origin, unsaved } = self.obtain_from(&self.store(), residence);
        if let Some(unsaved) = unsaved {
            let saved = unsaved.save(&dataset, &AtomicBool::new(false)).unwrap();
            assert_eq!(saved, Some(self.path()));
        }
        origin
    }

    fn own(&self) -> Origin {
        Origin::Own(self.path())
    }

    /// A valid file of ours, and its bytes.
    fn with_file() -> (Self, Vec<u8>) {
        let mut fixture = Self::new();
        assert_eq!(fixture.obtain(Residence::Private), Origin::Made);
        let bytes = fs::read(fixture.path()).unwrap();
        (fixture, bytes)
    }

    /// A valid file of geth's, and its bytes.
    fn with_geth_file() -> (Self, Vec<u8>) {
        let fixture = Self::new();
        let mut bytes = GETH_MAGIC.to_vec();
        bytes.extend_from_slice(row_bytes(fixture.cache.dataset().items()));
        fs::write(fixture.geth_path(), &bytes).unwrap();
        (fixture, bytes)
    }

    /// Puts a file in place of ours; it must be found damaged and be replaced.
    fn check_damage(&mut self, valid: &[u8], damaged: &[u8], what: &str) -> Damage {
        for residence in BOTH {
            fs::write(self.path(), damaged).unwrap();
            assert_eq!(self.obtain(residence), Origin::Made, "{what}");
            assert_eq!(fs::read(self.path()).unwrap(), valid, "{what}");
        }
        assert_eq!(self.notices.len(), 2, "{what}");
        let mut told = None;
        for notice in self.notices.drain(..) {
            let Notice::Damaged { path, damage, is_removed } = notice else { panic!("{notice}") };
            assert_eq!((path, is_removed), (self.folder.path().join("dataset-v1-0"), true));
            told = Some(damage);
        }
        told.expect("there are two notices")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn effort<'a>(progress: &'a Progress, stop: &'a AtomicBool) -> Effort<'a> {
    Effort::new(2, progress, stop)
}

#[test]
fn a_dataset_is_made_saved_and_loaded() {
    for made_in in BOTH {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.obtain(made_in), Origin::Made);
        assert_eq!(fixture.names(), ["dataset-v1-0"]);
        for residence in BOTH {
            assert_eq!(fixture.obtain(residence), fixture.own());
            let dataset = fixture.obtain_from(&fixture.store(), residence).dataset;
            assert_eq!(dataset.pages() == "file", residence == Residence::Mapped);
            let (seal_hash, nonce) = (B256::repeat_byte(3), 4);
            let expected = fixture.cache.hashimoto(&seal_hash, nonce);
            assert_eq!(dataset.hashimoto(&seal_hash, nonce), expected);
        }
        assert!(fixture.notices.is_empty(), "{:?}", fixture.notices);
    }
}

#[test]
fn files_do_not_depend_on_where_the_dataset_was_made() {
    let (_, private) = Fixture::with_file();
    let mut fixture = Fixture::new();
    fixture.obtain(Residence::Mapped);
    assert_eq!(fs::read(fixture.path()).unwrap(), private);
    assert_eq!(private.len() as u64, fixture.layout().file_bytes());
}

#[test]
fn a_truncated_or_longer_file_is_made_again() {
    let (mut fixture, valid) = Fixture::with_file();
    let length = valid.len();
    for cut in [0, 1, length / 2, length / 100 * 99, length - 1] {
        let damage = fixture.check_damage(&valid, &valid[..cut], "truncated");
        assert!(matches!(damage, Damage::Length { found, .. } if found == cut as u64));
    }
    let longer = [&*valid, &[0]].concat();
    assert!(matches!(fixture.check_damage(&valid, &longer, "longer"), Damage::Length { .. }));
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let (mut fixture, valid) = Fixture::with_file();
    let data_start = fixture.layout().data_start() as usize;
    let start = [0, 16, 20, 24, 32, 64, 72, 80, 100, SECTION_BYTES - 1];
    let table = [SECTION_BYTES, SECTION_BYTES + 9, SECTION_BYTES + 200, data_start - 1];
    let data = [0, 1, 4_095, 4_096, 20_000, valid.len() - 1 - data_start];
    let all = start.into_iter().chain(table).chain(data.map(|at| data_start + at));
    for (bit, at) in all.enumerate() {
        let mut damaged = valid.clone();
        damaged[at] ^= 1 << (bit % 8);
        let damage = fixture.check_damage(&valid, &damaged, &format!("bit {bit} of {at}"));
        match damage {
            Damage::Header => assert!(at < SECTION_BYTES),
            Damage::Table => assert!((SECTION_BYTES..data_start).contains(&at)),
            Damage::Block { block } => assert_eq!(block, (at - data_start) / 4_096),
            other => panic!("{at}: {other:?}"),
        }
    }
}

#[test]
fn empty_parts_are_found() {
    let (mut fixture, valid) = Fixture::with_file();
    let data_start = fixture.layout().data_start() as usize;
    let mut page = valid.clone();
    page[data_start + 8_192..][..4_096].fill(0);
    let damage = fixture.check_damage(&valid, &page, "a page of zeros");
    assert!(matches!(damage, Damage::Block { block: 2 }));
    let mut data = valid.clone();
    data[data_start..].fill(0);
    assert!(matches!(fixture.check_damage(&valid, &data, "no data"), Damage::Block { .. }));
    let nothing = vec![0; valid.len()];
    assert!(matches!(fixture.check_damage(&valid, &nothing, "nothing"), Damage::Header));

    let sparse = fs::File::create(fixture.path()).unwrap();
    sparse.write_all_at(&valid[..data_start], 0).unwrap();
    sparse.set_len(valid.len() as u64).unwrap();
    assert_eq!(fixture.obtain(Residence::Mapped), Origin::Made);
    assert_eq!(fs::read(fixture.path()).unwrap(), valid);
}

/// The header of a valid file with some words changed, and a checksum that is right.
fn rewritten(valid: &[u8], changes: &[(usize, u64)]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for (at, word) in changes {
        bytes[*at..][..8].copy_from_slice(&word.to_le_bytes());
    }
    let checksum = xxh3_64(&bytes[..SECTION_BYTES - 8]);
    bytes[SECTION_BYTES - 8..SECTION_BYTES].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn whole_files_of_something_else_are_foreign() {
    let (mut fixture, valid) = Fixture::with_file();
    assert_eq!(rewritten(&valid, &[]), valid);
    let word = |at: usize| u64::from_le_bytes(valid[at..at + 8].try_into().unwrap());
    let foreign = [
        ("another version", 16, word(16) + 1),
        ("another kind", 16, word(16) + (1 << 32)),
        ("another epoch", 24, 1),
        ("another seed", 32, 1),
        ("another length", 64, word(64) + 128),
        ("other blocks", 72, word(72) * 2),
        ("what nobody defined", 200, 1),
    ];
    for (what, at, word) in foreign {
        let file = rewritten(&valid, &[(at, word)]);
        assert!(matches!(fixture.check_damage(&valid, &file, what), Damage::Foreign), "{what}");
    }
}

#[test]
fn a_whole_file_that_was_wrong_when_it_was_made_is_found() {
    let (mut fixture, valid) = Fixture::with_file();
    let layout = fixture.layout();
    let mut items = fixture.cache.dataset().items().to_vec();
    items.last_mut().unwrap()[15] ^= 1;
    let other = TempDir::new().unwrap();
    let path = save(other.path(), &layout, &items, &AtomicBool::new(false)).unwrap();
    let damage = fixture.check_damage(&valid, &fs::read(path).unwrap(), "made wrongly");
    assert!(matches!(damage, Damage::Item { item: 511 }));
}

#[test]
fn a_directory_in_the_place_of_the_file_stays_and_is_not_used() {
    let mut fixture = Fixture::new();
    fs::create_dir_all(fixture.path().join("inside")).unwrap();
    for residence in BOTH {
        let Obtained { dataset, origin, unsaved } =
            fixture.obtain_from(&fixture.store(), residence);
        assert_eq!(origin, Origin::Made);
        let error = unsaved.unwrap().save(&dataset, &AtomicBool::new(false)).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", fixture.path().display()));
        let notice = fixture.notices.pop().unwrap();
        assert_eq!(
            notice.to_string(),
            format!("{} is not a file and was ignored", fixture.path().display())
        );
    }
    assert_eq!(fixture.names(), ["dataset-v1-0"]);
}

#[test]
fn without_a_folder_the_dataset_is_private() {
    let mut fixture = Fixture::new();
    let file = fixture.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let store = Store::new(file.join("folder"), vec![file.join("geth")]);
    for residence in BOTH {
        let Obtained { dataset, origin, unsaved } = fixture.obtain_from(&store, residence);
        assert_eq!((dataset.pages(), origin), ("small", Origin::Made));
        assert!(unsaved.is_none());
        let notice = fixture.notices.pop().unwrap();
        assert!(matches!(notice, Notice::Unwritable { .. }), "{notice}");
        assert!(notice.to_string().starts_with("cannot write "), "{notice}");
        assert!(fixture.notices.is_empty());
    }
    assert!(matches!(store.prepare(&fixture.cache), Err(FileError::Disk { .. })));
    assert!(store.prune(Epoch::new(9), 1).is_err());
}

#[test]
fn without_memory_the_other_residence_is_tried_once() {
    let fixture = Fixture::new();
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    let refusal = || crate::kernel::Memory::zeroed(usize::MAX, "a test").err().unwrap();
    for (wanted, other) in [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])] {
        let mut notices = Vec::new();
        let mut notice = |notice| notices.push(notice);
        let store = fixture.store();
        let effort = effort(&progress, &stop);
        let mut search = Search::new(&store, &fixture.cache, wanted, effort, &mut notice);
        search.fall_back(refusal()).unwrap();
        assert!(matches!(search.fall_back(refusal()), Err(FileError::Memory(_))));
        assert!(matches!(notices[..], [Notice::FellBack { to, .. }] if to == other));
        assert!(notices[0].to_string().contains("MiB of memory for a test"), "{}", notices[0]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let fixture = Fixture::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let layout = fixture.layout();
    let output = Output { file: &full, layout: &layout, data_start: layout.data_start() };
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    let written = output.write(Source::Cache(&fixture.cache), effort(&progress, &stop));
    let Err(WriteError::Io(error)) = written else { panic!("{written:?}") };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn who_is_told_to_stop_leaves_nothing_behind() {
    let (fixture, _) = Fixture::with_file();
    let (progress, stop) = (Progress::default(), AtomicBool::new(true));
    let mut notice = |notice| panic!("{notice}");
    let mut obtain = |store: &Store, residence| {
        store
            .obtain(&fixture.cache, residence, Effort::new(2, &progress, &stop), &mut notice)
            .unwrap()
    };
    let empty = TempDir::new().unwrap();
    let other = Store::new(empty.path().into(), vec![]);
    for residence in BOTH {
        assert!(obtain(&fixture.store(), residence).is_none());
        assert!(obtain(&other, residence).is_none());
    }
    let written = save(empty.path(), &fixture.layout(), fixture.cache.dataset().items(), &stop);
    assert!(matches!(written, Err(WriteError::Stopped)));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn progress_tells_checking_from_generating() {
    let fixture = Fixture::new();
    let (progress, stop) = (Progress::new(7), AtomicBool::new(false));
    assert_eq!((progress.phase(), progress.total()), (Phase::Generating, 7));
    for expected in [Phase::Generating, Phase::Checking] {
        let mut ignore = |_| ();
        let obtained = fixture
            .store()
            .obtain(
                &fixture.cache,
                Residence::Mapped,
                Effort::new(2, &progress, &stop),
                &mut ignore,
            )
            .unwrap()
            .unwrap();
        assert_eq!((progress.phase(), progress.done(), progress.total()), (expected, 512, 512));
        if let Some(unsaved) = obtained.unsaved {
            unsaved.save(&obtained.dataset, &stop).unwrap();
        }
    }
}

#[test]
fn a_temporary_file_is_removed_unless_somebody_writes_it() {
    let mut fixture = Fixture::new();
    let living = Temporary::create(fixture.folder.path(), "dataset-v1-0").unwrap();
    fs::write(fixture.folder.path().join("dataset-v1-0.tmp-1-0"), "left over").unwrap();
    fs::write(fixture.folder.path().join("dataset-v1-00"), "not ours").unwrap();
    assert_eq!(fixture.obtain(Residence::Private), Origin::Made);
    let process = std::process::id();
    let temporary = format!("dataset-v1-0.tmp-{process}-0");
    assert_eq!(fixture.names(), ["dataset-v1-0", &temporary, "dataset-v1-00"]);
    drop(living);
    assert_eq!(fixture.names(), ["dataset-v1-0", "dataset-v1-00"]);
}

#[test]
fn a_lock_is_held_by_one_and_leaves_no_file() {
    let fixture = Fixture::new();
    let path = fixture.folder.path().join("lock");
    let ask = || Lock::ask(path.clone()).unwrap();
    let Attempt::Locked(lock) = ask() else { panic!("nobody has it") };
    assert!(matches!(ask(), Attempt::Held));
    drop(lock);
    assert!(fixture.names().is_empty());
    assert!(matches!(ask(), Attempt::Locked(_)));
}

#[test]
fn of_several_that_want_a_dataset_one_makes_it() {
    for residence in BOTH {
        let fixture = Fixture::new();
        let barrier = Barrier::new(4);
        let origins: Vec<Origin> = thread::scope(|scope| {
            let one = || {
                let mut own = Fixture { folder: TempDir::new().unwrap(), ..Fixture::new() };
                barrier.wait();
                let Obtained { dataset, origin, unsaved } =
                    own.obtain_from(&fixture.store(), residence);
                if let Some(unsaved) = unsaved {
                    unsaved.save(&dataset, &AtomicBool::new(false)).unwrap();
                }
                assert!(own.notices.iter().all(|it| matches!(it, Notice::Waiting { .. })));
                origin
            };
            let all: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let made = origins.iter().filter(|origin| **origin == Origin::Made).count();
        assert_eq!(made, 1, "{origins:?}");
        assert_eq!(fixture.names(), ["dataset-v1-0"]);
    }
}

/// Run by the test below in processes of its own, and by nobody else.
#[test]
fn another_process_obtains_a_dataset() {
    let Some(folder) = std::env::var_os("ETHASH_TEST_FOLDER") else { return };
    let mut fixture = Fixture::new();
    let store = Store::new(folder.into(), vec![]);
    let Obtained { dataset, origin, unsaved } = fixture.obtain_from(&store, Residence::Mapped);
    if let Some(unsaved) = unsaved {
        unsaved.save(&dataset, &AtomicBool::new(false)).unwrap();
    }
    let me = store.folder.join(format!("{}-{}", origin == Origin::Made, std::process::id()));
    fs::write(me, "").unwrap();
}

#[test]
fn processes_share_a_file_and_one_makes_it() {
    let fixture = Fixture::new();
    let start = |_| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "file::tests::another_process_obtains_a_dataset"])
            .env("ETHASH_TEST_FOLDER", fixture.folder.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let processes: Vec<_> = (0..3).map(start).collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    let names = fixture.names();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("true-")).count(), 1, "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("false-")).count(), 2, "{names:?}");
}

#[test]
fn who_waits_is_told_and_can_be_stopped() {
    let mut fixture = Fixture::new();
    let first = fixture.obtain_from(&fixture.store(), Residence::Private);
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut notices = Vec::new();
            let mut notice = |notice| {
                notices.push(notice);
                stop.store(true, Ordering::Relaxed);
            };
            let obtained = fixture
                .store()
                .obtain(
                    &fixture.cache,
                    Residence::Private,
                    Effort::new(1, &progress, &stop),
                    &mut notice,
                )
                .unwrap();
            (obtained.is_none(), notices)
        });
        let (is_stopped, notices) = waiting.join().unwrap();
        assert!(is_stopped);
        let told = format!("another process makes {}", fixture.path().display());
        assert_eq!(notices.iter().map(Notice::to_string).collect::<Vec<_>>(), [told]);
    });
    assert_eq!(progress.phase(), Phase::Waiting);
    drop(first.unsaved);
    assert_eq!(fixture.obtain(Residence::Private), Origin::Made, "nobody saved it");
}

#[test]
fn a_valid_file_of_geths_is_used() {
    for residence in BOTH {
        let (mut fixture, bytes) = Fixture::with_geth_file();
        assert_eq!(fixture.obtain(residence), Origin::Geth(fixture.geth_path()));
        assert_eq!(fs::read(fixture.geth_path()).unwrap(), bytes);
        // Mapped it must be ours: geth's pages straddle cache lines.
        let is_own = residence == Residence::Mapped;
        assert_eq!(fixture.path().exists(), is_own);
        if is_own {
            assert_eq!(fixture.obtain(residence), fixture.own());
        }
        assert!(fixture.notices.is_empty(), "{:?}", fixture.notices);
    }
}

#[test]
fn a_damaged_file_of_geths_is_left_alone() {
    let (fixture, valid) = Fixture::with_geth_file();
    let mut magic = valid.clone();
    magic[3] ^= 1;
    let mut hole = valid.clone();
    hole[4_096..8_192].fill(0);
    let mut first = valid.clone();
    first[8] ^= 1;
    let mut last = valid.clone();
    *last.last_mut().unwrap() ^= 1;
    let other = vec![1; valid.len()];
    let nothing = vec![0; valid.len()];
    for damaged in [&valid[..0], &valid[..9_000], &magic, &hole, &first, &last, &other, &nothing] {
        for residence in BOTH {
            let mut fixture = Fixture::new();
            fs::write(fixture.geth_path(), damaged).unwrap();
            assert_eq!(fixture.obtain(residence), Origin::Made);
            assert_eq!(fs::read(fixture.geth_path()).unwrap(), damaged);
            let [Notice::Damaged { path, is_removed: false, .. }] = &fixture.notices[..] else {
                panic!("{:?}", fixture.notices)
            };
            assert_eq!(*path, fixture.geth_path());
        }
    }
    drop(fixture);
}

#[test]
fn damage_of_geths_file_is_named() {
    let (mut fixture, valid) = Fixture::with_geth_file();
    let mut hole = valid;
    hole[8 + 64 * 77..][..64].fill(0);
    fs::write(fixture.geth_path(), hole).unwrap();
    fixture.obtain(Residence::Private);
    let path = fixture.geth_path();
    let text = format!("{} was never written at item 77 and was ignored", path.display());
    assert_eq!(fixture.notices[0].to_string(), text);
}

#[test]
fn files_for_geth_are_written_once_and_again_when_damaged() {
    let (fixture, expected) = Fixture::with_geth_file();
    let folder = fixture.folder.path();
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    let write =
        || GethFile::write_dataset(folder, &fixture.cache, 2, &progress, &stop).unwrap().unwrap();
    let path = folder.join("full-R23-0000000000000000");
    assert_eq!(write(), GethFile { path: path.clone(), is_new: true });
    assert_eq!(fs::read(&path).unwrap(), expected);
    assert_eq!(write(), GethFile { path: path.clone(), is_new: false });
    fs::write(&path, &expected[..9_000]).unwrap();
    assert_eq!(write(), GethFile { path: path.clone(), is_new: true });
    assert_eq!(fs::read(&path).unwrap(), expected);

    let write = || GethFile::write_cache(folder, &fixture.cache).unwrap();
    let path = folder.join("cache-R23-0000000000000000");
    assert_eq!(write(), GethFile { path: path.clone(), is_new: true });
    assert_eq!(write(), GethFile { path: path.clone(), is_new: false });
    let bytes = [&GETH_MAGIC, row_bytes(fixture.cache.rows())].concat();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    fs::write(&path, &bytes[..100]).unwrap();
    assert!(write().is_new);

    let stop = AtomicBool::new(true);
    let other = folder.join("other");
    assert_eq!(GethFile::write_dataset(&other, &fixture.cache, 2, &progress, &stop).unwrap(), None);
    assert_eq!(fs::read_dir(other).unwrap().count(), 0);
    let error = GethFile::write_cache(&path, &fixture.cache).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
}

#[test]
fn a_file_that_is_prepared_step_by_step_is_the_usual_one() {
    let (_, valid) = Fixture::with_file();
    let mut fixture = Fixture::new();
    let store = fixture.store();
    let mut preparation = store.prepare(&fixture.cache).unwrap().unwrap();
    assert_eq!((preparation.done(), preparation.total()), (0, 512));
    assert!(store.prepare(&fixture.cache).unwrap().is_none(), "one is at it");
    let mut steps = 0;
    while !preparation.step(100).unwrap() {
        steps += 1;
        assert_eq!(preparation.done(), steps * 100);
    }
    assert_eq!((preparation.done(), steps), (512, 5));
    assert!(preparation.step(100).unwrap(), "it stays complete");
    drop(preparation);
    assert_eq!(fs::read(fixture.path()).unwrap(), valid);
    assert!(store.prepare(&fixture.cache).unwrap().is_none(), "it is there");
    assert_eq!(fixture.obtain(Residence::Mapped), fixture.own());
    assert_eq!(fixture.names(), ["dataset-v1-0"]);
}

#[test]
fn a_preparation_hinders_nobody_and_leaves_nothing_behind() {
    let mut fixture = Fixture::new();
    let cache = LightCache::tiny();
    let mut preparation = fixture.store().prepare(&cache).unwrap().unwrap();
    assert!(!preparation.step(100).unwrap());
    assert_eq!(fixture.obtain(Residence::Private), Origin::Made);
    assert!(preparation.step(usize::MAX).unwrap());
    assert_eq!(fixture.obtain(Residence::Private), fixture.own());

    fs::remove_file(fixture.path()).unwrap();
    let mut preparation = fixture.store().prepare(&cache).unwrap().unwrap();
    assert!(!preparation.step(511).unwrap());
    drop(preparation);
    assert!(fixture.names().is_empty());
}

#[test]
fn files_of_long_past_epochs_are_pruned() {
    let fixture = Fixture::new();
    let touch = |name: &str| fs::write(fixture.folder.path().join(name), "").unwrap();
    let kept = ["cache-v1-0", "dataset-v1-4", "dataset-v1-5", "dataset-v1-6", "dataset-v1-x"];
    let foreign = ["dataset-v2-0", "full-R23-0000000000000000", "geth.ipc"];
    let old = ["dataset-v1-0", "dataset-v1-3", "dataset-v1-3.lock", "dataset-v1-2.tmp-1-0"];
    kept.into_iter().chain(foreign).chain(old).for_each(touch);
    let store = fixture.store();
    store.prune(Epoch::new(5), 2).unwrap();
    assert_eq!(fixture.names(), kept.into_iter().chain(foreign).collect::<Vec<_>>());
    store.prune(Epoch::new(5), 0).unwrap();
    assert_eq!(fixture.names()[1..3], ["dataset-v1-6", "dataset-v1-x"]);
    store.prune_caches(Epoch::new(1), 1).unwrap();
    assert!(!fixture.folder.path().join("cache-v1-0").exists());
    let nowhere = Store::new(fixture.folder.path().join("nowhere"), vec![]);
    nowhere.prune(Epoch::new(5), 1).unwrap();
}

#[test]
fn a_cache_is_saved_and_loaded() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let mut notices = Vec::new();
    let mut notice = |notice| notices.push(notice);
    let made = &fixture.cache;
    let sizes = (1 << 10, made.dataset_bytes());
    let mut load = || store.load_cache(made.epoch(), sizes, made.instructions(), &mut notice);
    assert!(load().is_none());
    store.save_cache(made, &mut |notice| panic!("{notice}"));
    let loaded = load().unwrap();
    assert_eq!(loaded.rows(), made.rows());
    assert_eq!(loaded.hashimoto(&B256::ZERO, 1), made.hashimoto(&B256::ZERO, 1));

    let path = fixture.folder.path().join("cache-v1-0");
    let file = fs::File::options().write(true).open(&path).unwrap();
    let last = file.metadata().unwrap().len() - 1;
    file.write_all_at(&[loaded.rows()[15][15].to_le_bytes()[3] ^ 1], last).unwrap();
    assert!(load().is_none());
    assert!(!path.exists());
    assert!(matches!(notices[..], [Notice::Damaged { is_removed: true, .. }]));
}

#[test]
fn the_cache_of_an_epoch_comes_from_its_file_the_second_time() {
    let fixture = Fixture::new();
    let store = fixture.store();
    let mut notice = |notice| panic!("{notice}");
    let made = store.cache(Epoch::new(0), Kernel::best(), &mut notice).unwrap();
    assert_eq!(fixture.names(), ["cache-v1-0"]);
    let loaded = store.cache(Epoch::new(0), Kernel::Portable, &mut notice).unwrap();
    assert_eq!(loaded.kernel(), Kernel::Portable);
    assert_eq!(loaded.rows(), made.rows());
    assert_eq!(loaded.dataset_bytes(), made.dataset_bytes());

    let file = fixture.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let mut notices = Vec::new();
    let nowhere = Store::new(file, vec![]);
    nowhere.save_cache(&made, &mut |notice| notices.push(notice));
    assert!(matches!(notices[..], [Notice::Unwritable { .. }]));
}

#[test]
fn the_largest_files_have_sections_on_boundaries() {
    for (epoch, blocks) in [(0, 64), (2_047, 1_088), (Epoch::MAX.get(), 16_384)] {
        let epoch = Epoch::new(epoch);
        let layout = Layout {
            kind: Kind::Dataset,
            epoch,
            seed: B256::ZERO,
            data_bytes: epoch.dataset_bytes(),
            block_bytes: 16 << 20,
        };
        assert_eq!(layout.blocks(), blocks);
        assert!(layout.data_start().is_multiple_of(4_096));
        assert!(layout.table_bytes() >= 8 * blocks);
        let (start, length) = layout.block(blocks - 1);
        assert_eq!(start + length as u64, layout.data_bytes);
    }
}

/// Whether a file is loaded, in either residence, as something else than the dataset.
fn loads(path: &Path, layout: &Layout) -> [bool; 2] {
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    let effort = effort(&progress, &stop);
    [
        load::read_own(path, layout, "a test", effort).is_ok(),
        load::map_own(path, layout, "a test", effort).is_ok(),
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_never_a_header(bytes in prop::collection::vec(any::<u8>(), 0..9_000)) {
        let layout = Layout::of_dataset(&LightCache::tiny());
        prop_assert!(layout.check_header(&bytes).is_err());
        prop_assert!(layout.check_table(&bytes, 7).is_err());
    }

    #[test]
    fn arbitrary_words_with_right_checksums_are_only_the_right_header(
        words in prop::collection::vec((2_usize..511, any::<u64>()), 0..4),
    ) {
        let layout = Layout::of_dataset(&LightCache::tiny());
        let valid = layout.encode(&[7; 8]);
        let changes: Vec<_> = words.into_iter().map(|(at, word)| (at * 8, word)).collect();
        let header = &rewritten(&valid, &changes)[..SECTION_BYTES];
        // The checksum of the table is the one word that is not known beforehand.
        let is_same = header[..80] == valid[..80] && header[88..] == valid[88..SECTION_BYTES];
        let is_same = is_same || {
            let table = u64::from_le_bytes(header[80..88].try_into().unwrap());
            *header == rewritten(&valid, &[(80, table)])[..SECTION_BYTES]
        };
        prop_assert_eq!(layout.check_header(header).is_ok(), is_same);
    }

    #[test]
    fn no_file_is_loaded_that_is_not_exactly_the_valid_one(
        at: prop::sample::Index,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        static VALID: std::sync::LazyLock<(Fixture, Vec<u8>)> =
            std::sync::LazyLock::new(Fixture::with_file);
        let (fixture, valid) = &*VALID;
        let mut changed = valid.clone();
        let at = at.index(valid.len());
        let length = bytes.len().min(valid.len() - at);
        changed[at..at + length].copy_from_slice(&bytes[..length]);
        if let Some(cut) = cut {
            changed.truncate(cut.index(valid.len() + 1));
        }
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, &changed).unwrap();
        prop_assert_eq!(loads(&path, &fixture.layout()), [changed == *valid; 2]);
    }
}
