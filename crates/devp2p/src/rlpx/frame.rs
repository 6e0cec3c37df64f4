//! Frames: AES-256-CTR, and a code that runs over everything that was ever sent.

use std::hint::black_box;

use aes::{
    Aes256,
    cipher::{BlockEncrypt, KeyInit, KeyIvInit, StreamCipher},
};
use alloy_primitives::Keccak256;
use ctr::Ctr128BE;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{RlpxError, Secrets};

/// The longest frame whose length fits its three bytes.
pub(crate) const FRAME_BYTES_MAX: usize = 0xff_ffff;
/// How much a frame's buffer grows before the bytes for it have come.
const PIECE_BYTES_MAX: usize = 16 * 1024;
/// The encrypted header.
const BLOCK_BYTES: usize = 16;
/// A code on the wire.
const TAG_BYTES: usize = 16;
/// The header with its code.
const HEADER_BYTES: usize = BLOCK_BYTES + TAG_BYTES;
/// The RLP list `[0, 0]`, which nobody reads.
const HEADER_DATA: [u8; 3] = [0xc2, 0x80, 0x80];

type Block = [u8; BLOCK_BYTES];
type Tag = [u8; TAG_BYTES];

/// The running code of one direction.
struct RunningTag {
    cipher: Aes256,
    hash: Keccak256,
}

impl RunningTag {
    fn new(secret: &[u8; 32], hash: Keccak256) -> Self {
        Self { cipher: Aes256::new(secret.into()), hash }
    }

    fn update(&mut self, ciphertext: &[u8]) {
        self.hash.update(ciphertext);
    }

    fn of_header(&mut self, ciphertext: &Block) -> Tag {
        self.absorb(ciphertext)
    }

    /// After [`Self::update`] with all of the frame.
    fn of_frame(&mut self) -> Tag {
        let seed = self.current();
        self.absorb(&seed)
    }

    fn current(&self) -> Tag {
        self.hash.clone().finalize()[..TAG_BYTES].try_into().expect("cut to length")
    }

    fn absorb(&mut self, seed: &Block) -> Tag {
        let mut block = self.current();
        self.cipher.encrypt_block((&mut block).into());
        for (byte, seed) in block.iter_mut().zip(seed) {
            *byte ^= seed;
        }
        self.hash.update(block);
        self.current()
    }
}

/// Takes the same time wherever the first difference is.
fn agree(a: &Tag, b: &Tag) -> bool {
    let difference = a.iter().zip(b).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
    black_box(difference) == 0
}

/// What a frame of so many bytes takes on the wire.
pub(crate) const fn wire_bytes(bytes: usize) -> usize {
    HEADER_BYTES + bytes.next_multiple_of(BLOCK_BYTES) + TAG_BYTES
}

fn cipher(secret: &[u8; 32]) -> Ctr128BE<Aes256> {
    // Each connection has its own secret, so the counter may begin with zero.
    Ctr128BE::new(secret.into(), &[0; BLOCK_BYTES].into())
}

/// The receiving half of a connection.
pub(crate) struct FrameReader<R> {
    stream: R,
    cipher: Ctr128BE<Aes256>,
    tag: RunningTag,
    /// What has come of the frame that is being read.
    frame: Vec<u8>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, secrets: &Secrets) -> Self {
        let tag = RunningTag::new(&secrets.mac, secrets.ingress.clone());
        Self { stream, cipher: cipher(&secrets.aes), tag, frame: Vec::new() }
    }

    /// Reads one frame of at most `bytes_max`. Not to be called again after an error, or if the
    /// last call was cancelled.
    pub(crate) async fn read(&mut self, bytes_max: usize) -> Result<Vec<u8>, RlpxError> {
        let bytes = self.read_header().await?;
        if bytes > bytes_max {
            return Err(RlpxError::FrameTooLarge { bytes, bytes_max });
        }
        self.frame.clear();
        let padded = bytes.next_multiple_of(BLOCK_BYTES);
        while self.frame.len() < padded {
            let start = self.frame.len();
            self.frame.resize(padded.min(start + PIECE_BYTES_MAX), 0);
            let piece = &mut self.frame[start..];
            self.stream.read_exact(piece).await?;
            self.tag.update(piece);
        }
        let mut tag = Tag::default();
        self.stream.read_exact(&mut tag).await?;
        if !agree(&self.tag.of_frame(), &tag) {
            return Err(RlpxError::Tag);
        }
        self.cipher.apply_keystream(&mut self.frame);
        self.frame.truncate(bytes);
        Ok(std::mem::take(&mut self.frame))
    }

    /// The length of the frame that follows.
    async fn read_header(&mut self) -> Result<usize, RlpxError> {
        let mut block = Block::default();
        self.stream.read_exact(&mut block).await?;
        let mut tag = Tag::default();
        self.stream.read_exact(&mut tag).await?;
        if !agree(&self.tag.of_header(&block), &tag) {
            return Err(RlpxError::Tag);
        }
        self.cipher.apply_keystream(&mut block);
        let bytes = u32::from_be_bytes([0, block[0], block[1], block[2]]);
        Ok(usize::try_from(bytes).expect("24 bits fit"))
    }

    /// Bytes held for the frame that is being read.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) const fn bytes_held(&self) -> usize {
        self.frame.capacity()
    }

    pub(crate) const fn stream_mut(&mut self) -> &mut R {
        &mut self.stream
    }
}

