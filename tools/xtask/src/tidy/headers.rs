//! Headers: every room and every crate root opens with `//!` and at least one full sentence.

use super::{Finding, reach};
use crate::rooms::ROOMS;
use crate::source::Source;
use crate::tree::Tree;

const RULE: &str = "header";
/// Fewer words are a title, not a sentence.
const MIN_WORDS: usize = 5;

/// Checks the files that introduce a crate or a room.
pub(crate) fn check(tree: &Tree, sources: &[Source]) -> Vec<Finding> {
    let mut wanted = reach::roots(tree);
    for room in ROOMS {
        let name = room.name;
        wanted.push(format!("dataplane/src/{name}.rs"));
        wanted.push(format!("dataplane/src/{name}/mod.rs"));
    }
    let wanted = sources.iter().filter(|source| wanted.contains(&source.path));
    wanted
        .filter(|source| !is_introduced(&source.text))
        .map(|source| finding(&source.path))
        .collect()
}

fn finding(path: &str) -> Finding {
    let what = "the file does not open with a header".to_owned();
    let cure = "say in `//!` lines, in at least one full sentence, what it is and keeps";
    Finding::new(path, 1, RULE, what, cure)
}

fn is_introduced(text: &str) -> bool {
    let lines = text.lines().skip_while(|line| line.trim().is_empty());
    let header = lines.map_while(|line| line.strip_prefix("//!")).collect::<Vec<_>>().join(" ");
    // A stop inside a word (`lib.rs`, `0.2`) ends no sentence.
    let mut words = 0;
    for word in header.split_whitespace() {
        words += 1;
        let ends = word.trim_end_matches([')', '`', '*', '"']).ends_with(['.', '?', '!', ':']);
        if ends && words >= MIN_WORDS {
            return true;
        }
        if ends {
            words = 0;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_introduces() {
        assert!(is_introduced("//! Views over the bytes of headers, total functions.\n"));
        assert!(is_introduced(
            "//! # Wire\n//!\n//! Views over the bytes\n//! of headers.\nuse a;"
        ));
    }

    #[test]
    fn a_title_does_not() {
        for text in [
            "",
            "//! Control.\n",
            "//! Views over the bytes of all headers\n",
            "use a;\n//! Views over the bytes of headers.\n",
            "// Views over the bytes of headers.\n",
            "/// Views over the bytes of headers.\n",
        ] {
            assert!(!is_introduced(text), "{text}");
        }
    }

    #[test]
    fn rooms_and_roots_are_asked() {
        let files = [
            ("dataplane/Cargo.toml", "[package]\nname = \"dataplane\"\n"),
            ("dataplane/src/lib.rs", ""),
            ("dataplane/src/wire/mod.rs", ""),
            ("dataplane/src/wire/tcp.rs", ""),
            ("dataplane/src/lb.rs", ""),
        ];
        let tree = Tree::of(&files);
        let sources: Vec<Source> =
            tree.ending(".rs").map(|(path, text)| Source::new(path, text)).collect();
        let paths: Vec<String> =
            check(&tree, &sources).into_iter().map(|finding| finding.path).collect();
        let expected = ["dataplane/src/lb.rs", "dataplane/src/lib.rs", "dataplane/src/wire/mod.rs"];
        assert_eq!(paths, expected);
    }
}
