//! Shows packets while they pass: what a client asks for is given to every worker, and what they
//! see is written to the client until it has enough, or leaves.
//!
//! Bounds: one trace at a time; [`BYTES_MAX`] of packets for each worker wait to be written, and
//! what finds no room there is lost and counted, while the packet passes. When the client is gone
//! workers look away within a turn.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dataplane::drop_reason::DropReason;
use dataplane::engine::{Origin, Verdict};
use dataplane::nat::Pool;
use dataplane::snapshot::DevicePlan;
use dataplane::trace::{Filter, Sight, Verdicts};
use dataplane::types::{Addresses, DeviceIndex, ScopeId};
use dataplane::worker::{Passage, Snapped, Trace, Traced};
use rustix::net::RecvFlags;

use super::controller::Controller;
use super::crew::Crew;
use super::server::{Daemon, write};
use crate::api::{
    ErrorCode, Failure, Response, SNAP_BYTES, SNAP_BYTES_MAX, SNAP_BYTES_MIN, TraceEvent,
    TraceFilter, TracePacket, TraceSide,
};
use crate::config::suggest;

/// Memory for packets that wait to be written, for each worker.
const BYTES_MAX: usize = 16 << 20;

/// Packets that wait at most.
const RECORDS_MAX: usize = 4_096;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A line is written this often, also if there is nothing to say: so the client knows that it is
/// not forgotten.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// How long a client waits for one that is about to end.
const TURN: Duration = Duration::from_secs(2);

/// How long workers may take to look away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Packets on a line at most.
const LINE_PACKETS: usize = 256;

/// What every worker is asked to show; they look away when it is dropped.
struct Tracing<'c> {
    crew: &'c Crew,
    traces: Vec<Arc<Trace>>,
}

impl Tracing<'_> {
    fn start(crew: &Crew, filter: Filter, snap: usize) -> Tracing<'_> {
        let records = (BYTES_MAX / (2 * snap)).clamp(1, RECORDS_MAX);
        let trace = |_: usize| Arc::new(Trace::new(filter, snap, records));
        let traces: Vec<_> = (0..crew.len()).map(trace).collect();
        for (shared, trace) in crew.shared().iter().zip(&traces) {
            shared.trace(Some(Arc::clone(trace)));
        }
        crew.wake();
        Tracing { crew, traces }
    }

    fn is_ready(&self) -> bool {
        self.traces.iter().all(|trace| trace.is_ready())
    }

    fn lost(&self) -> u64 {
        self.traces.iter().map(|trace| trace.lost()).sum()
    }
}

impl Drop for Tracing<'_> {
    /// Workers never free what they were given.
    fn drop(&mut self) {
        self.crew.shared().iter().for_each(|shared| shared.trace(None));
        self.crew.wake();
        let deadline = Instant::now() + PATIENCE;
        let is_held = || self.traces.iter().any(|trace| Arc::strong_count(trace) > 1);
        while is_held() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What was seen, with what is known when it is told.
struct Teller<'d> {
    devices: &'d [Option<DevicePlan>],
    /// What the workers' clock and the wall's say at the same time, in nanoseconds.
    clocks: (u64, u64),
}

impl Controller {
    fn trace_filter(&self, asked: &TraceFilter) -> Result<Filter, Failure> {
        let scope = asked.virtual_network.as_deref().map(|name| self.scope_named(name));
        let endpoint = asked.endpoint.as_deref().map(|name| self.endpoint_at(name));
        let verdicts = match asked.reason.as_deref() {
            Some(reason) => Verdicts::DroppedFor(reason_named(reason)?),
            None if asked.dropped => Verdicts::Dropped,
            None => Verdicts::All,
        };
        let keys = || self.generation().pools.iter().map(Pool::key);
        let nat_ips = || keys().map(|key| key.nat_ip.ip()).collect();
        let backends = || keys().map(|key| key.target.ip()).collect();
        Ok(Filter {
            protocol: asked.protocol.map(Into::into),
            scope: scope.transpose()?,
            endpoint: endpoint.transpose()?,
            client: asked.client,
            nat_ip: asked.nat_ip.map(|at| known("NAT IP", at, &nat_ips())).transpose()?,
            backend: asked.backend.map(|at| known("backend", at, &backends())).transpose()?,
            port: asked.port,
            verdicts,
        })
    }