/// The sending half of a connection.
pub(crate) struct FrameWriter<W> {
    stream: W,
    cipher: Ctr128BE<Aes256>,
    tag: RunningTag,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(crate) fn new(stream: W, secrets: &Secrets) -> Self {
        let tag = RunningTag::new(&secrets.mac, secrets.egress.clone());
        Self { stream, cipher: cipher(&secrets.aes), tag }
    }

    /// Writes one frame, which is `head` and then `body`. Not to be called again after an error, or
    /// if the last call was cancelled.
    pub(crate) async fn write(&mut self, head: &[u8], body: &[u8]) -> Result<(), RlpxError> {
        let bytes = head.len() + body.len();
        if bytes > FRAME_BYTES_MAX {
            return Err(RlpxError::FrameTooLarge { bytes, bytes_max: FRAME_BYTES_MAX });
        }
        let sealed = self.seal(head, body);
        self.stream.write_all(&sealed).await?;
        Ok(self.stream.flush().await?)
    }

    fn seal(&mut self, head: &[u8], body: &[u8]) -> Vec<u8> {
        let bytes = head.len() + body.len();
        let padded = bytes.next_multiple_of(BLOCK_BYTES);
        let mut sealed = Vec::with_capacity(wire_bytes(bytes));
        sealed.extend_from_slice(&self.seal_header(bytes));
        sealed.extend_from_slice(head);
        sealed.extend_from_slice(body);
        sealed.resize(HEADER_BYTES + padded, 0);
        let frame = &mut sealed[HEADER_BYTES..];
        self.cipher.apply_keystream(frame);
        self.tag.update(frame);
        sealed.extend_from_slice(&self.tag.of_frame());
        sealed
    }

    fn seal_header(&mut self, bytes: usize) -> [u8; HEADER_BYTES] {
        let mut block = Block::default();
        let length = u32::try_from(bytes).expect("checked against FRAME_BYTES_MAX");
        block[..3].copy_from_slice(&length.to_be_bytes()[1..]);
        block[3..6].copy_from_slice(&HEADER_DATA);
        self.cipher.apply_keystream(&mut block);
        let mut header = [0; HEADER_BYTES];
        header[..BLOCK_BYTES].copy_from_slice(&block);
        header[BLOCK_BYTES..].copy_from_slice(&self.tag.of_header(&block));
        header
    }

