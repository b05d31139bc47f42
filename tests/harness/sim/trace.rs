//! What happened, as a number that two equal runs share and, on request, as lines to be read.

use std::collections::VecDeque;
use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::agenda::Nanos;
use crate::encode::TCP;
use crate::observe::{Observed, observe};

/// Which lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lines {
    /// None: the number only.
    #[default]
    Off,
    /// The last so many, for whoever looks at a failure.
    Last(usize),
    /// All, printed as they come.
    Print,
}

/// See the module's documentation.
pub(super) struct Trace {
    lines: Lines,
    kept: VecDeque<String>,
    hash: DefaultHasher,
}

impl Trace {
    pub(super) fn new(lines: Lines) -> Trace {
        Trace { lines, kept: VecDeque::new(), hash: DefaultHasher::new() }
    }

    /// Something happened to a frame.
    pub(super) fn frame(&mut self, now: Nanos, what: &str, place: impl Display, bytes: &[u8]) {
        (now, what, bytes).hash(&mut self.hash);
        self.line(now, || format!("{what:<10} {place:<6} {}", describe(bytes)));
    }

    /// Something else happened.
    pub(super) fn event(&mut self, now: Nanos, what: &str, detail: impl Display) {
        (now, what).hash(&mut self.hash);
        self.line(now, || format!("{what:<10} {detail}"));
    }

    fn line(&mut self, now: Nanos, line: impl FnOnce() -> String) {
        if self.lines == Lines::Off {
            return;
        }
        let (seconds, micros) = (now / 1_000_000_000, now / 1_000 % 1_000_000);
        let line = format!("{seconds:>5}.{micros:06} {}", line());
        match self.lines {
            Lines::Off => {}
            Lines::Print => println!("{line}"),
            Lines::Last(count) => {
                self.kept.push_back(line);
                while self.kept.len() > count {
                    self.kept.pop_front();
                }
            }
        }
    }

    /// The number of all that happened so far.
    pub(super) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    /// The lines that were kept.
    pub(super) fn last(&self) -> Vec<String> {
        self.kept.iter().cloned().collect()
    }
}

/// A frame in a few words.
fn describe(bytes: &[u8]) -> String {
    match observe(bytes) {
        Observed::Transport(seen) => {
            let protocol = if seen.protocol == TCP { "tcp" } else { "udp" };
            let flags = "FSRPA".chars().enumerate();
            let flags: String =
                flags.filter(|(at, _)| seen.flags >> at & 1 == 1).map(|f| f.1).collect();
            let (source, destination) = (seen.source, seen.destination);
            let numbers = match seen.protocol {
                TCP => numbers(&bytes[seen.transport_at..]),
                _ => String::new(),
            };
            format!(
                "{protocol} {source}:{} > {destination}:{} [{flags}]{numbers} {} bytes, {} > {}",
                seen.source_port,
                seen.destination_port,
                seen.payload.len(),
                seen.from_mac,
                seen.to_mac,
            )
        }
        Observed::Arp { operation: 1, sender, target, from_mac, .. } => {
            format!("arp who has {target}, asks {sender} at {from_mac}")
        }
        Observed::Arp { sender, sender_mac, .. } => format!("arp {sender} is at {sender_mac}"),
        Observed::Ndp(seen) => format!("ndp about {} of {}", seen.target, seen.source),
        Observed::Error(_) => format!("an ICMP error of {} bytes", bytes.len()),
        Observed::Fragment(_) => format!("a fragment of {} bytes", bytes.len()),
        Observed::Other => format!("something of {} bytes", bytes.len()),
    }
}

/// The sequence and acknowledgement numbers of a segment, and its window.
fn numbers(segment: &[u8]) -> String {
    let word =
        |at: usize| segment[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    format!(" seq {} ack {} win {}", word(4), word(8), word(12) & 0xffff)
}