    fn scope_named(&self, name: &str) -> Result<ScopeId, Failure> {
        let mut networks = self.in_force().virtual_networks().iter();
        let network = networks.find(|network| network.name.as_str() == name);
        let scope = network.and_then(|network| self.registry().scope(&network.name));
        scope.ok_or_else(|| {
            let names = self.in_force().virtual_networks().iter().map(|known| known.name.as_str());
            let message = format!("there is no virtual network {name:?}");
            Failure::new(ErrorCode::NotFound, message, suggest::cure(name, names))
        })
    }

    fn endpoint_at(&self, name: &str) -> Result<(ScopeId, Addresses), Failure> {
        let name = self.find_endpoint(name)?;
        let link = self.registry().connection(&name).map(|connection| connection.link);
        let endpoint = link.and_then(|link| self.generation().snapshot.endpoint_of_link(link));
        let missing = || Failure::new(ErrorCode::Internal, "an endpoint has no place", "report it");
        endpoint.map(|found| (found.scope, found.addresses)).ok_or_else(missing)
    }
}

fn reason_named(name: &str) -> Result<DropReason, Failure> {
    let found = DropReason::ALL.iter().find(|reason| reason.metric() == name);
    found.copied().ok_or_else(|| {
        let names = DropReason::ALL.iter().map(|reason| reason.metric());
        let cure = match suggest::nearest(name, names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "`adit drops --all` lists them".to_owned(),
        };
        let message = format!("there is no reason to drop packets {name:?}");
        Failure::new(ErrorCode::NotFound, message, cure)
    })
}

/// An address that is one of those.
fn known(what: &str, address: IpAddr, all: &BTreeSet<IpAddr>) -> Result<IpAddr, Failure> {
    if all.contains(&address) {
        return Ok(address);
    }
    let all: Vec<String> = all.iter().map(IpAddr::to_string).collect();
    let cure = suggest::cure(&address.to_string(), all.iter().map(String::as_str));
    Err(Failure::new(ErrorCode::NotFound, format!("there is no {what} {address}"), cure))
}

fn snap(asked: &TraceFilter) -> Result<usize, Failure> {
    let snap = asked.snap.unwrap_or(SNAP_BYTES);
    if (SNAP_BYTES_MIN..=SNAP_BYTES_MAX).contains(&snap) {
        return Ok(snap);
    }
    let message = format!("a snap length of {snap} bytes is not possible");
    let cure = format!("ask for {SNAP_BYTES_MIN} to {SNAP_BYTES_MAX}");
    Err(Failure::new(ErrorCode::BadRequest, message, cure))
}

impl Daemon {
    /// Writes packets to the client until it has enough or leaves.
    pub(super) fn trace(&self, asked: &TraceFilter, client: &UnixStream) -> io::Result<()> {
        let Some(_turn) = self.tracing.try_lock_for(TURN) else {
            let cure = "wait until it ends, or end it";
            let busy = Failure::new(ErrorCode::Busy, "somebody else traces packets", cure);
            return write(client, Err(busy));
        };
        let filter = self.controller.lock().trace_filter(asked);
        match filter.and_then(|filter| Ok((filter, snap(asked)?))) {
            Ok((filter, snap)) => self.show(filter, snap, asked, client),
            Err(failure) => write(client, Err(failure)),
        }
    }

