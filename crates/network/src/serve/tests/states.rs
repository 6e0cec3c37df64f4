use std::collections::{BTreeMap, BTreeSet};

use alloy_rlp::Decodable;
use alloy_trie::{
    HashBuilder, Nibbles, TrieAccount,
    nodes::{TrieNode, encode_path_leaf},
};
use primitives::{Bytes, EMPTY_ROOT_HASH, KECCAK256_EMPTY, U256, keccak256};
use proptest::prelude::*;
use state::{Account, MemoryState, StateReader};

use super::{
    grown::{Grown, Numbers, accounts, is_live, slots, trie_account},
    proof::verify_range,
    *,
};
use crate::wire::{RequestId, slim};

const REQUEST: RequestId = RequestId(7);
const END: B256 = B256::repeat_byte(0xff);
/// Hashes that geth 1.9 asks for at once.
const HASHES: usize = 384;
/// More blocks than have a layer each, so that the base is in the middle.
const BLOCKS: u64 = 150;

type Range<V> = (Vec<(B256, V)>, Vec<Bytes>);

fn account_range(
    asker: &Asker,
    view: &ChainView,
    root: B256,
    (origin, limit, bytes): (B256, B256, u64),
) -> Range<Account> {
    let question = SnapQuestion::AccountRange { request: REQUEST, root, origin, limit, bytes };
    match asker.snap(view, question) {
        SnapAnswer::AccountRange { request: REQUEST, accounts, proof } => (accounts, proof),
        other => panic!("{other:?}"),
    }
}

fn storage_ranges(
    asker: &Asker,
    view: &ChainView,
    (root, accounts): (B256, Vec<B256>),
    (origin, limit, bytes): (B256, B256, u64),
) -> (Vec<Vec<(B256, U256)>>, Vec<Bytes>) {
    let request = REQUEST;
    let question = SnapQuestion::StorageRanges { request, root, accounts, origin, limit, bytes };
    match asker.snap(view, question) {
        SnapAnswer::StorageRanges { request: REQUEST, slots, proof } => (slots, proof),
        other => panic!("{other:?}"),
    }
}

fn node_data(asker: &Asker, view: &ChainView, hashes: Vec<B256>) -> Vec<Bytes> {
    match asker.eth(view, Message::GetNodeData { request: REQUEST, hashes }) {
        Message::NodeData { request: REQUEST, values } => values,
        other => panic!("{other:?}"),
    }
}

/// A hash that is, or nearly is, one of these, or any other.
fn around(numbers: &mut Numbers, keys: &[B256]) -> B256 {
    let any = keccak256(numbers.below(1 << 30).to_be_bytes());
    let Some(known) = keys.get(usize::try_from(numbers.below(keys.len() as u64 + 1)).unwrap())
    else {
        return any;
    };
    let as_number = U256::from_be_bytes(known.0);
    match numbers.below(5) {
        0 => any,
        1 => B256::from(as_number.wrapping_add(U256::from(1))),
        2 => B256::from(as_number.wrapping_sub(U256::from(1))),
        _ => *known,
    }
}

/// What is told begins at the origin, leaves nothing out, ends where geth's ends, and is proved.
fn check_range<V: Copy + PartialEq + std::fmt::Debug>(
    model: &BTreeMap<B256, V>,
    (told, proof): &Range<V>,
    (root, origin, limit): (B256, B256, B256),
    is_full: impl Fn(&[(B256, V)]) -> bool,
    value: impl Fn(&V) -> Vec<u8>,
) {
    let expected: Vec<_> = model.range(origin..).map(|(hash, it)| (*hash, *it)).collect();
    assert_eq!(told[..], expected[..told.len()]);
    let is_last = |count: usize| {
        count == expected.len() || is_full(&expected[..count]) || expected[count - 1].0 >= limit
    };
    let count = (1..=expected.len()).find(|count| is_last(*count)).unwrap_or(0);
    assert_eq!(told.len(), count);
    let last = if told.len() == expected.len() { END } else { told[told.len() - 1].0 };
    let values = told.iter().map(|(hash, it)| (*hash, value(it))).collect();
    if root == EMPTY_ROOT_HASH {
        assert!(values == BTreeMap::new() && proof.is_empty());
    } else {
        verify_range(root, (origin, last), &values, proof);
    }
}

