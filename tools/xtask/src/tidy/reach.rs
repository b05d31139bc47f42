//! Dead files: every Rust file is a target of a package, or some `mod` line leads to it.
//!
//! The walk starts at the targets that cargo would find or that a manifest names, and follows
//! `mod name;`, `#[path = "…"]` and `include!("….rs")`. On its way it learns which files are test
//! code as a whole: those that only a `#[cfg(test)] mod` leads to.

use std::collections::BTreeMap;

use super::Finding;
use crate::manifest;
use crate::source::Source;
use crate::tree::{self, Tree};

const RULE: &str = "dead file";

/// Finds files that nothing leads to, and marks those that are test code.
pub(crate) fn check(tree: &Tree, sources: &mut [Source]) -> Vec<Finding> {
    let reached = walk(tree, sources);
    let mut findings = Vec::new();
    for source in sources {
        match reached.get(&source.path) {
            Some(true) => source.set_test(),
            Some(false) => {}
            None => {
                let what = "no mod, bin, test, bench or example leads to this file".to_owned();
                let cure = "add its `mod` line or target, or delete it";
                findings.push(Finding::new(&source.path, 1, RULE, what, cure));
            }
        }
    }
    findings
}

/// Every file that is reached, and whether only as test code.
fn walk(tree: &Tree, sources: &[Source]) -> BTreeMap<String, bool> {
    let by_path: BTreeMap<&str, &Source> =
        sources.iter().map(|source| (source.path.as_str(), source)).collect();
    let mut reached: BTreeMap<String, bool> = BTreeMap::new();
    let mut waiting: Vec<(String, bool, bool)> =
        roots(tree).into_iter().map(|root| (root, true, false)).collect();
    while let Some((path, is_root, test)) = waiting.pop() {
        // A file seen as test code is visited once more if the product leads to it as well.
        if reached.get(&path).is_some_and(|known| *known <= test) {
            continue;
        }
        let Some(source) = by_path.get(path.as_str()) else {
            continue;
        };
        reached.insert(path, test);
        let all_test = test || source.is_all_test();
        for (child, child_test) in children(tree, source, is_root) {
            waiting.push((child, false, all_test || child_test));
        }
    }
    reached
}

/// The files that a file leads to, and whether as test code.
fn children(tree: &Tree, source: &Source, is_root: bool) -> Vec<(String, bool)> {
    let dir = tree::parent(&source.path);
    let stem = source.path.strip_suffix(".rs").unwrap_or(&source.path);
    let own = if is_root || stem.ends_with("/mod") { dir } else { stem };
    let mut children = Vec::new();
    for module in source.modules() {
        if module.body.is_some() {
            continue;
        }
        let folder = format!("{own}/{}", module.within.join("/"));
        let candidates = match &module.path {
            Some(path) if module.within.is_empty() => [tree::join(dir, path), None],
            Some(path) => [tree::join(&folder, path), None],
            None => [
                tree::join(&folder, &format!("{}.rs", module.name)),
                tree::join(&folder, &format!("{}/mod.rs", module.name)),
            ],
        };
        let found = candidates.into_iter().flatten().filter(|path| tree.has_file(path));
        children.extend(found.map(|path| (path, module.test)));
    }
    for index in source.find(&["include", "!", "("]) {
        let target = source.literal(index + 3).and_then(|path| tree::join(dir, path));
        children.extend(target.map(|path| (path, source.is_test(source.offset(index)))));
    }
    children
}

/// The root file of every target of every package.
pub(crate) fn roots(tree: &Tree) -> Vec<String> {
    let mut roots = Vec::new();
    for (path, text) in tree.ending("Cargo.toml") {
        let entries = manifest::entries(text);
        if manifest::string(&entries, "package", "name").is_none() {
            continue;
        }
        let dir = tree::parent(path);
        let named = |entry: &&manifest::Entry| {
            let target = ["lib", "bin", "test", "bench", "example"].contains(&&*entry.section);
            entry.key == "path" && target || entry.key == "build" && entry.section == "package"
        };
        for entry in entries.iter().filter(named) {
            roots.extend(tree::join(dir, entry.value.trim_matches('"')));
        }
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let sources = tree.ending(".rs").map(|(path, _)| path);
        let found = sources.filter(|path| path.strip_prefix(&prefix).is_some_and(is_default));
        roots.extend(found.map(str::to_owned));
    }
    roots.sort();
    roots.dedup();
    roots
}

