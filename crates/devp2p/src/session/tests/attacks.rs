//! What a stranger can do who knows the cryptography and no manners.

use alloy_rlp::{Encodable, Header};

use super::*;
use crate::base::{BASE_BYTES_MAX, BASE_CODES};

/// A connection that will obey nobody, and the session of the node at its other end.
async fn rogue() -> (Link, Running) {
    let (out, inward) = sockets().await;
    let (rogue, victim) = (local(1), local(2));
    let id = victim.id();
    let greeted = async {
        let mut link = Link::dial(out, &id, &rogue.key).await.unwrap();
        link.exchange(&rogue).await.unwrap();
        link
    };
    let (link, session) = tokio::join!(greeted, accept(inward, &victim));
    (link, Running::new(session.unwrap()))
}

/// What becomes of a stranger that sends one message instead of a hello, and what it is told.
async fn greet_with(
    key: SecretKey,
    code: u64,
    payload: &[u8],
) -> (HandshakeError, Option<DisconnectReason>) {
    let (out, inward) = sockets().await;
    let victim = local(2);
    let id = victim.id();
    let strange = async {
        let mut link = Link::dial(out, &id, &key).await.unwrap();
        link.writer.write(code, payload).await.unwrap();
        let (hello, _) = link.reader.read_greeting().await.unwrap();
        assert_eq!(hello, HELLO);
        told(&mut link).await
    };
    let (told, result) = tokio::join!(strange, accept(inward, &victim));
    (result.unwrap_err(), told)
}

/// The reason for a disconnect, which is compressed if the hello before it was good.
async fn told(link: &mut Link) -> Option<DisconnectReason> {
    let payload = match link.reader.read_greeting().await {
        Ok((DISCONNECT, payload)) => payload,
        Ok(_) | Err(_) => return None,
    };
    let plain = snap::raw::Decoder::new().decompress_vec(&payload);
    // A list of one number does not begin as a compressed byte does.
    let payload = if payload[0] == 0xc1 { payload } else { plain.unwrap() };
    Some(DisconnectReason::decode(&payload))
}

fn hello(version: u64, id: &[u8; 64]) -> Vec<u8> {
    let mut fields = Vec::new();
    version.encode(&mut fields);
    "rogue".encode(&mut fields);
    let capability = [0xc5, 0x83, b'e', b't', b'h', 68];
    Header { list: true, payload_length: capability.len() }.encode(&mut fields);
    fields.extend_from_slice(&capability);
    0_u8.encode(&mut fields);
    id.encode(&mut fields);
    let mut payload = Vec::new();
    Header { list: true, payload_length: fields.len() }.encode(&mut payload);
    payload.extend_from_slice(&fields);
    payload
}

#[tokio::test]
async fn who_claims_another_identity_is_told_so() {
    let own = PeerId::of(&key(1)).to_bytes();
    let other = PeerId::of(&key(9)).to_bytes();
    for (version, id, expected) in [
        (5, other, DisconnectReason::UnexpectedIdentity),
        (5, PeerId::of(&key(2)).to_bytes(), DisconnectReason::UnexpectedIdentity),
        (3, own, DisconnectReason::IncompatibleVersion),
        (0, own, DisconnectReason::IncompatibleVersion),
        (5, [0; 64], DisconnectReason::InvalidIdentity),
        (5, [0xff; 64], DisconnectReason::InvalidIdentity),
    ] {
        let (error, told) = greet_with(key(1), HELLO, &hello(version, &id)).await;
        assert_eq!(told, Some(expected));
        assert_eq!(error.reason(), Some(expected));
    }
}