fn check_account_ranges(grown: &Grown, asker: &Asker, number: u64, numbers: &mut Numbers) {
    let (root, state) = grown.state(number);
    let (view, model) = (grown.view(), accounts(state));
    let keys: Vec<_> = model.keys().copied().collect();
    for _ in 0..6 {
        let (origin, limit) = (around(numbers, &keys), around(numbers, &keys));
        let bytes = [0, 100, 1_500, u64::MAX][usize::try_from(numbers.below(4)).unwrap()];
        let told = account_range(asker, &view, root, (origin, limit, bytes));
        let is_full = |told: &[(B256, Account)]| {
            told.iter().map(|(_, it)| 32 + slim(it).len() as u64).sum::<u64>() > bytes
        };
        check_range(&model, &told, (root, origin, limit), is_full, trie_account);
    }
}

fn check_storage_ranges(grown: &Grown, asker: &Asker, number: u64, numbers: &mut Numbers) {
    let (root, state) = grown.state(number);
    let view = grown.view();
    for (hash, account) in accounts(state) {
        let (owner, of) = (account.owner(hash), (root, vec![hash]));
        let model = slots(state, owner);
        let keys: Vec<_> = model.keys().copied().collect();
        // From zero on, with no limit: whole and without a proof, or cut and proved.
        for bytes in [1, 2_000, u64::MAX] {
            let (mut told, proof) =
                storage_ranges(asker, &view, of.clone(), (B256::ZERO, END, bytes));
            let told = told.pop().unwrap_or_default();
            assert_eq!(proof.is_empty(), told.len() == model.len());
            let is_full =
                |told: &[(B256, U256)]| slots_bytes(told) >= bytes.saturating_add(bytes / 10);
            let asked = (account.storage_root, B256::ZERO, END);
            check_range(&model, &(told, proof), asked, is_full, |it| alloy_rlp::encode(it));
        }
        let origin = around(numbers, &keys).max(B256::with_last_byte(1));
        let limit = around(numbers, &keys);
        let (mut told, proof) = storage_ranges(asker, &view, of, (origin, limit, 100_000));
        let told = (told.pop().unwrap_or_default(), proof);
        let asked = (account.storage_root, origin, limit);
        check_range(&model, &told, asked, |_| false, |it| alloy_rlp::encode(it));
    }
}

fn slots_bytes(told: &[(B256, U256)]) -> u64 {
    told.iter().map(|(_, it)| 32 + alloy_rlp::encode(it).len() as u64).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn ranges_are_those_of_a_map_and_their_proofs_hold(seed: u64) {
        let (grown, asker) = (Grown::new(BLOCKS, seed), Asker::new());
        let mut numbers = Numbers(seed);
        let base = grown.view().db.base().number;
        prop_assert!(base > 0 && base < BLOCKS);
        for number in [base, base + 1, BLOCKS - 64, BLOCKS - 1, BLOCKS] {
            check_account_ranges(&grown, &asker, number, &mut numbers);
            check_storage_ranges(&grown, &asker, number, &mut numbers);
        }
    }
}

/// What geth's fast sync has found.
#[derive(Default)]
struct Found {
    nodes: BTreeSet<B256>,
    codes: BTreeSet<B256>,
}

/// Walks a trie as geth 1.9 does: depth first, in groups, and each of several peers gets a part.
fn walk(root: B256, mut ask: impl FnMut(Vec<B256>) -> Vec<Bytes>) -> Found {
    let mut found = Found::default();
    // Hash, and whether it is a node of the account trie, one of a storage trie, or code.
    let mut open = vec![(root, Some(true))];
    while !open.is_empty() {
        let group = open.split_off(open.len().saturating_sub(HASHES));
        let kinds: BTreeMap<_, _> = group.into_iter().collect();
        let answers = ask(kinds.keys().copied().collect());
        assert_eq!(answers.len(), kinds.len(), "every one of {kinds:?} is told");
        for answer in answers {
            let hash = keccak256(&answer);
            match kinds[&hash] {
                None => {
                    found.codes.insert(hash);
                }
                Some(is_account) if found.nodes.insert(hash) => {
                    links(&answer, is_account, &mut open);
                }
                Some(_) => {}
            }
        }
    }
    found
}