    fn show(
        &self,
        filter: Filter,
        snap: usize,
        asked: &TraceFilter,
        client: &UnixStream,
    ) -> io::Result<()> {
        let tracing = Tracing::start(&self.crew, filter, snap);
        let began = Instant::now();
        let end = asked.seconds.map(|seconds| began + Duration::from_secs(seconds.into()));
        let (mut told, mut said, mut was_ready) = (0, None, false);
        loop {
            let is_over = end.is_some_and(|end| Instant::now() >= end);
            let is_ready = tracing.is_ready();
            let left = asked.count.map_or(u64::MAX, |count| count - told);
            let mut packets = self.seen(&tracing);
            packets.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            for packet in &mut packets {
                told += 1;
                packet.number = told;
            }
            let last = is_over || asked.count.is_some_and(|count| told >= count);
            if last {
                // Whoever asks next finds nobody watching.
                let end = (tracing.lost(), is_ready, true);
                drop(tracing);
                return write_packets(client, packets, end);
            }
            let is_due = said.is_none_or(|said: Instant| said.elapsed() >= SIGN_OF_LIFE);
            if is_due || !packets.is_empty() || is_ready != was_ready {
                write_packets(client, packets, (tracing.lost(), is_ready, false))?;
                (said, was_ready) = (Some(Instant::now()), is_ready);
            }
            if has_left(client) {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
    }

    /// What workers have seen since the last look, in the order of time.
    fn seen(&self, tracing: &Tracing<'_>) -> Vec<TracePacket> {
        let devices = self.controller.lock().registry().devices().to_vec();
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let wall = u64::try_from(wall.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
        let clocks = (dataplane::io::now().as_nanos(), wall);
        let teller = Teller { devices: &devices, clocks };
        let mut packets = Vec::new();
        for (worker, trace) in (0..).zip(&tracing.traces) {
            // No more than can have waited: a worker may be quicker than this.
            let some = (0..RECORDS_MAX).map_while(|_| trace.take(|seen| teller.tell(worker, seen)));
            packets.extend(some);
        }
        packets.sort_by_key(|packet| packet.at_ns);
        packets
    }
}

fn write_packets(
    client: &UnixStream,
    mut packets: Vec<TracePacket>,
    (lost, is_ready, last): (u64, bool, bool),
) -> io::Result<()> {
    while packets.len() > LINE_PACKETS {
        let rest = packets.split_off(LINE_PACKETS);
        let packets = std::mem::replace(&mut packets, rest);
        write(client, Ok(Response::Traced { packets, lost, is_ready, last: false }))?;
    }
    write(client, Ok(Response::Traced { packets, lost, is_ready, last }))
}

/// Whether nobody reads any more.
fn has_left(client: &UnixStream) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let mut byte = [0; 1];
    match rustix::net::recv(client, &mut byte, flags) {
        Ok((0, _)) => true,
        Ok(_) => false,
        Err(error) => error != rustix::io::Errno::AGAIN,
    }
}

impl Teller<'_> {
    fn tell(&self, worker: u8, seen: &Traced) -> TracePacket {
        let (event, reason, ways) = match seen.passage {
            Passage::Arrived(device, verdict) => {
                let (event, reason, out) = fate(verdict);
                (event, reason, (Some(device), out))
            }
            Passage::Sent(device, Origin::Held) => {
                (TraceEvent::Released, None, (None, Some(device)))
            }
            Passage::Sent(device, Origin::Own) => (TraceEvent::Said, None, (None, Some(device))),
        };
        let (clock, wall) = self.clocks;
        let side = |device: Option<DeviceIndex>, snapped| Some(self.side(device?, snapped));
        TracePacket {
            number: 0,
            at_ns: wall.saturating_sub(clock.saturating_sub(seen.at.as_nanos())),
            worker,
            event,
            reason: reason.map(|reason| reason.metric().to_owned()),
            sentence: reason.map(|reason| reason.sentence().to_owned()),
            before: side(ways.0, &seen.before),
            after: side(ways.1, &seen.after),
        }
    }

    fn side(&self, device: DeviceIndex, snapped: &Snapped) -> TraceSide {
        let plan = self.devices.get(device.slot()).and_then(Option::as_ref);
        let sight = Sight::of(ScopeId(0), &snapped.bytes);
        let mut bytes = String::with_capacity(snapped.bytes.len() * 2);
        for byte in &snapped.bytes {
            // Writing to a string cannot fail.
            let _ = write!(bytes, "{byte:02x}");
        }
        let socket = |(address, port): (IpAddr, u16)| match port {
            0 => address.to_string(),
            port => std::net::SocketAddr::new(address, port).to_string(),
        };
        TraceSide {
            device: plan.map_or_else(|| format!("#{}", device.0), |plan| plan.name.clone()),
            length: snapped.length as u64,
            protocol: sight.map(|sight| match sight.protocol {
                6 => "tcp".to_owned(),
                17 => "udp".to_owned(),
                1 | 58 => "icmp".to_owned(),
                other => other.to_string(),
            }),
            source: sight.map(|sight| socket(sight.source)),
            destination: sight.map(|sight| socket(sight.destination)),
            bytes,
        }
    }
}

fn fate(verdict: Verdict) -> (TraceEvent, Option<DropReason>, Option<DeviceIndex>) {
    match verdict {
        Verdict::Forward(device) => (TraceEvent::Forwarded, None, Some(device)),
        Verdict::Reply(device) => (TraceEvent::Answered, None, Some(device)),
        Verdict::Consume => (TraceEvent::Consumed, None, None),
        Verdict::TakeUp => (TraceEvent::Probed, None, None),
        // Who is given a packet shows it.
        Verdict::Hold | Verdict::HandOver(_) => (TraceEvent::Waits, None, None),
        Verdict::Drop(reason) => (TraceEvent::Dropped, Some(reason), None),
    }
}
