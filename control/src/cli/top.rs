//! `adit top`: the daemon live on a terminal.
//!
//! `poll` asks on a thread of its own, with the requests that other commands have; `screen` is what
//! is looked at and how keys change it, `frame` what it looks like. Both are pure. Workers notice
//! nothing: what is asked is read from their counters and the tables of control.

mod frame;
mod grid;
mod heat;
mod poll;
mod screen;
mod theme;
mod views;
mod words;

use std::env;
use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use poll::Look;
use screen::{After, Screen};
use theme::Theme;

/// How long keys are waited for before answers are looked at again.
const PATIENCE: Duration = Duration::from_millis(50);

/// Why there is no live view.
pub(super) enum TopError {
    /// There is nothing to draw on.
    NoTerminal,
    /// It fails.
    Broken(io::Error),
}

impl fmt::Display for TopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopError::NoTerminal => f.write_str(
                "adit top draws on a terminal, and this is none\n  \
                 in pipes and logs use `adit status --watch`, or `--json` with any command",
            ),
            TopError::Broken(error) => {
                write!(f, "the terminal fails: {error}\n  use `adit status --watch`")
            }
        }
    }
}

impl From<io::Error> for TopError {
    fn from(error: io::Error) -> TopError {
        TopError::Broken(error)
    }
}

/// Shows the daemon at `socket` until somebody quits.
pub(super) fn run(socket: &Path, interval: Duration) -> Result<(), TopError> {
    let is_dumb = env::var_os("TERM").is_none_or(|name| name == "dumb");
    if is_dumb || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    // As https://no-color.org has it: set, and not empty.
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let began = Instant::now();
    let looks = poll::start(socket.to_owned(), interval, began)?;
    let mut screen = Screen::new(Theme { has_colours: !is_plain }, interval);
    let mut terminal = ratatui::try_init()?;
    let outcome = watch(&mut terminal, &mut screen, &looks, began);
    // The terminal is given back whatever happened; a panic does so too.
    let restored = ratatui::try_restore();
    outcome.and(restored).map_err(TopError::from)
}

fn watch(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    looks: &Receiver<Look>,
    began: Instant,
) -> io::Result<()> {
    let mut is_stale = true;
    loop {
        if is_stale {
            terminal.draw(|frame| frame::draw(frame, screen))?;
        }
        is_stale = false;
        if event::poll(PATIENCE)? {
            is_stale = true;
            let seen = event::read()?;
            if let Event::Key(key) = seen
                && key.kind != KeyEventKind::Release
                && screen.press(key) == After::Quit
            {
                return Ok(());
            }
        }
        match looks.try_recv() {
            Ok(Ok(sample)) => screen.take(sample),
            Ok(Err(why)) => screen.lose(&why, began.elapsed()),
            Err(TryRecvError::Empty) => continue,
            Err(TryRecvError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        is_stale = true;
    }
}

#[cfg(test)]
mod tests;