fn links(node: &[u8], is_account: bool, open: &mut Vec<(B256, Option<bool>)>) {
    let follow = |child: &alloy_trie::nodes::RlpNode, open: &mut Vec<_>| match child.as_hash() {
        Some(hash) => open.push((hash, Some(is_account))),
        None => links(child, is_account, open),
    };
    match TrieNode::decode(&mut &*node).unwrap() {
        TrieNode::Extension(extension) => follow(&extension.child, open),
        TrieNode::Branch(branch) => {
            branch.stack.iter().for_each(|child| follow(child, open));
        }
        TrieNode::Leaf(leaf) if is_account => {
            let account = TrieAccount::decode(&mut &leaf.value[..]).unwrap();
            if account.storage_root != EMPTY_ROOT_HASH {
                open.push((account.storage_root, Some(false)));
            }
            if account.code_hash != KECCAK256_EMPTY {
                open.push((account.code_hash, None));
            }
        }
        TrieNode::Leaf(_) | TrieNode::EmptyRoot => {}
    }
}

/// The hashes of all nodes of a state, and of the code of its accounts.
fn everything(state: &MemoryState) -> Found {
    let nodes = state
        .nodes()
        .iter()
        .filter(|((owner, _), _)| owner.is_none_or(|owner| is_live(state, owner)));
    let codes = state.accounts().values().map(|account| account.code_hash);
    Found {
        nodes: nodes.map(|(_, node)| keccak256(node)).collect(),
        codes: codes.filter(|hash| *hash != KECCAK256_EMPTY).collect(),
    }
}

#[test]
fn every_node_and_every_code_is_told_to_who_walks_down_from_a_root() {
    let (grown, asker) = (Grown::new(BLOCKS, 1), Asker::new());
    let view = grown.view();
    for number in [view.db.base().number, BLOCKS - 64, BLOCKS] {
        let (root, state) = grown.state(number);
        let found = walk(root, |hashes| node_data(&asker, &view, hashes));
        let expected = everything(state);
        assert_eq!(found.nodes, expected.nodes);
        assert_eq!(found.codes, expected.codes);
    }
}

#[test]
fn a_walk_goes_on_while_the_chain_grows_as_long_as_the_state_is_kept() {
    let (mut grown, asker) = (Grown::new(BLOCKS, 2), Asker::new());
    let (root, state) = grown.state(BLOCKS - 64);
    let expected = everything(state);
    let mut view = grown.view();
    let mut questions = 0_u64;
    let found = walk(root, |hashes| {
        questions += 1;
        let answers = node_data(&asker, &view, hashes);
        grown.extend(5);
        view = grown.view();
        answers
    });
    assert!((2..13).contains(&questions), "{questions} questions");
    assert_eq!(found.nodes, expected.nodes);
}

#[test]
fn nodes_are_told_below_told_ones_only_and_not_when_their_state_is_gone() {
    let (mut grown, asker) = (Grown::new(BLOCKS, 3), Asker::new());
    let (root, _) = grown.state(BLOCKS);
    let view = grown.view();
    let mut below = Vec::new();
    links(&node_data(&asker, &view, vec![root, root])[0], true, &mut below);
    let below: Vec<_> = below.into_iter().map(|(hash, _)| hash).collect();
    // What another process has told is not known here.
    assert!(node_data(&Asker::new(), &view, below.clone()).is_empty());
    assert_eq!(node_data(&asker, &view, below.clone()).len(), below.len());
    assert!(node_data(&asker, &view, vec![B256::ZERO, EMPTY_ROOT_HASH]).is_empty());

    grown.extend(storage::LAYERS_MAX + 50);
    let view = grown.view();
    assert!(node_data(&asker, &view, vec![root]).is_empty());
    let kept = node_data(&asker, &view, below.clone());
    assert!(kept.len() < below.len());
    for node in kept {
        assert!(below.contains(&keccak256(node)));
    }
}

