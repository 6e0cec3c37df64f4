use primitives::hex;
use proptest::prelude::*;

use super::*;

/// The node key of the vectors of [EIP-8](https://eips.ethereum.org/EIPS/eip-8).
const KEY: &str = "b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291";
const EXPIRATION: u64 = 1_136_239_445;
const PING: &str = "71dbda3a79554728d4f94411e42ee1f8b0d561c10e1e5f5893367948c6a7d70bb87b235fa28a77070271b6c1\
    64a2dce8c7e13a5739b53b5e96f2e5acb0e458a02902f5965d55ecbeb2ebb6cabb8b2b232896a36b737666c5\
    5265ad0a68412f250001ea04cb847f000001820cfa8215a8d790000000000000000000000000000000018208\
    ae820d058443b9a355";
const PING_WITH_MORE: &str = "e9614ccfd9fc3e74360018522d30e1419a143407ffcce748de3e22116b7e8dc92ff74788c0b6663aaa3d67d6\
    41936511c8f8d6ad8698b820a7cf9e1be7155e9a241f556658c55428ec0563514365799a4be2be5a685a8097\
    1ddcfa80cb422cdd0101ec04cb847f000001820cfa8215a8d790000000000000000000000000000000018208\
    ae820d058443b9a3550102";
const FIND_NODE: &str = "c7c44041b9f7c7e41934417ebac9a8e1a4c6298f74553f2fcfdcae6ed6fe53163eb3d2b52e39fe91831b8a92\
    7bf4fc222c3902202027e5e9eb812195f95d20061ef5cd31d502e47ecb61183f74a504fe04c51e73df81f25c\
    4d506b26db4517490103f84eb840ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd\
    31387574077f301b421bc84df7266c44e9e6d569fc56be00812904767bf5ccd1fc7f8443b9a3558299998399\
    9999280dc62cc8255c73471e0a61da0c89acdc0e035e260add7fc0c04ad9ebf3919644c91cb247affc82b69b\
    d2ca235c71eab8e49737c937a2c396";
const NEIGHBORS: &str = "c679fc8fe0b8b12f06577f2e802d34f6fa257e6137a995f6f4cbfc9ee50ed3710faf6e66f932c4c8d81d6434\
    3f429651328758b47d3dbc02c4042f0fff6946a50f4a49037a72bb550f3a7872363a83e1b9ee6469856c24eb\
    4ef80b7535bcf99c0004f9015bf90150f84d846321163782115c82115db8403155e1427f85f10a5c9a775587\
    7748041af1bcd8d474ec065eb33df57a97babf54bfd2103575fa829115d224c523596b401065a97f74010610\
    fce76382c0bf32f84984010203040101b840312c55512422cf9b8a4097e9a6ad79402e87a15ae909a4bfefa2\
    2398f03d20951933beea1e4dfa6f968212385e829f04c2d314fc2d4e255e0d3bc08792b069dbf8599020010d\
    b83c4d001500000000abcdef12820d05820d05b84038643200b172dcfef857492156971f0e6aa2c538d8b740\
    10f8e140811d53b98c765dd2d96126051913f44582e8c199ad7c6d6819e9a56483f637feaac9448aacf85990\
    20010db885a308d313198a2e037073488203e78203e8b8408dcab8618c3253b558d459da53bd8fa68935a719\
    aff8b811197101a4b2b47dd2d47295286fc00cc081bb542d760717d1bdd6bec2c37cd72eca367d6dd3b9df73\
    8443b9a355010203b525a138aa34383fec3d2719a0";

fn key() -> SecretKey {
    SecretKey::from_slice(&hex::decode(KEY).unwrap()).unwrap()
}

fn endpoint(ip: &str, udp: u16, tcp: u16) -> Endpoint {
    Endpoint { ip: Some(ip.parse().unwrap()), udp, tcp }
}

/// Opens a vector and checks who signed it.
fn opened(vector: &str) -> Packet {
    let envelope = Envelope::open(&hex::decode(vector).unwrap()).unwrap();
    assert_eq!(envelope.sender().unwrap(), PeerId::of(&key()));
    envelope.packet
}

#[test]
fn the_pings_of_eip_8_are_read() {
    let ping = |enr_sequence| Packet::Ping {
        from: endpoint("127.0.0.1", 3322, 5544),
        to: endpoint("::1", 2222, 3333),
        expiration: EXPIRATION,
        enr_sequence,
    };
    assert_eq!(opened(PING), ping(None));
    assert_eq!(opened(PING_WITH_MORE), ping(Some(1)));
}

#[test]
fn the_question_of_eip_8_is_read() {
    let target = "ca634cae0d49acb401d8a4c6b6fe8c55b70d115bf400769cc1400f3258cd3138\
                  7574077f301b421bc84df7266c44e9e6d569fc56be00812904767bf5ccd1fc7f";
    let target = hex::decode_to_array(target).unwrap();
    assert_eq!(opened(FIND_NODE), Packet::FindNode { target, expiration: EXPIRATION });
}

#[test]
fn the_neighbours_of_eip_8_are_read() {
    let Packet::Neighbors { nodes, expiration } = opened(NEIGHBORS) else {
        panic!("it is of type 4");
    };
    assert_eq!(expiration, EXPIRATION);
    let endpoints: Vec<Endpoint> = nodes.iter().map(|node| node.endpoint).collect();
    assert_eq!(
        endpoints,
        [
            endpoint("99.33.22.55", 4444, 4445),
            endpoint("1.2.3.4", 1, 1),
            endpoint("2001:db8:3c4d:15::abcd:ef12", 3333, 3333),
            endpoint("2001:db8:85a3:8d3:1319:8a2e:370:7348", 999, 1000),
        ]
    );
    assert_eq!(hex::encode(&nodes[3].id[..4]), "8dcab861");
}

