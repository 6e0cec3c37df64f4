//! Datasets on disk: ours, and geth's.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::harness::{
    branches::{book_genesis, write},
    geth::{Geth, VERSIONS},
    key::Key,
    node::{Node, succeed, verified_head},
    text,
};

/// How long a dataset, or a block on it, may take.
const LONGEST: Duration = Duration::from_secs(600);

struct Miner {
    genesis: String,
    datadir: PathBuf,
    dags: PathBuf,
}

impl Miner {
    fn new(folder: &Path) -> Self {
        let genesis = write(folder, "genesis.json", book_genesis(&[Key::fixed(1)]).to_string());
        Self { genesis, datadir: folder.join("node"), dags: folder.join("dags") }
    }

    /// Starts and mines a block.
    fn mine(&self) -> Node {
        let (datadir, dags) = (text(&self.datadir), text(&self.dags));
        let mut node = Node::start(&[
            "--role",
            "miner",
            "--genesis",
            &self.genesis,
            "--datadir",
            datadir,
            "--ethash.dagdir",
            dags,
            "--miner.threads",
            "2",
        ]);
        let height = node.rpc.block_number();
        node.wait_for_block(height + 1, LONGEST);
        node
    }

    /// The only dataset file.
    fn file(&self) -> PathBuf {
        let files = fs::read_dir(&self.dags).expect("the folder is there");
        let paths = files.map(|file| file.expect("an entry").path());
        let large = paths.filter(|path| fs::metadata(path).expect("a file").len() > 1 << 30);
        let [file] = &large.collect::<Vec<_>>()[..] else { panic!("not one file") };
        file.clone()
    }
}

#[test]
fn a_dag_file_spares_the_making_until_it_is_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let miner = Miner::new(folder.path());

    let mut node = miner.mine();
    node.wait("the file is written", LONGEST, |node| node.logged("Saved DAG").is_some());
    assert!(node.logged("Generated DAG").is_some(), "{}", node.history());
    node.stop_well();

    let node = miner.mine();
    assert!(node.logged("Loaded DAG").is_some(), "{}", node.history());
    assert!(node.logged("Generated DAG").is_none(), "{}", node.history());
    node.stop_well();

    let path = miner.file();
    let file = fs::File::options().read(true).write(true).open(&path).expect("the file opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, 700 << 20).expect("the file is that long");
    file.write_all_at(&[byte[0] ^ 1], 700 << 20).expect("the file is writable");
    drop(file);
    let mut node = miner.mine();
    // Blocks are found before it is whole.
    node.wait("it is made again", LONGEST, |node| node.logged("Generated DAG").is_some());
    assert!(node.logged(text(&path)).is_some(), "{}", node.history());
    node.stop_well();
}

#[test]
fn geth_mines_on_dags_of_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let miner = Miner::new(folder.path());
    let theirs = folder.path().join("geth");
    let geth = Geth::new(VERSIONS[0], &theirs);
    geth.succeed(&["init", &miner.genesis]);
    // geth makes the next epoch's in the background, unless it is there.
    for block in ["0", "30000"] {
        succeed(&["makedag", block, text(&theirs)]);
    }
    let beneficiary = Key::fixed(1).address().to_string();
    let mut args =
        vec!["--nodiscover", "--maxpeers", "0", "--port", "0", "--verbosity", "4", "--mine"];
    args.extend(["--miner.threads", "1", "--miner.etherbase", &beneficiary]);
    let wait = "for (var i = 0; i < 200 && eth.blockNumber < 3; i++) admin.sleep(1)";
    args.extend(["--exec", wait, "console"]);
    let output = geth.run(&args, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Loaded old ethash dataset from disk"), "{said}");
    assert!(!said.contains("Generating DAG in progress"), "{said}");

    let file = folder.path().join("chain.rlp");
    geth.succeed(&["export", text(&file)]);
    succeed(&[
        "import",
        "--genesis",
        &miner.genesis,
        "--datadir",
        text(&miner.datadir),
        text(&file),
    ]);
    let (number, hash) = verified_head(&miner.datadir);
    assert!(number >= 3, "{number}: {said}");
    assert_eq!(geth.evaluate(&format!("eth.getBlock({number}).hash")), hash);
}
