//! Opens flows by the million: one template, patched for each client, and only verdicts looked at.
//!
//! The frames are those of the encoder but for their transport checksums, which are absent or
//! wrong: nothing here looks at them. Backends answer and clients acknowledge, unless the flood is
//! to come to nothing. What passes is not judged packet by packet; the tables are, afterwards.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dataplane::drop_reason::DropReason;
use dataplane::engine::{Arrival, Outcome, Verdict};
use dataplane::limits::BATCH_FRAMES_MAX;
use dataplane::types::{DeviceIndex, Protocol};

use super::World;
use crate::address::{octets, plus};
use crate::encode::{Shape, Sum, TCP, UDP, flags, mac_of};
use crate::sum::sum;
use crate::topology::{CLIENT, P};

/// An address and a port.
pub type Socket = (IpAddr, u16);

/// What became of a flood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames that left.
    pub forwarded: usize,
    /// Frames that died, by reason.
    pub dropped: BTreeMap<DropReason, usize>,
}

/// Where a flood goes.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// The worker that it arrives at, which must own all of its flows.
    pub worker: usize,
    /// The device that it comes from.
    pub device: DeviceIndex,
    /// SYNs or datagrams.
    pub protocol: Protocol,
    /// The endpoint.
    pub to: Socket,
    /// How far its flows get.
    pub reach: Reach,
}

/// How far the flows of a flood get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nobody answers: they give way to others.
    First,
    /// Backends answer, and TCP clients acknowledge that.
    Established,
}

impl Flood {
    /// Of the endpoint that every standard tenant has, at worker 0.
    #[must_use]
    pub fn new(device: DeviceIndex, protocol: Protocol) -> Flood {
        let port = match protocol {
            Protocol::Tcp => 443,
            Protocol::Udp => 53,
        };
        let to = (crate::topology::ENDPOINT, port);
        Flood { worker: 0, device, protocol, to, reach: Reach::Established }
    }
}

/// Clients `from..from + count` of a tenant, each with its own (address, port).
pub fn clients(from: u32, count: u32) -> impl Iterator<Item = Socket> {
    (from..from + count).map(|number| {
        let [high, low] = u16::try_from(number % 60_000 + 2_000).unwrap().to_be_bytes();
        (plus(CLIENT, number / 60_000), u16::from_be_bytes([high, low]))
    })
}

impl World {
    /// A first packet of each client arrives, and is answered if it is forwarded; `heard` is told
    /// the first packet's verdict.
    pub fn pour(
        &mut self,
        flood: Flood,
        clients: impl Iterator<Item = Socket>,
        mut heard: impl FnMut(Socket, Verdict),
    ) -> Tally {
        let template = self.template(&flood);
        let mut clients = clients.peekable();
        let mut tally = Tally::default();
        while clients.peek().is_some() {
            let mut sockets = Vec::with_capacity(BATCH_FRAMES_MAX);
            self.batch.clear();
            for client in clients.by_ref().take(BATCH_FRAMES_MAX) {
                let frame = self.batch.append().expect("a batch has room");
                frame.fill(&template);
                frame.ingress = flood.device;
                patch(frame.bytes_mut(), client);
                sockets.push(client);
            }
            let answers = self.flow_through(flood.worker);
            for (client, verdict) in sockets.iter().zip(self.verdicts) {
                heard(*client, verdict);
                match verdict {
                    Verdict::Forward(_) => tally.forwarded += 1,
                    Verdict::Drop(reason) => *tally.dropped.entry(reason).or_default() += 1,
                    other => panic!("{other:?} of {client:?}"),
                }
            }
            if flood.reach == Reach::Established {
                let admitted = sockets.iter().zip(self.verdicts);
                let admitted: Vec<Socket> = admitted
                    .filter(|(_, verdict)| matches!(verdict, Verdict::Forward(_)))
                    .map(|(client, _)| *client)
                    .collect();
                self.establish(&flood, &template, &answers, &admitted);
            }
        }
        tally
    }

    /// Has the batch judged; gives what would answer each frame that left.
    fn flow_through(&mut self, worker: usize) -> Vec<Vec<u8>> {
        let engine = &mut self.engines[worker];
        engine.process(self.now, Arrival::Device, &mut self.batch, &mut self.verdicts);
        let mut answers = Vec::with_capacity(self.batch.len());
        for (verdict, frame) in self.verdicts.iter().zip(self.batch.frames()) {
            if let Verdict::Forward(_) = verdict {
                engine.settle(Outcome::Forwarded(1, frame.bytes().len()));
                answers.push(turn_round(frame.bytes()));
            }
        }
        answers
    }

    fn establish(
        &mut self,
        flood: &Flood,
        template: &[u8],
        answers: &[Vec<u8>],
        clients: &[Socket],
    ) {
        self.batch.clear();
        for answer in answers {
            let frame = self.batch.append().expect("a batch has room");
            frame.fill(answer);
            frame.ingress = P;
            if flood.protocol == Protocol::Tcp {
                frame.bytes_mut()[TCP_FLAGS_AT] = flags::SYN | flags::ACK;
            }
        }
        self.flow_through(flood.worker);
        if flood.protocol == Protocol::Udp {
            return;
        }
        self.batch.clear();
        for client in clients {
            let frame = self.batch.append().expect("a batch has room");
            frame.fill(template);
            frame.ingress = flood.device;
            patch(frame.bytes_mut(), *client);
            frame.bytes_mut()[TCP_FLAGS_AT] = flags::ACK;
        }
        self.flow_through(flood.worker);
    }

    fn template(&self, flood: &Flood) -> Vec<u8> {
        let protocol = match flood.protocol {
            Protocol::Tcp => TCP,
            Protocol::Udp => UDP,
        };
        let mut shape = Shape::new(protocol, (CLIENT, 1), flood.to);
        shape.flags = flags::SYN;
        shape.sum = Sum::Absent;
        shape.from_mac = mac_of(CLIENT);
        shape.to_mac = self.topology.station(flood.device);
        shape.encode().bytes
    }
}

/// Byte of the control bits in a TCP frame without IPv4 options.
const TCP_FLAGS_AT: usize = 47;

/// The frame back to where it came from: stations, addresses and ports change places.
fn turn_round(frame: &[u8]) -> Vec<u8> {
    let mut turned = frame.to_vec();
    for (at, bytes) in [(0, 6), (26, 4), (34, 2)] {
        let (one, other) = (at..at + bytes, at + bytes..at + 2 * bytes);
        turned[one.clone()].copy_from_slice(&frame[other.clone()]);
        turned[other].copy_from_slice(&frame[one]);
    }
    turned
}

fn patch(frame: &mut [u8], (address, port): Socket) {
    frame[26..30].copy_from_slice(&octets(address));
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame[24..26].fill(0);
    let checksum = !sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
}
