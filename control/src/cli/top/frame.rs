//! One frame: the daemon's rates on top, the view below, keys at the bottom. Pure: the same screen
//! makes the same cells.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::grid::Grid;
use super::screen::{Lost, Screen, View};
use super::theme::Tone;
use super::{heat, views, words};
use crate::api::FastPathState;
use crate::cli::rates::{Pace, Sample};
use crate::cli::render::span;
use crate::cli::table::printable;

/// Rows of what is said of the chosen row.
const DETAIL: u16 = 3;

/// Rows of the graph.
const GRAPH: usize = 4;

const KEYS: &str = "q quit  1-6 Tab view  ↑↓ choose  s sort  r reverse  / filter  p pause  ? help";

const HELP: [(&str, &str); 13] = [
    ("1 to 6, Tab, ← →", "another view"),
    ("↑ ↓ PgUp PgDn Home End, j k g G", "choose a row; the bottom says more of it"),
    ("s", "sort by the next column, or not at all"),
    ("r", "the other way round"),
    ("/", "show only rows with some text in them"),
    ("p, Space", "pause, and go on"),
    ("?", "this page; any key leaves it"),
    ("q, Ctrl-C", "quit"),
    ("", ""),
    ("/S, IN/S, OUT/S", "in a second, between the last two looks"),
    ("by kernel", "of what went out, by the fast path alone"),
    ("FLOWS of backends, services", "NAT ports that their flows hold"),
    ("▲ ▼", "sorted by this column, up or down"),
];

/// A view, ready to be shown.
#[derive(Default)]
struct Page {
    /// Stands still above the rest.
    head: Vec<Line<'static>>,
    lines: Vec<Line<'static>>,
    /// The line that must be seen.
    seen: usize,
    detail: Vec<String>,
    rows: usize,
    columns: usize,
}

/// Draws everything, and notes how much the view has, which keys need to know.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &mut Screen) {
    let [top, body, foot] =
        Layout::vertical([Constraint::Length(4), Constraint::Min(0), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(header(screen, usize::from(top.width))), top);
    frame.render_widget(Paragraph::new(footer(screen)), foot);
    if screen.is_help {
        frame.render_widget(Paragraph::new(help(screen)), body);
        return;
    }
    let page = page(screen, usize::from(body.width));
    screen.measured(page.rows, page.columns);
    show(frame, body, page, screen);
}

fn show(frame: &mut Frame<'_>, area: Rect, page: Page, screen: &Screen) {
    let head_rows = u16::try_from(page.head.len()).unwrap_or(u16::MAX);
    // A small terminal needs its rows for the table.
    let has_room = area.height >= 10 && !page.detail.is_empty();
    let detail_rows = if has_room { DETAIL + 1 } else { 0 };
    let [head, list, detail] = Layout::vertical([
        Constraint::Length(head_rows),
        Constraint::Min(0),
        Constraint::Length(detail_rows),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(page.head), head);
    let height = usize::from(list.height);
    let above = (page.seen + 1).saturating_sub(height);
    let lines: Vec<Line<'_>> = page.lines.into_iter().skip(above).take(height).collect();
    frame.render_widget(Paragraph::new(lines), list);
    if has_room {
        let rule = "─".repeat(usize::from(detail.width));
        let mut lines = vec![Line::styled(rule, screen.theme.style(Tone::Faint))];
        lines.extend(page.detail.iter().map(|text| Line::from(printable(text))));
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), detail);
    }
}