#[tokio::test]
async fn versions_from_4_on_are_spoken_to_and_only_from_5_on_compressed() {
    for (version, compressed) in [(4, false), (5, true), (6, true), (89, true)] {
        let (out, inward) = sockets().await;
        let victim = local(2);
        let (id, rogue) = (victim.id(), key(1));
        let payload = hello(version, &PeerId::of(&rogue).to_bytes());
        let greeted = async {
            let mut link = Link::dial(out, &id, &rogue).await.unwrap();
            link.writer.write(HELLO, &payload).await.unwrap();
            link.reader.read_greeting().await.unwrap();
            link
        };
        let (mut link, session) = tokio::join!(greeted, accept(inward, &victim));
        let victim = Running::new(session.unwrap());
        victim.send(0, 3, b"aaaa".to_vec()).await;
        let (code, payload) = link.reader.read_greeting().await.unwrap();
        assert_eq!(code, 19);
        assert_eq!(payload != b"aaaa", compressed);
    }
}

#[tokio::test]
async fn what_is_no_hello_is_answered_with_a_breach_of_protocol() {
    let good = hello(5, &PeerId::of(&key(1)).to_bytes());
    let compressed = snap::raw::Encoder::new().compress_vec(&good).unwrap();
    let long = [&good[..], &vec![0; BASE_BYTES_MAX]].concat();
    for (code, payload) in [
        (HELLO, &compressed[..]),
        (HELLO, &long),
        (HELLO, b""),
        (HELLO, b"\xc0"),
        (PING, b"\xc0"),
        (BASE_CODES, b"\xc0"),
        (u64::MAX, b"\xc0"),
    ] {
        let (error, told) = greet_with(key(1), code, payload).await;
        assert_eq!(told, Some(DisconnectReason::BreachOfProtocol), "{error:?}");
    }
}

#[tokio::test]
async fn a_disconnect_instead_of_a_hello_is_understood() {
    let (out, inward) = sockets().await;
    let victim = local(2);
    let id = victim.id();
    let strange = async {
        let mut link = Link::dial(out, &id, &key(1)).await.unwrap();
        let payload = DisconnectReason::TooManyPeers.encode();
        link.writer.write(DISCONNECT, &payload).await.unwrap();
        link
    };
    let (_link, result) = tokio::join!(strange, accept(inward, &victim));
    let error = result.unwrap_err();
    let expected = HandshakeError::Disconnected(DisconnectReason::TooManyPeers);
    assert_eq!(error.to_string(), expected.to_string());
}

#[tokio::test]
async fn a_long_frame_before_hello_is_refused_by_its_header() {
    let (out, inward) = sockets().await;
    let victim = local(2);
    let id = victim.id();
    let strange = async {
        let mut link = Link::dial(out, &id, &key(1)).await.unwrap();
        link.writer.frames_mut().promise(message::GREETING_BYTES_MAX + 1).await.unwrap();
        link
    };
    let (_link, result) = tokio::join!(strange, accept(inward, &victim));
    let error = result.unwrap_err();
    assert!(matches!(error, HandshakeError::Rlpx(RlpxError::FrameTooLarge { .. })), "{error:?}");
}

#[tokio::test]
async fn who_stalls_before_hello_is_left_in_time() {
    let (out, inward) = sockets().await;
    let victim = local(2);
    let id = victim.id();
    let strange = async {
        let mut link = Link::dial(out, &id, &key(1)).await.unwrap();
        link.writer.frames_mut().promise(message::GREETING_BYTES_MAX).await.unwrap();
        link.reader.read_greeting().await.unwrap();
        time::pause();
        link
    };
    let (_link, result) = tokio::join!(strange, accept(inward, &victim));
    assert!(matches!(result.unwrap_err(), HandshakeError::Timeout));
}

#[tokio::test]
async fn who_says_nothing_at_all_is_left_in_time() {
    let (_out, inward) = sockets().await;
    time::pause();
    assert!(matches!(accept(inward, &local(2)).await.unwrap_err(), HandshakeError::Timeout));
    let (out, _inward) = sockets().await;
    let dialled = dial(out, &local(2).id(), &local(1)).await;
    assert!(matches!(dialled.unwrap_err(), HandshakeError::Timeout));
}

