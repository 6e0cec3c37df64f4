mod attacks;

use tokio::net::{TcpListener, TcpSocket};

use super::*;

fn key(fill: u8) -> SecretKey {
    SecretKey::from_slice(&[fill; 32]).unwrap()
}

fn protocol(name: &str, version: u32, messages: u8) -> Protocol {
    Protocol { capability: Capability::new(name, version), messages }
}

fn local(fill: u8) -> Local {
    let protocols = vec![protocol("eth", 67, 17), protocol("eth", 68, 17), protocol("snap", 1, 8)];
    Local { key: key(fill), name: format!("node {fill}"), port: 30303, protocols }
}

/// A connection. The dialler's system holds little that the dialler has not read.
async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let dialled = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    (dialled, listener.accept().await.unwrap().0)
}

type Attempt = Result<Session, HandshakeError>;

async fn meet(dialler: &Local, dialled: &Local) -> (Attempt, Attempt) {
    let (out, inward) = sockets().await;
    let id = dialled.id();
    tokio::join!(dial(out, &id, dialler), accept(inward, dialled))
}

/// A session that runs.
struct Running {
    outgoing: mpsc::Sender<Outgoing>,
    incoming: mpsc::Receiver<Message>,
    stop: CancellationToken,
    traffic: Arc<Traffic>,
    task: tokio::task::JoinSet<Ended>,
}

impl Running {
    fn new(session: Session) -> Self {
        let (outgoing, outgoing_due) = mpsc::channel(8);
        let (incoming_due, incoming) = mpsc::channel(1);
        let (stop, traffic) = (CancellationToken::new(), session.traffic());
        let mut task = tokio::task::JoinSet::new();
        task.spawn(session.run(outgoing_due, incoming_due, stop.clone()));
        Self { outgoing, incoming, stop, traffic, task }
    }

    async fn send(&self, capability: usize, id: u8, payload: Vec<u8>) {
        let payload = payload.into();
        let message = Message { capability, id, payload };
        self.outgoing.send(Outgoing::Message(message)).await.unwrap();
    }

    async fn ended(&mut self) -> Ended {
        self.task.join_next().await.unwrap().unwrap()
    }
}

async fn pair() -> (Running, Running) {
    let (a, b) = meet(&local(1), &local(2)).await;
    (Running::new(a.unwrap()), Running::new(b.unwrap()))
}

/// Bytes that cannot be compressed.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    rand::Rng::fill(&mut rand::rng(), noise.as_mut_slice());
    noise
}

#[tokio::test]
async fn two_nodes_know_each_other_and_what_they_share() {
    let (a, b) = meet(&local(1), &local(2)).await;
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((a.id(), b.id()), (local(2).id(), local(1).id()));
    assert_eq!((a.hello().name.as_str(), a.hello().port), ("node 2", 30303));
    assert_eq!(a.shared(), b.shared());
    let shared: Vec<_> =
        a.shared().iter().map(|one| (one.capability.to_string(), one.offset)).collect();
    assert_eq!(shared, [("eth/68".to_owned(), 16), ("snap/1".to_owned(), 33)]);
    assert!(!format!("{a:?}{:?}", local(1)).contains(&"01".repeat(32)));
}

#[tokio::test]
async fn messages_arrive_whole_and_in_order_both_ways() {
    let (mut a, mut b) = pair().await;
    for (capability, id, bytes) in [(0, 0, 0), (0, 16, 1), (1, 7, 70_000), (1, 0, 1_000_000)] {
        let payload = noise(bytes);
        a.send(capability, id, payload.clone()).await;
        let expected = Message { capability, id, payload: payload.into() };
        assert_eq!(b.incoming.recv().await.unwrap(), expected);
        b.send(capability, id, expected.payload.to_vec()).await;
        assert_eq!(a.incoming.recv().await.unwrap(), expected);
    }
    // Hello, these, and perhaps signs of life.
    assert!(a.traffic.messages_in() >= 5 && a.traffic.messages_out() >= 5);
    assert!(a.traffic.bytes_in() > 1_070_000 && a.traffic.bytes_out() > 1_070_000);
}

#[tokio::test]
async fn a_message_at_the_limit_arrives_and_one_beyond_is_not_sent() {
    let (mut a, mut b) = pair().await;
    let payload = noise(MESSAGE_BYTES_MAX);
    a.send(0, 1, payload.clone()).await;
    assert!(b.incoming.recv().await.unwrap().payload == payload);
    a.send(0, 1, vec![0; MESSAGE_BYTES_MAX + 1]).await;
    let ended = a.ended().await;
    assert!(matches!(ended, Ended::Error(SessionError::MessageTooLarge { .. })), "{ended:?}");
}

#[tokio::test]
async fn a_message_that_the_capability_does_not_have_is_not_sent() {
    for (capability, id) in [(0, 17), (1, 8), (2, 0)] {
        let (mut a, _b) = pair().await;
        a.send(capability, id, Vec::new()).await;
        let ended = a.ended().await;
        assert!(matches!(ended, Ended::Error(SessionError::NoSuchMessage { .. })), "{ended:?}");
    }
}

