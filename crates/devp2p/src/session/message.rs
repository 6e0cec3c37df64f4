//! Messages: a frame is a code and a payload, which is compressed once both sides have said hello.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use alloy_rlp::Decodable;
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};

use crate::{
    base::{BASE_BYTES_MAX, BASE_CODES},
    rlpx::{FRAME_BYTES_MAX, FrameReader, FrameWriter, RlpxError, wire_bytes},
};

/// The payload of a capability's message, before compression.
pub const MESSAGE_BYTES_MAX: usize = 10 * 1024 * 1024;
/// A code as it precedes a payload.
const CODE_BYTES_MAX: usize = 9;
/// A frame before both sides have said hello.
pub(super) const GREETING_BYTES_MAX: usize = 4 * 1024;
/// What is thrown away at once.
const DRAIN_BYTES: usize = 4 * 1024;

/// What one connection has carried: frames as they were on the wire, without the handshake.
#[derive(Debug, Default)]
pub struct Traffic {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    messages_in: AtomicU64,
    messages_out: AtomicU64,
}

impl Traffic {
    /// Bytes received.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes sent.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Ordering::Relaxed)
    }

    /// Messages received, those of the base protocol among them.
    #[must_use]
    pub fn messages_in(&self) -> u64 {
        self.messages_in.load(Ordering::Relaxed)
    }

    /// Messages sent, those of the base protocol among them.
    #[must_use]
    pub fn messages_out(&self) -> u64 {
        self.messages_out.load(Ordering::Relaxed)
    }
}

fn count(messages: &AtomicU64, bytes: &AtomicU64, frame_bytes: usize) {
    messages.fetch_add(1, Ordering::Relaxed);
    let wire_bytes = u64::try_from(wire_bytes(frame_bytes)).expect("a frame has 24 bits of length");
    bytes.fetch_add(wire_bytes, Ordering::Relaxed);
}

/// Why what came is no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    /// It did not come.
    #[error(transparent)]
    Rlpx(#[from] RlpxError),
    /// It begins with no code.
    #[error("frame without a message code")]
    Code,
    /// It is longer than one with this code may be, or says that it will be.
    #[error("message {code} of {bytes} bytes exceeds {bytes_max}")]
    TooLarge { code: u64, bytes: usize, bytes_max: usize },
    /// It cannot be decompressed.
    #[error("message {code} cannot be decompressed")]
    Compression { code: u64 },
}

/// The receiving half.
pub(super) struct MessageReader {
    frames: FrameReader<BufReader<OwnedReadHalf>>,
    compressed: bool,
    traffic: Arc<Traffic>,
}

impl MessageReader {
    pub(super) const fn new(
        frames: FrameReader<BufReader<OwnedReadHalf>>,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self { frames, compressed: false, traffic }
    }

    pub(super) const fn compress(&mut self) {
        self.compressed = true;
    }

    /// The next message before the peer has said hello, which is short and not compressed.
    pub(super) async fn read_greeting(&mut self) -> Result<(u64, Vec<u8>), MessageError> {
        let frame = self.frames.read(GREETING_BYTES_MAX).await?;
        count(&self.traffic.messages_in, &self.traffic.bytes_in, frame.len());
        let (code, payload) = split(&frame)?;
        within(code, payload.len())?;
        Ok((code, payload.to_vec()))
    }

    /// The next message.
    pub(super) async fn read(&mut self) -> Result<(u64, Vec<u8>), MessageError> {
        // As long as what cannot be compressed may become.
        let frame_bytes_max = CODE_BYTES_MAX + max_compress_len(MESSAGE_BYTES_MAX);
        let frame = self.frames.read(frame_bytes_max).await?;
        count(&self.traffic.messages_in, &self.traffic.bytes_in, frame.len());
        open(frame, self.compressed)
    }

    /// Throws away what else comes, until the peer closes the connection.
    pub(super) async fn drain(&mut self) -> Result<(), RlpxError> {
        let mut bytes = vec![0; DRAIN_BYTES];
        while self.frames.stream_mut().read(&mut bytes).await? > 0 {}
        Ok(())
    }
}

/// The sending half.
pub(super) struct MessageWriter {
    frames: FrameWriter<OwnedWriteHalf>,
    compressor: Option<Box<Encoder>>,
    traffic: Arc<Traffic>,
}

impl MessageWriter {
    pub(super) const fn new(frames: FrameWriter<OwnedWriteHalf>, traffic: Arc<Traffic>) -> Self {
        Self { frames, compressor: None, traffic }
    }

    pub(super) fn compress(&mut self) {
        self.compressor = Some(Box::new(Encoder::new()));
    }

    pub(super) async fn write(&mut self, code: u64, payload: &[u8]) -> Result<(), RlpxError> {
        let head = alloy_rlp::encode(code);
        let compressed = match &mut self.compressor {
            Some(compressor) => {
                let too_large = |_| RlpxError::FrameTooLarge {
                    bytes: payload.len(),
                    bytes_max: FRAME_BYTES_MAX,
                };
                Some(compressor.compress_vec(payload).map_err(too_large)?)
            }
            None => None,
        };
        let body = compressed.as_deref().unwrap_or(payload);
        self.frames.write(&head, body).await?;
        let frame_bytes = head.len() + body.len();
        count(&self.traffic.messages_out, &self.traffic.bytes_out, frame_bytes);
        Ok(())
    }

