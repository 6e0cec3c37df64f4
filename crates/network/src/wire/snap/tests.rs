use primitives::{bytes, hex};
use proptest::{collection::vec, prelude::*};

use super::*;

fn hash(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_list(items, &mut out);
    out
}

fn rlp(value: impl Encodable) -> Vec<u8> {
    alloy_rlp::encode(value)
}

/// As a peer writes it.
fn written(question: &SnapQuestion) -> (u8, Vec<u8>) {
    match question {
        SnapQuestion::AccountRange { request, root, origin, limit, bytes } => {
            let items = [rlp(request.0), rlp(root), rlp(origin), rlp(limit), rlp(bytes)];
            (0, list(&items))
        }
        SnapQuestion::StorageRanges { request, root, accounts, origin, limit, bytes } => {
            let (origin, limit) = (rlp(origin), rlp(limit));
            let items = [rlp(request.0), rlp(root), rlp(accounts), origin, limit, rlp(bytes)];
            (2, list(&items))
        }
        SnapQuestion::ByteCodes { request, hashes, bytes } => {
            (4, list(&[rlp(request.0), rlp(hashes), rlp(bytes)]))
        }
        SnapQuestion::TrieNodes { request, root, paths, bytes } => {
            (6, list(&[rlp(request.0), rlp(root), rlp(paths), rlp(bytes)]))
        }
    }
}

fn any_question() -> impl Strategy<Value = SnapQuestion> {
    let word = || any::<[u8; 32]>().prop_map(B256::from);
    let numbers = || any::<(u64, u64)>().prop_map(|(id, bytes)| (RequestId(id), bytes));
    let path = vec(any::<u8>(), 0..=PATH_BYTES_MAX).prop_map(Bytes::from);
    prop_oneof![
        (numbers(), word(), word(), word()).prop_map(|((request, bytes), root, origin, limit)| {
            SnapQuestion::AccountRange { request, root, origin, limit, bytes }
        }),
        (numbers(), vec(word(), 0..5), word(), word()).prop_map(
            |((request, bytes), accounts, origin, limit)| SnapQuestion::StorageRanges {
                request,
                root: hash(1),
                accounts,
                origin,
                limit,
                bytes
            }
        ),
        (numbers(), vec(word(), 0..5)).prop_map(|((request, bytes), hashes)| {
            SnapQuestion::ByteCodes { request, hashes, bytes }
        }),
        (numbers(), word(), vec(vec(path, 1..4), 0..4)).prop_map(
            |((request, bytes), root, paths)| SnapQuestion::TrieNodes {
                request,
                root,
                paths,
                bytes
            }
        ),
    ]
}

proptest! {
    #[test]
    fn questions_are_read_as_they_were_written(question in any_question()) {
        let (code, payload) = written(&question);
        prop_assert_eq!(SnapQuestion::decode(code, &payload), Ok(question));
    }

    #[test]
    fn another_byte_is_another_question_or_none(
        question in any_question(), at: prop::sample::Index, flip in 1_u8..,
    ) {
        let (code, mut payload) = written(&question);
        *at.get_mut(&mut payload[..]) ^= flip;
        if let Ok(other) = SnapQuestion::decode(code, &payload) {
            prop_assert_ne!(&other, &question);
        }
    }

    #[test]
    fn garbage_is_refused_without_a_panic(code: u8, payload in vec(any::<u8>(), 0..200)) {
        if let Ok(question) = SnapQuestion::decode(code, &payload) {
            prop_assert!(code % 2 == 0 && code < SNAP_MESSAGE_CODES, "{question:?}");
        }
    }
}

#[test]
fn answers_and_codes_that_nobody_has_are_no_questions() {
    for code in (0..=u8::MAX).filter(|code| ![0, 2, 4, 6].contains(code)) {
        assert_eq!(SnapQuestion::decode(code, &[0xc0]), Err(WireError::NoSnapQuestion { code }));
    }
}

