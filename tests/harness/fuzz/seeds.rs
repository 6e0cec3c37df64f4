//! What corpora begin with: one of each kind, as a node would send or write it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use alloy_eips::eip2718::Encodable2718;
use chain::testing::TestAccount;
use devp2p::{
    Capability, DisconnectReason, Hello, LocalRecord, NodeRecord, PeerId,
    discv4::{Endpoint, Neighbor, Packet},
    testing,
};
use network::wire::{
    AnnouncedTransaction, EthVersion, HeaderQuery, MESSAGE_CODES, Message, Origin, RequestId,
    Status,
};
use primitives::{
    Address, B256, Block, BlockBody, BlockNumHash, Bytes, ForkId, Header, Receipt, SealedBlock,
    SealedHeader, TotalDifficulty, Transaction, U256,
};
use secp256k1::SecretKey;

use crate::harness::attacker::{auth_body, compress, key, list};

/// The seeds of a target; none if there is no such target.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "auth" => auths(),
        "ack" => acks(),
        "frame" => frames(),
        "hello" => vec![hello().encode()],
        "disconnect" => vec![DisconnectReason::TooManyPeers.encode(), vec![4], vec![0xc1, 0x80]],
        "message" => messages(),
        "eth_message" => eth_messages(),
        "discv4" => packets().iter().map(|packet| packet.seal(&key(1)).0).collect(),
        "enr" => enrs(),
        "enode" => nodes().iter().map(|node| node.to_string().into_bytes()).collect(),
        "block" => vec![alloy_rlp::encode(block()), alloy_rlp::encode(Block::default())],
        "transaction" => transactions().iter().map(Encodable2718::encoded_2718).collect(),
        "genesis" => [include_str!("../../../genesis/book.json"), GENESIS]
            .map(|text| text.as_bytes().to_vec())
            .to_vec(),
        "keystore" => [SCRYPT, PBKDF2].map(|text| text.as_bytes().to_vec()).to_vec(),
        "dataset" => vec![ethash::testing::file_start()],
        "ethstats" => frames_of_nodes(),
        _ => Vec::new(),
    }
}

/// One of each kind, as real geth sent it.
fn frames_of_nodes() -> Vec<Vec<u8>> {
    let recorded = include_str!("../../../crates/ethstats/src/message/frames-geth-1.9.13.jsonl");
    let mut kinds = std::collections::BTreeMap::new();
    for line in recorded.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a recorded line is JSON");
        if let (Some(event), Some(frame)) = (line["event"].as_str(), line["frame"].as_str()) {
            kinds.insert(event.to_owned(), frame.as_bytes().to_vec());
        }
    }
    let mut frames: Vec<Vec<u8>> = kinds.into_values().filter(|frame| !frame.is_empty()).collect();
    frames.push(PROGRESS.as_bytes().to_vec());
    frames
}

/// What only our nodes tell.
const PROGRESS: &str = r#"{"emit":["progress",{"id":"n","dataset":{"epoch":0,"phase":"generating","done":1,"total":9,"eta":5},"bombDelay":0}]}"#;

fn auths() -> Vec<Vec<u8>> {
    let to = PeerId::of(&key(1));
    let body = auth_body(&key(2), &PeerId::of(&key(2)).to_bytes(), None);
    let packet = testing::Opening::new(&key(2), &to).packet().to_vec();
    let plain = [&[1; 65][..], &[2; 32], &to.to_bytes(), &[3; 32], &[0]].concat();
    vec![testing::seal(&to, &body), body, packet, testing::encrypt(to.public_key(), &plain, &[])]
}

fn acks() -> Vec<Vec<u8>> {
    let to = PeerId::of(&key(1));
    let ephemeral = PeerId::of(&key(3)).to_bytes();
    let fields =
        [alloy_rlp::encode(ephemeral), alloy_rlp::encode([7_u8; 32]), alloy_rlp::encode(4_u8)];
    let body = list(&fields);
    let plain = [&ephemeral[..], &[7; 32], &[0]].concat();
    vec![testing::seal(&to, &body), body, testing::encrypt(to.public_key(), &plain, &[]), plain]
}

