//! Sizes: lines of at most 100 characters, functions of 70 lines, files of 600.
//!
//! Functions and files count lines of code: not blank lines, comments, or test modules. What is
//! too large already is named in `tools/xtask/ratchet.txt` with its size, one exception a line:
//!
//! ```text
//! line <path> <how many lines are too long>
//! function <path> <name> <lines of code>
//! file <path> <lines of code>
//! ```
//! An exception holds exactly: growing past it fails, and so does leaving it larger than needed,
//! so the file can only shrink. Of functions with one name in one file, the longest counts.

use std::collections::BTreeMap;

use super::Finding;
use crate::source::Source;
use crate::tree::Tree;

const RULE: &str = "sizes";
/// Where the exceptions are.
const RATCHET: &str = "tools/xtask/ratchet.txt";
/// Characters of a line.
const MAX_LINE: usize = 100;
/// Lines of code of a function.
const MAX_FUNCTION: usize = 70;
/// Lines of code of a file.
const MAX_FILE: usize = 600;

/// What is measured: `line path`, `function path name` or `file path`.
type Subject = String;

struct Excess {
    path: String,
    line: usize,
    size: usize,
    what: String,
    cure: &'static str,
}

/// Measures every source against the limits and the ratchet.
pub(crate) fn check(tree: &Tree, sources: &[Source]) -> Vec<Finding> {
    let mut excesses = BTreeMap::new();
    for source in sources {
        measure(source, &mut excesses);
    }
    let mut findings = Vec::new();
    let ratchet = read_ratchet(tree.text(RATCHET).unwrap_or_default(), &mut findings);
    for (subject, (line, allowed)) in &ratchet {
        let needed = excesses.get(subject).map_or(0, |excess| excess.size);
        if needed < *allowed {
            let what = format!("the exception `{subject} {allowed}` is larger than needed");
            let cure = match needed {
                0 => "delete the line".to_owned(),
                size => format!("lower it to {size}"),
            };
            findings.push(Finding::new(RATCHET, *line, RULE, what, &cure));
        }
    }
    for (subject, excess) in excesses {
        let allowed = ratchet.get(&subject).map_or(0, |(_, allowed)| *allowed);
        if excess.size > allowed {
            let Excess { path, line, what, cure, .. } = excess;
            findings.push(Finding::new(&path, line, RULE, what, cure));
        }
    }
    findings
}

fn measure(source: &Source, excesses: &mut BTreeMap<Subject, Excess>) {
    let path = &source.path;
    let long = |line: &str| line.chars().count() > MAX_LINE;
    let mut lines = source.text.lines().enumerate().filter(|(_, line)| long(line));
    if let Some((first, text)) = lines.next() {
        let size = 1 + lines.count();
        let characters = text.chars().count();
        let excess = Excess {
            path: path.clone(),
            line: first + 1,
            size,
            what: format!(
                "a line has {characters} of {MAX_LINE} characters (too long here: {size})"
            ),
            cure: "break it",
        };
        excesses.insert(format!("line {path}"), excess);
    }
    for function in source.functions() {
        let size = function.code_lines;
        let subject = format!("function {path} {}", function.name);
        let known = excesses.get(&subject).map_or(MAX_FUNCTION, |excess| excess.size);
        if size > known {
            let what = format!("`{}` has {size} of {MAX_FUNCTION} lines", function.name);
            let cure = "split it: decisions in the parent, computation in leaves";
            let excess = Excess { path: path.clone(), line: function.line, size, what, cure };
            excesses.insert(subject, excess);
        }
    }
    let size = source.count_code_lines();
    if size > MAX_FILE {
        let what = format!("the file has {size} of {MAX_FILE} lines of code");
        let cure = "give a part of it a file and a name";
        let excess = Excess { path: path.clone(), line: 1, size, what, cure };
        excesses.insert(format!("file {path}"), excess);
    }
}

fn read_ratchet(text: &str, findings: &mut Vec<Finding>) -> BTreeMap<Subject, (usize, usize)> {
    let mut ratchet = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.is_empty() || fields[0].starts_with('#') {
            continue;
        }
        let (subject, number) = match fields.as_slice() {
            [kind @ ("line" | "file"), path, number] => (format!("{kind} {path}"), *number),
            ["function", path, name, number] => (format!("function {path} {name}"), *number),
            _ => (String::new(), ""),
        };
        match number.parse() {
            Ok(allowed) if !ratchet.contains_key(&subject) => {
                ratchet.insert(subject, (line_number, allowed));
            }
            _ => {
                let what = format!("not an exception, or one named twice: `{line}`");
                let cure = "write `kind path [name] number`";
                findings.push(Finding::new(RATCHET, line_number, RULE, what, cure));
            }
        }
    }
    ratchet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(path: &str, text: &str, ratchet: &str) -> Vec<String> {
        let tree = Tree::of(&[(RATCHET, ratchet)]);
        let findings = check(&tree, &[Source::new(path, text)]);
        findings.into_iter().map(|finding| finding.what).collect()
    }

    fn function(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    f();\n".repeat(lines - 2))
    }

    #[test]
    fn lines_count_characters() {
        assert!(whats("a.rs", &"→".repeat(100), "").is_empty());
        let text = format!("{}\n{}\n", "x".repeat(101), "x".repeat(102));
        let expected = "a line has 101 of 100 characters (too long here: 2)";
        assert_eq!(whats("a.rs", &text, ""), [expected]);
        assert!(whats("a.rs", &text, "line a.rs 2").is_empty());
    }

    #[test]
    fn functions_count_code() {
        assert!(whats("a.rs", &function(70), "").is_empty());
        assert_eq!(whats("a.rs", &function(71), ""), ["`long` has 71 of 70 lines"]);
        let text = function(70).replacen("f();", "// why\n\n    f();", 1);
        assert!(whats("a.rs", &text, "").is_empty());
        let text = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(90));
        assert!(whats("a.rs", &text, "").is_empty());
    }

    #[test]
    fn files_count_code() {
        let text = |lines: usize| "use a;\n".repeat(lines) + "// why\n\n";
        assert!(whats("a.rs", &text(600), "").is_empty());
        assert_eq!(whats("a.rs", &text(601), ""), ["the file has 601 of 600 lines of code"]);
        assert!(whats("a.rs", &text(601), "file a.rs 601").is_empty());
    }

    #[test]
    fn the_ratchet_only_shrinks() {
        let text = function(80);
        assert!(whats("a.rs", &text, "# known\nfunction a.rs long 80\n").is_empty());
        assert_eq!(whats("a.rs", &text, "function a.rs long 79"), ["`long` has 80 of 70 lines"]);
        let loose = whats("a.rs", &text, "function a.rs long 81");
        assert_eq!(loose, ["the exception `function a.rs long 81` is larger than needed"]);
        let gone = whats("a.rs", "", "file b.rs 700");
        assert_eq!(gone, ["the exception `file b.rs 700` is larger than needed"]);
    }

    #[test]
    fn the_ratchet_is_well_formed() {
        for ratchet in ["file a.rs", "function a.rs 80", "room a.rs 1", "file a.rs x"] {
            assert_eq!(whats("a.rs", "", ratchet).len(), 1, "{ratchet}");
        }
    }
}