    /// Tells the peer that nothing more will come.
    pub(super) async fn finish(&mut self) -> Result<(), RlpxError> {
        Ok(self.frames.stream_mut().shutdown().await?)
    }

    #[cfg(test)]
    pub(super) const fn frames_mut(&mut self) -> &mut FrameWriter<OwnedWriteHalf> {
        &mut self.frames
    }
}

/// The message in a frame.
pub(crate) fn open(mut frame: Vec<u8>, compressed: bool) -> Result<(u64, Vec<u8>), MessageError> {
    let (code, payload) = split(&frame)?;
    if compressed {
        return Ok((code, decompress(code, payload)?));
    }
    within(code, payload.len())?;
    let code_bytes = frame.len() - payload.len();
    frame.drain(..code_bytes);
    Ok((code, frame))
}

fn split(frame: &[u8]) -> Result<(u64, &[u8]), MessageError> {
    let mut payload = frame;
    let code = u64::decode(&mut payload).map_err(|_| MessageError::Code)?;
    Ok((code, payload))
}

/// A message of the base protocol has little to say.
fn within(code: u64, bytes: usize) -> Result<(), MessageError> {
    let bytes_max = if code < BASE_CODES { BASE_BYTES_MAX } else { MESSAGE_BYTES_MAX };
    if bytes > bytes_max {
        return Err(MessageError::TooLarge { code, bytes, bytes_max });
    }
    Ok(())
}

/// Looks at the length that is claimed before there is a buffer for it.
fn decompress(code: u64, payload: &[u8]) -> Result<Vec<u8>, MessageError> {
    let bytes = decompress_len(payload).map_err(|_| MessageError::Compression { code })?;
    within(code, bytes)?;
    Decoder::new().decompress_vec(payload).map_err(|_| MessageError::Compression { code })
}

#[cfg(test)]
mod tests {
    use primitives::hex;

    use super::*;

    fn claimed(bytes: u64) -> Vec<u8> {
        let (mut rest, mut payload) = (bytes, Vec::new());
        while rest >= 0x80 {
            payload.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        payload.push(u8::try_from(rest).unwrap());
        payload.extend_from_slice(&[0; 20]);
        payload
    }

    #[test]
    fn a_claimed_length_beyond_the_limit_is_refused_before_decompression() {
        let message_bytes_max = u64::try_from(MESSAGE_BYTES_MAX).unwrap();
        for (code, bytes) in [
            (16, u64::from(u32::MAX)),
            (16, 16 * 1024 * 1024 + 1),
            (16, message_bytes_max + 1),
            (2, 2049),
            (15, 2049),
        ] {
            let error = decompress(code, &claimed(bytes)).unwrap_err();
            assert!(matches!(error, MessageError::TooLarge { .. }), "{error}");
        }
        for (code, bytes) in [(16, 1 << 32), (16, u64::MAX), (16, message_bytes_max), (2, 2048)] {
            let error = decompress(code, &claimed(bytes)).unwrap_err();
            assert!(matches!(error, MessageError::Compression { .. }), "{error}");
        }
    }

    #[test]
    fn a_real_bomb_is_refused_and_a_message_at_the_limit_is_not() {
        let at_limit = Encoder::new().compress_vec(&vec![0; MESSAGE_BYTES_MAX]).unwrap();
        assert_eq!(decompress(16, &at_limit).unwrap().len(), MESSAGE_BYTES_MAX);
        let bomb = Encoder::new().compress_vec(&vec![0; 15 * 1024 * 1024]).unwrap();
        assert!(matches!(decompress(16, &bomb), Err(MessageError::TooLarge { .. })));
    }

    #[test]
    fn broken_compression_is_refused() {
        let good = Encoder::new().compress_vec(b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
        assert!(decompress(16, &good).is_ok());
        let with_garbage = [&good[..], b"garbage"].concat();
        // Ten bytes copied from before the beginning.
        let bad_offset = hex::decode("0a24ff").unwrap();
        for payload in [&with_garbage[..], &good[..good.len() - 1], &bad_offset, b"\xff"] {
            let error = decompress(16, payload).unwrap_err();
            assert!(matches!(error, MessageError::Compression { .. }), "{error}");
        }
    }

    #[test]
    fn a_frame_that_begins_with_no_number_has_no_code() {
        for frame in [&b""[..], b"\xc0", b"\x00", b"\x81\x05", b"\x82\x00\x01", &[0x89; 10]] {
            assert!(matches!(split(frame), Err(MessageError::Code)));
        }
        assert_eq!(split(b"\x80").unwrap(), (0, &b""[..]));
        assert_eq!(split(&[0x88, 255, 255, 255, 255, 255, 255, 255, 255, 7]).unwrap().0, u64::MAX);
    }
}