#[tokio::test]
async fn who_promises_a_frame_and_stalls_is_left_in_time() {
    let (mut link, mut victim) = rogue().await;
    link.writer.frames_mut().promise(MESSAGE_BYTES_MAX).await.unwrap();
    time::pause();
    let ended = victim.ended().await;
    assert!(matches!(ended, Ended::Local(DisconnectReason::ReadTimeout)), "{ended:?}");
}

#[tokio::test]
async fn who_promises_the_longest_frame_breaches_the_protocol() {
    let (mut link, mut victim) = rogue().await;
    link.writer.frames_mut().promise(0xff_ffff).await.unwrap();
    let (ended, reason) = tokio::join!(victim.ended(), last_reason(link));
    assert!(matches!(ended, Ended::Local(DisconnectReason::BreachOfProtocol)), "{ended:?}");
    assert_eq!(reason, DisconnectReason::BreachOfProtocol);
}

/// Reads until the victim says why it leaves, and then hangs up.
async fn last_reason(mut link: Link) -> DisconnectReason {
    loop {
        if let (DISCONNECT, payload) = link.reader.read().await.unwrap() {
            return DisconnectReason::decode(&payload);
        }
    }
}

#[tokio::test]
async fn messages_that_must_not_be_are_a_breach_of_protocol() {
    let hello = local(1).hello().encode();
    for (code, payload) in [
        (HELLO, hello),
        (41, vec![0xc0]),
        (0x1f + BASE_CODES, vec![0xc0]),
        (0xffff, vec![0xc0]),
        (u64::MAX, vec![0xc0]),
        (PING, vec![0; BASE_BYTES_MAX + 1]),
        (BASE_CODES, vec![0; 15 * 1024 * 1024]),
    ] {
        let (mut link, mut victim) = rogue().await;
        link.writer.write(code, &payload).await.unwrap();
        let (ended, reason) = tokio::join!(victim.ended(), last_reason(link));
        assert!(matches!(ended, Ended::Local(DisconnectReason::BreachOfProtocol)), "{ended:?}");
        assert_eq!(reason, DisconnectReason::BreachOfProtocol);
    }
}

#[tokio::test]
async fn a_small_frame_that_claims_to_become_large_is_a_breach_of_protocol() {
    // 4 GiB less one, 16 MiB and one, 10 MiB and one; and copies from before the beginning.
    let claims: [&[u8]; 4] =
        [b"\xff\xff\xff\xff\x0f", b"\x81\x80\x80\x08", b"\x81\x80\x80\x05", b"\x0a\x24\xff"];
    for claim in claims {
        let (mut link, mut victim) = rogue().await;
        let payload = [claim, &[0; 20]].concat();
        link.writer.frames_mut().write(&[16], &payload).await.unwrap();
        let (ended, reason) = tokio::join!(victim.ended(), last_reason(link));
        assert_eq!(reason, DisconnectReason::BreachOfProtocol);
        assert!(matches!(ended, Ended::Local(DisconnectReason::BreachOfProtocol)), "{ended:?}");
    }
}

#[tokio::test]
async fn what_is_deep_or_wide_inside_is_delivered_as_bytes() {
    let (mut link, mut victim) = rogue().await;
    for payload in [vec![0xc0; MESSAGE_BYTES_MAX], vec![0xc1; 1_000_000]] {
        let written = link.writer.write(BASE_CODES, &payload);
        let (received, written) = tokio::join!(victim.incoming.recv(), written);
        written.unwrap();
        assert!(received.unwrap().payload == payload);
    }
}

#[tokio::test]
async fn who_floods_with_pings_and_reads_nothing_is_sent_away() {
    let (mut link, mut victim) = rogue().await;
    time::pause();
    for _ in 0..=inbound::BASE_BURST_MAX {
        link.writer.write(PING, &NOTHING).await.unwrap();
    }
    let ended = victim.ended().await;
    assert!(matches!(ended, Ended::Local(DisconnectReason::SubprotocolError)), "{ended:?}");
    let pongs = victim.traffic.messages_out() - 2;
    assert!(pongs <= u64::from(inbound::BASE_BURST_MAX), "{pongs} beside hello and disconnect");
}

