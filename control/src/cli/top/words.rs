//! Numbers as people read them.

/// A whole number, its thousands apart.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with at most four digits and a prefix: `12.3k`.
fn scaled(value: f64, gap: &str) -> String {
    let mut value = value;
    let mut prefixes = ["", "k", "M", "G"].iter();
    let mut prefix = prefixes.next().unwrap_or(&"");
    // What would be rounded to 1000 is shown with the next prefix.
    while value >= 999.5 {
        let Some(next) = prefixes.next() else { break };
        (value, prefix) = (value / 1000.0, next);
    }
    let gap = if prefix.is_empty() { "" } else { gap };
    let is_short = value >= 99.95 || (prefix.is_empty() && value >= 10.0) || value == 0.0;
    if is_short { format!("{value:.0}{gap}{prefix}") } else { format!("{value:.1}{gap}{prefix}") }
}

/// How often in a second.
pub(super) fn rate(value: f64) -> String {
    scaled(value, "")
}

/// Bytes in a second, as bits.
pub(super) fn bits(bytes: f64) -> String {
    let text = scaled(bytes * 8.0, " ");
    let gap = if text.contains(' ') { "" } else { " " };
    format!("{text}{gap}bit/s")
}

/// A share in percent, of at most six characters.
pub(super) fn percent(share: f64) -> String {
    match share {
        _ if share <= 0.0 => "0%".to_owned(),
        _ if share < 0.1 => "<0.1%".to_owned(),
        _ if share < 100.0 => format!("{:.1}%", (share * 10.0).floor() / 10.0),
        _ => "100%".to_owned(),
    }
}

/// A share in percent, of at most four characters.
pub(super) fn short_percent(share: f64) -> String {
    match share {
        _ if share <= 0.0 => "0%".to_owned(),
        _ if share < 1.0 => "<1%".to_owned(),
        // Full is only what is full.
        _ => format!("{:.0}%", share.floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_true() {
        let counts = [0, 999, 1_000, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "1,234,567"]);
        let rates =
            [0.0, 0.4, 7.25, 42.0, 999.4, 999.6, 12_345.0, 123_456.0, 2.5e9, 9e12].map(rate);
        assert_eq!(
            rates,
            ["0", "0.4", "7.2", "42", "999", "1.0k", "12.3k", "123k", "2.5G", "9000G"]
        );
        assert_eq!([0.0, 10.0, 125_000.0].map(bits), ["0 bit/s", "80 bit/s", "1.0 Mbit/s"]);
        let shares = [0.0, 0.001, 0.1, 12.34, 99.99, 100.0];
        assert_eq!(shares.map(percent), ["0%", "<0.1%", "0.1%", "12.3%", "99.9%", "100%"]);
        assert_eq!(shares.map(short_percent), ["0%", "<1%", "<1%", "12%", "99%", "100%"]);
    }
}
