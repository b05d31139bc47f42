//! `cargo xtask picture CAPTURE`: what a terminal shows, as SVG on standard output.
//!
//! The capture is text with escape sequences for colours, as `tmux capture-pane -e -p` prints it.
//! Of the sequences only colours and emphasis are understood (SGR); others are left out.

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

/// Width and height of a cell, in pixels.
const CELL: (f64, f64) = (8.4, 18.0);

/// What a terminal has where nobody chose a colour.
const BACK: &str = "#10151c";
const FRONT: &str = "#dce3ea";

/// The 16 colours that have names.
const NAMED: [&str; 16] = [
    "#20262e", "#ff6b63", "#3fb950", "#d9a227", "#58a6ff", "#bc8cff", "#39c5cf", "#b1bac4",
    "#6e7681", "#ff8b85", "#56d364", "#e3b341", "#79c0ff", "#d2a8ff", "#56d4dd", "#ffffff",
];

/// How a run of cells looks.
#[derive(Clone, Debug, Default, PartialEq)]
struct Look {
    front: Option<String>,
    back: Option<String>,
    is_bold: bool,
    is_faint: bool,
    is_reversed: bool,
}

/// Prints the picture.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [path] = arguments else {
        eprintln!("picture: name one file, made by `tmux capture-pane -e -p`");
        return ExitCode::from(2);
    };
    match fs::read_to_string(path) {
        Ok(text) => {
            print!("{}", svg(&text));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("picture: cannot read {path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn svg(text: &str) -> String {
    let mut look = Look::default();
    let rows: Vec<Vec<(Look, String)>> = text.lines().map(|line| runs(line, &mut look)).collect();
    let cells = |row: &Vec<(Look, String)>| row.iter().map(|(_, text)| text.chars().count()).sum();
    let columns = rows.iter().map(cells).max().unwrap_or(0usize).max(80);
    let (width, height) = (columns as f64 * CELL.0 + 24.0, rows.len() as f64 * CELL.1 + 24.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" font-size=\"14\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACK}\"/>\n"
    );
    for (at, row) in rows.iter().enumerate() {
        let top = 12.0 + at as f64 * CELL.1;
        let mut column = 0;
        for (look, text) in row {
            draw(&mut svg, look, text, (12.0 + column as f64 * CELL.0, top));
            column += text.chars().count();
        }
    }
    svg + "</svg>\n"
}

fn draw(svg: &mut String, look: &Look, text: &str, (left, top): (f64, f64)) {
    let width = text.chars().count() as f64 * CELL.0;
    let front = look.front.as_deref().unwrap_or(FRONT);
    let back = look.back.as_deref();
    let (front, back) = match look.is_reversed {
        true => (back.unwrap_or(BACK), Some(front)),
        false => (front, back),
    };
    // Writing to a string cannot fail.
    if let Some(back) = back {
        let height = CELL.1;
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height}\" \
             fill=\"{back}\"/>"
        );
    }
    if text.trim().is_empty() {
        return;
    }
    let weight = if look.is_bold { " font-weight=\"700\"" } else { "" };
    let opacity = if look.is_faint { " opacity=\"0.6\"" } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let base = top + 13.5;
    let _ = writeln!(
        svg,
        "<text x=\"{left:.1}\" y=\"{base:.1}\" textLength=\"{width:.1}\" xml:space=\"preserve\" \
         fill=\"{front}\"{weight}{opacity}>{text}</text>"
    );
}

/// The runs of a line that look the same; `look` goes on from line to line.
fn runs(line: &str, look: &mut Look) -> Vec<(Look, String)> {
    let mut runs: Vec<(Look, String)> = Vec::new();
    let mut rest = line;
    while let Some(letter) = rest.chars().next() {
        if let Some(sequence) = rest.strip_prefix("\x1b[") {
            let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(sequence.len());
            let (numbers, after) = sequence.split_at(end);
            if after.starts_with('m') {
                apply(look, numbers);
            }
            rest = after.get(1..).unwrap_or_default();
            continue;
        }
        rest = &rest[letter.len_utf8()..];
        match runs.last_mut() {
            Some((last, text)) if last == look => text.push(letter),
            _ => runs.push((look.clone(), letter.to_string())),
        }
    }
    runs
}

fn apply(look: &mut Look, numbers: &str) {
    let mut numbers = numbers.split([';', ':']).map(|number| number.parse().unwrap_or(0));
    while let Some(number) = numbers.next() {
        match number {
            0 => *look = Look::default(),
            1 => look.is_bold = true,
            2 => look.is_faint = true,
            7 => look.is_reversed = true,
            22 => (look.is_bold, look.is_faint) = (false, false),
            27 => look.is_reversed = false,
            30..=37 => look.front = Some(indexed(number - 30)),
            90..=97 => look.front = Some(indexed(number - 82)),
            40..=47 => look.back = Some(indexed(number - 40)),
            100..=107 => look.back = Some(indexed(number - 92)),
            38 | 48 => {
                let colour = numbers.nth(1).map(indexed);
                *(if number == 38 { &mut look.front } else { &mut look.back }) = colour;
            }
            39 => look.front = None,
            49 => look.back = None,
            _ => {}
        }
    }
}

/// A colour of the palette of 256.
fn indexed(number: usize) -> String {
    if let Some(named) = NAMED.get(number) {
        return (*named).to_owned();
    }
    if number >= 232 {
        let grey = 8 + (number - 232) * 10;
        return format!("#{grey:02x}{grey:02x}{grey:02x}");
    }
    let step = |part: usize| if part == 0 { 0 } else { 55 + part * 40 };
    let at = number - 16;
    format!("#{:02x}{:02x}{:02x}", step(at / 36), step(at / 6 % 6), step(at % 6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_rectangles_and_text() {
        let svg = svg("a\x1b[38;5;16;48;5;178mb<\x1b[0m \x1b[7mc\n");
        assert!(svg.contains(">a</text>") && svg.contains(">b&lt;</text>"), "{svg}");
        assert!(svg.contains("width=\"16.8\" height=\"18\" fill=\"#d7af00\""), "{svg}");
        assert!(svg.contains(&format!("fill=\"{FRONT}\"/>")), "reversed: {svg}");
        assert_eq!(indexed(255), "#eeeeee");
        assert_eq!(svg.matches("<text").count(), 3);
    }
}
