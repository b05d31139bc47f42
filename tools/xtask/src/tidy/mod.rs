//! `cargo xtask tidy`: the rules of the house, checked by a program.
//!
//! Each rule is a module with one pure function over the texts of the workspace, and tests that
//! show it pass and fail. A finding names the place, the rule, what is wrong, and the cure. The
//! rules read tokens, not types: they see every path, word and line, and expand no macro. To add a
//! rule, write its module here and add it to [`check`].

mod headers;
mod layers;
mod links;
mod packages;
mod reach;
mod reasons;
pub(crate) mod requirements;
mod sizes;
mod words;

use std::fmt;
use std::process::ExitCode;
use std::time::Instant;

use crate::source::Source;
use crate::tree::{self, Tree};

/// One thing that is wrong, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    what: String,
    cure: String,
}

impl Finding {
    fn new(path: &str, line: usize, rule: &'static str, what: String, cure: &str) -> Self {
        Self { path: path.to_owned(), line, rule, what, cure: cure.to_owned() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, rule, what, cure } = self;
        write!(f, "{path}:{line}: {rule}: {what}; {cure}")
    }
}

/// What the rules found, and what they could not check yet.
#[derive(Default)]
pub(crate) struct Report {
    /// In order of path and line.
    pub(crate) findings: Vec<Finding>,
    /// Rules that were skipped, and why.
    pub(crate) notes: Vec<String>,
}

/// Runs every rule over the texts of a workspace.
pub(crate) fn check(tree: &Tree) -> Report {
    let mut report = Report::default();
    let mut sources: Vec<Source> =
        tree.ending(".rs").map(|(path, text)| Source::new(path, text)).collect();
    report.findings.extend(reach::check(tree, &mut sources));
    report.findings.extend(layers::check(&sources));
    report.findings.extend(packages::check(tree, &sources));
    report.findings.extend(words::check(&sources));
    report.findings.extend(sizes::check(tree, &sources));
    report.findings.extend(headers::check(tree, &sources));
    report.findings.extend(links::check(tree));
    report.findings.extend(requirements::check(tree));
    reasons::check(tree, &sources, &mut report);
    report.findings.sort();
    report
}

/// Checks the workspace and prints what is wrong.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if !arguments.is_empty() {
        eprintln!("tidy: takes no arguments");
        return ExitCode::from(2);
    }
    let start = Instant::now();
    let tree = match Tree::read(&tree::workspace_root()) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("tidy: cannot read the workspace: {error}");
            return ExitCode::FAILURE;
        }
    };
    let report = check(&tree);
    for note in &report.notes {
        eprintln!("tidy: note: {note}");
    }
    for finding in &report.findings {
        eprintln!("{finding}");
    }
    let elapsed_ms = start.elapsed().as_millis();
    let count = report.findings.len();
    if count > 0 {
        eprintln!("tidy: {count} findings in {elapsed_ms} ms");
        return ExitCode::FAILURE;
    }
    println!("tidy: {} Rust files, nothing to say, {elapsed_ms} ms", tree.ending(".rs").count());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let tree = Tree::read(&tree::workspace_root()).unwrap();
        let findings = check(&tree).findings;
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
    }

    #[test]
    fn a_finding_reads_as_one_line() {
        let finding = Finding::new("a.rs", 3, "words", "no".to_owned(), "do that");
        assert_eq!(finding.to_string(), "a.rs:3: words: no; do that");
    }
}
