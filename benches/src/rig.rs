//! An engine with one endpoint, a service behind it that has ports for all flows, and those flows
//! open.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use dataplane::device::{Batch, Link};
use dataplane::engine::{Arrival, Engine, EngineConfig, Verdict, Verdicts};
use dataplane::generation::Generation;
use dataplane::limits::BATCH_FRAMES_MAX;
use dataplane::nat::Pool;
use dataplane::packet::FlowKey;
use dataplane::record::Recording;
use dataplane::snapshot::{
    Balance, DeviceKind, DevicePlan, Ending, EndpointPlan, Gate, Plan, Refusal, RulePlan,
    ScopePlan, ServicePlan, Snapshot, Timeouts, Treatment,
};
use dataplane::types::{
    DeviceIndex, Hop, Instant, LinkId, MacAddress, NeighborIndex, Prefix, Protocol, ScopeId,
    ServiceIndex, WorkerId,
};
use etherparse::PacketBuilder;
use etherparse::checksum::Sum16BitWords;

pub(crate) const CONSUMER: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
pub(crate) const PROVIDER: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
const CLIENT: MacAddress = MacAddress([2, 0, 0, 0, 1, 1]);
const BACKEND: MacAddress = MacAddress([2, 0, 0, 0, 1, 2]);
const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 4);
pub(crate) const CONSUMER_DEVICE: DeviceIndex = DeviceIndex(0);
pub(crate) const PROVIDER_DEVICE: DeviceIndex = DeviceIndex(1);
const PORT: u16 = 53;
const BACKEND_PORT: u16 = 5353;
/// When the rig's neighbors were heard of.
pub(crate) const BEGINNING_NS: u64 = 1_000_000_000;
/// Client ports that are used of each client address.
const PORTS_PER_CLIENT: u32 = 1 << 10;

/// What a flow looks like from both sides, remembered when it opened.
#[derive(Clone, Copy)]
pub(crate) struct Translated {
    /// Number of its client.
    pub(crate) client: u32,
    nat_ip: Ipv4Addr,
    nat_port: u16,
    backend: Ipv4Addr,
}

/// How the engine is used.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Frames that it is given at once, at most.
    pub batch: usize,
    /// Whether its tables are advised to lie in huge pages, as a worker does.
    pub huge_pages: bool,
    /// How much it tells of flows.
    pub recording: Recording,
}

impl Default for Setup {
    fn default() -> Self {
        let recording = Recording::Nothing;
        Setup { batch: BATCH_FRAMES_MAX, huge_pages: true, recording }
    }
}

/// See the module's documentation.
pub struct Rig {
    setup: Setup,
    worker: WorkerId,
    workers: u8,
    /// The next client that opens a flow, if it is this worker's.
    next_client: u32,
    engine: Engine,
    batch: Batch,
    verdicts: Verdicts,
    now: Instant,
    flows: Vec<Translated>,
    random: Random,
}

impl Rig {
    /// An engine with room for `capacity` flows, none open.
    #[must_use]
    pub fn new(capacity: usize, setup: Setup) -> Rig {
        let generation = Self::generation(capacity);
        Self::worker(capacity, setup, &generation, WorkerId(0), 1)
    }

    /// What workers share, with ports for `capacity` flows of all of them.
    ///
    /// # Panics
    /// If the plan of the rig contradicts itself: a bug of the rig.
    #[must_use]
    pub fn generation(capacity: usize) -> Arc<Generation> {
        let snapshot = Snapshot::build(plan(capacity)).expect("the rig's plan is consistent");
        let generation = Arc::new(Generation::first(snapshot, 1));
        confirm(&generation, Instant::from_nanos(BEGINNING_NS));
        generation
    }

    /// The engine of one of several workers, with room for `capacity` flows of its own.
    #[must_use]
    pub fn worker(
        capacity: usize,
        setup: Setup,
        generation: &Arc<Generation>,
        worker: WorkerId,
        workers: u8,
    ) -> Rig {
        let now = Instant::from_nanos(BEGINNING_NS);
        let config = EngineConfig { worker, workers, flows_max: capacity, seed: 7 };
        let mut engine = Engine::new(&config, Arc::clone(generation));
        engine.record(setup.recording);
        let batch = Batch::new();
        if setup.huge_pages {
            let pools = engine.generation().pools.areas();
            let areas = engine.areas().chain([batch.area()]).chain(pools);
            areas.for_each(dataplane::io::favor);
        }
        engine.attach(CONSUMER_DEVICE, Link { mac: CONSUMER, mtu: 1500 });
        engine.attach(PROVIDER_DEVICE, Link { mac: PROVIDER, mtu: 1500 });
        let verdicts = [Verdict::Consume; BATCH_FRAMES_MAX];
        Rig {
            setup,
            worker,
            workers,
            next_client: 0,
            engine,
            batch,
            verdicts,
            now,
            flows: Vec::new(),
            random: Random::default(),
        }
    }

