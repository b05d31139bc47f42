//! Requirements: each one of the RFCs on NATs is answered once, and the page that says so is true.
//!
//! A row is a test whose name begins with its RFC and number (`rfc4787_req1_…`, `rfc7857_2_1_…`)
//! and whose comment says what it means, `Applies:`, `Answer:` and perhaps `Deviation:`; or an item
//! of the list `Does not apply:` in a module's header, `- REQ-4, meaning: reason`. The page is a
//! pure function of these texts; `cargo xtask rfc` writes it, and this rule compares.

use super::Finding;
use crate::tree::Tree;

/// Where the page is.
pub(crate) const PAGE: &str = "docs/rfc-compliance.md";
/// Where the tests are.
const TESTS: &str = "tests/tests/rfc/";
const RULE: &str = "requirements";

/// An RFC with its rows, in the order of the page.
struct Rfc {
    number: &'static str,
    about: &'static str,
    rows: Rows,
}

/// How the rows of an RFC are called.
enum Rows {
    /// `REQ-1` up to this one.
    Numbered(u8),
    /// By section.
    Sections(&'static [&'static str]),
}

const RFCS: &[Rfc] = &[
    Rfc { number: "4787", about: "UDP", rows: Rows::Numbered(14) },
    Rfc { number: "5382", about: "TCP", rows: Rows::Numbered(10) },
    Rfc { number: "5508", about: "ICMP", rows: Rows::Numbered(11) },
    Rfc { number: "6888", about: "NATs that many subscribers share", rows: Rows::Numbered(15) },
    Rfc {
        number: "7857",
        about: "updates to the others, by section",
        rows: Rows::Sections(&[
            "2.1", "2.2", "3", "4", "5", "6", "7", "7.1", "8", "9", "10", "11", "12",
        ]),
    },
];

impl Rfc {
    fn ids(&self) -> Vec<String> {
        match self.rows {
            Rows::Numbered(last) => (1..=last).map(|number| format!("REQ-{number}")).collect(),
            Rows::Sections(sections) => sections.iter().map(|&id| id.to_owned()).collect(),
        }
    }
}

/// What is said of one requirement.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    rfc: String,
    id: String,
    meaning: String,
    /// "as it stands" or "adapted"; empty if it does not apply.
    applies: String,
    /// The answer, or why it does not apply.
    answer: String,
    deviation: String,
    /// Name of the test; empty if it does not apply.
    test: String,
    path: String,
    line: usize,
}

/// Checks that the rows are complete and the page is what they give.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let rows = rows(tree);
    if rows.is_empty() {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = rows.iter().filter_map(judge).collect();
    for rfc in RFCS {
        for id in rfc.ids() {
            let count = rows.iter().filter(|row| (&*row.rfc, &row.id) == (rfc.number, &id)).count();
            if count != 1 {
                let what = format!("RFC {} {id} is answered {count} times", rfc.number);
                let cure = "have one test named after it, or one item of `Does not apply:`";
                findings.push(Finding::new(&format!("{TESTS}main.rs"), 1, RULE, what, cure));
            }
        }
    }
    if tree.text(PAGE) != Some(&page(tree)) {
        let what = "the page is not what the tests say".to_owned();
        findings.push(Finding::new(PAGE, 1, RULE, what, "run `cargo xtask rfc`"));
    }
    findings
}

fn judge(row: &Row) -> Option<Finding> {
    let is_known = RFCS.iter().any(|rfc| rfc.number == row.rfc && rfc.ids().contains(&row.id));
    let applies = ["", "as it stands", "adapted"].contains(&&*row.applies);
    let is_said = !row.meaning.is_empty() && !row.answer.is_empty();
    let what = if !is_known {
        format!("there is no RFC {} {}", row.rfc, row.id)
    } else if !applies || row.applies.is_empty() != row.test.is_empty() {
        format!("`Applies:` of RFC {} {} is `{}`", row.rfc, row.id, row.applies)
    } else if !is_said {
        format!("RFC {} {} lacks its meaning or its answer", row.rfc, row.id)
    } else {
        return None;
    };
    let cure = "see the header of tests/tests/rfc/main.rs for the form";
    Some(Finding::new(&row.path, row.line, RULE, what, cure))
}

