//! What a bench came to, in words for people; [`super::page`] makes a page of the same.

use std::fmt::Write;

use serde::Serialize;

use super::fault::Fault;
use super::machine::Machine;
use super::outcome::{PERCENTILES, Step};

/// All that there is to say. Serialised it is the JSON of `--json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) program: &'static str,
    pub(super) version: &'static str,
    /// When it began.
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) target: String,
    /// Where the target's name led to.
    pub(super) address: String,
    /// `tcp` or `udp`.
    pub(super) protocol: &'static str,
    pub(super) mode: Option<&'static str>,
    pub(super) speaks: Option<&'static str>,
    /// Whether things begin at their time whatever becomes of those before.
    pub(super) is_open_loop: bool,
    pub(super) size_bytes: u32,
    pub(super) timeout_seconds: f64,
    pub(super) warm_up_seconds: f64,
    pub(super) max_loss_percent: f64,
    pub(super) sources: usize,
    /// Connections or datagrams that only asked whether anything is there.
    pub(super) probes: u64,
    pub(super) steps: Vec<Step>,
    /// Which of the steps was the last good one, from 0.
    pub(super) last_good_step: Option<usize>,
    pub(super) ended_early: bool,
    /// Why there are not more steps or flows.
    pub(super) notes: Vec<String>,
}

impl Report {
    /// What a completed thing is called.
    pub(super) fn noun(&self) -> &'static str {
        match self.mode {
            None => "datagrams",
            Some("request") => "requests",
            Some(_) => "connections",
        }
    }

    /// Whether every step was good that had to be: of several, the last may be bad, since that is
    /// how a limit is found.
    pub(super) fn is_good(&self) -> bool {
        self.last_good_step.is_some() && !self.ended_early
    }

    /// One line on what was done.
    pub(super) fn summary(&self) -> String {
        let mut what = self.protocol.to_owned();
        for word in [self.mode, self.speaks].into_iter().flatten() {
            let _ = write!(what, ", {word}");
        }
        let loop_ = if self.is_open_loop { "open loop" } else { "closed loop" };
        format!("{what}, {} bytes, {loop_}", self.size_bytes)
    }

    /// What the latencies are measured from.
    pub(super) fn latency_note(&self) -> &'static str {
        if self.is_open_loop {
            "from when each was to begin, waiting for a free flow included"
        } else {
            "from when each began; who would have come meanwhile is not counted (give --rate)"
        }
    }

    /// For people, on a terminal.
    pub(super) fn text(&self) -> String {
        // Writing to a string does not fail.
        let mut text = format!("adit bench: {} ({})\n", self.target, self.summary());
        for step in &self.steps {
            self.step(&mut text, step);
        }
        if self.steps.len() > 1 {
            self.overview(&mut text);
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let machine = &self.machine;
        let _ = writeln!(
            text,
            "\n{} on {} x {}, Linux {}, clock {}",
            self.date, machine.processors, machine.processor, machine.kernel, machine.clock
        );
        text
    }

    fn step(&self, text: &mut String, step: &Step) {
        let noun = self.noun();
        let offered = step.offered_per_second.map(|rate| format!("{} a second, ", grouped(rate)));
        let (flows, seconds) = (grouped(step.flows as f64), step.seconds);
        let _ = writeln!(
            text,
            "\n{}{flows} flows, {seconds:.1} s: {}",
            offered.unwrap_or_default(),
            if step.is_good { "good" } else { "not good" }
        );
        let is_held = self.mode == Some("hold");
        let done = if is_held { "still answer" } else { "completed" };
        let _ = writeln!(
            text,
            "  {noun}  {} begun, {} {done}, {} lost ({} %); {}{} a second",
            grouped(step.started as f64),
            grouped(step.completed as f64),
            grouped(step.lost as f64),
            step.loss_percent,
            if is_held { "opened " } else { "" },
            grouped(step.completed_per_second.round())
        );
        for (name, percentiles) in [("latency", &step.latency_us), ("connect", &step.connect_us)] {
            let Some(percentiles) = percentiles else { continue };
            let figures = PERCENTILES.iter().filter_map(|(name, _)| {
                Some(format!("{name} {}", micros(*percentiles.get(name)?)))
            });
            let _ = writeln!(text, "  {name}  {}", figures.collect::<Vec<_>>().join("  "));
        }
        if step.reordered + step.duplicated > 0 {
            let (reordered, twice) = (step.reordered, step.duplicated);
            let _ = writeln!(text, "  order  {reordered} overtaken, {twice} answered twice");
        }
        backends(text, step);
        for (fault, count) in &step.faults {
            let count = grouped(*count as f64);
            let _ = writeln!(text, "  {count} x {}\n      {}", fault.words(), fault.cure());
        }
        let own = &step.generator;
        let _ = writeln!(
            text,
            "  generator  {:.2} processors on {} threads, {} slots late, {} never begun",
            own.processors_used, own.threads, own.slots_late, own.slots_unsent
        );
        for remark in &step.remarks {
            let _ = writeln!(text, "  ! {remark}");
        }
    }

    fn overview(&self, text: &mut String) {
        let good = self.last_good_step.and_then(|at| self.steps.get(at));
        let Some(step) = good else {
            let _ = writeln!(text, "\nno step was good");
            return;
        };
        let flows = grouped(step.flows as f64);
        let rate = grouped(step.completed_per_second.round());
        let _ = writeln!(text, "\nlast good step: {flows} flows, {rate} {} a second", self.noun());
    }
}

