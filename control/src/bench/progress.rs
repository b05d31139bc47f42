//! What is said while it runs, on standard error: one line that is redrawn on a terminal, a line a
//! second elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::ladder::Rung;
use super::report::{grouped, micros};
use super::series::Second;
use super::shown;
use super::tally::Tally;

/// See the module's documentation.
pub(super) struct Progress {
    /// Nothing is shown without one.
    began: Option<Instant>,
    is_terminal: bool,
    said: Duration,
    rung: Option<Rung>,
}

impl Progress {
    pub(super) fn new(is_quiet: bool) -> Progress {
        let began = (!is_quiet).then(Instant::now);
        let is_terminal = io::stderr().is_terminal();
        Progress { began, is_terminal, said: Duration::ZERO, rung: None }
    }

    /// A step begins.
    pub(super) fn step(&mut self, rung: Rung) {
        self.rung = Some(rung);
        self.said = Duration::ZERO;
        self.began = self.began.map(|_| Instant::now());
    }

    /// So far, and in the last second.
    pub(super) fn show(
        &mut self,
        tally: &Tally,
        open: usize,
        latest: impl FnOnce() -> Option<Second>,
    ) {
        let (Some(began), Some(rung)) = (self.began, self.rung) else { return };
        let time = began.elapsed();
        let pause = Duration::from_millis(if self.is_terminal { 200 } else { 1000 });
        if time < self.said + pause {
            return;
        }
        self.said = time;
        let line = line(rung, time, tally, open, latest());
        let (before, after) = if self.is_terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        say(&format!("{before}{line}{after}"));
    }

    /// Leaves an empty line behind.
    pub(super) fn clear(&self) {
        if self.is_terminal && self.began.is_some() {
            say("\r\x1b[K");
        }
    }
}

fn say(text: &str) {
    // If nobody listens it goes on as well.
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn line(rung: Rung, time: Duration, tally: &Tally, open: usize, latest: Option<Second>) -> String {
    let aim = match rung.rate {
        Some(rate) => format!("{} a second", grouped(rate)),
        None => format!("{} flows", grouped(rung.flows as f64)),
    };
    let (time, open) = (shown(time), grouped(open as f64));
    if tally.started == 0 {
        return format!("{time} of {aim}: warming up, {open} open");
    }
    let done = grouped(tally.completed as f64);
    let mut line = format!("{time} of {aim}: {done} done, {open} open");
    if let Some(second) = latest {
        line += &format!(", {} in the last second", grouped(second.completed as f64));
        let p99 = second.p99_us.map(|p99| format!(", p99 {}", micros(p99)));
        line += &p99.unwrap_or_default();
    }
    if tally.failed() > 0 {
        line += &format!(", {} failed", grouped(tally.failed() as f64));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::fault::Fault;

    #[test]
    fn a_line_says_how_it_goes() {
        let mut tally = Tally { started: 12_350, completed: 12_345, ..Tally::default() };
        let rung = Rung { flows: 16, rate: Some(1000.0) };
        let time = Duration::from_millis(1500);
        let warm_up = line(rung, time, &Tally::default(), 7, None);
        assert_eq!(warm_up, "1.5 s of 1,000 a second: warming up, 7 open");
        assert_eq!(
            line(rung, time, &tally, 7, None),
            "1.5 s of 1,000 a second: 12,345 done, 7 open"
        );
        tally.fail(Fault::Reset);
        let second = Second { completed: 990, p99_us: Some(81.0), ..Second::default() };
        assert_eq!(
            line(Rung { rate: None, ..rung }, time, &tally, 7, Some(second)),
            "1.5 s of 16 flows: 12,345 done, 7 open, 990 in the last second, p99 81 us, 1 failed"
        );
    }
}