#[tokio::test]
async fn who_leaves_says_why_after_what_it_sent_before() {
    let (mut a, mut b) = pair().await;
    a.send(0, 2, noise(100_000)).await;
    let reason = DisconnectReason::TooManyPeers;
    a.outgoing.send(Outgoing::Disconnect(reason)).await.unwrap();
    assert_eq!(b.incoming.recv().await.unwrap().id, 2);
    let ended = b.ended().await;
    assert!(matches!(ended, Ended::Remote(DisconnectReason::TooManyPeers)), "{ended:?}");
    let ended = a.ended().await;
    assert!(matches!(ended, Ended::Local(DisconnectReason::TooManyPeers)), "{ended:?}");
}

#[tokio::test]
async fn a_mark_is_answered_when_what_was_before_it_is_written_and_what_was_written_arrives() {
    let (mut a, mut b) = pair().await;
    let (mark, mut written) = oneshot::channel();
    // More than both systems hold: it is written only when the other reads.
    for _ in 0..5 {
        a.send(0, 2, noise(4_000_000)).await;
    }
    a.outgoing.send(Outgoing::Mark(mark)).await.unwrap();
    assert_eq!(b.incoming.recv().await.unwrap().id, 2);
    assert!(written.try_recv().is_err(), "the rest is on its way");
    for _ in 0..3 {
        assert_eq!(b.incoming.recv().await.unwrap().id, 2);
    }
    let read = async {
        assert_eq!(b.incoming.recv().await.unwrap().id, 2);
        written.await.unwrap();
        a.stop.cancel();
        b.ended().await
    };
    assert!(matches!(read.await, Ended::Remote(DisconnectReason::ClientQuitting)));
    a.ended().await;
    // Where a session has ended nobody waits in vain.
    let (mark, written) = oneshot::channel();
    drop(a.outgoing.send(Outgoing::Mark(mark)).await);
    assert!(written.await.is_err());
}

#[tokio::test]
async fn a_session_that_never_ran_can_say_why_too() {
    let (a, b) = meet(&local(1), &local(2)).await;
    let mut b = Running::new(b.unwrap());
    let reason = DisconnectReason::AlreadyConnected;
    let (ended, ()) = tokio::join!(b.ended(), a.unwrap().disconnect(reason));
    assert!(matches!(ended, Ended::Remote(DisconnectReason::AlreadyConnected)), "{ended:?}");
}

#[tokio::test]
async fn a_session_ends_when_it_is_stopped_or_nobody_is_left_to_hear_or_speak() {
    let (mut a, mut b) = pair().await;
    a.stop.cancel();
    assert!(matches!(a.ended().await, Ended::Local(DisconnectReason::ClientQuitting)));
    assert!(matches!(b.ended().await, Ended::Remote(DisconnectReason::ClientQuitting)));

    let (mut a, mut b) = pair().await;
    a.outgoing = mpsc::channel(1).0;
    assert!(matches!(a.ended().await, Ended::Local(DisconnectReason::Requested)));
    assert!(matches!(b.ended().await, Ended::Remote(DisconnectReason::Requested)));

    let (mut a, mut b) = pair().await;
    a.incoming.close();
    b.send(0, 0, Vec::new()).await;
    assert!(matches!(a.ended().await, Ended::Local(DisconnectReason::Requested)));
    assert!(matches!(b.ended().await, Ended::Remote(DisconnectReason::Requested)));
}

#[tokio::test]
async fn a_connection_that_breaks_is_an_error() {
    let (mut a, b) = pair().await;
    drop(b);
    let ended = a.ended().await;
    assert!(matches!(ended, Ended::Error(SessionError::Rlpx(_))), "{ended:?}");
}

#[tokio::test]
async fn nodes_with_nothing_in_common_part() {
    let other = Local { protocols: vec![protocol("eth", 99, 17)], ..local(2) };
    let (a, b) = meet(&local(1), &other).await;
    let results = [a.unwrap_err(), b.unwrap_err()];
    for error in results {
        let useless = DisconnectReason::UselessPeer;
        assert!(
            matches!(error, HandshakeError::Refused(reason) if reason == useless)
                || matches!(error, HandshakeError::Disconnected(reason) if reason == useless),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_node_that_dials_itself_notices() {
    let (a, b) = meet(&local(1), &local(1)).await;
    for error in [a.unwrap_err(), b.unwrap_err()] {
        let self_reason = HandshakeError::Refused(DisconnectReason::ConnectedToSelf);
        assert_eq!(error.to_string(), self_reason.to_string());
    }
}

#[tokio::test]
async fn idle_nodes_keep_each_other_alive() {
    let (mut a, b) = pair().await;
    time::pause();
    let minutes = time::sleep(Duration::from_secs(300));
    tokio::select! {
        ended = a.ended() => panic!("{ended:?}"),
        () = minutes => {}
    }
    assert!(b.traffic.messages_in() > 10);
}

#[tokio::test]
async fn who_is_not_listened_to_has_to_wait_and_loses_nothing() {
    let (mut a, mut b) = pair().await;
    let payload = noise(300_000);
    let sent = async {
        for id in 0..16 {
            a.send(0, id, payload.clone()).await;
        }
    };
    let received = async {
        // One is in the channel and one in the hand that would put it there, and none is read.
        while b.traffic.messages_in() < 3 {
            tokio::task::yield_now().await;
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(b.traffic.messages_in(), 3, "with hello");
        for id in 0..16 {
            let message = b.incoming.recv().await.unwrap();
            assert_eq!(message.id, id);
            assert!(message.payload == payload);
        }
    };
    tokio::join!(sent, received);
    a.stop.cancel();
    assert!(matches!(a.ended().await, Ended::Local(_)));
}
