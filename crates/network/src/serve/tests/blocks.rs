use std::sync::Arc;

use chain::testing::{BlockOptions, TestAccount, book_forks, spec};
use primitives::{Bytes, SealedBlock, TxKind, U256, bytes};

use super::*;
use crate::wire::RequestId;

const REQUEST: RequestId = RequestId(7);

fn grow(blocks: u64) -> (ChainBuilder, Vec<SealedBlock>) {
    let mut builder = ChainBuilder::new(spec(book_forks()));
    let blocks = (0..blocks).map(|_| builder.extend(vec![])).collect();
    (builder, blocks)
}

fn view_of(builder: &ChainBuilder) -> Arc<ChainView> {
    builder.importer.view()
}

fn asked(asker: &Asker, view: &ChainView, query: HeaderQuery) -> Vec<SealedHeader> {
    match asker.eth(view, Message::GetBlockHeaders { request: REQUEST, query }) {
        Message::BlockHeaders { request: REQUEST, headers } => headers,
        other => panic!("{other:?}"),
    }
}

/// The vectors that broke others: CVE-2018-12018, CVE-2024-32972, and numbers that wrap.
#[test]
fn no_number_in_a_query_of_headers_wraps_or_reaches_beyond_the_ends() {
    let (builder, blocks) = grow(86);
    let (view, asker) = (view_of(&builder), Asker::new());
    let genesis = Origin::Hash(builder.importer.spec().genesis_block().hash());
    let head = Origin::Hash(blocks[85].hash());
    let number = Origin::Number;
    let cases = [
        (genesis, 0, 0, false, 0),
        (head, 0, 0, false, 0),
        (number(0), 0, 0, false, 0),
        (number(u64::MAX), 1_024, 0, false, 0),
        (number(u64::MAX), u64::MAX, 0, true, 0),
        (number(1), u64::MAX, 0, false, 86),
        (number(1), u64::MAX, u64::MAX, false, 1),
        (number(5), 10, u64::MAX - 4, false, 1),
        (genesis, 10, u64::MAX - 1, false, 1),
        (head, 10, u64::MAX - 1, false, 1),
        (genesis, u64::MAX, u64::MAX, true, 1),
        (head, u64::MAX, u64::MAX, true, 1),
        // And what every peer asks.
        (head, 1, 0, false, 1),
        (number(0), 1_024, 0, false, 87),
        (number(87), 1, 0, false, 0),
        (number(10), 12, 15, false, 5),
        (number(86), 192, 0, true, 87),
        (head, 192, 9, true, 9),
    ];
    for (origin, amount, skip, reverse, expected) in cases {
        let query = HeaderQuery { origin, amount, skip, reverse };
        let headers = asked(&asker, &view, query);
        assert_eq!(headers.len(), expected, "{query:?}");
        let step = if reverse { -1 } else { 1 } * i128::from(skip.wrapping_add(1));
        for pair in headers.windows(2) {
            assert_eq!(i128::from(pair[1].number) - i128::from(pair[0].number), step);
        }
    }
}

#[test]
fn an_answer_has_a_bounded_number_of_headers() {
    let (builder, _) = grow(HEADERS_MAX + 10);
    let everything =
        HeaderQuery { origin: Origin::Number(0), amount: u64::MAX, skip: 0, reverse: false };
    let headers = asked(&Asker::new(), &view_of(&builder), everything);
    assert_eq!(headers.len() as u64, HEADERS_MAX);
}

#[test]
fn few_steps_are_made_from_a_block_that_is_not_canonical() {
    let (mut builder, _) = grow(115);
    let mut other = ChainBuilder::new(spec(book_forks()));
    let mut parent = other.importer.spec().genesis_block().hash();
    for _ in 0..110 {
        let extra_data = Bytes::from_static(b"beside");
        let options = BlockOptions { extra_data, ..BlockOptions::default() };
        let block = other.block_on(parent, vec![], options);
        other.import(block.clone()).unwrap();
        parent = block.hash();
        builder.import(block).unwrap();
    }
    let (view, asker) = (view_of(&builder), Asker::new());
    assert_ne!(view.db.canonical_hash(110).unwrap(), Some(parent));
    for (skip, expected) in [(0, 100 + 1), (SIDE_STEPS_MAX - 1, 2), (SIDE_STEPS_MAX, 1)] {
        let origin = Origin::Hash(parent);
        let query = HeaderQuery { origin, amount: 1_024, skip, reverse: true };
        assert_eq!(asked(&asker, &view, query).len(), expected, "skip {skip}");
        let forward = HeaderQuery { reverse: false, ..query };
        assert_eq!(asked(&asker, &view, forward).len(), 1);
    }
}

