//! Short words for what the tests say: who sends what, and what left.

use std::net::IpAddr;

use dataplane::drop_reason::DropReason;
use dataplane::engine::Verdict;
use dataplane::types::DeviceIndex;
use harness::encode::{TCP, UDP, flags};
use harness::observe::Transport;
use harness::topology::{ENDPOINT, P, backend};
use harness::world::Socket;
use harness::{Left, Shape, Topology, World, WorldConfig, observe};

/// A world with one backend, so that every flow towards it shares one pool of ports.
pub(crate) fn world() -> World {
    World::new(Topology::with_backends(&[backend(0)]))
}

/// The same for many flows, whose tables are looked at only at the end.
pub(crate) fn large_world(topology: Topology) -> World {
    let config = WorldConfig { flows_max: 140_000, check_tables: false, ..WorldConfig::default() };
    World::with(topology, config)
}

/// The port of the standard endpoint for a protocol.
pub(crate) fn service_port(protocol: u8) -> u16 {
    if protocol == TCP { 443 } else { 53 }
}

/// A packet that left, and by which device.
pub(crate) struct Out {
    pub(crate) device: DeviceIndex,
    pub(crate) packet: Transport,
}

/// A packet arrives: what left of it, or why nothing did.
pub(crate) fn send(
    world: &mut World,
    device: DeviceIndex,
    shape: Shape,
) -> Result<Out, DropReason> {
    let left = pass(world, device, shape)?;
    Ok(Out { device: left.device, packet: observe(&left.image.bytes).transport() })
}

/// The same of a packet of any protocol.
pub(crate) fn pass(
    world: &mut World,
    device: DeviceIndex,
    shape: Shape,
) -> Result<Left, DropReason> {
    let frame = shape.to_station(world.topology.station(device)).encode();
    match world.arrive(device, &frame) {
        Verdict::Forward(_) => Ok(world.left.pop_back().expect("a forwarded frame leaves")),
        Verdict::Drop(reason) => Err(reason),
        other => panic!("neither forwarded nor dropped: {other:?}"),
    }
}

/// A flow as both sides see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) protocol: u8,
    pub(crate) tenant: DeviceIndex,
    pub(crate) client: Socket,
    pub(crate) endpoint: Socket,
    pub(crate) nat: Socket,
    pub(crate) backend: Socket,
}

impl Flow {
    /// A client's first packet.
    pub(crate) fn begin(
        world: &mut World,
        protocol: u8,
        (tenant, client): (DeviceIndex, Socket),
        endpoint: Socket,
    ) -> Result<Flow, DropReason> {
        let first = if protocol == TCP { flags::SYN } else { 0 };
        let shape = Shape { flags: first, ..Shape::new(protocol, client, endpoint) };
        let packet = send(world, tenant, shape)?.packet;
        let nat = (packet.source, packet.source_port);
        let backend = (packet.destination, packet.destination_port);
        Ok(Flow { protocol, tenant, client, endpoint, nat, backend })
    }

    /// A flow to the standard endpoint, both of whose sides have spoken.
    pub(crate) fn open(
        world: &mut World,
        protocol: u8,
        tenant: DeviceIndex,
        client: Socket,
    ) -> Flow {
        let endpoint = (ENDPOINT, service_port(protocol));
        let flow = Flow::begin(world, protocol, (tenant, client), endpoint).expect("it may open");
        flow.establish(world);
        flow
    }

    /// The backend answers, and a TCP client acknowledges that.
    pub(crate) fn establish(&self, world: &mut World) {
        self.back(world, flags::SYN | flags::ACK).expect("the answer passes");
        self.forward(world, flags::ACK).expect("the client goes on");
    }

    /// The client's next packet.
    pub(crate) fn request(&self, flags: u8) -> Shape {
        let flags = if self.protocol == TCP { flags } else { 0 };
        Shape { flags, ..Shape::new(self.protocol, self.client, self.endpoint) }
    }

    /// The backend's next packet.
    pub(crate) fn answer(&self, flags: u8) -> Shape {
        let flags = if self.protocol == TCP { flags } else { 0 };
        Shape { flags, ..Shape::new(self.protocol, self.backend, self.nat) }
    }

    /// The client's packet as the backend sees it: what the backend's side quotes in errors.
    pub(crate) fn outgoing(&self, flags: u8) -> Shape {
        let (source, source_port) = self.nat;
        let (destination, destination_port) = self.backend;
        Shape { source, source_port, destination, destination_port, ..self.request(flags) }
    }

    /// The backend's packet as the client sees it: what the client's side quotes in errors.
    pub(crate) fn incoming(&self, flags: u8) -> Shape {
        let (source, source_port) = self.endpoint;
        let (destination, destination_port) = self.client;
        Shape { source, source_port, destination, destination_port, ..self.answer(flags) }
    }

    /// The client sends its next packet.
    pub(crate) fn forward(&self, world: &mut World, flags: u8) -> Result<Out, DropReason> {
        send(world, self.tenant, self.request(flags))
    }

    /// The backend sends its next packet.
    pub(crate) fn back(&self, world: &mut World, flags: u8) -> Result<Out, DropReason> {
        send(world, P, self.answer(flags))
    }

    /// Packets pass both ways under the mapping that the flow began with.
    pub(crate) fn assert_alive(&self, world: &mut World) {
        let out = self.forward(world, flags::ACK).expect("the flow lives").packet;
        assert_eq!((out.source, out.source_port), self.nat, "the mapping stays");
        assert_eq!((out.destination, out.destination_port), self.backend);
        self.assert_answered(world);
    }

    /// A packet of the backend reaches the client that opened the flow.
    pub(crate) fn assert_answered(&self, world: &mut World) {
        let out = self.back(world, flags::ACK).expect("the answer passes");
        assert_eq!(out.device, self.tenant, "the answer goes to the network that asked");
        assert_eq!((out.packet.source, out.packet.source_port), self.endpoint);
        assert_eq!((out.packet.destination, out.packet.destination_port), self.client);
    }
}

/// Adds a rule to the service: the same backends on another port.
pub(crate) fn add_rule(topology: &mut Topology, protocol: u8, port: u16) {
    let rules = &mut topology.plan.services[0].rules;
    let like = rules[usize::from(protocol == UDP)].clone();
    rules.push(dataplane::snapshot::RulePlan { port, backend_port: port, ..like });
}

/// Sockets of one host.
pub(crate) fn sockets(host: IpAddr, count: u16) -> impl Iterator<Item = Socket> {
    (0..count).map(move |number| (host, 5_000 + number))
}
