use std::collections::BTreeMap;

use alloy_rlp::Header;
use proptest::prelude::*;

use super::*;
use crate::StateChanges;

/// The root as the Yellow Paper's appendix D defines it, from scratch.
fn root_by_definition(model: &BTreeMap<Vec<u8>, Vec<u8>>) -> B256 {
    let pairs: Vec<_> = model.iter().map(|(k, v)| (nibbles(k), v.clone())).collect();
    if pairs.is_empty() { EMPTY_ROOT_HASH } else { keccak256(node_by_definition(&pairs, 0)) }
}

fn nibbles(key: &[u8]) -> Vec<u8> {
    key.iter().flat_map(|byte| [byte >> 4, byte & 0x0f]).collect()
}

fn node_by_definition(pairs: &[(Vec<u8>, Vec<u8>)], depth: usize) -> Vec<u8> {
    if let [(key, value)] = pairs {
        return list(&[string(&hex_prefix(&key[depth..], true)), string(value)]);
    }
    let first = &pairs[0].0;
    let shared = (depth..)
        .take_while(|at| {
            first.len() > *at && pairs.iter().all(|(k, _)| k.get(*at) == first.get(*at))
        })
        .count();
    if shared > 0 {
        let below = reference(node_by_definition(pairs, depth + shared));
        return list(&[string(&hex_prefix(&first[depth..depth + shared], false)), below]);
    }
    let mut items = Vec::new();
    for nibble in 0..16 {
        let below: Vec<_> =
            pairs.iter().filter(|(key, _)| key.get(depth) == Some(&nibble)).cloned().collect();
        items.push(if below.is_empty() {
            vec![0x80]
        } else {
            reference(node_by_definition(&below, depth + 1))
        });
    }
    let here = pairs.iter().find(|(key, _)| key.len() == depth);
    items.push(string(here.map_or(&[], |(_, value)| value)));
    list(&items)
}

fn reference(rlp: Vec<u8>) -> Vec<u8> {
    if rlp.len() < 32 { rlp } else { string(keccak256(rlp).as_slice()) }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    alloy_rlp::encode(bytes)
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    Header { list: true, payload_length: items.concat().len() }.encode(&mut out);
    out.extend(items.concat());
    out
}