#[tokio::test]
async fn who_does_not_read_is_heard_until_a_write_takes_too_long() {
    let (mut link, mut victim) = rogue().await;
    // More than the system holds for one connection.
    let payload = noise(MESSAGE_BYTES_MAX);
    for _ in 0..2 {
        victim.send(0, 0, payload.clone()).await;
    }
    for id in 0..17 {
        link.writer.write(BASE_CODES + id, b"\xc0").await.unwrap();
        assert_eq!(u64::from(victim.incoming.recv().await.unwrap().id), id);
    }
    // Quiet must not be what ends it.
    time::pause();
    let speaks = async {
        loop {
            time::sleep(Duration::from_secs(10)).await;
            link.writer.write(PONG, &NOTHING).await.unwrap();
        }
    };
    let ended = tokio::select! {
        ended = victim.ended() => ended,
        () = speaks => unreachable!("it speaks on"),
    };
    assert!(matches!(ended, Ended::Error(SessionError::WriteTimeout)), "{ended:?}");
}

#[tokio::test]
async fn strange_reasons_are_read_at_any_log_level() {
    for payload in [
        &b"\xc9\x88\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x88\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xc2\xc1\x04",
        b"\xc0",
        b"text",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let (mut link, mut victim) = rogue().await;
        link.writer.write(DISCONNECT, payload).await.unwrap();
        let ended = victim.ended().await;
        assert!(matches!(ended, Ended::Remote(_)), "{ended:?}");
        assert!(!format!("{ended:?}").is_empty());
    }
}

#[tokio::test]
async fn a_rogue_handshake_does_not_spoil_the_next_one() {
    for _ in 0..20 {
        let (mut out, inward) = sockets().await;
        let victim = local(2);
        let noise = async {
            tokio::io::AsyncWriteExt::write_all(&mut out, &[0xff; 307]).await.unwrap();
        };
        let (refused, ()) = tokio::join!(accept(inward, &victim), noise);
        assert!(matches!(refused.unwrap_err(), HandshakeError::Rlpx(RlpxError::Packet)));
        let (a, b) = meet(&local(1), &victim).await;
        assert!(a.is_ok() && b.is_ok());
    }
}

#[tokio::test]
async fn what_was_tampered_with_ends_a_session_without_a_word() {
    let (mut link, mut victim) = rogue().await;
    let stream = link.writer.frames_mut().stream_mut();
    tokio::io::AsyncWriteExt::write_all(stream, &[7; 64]).await.unwrap();
    let ended = victim.ended().await;
    assert!(matches!(ended, Ended::Error(SessionError::Rlpx(RlpxError::Tag))), "{ended:?}");
    assert!(link.reader.read().await.is_err());
}

#[tokio::test]
async fn who_is_silent_is_asked_once_and_then_left() {
    let (mut link, mut victim) = rogue().await;
    time::pause();
    let asked = async {
        let (code, _) = link.reader.read().await.unwrap();
        let reason = last_reason(link).await;
        (code, reason)
    };
    let (ended, asked) = tokio::join!(victim.ended(), asked);
    assert!(matches!(ended, Ended::Local(DisconnectReason::ReadTimeout)), "{ended:?}");
    assert_eq!(asked, (PING, DisconnectReason::ReadTimeout));
}

#[tokio::test]
async fn who_only_speaks_gets_signs_of_life() {
    let (mut link, _victim) = rogue().await;
    time::pause();
    for _ in 0..6 {
        time::sleep(Duration::from_secs(10)).await;
        link.writer.write(PONG, &NOTHING).await.unwrap();
    }
    for _ in 0..2 {
        assert_eq!(link.reader.read().await.unwrap().0, PING);
    }
}