/// The page.
pub(crate) fn page(tree: &Tree) -> String {
    let rows = rows(tree);
    let mut page = String::from(
        "# What adit answers to the requirements on NATs\n\n\
         Made by `cargo xtask rfc` from the tests in [tests/tests/rfc](../tests/tests/rfc); change \
         it there.\nWhat the engine does, deviations too, is asserted by the test beside it. \
         That a setting reaches the engine\nis for control's own tests to show.\n\n\
         adit is a NAT of services: for each flow of a consumer it translates destination and \
         source, and only\nthe backend that it chose may answer. Requirements that mean another \
         kind of NAT apply in adapted form.\n\n\
         | RFC | about | met | met with a deviation | does not apply |\n|---|---|---|---|---|\n",
    );
    let of = |rfc: &Rfc| -> Vec<&Row> {
        let find = |id: &String| rows.iter().find(|row| row.rfc == rfc.number && row.id == *id);
        rfc.ids().iter().filter_map(find).collect()
    };
    for rfc in RFCS {
        let rows = of(rfc);
        let count = |wanted: fn(&&&Row) -> bool| rows.iter().filter(wanted).count();
        let met = count(|row| !row.test.is_empty() && row.deviation.is_empty());
        let deviating = count(|row| !row.deviation.is_empty());
        let rest = count(|row| row.test.is_empty());
        let (number, about) = (rfc.number, rfc.about);
        page += &format!("| {number} | {about} | {met} | {deviating} | {rest} |\n");
    }
    for rfc in RFCS {
        page += &format!("\n## RFC {}: {}\n\n", rfc.number, rfc.about);
        page += "| | what it means | what adit answers | deviation, and why | test |\n";
        page += "|---|---|---|---|---|\n";
        of(rfc).into_iter().for_each(|row| page += &line(row));
    }
    page
}

fn line(row: &Row) -> String {
    let Row { id, meaning, answer, deviation, test, path, .. } = row;
    if test.is_empty() {
        return format!("| {id} | {meaning} | *Does not apply:* {answer} | – | – |\n");
    }
    let adapted = if row.applies == "adapted" { " *(adapted)*" } else { "" };
    let deviation = if deviation.is_empty() { "none" } else { deviation };
    format!("| {id} | {meaning}{adapted} | {answer} | {deviation} | [`{test}`](../{path}) |\n")
}

fn rows(tree: &Tree) -> Vec<Row> {
    let files = tree.ending(".rs").filter(|(path, _)| path.starts_with(TESTS));
    files.flat_map(|(path, text)| rows_of(path, text)).collect()
}

fn rows_of(path: &str, text: &str) -> Vec<Row> {
    not_applicable(path, text).into_iter().chain(tests(path, text)).collect()
}

/// The tests of a file whose name begins with an RFC's.
fn tests(path: &str, text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some(said) = line.strip_prefix("///") {
            comment.push(said.trim());
        } else if let Some((rfc, id, test)) = name(line) {
            let mut row =
                Row { rfc, id, test, path: path.to_owned(), line: at + 1, ..Row::default() };
            fill(&mut row, &comment);
            rows.push(row);
            comment.clear();
        } else if !line.starts_with("#[") {
            comment.clear();
        }
    }
    rows
}

/// RFC, number and name of the test that a line begins.
fn name(line: &str) -> Option<(String, String, String)> {
    let (test, _) = line.strip_prefix("fn ")?.split_once('(')?;
    let mut parts = test.strip_prefix("rfc")?.split('_').peekable();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let rfc = parts.next().filter(|part| is_number(part))?;
    let id = match parts.peek()?.strip_prefix("req") {
        Some(number) => format!("REQ-{number}"),
        None => {
            let mut sections = Vec::new();
            while let Some(part) = parts.next_if(is_number) {
                sections.push(part);
            }
            sections.join(".")
        }
    };
    Some((rfc.to_owned(), id, test.to_owned()))
}

/// Fills in what a comment says.
fn fill(row: &mut Row, comment: &[&str]) {
    let mut field = "";
    for line in comment {
        let key =
            ["Applies:", "Answer:", "Deviation:"].into_iter().find(|key| line.starts_with(key));
        field = key.unwrap_or(field);
        let cell = match field {
            "Applies:" => &mut row.applies,
            "Answer:" => &mut row.answer,
            "Deviation:" => &mut row.deviation,
            _ => &mut row.meaning,
        };
        append(cell, line.strip_prefix(field).unwrap_or(line).trim());
    }
}

