use alloy_rlp::{Decodable, Encodable};
use primitives::{keccak256, map::HashSet};

use super::*;

const BASE: BlockNumHash = BlockNumHash { number: 100, hash: B256::repeat_byte(0xba) };

fn block(number: u64, branch: u8) -> BlockNumHash {
    BlockNumHash { number, hash: keccak256([&number.to_be_bytes()[..], &[branch]].concat()) }
}

fn owner() -> StorageOwner {
    StorageOwner { address_hash: B256::repeat_byte(9), incarnation: 3 }
}

fn path(nibble: u64) -> Nibbles {
    Nibbles::from_nibbles([u8::try_from(nibble % 16).unwrap(), 1])
}

fn word(number: u64) -> B256 {
    B256::from(U256::from(number))
}

/// A layer that says something about keys of its number, and about one key that all layers have.
fn layer(block: BlockNumHash, parent: B256) -> Arc<Layer> {
    let number = block.number;
    let mut changes = StateChanges::default();
    let account = Account { balance: U256::from_be_bytes(block.hash.0), ..Account::new(number) };
    changes.accounts.insert(word(0), Some(account));
    changes.accounts.insert(word(number), number.is_multiple_of(2).then_some(account));
    let slots = [(word(number % 7), U256::from(number % 3)), (word(number), U256::from(1))];
    changes.slots.insert(owner(), slots.into_iter().collect());
    let rlp = Bytes::from(block.hash.to_vec());
    changes.account_nodes.insert(path(number), (!number.is_multiple_of(3)).then_some(rlp.clone()));
    changes
        .slot_nodes
        .insert(owner(), [(path(number + 1), Some(rlp.clone()))].into_iter().collect());
    changes.codes.insert(block.hash, rlp.clone());
    changes.preimages.insert(word(number), rlp);
    Arc::new(Layer { block, parent, root: B256::ZERO, changes })
}

/// A chain of layers on a block.
fn chain(on: BlockNumHash, length: u64, branch: u8) -> Vec<Arc<Layer>> {
    let mut parent = on.hash;
    (on.number + 1..=on.number + length)
        .map(|number| {
            let layer = layer(block(number, branch), parent);
            parent = layer.block.hash;
            layer
        })
        .collect()
}

fn with(layers: &Layers, chain: &[Arc<Layer>]) -> Layers {
    chain.iter().fold(layers.clone(), |layers, layer| layers.with(Arc::clone(layer)))
}

/// Everything that any layer of these tests could say something about.
fn answers(view: &LayerView) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut accounts = Vec::new();
    let mut slots = Vec::new();
    let mut nodes = Vec::new();
    let mut codes = Vec::new();
    for number in 0..160 {
        accounts.push(view.account(word(number)));
        slots.push(view.slot(owner(), word(number)));
        nodes.push((view.node(None, &path(number)), view.node(Some(owner()), &path(number))));
        codes.extend((0..4).map(|branch| view.code(block(number, branch).hash)));
    }
    (accounts, slots, nodes, codes)
}

/// The index must say what a walk says, and hold nothing that no layer has.
fn check(layers: &Layers) {
    let head = layers.head().hash;
    let indexed = layers.view(head).unwrap();
    assert!(matches!(indexed.0, Lookup::Indexed(_)));
    let mut chain = layers.chain_to(head).unwrap();
    chain.reverse();
    let walk = LayerView(Lookup::Walk(chain.into()));
    assert_eq!(answers(&indexed), answers(&walk));
    let keys: HashSet<_> = walk.layers().flat_map(|layer| index::keys(&layer.changes)).collect();
    assert_eq!(layers.index.keys_count(), keys.len());
}

#[test]
fn the_indexed_head_answers_as_a_walk_does() {
    let mut layers = Layers::new(BASE);
    check(&layers);
    for layer in chain(BASE, 40, 0) {
        layers = layers.with(Arc::clone(&layer)).with_head(layer.block.hash);
        assert_eq!(layers.head(), layer.block);
        check(&layers);
    }
    assert_eq!(layers.len(), 40);
}

#[test]
fn a_deletion_is_an_answer_and_absence_is_none() {
    let layers = with(&Layers::new(BASE), &chain(BASE, 3, 0));
    let top = block(103, 0).hash;
    for layers in [layers.clone(), layers.with_head(top)] {
        let view = layers.view(top).unwrap();
        assert_eq!(view.account(word(101)), Some(None));
        assert_eq!(view.account(word(99)), None);
        assert_eq!(view.slot(owner(), word(102 % 7)), Some(U256::ZERO));
        assert_eq!(view.slot(StorageOwner { incarnation: 4, ..owner() }, word(102)), None);
        assert_eq!(view.node(None, &path(102)), Some(None));
        assert_eq!(view.node(None, &path(99)), None);
        assert!(view.preimage(word(101)).is_some());
        assert!(view.preimage(word(99)).is_none());
    }
}