fn frames() -> Vec<Vec<u8>> {
    let promise = |bytes: u32, rest: usize| [&bytes.to_be_bytes()[..], &vec![9; rest]].concat();
    vec![promise(0, 16), promise(17, 48), promise(0xff_ffff, 64), promise(4_096, 4_112)]
}

fn hello() -> Hello {
    Hello {
        version: 5,
        name: "Geth/v1.10.26-stable/linux-amd64/go1.18.5".to_owned(),
        capabilities: vec![Capability::new("eth", 66), Capability::new("snap", 1)],
        port: 30_303,
        id: PeerId::of(&key(1)),
    }
}

fn messages() -> Vec<Vec<u8>> {
    let payload = vec![0; 500];
    let coded = |body: &[u8]| [&alloy_rlp::encode(0x13_u64), body].concat();
    vec![coded(&payload), coded(&compress(&payload)), coded(&compress(b"abc")), vec![0x80, 1, 0]]
}

fn eth_messages() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, version) in (0_u8..).zip(EthVersion::ALL) {
        for message in all_messages(version) {
            let (code, payload) = message.encode(version);
            if version.has(code) {
                assert!(code < MESSAGE_CODES, "a code of the protocol");
                seeds.push([&[number, code][..], &payload].concat());
            }
        }
    }
    // What differs between versions is in few of them.
    seeds.sort();
    seeds.dedup_by(|a, b| a[1..] == b[1..]);
    seeds
}

fn all_messages(version: EthVersion) -> Vec<Message> {
    let request = if version.has_request_ids() { RequestId(0x5105) } else { RequestId::NONE };
    let hash = B256::repeat_byte(0xaa);
    let hashes = vec![hash, B256::repeat_byte(0xbb)];
    let block = SealedBlock::seal_slow(block());
    let td = TotalDifficulty::new(U256::from(0x0200_0000));
    let fork_id = ForkId { hash: [1, 2, 3, 4], next: 10 };
    let fork_id = version.has_fork_id().then_some(fork_id);
    let number = u64::from(version.number());
    let query = |origin| HeaderQuery { origin, amount: 192, skip: 1, reverse: true };
    let announced = transactions().iter().map(AnnouncedTransaction::of).collect();
    let body = BlockBody { transactions: transactions(), ..BlockBody::default() };
    vec![
        Message::Status(Status {
            version: number,
            network_id: 1,
            td,
            head: hash,
            genesis: hash,
            fork_id,
        }),
        Message::NewBlockHashes(vec![BlockNumHash { number: 7, hash }]),
        Message::Transactions(transactions()),
        Message::GetBlockHeaders { request, query: query(Origin::Hash(hash)) },
        Message::GetBlockHeaders { request, query: query(Origin::Number(5)) },
        Message::BlockHeaders { request, headers: vec![SealedHeader::seal_slow(header(1))] },
        Message::GetBlockBodies { request, hashes: hashes.clone() },
        Message::BlockBodies { request, bodies: vec![body] },
        Message::NewBlock { block: block.into(), td },
        Message::NewPooledTransactionHashes(announced),
        Message::GetPooledTransactions { request, hashes: hashes.clone() },
        Message::PooledTransactions { request, transactions: transactions() },
        Message::GetNodeData { request, hashes: hashes.clone() },
        Message::NodeData { request, values: vec![Bytes::from_static(b"node")] },
        Message::GetReceipts { request, hashes },
        Message::Receipts { request, receipts: vec![receipts()] },
    ]
}

fn receipts() -> Vec<Receipt> {
    let receipt = |tx_type, post_state| Receipt {
        tx_type,
        success: true,
        cumulative_gas_used: 21_000,
        logs: Vec::new(),
        post_state,
    };
    vec![receipt(0, None), receipt(2, None), receipt(0, Some(B256::repeat_byte(3)))]
}

