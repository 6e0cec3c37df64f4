use primitives::hex;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::rlpx::vectors;

fn key(digits: &str) -> SecretKey {
    SecretKey::from_slice(&hex::decode(digits).unwrap()).unwrap()
}

fn nonce(digits: &str) -> Nonce {
    hex::decode_to_array(digits).unwrap()
}

fn dialler(key: &SecretKey) -> Ours {
    let ephemeral = self::key(vectors::EPHEMERAL_A);
    Ours { key: *key, ephemeral, nonce: nonce(vectors::NONCE_A) }
}

fn dialled(key: &SecretKey) -> Ours {
    let ephemeral = self::key(vectors::EPHEMERAL_B);
    Ours { key: *key, ephemeral, nonce: nonce(vectors::NONCE_B) }
}

async fn packet(wire: &[u8], key: &SecretKey, plain_bytes: usize) -> Result<Packet, RlpxError> {
    let mut stream = wire;
    let packet = read_packet(&mut stream, key, plain_bytes).await?;
    assert!(stream.is_empty(), "all of the packet was read");
    Ok(packet)
}

#[tokio::test]
async fn the_packets_of_eip_8_are_read() {
    let (a, b) = (key(vectors::STATIC_A), key(vectors::STATIC_B));
    for (auth, form) in [
        (vectors::AUTH_PLAIN, Form::Plain),
        (vectors::AUTH_4, Form::Eip8),
        (vectors::AUTH_56, Form::Eip8),
    ] {
        let packet = packet(&hex::decode(auth).unwrap(), &b, PLAIN_AUTH_BYTES).await.unwrap();
        assert_eq!(packet.form, form);
        let auth = Auth::read(&packet).unwrap();
        assert_eq!(auth.key, PeerId::of(&a));
        assert_eq!(auth.nonce, nonce(vectors::NONCE_A));
        let message = signed(&auth.nonce, &ecies::agree(&b, auth.key.public_key()));
        let ephemeral = recover(&auth.signature, &message).unwrap();
        assert_eq!(PeerId::from(ephemeral), PeerId::of(&key(vectors::EPHEMERAL_A)));
    }
    for (ack, form) in [
        (vectors::ACK_PLAIN, Form::Plain),
        (vectors::ACK_4, Form::Eip8),
        (vectors::ACK_57, Form::Eip8),
    ] {
        let packet = packet(&hex::decode(ack).unwrap(), &a, PLAIN_ACK_BYTES).await.unwrap();
        assert_eq!(packet.form, form);
        let ack = Ack::read(&packet).unwrap();
        assert_eq!(ack.ephemeral, PeerId::of(&key(vectors::EPHEMERAL_B)));
        assert_eq!(ack.nonce, nonce(vectors::NONCE_B));
    }
}

#[tokio::test]
async fn the_secrets_of_eip_8_are_derived_on_both_sides() {
    let (a, b) = (key(vectors::STATIC_A), key(vectors::STATIC_B));
    let auth = hex::decode(vectors::AUTH_4).unwrap();
    let ack = hex::decode(vectors::ACK_4).unwrap();
    let auth_packet = packet(&auth, &b, PLAIN_AUTH_BYTES).await.unwrap();
    let ours = dialled(&b);
    let theirs = Auth::read(&auth_packet).unwrap();
    let ephemeral = PeerId::of(&key(vectors::EPHEMERAL_A));
    let (aes, mac) = ours.derive(ephemeral.public_key(), &theirs.nonce, &ours.nonce);
    assert_eq!(hex::encode(aes), vectors::AES_SECRET);
    assert_eq!(hex::encode(mac), vectors::MAC_SECRET);
    let mut ingress = running(&mac, &ours.nonce, &auth);
    ingress.update(b"foo");
    assert_eq!(hex::encode(ingress.finalize()), vectors::INGRESS_FOO);

    let ack_packet = packet(&ack, &a, PLAIN_ACK_BYTES).await.unwrap();
    let mut secrets = dialler(&a).dialled(&auth, &ack_packet).unwrap();
    assert_eq!(hex::encode(secrets.aes), vectors::AES_SECRET);
    assert_eq!(hex::encode(secrets.mac), vectors::MAC_SECRET);
    secrets.egress.update(b"foo");
    assert_eq!(hex::encode(secrets.egress.finalize()), vectors::INGRESS_FOO);
}