/// The items of a header's list of what does not apply.
fn not_applicable(path: &str, text: &str) -> Vec<Row> {
    let rfc = path.rsplit('/').next().unwrap_or_default();
    let rfc = rfc.trim_start_matches("rfc").trim_end_matches(".rs");
    let header =
        text.lines().enumerate().map_while(|(at, line)| Some((at, line.strip_prefix("//!")?)));
    let list = header.skip_while(|(_, line)| line.trim() != "Does not apply:").skip(1);
    let mut items: Vec<(usize, String)> = Vec::new();
    for (at, line) in list {
        match (line.trim().strip_prefix("- "), items.last_mut()) {
            (Some(item), _) => items.push((at + 1, item.to_owned())),
            (None, Some((_, item))) => append(item, line.trim()),
            (None, None) => {}
        }
    }
    let row = |(line, item): (usize, String)| {
        let (id, rest) = item.split_once(", ").unwrap_or((&item, ""));
        let (meaning, reason) = rest.split_once(": ").unwrap_or((rest, ""));
        Row {
            rfc: rfc.to_owned(),
            id: id.to_owned(),
            meaning: sentence(meaning),
            answer: reason.to_owned(),
            path: path.to_owned(),
            line,
            ..Row::default()
        }
    };
    items.into_iter().map(row).collect()
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    if first.is_empty() { first } else { format!("{first}{}.", letters.as_str()) }
}

/// Adds words to a cell of the table.
fn append(text: &mut String, words: &str) {
    if !text.is_empty() && !words.is_empty() {
        text.push(' ');
    }
    *text += &words.replace('|', "\\|");
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "tests/tests/rfc/rfc4787.rs";
    const TEXT: &str = "//! RFC 4787.
//!
//! Does not apply:
//! - REQ-4, ports keep parity: it was
//!   taken back.

/// A | B
/// goes on.
/// Applies: adapted
/// Answer: Yes,
/// it does.
/// Deviation: But.
#[test]
fn rfc4787_req1_words() {}

/// Other.
fn f() {}
";

    #[test]
    fn a_comment_and_a_list_become_rows() {
        let rows = rows_of(PATH, TEXT);
        assert_eq!(rows.len(), 2);
        assert_eq!((&*rows[0].id, &*rows[0].meaning), ("REQ-4", "Ports keep parity."));
        assert_eq!((&*rows[0].answer, &*rows[0].test), ("it was taken back.", ""));
        assert_eq!((&*rows[1].id, &*rows[1].meaning), ("REQ-1", "A \\| B goes on."));
        assert_eq!((&*rows[1].answer, &*rows[1].deviation), ("Yes, it does.", "But."));
        assert_eq!((&*rows[1].test, &*rows[1].applies), ("rfc4787_req1_words", "adapted"));
        assert!(rows.iter().all(|row| judge(row).is_none()));
    }

    #[test]
    fn names_say_which_requirement() {
        let id = |line: &str| name(line).map(|(rfc, id, _)| format!("{rfc} {id}"));
        assert_eq!(id("fn rfc7857_2_1_it_closes() {").as_deref(), Some("7857 2.1"));
        assert_eq!(id("fn rfc7857_10_it_stays() {").as_deref(), Some("7857 10"));
        assert_eq!(id("fn rfc6888_req15_x() {").as_deref(), Some("6888 REQ-15"));
        assert_eq!(id("fn other() {"), None);
    }

    #[test]
    fn what_is_missing_doubled_or_stale_is_found() {
        let missing = check(&Tree::of(&[(PATH, TEXT)]));
        // All rows but two, and the page.
        let all: usize = RFCS.iter().map(|rfc| rfc.ids().len()).sum();
        assert_eq!(missing.len(), all - 2 + 1);
        let page = page(&Tree::of(&[(PATH, TEXT)]));
        assert!(page.contains("| REQ-1 | A \\| B goes on. *(adapted)* | Yes, it does. | But. |"));
        assert_eq!(check(&Tree::of(&[(PATH, TEXT), (PAGE, &page)])).len(), all - 2);
        let twice =
            format!("{TEXT}\n/// C.\n/// Applies: no\n/// Answer: D.\nfn rfc4787_req1_b() {{}}\n");
        let found = check(&Tree::of(&[(PATH, &twice), (PAGE, &page)]));
        let what: Vec<&str> = found.iter().map(|finding| &*finding.what).collect();
        assert!(what.contains(&"RFC 4787 REQ-1 is answered 2 times"), "{what:?}");
        assert!(what.contains(&"`Applies:` of RFC 4787 REQ-1 is `no`"), "{what:?}");
    }
}
