//! Frames, cell by cell, of a daemon that two looks at have been played.
//!
//! A frame that differs from its file is printed whole, to be judged and then copied there.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};

use super::screen::{After, Screen, View};
use super::theme::Theme;
use super::{frame, heat};
use crate::cli::rates::Sample;
use crate::cli::rates::tests::sample;

const SECOND: Duration = Duration::from_secs(1);

/// A screen that has seen two looks, a second apart.
fn screen(has_colours: bool) -> Screen {
    let mut screen = Screen::new(Theme { has_colours }, SECOND);
    screen.take(Box::new(sample(0)));
    screen.take(Box::new(later()));
    screen
}

fn later() -> Sample {
    let mut later = sample(1);
    later.status.forwarded += 12_345;
    later.status.forwarded_bytes += 12_345_000;
    later.status.received += 12_400;
    later.status.shortcut += 11_000;
    later.status.flows_opened += 150;
    later.status.dropped += 3;
    later.status.devices[0].received += 6_000;
    later.status.devices[4].missed += 5;
    later.drops.iter_mut().find(|drop| drop.count > 0).unwrap().count += 3;
    later.endpoints[0].traffic.bytes_in += 125_000;
    later.endpoints[0].traffic.bytes_out += 1_250_000;
    later.services[0].traffic.bytes_out += 1_250_000;
    later.endpoints[0].refused.nat_ports_exhausted += 2;
    later
}

fn terminal(screen: &mut Screen, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| frame::draw(frame, screen)).unwrap();
    terminal
}

fn text(screen: &mut Screen, width: u16, height: u16) -> String {
    let terminal = terminal(screen, width, height);
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in 0..height {
        let cells = (0..width).map(|column| buffer[(column, row)].symbol());
        text.push_str(cells.collect::<String>().trim_end());
        text.push('\n');
    }
    text
}

/// What is to be said if a frame is not as its file has it.
fn difference(found: &str, expected: &str, name: &str) -> String {
    if found == expected { String::new() } else { format!("{name}.txt differs:\n{found}") }
}

fn press(screen: &mut Screen, keys: &str) -> After {
    keys.chars().fold(After::GoOn, |_, key| screen.press(KeyCode::Char(key).into()))
}