fn hex_prefix(path: &[u8], is_leaf: bool) -> Vec<u8> {
    let flag = if is_leaf { 2 } else { 0 };
    let mut padded = if path.len() % 2 == 1 { vec![flag + 1] } else { vec![flag, 0] };
    padded.extend(path);
    padded.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The records of a trie that was built at once.
fn records_by_definition(model: &BTreeMap<Vec<u8>, Vec<u8>>) -> MemoryState {
    let mut trie = Trie::new();
    for (key, value) in model {
        trie.insert(key, value);
    }
    let mut disk = MemoryState::default();
    store(&mut trie, &mut disk);
    disk
}

/// Takes the changes of a trie to a disk, after a look that each of them is one.
fn store(trie: &mut Trie, disk: &mut MemoryState) {
    let mut records = Records::default();
    trie.take(&mut records);
    let mut changes = StateChanges::default();
    for (path, range) in records.changed {
        let record = range.map(|range| Bytes::copy_from_slice(&records.rlp[range]));
        assert_ne!(disk.nodes().get(&(None, path)), record.as_ref(), "no change at {path:?}");
        assert!(changes.account_nodes.insert(path, record).is_none(), "{path:?} twice");
    }
    disk.apply(&changes);
}

/// Keys that are often prefixes of each other, and values short and long, or none.
fn change() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let byte = prop_oneof![Just(0x00), Just(0x01), Just(0x10), Just(0x11), Just(0x1f), Just(0xf1)];
    let key = prop::collection::vec(byte, 0..5);
    let value = (0_u8..4, any::<u8>()).prop_map(|(kind, byte)| match kind {
        0 | 1 => Vec::new(),
        2 => vec![byte],
        _ => vec![byte; 40],
    });
    (key, value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn is_what_its_definition_says_after_every_block(
        blocks in prop::collection::vec(
            (prop::collection::vec(change(), 0..12), 0_u8..4, any::<bool>()), 1..12),
    ) {
        let mut model = BTreeMap::new();
        let mut disk = MemoryState::default();
        let mut trie = Trie::new();
        for (changes, then, hash_often) in blocks {
            for (key, value) in changes {
                let source = Source { reader: &disk, owner: None };
                trie.set(source, Nibbles::unpack(&key), &value).unwrap();
                if value.is_empty() { model.remove(&key) } else { model.insert(key, value) };
                if hash_often {
                    prop_assert_eq!(trie.root(), root_by_definition(&model));
                }
            }
            let root = trie.root();
            prop_assert_eq!(root, root_by_definition(&model));
            store(&mut trie, &mut disk);
            prop_assert_eq!(&disk, &records_by_definition(&model));
            match then {
                0 => trie = Trie::at(root),
                1 => trie.settle(0),
                2 => trie.settle(16),
                _ => {}
            }
        }
    }
}

#[test]
fn drops_what_was_taken_and_keeps_what_was_not() {
    let mut trie = Trie::new();
    for byte in 0..=255_u8 {
        trie.insert(keccak256([byte]).as_slice(), &[byte; 40]);
    }
    let before = trie.loaded();
    let mut disk = MemoryState::default();
    store(&mut trie, &mut disk);
    trie.insert(keccak256([0]).as_slice(), &[7; 40]);
    let root = trie.root();
    trie.settle(1_000_000);
    assert_eq!(trie.loaded(), before);
    trie.settle(0);
    // The path to the one leaf that changed stays.
    assert!((2..6).contains(&trie.loaded()), "{} nodes", trie.loaded());
    store(&mut trie, &mut disk);
    trie.settle(0);
    assert_eq!(trie.loaded(), 0);
    assert_eq!(trie.root(), root);
    let source = Source { reader: &disk, owner: None };
    trie.set(source, Nibbles::unpack(keccak256([0])), &[0; 40]).unwrap();
    assert_ne!(trie.root(), root);
}

#[test]
fn keeps_the_upper_nodes_when_there_are_too_many() {
    let mut trie = Trie::new();
    for number in 0..2_000_u16 {
        trie.insert(keccak256(number.to_be_bytes()).as_slice(), &[1; 40]);
    }
    store(&mut trie, &mut MemoryState::default());
    let all = trie.loaded();
    trie.settle(all);
    assert_eq!(trie.loaded(), all);
    trie.settle(all - 1);
    assert_eq!(trie.loaded(), 1 + 16);
}

#[test]
fn says_which_node_is_missing_or_corrupt() {
    let mut trie = Trie::new();
    for byte in 0..32_u8 {
        trie.insert(keccak256([byte]).as_slice(), &[byte; 40]);
    }
    let mut disk = MemoryState::default();
    store(&mut trie, &mut disk);
    let root = trie.root();
    let key = Nibbles::unpack(keccak256([3]));
    let path = key.slice(..1);
    let mut damage = |node: Option<Bytes>| {
        let mut changes = StateChanges::default();
        changes.account_nodes.insert(path, node);
        disk.apply(&changes);
        Trie::at(root).set(Source { reader: &disk, owner: None }, key, &[1]).unwrap_err()
    };
    assert!(
        matches!(damage(None), ReadError::MissingNode { path: missing, .. } if missing == path)
    );
    let error = damage(Some(Bytes::from_static(&[0xc0])));
    assert!(matches!(error, ReadError::Corrupt { what: "trie node", .. }), "{error}");
}

#[test]
fn refuses_records_that_are_no_nodes() {
    let hash = B256::repeat_byte(1);
    let two = |path: &[u8], content: &[u8]| list(&[string(path), content.to_vec()]);
    let mut refused = vec![
        vec![],
        vec![0x80],
        list(&[]),
        list(&[vec![0x80]]),
        list(&vec![vec![0x80]; 16]),
        list(&vec![vec![0x80]; 18]),
        [list(&[string(&[0x20]), string(b"v")]), vec![0]].concat(),
        two(&[], &string(b"v")),
        two(&[0x40], &string(b"v")),
        two(&[0x00; 34], &string(b"v")),
        two(&[[0x30].as_slice(), &[0; 32]].concat(), &string(b"v")),
        two(&[0x00, 0x11], &[0x80]),
        two(&[0x00], &string(hash.as_slice())),
        two(&[0x00, 0x11], &string(&hash[1..])),
        two(&[0x00, 0x11], &two(&[0x20], &string(&[1; 40]))),
    ];
    refused.push(vec![0xc3, 0x20, 0x85, 0x01]);
    for rlp in refused {
        assert!(Node::decode(&rlp, hash).is_none(), "{rlp:02x?}");
    }
    assert!(Node::decode(&two(&[0x20], &string(b"v")), hash).is_some());
    assert!(Node::decode(&two(&[0x00, 0x11], &string(hash.as_slice())), hash).is_some());
}

#[test]
fn has_the_roots_of_the_yellow_papers_friends() {
    let mut trie = Trie::new();
    assert_eq!(trie.root(), EMPTY_ROOT_HASH);
    for (key, value) in [("do", "verb"), ("horse", "stallion"), ("doge", "coin"), ("dog", "puppy")]
    {
        trie.insert(key.as_bytes(), value.as_bytes());
    }
    let root = "5991bb8c6514148a29db676a14ac506cd2cd5775ace63c30a4fe457715e9ac84";
    assert_eq!(primitives::hex::encode(trie.root()), root);
    for key in ["do", "horse", "doge", "dog"] {
        trie.remove(key.as_bytes());
    }
    assert_eq!(trie.root(), EMPTY_ROOT_HASH);
}

/// The keys are hashes, as in every trie that is told to others.
fn hashed_trie(values: u64) -> (MemoryState, B256, BTreeMap<B256, Vec<u8>>) {
    let (mut trie, mut model) = (Trie::new(), BTreeMap::new());
    for number in 0..values {
        let key = keccak256(number.to_be_bytes());
        let value = vec![7; usize::try_from(number % 40 + 1).unwrap()];
        trie.insert(key.as_slice(), &value);
        model.insert(key, value);
    }
    let root = trie.root();
    let mut records = Records::default();
    trie.take(&mut records);
    let mut changes = StateChanges::default();
    for (path, range) in records.changed {
        let rlp = range.map(|range| Bytes::copy_from_slice(&records.rlp[range]));
        changes.account_nodes.insert(path, rlp);
    }
    let mut stored = MemoryState::default();
    stored.apply(&changes);
    (stored, root, model)
}

#[test]
fn links_lead_from_the_root_to_every_node_and_every_value() {
    for size in [1, 2, 17, 700] {
        let (stored, root, model) = hashed_trie(size);
        let (mut open, mut nodes, mut values) = (vec![(root, Nibbles::new())], 0, BTreeMap::new());
        while let Some((hash, path)) = open.pop() {
            let rlp = stored.node(None, &path).unwrap().unwrap();
            assert_eq!(keccak256(&rlp), hash);
            let links = NodeLinks::of(&rlp, &path).unwrap();
            nodes += 1;
            open.extend(links.nodes);
            values.extend(links.values);
        }
        assert_eq!(nodes, stored.nodes().len());
        assert_eq!(values, model);
    }
}

#[test]
fn what_is_no_node_of_hashed_keys_has_no_links() {
    let leaf = |path: &[u8]| list(&[string(&hex_prefix(path, true)), string(&[9; 40])]);
    let nibbles = |count| vec![5; count];
    let here = Nibbles::from_nibbles([1, 2]);
    assert!(NodeLinks::of(&leaf(&nibbles(62)), &here).is_some());
    for count in [0, 61, 63, 64] {
        assert_eq!(NodeLinks::of(&leaf(&nibbles(count)), &here), None);
    }
    assert_eq!(NodeLinks::of(&[], &here), None);
    assert_eq!(NodeLinks::of(&[0xc0], &here), None);
}

#[test]
fn a_proof_of_two_keys_has_every_node_once_and_the_root_first() {
    let (stored, root, model) = hashed_trie(700);
    let keys: Vec<B256> = model.keys().copied().collect();
    for edges in [[keys[0], keys[699]], [keys[5], keys[6]], [B256::ZERO, B256::repeat_byte(0xff)]] {
        let proof = prove_keys(&stored, None, root, &edges).unwrap();
        assert_eq!(keccak256(&proof[0]), root);
        assert_eq!(proof.iter().filter(|node| keccak256(node) == root).count(), 1);
        for key in edges {
            let path = Nibbles::unpack_array(&key);
            let alone = prove_keys(&stored, None, root, &[key]).unwrap();
            assert!(alone.iter().all(|node| proof.contains(node)));
            let value = model.get(&key).cloned();
            alloy_trie::proof::verify_proof(root, path, value, &alone).unwrap();
        }
    }
    assert!(prove_keys(&stored, None, EMPTY_ROOT_HASH, &[B256::ZERO]).unwrap().is_empty());
}
