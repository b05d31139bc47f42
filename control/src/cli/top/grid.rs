//! Tables that fit a width: columns as wide as their content, the least important ones left out.

use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::theme::{Theme, Tone};
use crate::cli::table::printable;

/// Blanks between columns.
const GAP: usize = 2;

/// What a cell is sorted by.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Order {
    Text(String),
    Number(f64),
}

/// A cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    order: Order,
    tone: Tone,
}

impl Cell {
    pub(super) fn text(text: &str) -> Cell {
        let text = printable(text);
        Cell { order: Order::Text(text.to_lowercase()), text, tone: Tone::Plain }
    }

    /// A number and how it is shown.
    pub(super) fn number(value: f64, text: String) -> Cell {
        Cell { text, order: Order::Number(value), tone: Tone::Plain }
    }

    /// A count.
    pub(super) fn count(value: u64) -> Cell {
        Cell::number(value as f64, super::words::count(value))
    }

    /// A rate, or nothing where there is none yet.
    pub(super) fn rate(value: Option<f64>) -> Cell {
        Cell::number(value.unwrap_or(-1.0), value.map_or("-".to_owned(), super::words::rate))
    }

    /// Bytes in a second as bits, or nothing where there is no rate yet.
    pub(super) fn bits(bytes: Option<f64>) -> Cell {
        Cell::rate(bytes.map(|bytes| bytes * 8.0))
    }

    pub(super) fn tone(self, tone: Tone) -> Cell {
        Cell { tone, ..self }
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
struct Column {
    title: &'static str,
    is_number: bool,
    /// Of columns that do not fit, those with the highest go first; 0 never does.
    rank: u8,
}

/// How rows are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sort {
    /// By which column; as the daemon has them, if by none.
    pub(super) column: Option<usize>,
    pub(super) is_reversed: bool,
}

/// Columns and rows; a row may stand for something that has more to say.
#[derive(Clone, Debug, Default)]
pub(super) struct Grid {
    columns: Vec<Column>,
    titles: Vec<String>,
    rows: Vec<Row>,
    /// What is said if there is no row.
    empty: &'static str,
}

/// A row: its cells, and what is said of it when it is chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    pub(super) detail: Vec<String>,
}

impl Grid {
    /// Columns by title and rank; a title that ends with `#` makes a column of numbers.
    pub(super) fn new(columns: &[(&'static str, u8)], empty: &'static str) -> Grid {
        let column = |&(title, rank): &(&'static str, u8)| Column {
            title: title.trim_end_matches('#'),
            is_number: title.ends_with('#'),
            rank,
        };
        let columns: Vec<Column> = columns.iter().map(column).collect();
        let titles = columns.iter().map(|column| column.title.to_owned()).collect();
        Grid { columns, titles, rows: Vec::new(), empty }
    }

    /// One more column, of cells that belong together, with a title that is found at run time.
    pub(super) fn column(&mut self, title: String) {
        self.columns.push(Column { title: "", is_number: true, rank: 0 });
        self.titles.push(title);
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>, detail: Vec<String>) {
        self.rows.push(Row { cells: cells.into_iter().collect(), detail });
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    pub(super) fn detail(&self, row: usize) -> &[String] {
        self.rows.get(row).map_or(&[], |row| &row.detail)
    }

    /// Only rows in which some text has `filter` in it, in the order that `sort` says.
    pub(super) fn arranged(mut self, filter: &str, sort: Sort) -> Grid {
        let filter = filter.to_lowercase();
        let has = |cell: &Cell| matches!(&cell.order, Order::Text(text) if text.contains(&filter));
        self.rows.retain(|row| filter.is_empty() || row.cells.iter().any(has));
        if let Some(at) = sort.column.filter(|&at| at < self.columns.len()) {
            let order = |row: &Row| row.cells.get(at).map(|cell| cell.order.clone());
            let compare = |a: &Row, b: &Row| {
                let ascending = order(a).partial_cmp(&order(b));
                let ascending = ascending.unwrap_or(std::cmp::Ordering::Equal);
                // The largest numbers first, but names from the beginning.
                let is_descending = self.columns[at].is_number != sort.is_reversed;
                if is_descending { ascending.reverse() } else { ascending }
            };
            self.rows.sort_by(compare);
            let is_descending = self.columns[at].is_number != sort.is_reversed;
            self.titles[at].push(if is_descending { '▼' } else { '▲' });
        }
        self
    }

    /// Which columns fit, each with its width.
    fn fitting(&self, width: usize) -> Vec<(usize, usize)> {
        let widest = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(at));
            let cells = cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0);
            cells.max(self.titles[at].chars().count())
        };
        let mut shown: Vec<(usize, usize)> =
            (0..self.columns.len()).map(|at| (at, widest(at))).collect();
        loop {
            let total: usize = shown.iter().map(|(_, width)| width + GAP).sum();
            let least = shown.iter().map(|&(at, _)| self.columns[at].rank).max().unwrap_or(0);
            if total <= width + GAP || least == 0 {
                return shown;
            }
            let last = shown.iter().rposition(|&(at, _)| self.columns[at].rank == least);
            shown.remove(last.unwrap_or(0));
        }
    }

