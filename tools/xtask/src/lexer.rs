//! Splits Rust text into code, comments and literals, without parsing it.
//!
//! [`mask`] returns two texts of the same length as its input, so an offset means the same place in
//! all three: one in which comments are blank, and one in which literals are filled as well. That
//! is enough for rules about words, paths and lines: a word in a comment or a string is no use of
//! it. It knows nested block comments, escapes, raw strings, byte and C strings, raw identifiers,
//! and tells a lifetime from a character. It does not expand macros.

use std::ops::Range;

/// A text without its comments, and the same text without its literals either.
pub(crate) struct Masked {
    /// Comments are spaces; literals are as written.
    pub(crate) bare: String,
    /// Comments are spaces; a literal, prefix and all, is `"___"` of the same length.
    pub(crate) code: String,
}

enum Piece {
    Comment(usize),
    Literal(usize),
    Code(usize),
}

/// Masks comments and literals. Total: malformed text ends in a long last piece, never in a panic.
pub(crate) fn mask(text: &str) -> Masked {
    let bytes = text.as_bytes();
    let mut bare = bytes.to_vec();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        at = match piece(bytes, at) {
            Piece::Comment(end) => {
                fill(&mut bare[at..end], b' ');
                fill(&mut code[at..end], b' ');
                end
            }
            Piece::Literal(end) => {
                fill(&mut code[at..end], b'_');
                code[at] = b'"';
                code[end - 1] = b'"';
                end
            }
            Piece::Code(end) => end,
        };
    }
    Masked {
        bare: String::from_utf8_lossy(&bare).into_owned(),
        code: String::from_utf8_lossy(&code).into_owned(),
    }
}

fn fill(bytes: &mut [u8], with: u8) {
    for byte in bytes {
        if *byte != b'\n' {
            *byte = with;
        }
    }
}

fn piece(bytes: &[u8], at: usize) -> Piece {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        return Piece::Comment(at + length);
    }
    if rest.starts_with(b"/*") {
        return Piece::Comment(block_comment(bytes, at));
    }
    match rest[0] {
        b'"' => Piece::Literal(string(bytes, at + 1)),
        b'\'' => quote(bytes, at),
        byte if is_word(byte) => word(bytes, at),
        _ => Piece::Code(at + 1),
    }
}

fn block_comment(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// The end of a string whose content starts at `at`.
fn string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A character literal, or the tick of a lifetime or label.
fn quote(bytes: &[u8], at: usize) -> Piece {
    let Some(&first) = bytes.get(at + 1) else {
        return Piece::Code(at + 1);
    };
    if first == b'\\' {
        return Piece::Literal(character(bytes, at + 1));
    }
    let close = at + 1 + utf8_length(first);
    if bytes.get(close) == Some(&b'\'') {
        return Piece::Literal(close + 1);
    }
    Piece::Code(at + 1)
}

/// The end of an escaped character whose content starts at `at`.
fn character(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\'' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A word, or the literal whose prefix it is.
fn word(bytes: &[u8], at: usize) -> Piece {
    let mut end = at;
    while end < bytes.len() && is_word(bytes[end]) {
        end += 1;
    }
    let next = bytes.get(end).copied().unwrap_or(b' ');
    match (&bytes[at..end], next) {
        (b"b" | b"c", b'"') => Piece::Literal(string(bytes, end + 1)),
        (b"b", b'\'') => Piece::Literal(character(bytes, end + 1)),
        (b"r" | b"br" | b"cr", b'"' | b'#') => match raw_string(bytes, end) {
            Some(end) => Piece::Literal(end),
            None => Piece::Code(end),
        },
        _ => Piece::Code(end),
    }
}

/// The end of a raw string whose hashes start at `at`; none for a raw identifier (`r#type`).
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at..].iter().take_while(|&&byte| byte == b'#').count();
    if bytes.get(at + hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let content = at + hashes + 1;
    let length = bytes[content..].windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| content + length + close.len()))
}

fn utf8_length(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// The tokens of a masked text: words, literals, `::`, `=>`, and every other sign alone.
pub(crate) fn tokens(code: &str) -> Vec<Range<usize>> {
    let bytes = code.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'"' => {
                let length = bytes[at + 1..].iter().position(|&byte| byte == b'"');
                length.map_or(bytes.len(), |length| at + length + 2)
            }
            b':' if bytes.get(at + 1) == Some(&b':') => at + 2,
            b'=' if bytes.get(at + 1) == Some(&b'>') => at + 2,
            byte if is_word(byte) => {
                let length = bytes[at..].iter().position(|&byte| !is_word(byte));
                length.map_or(bytes.len(), |length| at + length)
            }
            _ => at + 1,
        };
        tokens.push(at..end);
        at = end;
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        mask(text).code
    }

    #[test]
    fn comments_are_blank_and_lines_stay() {
        assert_eq!(code("a // unsafe\nb"), "a          \nb");
        assert_eq!(code("a /* x /* y\n */ z */ b"), "a          \n         b");
        assert_eq!(mask("/// \"doc\nx").bare, "        \nx");
    }

    #[test]
    fn strings_are_filled() {
        assert_eq!(code(r#"f("a // b")"#), r#"f("______")"#);
        assert_eq!(code(r#"f("a\"b", c)"#), r#"f("____", c)"#);
        assert_eq!(code(r#"f("\\", c)"#), r#"f("__", c)"#);
        assert_eq!(code(r#"b"x" c"y""#), r#""__" "__""#);
        assert_eq!(mask(r#"f("a") // b"#).bare, r#"f("a")     "#);
    }

    #[test]
    fn raw_strings_end_at_their_own_hashes() {
        assert_eq!(code(r###"r"a\" b"###), "\"___\" b");
        assert_eq!(code("r#\"a\"b\"# c"), "\"______\" c");
        assert_eq!(code("br##\"a\"#b\"## c"), "\"__________\" c");
        assert_eq!(code("r#type + r"), "r#type + r");
        assert_eq!(code("for\"x\""), "for\"_\"");
    }

    #[test]
    fn a_lifetime_is_not_a_character() {
        assert_eq!(code("&'a str, 'b'"), "&'a str, \"_\"");
        assert_eq!(code(r"'\'' x '\\' y '\u{1F}'"), "\"__\" x \"__\" y \"______\"");
        assert_eq!(code("b'\"' z"), "\"__\" z");
        assert_eq!(code("'\"' '/' '→' q"), "\"_\" \"_\" \"___\" q");
        assert_eq!(code("<'a,'b>('_)"), "<'a,'b>('_)");
        assert_eq!(code("'outer: loop {}"), "'outer: loop {}");
    }

    #[test]
    fn malformed_text_is_survived() {
        for text in ["\"abc", "r#\"abc", "/* abc", "'", "b'", "'\\", "\"\\", "br#", "\"", "x\""] {
            let masked = mask(text);
            assert_eq!(masked.code.len(), text.len(), "{text}");
            tokens(&masked.code);
        }
    }

    #[test]
    fn tokens_join_paths_and_arrows() {
        let code = code("use crate::types; A => \"x y\", b'\\n'");
        let words: Vec<&str> = tokens(&code).into_iter().map(|range| &code[range]).collect();
        let expected = ["use", "crate", "::", "types", ";", "A", "=>", "\"___\"", ",", "\"___\""];
        assert_eq!(words, expected);
    }
}
