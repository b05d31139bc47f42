//! Packages: what depends on what, by the manifests, and the harness's independence.
//!
//! A path to another package cannot compile without a dependency on it, so manifests suffice. The
//! harness judges the bytes that the dataplane makes; if it used the dataplane's own encoder, both
//! could be wrong together, so it may not name `dataplane::wire`.

use std::collections::BTreeMap;

use super::Finding;
use crate::manifest;
use crate::rooms::PACKAGES;
use crate::source::Source;
use crate::tree::Tree;

const RULE: &str = "packages";

/// Checks every manifest, and every source of the harness.
pub(crate) fn check(tree: &Tree, sources: &[Source]) -> Vec<Finding> {
    let manifests: Vec<(&str, Vec<manifest::Entry>)> = tree
        .ending("Cargo.toml")
        .map(|(path, text)| (path, manifest::entries(text)))
        .filter(|(_, entries)| manifest::string(entries, "package", "name").is_some())
        .collect();
    let names: BTreeMap<&str, &str> = manifests
        .iter()
        .filter_map(|(path, entries)| Some((manifest::string(entries, "package", "name")?, *path)))
        .collect();
    let mut findings = Vec::new();
    for (path, entries) in &manifests {
        let name = manifest::string(entries, "package", "name").unwrap_or_default();
        let Some(row) = PACKAGES.iter().find(|package| package.name == name) else {
            let what = format!("the package `{name}` has no row");
            let cure = "add it, and what it may need, to tools/xtask/src/rooms.rs";
            findings.push(Finding::new(path, 1, RULE, what, cure));
            continue;
        };
        for dependency in manifest::dependencies(entries) {
            let needed = dependency.package.as_str();
            let may_test = dependency.is_dev && row.may_test.contains(&needed);
            let may = row.may.contains(&needed) || may_test || needed == name;
            if names.contains_key(needed) && !may {
                let what = format!("`{name}` may not depend on `{needed}`");
                let cure = "turn the dependency round, or move the code";
                findings.push(Finding::new(path, dependency.line, RULE, what, cure));
            }
        }
    }
    let harness = sources.iter().filter(|source| source.path.starts_with("tests/harness/"));
    findings.extend(harness.flat_map(check_harness));
    findings
}

fn check_harness(source: &Source) -> Vec<Finding> {
    let cure = "use the harness's own encoder";
    let mut findings = Vec::new();
    let mut report = |index: usize, what: &str| {
        let line = source.line_of(source.offset(index));
        findings.push(Finding::new(&source.path, line, RULE, what.to_owned(), cure));
    };
    for index in source.find(&["dataplane", "as"]) {
        report(index, "an alias hides what the harness takes from the dataplane");
    }
    for index in source.find(&["dataplane", "::"]) {
        match source.token(index + 2) {
            "wire" => report(index, "the harness names `dataplane::wire`"),
            "*" => report(index, "a glob hides what the harness takes from the dataplane"),
            "{" => {
                for inner in group_heads(source, index + 2) {
                    if ["wire", "*", "self"].contains(&source.token(inner)) {
                        report(inner, "the harness names `dataplane::wire`, or all of dataplane");
                    }
                }
            }
            _ => {}
        }
    }
    findings
}

/// The first tokens of the members of a group in braces.
fn group_heads(source: &Source, open: usize) -> Vec<usize> {
    let close = source.closing(open);
    let mut heads = Vec::new();
    let mut at = open + 1;
    let mut first = true;
    while at < close {
        if first {
            heads.push(at);
        }
        first = source.token(at) == ",";
        at = if source.token(at) == "{" { source.closing(at) + 1 } else { at + 1 };
    }
    heads
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{rest}")
    }

    fn whats(files: &[(&str, &str)]) -> Vec<String> {
        let tree = Tree::of(files);
        let sources: Vec<Source> =
            tree.ending(".rs").map(|(path, text)| Source::new(path, text)).collect();
        check(&tree, &sources).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn control_needs_the_dataplane_and_never_the_reverse() {
        let dataplane = manifest("dataplane", "");
        let control = manifest("control", "[dependencies]\ndataplane = { workspace = true }\n");
        let files = [
            ("dataplane/Cargo.toml", dataplane.as_str()),
            ("control/Cargo.toml", control.as_str()),
        ];
        assert!(whats(&files).is_empty());
        let dataplane = manifest("dataplane", "[dev-dependencies]\ncontrol.workspace = true\n");
        let files = [("dataplane/Cargo.toml", dataplane.as_str()), files[1]];
        assert_eq!(whats(&files), ["`dataplane` may not depend on `control`"]);
    }

    #[test]
    fn the_lab_knows_neither() {
        let dataplane = manifest("dataplane", "");
        let lab = manifest("lab", "[dependencies]\nx = { path = \"y\", package = \"dataplane\" }");
        let files =
            [("dataplane/Cargo.toml", dataplane.as_str()), ("tools/lab/Cargo.toml", lab.as_str())];
        assert_eq!(whats(&files), ["`lab` may not depend on `dataplane`"]);
    }

    #[test]
    fn a_package_needs_a_row() {
        let text = manifest("attic", "");
        let files = [("attic/Cargo.toml", text.as_str()), ("Cargo.toml", "[workspace]\n")];
        assert_eq!(whats(&files), ["the package `attic` has no row"]);
    }

    #[test]
    fn the_harness_has_its_own_encoder() {
        let named = ["the harness names `dataplane::wire`"];
        assert_eq!(whats(&[("tests/harness/a.rs", "use dataplane::wire::tcp;")]), named);
        for text in ["use dataplane::{engine::{A, B}, wire};", "use dataplane as d;"] {
            assert_eq!(whats(&[("tests/harness/a.rs", text)]).len(), 1, "{text}");
        }
        let text = "// dataplane::wire\nuse dataplane::{engine::{wire, B}, types};";
        assert!(whats(&[("tests/harness/a.rs", text)]).is_empty());
        assert!(whats(&[("tests/wire.rs", "use dataplane::wire;")]).is_empty());
    }
}
