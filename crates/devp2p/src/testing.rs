//! The parts of a session one by one, so that a test can leave some out or bend them, and whatever
//! reads a stranger's bytes as a plain function. Tests only.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use alloy_primitives::Keccak256;
use secp256k1::{PublicKey, SecretKey};
use tokio::{
    io::{AsyncWriteExt, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    PeerId, RlpxError, base, ecies,
    rlpx::{
        self, Form, FrameReader, FrameWriter, Ours, PLAIN_ACK_BYTES, PLAIN_AUTH_BYTES, Packet,
        Secrets, read_packet, seal_packet,
    },
    session::open_message,
};

/// The code of the introduction.
pub const HELLO: u64 = base::HELLO;
/// The code of the last message.
pub const DISCONNECT: u64 = base::DISCONNECT;
/// The code that asks for a sign of life.
pub const PING: u64 = base::PING;
/// The code of a sign of life.
pub const PONG: u64 = base::PONG;
/// What is read from a socket at once.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// A handshake that we began: the first packet is made, and nothing is sent.
pub struct Opening {
    ours: Ours,
    auth: Vec<u8>,
}

/// Reads frames. Boxed, because the states of ciphers are thousands of bytes, and move.
pub struct Reader(Box<FrameReader<BufReader<OwnedReadHalf>>>);

/// Writes frames, and what is none. Boxed for the same reason.
pub struct Writer(Box<FrameWriter<OwnedWriteHalf>>);

impl Opening {
    /// Begins a handshake with a node.
    #[must_use]
    pub fn new(key: &SecretKey, remote: &PeerId) -> Self {
        let ours = Ours::random(key);
        let auth = ours.auth(remote, Form::Eip8);
        Self { ours, auth }
    }

    /// The packet to send.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        &self.auth
    }

    /// Reads the answer, and goes on to frames.
    ///
    /// # Errors
    ///
    /// If there is no answer, or a wrong one.
    pub async fn finish(
        self,
        mut stream: TcpStream,
        key: &SecretKey,
    ) -> Result<(Reader, Writer), RlpxError> {
        let ack = read_packet(&mut stream, key, PLAIN_ACK_BYTES).await?;
        let secrets = self.ours.dialled(&self.auth, &ack)?;
        Ok(halves(stream, &secrets))
    }
}

impl Reader {
    /// The next frame. Not to be called again after an error, or if a call was cancelled.
    ///
    /// # Errors
    ///
    /// If it does not come, is damaged or too long.
    pub async fn read(&mut self, bytes_max: usize) -> Result<Vec<u8>, RlpxError> {
        self.0.read(bytes_max).await
    }
}

impl Writer {
    /// Writes a frame.
    ///
    /// # Errors
    ///
    /// If it is too long, or the connection is broken.
    pub async fn write(&mut self, frame: &[u8]) -> Result<(), RlpxError> {
        self.0.write(frame, &[]).await
    }

    /// Writes the header of a frame of so many bytes, which does not follow.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub async fn promise(&mut self, bytes: usize) -> Result<(), RlpxError> {
        self.0.promise(bytes).await
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub async fn raw(&mut self, bytes: &[u8]) -> Result<(), RlpxError> {
        Ok(self.0.stream_mut().write_all(bytes).await?)
    }
}

macro_rules! opaque {
    ($($name:ident),*) => {
        $(impl std::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        })*
    };
}
opaque!(Opening, Reader, Writer);

/// Agrees on secrets with whoever dialled us.
///
/// # Errors
///
/// If its packet is none.
pub async fn accept(
    mut stream: TcpStream,
    key: &SecretKey,
) -> Result<(PeerId, Reader, Writer), RlpxError> {
    let (remote, secrets) = rlpx::accept(&mut stream, key).await?;
    let (reader, writer) = halves(stream, &secrets);
    Ok((remote, reader, writer))
}

/// A handshake packet for a node, whatever is in it.
///
/// # Panics
///
/// If the body is longer than a packet can be.
#[must_use]
pub fn seal(to: &PeerId, body: &[u8]) -> Vec<u8> {
    seal_packet(to, body)
}

/// Reads bytes as the packet that begins a handshake, encrypted for a key. Whether it is one.
pub fn read_auth(key: &SecretKey, mut wire: &[u8]) -> bool {
    let packet = at_once(read_packet(&mut wire, key, PLAIN_AUTH_BYTES));
    packet.is_ok_and(|packet| Ours::random(key).accepted(&packet).is_ok())
}

/// As [`read_auth`], of what was encrypted.
pub fn read_auth_body(key: &SecretKey, body: &[u8]) -> bool {
    Ours::random(key).accepted(&packet_of(body, PLAIN_AUTH_BYTES)).is_ok()
}

/// Reads bytes as the packet that answers a handshake, encrypted for a key. Whether it is one.
pub fn read_ack(key: &SecretKey, mut wire: &[u8]) -> bool {
    let packet = at_once(read_packet(&mut wire, key, PLAIN_ACK_BYTES));
    packet.is_ok_and(|packet| Ours::random(key).dialled(&[], &packet).is_ok())
}

/// As [`read_ack`], of what was encrypted.
pub fn read_ack_body(key: &SecretKey, body: &[u8]) -> bool {
    Ours::random(key).dialled(&[], &packet_of(body, PLAIN_ACK_BYTES)).is_ok()
}

/// Reads bytes behind a right header that promises a frame of a length. How much memory the frame
/// took, which must not come from the promise.
#[must_use]
pub fn read_frame(promised: u32, bytes: &[u8], bytes_max: usize) -> usize {
    let (there, back) = (Keccak256::new(), Keccak256::new());
    let secrets = |egress: &Keccak256, ingress: &Keccak256| Secrets {
        aes: [1; 32],
        mac: [2; 32],
        egress: egress.clone(),
        ingress: ingress.clone(),
    };
    let mut wire = Vec::new();
    let promised = usize::try_from(promised & 0xff_ffff).expect("24 bits fit");
    let mut writer = FrameWriter::new(&mut wire, &secrets(&there, &back));
    at_once(writer.promise(promised)).expect("a vector takes everything");
    wire.extend_from_slice(bytes);
    let mut reader = FrameReader::new(wire.as_slice(), &secrets(&back, &there));
    at_once(reader.read(bytes_max)).map_or_else(|_| reader.bytes_held(), |frame| frame.len())
}

/// Reads a frame's content as a message: its code, and its payload without compression.
#[must_use]
pub fn read_message(frame: &[u8], compressed: bool) -> Option<(u64, Vec<u8>)> {
    open_message(frame.to_vec(), compressed).ok()
}

/// Encrypts as handshakes do.
#[must_use]
pub fn encrypt(to: &PublicKey, message: &[u8], associated: &[u8]) -> Vec<u8> {
    ecies::encrypt(to, message, associated)
}

fn packet_of(body: &[u8], plain_bytes: usize) -> Packet {
    let form = if body.len() == plain_bytes { Form::Plain } else { Form::Eip8 };
    Packet { form, wire: Vec::new(), body: body.to_vec() }
}

fn halves(stream: TcpStream, secrets: &Secrets) -> (Reader, Writer) {
    let (read_half, write_half) = stream.into_split();
    let buffered = BufReader::with_capacity(READ_BUFFER_BYTES, read_half);
    let reader = Reader(Box::new(FrameReader::new(buffered, secrets)));
    (reader, Writer(Box::new(FrameWriter::new(write_half, secrets))))
}

/// Runs what reads from a slice or writes to a vector, so never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("slices and vectors are always ready"),
    }
}
