//! [RLPx]: the handshake that agrees on secrets, and the encrypted frames after it.
//!
//! [RLPx]: https://github.com/ethereum/devp2p/blob/master/rlpx.md

mod frame;
mod handshake;
#[cfg(test)]
mod vectors;

use std::io;

pub(crate) use frame::{FRAME_BYTES_MAX, FrameReader, FrameWriter, wire_bytes};
#[cfg(feature = "testing")]
pub(crate) use handshake::{
    Form, Ours, PLAIN_ACK_BYTES, PLAIN_AUTH_BYTES, Packet, read_packet, seal_packet,
};
pub(crate) use handshake::{Secrets, accept, dial};

/// Why bytes could not be carried.
#[derive(Debug, thiserror::Error)]
pub enum RlpxError {
    /// The connection failed.
    #[error("connection failed")]
    Io(#[source] io::Error),
    /// The other side closed it.
    #[error("connection closed")]
    Closed,
    /// The handshake's packet is not one, or not for us.
    #[error("invalid handshake packet")]
    Packet,
    /// The code of a frame or of its header is wrong.
    #[error("invalid message authentication code")]
    Tag,
    /// A frame is longer than is allowed at this point.
    #[error("frame of {bytes} bytes exceeds {bytes_max}")]
    FrameTooLarge {
        /// What its header says.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
}

impl From<io::Error> for RlpxError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}
