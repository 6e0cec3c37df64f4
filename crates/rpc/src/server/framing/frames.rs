//! Frames of RFC 6455, the server's end. No extensions.

use super::{Incoming, MESSAGE_BYTES_MAX, Violation};

const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// Bytes of a control frame (5.5).
const CONTROL_BYTES_MAX: usize = 125;
/// Bytes of a frame's head: two, eight of length, four of mask.
const HEAD_BYTES_MAX: usize = 14;

/// A frame of which the head has come.
#[derive(Debug, Clone, Copy)]
struct Frame {
    is_last: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Bytes to come.
    missing: usize,
    /// Bytes that have come, which is where the mask goes on.
    taken: usize,
}

/// Puts messages together from a client's frames.
#[derive(Debug)]
pub(crate) struct Frames {
    head: Vec<u8>,
    frame: Option<Frame>,
    /// What kind of message is being put together.
    kind: Option<u8>,
    message: Vec<u8>,
    control: Vec<u8>,
    bytes_max: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self::new(MESSAGE_BYTES_MAX)
    }
}

impl Frames {
    /// Messages of at most so many bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            head: Vec::with_capacity(HEAD_BYTES_MAX),
            frame: None,
            kind: None,
            message: Vec::new(),
            control: Vec::new(),
            bytes_max,
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.message.len()
    }

    pub(crate) fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Incoming>), Violation> {
        let mut taken = 0;
        while taken < input.len() {
            let frame = match self.frame {
                Some(frame) => frame,
                None => {
                    self.head.push(input[taken]);
                    taken += 1;
                    let Some(frame) = self.frame()? else { continue };
                    self.head.clear();
                    frame
                }
            };
            let rest = &input[taken..];
            let piece = &rest[..rest.len().min(frame.missing)];
            taken += piece.len();
            let frame = self.take(frame, piece);
            self.frame = (frame.missing > 0).then_some(frame);
            if frame.missing == 0
                && let Some(incoming) = self.end(frame)?
            {
                return Ok((taken, Some(incoming)));
            }
        }
        Ok((taken, None))
    }

    /// The frame that the head announces, once it is complete.
    fn frame(&self) -> Result<Option<Frame>, Violation> {
        let [first, second, rest @ ..] = self.head.as_slice() else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(Violation::Malformed("reserved bit"));
        }
        if second & MASKED == 0 {
            return Err(Violation::Malformed("no mask"));
        }
        let (length, mask) = match (second & !MASKED, rest) {
            (126, [a, b, mask @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), mask),
            (127, [a, b, c, d, e, f, g, h, mask @ ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), mask)
            }
            (126 | 127, _) => return Ok(None),
            (length, mask) => (u64::from(length), mask),
        };
        let opcode = first & 0x0f;
        let missing = usize::try_from(length).map_err(|_| Violation::TooLarge)?;
        self.check(opcode, first & FIN != 0, missing)?;
        let Ok(mask) = mask.try_into() else { return Ok(None) };
        Ok(Some(Frame { is_last: first & FIN != 0, opcode, mask, missing, taken: 0 }))
    }

    fn check(&self, opcode: u8, is_last: bool, length: usize) -> Result<(), Violation> {
        let is_control = matches!(opcode, CLOSE | PING | PONG);
        match opcode {
            _ if is_control && !is_last => Err(Violation::Malformed("control in parts")),
            _ if is_control && length > CONTROL_BYTES_MAX => {
                Err(Violation::Malformed("long control"))
            }
            CONTINUATION if self.kind.is_none() => Err(Violation::Malformed("nothing to continue")),
            TEXT | BINARY if self.kind.is_some() => Err(Violation::Malformed("unfinished message")),
            // More than the message may have is refused before it comes.
            CONTINUATION | TEXT | BINARY if length > self.bytes_max - self.message.len() => {
                Err(Violation::TooLarge)
            }
            CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG => Ok(()),
            _ => Err(Violation::Malformed("unknown opcode")),
        }
    }

    /// Takes the next bytes of a frame.
    fn take(&mut self, frame: Frame, piece: &[u8]) -> Frame {
        let into = if frame.opcode < CLOSE { &mut self.message } else { &mut self.control };
        let mask = frame.mask.iter().cycle().skip(frame.taken % frame.mask.len());
        into.extend(piece.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
        if matches!(frame.opcode, TEXT | BINARY) {
            self.kind = Some(frame.opcode);
        }
        Frame { missing: frame.missing - piece.len(), taken: frame.taken + piece.len(), ..frame }
    }

    /// What a complete frame means.
    fn end(&mut self, frame: Frame) -> Result<Option<Incoming>, Violation> {
        let incoming = match frame.opcode {
            CLOSE => Incoming::Close,
            PING => Incoming::Ping(std::mem::take(&mut self.control)),
            PONG => {
                self.control.clear();
                Incoming::Pong
            }
            _ if !frame.is_last => return Ok(None),
            _ => {
                let message = std::mem::take(&mut self.message);
                if self.kind.take() == Some(TEXT) && std::str::from_utf8(&message).is_err() {
                    return Err(Violation::NotText);
                }
                Incoming::Message(message)
            }
        };
        Ok(Some(incoming))
    }
}

