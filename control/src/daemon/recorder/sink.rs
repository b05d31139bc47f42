//! One place that events are written to: what was written, what was lost, and why.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::super::{DaemonError, log};
use super::collector::{Datagrams, Stream};
use super::file::LogWriter;
use crate::api;
use crate::config::LogFile;
use crate::moment::Moment;
use crate::recording::event::Event;
use crate::recording::ipfix::{Exporter, Message};

/// Milliseconds after which templates are sent again over UDP, where they may be lost (RFC 7011
/// 8.4).
const TEMPLATES_AGAIN: u64 = 60_000;

/// What became of events: how many could not be written, and why.
pub(super) struct Lost {
    events: u64,
    why: io::Error,
}

/// A form and a place.
pub(super) trait Writer: Send {
    /// Whether it can be written to, before anything is to be.
    fn open(&mut self) -> io::Result<()>;

    /// Writes events, in order. An empty list is the time to look after things.
    fn write(&mut self, events: &[Event], now: Moment) -> Result<(), Lost>;
}

/// See the module's documentation.
pub(super) struct Sink {
    form: &'static str,
    to: String,
    writer: Mutex<Box<dyn Writer>>,
    written: AtomicU64,
    lost: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Sink {
    /// Fails if it cannot be written to at the start: then a name is wrong, or a right is missing.
    pub(super) fn new(
        form: &'static str,
        to: String,
        mut writer: impl Writer + 'static,
    ) -> Result<Sink, DaemonError> {
        writer.open().map_err(|error| {
            let problem = format!("the flow log {to} cannot be written: {error}");
            DaemonError::new(problem, "make its folder, let adit write there, or change flow_log")
        })?;
        Ok(Sink {
            form,
            to,
            writer: Mutex::new(Box::new(writer)),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            trouble: Mutex::default(),
        })
    }

    pub(super) fn write(&self, events: &[Event], now: Moment) {
        let result = self.writer.lock().write(events, now);
        let (lost, trouble) = match result {
            Ok(()) => (0, None),
            Err(Lost { events, why }) => (events, Some(why.to_string())),
        };
        let written = (events.len() as u64).saturating_sub(lost);
        self.written.fetch_add(written, Ordering::Relaxed);
        self.lost.fetch_add(lost, Ordering::Relaxed);
        let mut known = self.trouble.lock();
        // It is over when something was written, not when there was nothing to write.
        if *known == trouble || trouble.is_none() && written == 0 {
            return;
        }
        match &trouble {
            Some(why) => log(format_args!(
                "flow log {}: {why}; events are lost and counted until it can be written again",
                self.to
            )),
            None => log(format_args!("flow log {}: written again", self.to)),
        }
        *known = trouble;
    }

    pub(super) fn status(&self) -> api::FlowLog {
        api::FlowLog {
            form: self.form.to_owned(),
            to: self.to.clone(),
            written: self.written.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            trouble: self.trouble.lock().clone(),
        }
    }
}

/// Lines of JSON in a file.
pub(super) struct Lines(LogWriter);

impl Lines {
    pub(super) fn new(file: &LogFile) -> Lines {
        Lines(LogWriter::new(file))
    }
}

impl Writer for Lines {
    fn open(&mut self) -> io::Result<()> {
        self.0.open()
    }

    fn write(&mut self, events: &[Event], _: Moment) -> Result<(), Lost> {
        self.0.look(Instant::now());
        // Few at a time, so that a disk that fills up takes few with it.
        for (at, some) in (0..).step_by(64).zip(events.chunks(64)) {
            let lines: String = some.iter().map(Event::line).collect();
            let rest = (events.len() - at) as u64;
            self.0.write(lines.as_bytes()).map_err(|why| Lost { events: rest, why })?;
        }
        Ok(())
    }
}

/// Where messages go.
enum Way {
    File(LogWriter),
    Tcp(Stream),
    Udp(Datagrams),
}

/// IPFIX messages.
pub(super) struct Ipfix {
    way: Way,
    domain: u32,
    exporter: Exporter,
    /// When templates were sent last in this file or session.
    announced: Option<Moment>,
}

impl Ipfix {
    fn new(way: Way, domain: u32) -> Ipfix {
        Ipfix { way, domain, exporter: Exporter::new(domain), announced: None }
    }

    pub(super) fn file(file: &LogFile, domain: u32) -> Ipfix {
        Ipfix::new(Way::File(LogWriter::new(file)), domain)
    }

    pub(super) fn tcp(address: SocketAddr, domain: u32) -> Ipfix {
        Ipfix::new(Way::Tcp(Stream::new(address)), domain)
    }

    pub(super) fn udp(address: SocketAddr, domain: u32) -> Ipfix {
        Ipfix::new(Way::Udp(Datagrams::new(address)), domain)
    }

    /// Begins a file or a session, if there is another than before: it knows no template yet, and
    /// counts from zero.
    fn prepare(&mut self, now: Moment) -> io::Result<()> {
        let is_new = match &mut self.way {
            Way::File(file) => {
                file.look(Instant::now());
                file.make_room(crate::recording::ipfix::MESSAGE_BYTES_MAX)?
            }
            Way::Tcp(stream) => stream.connect(Instant::now())?,
            Way::Udp(datagrams) => datagrams.bind()?,
        };
        if is_new {
            (self.exporter, self.announced) = (Exporter::new(self.domain), None);
        }
        let is_udp = matches!(self.way, Way::Udp(_));
        let is_due = |at: Moment| is_udp && now.0.saturating_sub(at.0) >= TEMPLATES_AGAIN;
        if self.announced.is_none_or(is_due) {
            let Message { bytes, .. } = self.exporter.templates(now);
            self.send(&bytes)?;
            self.announced = Some(now);
        }
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.way {
            Way::File(file) => file.write(bytes),
            Way::Tcp(stream) => stream.send(bytes),
            Way::Udp(datagrams) => datagrams.send(bytes),
        }
    }
}

impl Writer for Ipfix {
    fn open(&mut self) -> io::Result<()> {
        match &mut self.way {
            Way::File(file) => file.open(),
            // A collector may come later than adit.
            Way::Tcp(_) | Way::Udp(_) => Ok(()),
        }
    }

    fn write(&mut self, events: &[Event], now: Moment) -> Result<(), Lost> {
        if events.is_empty() {
            // Also what waits of a stream goes on.
            let flushed = match &mut self.way {
                Way::Tcp(stream) => stream.flush(),
                Way::File(_) | Way::Udp(_) => Ok(()),
            };
            return flushed.map_err(|why| Lost { events: 0, why });
        }
        // An event that is several records is lost as one.
        for (at, some) in (0..).step_by(16).zip(events.chunks(16)) {
            let rest = (events.len() - at) as u64;
            let lost = |why| Lost { events: rest, why };
            self.prepare(now).map_err(lost)?;
            for message in self.exporter.messages(now, some) {
                self.send(&message.bytes).map_err(lost)?;
            }
        }
        Ok(())
    }
}
