//! What people do wrong: each is told what, where and what to do, and nothing is harmed.

use std::{net::TcpListener, path::Path};

use alloy_rlp::Encodable;
use primitives::{B256, Block, SealedBlock};

use crate::harness::{
    branches::{Branches, rlp, write},
    key::Key,
    node::{Node, fail, run, run_with_input, shown, succeed, verified_head},
    text,
};

#[test]
fn an_unknown_flag_is_named() {
    fail(&["--mining.threads", "2"], 2, &["--mining.threads"]);
    fail(&["--miner.threads", "two"], 2, &["two", "--miner.threads"]);
    fail(&["frobnicate"], 2, &["frobnicate"]);
}

#[test]
fn a_miner_without_a_genesis_is_told_of_the_presets() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["--role", "miner", "--datadir", text(folder.path())];
    fail(&args, 2, &["--genesis", "mainnet", "ropsten", "sepolia", "book", "dev"]);
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0, "nothing is left behind");
    let genesis = [&args[..], &["--genesis", "atlantis"]].concat();
    fail(&genesis, 2, &["atlantis", "book"]);
    let file = write(folder.path(), "genesis.json", "{\"config\": {}, \"alloc\": []}");
    fail(&[&args[..], &["--genesis", &file]].concat(), 2, &[&file]);
    fail(
        &["init", "--datadir", text(folder.path()), "/no/such/genesis.json"],
        2,
        &["/no/such/genesis.json"],
    );
}

#[test]
fn another_genesis_is_refused_and_the_chain_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = Files::new(folder.path());
    let before = chain.import_all();
    let words = ["genesis", text(&chain.datadir)];
    fail(&["init", "--datadir", text(&chain.datadir), &chain.other_genesis], 5, &words);
    let node = ["--role", "miner", "--datadir", text(&chain.datadir), "--genesis", "book"];
    fail(&node, 5, &words);
    assert_eq!(verified_head(&chain.datadir), before);
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = text(folder.path());
    let mut node = Node::start(&["--dev", "--datadir", datadir]);
    fail(&["--dev", "--datadir", datadir], 6, &["in use", datadir]);
    fail(&["db", "verify", "--datadir", datadir], 6, &["in use"]);
    assert_eq!(node.rpc.block_number(), 0);
    node.stop_well();
}

#[test]
fn a_port_in_use_is_named_with_a_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let port = address.port().to_string();
    fail(
        &["--dev", "--http", "--http.port", &port, "--ops.addr", "off"],
        1,
        &[&address.to_string(), "--http.port"],
    );
}

/// A chain of a few blocks in files.
struct Files {
    branches: Branches,
    genesis: String,
    other_genesis: String,
    datadir: std::path::PathBuf,
    folder: std::path::PathBuf,
}

impl Files {
    fn new(folder: &Path) -> Self {
        let branches = Branches::grow(10, 10);
        let genesis = write(folder, "genesis.json", branches.genesis.to_string());
        let other = crate::harness::branches::book_genesis(&[Key::fixed(200)]);
        let other_genesis = write(folder, "other.json", other.to_string());
        let datadir = folder.join("node");
        Self { branches, genesis, other_genesis, datadir, folder: folder.to_owned() }
    }

    fn import_args<'a>(&'a self, file: &'a str) -> [&'a str; 7] {
        let datadir = text(&self.datadir);
        ["import", "--fakepow", "--genesis", &self.genesis, "--datadir", datadir, file]
    }

    fn import_all(&self) -> (u64, String) {
        let file = write(&self.folder, "all.rlp", rlp(&self.branches.first));
        succeed(&self.import_args(&file));
        let head = verified_head(&self.datadir);
        assert_eq!(head, self.branches.first_end());
        head
    }
}

#[test]
fn a_file_that_is_not_whole_leaves_its_good_blocks() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = Files::new(folder.path());
    let blocks = &chain.branches.first;
    fail(&chain.import_args("/no/such/file.rlp"), 1, &["/no/such/file.rlp"]);
    let garbage = write(folder.path(), "garbage.rlp", "this is no block");
    fail(&chain.import_args(&garbage), 1, &[&garbage, "block 0 of the file"]);
    let whole = rlp(blocks);
    let cut = rlp(&blocks[..8]).len() - 3;
    let truncated = write(folder.path(), "truncated.rlp", &whole[..cut]);
    fail(&chain.import_args(&truncated), 1, &[&truncated, "truncated in block 7"]);
    assert_eq!(verified_head(&chain.datadir), (6, blocks[6].hash().to_string()));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &whole).expect("memory is writable");
    let gzip = gzip.finish().expect("memory is writable");
    let half = write(folder.path(), "half.rlp.gz", &gzip[..gzip.len() / 2]);
    fail(&chain.import_args(&half), 1, &[&half, "truncated"]);
    let unsorted = write(folder.path(), "orphan.rlp", rlp(&blocks[18..]));
    fail(&chain.import_args(&unsorted), 1, &["block 18", "parent", "unknown"]);
    chain.import_all();
}