    /// A header that promises a frame, which does not follow.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) async fn promise(&mut self, bytes: usize) -> Result<(), RlpxError> {
        let header = self.seal_header(bytes);
        Ok(self.stream.write_all(&header).await?)
    }

    pub(crate) const fn stream_mut(&mut self) -> &mut W {
        &mut self.stream
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// What one side sends with is what the other receives with.
    fn secrets() -> (Secrets, Secrets) {
        let (mut there, mut back) = (Keccak256::new(), Keccak256::new());
        there.update(b"there");
        back.update(b"back");
        let (aes, mac) = ([1; 32], [2; 32]);
        let ours = Secrets { aes, mac, egress: there.clone(), ingress: back.clone() };
        (ours, Secrets { aes, mac, egress: back, ingress: there })
    }

    fn sealed(writer: &mut FrameWriter<Vec<u8>>, data: &[u8]) -> Vec<u8> {
        writer.seal(&[], data)
    }

    async fn opened(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, RlpxError> {
        FrameReader::new(bytes, &secrets().1).read(bytes_max).await
    }

    #[test]
    fn a_header_is_as_the_specification_has_it() {
        let (ours, theirs) = secrets();
        let mut header = FrameWriter::new(Vec::new(), &ours).seal_header(0x01_02_03);
        let block: &mut [u8] = &mut header[..BLOCK_BYTES];
        cipher(&theirs.aes).apply_keystream(block);
        assert_eq!(block, [1, 2, 3, 0xc2, 0x80, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[tokio::test]
    async fn each_flipped_byte_is_noticed() {
        let good = sealed(&mut FrameWriter::new(Vec::new(), &secrets().0), b"seventeen bytes..");
        assert_eq!(good.len(), wire_bytes(17));
        assert_eq!(opened(&good, 17).await.unwrap(), b"seventeen bytes..");
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0x80;
            assert!(matches!(opened(&bad, FRAME_BYTES_MAX).await, Err(RlpxError::Tag)));
        }
    }

    #[tokio::test]
    async fn a_frame_cut_anywhere_is_a_closed_connection() {
        let good = sealed(&mut FrameWriter::new(Vec::new(), &secrets().0), b"frame");
        for length in 0..good.len() {
            let result = opened(&good[..length], FRAME_BYTES_MAX).await;
            assert!(matches!(result, Err(RlpxError::Closed)));
        }
    }

    #[tokio::test]
    async fn a_frame_at_the_limit_is_read_and_one_beyond_is_not() {
        let data = vec![7; 4097];
        let good = sealed(&mut FrameWriter::new(Vec::new(), &secrets().0), &data);
        assert_eq!(opened(&good, 4097).await.unwrap(), data);
        let result = opened(&good, 4096).await;
        let too_large = RlpxError::FrameTooLarge { bytes: 4097, bytes_max: 4096 };
        assert_eq!(result.unwrap_err().to_string(), too_large.to_string());
    }

    #[tokio::test]
    async fn the_longest_frame_is_carried_and_a_longer_one_is_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let (ours, theirs) = secrets();
        let mut writer = FrameWriter::new(dialled, &ours);
        let mut reader = FrameReader::new(accepted, &theirs);
        let data: Vec<u8> = (0..=255).cycle().take(FRAME_BYTES_MAX).collect();
        let (read, written) =
            tokio::join!(reader.read(FRAME_BYTES_MAX), writer.write(&data[..1], &data[1..]));
        assert!(read.unwrap() == data);
        written.unwrap();
        let result = writer.write(&[0], &data).await;
        assert!(matches!(result, Err(RlpxError::FrameTooLarge { .. })));
    }

    #[tokio::test]
    async fn a_promised_length_allocates_no_more_than_what_came() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let (ours, theirs) = secrets();
        let mut writer = FrameWriter::new(dialled, &ours);
        let mut reader = FrameReader::new(accepted, &theirs);
        writer.promise(FRAME_BYTES_MAX).await.unwrap();
        writer.stream_mut().write_all(&vec![0; 3 * PIECE_BYTES_MAX]).await.unwrap();
        drop(writer);
        let result = reader.read(FRAME_BYTES_MAX).await;
        assert!(matches!(result, Err(RlpxError::Closed)));
        assert!(reader.bytes_held() <= 2 * 4 * PIECE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn frames_are_read_in_the_order_they_were_sent(
            frames in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..100), 0..8),
        ) {
            let (ours, theirs) = secrets();
            let mut writer = FrameWriter::new(Vec::new(), &ours);
            let wire: Vec<u8> =
                frames.iter().flat_map(|frame| sealed(&mut writer, frame)).collect();
            let mut reader = FrameReader::new(wire.as_slice(), &theirs);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for frame in &frames {
                let read = runtime.block_on(reader.read(FRAME_BYTES_MAX)).unwrap();
                prop_assert_eq!(&read, frame);
            }
        }
    }
}
