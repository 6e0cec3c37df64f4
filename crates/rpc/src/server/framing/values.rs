//! JSON values one after the other, as geth speaks on its local socket.

use super::{MESSAGE_BYTES_MAX, Violation};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// White space.
    Between,
    /// A number, `true`, `false` or `null`.
    Scalar,
    /// An object or an array, outside its strings.
    Structure,
    /// A string, alone or inside a structure.
    Text,
    /// The same after a backslash.
    Escape,
}

/// Finds where a value ends; whether it is one is for its reader to say.
#[derive(Debug)]
pub(crate) struct Values {
    value: Vec<u8>,
    depth: usize,
    state: State,
    bytes_max: usize,
}

impl Default for Values {
    fn default() -> Self {
        Self::new(MESSAGE_BYTES_MAX)
    }
}

impl Values {
    /// Values of at most so many bytes.
    pub(crate) const fn new(bytes_max: usize) -> Self {
        Self { value: Vec::new(), depth: 0, state: State::Between, bytes_max }
    }

    pub(crate) fn held(&self) -> usize {
        self.value.len()
    }

    pub(crate) fn next(&mut self, input: &[u8]) -> Result<(usize, Option<Vec<u8>>), Violation> {
        let mut start = 0;
        for (at, byte) in input.iter().copied().enumerate() {
            if self.state == State::Between && byte.is_ascii_whitespace() {
                start = at + 1;
                continue;
            }
            // What follows a scalar without a space is not part of it.
            let ends_before = self.state == State::Scalar
                && (byte.is_ascii_whitespace() || matches!(byte, b'{' | b'[' | b'"'));
            let end = if ends_before { at } else { at + 1 };
            if ends_before || self.step(byte)? {
                self.keep(&input[start..end])?;
                self.state = State::Between;
                return Ok((end, Some(std::mem::take(&mut self.value))));
            }
        }
        self.keep(&input[start..])?;
        Ok((input.len(), None))
    }

    /// Takes one byte; true if it ends the value.
    fn step(&mut self, byte: u8) -> Result<bool, Violation> {
        self.state = match (self.state, byte) {
            (State::Between | State::Structure, b'{' | b'[') => {
                self.depth += 1;
                State::Structure
            }
            (State::Between | State::Structure, b'"') => State::Text,
            (State::Structure, b'}' | b']') => {
                self.depth -= 1;
                State::Structure
            }
            (State::Between, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => State::Scalar,
            (State::Between, _) => return Err(Violation::NotJson),
            (State::Text, b'\\') => State::Escape,
            (State::Text, b'"') if self.depth == 0 => return Ok(true),
            (State::Text, b'"') => State::Structure,
            (State::Text | State::Escape, _) => State::Text,
            (state @ (State::Structure | State::Scalar), _) => state,
        };
        Ok(self.state == State::Structure && self.depth == 0)
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        if self.value.len() + bytes.len() > self.bytes_max {
            return Err(Violation::TooLarge);
        }
        self.value.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a stream that comes in pieces of so many bytes, and how it ended.
    fn split(stream: &str, piece: usize) -> (Vec<String>, Result<(), Violation>) {
        let (mut values, mut found) = (Values::new(64), Vec::new());
        for mut input in stream.as_bytes().chunks(piece) {
            while !input.is_empty() {
                match values.next(input) {
                    Ok((taken, value)) => {
                        found.extend(value.map(|value| String::from_utf8(value).unwrap()));
                        input = &input[taken..];
                    }
                    Err(violation) => return (found, Err(violation)),
                }
            }
        }
        (found, Ok(()))
    }

    #[test]
    fn values_are_told_apart_however_they_arrive() {
        let stream = "{\"a\":[1,\"}\\\"]\"]}[2]\n\n 3 \"x \\\\\" null{} [[],{}]\ttrue[";
        let want =
            ["{\"a\":[1,\"}\\\"]\"]}", "[2]", "3", "\"x \\\\\"", "null", "{}", "[[],{}]", "true"];
        for piece in 1..=stream.len() {
            let (values, end) = split(stream, piece);
            assert_eq!(values, want, "{piece}");
            assert_eq!(end, Ok(()));
        }
    }

    #[test]
    fn what_begins_no_value_ends_the_stream_at_once() {
        for stream in ["x", "{}}", "[1] , [2]", "'a'", "\u{feff}{}", ":"] {
            assert_eq!(split(stream, 1).1, Err(Violation::NotJson), "{stream}");
        }
    }

    #[test]
    fn a_value_that_does_not_end_is_cut() {
        for byte in ["[", "1", "{\"a\":"] {
            let stream = byte.repeat(65);
            for piece in [1, 7, stream.len()] {
                assert_eq!(split(&stream, piece), (Vec::new(), Err(Violation::TooLarge)));
            }
        }
        let (values, end) = split(&format!("\"{}\"", "a".repeat(62)), 5);
        assert_eq!((values.len(), end), (1, Ok(())));
        assert_eq!(split(&format!("\"{}\"", "a".repeat(63)), 5).1, Err(Violation::TooLarge));
    }
}