#[test]
fn siblings_see_their_own_branch() {
    let trunk = chain(BASE, 5, 0);
    let mut layers = with(&Layers::new(BASE), &trunk).with_head(block(105, 0).hash);
    let left = chain(block(105, 0), 4, 1);
    let right = chain(block(105, 0), 6, 2);
    layers = with(&with(&layers, &left), &right);
    let before = layers.clone();
    for head in [block(109, 1), block(111, 2), block(107, 1), block(103, 0), BASE, block(108, 2)] {
        layers = layers.with_head(head.hash);
        assert_eq!(layers.head(), head);
        check(&layers);
        let walked = before.view(head.hash).unwrap();
        assert_eq!(answers(&walked), answers(&layers.view(head.hash).unwrap()));
    }
    assert_eq!(before.head(), block(105, 0));
    check(&before);
}

#[test]
fn advancing_drops_what_no_longer_descends_from_the_base() {
    let trunk = chain(BASE, 12, 0);
    let low = chain(block(102, 0), 5, 1);
    let forked_low = chain(block(104, 1), 2, 2);
    let high = chain(block(108, 0), 3, 3);
    let mut layers = Layers::new(BASE);
    for branch in [&trunk, &low, &forked_low, &high] {
        layers = with(&layers, branch);
    }
    layers = layers.with_head(block(112, 0).hash);
    let view = layers.view(block(112, 0).hash).unwrap();

    let (next, dropped) = layers.advance(&trunk[..2]);
    assert!(dropped.is_empty());
    assert_eq!(next.base(), block(102, 0));
    check(&next);

    let (next, dropped) = next.advance(&trunk[2..6]);
    let dropped: HashSet<_> = dropped.iter().map(|layer| layer.block.hash).collect();
    let expect: HashSet<_> = low.iter().chain(&forked_low).map(|layer| layer.block.hash).collect();
    assert_eq!(dropped, expect);
    assert_eq!(next.base(), block(106, 0));
    assert_eq!(next.head(), block(112, 0));
    assert_eq!(next.len(), 6 + 3);
    assert!(next.view(block(104, 1).hash).is_none());
    assert!(next.chain_to(block(106, 0).hash).unwrap().is_empty());
    assert!(next.chain_to(block(105, 0).hash).is_none());
    check(&next);
    check(&next.with_head(block(111, 3).hash));
    // The old version, and the view of it, are as they were.
    check(&layers);
    assert_eq!(answers(&view), answers(&layers.view(block(112, 0).hash).unwrap()));
}

#[test]
fn advancing_past_the_indexed_head_leaves_nothing_indexed() {
    let trunk = chain(BASE, 6, 0);
    let side = chain(BASE, 2, 1);
    let layers = with(&with(&Layers::new(BASE), &trunk), &side).with_head(block(102, 1).hash);
    let (next, dropped) = layers.advance(&trunk[..3]);
    assert_eq!(dropped.len(), 2);
    assert_eq!(next.head(), next.base());
    check(&next);
    check(&next.with_head(block(106, 0).hash));
    let (all, _) = next.advance(&trunk[3..]);
    assert!(all.is_empty());
    check(&all);
}

#[test]
fn a_layer_survives_its_encoding() {
    let layer = layer(block(101, 0), BASE.hash);
    let rlp = alloy_rlp::encode(&*layer);
    assert_eq!(rlp.len(), layer.length());
    assert_eq!(Layer::decode(&mut rlp.as_slice()).unwrap(), *layer);
    assert!(Layer::decode(&mut &rlp[..rlp.len() - 1]).is_err());
}

#[test]
fn knows_no_view_of_a_stranger() {
    let layers = with(&Layers::new(BASE), &chain(BASE, 2, 0));
    assert!(layers.view(B256::ZERO).is_none());
    assert!(layers.get(B256::ZERO).is_none());
    assert!(!layers.contains(BASE.hash));
    assert_eq!(layers.view(BASE.hash).unwrap().layers().count(), 0);
    let orphan = layers.with(layer(block(300, 7), B256::repeat_byte(1)));
    assert!(orphan.view(block(300, 7).hash).is_none());
}

#[test]
#[should_panic(expected = "a layer lies on its parent's")]
fn refuses_a_gap_in_the_numbers() {
    let _ = Layers::new(BASE).with(layer(block(102, 0), BASE.hash));
}
