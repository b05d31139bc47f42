//! Drop reasons: each row of the table is produced by the dataplane and asked for by a test.
//!
//! The table is the macro invocation in `dataplane/src/drop_reason.rs`; a row starts with
//! `Variant, "metric_name"`. Produced means that `DropReason::Variant` stands outside tests in
//! another file of the dataplane, and not as the pattern of a `match` arm. Named means that a file
//! under `tests/` holds the variant or the metric as a word. Whether a test really provokes the
//! reason is for that test to show.

use super::{Finding, Report};
use crate::source::Source;
use crate::tree::Tree;

const RULE: &str = "drop reason";
const TABLE: &str = "dataplane/src/drop_reason.rs";

struct Row<'a> {
    variant: &'a str,
    metric: &'a str,
    line: usize,
}

/// Checks every row, or notes that there is no table.
pub(crate) fn check(tree: &Tree, sources: &[Source], report: &mut Report) {
    let Some(table) = sources.iter().find(|source| source.path == TABLE) else {
        report.notes.push(format!("{RULE}: skipped, there is no {TABLE} yet"));
        return;
    };
    let rows = rows(table);
    if rows.is_empty() {
        let what = "no row `Variant, \"metric_name\", …` found in the table".to_owned();
        let cure = "keep that form, or teach tools/xtask/src/tidy/reasons.rs the new one";
        report.findings.push(Finding::new(TABLE, 1, RULE, what, cure));
    }
    let others: Vec<&Source> = sources
        .iter()
        .filter(|source| source.path.starts_with("dataplane/src/") && source.path != TABLE)
        .collect();
    for row in rows {
        let mut finding = |what: String, cure: &str| {
            report.findings.push(Finding::new(TABLE, row.line, RULE, what, cure));
        };
        if !others.iter().any(|source| is_produced(source, row.variant)) {
            let what = format!("nothing in the dataplane produces `{}`", row.variant);
            finding(what, "return it where the packet is judged, or delete the row");
        }
        let named = |text: &str| has_word(text, row.variant) || has_word(text, row.metric);
        let tests = || tree.all().filter(|(path, _)| path.starts_with("tests/"));
        if !tests().any(|(path, text)| !path.ends_with(".md") && named(text)) {
            let what = format!("no file under tests/ names `{}`", row.variant);
            finding(what, "add the case that provokes it");
        }
    }
}

fn rows(table: &Source) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for index in 0..table.len() {
        let variant = table.token(index);
        let at = table.offset(index);
        let upper = variant.starts_with(|first: char| first.is_ascii_uppercase());
        if !upper || table.token(index + 1) != "," || table.is_test(at) {
            continue;
        }
        if let Some(metric) = table.literal(index + 2) {
            rows.push(Row { variant, metric, line: table.line_of(at) });
        }
    }
    rows
}

fn is_produced(source: &Source, variant: &str) -> bool {
    let produced = |index: usize| {
        let pattern = ["=>", "|"].contains(&source.token(index + 1));
        !pattern && !source.is_test(source.offset(index)) && is_of_reason(source, index)
    };
    source.find(&[variant]).into_iter().any(produced)
}

/// `DropReason::Variant`, or a member of `DropReason::{…}`.
fn is_of_reason(source: &Source, index: usize) -> bool {
    let mut at = index;
    while at > 1 && [",", "{"].contains(&source.token(at - 1)) {
        if source.token(at - 1) == "{" {
            at -= 1;
            break;
        }
        at -= 2;
    }
    at > 1 && source.token(at - 1) == "::" && source.token(at - 2).ends_with("Reason")
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |sign: char| sign == '_' || sign.is_alphanumeric();
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "reasons! {\n    NoRoute, \"no_route\", \"Nothing matched.\", \"\";\n\
                        \x20   TooShort, \"too_short\", \"Cut off.\", \"RFC 791\";\n}\n";

    fn whats(table: &str, engine: &str, script: &str) -> Vec<String> {
        let files = [
            (TABLE, table),
            ("dataplane/src/engine.rs", engine),
            ("tests/scripts/a.pkt", script),
            ("tests/README.md", "NoRoute TooShort"),
        ];
        let tree = Tree::of(&files);
        let sources: Vec<Source> =
            tree.ending(".rs").map(|(path, text)| Source::new(path, text)).collect();
        let mut report = Report::default();
        check(&tree, &sources, &mut report);
        report.findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn produced_and_named_rows_pass() {
        let engine = "fn f() -> R { Err(DropReason::NoRoute) }\n\
                      fn g() -> R { Err(crate::drop_reason::DropReason::TooShort) }";
        assert!(whats(ROWS, engine, "drop no_route\ndrop TooShort").is_empty());
        let engine = "use crate::drop_reason::DropReason::{NoRoute, TooShort};";
        assert!(whats(ROWS, engine, "drop no_route\ndrop too_short").is_empty());
    }

    #[test]
    fn a_row_that_nothing_produces_fails() {
        let rest = "fn g() -> R { Err(DropReason::TooShort) }\n";
        for engine in [
            "",
            "// DropReason::NoRoute\n",
            "fn f(r: R) { match r { DropReason::NoRoute => 1 } }\n",
            "#[cfg(test)] mod tests { fn f() { DropReason::NoRoute; } }\n",
            "fn f() { Other::NoRoute; }\n",
        ] {
            let found = whats(ROWS, &format!("{engine}{rest}"), "no_route too_short");
            assert_eq!(found, ["nothing in the dataplane produces `NoRoute`"], "{engine}");
        }
    }

    #[test]
    fn a_row_that_no_test_names_fails() {
        let engine = "fn f() { DropReason::NoRoute; DropReason::TooShort; }";
        let found = whats(ROWS, engine, "no_route_at_all too_short");
        assert_eq!(found, ["no file under tests/ names `NoRoute`"]);
    }

    #[test]
    fn a_table_of_another_form_is_found_out() {
        let found = whats("pub enum DropReason { NoRoute }", "", "");
        assert_eq!(found, ["no row `Variant, \"metric_name\", …` found in the table"]);
    }

    #[test]
    fn without_a_table_there_is_a_note() {
        let mut report = Report::default();
        check(&Tree::default(), &[], &mut report);
        assert!(report.findings.is_empty());
        assert_eq!(report.notes.len(), 1);
    }
}
