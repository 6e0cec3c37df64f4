use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxLegacy};
use primitives::{Address, Block, Header, Log, LogData, Signature, bytes, hex, keccak256};
use proptest::{collection::vec, prelude::*};

use super::*;

fn hash(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

fn header(number: u64, extra: usize) -> SealedHeader {
    let header = Header {
        number,
        difficulty: U256::from(131_072),
        gas_limit: 8_000_000,
        timestamp: number * 13,
        extra_data: vec![7; extra].into(),
        ..Header::default()
    };
    SealedHeader::seal_slow(header)
}

fn transaction(tx_type: u8, nonce: u64, input: usize) -> Transaction {
    let signature = Signature::new(U256::from(nonce + 5), U256::from(77), nonce.is_multiple_of(2));
    let (input, to) = (Bytes::from(vec![1; input]), Address::repeat_byte(9).into());
    match tx_type {
        0 => {
            let tx = TxLegacy { nonce, gas_limit: 21_000, input, to, ..TxLegacy::default() };
            tx.into_signed(signature).into()
        }
        1 => {
            let tx = TxEip2930 { chain_id: 7, nonce, input, to, ..TxEip2930::default() };
            tx.into_signed(signature).into()
        }
        _ => {
            let tx = TxEip1559 { chain_id: 7, nonce, input, to, ..TxEip1559::default() };
            tx.into_signed(signature).into()
        }
    }
}

fn body(transactions: Vec<Transaction>, ommers: u64) -> BlockBody {
    let ommers = (0..ommers).map(|number| header(number, 3).into_header()).collect();
    BlockBody { transactions, ommers, withdrawals: None }
}

fn receipt(tx_type: u8, success: bool, root: bool, topics: usize) -> Receipt {
    let data = LogData::new(vec![hash(3); topics], bytes!("0102")).unwrap();
    Receipt {
        tx_type,
        success: success || root,
        cumulative_gas_used: 21_000,
        logs: vec![Log { address: Address::repeat_byte(4), data }],
        post_state: root.then(|| hash(5)),
    }
}

fn hashes(max: usize) -> impl Strategy<Value = Vec<B256>> {
    vec(any::<[u8; 32]>().prop_map(B256::from), 0..max)
}

fn transactions() -> impl Strategy<Value = Vec<Transaction>> {
    vec((0_u8..3, any::<u32>(), 0_usize..80), 0..6).prop_map(|parts| {
        let one = |(tx_type, nonce, input)| transaction(tx_type, u64::from(nonce), input);
        parts.into_iter().map(one).collect()
    })
}

fn headers() -> impl Strategy<Value = Vec<SealedHeader>> {
    vec((any::<u64>().prop_map(|n| n >> 8), 0_usize..100), 0..5)
        .prop_map(|parts| parts.into_iter().map(|(n, extra)| header(n, extra)).collect())
}

fn bodies() -> impl Strategy<Value = Vec<BlockBody>> {
    vec((transactions(), 0_u64..3), 0..4)
        .prop_map(|parts| parts.into_iter().map(|(txs, ommers)| body(txs, ommers)).collect())
}

fn receipts() -> impl Strategy<Value = Vec<Vec<Receipt>>> {
    let one = (0_u8..3, any::<bool>(), any::<bool>(), 0_usize..5)
        .prop_map(|(tx_type, success, root, topics)| receipt(tx_type, success, root, topics));
    vec(vec(one, 0..4), 0..4)
}

fn status() -> impl Strategy<Value = Status> {
    (any::<(u64, u64, u128, [u8; 32])>(), any::<([u8; 32], [u8; 4], u64)>()).prop_map(
        |((version, network_id, td, head), (genesis, hash, next))| Status {
            version,
            network_id,
            td: TotalDifficulty::new(U256::from(td >> 28)),
            head: head.into(),
            genesis: genesis.into(),
            fork_id: Some(ForkId { hash, next }),
        },
    )
}

fn query() -> impl Strategy<Value = HeaderQuery> {
    let origin = prop_oneof![
        any::<u64>().prop_map(Origin::Number),
        any::<[u8; 32]>().prop_map(|hash| Origin::Hash(hash.into())),
    ];
    (origin, any::<(u64, u64, bool)>()).prop_map(|(origin, (amount, skip, reverse))| HeaderQuery {
        origin,
        amount,
        skip,
        reverse,
    })
}

fn announced() -> impl Strategy<Value = Vec<AnnouncedTransaction>> {
    vec(any::<([u8; 32], u8, u32)>(), 0..20).prop_map(|parts| {
        let one = |(hash, tx_type, size): ([u8; 32], u8, u32)| AnnouncedTransaction {
            hash: hash.into(),
            metadata: Some(TransactionMetadata { tx_type, size }),
        };
        parts.into_iter().map(one).collect()
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let id = || any::<u64>().prop_map(RequestId);
    let td = any::<u128>().prop_map(|td| TotalDifficulty::new(U256::from(td >> 28)));
    let pairs = vec(any::<([u8; 32], u64)>(), 0..20).prop_map(|pairs| {
        pairs.into_iter().map(|(hash, number)| BlockNumHash { number, hash: hash.into() }).collect()
    });
    let whole_block = (any::<u32>(), transactions(), 0_u64..3).prop_map(|(n, txs, ommers)| {
        let body = body(txs, ommers);
        Arc::new(SealedBlock::from_sealed_parts(header(u64::from(n), 9), body))
    });
    let values = vec(vec(any::<u8>(), 0..80).prop_map(Bytes::from), 0..5);
    prop_oneof![
        status().prop_map(Message::Status),
        pairs.prop_map(Message::NewBlockHashes),
        transactions().prop_map(Message::Transactions),
        (id(), query()).prop_map(|(request, query)| Message::GetBlockHeaders { request, query }),
        (id(), headers()).prop_map(|(request, headers)| Message::BlockHeaders { request, headers }),
        (id(), hashes(20))
            .prop_map(|(request, hashes)| Message::GetBlockBodies { request, hashes }),
        (id(), bodies()).prop_map(|(request, bodies)| Message::BlockBodies { request, bodies }),
        (whole_block, td).prop_map(|(block, td)| Message::NewBlock { block, td }),
        announced().prop_map(Message::NewPooledTransactionHashes),
        (id(), hashes(20))
            .prop_map(|(request, hashes)| Message::GetPooledTransactions { request, hashes }),
        (id(), transactions()).prop_map(|(request, transactions)| Message::PooledTransactions {
            request,
            transactions
        }),
        (id(), hashes(20)).prop_map(|(request, hashes)| Message::GetNodeData { request, hashes }),
        (id(), values).prop_map(|(request, values)| Message::NodeData { request, values }),
        (id(), hashes(20)).prop_map(|(request, hashes)| Message::GetReceipts { request, hashes }),
        (id(), receipts()).prop_map(|(request, receipts)| Message::Receipts { request, receipts }),
    ]
}

/// What is left of a message after a version that cannot carry all of it.
fn as_carried(mut message: Message, version: EthVersion) -> Message {
    match &mut message {
        Message::Status(status) if !version.has_fork_id() => status.fork_id = None,
        Message::NewPooledTransactionHashes(announced) if !version.has_metadata() => {
            announced.iter_mut().for_each(|tx| tx.metadata = None);
        }
        Message::GetBlockHeaders { request, .. }
        | Message::BlockHeaders { request, .. }
        | Message::GetBlockBodies { request, .. }
        | Message::BlockBodies { request, .. }
        | Message::GetPooledTransactions { request, .. }
        | Message::PooledTransactions { request, .. }
        | Message::GetNodeData { request, .. }
        | Message::NodeData { request, .. }
        | Message::GetReceipts { request, .. }
        | Message::Receipts { request, .. }
            if !version.has_request_ids() =>
        {
            *request = RequestId::NONE;
        }
        _ => {}
    }
    message
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_message_survives_every_version_that_has_it(message in any_message()) {
        for version in EthVersion::ALL {
            let (code, payload) = message.encode(version);
            let decoded = Message::decode(version, code, &payload);
            if version.has(code) {
                let decoded = decoded.unwrap();
                prop_assert_eq!(&decoded.encode(version).1, &payload);
                prop_assert_eq!(decoded, as_carried(message.clone(), version));
            } else {
                prop_assert_eq!(decoded, Err(WireError::UnknownCode { code, version }));
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(code in 0_u8..17, payload in vec(any::<u8>(), 0..200)) {
        for version in EthVersion::ALL {
            if let Ok(message) = Message::decode(version, code, &payload) {
                prop_assert_eq!(message.encode(version), (code, payload.clone()));
            }
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_something_else(
        message in any_message(), at in any::<prop::sample::Index>(), flip in 1_u8..=255,
    ) {
        for version in EthVersion::ALL {
            let (code, mut payload) = message.encode(version);
            *at.get_mut(&mut payload[..]) ^= flip;
            if let Ok(other) = Message::decode(version, code, &payload) {
                prop_assert_ne!(&other, &as_carried(message.clone(), version));
                prop_assert_eq!(other.encode(version).1, payload);
            }
        }
    }
}

#[test]
fn refuses_every_code_with_empty_list_or_garbage_without_a_panic() {
    for version in EthVersion::ALL {
        for code in 0..=u8::MAX {
            for payload in [&[][..], &[0xc0], &[0xf8, 0x01, 0xff, 0x80, 0x05]] {
                if let Ok(message) = Message::decode(version, code, payload) {
                    assert!(version.has(code) && payload == [0xc0], "{message:?}");
                }
            }
        }
    }
}

#[test]
fn refuses_rlp_bombs() {
    let nested = vec![0xc0; 1 << 20];
    let mut list_of_empty = vec![0xfa, 0x9f, 0xff, 0xfc];
    list_of_empty.resize(4 + 0x9f_fffc, 0xc0);
    let mut nested_list = Vec::new();
    encode_list(&[nested], &mut nested_list);
    let bombs: [&[u8]; 8] = [
        &[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0xf9, 0x10, 0x00, 0xc0],
        &[0xf8, 0x02, 0x81, 0x05],
        &[0xc2, 0x81, 0x05],
        &[0xc3, 0x82, 0x00, 0x05],
        &[0xb8, 0x02, 0xc0, 0xc0],
        &list_of_empty,
        &nested_list,
    ];
    for version in EthVersion::ALL {
        for code in 0..MESSAGE_CODES {
            for bomb in bombs {
                let decoded = Message::decode(version, code, bomb);
                // A number with a zero in front is as good a blob as any other.
                let is_blob = code == NODE_DATA && bomb == [0xc3, 0x82, 0x00, 0x05];
                assert!(decoded.is_err() || is_blob, "{version} {code} {decoded:?}");
            }
        }
    }
    let oversized = vec![0; MESSAGE_BYTES_MAX + 1];
    let refusal = Message::decode(EthVersion::Eth66, TRANSACTIONS, &oversized);
    assert_eq!(refusal, Err(WireError::Oversized { bytes: MESSAGE_BYTES_MAX + 1 }));
}

/// A million lists in each other, in every place where a list can stand.
#[test]
fn deep_nesting_uses_no_stack() {
    let mut deep: Vec<u8> = vec![];
    for _ in 0..1 << 16 {
        let mut header = Vec::new();
        alloy_rlp::Header { list: true, payload_length: deep.len() }.encode(&mut header);
        header.reverse();
        deep.extend(header);
    }
    deep.reverse();
    for code in 0..MESSAGE_CODES {
        assert!(Message::decode(EthVersion::Eth65, code, &deep).is_err());
        let mut wrapped = Vec::new();
        encode_list(&[vec![1], deep.clone()], &mut wrapped);
        assert!(Message::decode(EthVersion::Eth66, code, &wrapped).is_err());
    }
}

#[test]
fn counts_lists_at_the_limit_and_one_beyond() {
    let hashes = |count| vec![hash(1); count];
    let request = RequestId(1);
    let cases: [(usize, &dyn Fn(usize) -> Message); 6] = [
        (BODIES_MAX, &|n| Message::GetBlockBodies { request, hashes: hashes(n) }),
        (RECEIPTS_MAX, &|n| Message::GetReceipts { request, hashes: hashes(n) }),
        (NODE_DATA_MAX, &|n| Message::GetNodeData { request, hashes: hashes(n) }),
        (POOLED_TRANSACTIONS_ASKED_MAX, &|n| Message::GetPooledTransactions {
            request,
            hashes: hashes(n),
        }),
        (HEADERS_MAX, &|n| Message::BlockHeaders { request, headers: vec![header(1, 0); n] }),
        (BLOCK_HASHES_MAX, &|n| {
            Message::NewBlockHashes(vec![BlockNumHash { number: 1, hash: hash(1) }; n])
        }),
    ];
    for (limit, message) in cases {
        let decode = |count| {
            let (code, payload) = message(count).encode(EthVersion::Eth66);
            Message::decode(EthVersion::Eth66, code, &payload)
        };
        assert!(decode(limit).is_ok());
        assert_eq!(decode(limit + 1), Err(WireError::TooMany { limit }));
    }
    for version in [EthVersion::Eth65, EthVersion::Eth68] {
        let metadata = Some(TransactionMetadata { tx_type: 2, size: 100 });
        let decode = |count| {
            let announced = vec![AnnouncedTransaction { hash: hash(1), metadata }; count];
            let (code, payload) = Message::NewPooledTransactionHashes(announced).encode(version);
            Message::decode(version, code, &payload)
        };
        assert!(decode(TRANSACTION_HASHES_MAX).is_ok());
        let limit = TRANSACTION_HASHES_MAX;
        assert_eq!(decode(limit + 1), Err(WireError::TooMany { limit }));
    }
}

#[test]
fn refuses_what_stands_behind_the_last_item() {
    for version in EthVersion::ALL {
        let request = RequestId(1);
        let (code, payload) =
            Message::GetBlockHeaders { request, query: by_number(1) }.encode(version);
        let behind = [&payload[..], &[0x80]].concat();
        assert_eq!(Message::decode(version, code, &behind), Err(WireError::Surplus));
        let mut within = Vec::new();
        let items = Items::of_payload(&payload).unwrap().all(Items::raw).unwrap();
        encode_list(&[items.concat(), vec![0x80]], &mut within);
        assert_eq!(Message::decode(version, code, &within), Err(WireError::Surplus));
    }
}

fn by_number(number: u64) -> HeaderQuery {
    HeaderQuery { origin: Origin::Number(number), amount: 1, skip: 0, reverse: false }
}

#[test]
fn refuses_an_announcement_whose_lists_differ_in_length() {
    let mut content = Vec::new();
    Bytes::from(vec![2_u8, 2]).encode(&mut content);
    vec![100_u32].encode(&mut content);
    vec![hash(1), hash(2)].encode(&mut content);
    let mut payload = Vec::new();
    encode_list(&[content], &mut payload);
    assert_eq!(
        Message::decode(EthVersion::Eth68, NEW_POOLED_TRANSACTION_HASHES, &payload),
        Err(WireError::AnnouncementLengths { types: 2, sizes: 1, hashes: 2 })
    );
}

#[test]
fn refuses_more_work_than_a_hundred_bits() {
    let block = Arc::new(SealedBlock::from_sealed_parts(header(3, 0), BlockBody::default()));
    let with = |bits: usize| {
        let td = TotalDifficulty::new((U256::from(1) << bits) - U256::from(1));
        let (code, payload) =
            Message::NewBlock { block: block.clone(), td }.encode(EthVersion::Eth63);
        Message::decode(EthVersion::Eth63, code, &payload)
    };
    assert!(with(100).is_ok());
    assert_eq!(with(101), Err(WireError::TotalDifficultyTooLarge { bits: 101 }));
}

#[test]
fn refuses_headers_that_no_proof_of_work_chain_has() {
    let with = |header: Header| {
        let headers = vec![SealedHeader::seal_slow(header)];
        let message = Message::BlockHeaders { request: RequestId::NONE, headers };
        let (code, payload) = message.encode(EthVersion::Eth65);
        Message::decode(EthVersion::Eth65, code, &payload).err()
    };
    let plain = || header(1, 0).into_header();
    let refusal = |field| Some(WireError::ImpossibleHeader { field });
    assert_eq!(with(Header { base_fee_per_gas: Some(7), ..plain() }), None);
    let (base_fee, root) = (Some(7), Some(hash(1)));
    let merged = Header { base_fee_per_gas: base_fee, withdrawals_root: root, ..plain() };
    assert_eq!(with(merged), refusal("withdrawals root"));
    let hard = |bits: usize| U256::from(1) << (bits - 1);
    assert_eq!(with(Header { difficulty: hard(80), ..plain() }), None);
    assert_eq!(with(Header { difficulty: hard(81), ..plain() }), refusal("difficulty"));
    let long = |bytes: usize| vec![0_u8; bytes].into();
    assert_eq!(with(Header { extra_data: long(100 * 1024), ..plain() }), None);
    let too_long = Header { extra_data: long(100 * 1024 + 1), ..plain() };
    assert_eq!(with(too_long), refusal("extra data"));
}

#[test]
fn refuses_a_body_with_three_ommers() {
    let decode = |ommers| {
        let bodies = vec![body(vec![], ommers)];
        let message = Message::BlockBodies { request: RequestId::NONE, bodies };
        let (code, payload) = message.encode(EthVersion::Eth65);
        Message::decode(EthVersion::Eth65, code, &payload)
    };
    assert!(decode(2).is_ok());
    assert_eq!(decode(3), Err(WireError::TooMany { limit: 2 }));
}

#[test]
fn refuses_transactions_that_are_wrapped_wrongly() {
    let decode = |item: Vec<u8>| {
        let mut payload = Vec::new();
        encode_list(&[item], &mut payload);
        Message::decode(EthVersion::Eth66, TRANSACTIONS, &payload)
    };
    let legacy = alloy_rlp::encode(transaction(0, 1, 0));
    let typed = alloy_rlp::encode(transaction(2, 1, 0));
    assert!(decode(legacy.clone()).is_ok() && decode(typed.clone()).is_ok());
    let (_, envelope) = typed.split_at(2);
    assert!(decode(envelope.to_vec()).is_err(), "a typed transaction without its string");
    let mut wrapped = Vec::new();
    legacy.as_slice().encode(&mut wrapped);
    assert!(decode(wrapped).is_err(), "a legacy transaction in a string");
    let mut trailing = Vec::new();
    [envelope, &[0x80]].concat().as_slice().encode(&mut trailing);
    assert!(decode(trailing).is_err(), "a byte behind a typed transaction");
    assert!(decode([legacy, vec![0x80]].concat()).is_err(), "a byte behind a legacy one");
    assert!(decode(vec![0x80]).is_err() && decode(vec![0x02]).is_err());
}

#[test]
fn refuses_receipts_that_contradict_themselves() {
    let decode = |receipt: Vec<u8>| {
        let (mut block, mut payload) = (Vec::new(), Vec::new());
        encode_list(&[receipt], &mut block);
        encode_list(&[block], &mut payload);
        Message::decode(EthVersion::Eth65, RECEIPTS, &payload)
    };
    let good = receipt(0, true, false, 1);
    let mut bytes = Vec::new();
    good.encode_consensus(&good.bloom(), &mut bytes);
    assert!(decode(bytes).is_ok());
    let mut bytes = Vec::new();
    good.encode_consensus(&primitives::Bloom::ZERO, &mut bytes);
    assert_eq!(decode(bytes), Err(WireError::ReceiptForm));
    assert_eq!(decode(vec![0x83, 3, 0xc1, 0x80]), Err(WireError::ReceiptForm));
}

#[test]
fn hashes_a_block_as_it_came() {
    let block = Block { header: header(5, 8).into_header(), body: body(vec![], 1) };
    let expected = keccak256(alloy_rlp::encode(&block.header));
    let block = Arc::new(SealedBlock::seal_slow(block));
    let td = TotalDifficulty::new(U256::from(9));
    let (code, payload) = Message::NewBlock { block, td }.encode(EthVersion::Eth68);
    let decoded = Message::decode(EthVersion::Eth68, code, &payload).unwrap();
    let Message::NewBlock { block, .. } = decoded else { panic!("another message") };
    assert_eq!(block.hash(), expected);
}

/// The examples of [EIP-2481](https://eips.ethereum.org/EIPS/eip-2481).
#[test]
fn writes_the_examples_of_eip_2481() {
    let request = RequestId(1111);
    let dead = hash_of("00000000000000000000000000000000000000000000000000000000deadc0de");
    let beef = hash_of("00000000000000000000000000000000000000000000000000000000feedbeef");
    let query = |origin| HeaderQuery { origin, amount: 5, skip: 5, reverse: false };
    let pair = "f847820457f842a000000000000000000000000000000000000000000000000000000000deadc0de\
                a000000000000000000000000000000000000000000000000000000000feedbeef";
    let hashes = vec![dead, beef];
    let cases = [
        (
            Message::GetBlockHeaders { request, query: query(Origin::Hash(dead)) },
            "e8820457e4a000000000000000000000000000000000000000000000000000000000deadc0de050580",
        ),
        (
            Message::GetBlockHeaders {
                request,
                query: HeaderQuery { amount: 5, skip: 5, ..query(Origin::Number(9999)) },
            },
            "ca820457c682270f050580",
        ),
        (Message::GetBlockBodies { request, hashes: hashes.clone() }, pair),
        (Message::GetNodeData { request, hashes: hashes.clone() }, pair),
        (Message::GetReceipts { request, hashes: hashes.clone() }, pair),
        (Message::GetPooledTransactions { request, hashes }, pair),
        (
            Message::NodeData { request, values: vec![bytes!("deadc0de"), bytes!("feedbeef")] },
            "ce820457ca84deadc0de84feedbeef",
        ),
    ];
    for (message, expected) in cases {
        let (code, payload) = message.encode(EthVersion::Eth66);
        assert_eq!(hex::encode(&payload), expected);
        assert_eq!(Message::decode(EthVersion::Eth66, code, &payload), Ok(message));
    }
}

/// The header of the examples of [EIP-2481](https://eips.ethereum.org/EIPS/eip-2481).
#[test]
fn writes_the_header_of_eip_2481() {
    let header = Header {
        ommers_hash: B256::ZERO,
        state_root: B256::ZERO,
        transactions_root: B256::ZERO,
        receipts_root: B256::ZERO,
        difficulty: U256::from(2222),
        number: 3333,
        gas_limit: 4444,
        gas_used: 5555,
        timestamp: 6666,
        extra_data: bytes!("7788"),
        ..Header::default()
    };
    let zero_hash = format!("a0{}", "00".repeat(32));
    let expected = [
        "f90202820457f901fcf901f9",
        &zero_hash.repeat(2),
        &format!("94{}", "00".repeat(20)),
        &zero_hash.repeat(3),
        &format!("b90100{}", "00".repeat(256)),
        "8208ae820d0582115c8215b3821a0a827788",
        &zero_hash,
        "880000000000000000",
    ];
    let headers = vec![SealedHeader::seal_slow(header)];
    let message = Message::BlockHeaders { request: RequestId(1111), headers };
    let (code, payload) = message.encode(EthVersion::Eth66);
    assert_eq!(hex::encode(&payload), expected.concat());
    assert_eq!(Message::decode(EthVersion::Eth66, code, &payload), Ok(message));
}

/// The transactions of the examples of [EIP-2481](https://eips.ethereum.org/EIPS/eip-2481).
#[test]
fn reads_the_transactions_of_eip_2481() {
    let payload = hex::decode(
        "f8d7820457f8d2f867088504a817c8088302e2489435353535353535353535353535353535353535358202008\
         025a064b1702d9298fee62dfeccc57d322a463ad55ca201256d01f62b45b2e1c21c12a064b1702d9298fee62df\
         eccc57d322a463ad55ca201256d01f62b45b2e1c21c10f867098504a817c809830334509435353535353535353\
         535353535353535353535358202d98025a052f8f61201b2b11a78d6e866abc9c3db2ae8631fa656bfe5cb53668\
         255367afba052f8f61201b2b11a78d6e866abc9c3db2ae8631fa656bfe5cb53668255367afb",
    );
    let payload = payload.unwrap();
    let message = Message::decode(EthVersion::Eth66, POOLED_TRANSACTIONS, &payload).unwrap();
    let Message::PooledTransactions { request, transactions } = &message else {
        panic!("another message")
    };
    assert_eq!((request.0, transactions.len()), (1111, 2));
    let second = hash_of("f39c7dac06a9f3abf09faf5e30439a349d3717611b3ed337cd52b0d192bc72da");
    assert_eq!(*transactions[1].tx_hash(), second);
    assert_eq!(message.encode(EthVersion::Eth66).1, payload);
}

fn hash_of(text: &str) -> B256 {
    text.parse().unwrap()
}

#[test]
fn request_ids_tell_who_asked() {
    for requester in [Requester::Sync, Requester::Blocks, Requester::Transactions] {
        assert_eq!(RequestId::of(requester, 77).requester(), Some(requester));
    }
    assert_eq!(RequestId::NONE.requester(), None);
}