fn transactions() -> Vec<Transaction> {
    let account = TestAccount::new(0);
    let transfer = account.transfer(27_587, 0, Address::repeat_byte(1), U256::from(1));
    let creation = account.create(27_587, 1, Bytes::from_static(&[0x60; 40]));
    let dynamic = account.sign(alloy_consensus::TxEip1559 {
        chain_id: 1,
        gas_limit: 21_000,
        max_fee_per_gas: 9,
        ..Default::default()
    });
    let listed = account.sign(alloy_consensus::TxEip2930 {
        chain_id: 1,
        gas_price: 3,
        gas_limit: 30_000,
        ..Default::default()
    });
    vec![transfer, creation, dynamic, listed]
}

fn header(number: u64) -> Header {
    Header {
        number,
        difficulty: U256::from(131_072),
        gas_limit: 8_000_000,
        timestamp: 1_700_000_000,
        extra_data: Bytes::from_static(b"seed"),
        ..Header::default()
    }
}

fn block() -> Block {
    let body =
        BlockBody { transactions: transactions(), ommers: vec![header(1)], withdrawals: None };
    Block { header: header(2), body }
}

fn nodes() -> [NodeRecord; 2] {
    let node = |ip, udp| NodeRecord { id: PeerId::of(&key(1)), ip, tcp: 30_303, udp };
    [
        node(IpAddr::V4(Ipv4Addr::new(10, 3, 58, 6)), 30_303),
        node(IpAddr::V6(Ipv6Addr::LOCALHOST), 30_301),
    ]
}

fn packets() -> Vec<Packet> {
    let [four, six] = nodes();
    let to = Endpoint::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 30_303)), 30_303);
    let (ping_hash, expiration) = (B256::repeat_byte(5), 2_000_000_000);
    vec![
        Packet::Ping { from: to, to, expiration, enr_sequence: Some(1) },
        Packet::Pong { to, ping_hash, expiration, enr_sequence: None },
        Packet::FindNode { target: [3; 64], expiration },
        Packet::Neighbors { nodes: vec![Neighbor::from(four), Neighbor::from(six)], expiration },
        Packet::EnrRequest { expiration },
        Packet::EnrResponse { request_hash: ping_hash, record: enrs()[0].clone() },
    ]
}

fn enrs() -> Vec<Vec<u8>> {
    let key: SecretKey = key(1);
    let fork_id = ForkId { hash: [1, 2, 3, 4], next: 0 };
    let record = LocalRecord::new(key, nodes()[0], Some(fork_id), 7);
    vec![record.enr().to_rlp(), record.enr().to_string().into_bytes()]
}

const GENESIS: &str = r#"{"config": {"chainId": 7, "homesteadBlock": 0, "daoForkBlock": 2,
"daoForkSupport": true, "eip150Block": 3, "eip155Block": 4, "eip158Block": 4, "byzantiumBlock": 5,
"constantinopleBlock": 6, "petersburgBlock": 6, "istanbulBlock": 7, "muirGlacierBlock": 8,
"berlinBlock": 9, "londonBlock": 10, "arrowGlacierBlock": 11, "ethash": {}},
"nonce": "0x0000000000000042", "timestamp": "0x5", "extraData": "0x1122", "gasLimit": "0x1388",
"difficulty": "0x400000000", "mixHash":
"0x0000000000000000000000000000000000000000000000000000000000000000",
"coinbase": "0x0000000000000000000000000000000000000000", "alloc": {
"1111111111111111111111111111111111111111": {"balance": "123", "nonce": "0x1", "code": "0x6000",
"storage": {"0x00": "0x01"}}}}"#;

const SCRYPT: &str = r#"{"address":"008aeeda4d805471df9b2a5b0f38a0c3bcba786b","crypto":{"cipher":
"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},"ciphertext":
"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{
"dklen":32,"n":262144,"p":1,"r":8,"salt":
"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},"mac":
"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":
"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

const PBKDF2: &str = r#"{"address":"008aeeda4d805471df9b2a5b0f38a0c3bcba786b","crypto":{"cipher":
"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":
"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{
"c":262144,"dklen":32,"prf":"hmac-sha256","salt":
"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":
"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":
"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