#[test]
fn a_full_packet_of_neighbours_fits_a_datagram() {
    let id = PeerId::of(&key());
    let ip = "2a00:1111:2222:3333:4444:5555:6666:7777".parse().unwrap();
    let node = Neighbor::from(NodeRecord { id, ip, tcp: 65_535, udp: 65_535 });
    let nodes = vec![node; NEIGHBORS_MAX];
    let (datagram, _) = Packet::Neighbors { nodes, expiration: u64::MAX }.seal(&key());
    assert!(datagram.len() <= DATAGRAM_BYTES_MAX, "{}", datagram.len());
}

#[test]
fn damaged_datagrams_are_refused_for_what_is_wrong() {
    let good = hex::decode(PING).unwrap();
    assert_eq!(Envelope::open(&good[..97]), Err(PacketError::Length(97)));
    assert_eq!(Envelope::open(&[0; 1_281]), Err(PacketError::Length(1_281)));
    assert_eq!(Envelope::open(&[0; 98]), Err(PacketError::UnknownType(0)));
    assert_eq!(Envelope::open(&[0; 1_280]), Err(PacketError::UnknownType(0)));
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        let opened = Envelope::open(&bad);
        assert!(opened.is_err(), "{place}");
        assert!(place >= 97 || opened == Err(PacketError::Hash), "{place}");
    }
    assert_eq!(Envelope::open(&hashed(&[7, 0xc0])), Err(PacketError::UnknownType(7)));
    assert_eq!(Envelope::open(&hashed(&[0, 0xc0])), Err(PacketError::UnknownType(0)));
    for kind in 1..=6 {
        for rlp in [&[][..], &[0xc0], &[0x80], &[0xf9, 0xff, 0xff], &[0xff; 9], &[0xc1, 0xc0]] {
            let bad = hashed(&[&[kind], rlp].concat());
            assert!(matches!(Envelope::open(&bad), Err(PacketError::Malformed(_))), "{kind}");
        }
    }
}

/// A datagram with a right hash and a signature of zeros.
fn hashed(signed: &[u8]) -> Vec<u8> {
    let rest = [&[0; SIGNATURE_BYTES], signed].concat();
    [keccak256(&rest).as_slice(), &rest].concat()
}

#[test]
fn a_signature_that_no_key_could_have_made_is_refused() {
    let (datagram, _) = Packet::EnrRequest { expiration: 1 }.seal(&key());
    for (from, to, filler) in [(32, 96, 0), (32, 96, 0xff), (96, 97, 4), (96, 97, 0xff)] {
        let mut bad = datagram.clone();
        bad[from..to].fill(filler);
        let hash = keccak256(&bad[32..]);
        bad[..32].copy_from_slice(hash.as_slice());
        assert_eq!(Envelope::open(&bad).unwrap().sender(), Err(PacketError::Signature));
    }
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    let ip = proptest::option::of(any::<IpAddr>());
    (ip, any::<u16>(), any::<u16>()).prop_map(|(ip, udp, tcp)| Endpoint { ip, udp, tcp })
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let hash = any::<[u8; 32]>().prop_map(B256::from);
    let id = || proptest::collection::vec(any::<u8>(), 64).prop_map(|id| id.try_into().unwrap());
    let sequence = || proptest::option::of(any::<u64>());
    let node = (any_endpoint(), id()).prop_map(|(endpoint, id)| Neighbor { endpoint, id });
    let nodes = proptest::collection::vec(node, 0..=NEIGHBORS_MAX);
    prop_oneof![
        (any_endpoint(), any_endpoint(), any::<u64>(), sequence()).prop_map(
            |(from, to, expiration, enr_sequence)| Packet::Ping {
                from,
                to,
                expiration,
                enr_sequence
            }
        ),
        (any_endpoint(), hash.clone(), any::<u64>(), sequence()).prop_map(
            |(to, ping_hash, expiration, enr_sequence)| Packet::Pong {
                to,
                ping_hash,
                expiration,
                enr_sequence
            }
        ),
        (id(), any::<u64>())
            .prop_map(|(target, expiration)| Packet::FindNode { target, expiration }),
        (nodes, any::<u64>())
            .prop_map(|(nodes, expiration)| Packet::Neighbors { nodes, expiration }),
        any::<u64>().prop_map(|expiration| Packet::EnrRequest { expiration }),
        hash.prop_map(|request_hash| Packet::EnrResponse {
            request_hash,
            record: vec![0xc2, 1, 2]
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(packet in any_packet()) {
        let (datagram, hash) = packet.seal(&key());
        let envelope = Envelope::open(&datagram).unwrap();
        prop_assert_eq!(envelope.sender().unwrap(), PeerId::of(&key()));
        prop_assert_eq!(envelope.hash, hash);
        prop_assert_eq!(envelope.packet, packet);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(signed in proptest::collection::vec(any::<u8>(), 1..1_183)) {
        if let Ok(envelope) = Envelope::open(&hashed(&signed)) {
            prop_assert!(envelope.sender().is_err());
        }
    }
}