/// Who answered, in order of name.
fn backends(text: &mut String, step: &Step) {
    let total: u64 = step.backends.values().sum();
    if total == 0 {
        return;
    }
    let shares = step.backends.iter().map(|(name, count)| {
        format!("{name} {} ({:.1} %)", grouped(*count as f64), *count as f64 * 100.0 / total as f64)
    });
    let _ = writeln!(text, "  backends  {}", shares.collect::<Vec<_>>().join("  "));
    if step.backends.len() > 1 {
        let how = evenness_words(step);
        let _ = writeln!(text, "            {how}");
    }
}

/// How even the shares of backends are, in words.
pub(super) fn evenness_words(step: &Step) -> String {
    let largest = step.imbalance.unwrap_or(1.0);
    let chance = match step.is_even {
        Some(true) => "as even as chance makes it",
        _ => "not even: weights, persistence or few clients do that; chance does not",
    };
    format!("the largest share is {largest:.2} times an even one, {chance}")
}

/// The words of a fault for whoever could not even begin.
pub(super) fn fault_words(fault: Fault) -> (&'static str, &'static str) {
    (fault.words(), fault.cure())
}

/// Microseconds in a unit that suits them.
pub(super) fn micros(micros: f64) -> String {
    match micros {
        _ if micros < 1_000.0 => format!("{micros:.0} us"),
        _ if micros < 1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// A number with commas between thousands.
pub(super) fn grouped(number: f64) -> String {
    let whole = format!("{:.0}", number.trunc());
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let rest = number.fract();
    if rest.abs() >= 0.001 {
        let rest = format!("{rest:.3}");
        text.push_str(rest.trim_start_matches('0').trim_end_matches('0'));
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::ladder::Rung;
    use crate::bench::outcome::{Counts, Terms};
    use crate::bench::plan::Transport;
    use crate::bench::series::Second;
    use crate::bench::tally::Tally;
    use crate::bench::work::Mode;

    /// A report of two steps, of which the second is bad.
    pub(in crate::bench) fn sample() -> Report {
        let terms = Terms {
            transport: Transport::Tcp,
            mode: Mode::Open,
            time: Duration::from_secs(3),
            count: None,
            max_loss: 0.0,
        };
        let step = |rate: f64, failed: u64| {
            let mut measured = Tally { started: 3000, opened: 2990, ..Tally::default() };
            for at in 0..3000 - failed {
                let name = if at % 3 == 0 { "b<1>" } else { "b2" };
                measured.complete(Duration::from_micros(80 + at % 500), Some(name));
                measured.openings.add(Duration::from_micros(40));
            }
            (0..failed).for_each(|_| measured.fail(Fault::Reset));
            let second = |second| Second {
                second,
                completed: 990 + second,
                failed: failed / 3,
                p50_us: Some(90.0),
                p99_us: Some(570.0),
            };
            let seconds = (0..3).map(second).collect();
            let counts = Counts { measured, seconds, threads: vec![0.4], ..Counts::default() };
            Step::of(counts, Rung { flows: 16, rate: Some(rate) }, terms)
        };
        Report {
            program: "adit bench",
            version: "0.1.0",
            date: "2026-11-29T12:00:00Z".into(),
            machine: Machine {
                processor: "Sample <CPU>".into(),
                processors: 2,
                kernel: "6.18".into(),
                clock: "tsc".into(),
            },
            target: "10.0.0.5:80".into(),
            address: "10.0.0.5:80".into(),
            protocol: "tcp",
            mode: Some("open"),
            speaks: Some("line"),
            is_open_loop: true,
            size_bytes: 64,
            timeout_seconds: 2.0,
            warm_up_seconds: 1.0,
            max_loss_percent: 0.0,
            sources: 1,
            probes: 1,
            steps: vec![step(1000.0, 0), step(2000.0, 30)],
            last_good_step: Some(0),
            ended_early: false,
            notes: vec!["a note".into()],
        }
    }

    #[test]
    fn people_read_what_was_measured_and_what_to_do() {
        let text = sample().text();
        for words in [
            "10.0.0.5:80 (tcp, open, line, 64 bytes, open loop)",
            "1,000 a second, 16 flows, 3.0 s: good",
            "3,000 begun, 2,970 completed, 30 lost (1 %); 990 a second",
            "30 x connection reset\n",
            "adit drops",
            "backends  b2 2,000 (66.7 %)  b<1> 1,000 (33.3 %)",
            "1.33 times an even one, not even",
            "last good step: 16 flows, 1,000 connections a second",
            "note: a note",
            "clock tsc",
        ] {
            assert!(text.contains(words), "{words:?} is not in\n{text}");
        }
    }

    #[test]
    fn programs_read_the_same() {
        let value = serde_json::to_value(sample()).unwrap();
        assert_eq!(value["steps"][1]["errors"]["reset"], 30);
        assert_eq!(value["steps"][0]["backends"]["b2"], 2000);
        assert_eq!(value["steps"][0]["latency_us"]["max"], 579.0);
        assert_eq!((&value["last_good_step"], &value["mode"]), (&0.into(), &"open".into()));
        assert!(value["steps"][0]["series"][2]["p99_us"].is_number());
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(1_032_192.0), "1,032,192");
        assert_eq!((grouped(999.0), grouped(1000.5)), ("999".into(), "1,000.5".into()));
        assert_eq!((grouped(0.0), grouped(0.25)), ("0".into(), "0.25".into()));
        assert_eq!((micros(82.4), micros(1_500.0)), ("82 us".into(), "1.50 ms".into()));
        assert_eq!(micros(2e6), "2.00 s");
    }
}
