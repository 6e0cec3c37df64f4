//! Whether a line goes on: brackets that are still open.

/// How deep brackets may be nested; the engine's parser recurses for each of them.
pub(crate) const BRACKETS_MAX: usize = 400;

/// Brackets that were opened and not closed, as geth counts them: round and curly ones, outside of
/// texts.
pub(crate) fn open_brackets(input: &str) -> i64 {
    let mut open = 0_i64;
    let mut quote = None;
    let mut is_escaped = false;
    for character in input.chars() {
        match character {
            '\\' if quote.is_some() && !is_escaped => {
                is_escaped = true;
                continue;
            }
            '\'' | '"' if !is_escaped => match quote {
                Some(opened) if opened == character => quote = None,
                None => quote = Some(character),
                Some(_) => {}
            },
            '{' | '(' if quote.is_none() => open += 1,
            '}' | ')' if quote.is_none() => open -= 1,
            _ => {}
        }
        is_escaped = false;
    }
    open
}

/// Whether the brackets of a source go deeper than [`BRACKETS_MAX`], wherever they stand.
pub(crate) fn is_too_deep(source: &str) -> bool {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest > BRACKETS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_do_not_count() {
        for (input, open) in [
            ("", 0),
            ("f(1, {a: 2})", 0),
            ("function f() {", 1),
            ("f({", 2),
            ("[1,", 0),
            ("'('", 0),
            (r#""\"(" + ("#, 1),
            (r"'\'{' + {", 1),
            ("}", -1),
        ] {
            assert_eq!(open_brackets(input), open, "{input}");
        }
    }

    #[test]
    fn a_tower_of_brackets_is_noticed() {
        assert!(!is_too_deep(&"[".repeat(BRACKETS_MAX)));
        assert!(is_too_deep(&"({".repeat(BRACKETS_MAX)));
        assert!(!is_too_deep(&"()".repeat(BRACKETS_MAX * 3)));
    }
}
