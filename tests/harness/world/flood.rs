//! Opens flows by the million: one template, patched for each client, and only verdicts looked at.
//!
//! The frames are those of the encoder but for their transport checksums, which are absent or
//! wrong: nothing here looks at them. What passes is not judged packet by packet; the tables are,
//! afterwards.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dataplane::drop_reason::DropReason;
use dataplane::engine::{Arrival, Outcome, Verdict};
use dataplane::limits::BATCH_FRAMES_MAX;
use dataplane::types::{DeviceIndex, Protocol};

use super::World;
use crate::encode::{Shape, Sum, TCP, UDP, flags, mac_of};
use crate::sum::sum;
use crate::topology::CLIENT;

/// An address and a port.
pub type Socket = (Ipv4Addr, u16);

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
}

impl Flood {
    /// Of the endpoint that every standard tenant has, at worker 0.
    #[must_use]
    pub fn new(device: DeviceIndex, protocol: Protocol) -> Flood {
        let port = match protocol {
            Protocol::Tcp => 443,
            Protocol::Udp => 53,
        };
        Flood { worker: 0, device, protocol, to: (crate::topology::ENDPOINT, port) }
    }
}

/// Clients `from..from + count` of a tenant, each with its own (address, port).
pub fn clients(from: u32, count: u32) -> impl Iterator<Item = Socket> {
    (from..from + count).map(|number| {
        let [high, low] = u16::try_from(number % 60_000 + 2_000).unwrap().to_be_bytes();
        let address = CLIENT.to_bits() + number / 60_000;
        (Ipv4Addr::from_bits(address), u16::from_be_bytes([high, low]))
    })
}

impl World {
    /// A first packet of each client arrives; `heard` is told each verdict.
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
            let engine = &mut self.engines[flood.worker];
            engine.process(self.now, Arrival::Device, &mut self.batch, &mut self.verdicts);
            for ((client, verdict), frame) in
                sockets.into_iter().zip(self.verdicts).zip(self.batch.frames())
            {
                heard(client, verdict);
                match verdict {
                    Verdict::Forward(_) => {
                        engine.settle(Outcome::Forwarded(1, frame.bytes().len()));
                        tally.forwarded += 1;
                    }
                    Verdict::Drop(reason) => *tally.dropped.entry(reason).or_default() += 1,
                    other => panic!("{other:?} of {client:?}"),
                }
            }
        }
        tally
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

fn patch(frame: &mut [u8], (address, port): Socket) {
    frame[26..30].copy_from_slice(&address.octets());
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame[24..26].fill(0);
    let checksum = !sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
}