/// The blocks, but one of them claims another state.
fn with_a_wrong_block(blocks: &[SealedBlock], index: usize) -> Vec<SealedBlock> {
    let mut blocks = blocks.to_vec();
    let Block { mut header, body } = blocks[index].clone_block();
    header.state_root = B256::repeat_byte(0xee);
    blocks[index] = SealedBlock::seal_slow(Block { header, body });
    blocks
}

#[test]
fn a_wrong_block_in_the_middle_leaves_the_blocks_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut chain = Files::new(folder.path());
    // Long enough that much is read ahead when the failure comes.
    chain.branches = Branches::grow(0, 1_500);
    let wrong = with_a_wrong_block(&chain.branches.first, 12);
    let hash = wrong[12].hash().to_string();
    let file = write(folder.path(), "wrong.rlp", rlp(&wrong));
    fail(&chain.import_args(&file), 1, &["block 12", &hash, "invalid merkle root"]);
    let (number, hash) = verified_head(&chain.datadir);
    assert_eq!((number, hash), (11, chain.branches.first[11].hash().to_string()));
    chain.import_all();
}

#[test]
fn a_block_without_work_is_refused_where_work_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = Files::new(folder.path());
    let file = write(folder.path(), "all.rlp", rlp(&chain.branches.first));
    let args = ["import", "--genesis", &chain.genesis, "--datadir", text(&chain.datadir), &file];
    fail(&args, 1, &["block 1", "invalid proof-of-work"]);
    assert_eq!(verified_head(&chain.datadir).0, 0);
}

#[test]
fn geths_own_chain_is_not_touched_and_the_way_over_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let theirs = folder.path().join("geth/chaindata");
    std::fs::create_dir_all(&theirs).expect("the folder is writable");
    let file = write(&theirs, "CURRENT", "MANIFEST-000001\n");
    let args = ["--role", "miner", "--genesis", "book", "--datadir", text(folder.path())];
    fail(&args, 5, &["geth", "export", "import", text(&theirs)]);
    assert_eq!(std::fs::read(file).expect("it is still there"), b"MANIFEST-000001\n");
    assert_eq!(theirs.read_dir().expect("a folder").count(), 1);
}

#[test]
fn a_damaged_key_file_is_named_and_the_others_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let datadir = text(folder.path());
    let password = write(folder.path(), "password", "p");
    let new = ["account", "new", "--lightkdf", "--datadir", datadir, "--password", &password];
    succeed(&new);
    succeed(&new);
    let listed = succeed(&["account", "list", "--datadir", datadir]);
    let addresses: Vec<&str> = listed.split(['{', '}']).skip(1).step_by(2).collect();
    assert_eq!(addresses.len(), 2, "{listed}");
    let path = listed.lines().next().and_then(|line| line.split("keystore://").nth(1));
    let path = Path::new(path.expect("a path"));
    let file = std::fs::read_to_string(path).expect("a key file");
    let damaged = file.replacen("\"ciphertext\":\"", "\"ciphertext\":\"zz", 1);
    assert_ne!(damaged, file);
    std::fs::write(path, damaged).expect("the folder is writable");
    let update = |address| ["account", "update", "--lightkdf", "--datadir", datadir, address];
    let failed = run_with_input(&update(addresses[0]), "p\nq\nq\n");
    assert_eq!(failed.status.code(), Some(2), "{}", shown(&failed));
    assert!(shown(&failed).contains(text(path)), "{}", shown(&failed));
    let worked = run_with_input(&update(addresses[1]), "p\nq\nq\n");
    assert!(worked.status.success(), "{}", shown(&worked));
    std::fs::write(path, "no JSON at all").expect("the folder is writable");
    let listed = run(&["account", "list", "--datadir", datadir]);
    let said = shown(&listed);
    assert!(listed.status.success() && said.contains(addresses[1]), "{said}");
    assert!(said.contains(text(path)), "the damaged file is named: {said}");
}

#[test]
fn an_empty_file_of_blocks_is_no_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let chain = Files::new(folder.path());
    let mut only_genesis = Vec::new();
    chain.branches.first[0].clone_block().encode(&mut only_genesis);
    let file = write(folder.path(), "genesis.rlp", only_genesis);
    succeed(&chain.import_args(&file));
    assert_eq!(verified_head(&chain.datadir).0, 0);
}
