//! Imports that are killed at random moments.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    branches::{Branches, rlp, write},
    node::{hematite, succeed, verified_head},
    random::{Random, rounds, say},
    text,
};

/// How often an import is killed in a round at most; then it may finish.
const KILLS_MAX: usize = 5;

/// Flags of a directory whose blocks need no seals.
fn import_args<'a>(genesis: &'a str, datadir: &'a Path, file: &'a str) -> [&'a str; 7] {
    ["import", "--fakepow", "--genesis", genesis, "--datadir", text(datadir), file]
}

/// Imports a file, which must succeed; returns how long that took.
fn import(genesis: &str, datadir: &Path, file: &str) -> Duration {
    let started = Instant::now();
    succeed(&import_args(genesis, datadir, file));
    started.elapsed()
}

/// Imports a file and kills the process after so long; returns whether it was killed.
fn import_and_kill(args: &[&str], life: Duration) -> bool {
    let mut child = Command::new(hematite())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the import starts");
    let mut stderr = child.stderr.take().expect("stderr is a pipe");
    let (ended, end) = sync_channel(1);
    // The pipe closes when the process ends.
    let reader = thread::spawn(move || {
        let mut said = String::new();
        let read = std::io::Read::read_to_string(&mut stderr, &mut said);
        // Nobody waits any more after the time is over.
        let _ = ended.send(());
        read.map(|_| said)
    });
    let in_time = end.recv_timeout(life) != Err(RecvTimeoutError::Timeout);
    if !in_time {
        child.kill().expect("the child is ours");
    }
    let status = child.wait().expect("the child is ours");
    let said = reader.join().expect("it reads").expect("stderr is text");
    // It may have ended just before it was killed.
    let killed = !in_time && status.code().is_none();
    assert!(killed || status.success(), "{status}: {said}");
    killed
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a short time").max(2)
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    let mut random = Random::new("killed while importing");
    let folder = tempfile::tempdir().expect("a folder");
    let branches = Branches::grow(0, 2_000);
    let genesis = write(folder.path(), "genesis.json", branches.genesis.to_string());
    let file = write(folder.path(), "blocks.rlp", rlp(&branches.first));
    let mut whole = milliseconds(import(&genesis, &folder.path().join("whole"), &file));
    let mut kills = 0;
    for round in 0..rounds() {
        let datadir = folder.path().join(format!("round-{round}"));
        let args = import_args(&genesis, &datadir, &file);
        let mut height = 0;
        for _ in 0..KILLS_MAX {
            let life = Duration::from_millis(random.within(1..whole));
            if !import_and_kill(&args, life) {
                // The machine was busier when the whole was measured.
                whole = (whole - whole / 4).max(2);
                break;
            }
            kills += 1;
            if datadir.join("hematite/db/CURRENT").exists() {
                height = not_lower(&datadir, height);
            }
        }
        import(&genesis, &datadir, &file);
        assert_eq!(verified_head(&datadir), branches.first_end());
        std::fs::remove_dir_all(&datadir).expect("it is ours");
    }
    say(&format!("killed while importing: {} rounds, {kills} kills, {whole} ms whole", rounds()));
}

/// The head of a directory that was being written, which is sound and never falls.
fn not_lower(datadir: &Path, before: u64) -> u64 {
    let output = crate::harness::node::run(&["db", "verify", "--datadir", text(datadir)]);
    // Killed before the genesis block was there: the next import begins anew.
    if output.status.code() == Some(2) && before == 0 {
        return 0;
    }
    let (number, _) = verified_head(datadir);
    assert!(number >= before, "the head fell from {before} to {number}");
    number
}

/// Copies a directory that nobody uses.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", text(from), text(to)]).status();
    assert!(copied.expect("cp runs").success());
}

/// Kills imports of the other branch; the head is the end of one of the two, never between.
fn kill_reorganisations(random: &mut Random, common: u64, length: u64, rounds: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let branches = Branches::grow(common, length);
    let genesis = write(folder.path(), "genesis.json", branches.genesis.to_string());
    let first = write(folder.path(), "first.rlp", rlp(&branches.first));
    let second = write(folder.path(), "second.rlp", rlp(&branches.second));
    let start = folder.path().join("start");
    import(&genesis, &start, &first);
    assert_eq!(verified_head(&start), branches.first_end());
    let whole = folder.path().join("whole");
    copy(&start, &whole);
    let mut whole = milliseconds(import(&genesis, &whole, &second));
    let (mut kills, mut before, mut after) = (0, 0, 0);
    for round in 0..rounds {
        let datadir = folder.path().join(format!("round-{round}"));
        copy(&start, &datadir);
        let args = import_args(&genesis, &datadir, &second);
        // Every other time in the last quarter, where the head changes.
        let from = if round % 2 == 0 { 1 } else { whole - whole / 4 };
        let life = Duration::from_millis(random.within(from..whole + 1));
        kills += u64::from(import_and_kill(&args, life));
        let head = verified_head(&datadir);
        let took = milliseconds(import(&genesis, &datadir, &second));
        if head == branches.first_end() {
            before += 1;
            // How busy the machine is changes.
            whole = whole.midpoint(took);
        } else if head == branches.second_end() {
            after += 1;
        } else {
            panic!("round {round}: the head is between the branches: {head:?}");
        }
        assert_eq!(verified_head(&datadir), branches.second_end());
        std::fs::remove_dir_all(&datadir).expect("it is ours");
    }
    say(&format!(
        "killed while reorganising {length} blocks: {rounds} rounds, {kills} kills, {whole} ms whole, \
         old head {before} times, new head {after} times"
    ));
}

#[test]
fn a_reorganisation_that_is_killed_happens_wholly_or_not_at_all() {
    let mut random = Random::new("killed while reorganising");
    let shallow = rounds() / 2;
    kill_reorganisations(&mut random, 40, 100, shallow);
    // Deeper than what is kept in layers.
    kill_reorganisations(&mut random, 40, 400, rounds() - shallow);
}
