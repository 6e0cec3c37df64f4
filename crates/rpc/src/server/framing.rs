//! Where one message ends and the next begins on a connection that stays open.
//!
//! Pure: bytes in, messages out. Memory grows with what arrives, never with what is promised.

mod frames;
mod values;

pub(crate) use frames::Frames;
pub(crate) use values::Values;

/// Bytes of one message, in either direction of reading. geth's limit on HTTP.
pub const MESSAGE_BYTES_MAX: usize = 5 * 1024 * 1024;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A JSON text, or what claims to be one.
    Message(Vec<u8>),
    /// To be answered with the same bytes.
    Ping(Vec<u8>),
    /// The answer to a ping.
    Pong,
    /// The client is done.
    Close,
}

/// Why no further byte of a connection is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("message too large")]
    TooLarge,
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    #[error("text is not UTF-8")]
    NotText,
    #[error("not JSON")]
    NotJson,
    #[error("too many large messages")]
    Crowded,
}

impl Violation {
    /// The code of a close frame (RFC 6455, 7.4.1).
    pub(crate) const fn close_code(self) -> u16 {
        match self {
            Self::Malformed(_) => 1002,
            Self::NotText | Self::NotJson => 1007,
            Self::TooLarge => 1009,
            Self::Crowded => 1013,
        }
    }
}

/// How messages are told apart.
#[derive(Debug)]
pub(crate) enum Framing {
    /// Frames of RFC 6455, the server's end.
    WebSocket(Frames),
    /// JSON values one after the other.
    Values(Values),
}

impl Framing {
    /// Takes bytes in until there is a message: how many were taken, and the message.
    ///
    /// Without a message, all were taken.
    pub(crate) fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Incoming>), Violation> {
        match self {
            Self::WebSocket(frames) => frames.next(input),
            Self::Values(values) => {
                let (taken, value) = values.next(input)?;
                Ok((taken, value.map(Incoming::Message)))
            }
        }
    }

    /// Bytes of the message that is not complete yet.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::WebSocket(frames) => frames.held(),
            Self::Values(values) => values.held(),
        }
    }

    /// Appends a message as it goes out.
    pub(crate) fn write(&self, message: &[u8], out: &mut Vec<u8>) {
        self.write_head(message.len(), out);
        out.extend_from_slice(message);
    }

    /// Appends what comes before a message of so many bytes.
    pub(crate) fn write_head(&self, length: usize, out: &mut Vec<u8>) {
        if let Self::WebSocket(_) = self {
            frames::write_head(frames::TEXT, length, out);
        }
    }

    /// Whether the two ends ask each other for signs of life.
    pub(crate) const fn has_pings(&self) -> bool {
        matches!(self, Self::WebSocket(_))
    }

    /// Appends a question for a sign of life.
    pub(crate) fn write_ping(&self, out: &mut Vec<u8>) {
        if self.has_pings() {
            frames::write_head(frames::PING, 0, out);
        }
    }

    /// Appends the answer to a ping.
    pub(crate) fn write_pong(&self, payload: &[u8], out: &mut Vec<u8>) {
        if self.has_pings() {
            frames::write_head(frames::PONG, payload.len(), out);
            out.extend_from_slice(payload);
        }
    }

    /// Appends the last words.
    pub(crate) fn write_close(&self, code: u16, out: &mut Vec<u8>) {
        if self.has_pings() {
            frames::write_head(frames::CLOSE, 2, out);
            out.extend_from_slice(&code.to_be_bytes());
        }
    }
}