fn header(screen: &Screen, width: usize) -> Vec<Line<'static>> {
    let style = |tone| screen.theme.style(tone);
    let mut first = vec![Span::styled("adit", style(Tone::Title))];
    let mut second = Line::default();
    if let Some(sample) = &screen.sample {
        let status = &sample.status;
        // Narrow screens have no room for what changes least.
        let generation = match width {
            0..70 => String::new(),
            _ => format!("  generation {}", status.generation),
        };
        first.push(Span::raw(format!(
            " {}  up {}{generation}  {} flows",
            printable(&status.adit),
            span(status.uptime_seconds),
            words::count(status.flows)
        )));
        second = pace(screen, sample);
    }
    let (tone, mark) = match (&screen.lost, &screen.sample) {
        (Some(_), _) => (Tone::Bad, "NO ANSWER".to_owned()),
        (None, None) => (Tone::Faint, "connecting".to_owned()),
        _ if screen.is_paused => (Tone::Warn, "paused".to_owned()),
        _ if screen.rates.is_restarted => (Tone::Warn, "restarted".to_owned()),
        _ => (Tone::Good, format!("every {} s", screen.interval.as_secs_f64())),
    };
    let used: usize = first.iter().map(Span::width).sum();
    let blanks = width.saturating_sub(used + mark.chars().count());
    first.push(Span::raw(" ".repeat(blanks)));
    first.push(Span::styled(mark, style(tone)));
    if let Some(lost) = &screen.lost {
        second = Line::styled(complaint(lost, screen.sample.is_some()), style(Tone::Bad));
    }
    vec![Line::from(first), second, tabs(screen), Line::default()]
}

fn complaint(lost: &Lost, has_sample: bool) -> String {
    let seconds = lost.now.saturating_sub(lost.since).as_secs();
    let old = if has_sample { "what is shown is old" } else { "nothing was ever heard" };
    format!("{} ({seconds} s; {old})", printable(&lost.why))
}

fn pace(screen: &Screen, sample: &Sample) -> Line<'static> {
    let Pace { received, forwarded, forwarded_bytes, shortcut, opened, dropped, .. } =
        screen.rates.pace;
    let rate = |value: Option<f64>| value.map_or("-".to_owned(), words::rate);
    let bits = forwarded_bytes.map_or("-".to_owned(), words::bits);
    let tone = if dropped.is_some_and(|rate| rate > 0.0) { Tone::Warn } else { Tone::Plain };
    let mut spans = vec![
        Span::raw(format!(
            "in {}/s  out {}/s {bits}  new {}/s  ",
            rate(received),
            rate(forwarded),
            rate(opened)
        )),
        Span::styled(format!("dropped {}/s", rate(dropped)), screen.theme.style(tone)),
    ];
    if let (FastPathState::On, Some(short), Some(all)) =
        (sample.status.fast_path.state, shortcut, forwarded.filter(|all| *all > 0.0))
    {
        let share = (short * 100.0 / all).min(100.0);
        spans.push(Span::raw(format!("  by kernel {}", words::short_percent(share))));
    }
    Line::from(spans)
}

fn tabs(screen: &Screen) -> Line<'static> {
    let mut spans = Vec::new();
    for (at, view) in View::ALL.into_iter().enumerate() {
        let tone = if view == screen.view { Tone::Chosen } else { Tone::Faint };
        let text = format!(" {} {} ", at + 1, view.title());
        spans.push(Span::styled(text, screen.theme.style(tone)));
    }
    Line::from(spans)
}

fn footer(screen: &Screen) -> Line<'static> {
    let filter = printable(&screen.filter);
    if screen.is_typing {
        return Line::from(format!("filter: {filter}_  (Enter keeps it, Esc takes it back)"));
    }
    if screen.filter.is_empty() {
        return Line::styled(KEYS, screen.theme.style(Tone::Faint));
    }
    let text = format!("only rows with \"{filter}\"  Esc all  / another  q quit  ? help");
    Line::styled(text, screen.theme.style(Tone::Warn))
}

fn help(screen: &Screen) -> Vec<Line<'static>> {
    let line = |(key, what): &(&'static str, &'static str)| {
        let key = Span::styled(format!("{key:<33}"), screen.theme.style(Tone::Title));
        Line::from(vec![key, Span::raw(*what)])
    };
    HELP.iter().map(line).collect()
}

fn page(screen: &Screen, width: usize) -> Page {
    let Some(sample) = &screen.sample else { return Page::default() };
    let rates = &screen.rates;
    match screen.view {
        View::Overview => overview(screen, sample, width),
        View::Endpoints => table(screen, views::endpoints(sample, rates), width),
        View::Services => table(screen, views::services(sample, &screen.rates), width),
        View::Backends => table(screen, views::backends(sample), width),
        View::Ports => ports(screen, sample, width),
        View::Drops => table(screen, views::drops(sample, rates), width),
    }
}

