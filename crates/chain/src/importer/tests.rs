use primitives::{Address, B256, Block, Bytes, SealedBlock, SignerRecoverable, U256, address};
use state::StateReader;
use storage::{LAYERS_MAX, StorageConfig};

use super::*;
use crate::{
    ChainConfig, OpenError,
    testing::{BlockOptions, ChainBuilder, TestAccount, book_forks, spec},
};

const SINK: Address = address!("0x00000000000000000000000000000000000000ff");

fn builder() -> ChainBuilder {
    ChainBuilder::new(spec(book_forks()))
}

fn extra(text: &'static str) -> BlockOptions {
    BlockOptions { extra_data: Bytes::from_static(text.as_bytes()), ..BlockOptions::default() }
}

/// A chain of its own: `count` blocks, each with one transfer to [`SINK`].
fn grow(count: u64, options: &BlockOptions) -> (ChainBuilder, Vec<SealedBlock>) {
    let mut builder = builder();
    let account = TestAccount::new(0);
    let blocks = (0..count)
        .map(|nonce| {
            let tx = account.transfer(1_337, nonce, SINK, U256::from(nonce + 1));
            let head = builder.importer.view().head.hash();
            let block = builder.block_on(head, vec![tx], options.clone());
            builder.import(block.clone()).unwrap();
            block
        })
        .collect();
    (builder, blocks)
}

fn balance(importer: &Importer, block: B256, address: Address) -> U256 {
    let state = importer.view().state_at(block).unwrap();
    let account = state.account(primitives::keccak256(address)).unwrap();
    account.map_or(U256::ZERO, |account| account.balance)
}

/// The sum of what the first `n` transfers of [`grow`] brought.
fn received(n: u64) -> U256 {
    U256::from(n * (n + 1) / 2)
}

#[test]
fn a_block_is_visible_once_its_import_returns() {
    let mut builder = builder();
    for number in 1..=5 {
        let block = builder.extend(Vec::new());
        assert_eq!(builder.importer.view().head.number, number);
        assert_eq!(builder.importer.view().head.hash(), block.hash());
    }
    assert_eq!(builder.importer.take_events().len(), 5);
}

#[test]
fn a_known_block_is_not_imported_twice() {
    let mut builder = builder();
    let block = builder.extend(Vec::new());
    assert_eq!(builder.import(block).unwrap(), Imported::Known);
}

#[test]
fn an_orphan_names_its_parent() {
    let (other, _) = grow(3, &BlockOptions::default());
    let view = other.importer.view();
    let block = view.db.block(view.head.hash()).unwrap().unwrap();
    let parent = block.header().parent_hash;
    let result = builder().import(block);
    assert!(matches!(result, Err(ImportError::Orphan { parent: p, .. }) if p == parent));
}

#[test]
fn a_block_from_the_future_waits() {
    let mut builder = builder();
    let genesis = builder.importer.view().head.hash();
    let block = builder.block_on(genesis, Vec::new(), BlockOptions { seconds: 100, ..extra("") });
    let now = block.header().timestamp - 16;
    let verified = builder.verify(block);
    let result = builder.importer.import(verified, Origin::Other, now);
    assert!(matches!(result, Err(ImportError::Early { .. })));
}

