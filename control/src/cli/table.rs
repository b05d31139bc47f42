//! Tables for people: columns as wide as their widest cell, numbers to the right.

use std::net::IpAddr;

/// Addresses in a cell.
pub(super) fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// A table under construction.
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A header that ends with `#` makes a column of numbers.
    pub(super) fn new(header: &[&'static str]) -> Table {
        Table { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the header are left out.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().take(self.header.len());
        self.rows.push(cells.map(|cell| printable(&cell)).collect());
    }

    /// The lines of the table, without blanks at their ends; only `empty` if there is no row.
    pub(super) fn render(&self, empty: &str) -> String {
        if self.rows.is_empty() {
            return format!("{empty}\n");
        }
        let titles: Vec<String> =
            self.header.iter().map(|title| title.trim_end_matches('#').to_owned()).collect();
        let mut widths: Vec<usize> = titles.iter().map(|title| title.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), title) in row.iter().zip(&widths).zip(&self.header) {
                let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
                if title.ends_with('#') {
                    line.push_str(&pad);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&pad);
                }
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Text that cannot steer a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let mut table = Table::new(&["NAME", "COUNT#", "WHY"]);
        assert_eq!(table.render("nothing"), "nothing\n");
        table.row(["a", "5", "x"].map(str::to_owned));
        table.row(["longer", "12345678", ""].map(str::to_owned));
        table.row(["\x1b[2J", "1", "é"].map(str::to_owned));
        let lines = [
            "NAME       COUNT  WHY",
            "a              5  x",
            "longer  12345678",
            "?[2J           1  é",
        ];
        assert_eq!(table.render(""), lines.join("\n") + "\n");
    }
}
