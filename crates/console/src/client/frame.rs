//! Where one JSON value ends and the next begins, in a stream of bytes.

/// Finds the end of a value, byte by byte.
#[derive(Debug, Default)]
pub(super) struct Frame {
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
}

impl Frame {
    /// Looks at more bytes. Returns how many of them belong to the value when it ends among them.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, byte) in bytes.iter().enumerate() {
            if self.is_in_text {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.is_in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.is_in_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        *self = Self::default();
                        return Some(index + 1);
                    }
                }
                // Something that is no object ends with its line.
                b'\n' if self.depth == 0 && index > 0 => {
                    *self = Self::default();
                    return Some(index + 1);
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_their_brackets_close() {
        for (text, end) in [
            (r#"{"a":1}"#, Some(7)),
            (r#"[{"a":"}]"}] {"#, Some(12)),
            (r#"{"a":"\"}"#, None),
            ("\n{\"a\":[]}\n", Some(9)),
            ("nonsense\n{}", Some(9)),
            ("{", None),
            ("", None),
        ] {
            assert_eq!(Frame::default().end(text.as_bytes()), end, "{text}");
        }
    }

    #[test]
    fn a_value_may_come_byte_by_byte() {
        let text = br#"{"a":"\\\"}","b":[1,{}]}"#;
        let mut frame = Frame::default();
        for (index, byte) in text.iter().enumerate() {
            let end = frame.end(std::slice::from_ref(byte));
            assert_eq!(end.is_some(), index + 1 == text.len(), "{index}");
        }
    }
}
