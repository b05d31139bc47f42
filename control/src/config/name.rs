//! Names: of resources, after Azure's rule, and of interfaces, after the kernel's.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A resource's name: 1 to 80 letters, digits, `_`, `.` and `-`; a letter or digit first, and not
/// `.` or `-` last. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name(Arc<str>);

impl Name {
    /// The rule, as a sentence.
    pub const RULE: &'static str = "a name has 1 to 80 letters, digits, '_', '.' and '-', \
        begins with a letter or digit, and does not end with '.' or '-'";

    /// The name, if `text` is one.
    #[must_use]
    pub fn new(text: &str) -> Option<Name> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let bytes = text.as_bytes();
        let first = bytes.first()?.is_ascii_alphanumeric();
        let last = !b".-".contains(bytes.last()?);
        let fits = bytes.len() <= 80 && bytes.iter().copied().all(inner);
        (first && last && fits).then(|| Name(text.into()))
    }

    /// The name of a resource made through the API, of whose parts each is one: `group/name`. The
    /// slash tells it from every name of the file.
    #[must_use]
    pub(crate) fn of_resource(text: String) -> Name {
        Name(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An interface's name as the kernel takes it: 1 to 15 bytes, no slash, colon or white space.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The rule, as a sentence.
    pub const RULE: &'static str = "an interface name has 1 to 15 letters, digits and signs, \
        but no '/', ':', '%', white space or control character, and is not '.' or '..'";

    /// The name, if `text` is one.
    #[must_use]
    pub fn new(text: &str) -> Option<InterfaceName> {
        // The kernel takes any byte; `%` is its own placeholder in templates of names.
        let sign = |byte: u8| byte.is_ascii_graphic() && !b"/:%".contains(&byte);
        let fits = (1..=15).contains(&text.len()) && text.bytes().all(sign);
        (fits && text != "." && text != "..").then(|| InterfaceName(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_azure() {
        for good in ["a", "9", "pe-consumer.a_", &"x".repeat(80)] {
            assert!(Name::new(good).is_some(), "{good}");
        }
        for bad in ["", "-a", "_a", "a-", "a.", "a b", "a/b", "ä", &"x".repeat(81)] {
            assert!(Name::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn interface_names_follow_the_kernel() {
        for good in ["a", "veth-a", "eth0.100", "exactly15bytes0"] {
            assert!(InterfaceName::new(good).is_some(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:0", "a b", "tap%d", "sixteenbytes0000", "a\0"] {
            assert!(InterfaceName::new(bad).is_none(), "{bad}");
        }
    }
}