/// The slots' bounds as geth leaves them out, or a client cuts them.
#[test]
fn bounds_that_are_left_out_are_the_ends() {
    let read = |origin: &[u8], limit: &[u8]| {
        let bounds = [rlp(origin), rlp(limit)].concat();
        let payload = list(&[rlp(1_u8), rlp(hash(1)), rlp(vec![hash(2)]), bounds, rlp(9_u8)]);
        match SnapQuestion::decode(GET_STORAGE_RANGES, &payload) {
            Ok(SnapQuestion::StorageRanges { origin, limit, .. }) => Ok((origin, limit)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        }
    };
    assert_eq!(read(&[], &[]), Ok((B256::ZERO, hash(0xff))));
    assert_eq!(read(&[7], &[8]), Ok((B256::with_last_byte(7), B256::with_last_byte(8))));
    assert_eq!(read(hash(3).as_slice(), hash(4).as_slice()), Ok((hash(3), hash(4))));
    assert_eq!(read(&[1; 33], &[]), Err(WireError::PathTooLong { bytes: 33 }));
}

#[test]
fn lists_are_counted_at_the_limit_and_one_beyond() {
    let (request, root, bytes) = (RequestId(1), hash(1), 9);
    let path = || Bytes::from_static(&[0]);
    let accounts = |count| SnapQuestion::StorageRanges {
        request,
        root,
        accounts: vec![hash(2); count],
        origin: hash(0),
        limit: hash(9),
        bytes,
    };
    let codes = |count| SnapQuestion::ByteCodes { request, hashes: vec![hash(2); count], bytes };
    let sets = |count: usize| SnapQuestion::TrieNodes {
        request,
        root,
        paths: vec![vec![path()]; count],
        bytes,
    };
    let within = |count: usize| SnapQuestion::TrieNodes {
        request,
        root,
        paths: vec![vec![path(); TRIE_PATHS_MAX / 2], vec![path(); count - TRIE_PATHS_MAX / 2]],
        bytes,
    };
    let cases: [(usize, &dyn Fn(usize) -> SnapQuestion); 4] = [
        (SLOT_ACCOUNTS_MAX, &accounts),
        (CODES_MAX, &codes),
        (TRIE_PATHS_MAX, &sets),
        (TRIE_PATHS_MAX, &within),
    ];
    for (limit, question) in cases {
        let decode = |count| {
            let (code, payload) = written(&question(count));
            SnapQuestion::decode(code, &payload)
        };
        assert_eq!(decode(limit), Ok(question(limit)));
        assert!(matches!(decode(limit + 1), Err(WireError::TooMany { .. })));
    }
    let oversized = vec![0; MESSAGE_BYTES_MAX + 1];
    let refusal = SnapQuestion::decode(GET_ACCOUNT_RANGE, &oversized);
    assert_eq!(refusal, Err(WireError::Oversized { bytes: MESSAGE_BYTES_MAX + 1 }));
}

#[test]
fn paths_that_are_none_are_refused() {
    let read = |paths: &[Vec<Bytes>]| {
        let payload = list(&[rlp(1_u8), rlp(hash(1)), rlp(paths.to_vec()), rlp(9_u8)]);
        SnapQuestion::decode(GET_TRIE_NODES, &payload)
    };
    assert_eq!(read(&[vec![]]), Err(WireError::NoPath));
    let long = Bytes::from(vec![0; PATH_BYTES_MAX + 1]);
    assert_eq!(read(&[vec![long]]), Err(WireError::PathTooLong { bytes: PATH_BYTES_MAX + 1 }));
    assert!(read(&[vec![Bytes::new(), Bytes::from(vec![0; PATH_BYTES_MAX])]]).is_ok());
}

#[test]
fn what_stands_behind_the_last_item_is_refused() {
    let question = SnapQuestion::ByteCodes { request: RequestId(1), hashes: vec![], bytes: 1 };
    let (code, payload) = written(&question);
    let behind = [&payload[..], &[0x80]].concat();
    assert_eq!(SnapQuestion::decode(code, &behind), Err(WireError::Surplus));
    let within = list(&[rlp(1_u8), vec![0xc0], rlp(1_u8), rlp(1_u8)]);
    assert_eq!(SnapQuestion::decode(code, &within), Err(WireError::Surplus));
}

#[test]
fn accounts_are_written_without_the_hashes_of_nothing() {
    let plain = Account { nonce: 3, balance: U256::from(0x1234), ..Account::new(77) };
    assert_eq!(hex::encode(slim(&plain)), "c6038212348080");
    let contract = Account { storage_root: hash(0xaa), code_hash: hash(0xbb), ..plain };
    let expected = format!("f84603821234a0{}a0{}", "aa".repeat(32), "bb".repeat(32));
    assert_eq!(hex::encode(slim(&contract)), expected);
    let answer = SnapAnswer::AccountRange {
        request: RequestId(5),
        accounts: vec![(hash(0x11), plain)],
        proof: vec![bytes!("c0"), bytes!("c101")],
    };
    let (code, payload) = answer.encode();
    let account = format!("e8a0{}c6038212348080", "11".repeat(32));
    assert_eq!((code, hex::encode(payload)), (1, format!("f105e9{account}c581c082c101")));
}

#[test]
fn slots_are_written_as_strings_of_their_rlp() {
    let answer = SnapAnswer::StorageRanges {
        request: RequestId(5),
        slots: vec![vec![(hash(0x11), U256::from(5)), (hash(0x12), U256::from(0x80))], vec![]],
        proof: vec![],
    };
    let (code, payload) = answer.encode();
    let first = format!("e2a0{}05", "11".repeat(32));
    let second = format!("e4a0{}828180", "12".repeat(32));
    let slots = format!("f848{first}{second}");
    assert_eq!((code, hex::encode(payload)), (3, format!("f84f05f84b{slots}c0c0")));
}

#[test]
fn codes_and_nodes_are_written_as_strings() {
    let request = RequestId(5);
    let (code, payload) =
        SnapAnswer::ByteCodes { request, codes: vec![bytes!("6001"), bytes!("")] }.encode();
    assert_eq!((code, hex::encode(payload)), (5, "c605c482600180".to_owned()));
    let (code, payload) = SnapAnswer::TrieNodes { request, nodes: vec![bytes!("")] }.encode();
    assert_eq!((code, hex::encode(payload)), (7, "c305c180".to_owned()));

    let empty = SnapAnswer::AccountRange { request, accounts: vec![], proof: vec![] };
    assert_eq!(hex::encode(empty.encode().1), "c305c0c0");
}
