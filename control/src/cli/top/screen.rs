//! What is looked at, and what keys and answers change in it. Pure: no terminal, no clock.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::grid::Sort;
use super::theme::Theme;
use crate::cli::rates::{Rates, Sample};

/// Looks that the graph remembers at most; more than a terminal is wide.
const HISTORY: usize = 400;

/// Characters of a filter at most.
const FILTER_MAX: usize = 60;

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Overview,
    Endpoints,
    Services,
    Backends,
    Ports,
    Drops,
}

impl View {
    pub(super) const ALL: [View; 6] =
        [View::Overview, View::Endpoints, View::Services, View::Backends, View::Ports, View::Drops];

    pub(super) fn title(self) -> &'static str {
        match self {
            View::Overview => "Overview",
            View::Endpoints => "Endpoints",
            View::Services => "Services",
            View::Backends => "Backends",
            View::Ports => "NAT ports",
            View::Drops => "Drops",
        }
    }

    pub(super) fn at(self) -> usize {
        View::ALL.iter().position(|view| *view == self).unwrap_or(0)
    }
}

/// Whether to go on after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    GoOn,
    Quit,
}

/// The daemon does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) why: String,
    pub(super) since: Duration,
    pub(super) now: Duration,
}

/// Everything that a frame is made of.
pub(super) struct Screen {
    pub(super) theme: Theme,
    pub(super) interval: Duration,
    pub(super) view: View,
    pub(super) sample: Option<Box<Sample>>,
    pub(super) rates: Rates,
    /// Packets forwarded in a second, oldest first.
    pub(super) history: VecDeque<f64>,
    pub(super) lost: Option<Lost>,
    /// How each view is sorted.
    pub(super) sorts: [Sort; View::ALL.len()],
    /// The row that is chosen in each.
    pub(super) chosen: [usize; View::ALL.len()],
    /// Rows and columns that the view had when it was drawn last.
    pub(super) size: (usize, usize),
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    pub(super) is_help: bool,
}

impl Screen {
    pub(super) fn new(theme: Theme, interval: Duration) -> Screen {
        Screen {
            theme,
            interval,
            view: View::Overview,
            sample: None,
            rates: Rates::default(),
            history: VecDeque::new(),
            lost: None,
            sorts: [Sort::default(); View::ALL.len()],
            chosen: [0; View::ALL.len()],
            size: (0, 0),
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            is_help: false,
        }
    }

    pub(super) fn sort(&self) -> Sort {
        self.sorts[self.view.at()]
    }

    pub(super) fn chosen(&self) -> usize {
        self.chosen[self.view.at()]
    }

    /// The daemon has answered.
    pub(super) fn take(&mut self, sample: Box<Sample>) {
        self.lost = None;
        if self.is_paused {
            return;
        }
        self.rates = match &self.sample {
            Some(before) => Rates::between(before, &sample),
            None => Rates::default(),
        };
        if self.rates.is_restarted {
            self.history.clear();
        }
        if let Some(forwarded) = self.rates.pace.forwarded {
            self.history.push_back(forwarded);
            self.history.drain(..self.history.len().saturating_sub(HISTORY));
        }
        self.sample = Some(sample);
    }

    /// It has not; what is shown stays, and is marked as old.
    pub(super) fn lose(&mut self, why: &str, now: Duration) {
        let since = self.lost.as_ref().map_or(now, |lost| lost.since);
        let why = why.lines().next().unwrap_or_default().to_owned();
        self.lost = Some(Lost { why, since, now });
        self.rates = Rates::default();
    }

    /// Somebody has pressed a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> After {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && matches!(key.code, KeyCode::Char('c' | 'q')) {
            return After::Quit;
        }
        if self.is_typing {
            self.type_filter(key.code);
            return After::GoOn;
        }
        if self.is_help {
            self.is_help = false;
            return After::GoOn;
        }
        match key.code {
            KeyCode::Char('q') => return After::Quit,
            KeyCode::Esc if self.filter.is_empty() => return After::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('?' | 'h') => self.is_help = true,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('p' | ' ') => self.is_paused = !self.is_paused,
            KeyCode::Char(digit @ '1'..='6') => {
                let at = (digit as usize).wrapping_sub('1' as usize);
                self.view = View::ALL[at.min(View::ALL.len() - 1)];
            }
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(View::ALL.len() - 1),
            KeyCode::Char('s') => self.sort_by_next(),
            KeyCode::Char('r') => {
                let sort = &mut self.sorts[self.view.at()];
                sort.is_reversed = !sort.is_reversed;
            }
            other => self.choose(other),
        }
        After::GoOn
    }

    fn turn(&mut self, by: usize) {
        self.view = View::ALL[(self.view.at() + by) % View::ALL.len()];
    }

    fn sort_by_next(&mut self) {
        let (_, columns) = self.size;
        let sort = &mut self.sorts[self.view.at()];
        let next = sort.column.map_or(0, |column| column + 1);
        *sort = Sort { column: Some(next).filter(|&next| next < columns), is_reversed: false };
    }

    fn choose(&mut self, key: KeyCode) {
        const PAGE: usize = 10;
        let last = self.size.0.saturating_sub(1);
        let chosen = &mut self.chosen[self.view.at()];
        *chosen = match key {
            KeyCode::Down | KeyCode::Char('j') => *chosen + 1,
            KeyCode::Up | KeyCode::Char('k') => chosen.saturating_sub(1),
            KeyCode::PageDown => *chosen + PAGE,
            KeyCode::PageUp => chosen.saturating_sub(PAGE),
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => last,
            _ => *chosen,
        }
        .min(last);
    }

    fn type_filter(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) if self.filter.chars().count() < FILTER_MAX => {
                self.filter.push(letter);
            }
            _ => {}
        }
    }

    /// What the view turned out to have; who chose a row beyond its end has chosen the last.
    pub(super) fn measured(&mut self, rows: usize, columns: usize) {
        self.size = (rows, columns);
        let chosen = &mut self.chosen[self.view.at()];
        *chosen = (*chosen).min(rows.saturating_sub(1));
    }
}