/// As geth's snap sync does it: accounts part by part, then what belongs to them.
#[test]
fn ranges_and_codes_are_enough_to_make_the_root() {
    let (grown, asker) = (Grown::new(BLOCKS, 4), Asker::new());
    let view = grown.view();
    for number in [view.db.base().number, BLOCKS - 64, BLOCKS] {
        let (root, _) = grown.state(number);
        let (mut trie, mut origin) = (HashBuilder::default(), B256::ZERO);
        loop {
            let (told, _) = account_range(&asker, &view, root, (origin, END, 600));
            let Some((last, _)) = told.last().copied() else { break };
            let owners: Vec<_> = told.iter().map(|(hash, _)| *hash).collect();
            for (hash, account) in told {
                trie.add_leaf(Nibbles::unpack(hash), &trie_account(&account));
            }
            check_parts(&grown, &asker, number, &owners);
            origin = B256::from(U256::from_be_bytes(last.0) + U256::from(1));
        }
        assert_eq!(trie.root(), root);
    }
}

/// The slots and codes of some accounts are told whole.
fn check_parts(grown: &Grown, asker: &Asker, number: u64, owners: &[B256]) {
    let ((root, state), view) = (grown.state(number), grown.view());
    let all = accounts(state);
    let with_slots: Vec<_> =
        owners.iter().filter(|hash| all[*hash].storage_root != EMPTY_ROOT_HASH).collect();
    let asked = (root, owners.to_vec());
    let (told, proof) = storage_ranges(asker, &view, asked, (B256::ZERO, END, u64::MAX));
    assert!(proof.is_empty() && told.len() == with_slots.len());
    for (hash, slots) in with_slots.iter().zip(told) {
        let mut trie = HashBuilder::default();
        for (slot, value) in slots {
            trie.add_leaf(Nibbles::unpack(slot), &alloy_rlp::encode(value));
        }
        assert_eq!(trie.root(), all[*hash].storage_root);
    }
    let hashes: Vec<_> = owners.iter().map(|hash| all[hash].code_hash).collect();
    let question =
        SnapQuestion::ByteCodes { request: REQUEST, hashes: hashes.clone(), bytes: u64::MAX };
    let SnapAnswer::ByteCodes { codes, .. } = asker.snap(&view, question) else {
        panic!("another answer")
    };
    assert_eq!(codes.iter().map(keccak256).collect::<Vec<_>>(), hashes);
}

fn trie_nodes(
    asker: &Asker,
    view: &ChainView,
    root: B256,
    paths: Vec<Vec<Bytes>>,
    bytes: u64,
) -> Vec<Bytes> {
    let question = SnapQuestion::TrieNodes { request: REQUEST, root, paths, bytes };
    match asker.snap(view, question) {
        SnapAnswer::TrieNodes { request: REQUEST, nodes } => nodes,
        other => panic!("{other:?}"),
    }
}

fn compact(path: &Nibbles) -> Bytes {
    Bytes::copy_from_slice(&encode_path_leaf(path, false))
}

#[test]
fn every_node_is_told_by_its_path() {
    let (grown, asker) = (Grown::new(BLOCKS, 5), Asker::new());
    let (view, number) = (grown.view(), BLOCKS - 64);
    let (root, state) = grown.state(number);
    for ((owner, path), node) in state.nodes() {
        let set = match owner {
            None => vec![compact(path)],
            Some(owner) if is_live(state, *owner) => {
                vec![Bytes::copy_from_slice(owner.address_hash.as_slice()), compact(path)]
            }
            Some(_) => continue,
        };
        let told = trie_nodes(&asker, &view, root, vec![set], 1_000);
        assert_eq!(told, std::slice::from_ref(node));
    }
}

#[test]
fn places_without_a_node_are_told_empty_and_absent_accounts_not_at_all() {
    let (grown, asker) = (Grown::new(1, 6), Asker::new());
    let (view, (root, state)) = (grown.view(), grown.state(1));
    let top = state.node(None, &Nibbles::new()).unwrap().unwrap();
    let path = |nibbles: &[u8]| compact(&Nibbles::from_nibbles(nibbles));
    let hash = |byte| Bytes::copy_from_slice(B256::repeat_byte(byte).as_slice());
    let leaf = Bytes::copy_from_slice(&encode_path_leaf(&Nibbles::from_nibbles([1]), true));
    let paths = vec![
        vec![path(&[])],
        vec![path(&[1; 60])],
        vec![hash(7), path(&[])],
        vec![Bytes::new()],
        vec![leaf],
        vec![Bytes::from(vec![0x10; 33])],
        vec![Bytes::from(vec![0x00; 33])],
    ];
    let nothing = Bytes::new();
    let expected = [&top, &nothing, &top, &nothing, &nothing, &nothing].map(Bytes::clone);
    assert_eq!(trie_nodes(&asker, &view, root, paths, 100_000), expected);
}