/// Whether cargo takes a path inside a package for a target without being told.
fn is_default(path: &str) -> bool {
    if ["src/lib.rs", "src/main.rs", "build.rs"].contains(&path) {
        return true;
    }
    ["src/bin/", "tests/", "benches/", "examples/"].iter().any(|folder| {
        let inner = path.strip_prefix(folder);
        inner.is_some_and(|inner| match inner.split_once('/') {
            None => true,
            Some((_, rest)) => rest == "main.rs",
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: &str = "[package]\nname = \"a\"\n";

    fn sources_of(tree: &Tree) -> Vec<Source> {
        tree.ending(".rs").map(|(path, text)| Source::new(path, text)).collect()
    }

    fn dead(files: &[(&str, &str)]) -> Vec<String> {
        let tree = Tree::of(files);
        let findings = check(&tree, &mut sources_of(&tree));
        findings.into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn files_with_a_mod_line_live() {
        let files = [
            ("a/Cargo.toml", PACKAGE),
            ("a/src/lib.rs", "mod b;\nmod c;\n#[path = \"odd/name.rs\"] mod d;\nmod e { mod f; }"),
            ("a/src/b.rs", "mod g;"),
            ("a/src/b/g.rs", ""),
            ("a/src/c/mod.rs", "mod h; include!(\"i.rs\");"),
            ("a/src/c/h.rs", ""),
            ("a/src/c/i.rs", ""),
            ("a/src/odd/name.rs", ""),
            ("a/src/e/f.rs", ""),
            ("a/src/bin/x.rs", ""),
            ("a/tests/y.rs", ""),
            ("a/examples/z/main.rs", ""),
        ];
        assert!(dead(&files).is_empty());
    }

    #[test]
    fn files_without_one_are_dead() {
        let files = [
            ("a/Cargo.toml", PACKAGE),
            ("a/src/lib.rs", "// mod b;\nmod c;"),
            ("a/src/b.rs", ""),
            ("a/src/c.rs", ""),
            ("a/src/c/d.rs", ""),
            ("a/tests/common/helper.rs", ""),
            ("loose.rs", ""),
        ];
        let expected = ["a/src/b.rs", "a/src/c/d.rs", "a/tests/common/helper.rs", "loose.rs"];
        assert_eq!(dead(&files), expected);
    }

    #[test]
    fn manifests_name_targets() {
        let text = "[package]\nname = \"t\"\n[lib]\npath = \"harness/lib.rs\"\n\
                    [[test]]\nname = \"s\"\npath = \"scripts.rs\"\n";
        let files = [
            ("tests/Cargo.toml", text),
            ("tests/harness/lib.rs", "mod pair;"),
            ("tests/harness/pair.rs", ""),
            ("tests/scripts.rs", ""),
        ];
        assert!(dead(&files).is_empty());
    }

    #[test]
    fn a_file_of_a_test_module_is_test_code() {
        let tree = Tree::of(&[
            ("a/Cargo.toml", PACKAGE),
            ("a/src/lib.rs", "#[cfg(test)]\nmod tests;\nmod b;"),
            ("a/src/tests.rs", "mod deep;"),
            ("a/src/tests/deep.rs", "fn f() {}"),
            ("a/src/b.rs", "fn f() {}"),
        ]);
        let mut sources = sources_of(&tree);
        assert!(check(&tree, &mut sources).is_empty());
        let test = |path: &str| sources.iter().any(|s| s.path == path && s.is_all_test());
        assert!(test("a/src/tests.rs") && test("a/src/tests/deep.rs"));
        assert!(!test("a/src/b.rs") && !test("a/src/lib.rs"));
    }
}