/// Appends the head of a whole frame of the server's.
pub(super) fn write_head(opcode: u8, length: usize, out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            let length = u64::try_from(length).expect("usize is at most 64 bits");
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 70_000;

    /// A frame as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_head(0, payload.len(), &mut bytes);
        bytes[0] = first;
        bytes[1] |= MASKED;
        let mask = [0xa1, 0x02, 0xff, 0x40];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    fn read(stream: &[u8], piece: usize) -> (Vec<Incoming>, Result<(), Violation>) {
        let (mut frames, mut found) = (Frames::new(MAX), Vec::new());
        for mut input in stream.chunks(piece) {
            while !input.is_empty() {
                match frames.next(input) {
                    Ok((taken, incoming)) => {
                        found.extend(incoming);
                        input = &input[taken..];
                    }
                    Err(violation) => return (found, Err(violation)),
                }
            }
        }
        (found, Ok(()))
    }

    #[test]
    fn messages_come_whole_or_in_parts_with_pings_between() {
        let stream = [
            frame(FIN | TEXT, b"{}"),
            frame(TEXT, b"[1,"),
            frame(FIN | PING, b"there?"),
            frame(CONTINUATION, b""),
            frame(FIN | CONTINUATION, b"2]"),
            frame(FIN | BINARY, &[b'7'; 300]),
            frame(FIN | TEXT, &[b'8'; MAX]),
            frame(FIN | PONG, b""),
            frame(FIN | CLOSE, &[3, 232]),
        ]
        .concat();
        for piece in [1, 2, 3, 5, 1000, stream.len()] {
            let (found, end) = read(&stream, piece);
            let want = [
                Incoming::Message(b"{}".to_vec()),
                Incoming::Ping(b"there?".to_vec()),
                Incoming::Message(b"[1,2]".to_vec()),
                Incoming::Message(vec![b'7'; 300]),
                Incoming::Message(vec![b'8'; MAX]),
                Incoming::Pong,
                Incoming::Close,
            ];
            assert!(found == want, "{piece}");
            assert_eq!(end, Ok(()));
        }
    }

    #[test]
    fn refuses_what_the_protocol_forbids() {
        let unmasked = vec![FIN | TEXT, 2, b'{', b'}'];
        for (stream, want) in [
            (unmasked, Violation::Malformed("no mask")),
            (frame(FIN | 0x40 | TEXT, b""), Violation::Malformed("reserved bit")),
            (frame(FIN | 3, b""), Violation::Malformed("unknown opcode")),
            (frame(FIN | 11, b""), Violation::Malformed("unknown opcode")),
            (frame(PING, b""), Violation::Malformed("control in parts")),
            (frame(FIN | PING, &[0; 126]), Violation::Malformed("long control")),
            (frame(FIN | CONTINUATION, b""), Violation::Malformed("nothing to continue")),
            (
                [frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat(),
                Violation::Malformed("unfinished message"),
            ),
            (frame(FIN | TEXT, &[0xff, 0xfe]), Violation::NotText),
            (frame(FIN | TEXT, &[b' '; MAX + 1]), Violation::TooLarge),
            (
                [frame(TEXT, &[b' '; MAX]), frame(FIN | CONTINUATION, b" ")].concat(),
                Violation::TooLarge,
            ),
            (
                vec![FIN | TEXT, MASKED | 127, 255, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
                Violation::TooLarge,
            ),
        ] {
            let (found, end) = read(&stream, 3);
            assert!(found.is_empty());
            assert_eq!(end, Err(want));
        }
    }

    #[test]
    fn a_promised_length_allocates_nothing() {
        let mut frames = Frames::new(MESSAGE_BYTES_MAX);
        let head = [FIN | TEXT, MASKED | 127, 0, 0, 0, 0, 0, 0x50, 0, 0, 1, 2, 3, 4, b'x'];
        assert_eq!(frames.next(&head), Ok((head.len(), None)));
        assert!(frames.message.capacity() < 64);
    }

    #[test]
    fn heads_carry_every_length() {
        for (length, want) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 255, 255]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            write_head(TEXT, length, &mut out);
            assert_eq!(out, want);
        }
    }
}
