//! Links: every relative link of a Markdown file leads to a file or folder of the workspace.
//!
//! Inline links, images and reference definitions are read; code spans and fenced blocks are not.
//! Links with a scheme, and anchors within a page, are left alone.

use super::Finding;
use crate::tree::{self, Tree};

const RULE: &str = "link";

/// Checks every Markdown file.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.ending(".md") {
        for (line, target) in targets(text) {
            if !resolves(tree, path, &target) {
                let what = format!("`{target}` leads nowhere");
                let cure = "mend the link, or write what it should lead to";
                findings.push(Finding::new(path, line, RULE, what, cure));
            }
        }
    }
    findings
}

fn resolves(tree: &Tree, path: &str, target: &str) -> bool {
    let file = target.split(['#', '?']).next().unwrap_or_default();
    let scheme = target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.chars().all(|sign| sign.is_ascii_alphanumeric() || "+-.".contains(sign))
    });
    if scheme || file.is_empty() {
        return true;
    }
    let dir = if file.starts_with('/') { "" } else { tree::parent(path) };
    let found = tree::join(dir, &file.replace("%20", " "));
    found.is_some_and(|found| tree.has_file(&found) || tree.has_dir(&found))
}

/// The targets of the links of a text, each with its line.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, raw) in text.lines().enumerate() {
        let start = raw.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (None, None) => {
                let line = without_code(raw);
                let found = inline_targets(&line).chain(definition(&line));
                targets.extend(found.map(|target| (index + 1, target.to_owned())));
            }
            _ => {}
        }
    }
    targets
}

fn without_code(line: &str) -> String {
    let mut text = String::new();
    for (index, part) in line.split('`').enumerate() {
        // Odd parts stand between two ticks.
        text.push_str(if index % 2 == 0 { part } else { "x" });
    }
    text
}

fn inline_targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| {
        let rest = &line[at + 2..];
        let mut depth = 1_usize;
        let end = rest.find(|sign| {
            match sign {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        trim_target(&rest[..end])
    })
}

/// The target of a line like `[name]: target`.
fn definition(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix('[')?;
    let (name, target) = rest.split_once("]:")?;
    if name.starts_with('^') || name.contains(']') {
        return None;
    }
    trim_target(target)
}

/// A target without its title and angle brackets.
fn trim_target(target: &str) -> Option<&str> {
    let target = target.trim();
    if let Some(inner) = target.strip_prefix('<') {
        return inner.split('>').next();
    }
    target.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str) -> Vec<String> {
        let files = [("docs/a.md", text), ("docs/b/c.md", ""), ("README.md", ""), ("x/y.rs", "")];
        check(&Tree::of(&files)).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn links_that_resolve_pass() {
        let text = "[a](b/c.md) [b](b/) [c](b/c.md#part) ![d](../x/y.rs \"title\") [e](#here)\n\
                    [f](https://example.com/z) [g](mailto:a@b.c) [h](/README.md) [i](<b/c.md>)\n\
                    `[j](none)` [`k`](../README.md)\n\n[l]: b/c.md\n[^1]: A note.\n\n\
                    ```\n[m](none)\n```\n";
        assert!(broken(text).is_empty());
    }

    #[test]
    fn links_that_do_not_fail() {
        for (text, target) in [
            ("see [a](none.md).", "none.md"),
            ("[a](b/none.md#part)", "b/none.md#part"),
            ("[a](../../outside.md)", "../../outside.md"),
            ("[a]: none.md", "none.md"),
            ("```\n```\n[a](none)", "none"),
            ("[a [b](c)](none)", "c"),
        ] {
            let expected = format!("`{target}` leads nowhere");
            assert!(broken(text).contains(&expected), "{text}");
        }
    }
}
