use primitives::U256;

/// The selector of `Error(string)`, with which Solidity's `require` and `revert` speak.
const ERROR_SELECTOR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
const WORD_BYTES: usize = 32;

/// The reason in what a reverting contract returned, if it is an `Error(string)`.
///
/// The bytes are a stranger's: whatever does not decode has no reason, and bytes that are not UTF-8
/// are replaced.
#[must_use]
pub fn revert_reason(output: &[u8]) -> Option<String> {
    let arguments = output.strip_prefix(&ERROR_SELECTOR)?;
    let offset = length_at(arguments, 0)?;
    let length = length_at(arguments, offset)?;
    let begin = offset.checked_add(WORD_BYTES)?;
    let text = arguments.get(begin..begin.checked_add(length)?)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// geth's text for a revert.
#[must_use]
pub fn revert_message(output: &[u8]) -> String {
    match revert_reason(output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".to_owned(),
    }
}

/// The word at an offset, if it is there and can be a length.
fn length_at(arguments: &[u8], offset: usize) -> Option<usize> {
    let word = arguments.get(offset..offset.checked_add(WORD_BYTES)?)?;
    usize::try_from(U256::from_be_slice(word)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(offset: U256, length: U256, text: &[u8]) -> Vec<u8> {
        let offset: [u8; 32] = offset.to_be_bytes();
        let length: [u8; 32] = length.to_be_bytes();
        [&ERROR_SELECTOR[..], &offset, &length, text].concat()
    }

    #[test]
    fn reads_the_reason_of_a_require() {
        let output = error(U256::from(32), U256::from(4), b"nope");
        assert_eq!(revert_reason(&output).as_deref(), Some("nope"));
        assert_eq!(revert_message(&output), "execution reverted: nope");
        let padded = error(U256::from(32), U256::from(4), &[b"nope".as_slice(), &[0; 28]].concat());
        assert_eq!(revert_reason(&padded).as_deref(), Some("nope"));
    }

    #[test]
    fn replaces_bytes_that_are_no_text() {
        let output = error(U256::from(32), U256::from(2), &[0xff, b'a']);
        assert_eq!(revert_reason(&output).as_deref(), Some("\u{fffd}a"));
    }

    #[test]
    fn finds_no_reason_in_malformed_data() {
        let huge = U256::MAX;
        let cases = [
            vec![],
            ERROR_SELECTOR.to_vec(),
            vec![0x4e, 0x48, 0x7b, 0x71, 0, 0, 0, 1],
            error(huge, huge, b"x"),
            error(U256::from(32), huge, b"x"),
            error(U256::from(32), U256::from(u64::MAX), b"x"),
            error(U256::from(u64::MAX - 31), U256::from(1), b"x"),
            error(U256::from(32), U256::from(2), b"x"),
            error(U256::from(64), U256::from(1), b"x"),
        ];
        for output in cases {
            assert_eq!(revert_message(&output), "execution reverted", "{output:?}");
        }
    }
}