    /// Opens flows until there are `count`, in batches, each answered before the next; the clocks
    /// that the engine took for an opening packet of each batch.
    pub fn open(&mut self, count: usize) -> Vec<f64> {
        let mut clocks = Vec::new();
        while self.flows.len() < count {
            let first = self.flows.len();
            let batch = self.setup.batch.min(count - first);
            let clients: Vec<u32> = (0..batch).map(|_| self.own_client()).collect();
            self.fill(batch, |at| Way::Forward(clients[at]));
            clocks.push(self.process() as f64 / batch as f64);
            for (client, frame) in clients.iter().zip(self.batch.frames()) {
                let translated = observe(*client, frame.bytes());
                self.flows.push(translated);
            }
            // Answered, so that they do not count as unanswered ones, which give way to others.
            self.fill(batch, |at| Way::Return(first + at));
            self.process();
        }
        clocks
    }

    /// Sends a batch of packets of random open flows in one direction; the clocks that the engine
    /// took for all of them.
    pub fn hit(&mut self, is_forward: bool) -> u64 {
        let way = |rig: &mut Rig| {
            let picked = rig.pick();
            if is_forward { Way::Forward(rig.flows[picked].client) } else { Way::Return(picked) }
        };
        let ways: Vec<Way> = (0..self.setup.batch).map(|_| way(self)).collect();
        self.fill(self.setup.batch, |at| ways[at]);
        self.process()
    }

    /// Sends a batch of packets that belong to no flow and open none; the clocks for all of them.
    pub fn miss(&mut self) -> u64 {
        self.fill(self.setup.batch, |_| Way::Stray);
        self.process()
    }