#[tokio::test]
async fn both_sides_of_either_form_have_the_same_secrets() {
    let (a, b) = (key(vectors::STATIC_A), key(vectors::STATIC_B));
    for form in [Form::Plain, Form::Eip8] {
        let (dialler, dialled) = (Ours::random(&a), Ours::random(&b));
        let auth = dialler.auth(&PeerId::of(&b), form);
        let auth_packet = packet(&auth, &b, PLAIN_AUTH_BYTES).await.unwrap();
        let (remote, ack, theirs) = dialled.accepted(&auth_packet).unwrap();
        assert_eq!(remote, PeerId::of(&a));
        let ack_packet = packet(&ack, &a, PLAIN_ACK_BYTES).await.unwrap();
        assert_eq!(ack_packet.form, form);
        let ours = dialler.dialled(&auth, &ack_packet).unwrap();
        assert_eq!((ours.aes, ours.mac), (theirs.aes, theirs.mac));
        assert_eq!(ours.egress.finalize(), theirs.ingress.finalize());
        assert_eq!(ours.ingress.finalize(), theirs.egress.finalize());
    }
}

#[tokio::test]
async fn the_lengths_of_packets_are_those_of_the_specification() {
    let (a, b) = (key(vectors::STATIC_A), key(vectors::STATIC_B));
    assert_eq!(dialler(&a).auth(&PeerId::of(&b), Form::Plain).len(), 307);
    assert_eq!(dialled(&b).ack(&PeerId::of(&a), Form::Plain).len(), 210);
    for _ in 0..50 {
        let auth = dialler(&a).auth(&PeerId::of(&b), Form::Eip8);
        let unpadded = auth.len() - LENGTH_BYTES - ecies::OVERHEAD_BYTES - 169;
        assert!(PADDING_BYTES.contains(&unpadded), "{unpadded}");
    }
}

#[tokio::test]
async fn packets_of_any_length_and_fill_are_refused() {
    let b = key(vectors::STATIC_B);
    for length in 0..=400_u16 {
        for fill in [0, 4, 0xff] {
            let mut bytes = vec![fill; usize::from(length)];
            assert!(read_packet(&mut bytes.as_slice(), &b, PLAIN_AUTH_BYTES).await.is_err());
            // The same with a length that is true.
            bytes.splice(0..0, length.to_be_bytes());
            let result = read_packet(&mut bytes.as_slice(), &b, PLAIN_AUTH_BYTES).await;
            assert!(matches!(result, Err(RlpxError::Packet)));
        }
    }
}

#[tokio::test]
async fn a_packet_beyond_the_limit_is_refused_before_it_is_read() {
    let b = key(vectors::STATIC_B);
    let read = read_packet(&mut [0x07_u8, 0xff].as_slice(), &b, PLAIN_AUTH_BYTES).await;
    assert!(matches!(read, Err(RlpxError::Packet)));
    let read = read_packet(&mut [0x07_u8, 0xfe].as_slice(), &b, PLAIN_AUTH_BYTES).await;
    assert!(matches!(read, Err(RlpxError::Closed)));
}

#[tokio::test]
async fn an_eip_8_packet_whose_length_looks_like_a_point_is_read() {
    let b = key(vectors::STATIC_B);
    let mut body = vec![0xc0];
    body.resize(0x0410 - ecies::OVERHEAD_BYTES, 0);
    let mut wire = vec![0x04, 0x10];
    let sealed = ecies::encrypt(PeerId::of(&b).public_key(), &body, &[0x04, 0x10]);
    wire.extend_from_slice(&sealed);
    let packet = packet(&wire, &b, PLAIN_AUTH_BYTES).await.unwrap();
    assert_eq!((packet.form, packet.body), (Form::Eip8, body));
}

/// Six ways of being no point.
fn bad_points() -> Vec<[u8; KEY_BYTES]> {
    let prime = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f";
    let prime: [u8; 32] = hex::decode_to_array(prime).unwrap();
    let good = PeerId::of(&key(vectors::EPHEMERAL_A)).to_bytes();
    let mut points = vec![good; 6];
    points[0][63] ^= 1;
    points[1][..32].copy_from_slice(&prime);
    points[2][32..].copy_from_slice(&prime);
    points[3].fill(0);
    points[4].fill(0xff);
    points[5].reverse();
    points
}

