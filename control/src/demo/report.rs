//! What the demo says: steps, tables, and claims that held or did not.
//!
//! Every claim carries what was expected and what was seen, and prints both when they differ; the
//! count of failed claims decides the exit code. Fits 80 columns. Colour only on a terminal, and
//! not where `NO_COLOR` is set (no-color.org) or the terminal is dumb.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write};

use crate::stop::Stop;

const WIDTH: usize = 80;
const INDENT: usize = 3;

/// A style of a terminal (ECMA-48 select graphic rendition).
#[derive(Clone, Copy)]
enum Style {
    Bold,
    Dim,
    Green,
    Red,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Green => "32",
            Style::Red => "1;31",
        }
    }
}

/// Prints, and keeps the score.
pub(super) struct Report {
    out: Box<dyn Write>,
    coloured: bool,
    stop: Stop,
    steps: usize,
    held: usize,
    failed: usize,
}

impl Report {
    /// A report on standard output. When nobody reads it any more, the demo is asked to stop.
    pub(super) fn to_stdout(stop: Stop) -> Report {
        let stdout = io::stdout();
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        let coloured = stdout.is_terminal() && set("NO_COLOR").is_none() && !dumb;
        Report { out: Box::new(stdout), coloured, stop, steps: 0, held: 0, failed: 0 }
    }

    /// Claims that held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Claims that did not.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    /// Opens the next step.
    pub(super) fn step(&mut self, heading: &str) {
        self.steps += 1;
        let number = self.paint(Style::Dim, &format!("{:>2}", self.steps));
        let heading = self.paint(Style::Bold, heading);
        self.put(&format!("\n{number} {heading}"));
    }

    /// A heading that is no step.
    pub(super) fn heading(&mut self, heading: &str) {
        let heading = self.paint(Style::Bold, heading);
        self.put(&format!("\n{heading}"));
    }

    /// Prose, wrapped.
    pub(super) fn say(&mut self, text: &str) {
        for line in wrap(text, WIDTH - INDENT) {
            self.put(&format!("{:INDENT$}{line}", ""));
        }
    }

    /// One line as it is, for what a person may want to copy.
    pub(super) fn line(&mut self, text: &str) {
        self.put(format!("{:INDENT$}{text}", "").trim_end());
    }

    /// A table with its columns aligned, set apart by empty lines.
    pub(super) fn table(&mut self, table: &Table) {
        self.put("");
        for (at, line) in table.lines().into_iter().enumerate() {
            let line = if at == 0 { self.paint(Style::Dim, &line) } else { line };
            self.put(&format!("{:INDENT$}{line}", ""));
        }
        self.put("");
    }

    /// A claim: it holds if what was seen is what was expected.
    pub(super) fn equal<T: PartialEq + Display>(&mut self, claim: &str, expected: T, seen: T) {
        let holds = expected == seen;
        self.claim(claim, holds, expected, seen);
    }

    /// A claim that was judged by the caller.
    pub(super) fn claim(
        &mut self,
        claim: &str,
        holds: bool,
        expected: impl Display,
        seen: impl Display,
    ) {
        let (mark, style) = if holds { ("✓", Style::Green) } else { ("✗", Style::Red) };
        let mark = self.paint(style, mark);
        let mut lines = wrap(claim, WIDTH - INDENT - 2).into_iter();
        self.put(&format!("{:INDENT$}{mark} {}", "", lines.next().unwrap_or_default()));
        lines.for_each(|line| self.put(&format!("{:INDENT$}  {line}", "")));
        if holds {
            self.held += 1;
            return;
        }
        self.failed += 1;
        self.side("expected:", &expected.to_string());
        self.side("seen:", &seen.to_string());
    }

    /// One side of a claim that does not hold, wrapped under itself.
    fn side(&mut self, name: &str, value: &str) {
        const NAME_WIDTH: usize = 10;
        let indent = INDENT + 4;
        let mut name = name;
        for line in wrap(value, WIDTH - indent - NAME_WIDTH) {
            self.put(&format!("{:indent$}{name:NAME_WIDTH$}{line}", ""));
            name = "";
        }
        if !name.is_empty() {
            self.put(&format!("{:indent$}{name:NAME_WIDTH$}nothing", ""));
        }
    }

    /// The last word: how many claims held.
    pub(super) fn verdict(&mut self, text: &str) {
        let style = if self.failed == 0 { Style::Green } else { Style::Red };
        let text = self.paint(style, text);
        self.put(&format!("\n{text}"));
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.coloured { format!("\x1b[{}m{text}\x1b[0m", style.code()) } else { text.to_owned() }
    }

    fn put(&mut self, line: &str) {
        if writeln!(self.out, "{line}").and_then(|()| self.out.flush()).is_err() {
            self.stop.request();
        }
    }
}

/// Rows of cells; the first row is the heading.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    numbers: Vec<usize>,
}

impl Table {
    /// A table with these column headings.
    pub(super) fn new<const COLUMNS: usize>(headings: [&str; COLUMNS]) -> Table {
        Table { rows: vec![headings.map(str::to_owned).to_vec()], numbers: Vec::new() }
    }

    /// With these columns aligned to the right.
    pub(super) fn right(mut self, columns: &[usize]) -> Table {
        self.numbers = columns.to_vec();
        self
    }

    /// Adds a row.
    pub(super) fn row<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells.into());
    }

    fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let width = |column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
                if self.numbers.contains(&at) {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// A number as people read it: 64,512.
pub(super) struct Count(pub(super) u64);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// A bar of so many eighths of a character.
pub(super) fn bar(value: u64, full: u64, characters: u64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = value.min(full) * characters * 8 / full.max(1);
    let rest = usize::try_from(eighths % 8).unwrap_or(0);
    let whole = usize::try_from(eighths / 8).unwrap_or(0);
    format!("{}{}", "█".repeat(whole), EIGHTHS[rest])
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_bars_and_lines_are_laid_out() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(Count(number).to_string(), text);
        }
        assert_eq!(bar(1, 2, 4), "██");
        assert_eq!(bar(9, 2, 4), "████");
        assert_eq!(bar(1, 16, 2), "▏");
        assert_eq!(wrap("aa bb  cc\ndd", 5), ["aa bb", "cc dd"]);
        assert_eq!(wrap("longer-than-that a", 5), ["longer-than-that", "a"]);
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["name", "count"]).right(&[1]);
        table.row(["a".to_owned(), "1,000".to_owned()]);
        table.row(["longer".to_owned(), "1".to_owned()]);
        assert_eq!(table.lines(), ["name    count", "a       1,000", "longer      1"]);
    }

    #[test]
    fn a_failed_claim_shows_both_sides_and_counts() {
        #[derive(Clone, Default)]
        struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let shared = Shared::default();
        let mut report = Report {
            out: Box::new(shared.clone()),
            coloured: false,
            stop: Stop::default(),
            steps: 0,
            held: 0,
            failed: 0,
        };
        report.equal("one is one", 1, 1);
        report.equal("one is two", 1, 2);
        assert_eq!((report.held(), report.failed()), (1, 1));
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines, ["✓ one is one", "✗ one is two", "expected: 1", "seen:     2"]);
    }
}
