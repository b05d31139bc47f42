//! Text from elsewhere, made fit to stand in one line of ours.

/// The text with its control characters escaped, so that it can neither end a line and begin one
/// that looks like adit's nor command a terminal.
#[must_use]
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for sign in text.chars() {
        if sign.is_control() {
            plain.extend(sign.escape_default());
        } else {
            plain.push(sign);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_nothing_else() {
        assert_eq!(plain("a\n\u{1b}[2J\u{7f}\u{9b}"), "a\\n\\u{1b}[2J\\u{7f}\\u{9b}");
        assert_eq!(plain("größer \"\\\" ☃"), "größer \"\\\" ☃");
    }
}