fn table(screen: &Screen, grid: Grid, width: usize) -> Page {
    let grid = grid.arranged(&screen.filter, screen.sort());
    let (rows, columns) = (grid.len(), grid.width());
    let chosen = screen.chosen().min(rows.saturating_sub(1));
    let (head, lines) = grid.lines(width, screen.theme, Some(chosen));
    let detail = grid.detail(chosen).to_vec();
    Page { head: vec![head], lines, seen: chosen, detail, rows, columns }
}

/// The maps of all services below each other; rows are chosen as if they were one table.
fn ports(screen: &Screen, sample: &Sample, width: usize) -> Page {
    let maps = heat::maps(sample, width, &screen.filter, screen.sort());
    let mut page = Page { head: vec![legend(screen), Line::default()], ..Page::default() };
    page.rows = maps.iter().map(|(_, grid)| grid.len()).sum();
    page.columns = maps.iter().map(|(_, grid)| grid.width()).max().unwrap_or(0);
    let mut left = screen.chosen().min(page.rows.saturating_sub(1));
    let mut is_found = false;
    for (title, grid) in maps {
        let chosen = Some(left).filter(|&left| !is_found && left < grid.len());
        let (head, lines) = grid.lines(width, screen.theme, chosen);
        page.lines.push(Line::styled(title, screen.theme.style(Tone::Plain)));
        page.lines.push(head);
        if let Some(chosen) = chosen {
            is_found = true;
            page.seen = page.lines.len() + chosen;
            page.detail = grid.detail(chosen).to_vec();
        }
        left = left.saturating_sub(grid.len());
        page.lines.extend(lines);
        page.lines.push(Line::default());
    }
    if page.rows == 0 {
        let none = "There is no port pool: no rule has a backend, or the filter hides them.";
        page.lines.push(Line::styled(none, screen.theme.style(Tone::Faint)));
    }
    page
}

fn legend(screen: &Screen) -> Line<'static> {
    let mut spans = vec![Span::raw("How full the ports of each NAT IP are:  ")];
    for (level, from) in heat::LEGEND {
        let text = format!("{} {from} ", heat::mark(level));
        spans.push(Span::styled(text, screen.theme.style(Tone::Heat(level))));
    }
    Line::from(spans)
}

fn overview(screen: &Screen, sample: &Sample, width: usize) -> Page {
    let style = |tone| screen.theme.style(tone);
    let most = screen.history.iter().copied().fold(0.0, f64::max);
    let graph_title = format!("Packets forwarded in a second; the most was {}", words::rate(most));
    let mut lines = vec![Line::styled(graph_title, style(Tone::Plain))];
    lines.extend(graph(screen, width, most));
    lines.push(Line::default());
    for grid in [views::devices(screen, sample), views::workers(sample)] {
        let (head, rows) = grid.lines(width, screen.theme, None);
        lines.push(head);
        lines.extend(rows);
        lines.push(Line::default());
    }
    lines.pop();
    let rows = lines.len();
    Page { seen: screen.chosen(), rows, lines, ..Page::default() }
}

/// Bars from the right, each a look; every row has eight steps.
fn graph(screen: &Screen, width: usize, most: f64) -> Vec<Line<'static>> {
    const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let full = STEPS.len() - 1;
    let skipped = screen.history.len().saturating_sub(width);
    let heights: Vec<usize> = screen
        .history
        .iter()
        .skip(skipped)
        .map(|value| {
            let share = if most > 0.0 { value / most } else { 0.0 };
            let all = (GRAPH * full) as f64;
            // What is not nothing is seen.
            let least = usize::from(*value > 0.0);
            (0..=GRAPH * full)
                .rev()
                .find(|&step| step as f64 <= share * all)
                .unwrap_or(0)
                .max(least)
        })
        .collect();
    let pad = " ".repeat(width.saturating_sub(heights.len()));
    let rows = (0..GRAPH).rev().map(|row| {
        let bars = heights.iter().map(|height| STEPS[height.saturating_sub(row * full).min(full)]);
        let bars = bars.collect::<String>();
        Line::styled(format!("{pad}{bars}"), screen.theme.style(Tone::Good))
    });
    rows.collect()
}