#[test]
fn nodes_are_told_until_the_answer_is_long_enough_or_too_much_was_looked_up() {
    let (grown, asker) = (Grown::new(1, 7), Asker::new());
    let (view, (root, _)) = (grown.view(), grown.state(1));
    let roots = |count| vec![vec![Bytes::new()]; count];
    assert_eq!(trie_nodes(&asker, &view, root, roots(9), 0).len(), 1);
    assert_eq!(trie_nodes(&asker, &view, root, roots(9), 1_000).len(), 2);
    assert_eq!(trie_nodes(&asker, &view, root, roots(9), 1 << 20).len(), 9);
    let absent = vec![vec![Bytes::from(vec![0x11; 3])]; 2_000];
    assert_eq!(trie_nodes(&asker, &view, root, absent, 1 << 20).len(), 1_025);
}

#[test]
fn a_state_that_is_not_kept_has_an_empty_answer() {
    let (grown, asker) = (Grown::new(BLOCKS, 8), Asker::new());
    let (view, (old, state)) = (grown.view(), grown.state(3));
    let hash = *accounts(state).keys().next().unwrap();
    for root in [old, B256::ZERO] {
        let all = (B256::ZERO, END, 1_000);
        assert_eq!(account_range(&asker, &view, root, all), Default::default());
        assert_eq!(storage_ranges(&asker, &view, (root, vec![hash]), all), Default::default());
        assert!(trie_nodes(&asker, &view, root, vec![vec![Bytes::new()]], 1_000).is_empty());
    }
}

#[test]
fn the_code_of_nothing_is_told_and_unknown_code_left_out() {
    let (grown, asker) = (Grown::new(1, 9), Asker::new());
    let code = accounts(grown.state(1).1).values().next().unwrap().code_hash;
    let codes = |hashes, bytes| {
        let question = SnapQuestion::ByteCodes { request: REQUEST, hashes, bytes };
        match asker.snap(&grown.view(), question) {
            SnapAnswer::ByteCodes { codes, .. } => {
                codes.iter().map(|code| code.len()).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(codes(vec![B256::ZERO, KECCAK256_EMPTY, code], 1_000), [0, 50]);
    assert_eq!(codes(vec![code; 9], 99), [50, 50]);
}

#[test]
fn slots_of_several_accounts_end_with_the_one_that_is_cut() {
    let (grown, asker) = (Grown::new(1, 10), Asker::new());
    let (view, (root, state)) = (grown.view(), grown.state(1));
    let all = accounts(state);
    let count = |hash: &B256| slots(state, all[hash].owner(*hash)).len();
    let large = *all.keys().find(|hash| count(hash) > 100).unwrap();
    let small = *all.keys().find(|hash| (2..7).contains(&count(hash))).unwrap();
    let absent = B256::repeat_byte(1);
    let ask = |of: &[B256], origin, bytes| {
        let (told, proof) =
            storage_ranges(&asker, &view, (root, of.to_vec()), (origin, END, bytes));
        (told.iter().map(Vec::len).collect::<Vec<_>>(), !proof.is_empty())
    };
    let (few, many) = (count(&small), count(&large));
    let ends = |(told, is_proved): (Vec<usize>, bool), whole: &[usize]| {
        assert!(is_proved && told.len() == whole.len() + 1 && told[..whole.len()] == *whole);
        assert!((1..many).contains(&told[whole.len()]));
    };
    let zero = B256::ZERO;
    assert_eq!(ask(&[small, absent, large, small], zero, 1 << 20), (vec![few, many, few], false));
    ends(ask(&[small, absent, large, small], zero, 2_000), &[few]);
    assert_eq!(ask(&[small, large], zero, 1), (vec![1], true));
    // An origin is that of the first account, which is proved and the last.
    ends(ask(&[large, small], B256::repeat_byte(0x11), 1 << 20), &[]);
    assert_eq!(ask(&[absent, small], B256::repeat_byte(0x11), 1 << 20), (vec![], false));
}