#[test]
fn every_view_fits_a_terminal_of_80_by_24() {
    let mut screen = screen(true);
    let mut differences = String::new();
    for (key, name, expected) in [
        ("1", "overview", include_str!("frames/overview.txt")),
        ("2", "endpoints", include_str!("frames/endpoints.txt")),
        ("3", "services", include_str!("frames/services.txt")),
        ("4", "backends", include_str!("frames/backends.txt")),
        ("5", "ports", include_str!("frames/ports.txt")),
        ("6", "drops", include_str!("frames/drops.txt")),
        ("?", "help", include_str!("frames/help.txt")),
    ] {
        press(&mut screen, key);
        differences += &difference(&text(&mut screen, 80, 24), expected, name);
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn a_wide_terminal_shows_more() {
    let mut screen = screen(true);
    press(&mut screen, "6");
    let shown = text(&mut screen, 130, 12);
    let difference = difference(&shown, include_str!("frames/wide.txt"), "wide");
    assert!(difference.is_empty(), "{difference}");
}

#[test]
fn no_size_of_terminal_ends_it() {
    let mut screen = screen(true);
    for view in ["1", "2", "3", "4", "5", "6", "?"] {
        press(&mut screen, view);
        for (width, height) in [(1, 1), (3, 2), (20, 5), (40, 8), (79, 23), (300, 100)] {
            let lines = text(&mut screen, width, height).lines().count();
            assert_eq!(lines, usize::from(height), "{view} at {width}x{height}");
        }
    }
}

#[test]
fn heat_has_colours_and_marks_and_without_colours_marks_alone() {
    let mut with = screen(true);
    press(&mut with, "5");
    let terminal = terminal(&mut with, 80, 24);
    let cells = terminal.backend().buffer().content();
    for level in 1..=5u8 {
        let mark = heat::mark(level).to_string();
        let found = cells.iter().find(|cell| cell.symbol() == mark);
        let found = found.unwrap_or_else(|| panic!("no cell of heat {level}"));
        assert!(matches!(found.bg, Color::Indexed(_)), "{level}");
    }
    let mut without = screen(false);
    for view in ["1", "2", "3", "4", "5", "6", "?"] {
        press(&mut without, view);
        let terminal = self::terminal(&mut without, 80, 24);
        for cell in terminal.backend().buffer().content() {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "view {view}");
        }
    }
    press(&mut without, " 2");
    let terminal = self::terminal(&mut without, 80, 24);
    let chosen = &terminal.backend().buffer()[(0, 5)];
    assert!(chosen.modifier.contains(Modifier::REVERSED), "chosen without colours, too");
}

#[test]
fn keys_turn_sort_filter_choose_and_quit() {
    let mut screen = screen(true);
    for view in View::ALL.into_iter().cycle().skip(1).take(7) {
        screen.press(KeyCode::Tab.into());
        assert_eq!(screen.view, view);
    }
    screen.press(KeyCode::BackTab.into());
    assert_eq!(screen.view, View::Overview);
    press(&mut screen, "2");
    let first = |screen: &mut Screen| {
        let text = text(screen, 80, 24);
        let row = text.lines().nth(5).unwrap_or_default();
        row.split_whitespace().next().unwrap_or_default().to_owned()
    };
    assert_eq!(first(&mut screen), "pe-a");
    press(&mut screen, "sr");
    assert_eq!(first(&mut screen), "pe-new", "by name, the other way round");
    for _ in 0..5 {
        press(&mut screen, "s");
    }
    assert_eq!(first(&mut screen), "pe-a", "by flows, the most first");
    press(&mut screen, "r");
    assert_eq!(first(&mut screen), "pe-new");
    press(&mut screen, "/CONSUMER-Bq");
    assert!(screen.is_typing, "letters belong to the filter, q too");
    screen.press(KeyCode::Backspace.into());
    screen.press(KeyCode::Enter.into());
    assert!(!text(&mut screen, 80, 24).contains("pe-a "), "filtered");
    assert_eq!(screen.size.0, 2);
    for (key, chosen) in [('j', 1), ('j', 1), ('k', 0), ('G', 1), ('g', 0)] {
        press(&mut screen, &key.to_string());
        assert_eq!(screen.chosen(), chosen, "{key}");
    }
    screen.press(KeyCode::Esc.into());
    assert!(text(&mut screen, 80, 24).contains("pe-a "));
    assert_eq!(press(&mut screen, "?q"), After::GoOn, "q leaves the help first");
    assert_eq!(press(&mut screen, "q"), After::Quit);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(screen.press(control_c), After::Quit);
}

#[test]
fn a_chosen_row_is_seen_however_many_there_are() {
    let mut screen = screen(true);
    let mut many = later();
    let one = many.endpoints[0].clone();
    many.endpoints = (0..10_000)
        .map(|at| {
            let mut endpoint = one.clone();
            endpoint.name = format!("pe-{at}");
            endpoint
        })
        .collect();
    many.at += SECOND;
    screen.take(Box::new(many));
    press(&mut screen, "2");
    assert!(text(&mut screen, 80, 24).contains("pe-0 "));
    press(&mut screen, "G");
    let shown = text(&mut screen, 80, 24);
    assert!(shown.contains("pe-9999 ") && !shown.contains("pe-0 "), "{shown}");
    screen.take(Box::new(Sample { at: 3 * SECOND, ..later() }));
    assert!(text(&mut screen, 80, 24).contains("pe-new"), "fewer rows: the last is chosen");
}

#[test]
fn a_daemon_that_goes_away_is_missed_and_comes_back() {
    let mut fresh = Screen::new(Theme { has_colours: true }, SECOND);
    assert!(text(&mut fresh, 80, 24).contains("connecting"));
    fresh.lose("no daemon answers at /run/adit.sock\n  start it", SECOND);
    let shown = text(&mut fresh, 80, 24);
    assert!(shown.contains("NO ANSWER") && shown.contains("nothing was ever heard"), "{shown}");

    let mut screen = screen(true);
    screen.lose("no daemon answers at /run/adit.sock", 2 * SECOND);
    screen.lose("no daemon answers at /run/adit.sock", 9 * SECOND);
    let shown = text(&mut screen, 80, 24);
    assert!(shown.contains("/run/adit.sock (7 s; what is shown is old)"), "{shown}");
    assert!(shown.contains("consumer-a"), "what was known stays");
    let mut other = later();
    (other.at, other.status.uptime_seconds) = (10 * SECOND, 1);
    screen.take(Box::new(other.clone()));
    let shown = text(&mut screen, 80, 24);
    assert!(shown.contains("restarted") && shown.contains("in -/s"), "no rate yet: {shown}");
    (other.at, other.status.uptime_seconds) = (11 * SECOND, 2);
    screen.take(Box::new(other));
    let shown = text(&mut screen, 80, 24);
    assert!(shown.contains("every 1 s") && shown.contains("in 0/s"), "{shown}");
}

#[test]
fn while_paused_nothing_moves() {
    let mut screen = screen(true);
    press(&mut screen, "p");
    let before = text(&mut screen, 80, 24);
    let mut more = later();
    (more.at, more.status.flows) = (2 * SECOND, 5);
    screen.take(Box::new(more.clone()));
    assert_eq!(text(&mut screen, 80, 24), before);
    press(&mut screen, "p");
    screen.take(Box::new(more));
    assert!(text(&mut screen, 80, 24).contains("  5 flows"));
}