#[test]
fn reorgs_to_the_heavier_branch() {
    let (_, light) = grow(3, &extra("light"));
    let (heavy_chain, heavy) = grow(4, &extra("heavy"));
    let mut builder = builder();
    for block in &light {
        assert_eq!(builder.import(block.clone()).unwrap(), Imported::Head);
    }
    for block in &heavy[..3] {
        assert_eq!(builder.import(block.clone()).unwrap(), Imported::Side);
    }
    builder.importer.take_events();
    assert_eq!(builder.import(heavy[3].clone()).unwrap(), Imported::Head);
    let event = builder.importer.take_events().pop().unwrap();
    assert_eq!(event.retired.iter().map(|id| id.number).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(event.adopted.iter().map(|id| id.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let view = builder.importer.view();
    assert_eq!(view.td, heavy_chain.importer.view().td);
    assert_eq!(balance(&builder.importer, view.head.hash(), SINK), received(4));
}

/// Both branches are longer than the layers reach, so the base has to be unwound.
#[test]
fn reorgs_below_the_base_and_back() {
    let depth = LAYERS_MAX + 40;
    let (first_chain, first) = grow(depth, &extra("first"));
    let (second_chain, second) = grow(depth + 1, &extra("second"));
    let (_, third) = grow(depth + 2, &extra("first"));
    let mut builder = builder();
    for block in &first {
        builder.import(block.clone()).unwrap();
    }
    for block in &second[..second.len() - 1] {
        assert_eq!(builder.import(block.clone()).unwrap(), Imported::Side);
    }
    assert_eq!(builder.import(second[second.len() - 1].clone()).unwrap(), Imported::Head);
    same_chain(&builder, &second_chain);
    for block in &third[first.len()..third.len() - 1] {
        assert_eq!(builder.import(block.clone()).unwrap(), Imported::Side);
    }
    assert_eq!(builder.import(third[third.len() - 1].clone()).unwrap(), Imported::Head);
    let lower = first[20].hash();
    assert_eq!(
        balance(&builder.importer, lower, SINK),
        balance(&first_chain.importer, lower, SINK)
    );
    for number in [1, 2, 30, depth - LAYERS_MAX, depth - 1, depth + 2] {
        let hash = builder.importer.view().db.canonical_hash(number).unwrap().unwrap();
        assert_eq!(balance(&builder.importer, hash, SINK), received(number), "block {number}");
    }
}

/// Same head, same state, at every height.
fn same_chain(one: &ChainBuilder, other: &ChainBuilder) {
    let (view, expected) = (one.importer.view(), other.importer.view());
    assert_eq!(view.head, expected.head);
    assert_eq!(view.td, expected.td);
    for number in 0..=view.head.number {
        let hash = view.db.canonical_hash(number).unwrap().unwrap();
        assert_eq!(Some(hash), expected.db.canonical_hash(number).unwrap());
        assert_eq!(balance(&one.importer, hash, SINK), received(number));
    }
}

#[test]
fn a_wrong_block_in_a_deep_branch_changes_nothing_and_is_remembered() {
    let depth = LAYERS_MAX + 20;
    let (_, first) = grow(depth, &extra("first"));
    let (second_chain, second) = grow(depth + 2, &extra("second"));
    let mut builder = builder();
    for block in &first {
        builder.import(block.clone()).unwrap();
    }
    // The branch is right up to 11; 12 lies about its state, and everything follows the lie.
    let mut branch: Vec<SealedBlock> = second[..11].to_vec();
    for block in &second[11..] {
        let Block { mut header, body } = block.clone_block();
        header.parent_hash = branch[branch.len() - 1].hash();
        if header.number == 12 {
            header.state_root = B256::repeat_byte(7);
        }
        branch.push(SealedBlock::seal_slow(Block { header, body }));
    }
    let head = builder.importer.view().head.clone();
    let mut refused = None;
    for block in branch {
        match builder.import(block.clone()) {
            Ok(Imported::Side) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                let again = builder.import(block).unwrap_err();
                assert!(matches!(again, ImportError::BadAncestor { .. }));
                refused.get_or_insert(error);
            }
        }
    }
    assert!(refused.unwrap().is_senders_fault());
    assert_eq!(builder.importer.view().head, head);
    assert_eq!(balance(&builder.importer, head.hash(), SINK), received(depth));
    // The right branch is still welcome.
    for block in second {
        builder.import(block).unwrap();
    }
    same_chain(&builder, &second_chain);
}

#[test]
fn a_wrong_state_root_is_refused_and_the_next_right_block_imports() {
    let mut builder = builder();
    builder.extend(Vec::new());
    let head = builder.importer.view().head.hash();
    let right = builder.block_on(head, Vec::new(), BlockOptions::default());
    let Block { mut header, body } = right.clone_block();
    header.state_root = B256::repeat_byte(1);
    let wrong = SealedBlock::seal_slow(Block { header, body });
    assert!(matches!(builder.import(wrong), Err(ImportError::Invalid { .. })));
    assert_eq!(builder.import(right).unwrap(), Imported::Head);
}

#[test]
fn many_at_once_end_where_one_by_one_does() {
    let (one_by_one, blocks) = grow(300, &BlockOptions::default());
    let mut many = builder();
    let verified: Vec<_> = blocks.iter().map(|block| many.verify(block.clone())).collect();
    let done = many.importer.import_many(verified, Origin::Operator, u64::MAX / 2).unwrap();
    assert_eq!(done, ManyImported { new: 300, known: 0 });
    same_chain(&many, &one_by_one);
}

#[test]
fn a_bad_block_among_many_leaves_the_good_prefix() {
    let (_, blocks) = grow(10, &BlockOptions::default());
    let mut many = builder();
    let Block { mut header, body } = blocks[6].clone_block();
    header.gas_used += 1;
    let mut blocks = blocks;
    blocks[6] = SealedBlock::seal_slow(Block { header, body });
    let verified: Vec<_> = blocks.iter().map(|block| many.verify(block.clone())).collect();
    let error = many.importer.import_many(verified, Origin::Operator, u64::MAX / 2).unwrap_err();
    assert_eq!(error.imported, 6);
    assert_eq!(many.importer.view().head.number, 6);
}

#[test]
fn a_side_block_can_be_an_ommer_once() {
    let mut builder = builder();
    builder.extend(Vec::new());
    let parent = builder.importer.view().head.hash();
    let ommer = builder.block_on(parent, Vec::new(), extra("ommer"));
    builder.extend(Vec::new());
    assert_eq!(builder.import(ommer.clone()).unwrap(), Imported::Side);
    let head = builder.importer.view().head.hash();
    let ommers = vec![ommer.header().clone()];
    let nephew =
        builder.block_on(head, Vec::new(), BlockOptions { ommers: ommers.clone(), ..extra("") });
    assert_eq!(builder.import(nephew.clone()).unwrap(), Imported::Head);
    let again = builder.block_on(nephew.hash(), Vec::new(), BlockOptions { ommers, ..extra("") });
    assert!(matches!(builder.import(again), Err(ImportError::Invalid { .. })));
}

#[test]
fn reopens_where_it_stopped_and_refuses_another_genesis() {
    let folder = tempfile::tempdir().unwrap();
    let storage = StorageConfig::at(folder.path().to_path_buf());
    let mut builder = ChainBuilder::open(storage.clone(), spec(book_forks()));
    let account = TestAccount::new(1);
    for nonce in 0..5 {
        builder.extend(vec![account.transfer(1_337, nonce, SINK, U256::from(7))]);
    }
    let head = builder.importer.view().head.clone();
    builder.importer.close().unwrap();
    let open = |spec| Importer::open(ChainConfig { storage: storage.clone(), spec });
    let importer = open(None).unwrap();
    assert_eq!(importer.view().head, head);
    assert_eq!(balance(&importer, head.hash(), SINK), U256::from(35));
    drop(importer);
    let other = primitives::ChainSpec::preset("book").unwrap();
    assert!(matches!(open(Some(other)), Err(OpenError::WrongGenesis { .. })));
}

#[test]
fn an_empty_database_needs_a_genesis() {
    let config = ChainConfig { storage: StorageConfig::memory(), spec: None };
    assert!(matches!(Importer::open(config), Err(OpenError::NoGenesis)));
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    let (_, one) = grow(6, &extra("one"));
    let (_, other) = grow(7, &extra("other"));
    let mut blocks: Vec<SealedBlock> = one.into_iter().chain(other).collect();
    let mut expected = None;
    for seed in 1..20u64 {
        // A cheap shuffle that is the same in every run.
        let key = |block: &SealedBlock| {
            primitives::keccak256([block.hash().as_slice(), &seed.to_be_bytes()].concat())
        };
        blocks.sort_by_key(key);
        let mut builder = builder();
        let mut waiting = blocks.clone();
        while !waiting.is_empty() {
            waiting.retain(|block| {
                matches!(builder.import(block.clone()), Err(ImportError::Orphan { .. }))
            });
        }
        let td = builder.importer.view().td;
        assert_eq!(*expected.get_or_insert(td), td, "seed {seed}");
    }
    assert!(blocks[0].body().transactions[0].recover_signer().is_ok());
}