    /// The line of titles, and one for each row.
    pub(super) fn lines(
        &self,
        width: usize,
        theme: Theme,
        chosen: Option<usize>,
    ) -> (Line<'static>, Vec<Line<'static>>) {
        if self.rows.is_empty() {
            let said = Span::styled(self.empty, theme.style(Tone::Faint));
            return (Line::default(), vec![Line::from(said)]);
        }
        let shown = self.fitting(width);
        let mut head = Vec::new();
        for &(at, wide) in &shown {
            let title = self.align(at, &self.titles[at], wide);
            head.push(Span::styled(title, theme.style(Tone::Title)));
            head.push(Span::raw(" ".repeat(GAP)));
        }
        let rows = self.rows.iter().enumerate().map(|(number, row)| {
            let mut spans = Vec::new();
            for &(at, wide) in &shown {
                let (text, tone) =
                    row.cells.get(at).map_or(("", Tone::Plain), |cell| (&cell.text, cell.tone));
                let mut style = theme.style(tone);
                if matches!(tone, Tone::Heat(1..)) {
                    // Its background says something also where the row is chosen.
                    style = style.remove_modifier(Modifier::REVERSED);
                }
                spans.push(Span::styled(self.align(at, text, wide), style));
                spans.push(Span::raw(" ".repeat(GAP)));
            }
            let line = Line::from(spans);
            if chosen == Some(number) { line.style(theme.style(Tone::Chosen)) } else { line }
        });
        (Line::from(head), rows.collect())
    }

    fn align(&self, at: usize, text: &str, width: usize) -> String {
        if self.columns[at].is_number {
            format!("{text:>width$}")
        } else {
            format!("{text:<width$}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEME: Theme = Theme { has_colours: false };

    fn grid() -> Grid {
        let mut grid = Grid::new(&[("NAME", 0), ("COUNT#", 1), ("WHY", 2)], "nothing");
        for (name, count, why) in [("b", 5, "Some"), ("a", 12_000, "other"), ("c", 7, "some")] {
            grid.row([Cell::text(name), Cell::count(count), Cell::text(why)], Vec::new());
        }
        grid
    }

    fn shown(grid: &Grid, width: usize) -> Vec<String> {
        let (head, lines) = grid.lines(width, THEME, None);
        let text = |line: &Line<'_>| line.to_string().trim_end().to_owned();
        std::iter::once(&head).chain(&lines).map(text).collect()
    }

    #[test]
    fn what_does_not_fit_goes_by_rank() {
        assert_eq!(
            shown(&grid(), 20),
            [
                "NAME   COUNT  WHY",
                "b          5  Some",
                "a     12,000  other",
                "c          7  some"
            ]
        );
        assert_eq!(
            shown(&grid(), 12),
            ["NAME   COUNT", "b          5", "a     12,000", "c          7"]
        );
        assert_eq!(shown(&grid(), 3), ["NAME", "b", "a", "c"], "the first one always stays");
    }

    #[test]
    fn rows_are_sorted_and_filtered() {
        let by = |column, is_reversed| Sort { column: Some(column), is_reversed };
        let names = |grid: Grid| {
            let lines = shown(&grid, 4);
            lines[1..].join("")
        };
        assert_eq!(names(grid().arranged("", Sort::default())), "bac");
        assert_eq!(names(grid().arranged("", by(0, false))), "abc");
        assert_eq!(names(grid().arranged("", by(1, false))), "acb", "the largest first");
        assert_eq!(names(grid().arranged("", by(1, true))), "bca");
        assert_eq!(names(grid().arranged("SOME", by(0, true))), "cb");
        assert_eq!(names(grid().arranged("12", Sort::default())), "nothing", "numbers are no text");
        assert_eq!(names(grid().arranged("", by(9, false))), "bac", "no such column");
    }
}
