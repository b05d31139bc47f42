//! `adit trace`: packets as lines, and as a file for Wireshark.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::args::Connection;
use super::client::{Client, ClientError};
use super::pcapng::Section;
use super::table::printable;
use super::{Ending, complain};
use crate::api::{Request, Response, SNAP_BYTES, TraceFilter, TracePacket, TraceSide};

/// Where packets go.
struct Sink<'s> {
    /// Packets as lines.
    lines: Option<&'s mut dyn Write>,
    capture: Option<(Section, Box<dyn Write>)>,
    is_json: bool,
}

/// Shows packets until there are enough, or whoever reads has left.
pub(super) fn run(
    connection: &Connection,
    filter: TraceFilter,
    file: Option<&Path>,
) -> Result<(), Ending> {
    let mut out = io::stdout().lock();
    let snap = filter.snap.unwrap_or(SNAP_BYTES);
    let is_piped = file == Some(Path::new("-"));
    let capture = file.map(|file| begin(file, snap)).transpose()?;
    let lines: Option<&mut dyn Write> = if is_piped { None } else { Some(&mut out) };
    let mut sink = Sink { lines, capture, is_json: connection.json };
    let (mut was_ready, mut lost_before, mut count) = (false, 0, 0);
    let mut show = |response: Response, raw: &str| {
        let Response::Traced { packets, lost, is_ready, .. } = response else { return Ok(()) };
        if is_ready && !was_ready {
            complain("every worker shows its packets now");
            was_ready = true;
        }
        if lost > lost_before {
            complain(&format!(
                "{} packets passed unseen, because they came too fast: narrow the filter",
                lost - lost_before
            ));
            lost_before = lost;
        }
        count += packets.len();
        sink.take(&packets, raw).map_err(|error| match error.kind() {
            // Whoever reads has seen enough.
            io::ErrorKind::BrokenPipe => ClientError::Refused(String::new()),
            _ => ClientError::Refused(error.to_string()),
        })
    };
    let asked = Client::connect(&connection.place.socket)
        .and_then(|mut client| client.ask(&Request::Trace(filter), &mut show));
    match asked {
        Ok(()) => {
            complain(&format!("{count} packets"));
            Ok(())
        }
        Err(ClientError::Refused(text)) if text.is_empty() => Ok(()),
        Err(ClientError::Refused(text)) => Err(Ending::Failed(text)),
        Err(ClientError::Unreachable(text)) => Err(Ending::Unreachable(text)),
    }
}

fn begin(file: &Path, snap: usize) -> Result<(Section, Box<dyn Write>), Ending> {
    let shown = file.display();
    let failed = |error: io::Error| {
        Ending::Failed(format!("{shown} cannot be written: {error}\n  name a writable file"))
    };
    let mut file: Box<dyn Write> = match file == Path::new("-") {
        true => Box::new(io::stdout()),
        false => Box::new(File::create(file).map_err(failed)?),
    };
    let (section, bytes) = Section::begin(snap);
    file.write_all(&bytes).and_then(|()| file.flush()).map_err(failed)?;
    Ok((section, file))
}

impl Sink<'_> {
    fn take(&mut self, packets: &[TracePacket], raw: &str) -> io::Result<()> {
        if let Some((section, file)) = &mut self.capture {
            let bytes: Vec<u8> = packets.iter().flat_map(|packet| section.append(packet)).collect();
            file.write_all(&bytes)?;
            file.flush()?;
        }
        let Some(lines) = &mut self.lines else { return Ok(()) };
        let mut text = String::new();
        match self.is_json {
            true => text = format!("{raw}\n"),
            false => packets.iter().for_each(|packet| put_line(&mut text, packet)),
        }
        lines.write_all(text.as_bytes())?;
        lines.flush()
    }
}

/// One packet on one line: when, which, where from, what became of it, where to, both sides.
fn put_line(text: &mut String, packet: &TracePacket) {
    let TracePacket { number, at_ns, event, before, after, reason, sentence, .. } = packet;
    let (seconds, micros) = (at_ns / 1_000_000_000, at_ns / 1_000 % 1_000_000);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let device = |side: &Option<TraceSide>| {
        side.as_ref().map_or_else(|| "-".to_owned(), |side| printable(&side.device))
    };
    let (from, to) = (device(before), device(after));
    let event = match reason {
        Some(reason) => format!("{} {}", event.name(), printable(reason)),
        None => event.name().to_owned(),
    };
    let mut sides = [before, after].into_iter().flatten().map(tuple);
    let first = sides.next().unwrap_or_default();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "{hour:02}:{minute:02}:{second:02}.{micros:06} #{number} {from} {event} {to}  {first}"
    );
    for side in sides {
        let _ = write!(text, " => {side}");
    }
    let _ = match sentence {
        Some(sentence) => writeln!(text, ": {}", printable(sentence)),
        None => writeln!(text),
    };
}

fn tuple(side: &TraceSide) -> String {
    let TraceSide { length, protocol, source, destination, .. } = side;
    match (protocol, source, destination) {
        (Some(protocol), Some(source), Some(destination)) => {
            let text = format!("{protocol} {source} > {destination} {length} B");
            printable(&text)
        }
        _ => format!("no IP packet, {length} B"),
    }
}