    /// Bytes of memory that the tables take when they are full: flows, index, timers, and every
    /// port pool.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        let pools = self.engine.generation().pools.iter();
        self.engine.flows().bytes() + pools.map(Pool::bytes).sum::<usize>()
    }

    fn process(&mut self) -> u64 {
        let before = crate::sys::clocks();
        self.engine.process(self.now, Arrival::Device, &mut self.batch, &mut self.verdicts);
        while let Some(record) = self.engine.poll_record() {
            black_box(record);
        }
        crate::sys::clocks() - before
    }

    /// The next client whose flow is this worker's.
    fn own_client(&mut self) -> u32 {
        loop {
            let number = self.next_client;
            self.next_client += 1;
            let (client, client_port) = client(number);
            let (client, endpoint) = (client.into(), ENDPOINT.into());
            let (endpoint_port, scope) = (PORT, ScopeId(0));
            let protocol = Protocol::Udp;
            let key = FlowKey { client, endpoint, client_port, endpoint_port, scope, protocol };
            if key.owner(self.workers) == self.worker {
                return number;
            }
        }
    }

    fn pick(&mut self) -> usize {
        self.random.below(self.flows.len())
    }

    fn fill(&mut self, count: usize, way: impl Fn(usize) -> Way) {
        self.batch.clear();
        for at in 0..count {
            let way = way(at);
            let (bytes, ingress) = self.packet(way);
            let frame = self.batch.append().expect("a batch has room for a batch");
            frame.fill(&bytes);
            frame.ingress = ingress;
        }
    }

    fn packet(&self, way: Way) -> (Bytes, DeviceIndex) {
        match way {
            Way::Forward(number) => (from_client(number), CONSUMER_DEVICE),
            Way::Return(flow) => (from_backend(&self.flows[flow]), PROVIDER_DEVICE),
            Way::Stray => {
                let (from, to) = ((client(0).0, 9), (ENDPOINT, PORT + 1));
                (FORWARD.packet(from, to), CONSUMER_DEVICE)
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Way {
    Forward(u32),
    Return(usize),
    Stray,
}

/// Numbers without a pattern that a cache would know, the same in every run.
pub(crate) struct Random(u64);

impl Default for Random {
    fn default() -> Random {
        Random(88_172_645_463_325_252)
    }
}

impl Random {
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let picked = (u128::from(self.0) * count as u128) >> 64;
        usize::try_from(picked).expect("below the number")
    }
}

/// Every neighbor has answered just now.
pub(crate) fn confirm(generation: &Generation, now: Instant) {
    let hop = Hop { device: PROVIDER_DEVICE, mac: BACKEND };
    for neighbor in 0..generation.neighbors.len() {
        let neighbor = NeighborIndex(u32::try_from(neighbor).expect("few neighbors"));
        generation.neighbors.confirm(neighbor, hop, now.tick());
    }
}

/// A packet of a client to the endpoint.
pub(crate) fn from_client(number: u32) -> Bytes {
    FORWARD.packet(client(number), (ENDPOINT, PORT))
}

/// A packet of a flow's backend to its NAT IP.
pub(crate) fn from_backend(flow: &Translated) -> Bytes {
    RETURN.packet((flow.backend, BACKEND_PORT), (flow.nat_ip, flow.nat_port))
}

fn client(number: u32) -> (Ipv4Addr, u16) {
    let port = u16::try_from(number % PORTS_PER_CLIENT).expect("below 2^10") + 20_000;
    (Ipv4Addr::from_bits(0x0a00_0004 + number / PORTS_PER_CLIENT), port)
}

/// Packets of clients, and packets of backends.
static FORWARD: LazyLock<Template> = LazyLock::new(|| Template::new(CLIENT, CONSUMER));
static RETURN: LazyLock<Template> = LazyLock::new(|| Template::new(BACKEND, PROVIDER));

/// 64 bytes on the wire: 60 without the check sequence.
const FRAME_BYTES: usize = 60;

pub(crate) type Bytes = [u8; FRAME_BYTES];

/// A UDP packet without addresses and ports, to be copied and filled in: whatever else the
/// processor does between two batches takes the engine's tables from its caches.
struct Template {
    bytes: Bytes,
    /// What the words of both headers sum up to, checksums left out: of IPv4, and of UDP with its
    /// pseudo-header.
    sums: [Sum16BitWords; 2],
}

impl Template {
    fn new(from: MacAddress, to: MacAddress) -> Template {
        let none = Ipv4Addr::UNSPECIFIED.octets();
        let builder = PacketBuilder::ethernet2(from.0, to.0).ipv4(none, none, 64).udp(0, 0);
        let mut bytes = [0; FRAME_BYTES];
        let payload = [0; 18];
        builder.write(&mut &mut bytes[..], &payload).expect("there is room for it");
        let sum = |at: usize| Sum16BitWords::new().add_2bytes([!bytes[at], !bytes[at + 1]]);
        Template { bytes, sums: [sum(24), sum(40)] }
    }

    fn packet(&self, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Bytes {
        let ([a, b, c, d], [e, f, g, h]) = (from.0.octets(), to.0.octets());
        let addresses = [a, b, c, d, e, f, g, h];
        let ([a, b], [c, d]) = (from.1.to_be_bytes(), to.1.to_be_bytes());
        let ports = [a, b, c, d];
        let mut bytes = self.bytes;
        bytes[26..34].copy_from_slice(&addresses);
        bytes[34..38].copy_from_slice(&ports);
        let [mut of_ip, mut of_udp] = self.sums.clone();
        let of_ip = of_ip.add_8bytes(addresses).ones_complement();
        let of_udp = of_udp.add_8bytes(addresses).add_4bytes(ports);
        bytes[24..26].copy_from_slice(&of_ip.to_ne_bytes());
        bytes[40..42].copy_from_slice(&of_udp.to_ones_complement_with_no_zero().to_ne_bytes());
        bytes
    }
}

/// What the first packet of a client's flow became.
pub(crate) fn observe(client: u32, frame: &[u8]) -> Translated {
    let word =
        |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    Translated {
        client,
        nat_ip: Ipv4Addr::from_bits(word(26)),
        backend: Ipv4Addr::from_bits(word(30)),
        nat_port: u16::from_be_bytes([frame[34], frame[35]]),
    }
}

/// One service with eight NAT IPs, and so many backends that ports last for all flows.
fn plan(capacity: usize) -> Plan {
    let device = |name: &str, scope| {
        let (name, kind, namespace) = (name.to_owned(), DeviceKind::AfPacket, None);
        Some(DevicePlan { name, kind, namespace, scope })
    };
    let address_space = vec![Prefix::new(IpAddr::from([10, 0, 0, 0]), 8).expect("canonical")];
    let scope = ScopePlan { address_space, routes: Vec::new() };
    let backends = 1 + u32::try_from(capacity / (8 * 50_000)).expect("a sane capacity");
    let rule = RulePlan {
        protocol: Protocol::Udp,
        port: PORT,
        backend_port: BACKEND_PORT,
        floating: None,
        backends: (0..backends).map(|at| Ipv4Addr::from_bits(0x0a01_0004 + at).into()).collect(),
        balance: Balance::default(),
        timeouts: Timeouts::default(),
        ending: Ending::default(),
    };
    Plan {
        leaving_nat_ips: Vec::new(),
        quotas: Vec::new(),
        probe_sources: Vec::new(),
        security_groups: Vec::new(),
        peerings: Vec::new(),
        fair_share_percent: 0,
        devices: vec![device("consumer", ScopeId(0)), device("provider", ScopeId(1))],
        scopes: vec![scope.clone(), scope],
        services: vec![ServicePlan {
            scope: ScopeId(1),
            nat_ips: (0..8).map(|at| IpAddr::from([10, 2, 0, 4 + at])).collect(),
            refusal: Refusal::Silence,
            rules: vec![rule],
            treatment: Treatment::default(),
        }],
        endpoints: vec![EndpointPlan {
            link: LinkId(1),
            scope: ScopeId(0),
            addresses: IpAddr::V4(ENDPOINT).into(),
            service: ServiceIndex(0),
            gate: Gate::Approved,
            answers_echo: false,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_of_a_template_is_the_one_that_is_built_anew() {
        for number in (0..100_000).step_by(7) {
            let (from, to) = (client(number), (ENDPOINT, PORT));
            let builder = PacketBuilder::ethernet2(CLIENT.0, CONSUMER.0)
                .ipv4(from.0.octets(), to.0.octets(), 64)
                .udp(from.1, to.1);
            let mut bytes = Vec::new();
            builder.write(&mut bytes, &[0; 18]).unwrap();
            assert_eq!(from_client(number).as_slice(), bytes);
        }
    }
}