/// A block with a log of 600 000 bytes.
fn block_with_log(builder: &mut ChainBuilder, nonce: u64) -> SealedBlock {
    // PUSH3 600000, PUSH1 0, LOG0, STOP
    let input = bytes!("620927c06000a000");
    let tx = alloy_consensus::TxLegacy {
        chain_id: Some(1_337),
        nonce,
        gas_price: 1_000_000_000,
        gas_limit: 7_900_000,
        to: TxKind::Create,
        value: U256::ZERO,
        input,
    };
    builder.extend(vec![TestAccount::new(0).sign(tx)])
}

#[test]
fn each_block_is_told_once_and_until_the_answer_is_long_enough() {
    let mut builder = ChainBuilder::new(spec(book_forks()));
    let blocks: Vec<_> = (0..6).map(|nonce| block_with_log(&mut builder, nonce)).collect();
    let (view, asker) = (view_of(&builder), Asker::new());
    let receipts =
        |hashes| match asker.eth(&view, Message::GetReceipts { request: REQUEST, hashes }) {
            Message::Receipts { receipts, .. } => receipts,
            other => panic!("{other:?}"),
        };
    assert_eq!(receipts(vec![blocks[0].hash(); 1_024]).len(), 1);
    let unknown = vec![B256::ZERO, blocks[1].hash(), B256::repeat_byte(1)];
    assert_eq!(receipts(unknown).len(), 1);
    let all: Vec<_> = blocks.iter().map(SealedBlock::hash).collect();
    let told = receipts([&all[..], &all].concat());
    assert_eq!(told.len(), 4, "the fourth is what makes it long enough");
    let (_, payload) = Message::Receipts { request: REQUEST, receipts: told }
        .encode(crate::wire::EthVersion::Eth66);
    assert!(payload.len() < ANSWER_BYTES + 700_000);

    let bodies =
        |hashes| match asker.eth(&view, Message::GetBlockBodies { request: REQUEST, hashes }) {
            Message::BlockBodies { bodies, .. } => bodies,
            other => panic!("{other:?}"),
        };
    assert_eq!(bodies([&all[..], &all, &[B256::ZERO]].concat()).len(), 6);
    assert_eq!(bodies(vec![B256::repeat_byte(9); 1_024]).len(), 0);
}

#[test]
fn messages_that_ask_nothing_have_no_answer() {
    let (builder, _) = grow(1);
    let (view, asker) = (view_of(&builder), Asker::new());
    let message = Message::NewBlockHashes(vec![]);
    let answered = answer(&view, &asker.pool, &asker.places, Question::Eth(message)).unwrap();
    assert_eq!(answered, None);
}

#[test]
fn only_what_takes_a_few_reads_is_brief() {
    let (builder, _) = grow(3);
    let view = view_of(&builder);
    let hash = Origin::Hash(view.head.hash());
    let beyond = Origin::Number(view.head.number + 1);
    for (origin, amount, skip, reverse, expected) in [
        (Origin::Number(1), 16, u64::MAX, true, true),
        (Origin::Number(1), 17, 0, false, false),
        (beyond, u64::MAX, 0, true, true),
        (hash, 16, 0, true, true),
        (hash, 16, 9, false, true),
        // From a block beside the chain, each of them is a walk.
        (hash, 16, 9, true, false),
    ] {
        let query = HeaderQuery { origin, amount, skip, reverse };
        let question = Question::Eth(Message::GetBlockHeaders { request: REQUEST, query });
        assert_eq!(is_brief(&view, &question), expected, "{query:?}");
    }
    let hashes = vec![view.head.hash()];
    let bodies = Message::GetBlockBodies { request: REQUEST, hashes };
    assert!(!is_brief(&view, &Question::Eth(bodies)));
}