#[test]
fn keys_that_are_no_points_are_refused_in_both_packets_and_forms() {
    let list = |fields: &[&[u8]]| {
        let mut body = Vec::new();
        let payload_length = fields.iter().map(|field| field.length()).sum::<usize>() + 1;
        Header { list: true, payload_length }.encode(&mut body);
        fields.iter().for_each(|field| field.encode(&mut body));
        VERSION.encode(&mut body);
        body
    };
    let good = PeerId::of(&key(vectors::EPHEMERAL_A)).to_bytes();
    let of = |form, body| Packet { form, wire: Vec::new(), body };
    let read = |point: &[u8; 64]| {
        let auth = list(&[&[1; 65], point, &[2; 32]]);
        let plain_auth = [&[1; 65][..], &[3; 32], point, &[2; 32], &[0]].concat();
        let ack = list(&[point, &[2; 32]]);
        let plain_ack = [&point[..], &[2; 32], &[0]].concat();
        [
            Auth::read(&of(Form::Eip8, auth)).map(|_| ()),
            Auth::read(&of(Form::Plain, plain_auth)).map(|_| ()),
            Ack::read(&of(Form::Eip8, ack)).map(|_| ()),
            Ack::read(&of(Form::Plain, plain_ack)).map(|_| ()),
        ]
    };
    assert!(read(&good).iter().all(Result::is_ok));
    for point in bad_points() {
        assert!(read(&point).iter().all(|read| matches!(read, Err(RlpxError::Packet))));
    }
}

#[test]
fn bodies_that_are_no_packets_are_refused() {
    let mut deep = vec![0xc0];
    for _ in 0..200 {
        let mut outer = Vec::new();
        Header { list: true, payload_length: deep.len() }.encode(&mut outer);
        outer.extend_from_slice(&deep);
        deep = outer;
    }
    let huge = [0xff, 0x80, 0, 0, 0, 0, 0, 0, 0];
    for body in [&[][..], &[0xc0], &[0x80], &[0xc1], &[0xf9, 0xff, 0xff], &huge, &deep] {
        let packet = Packet { form: Form::Eip8, wire: Vec::new(), body: body.to_vec() };
        assert!(matches!(Auth::read(&packet), Err(RlpxError::Packet)));
        assert!(matches!(Ack::read(&packet), Err(RlpxError::Packet)));
        let packet = Packet { form: Form::Plain, ..packet };
        assert!(matches!(Auth::read(&packet), Err(RlpxError::Packet)));
        assert!(matches!(Ack::read(&packet), Err(RlpxError::Packet)));
    }
}

#[test]
fn a_signature_from_which_no_key_follows_is_refused() {
    let (a, b) = (key(vectors::STATIC_A), key(vectors::STATIC_B));
    let id = PeerId::of(&a).to_bytes();
    for signature in [[0; 65], [0xff; 65], [4; 65]] {
        let body = [&signature[..], &[0; 32], &id, &[0; 32], &[0]].concat();
        let packet = Packet { form: Form::Plain, wire: Vec::new(), body };
        assert!(matches!(dialled(&b).accepted(&packet), Err(RlpxError::Packet)));
    }
}

#[tokio::test]
async fn two_nodes_shake_hands_over_a_socket() {
    let (a, b) = (key(vectors::STATIC_A), key(vectors::STATIC_B));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut out = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut inward, _) = listener.accept().await.unwrap();
    let remote = PeerId::of(&b);
    let (ours, theirs) = tokio::join!(dial(&mut out, &a, &remote), accept(&mut inward, &b));
    let (ours, (remote, theirs)) = (ours.unwrap(), theirs.unwrap());
    assert_eq!(remote, PeerId::of(&a));
    assert_eq!(ours.aes, theirs.aes);
}

#[tokio::test]
async fn whoever_dials_another_key_is_refused() {
    let (a, b) = (key(vectors::STATIC_A), key(vectors::STATIC_B));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut out = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut inward, _) = listener.accept().await.unwrap();
    let somebody = PeerId::of(&key(vectors::EPHEMERAL_A));
    let accept = async {
        let result = accept(&mut inward, &b).await;
        drop(inward);
        result
    };
    let (ours, theirs) = tokio::join!(dial(&mut out, &a, &somebody), accept);
    assert!(matches!(ours, Err(RlpxError::Closed)));
    assert!(matches!(theirs, Err(RlpxError::Packet)));
}
