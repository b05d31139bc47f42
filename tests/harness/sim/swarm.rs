//! Which of all possible troubles a world has: each seed switches them on and off, because a world
//! with every trouble at once never gets far enough to show a rare one.

use dataplane::types::Family;

use super::chaos::Act;
use super::intent::Way;
use super::link::Faults;
use super::nic::Rings;
use crate::Random;

/// What a seed decides about a world before it begins.
#[derive(Clone, Debug)]
pub(super) struct Swarm {
    /// Nothing destroys a connection for good, so that every transfer must complete.
    pub(super) is_mild: bool,
    pub(super) way: Way,
    pub(super) workers: u8,
    pub(super) flows_max: usize,
    pub(super) tenants: usize,
    pub(super) providers: usize,
    pub(super) backends: u8,
    pub(super) nat_ips: u8,
    /// Hosts of each tenant.
    pub(super) clients: u8,
    pub(super) dials: usize,
    /// Bytes that one side of a connection sends at most.
    pub(super) bytes: usize,
    /// Whether some connections pause for minutes.
    pub(super) has_pauses: bool,
    pub(super) rings: Rings,
    /// Frames that a transmit ring gives to its cable at a time.
    pub(super) drain: usize,
    /// Microseconds until a worker looks at what arrived, at most.
    pub(super) latency: usize,
    /// Whether frames come to any worker, or all of a flow to the same.
    pub(super) scatters: bool,
    /// Whether adit's kernel puts segments together.
    pub(super) merges: bool,
    /// Whose PROXY headers backends want, if any.
    pub(super) proxy: Option<&'static str>,
    /// Whether frontends float.
    pub(super) floats: bool,
    pub(super) faults: Faults,
    pub(super) mtus: Vec<usize>,
    /// What happens, each as likely as its number says.
    pub(super) acts: Vec<(Act, usize)>,
    /// Milliseconds between two of them, on average.
    pub(super) pace: usize,
    /// How many happen.
    pub(super) count: usize,
}

/// Acts that no connection may notice for long.
const MILD: &[Act] = &[
    Act::Reload,
    Act::Garble,
    Act::AddBackend,
    Act::AddNatIp,
    Act::MoveBackend,
    Act::Trespass,
    Act::Stall,
];

/// Acts that may end connections.
const HARSH: &[Act] = &[
    Act::RemoveBackend,
    Act::RemoveNatIp,
    Act::Decide,
    Act::RemoveEndpoint,
    Act::AddEndpoint,
    Act::SetTimeouts,
    Act::Unplug,
    Act::Reject,
    Act::Detach,
    Act::Silence,
    Act::Mute,
    Act::MoveClient,
    Act::Leap,
    Act::Flood,
    Act::Exhaust,
    Act::Forge,
];

impl Swarm {
    /// The features of a seed's world.
    pub(super) fn draw(random: &mut Random) -> Swarm {
        let is_mild = random.one_in(3);
        let mut swarm = Swarm {
            is_mild,
            way: if random.one_in(2) { Way::ALL[0] } else { *random.pick(&Way::ALL[1..]) },
            workers: 1 + u8::from(random.one_in(2)),
            flows_max: if is_mild { 4_096 } else { *random.pick(&[6, 40, 600, 4_096]) },
            tenants: 2 + random.below(2),
            providers: 1 + random.below(2),
            backends: 1 + u8::try_from(random.below(3)).unwrap_or(0),
            nat_ips: 1 + u8::from(random.one_in(3)),
            clients: 1 + u8::from(random.one_in(2)),
            dials: *random.pick(&[4, 12, 30]),
            bytes: *random.pick(&[100, 3_000, 60_000]),
            has_pauses: random.one_in(3),
            rings: Rings {
                receive: *random.pick(&[4, 64, 512]),
                transmit: *random.pick(&[2, 16, 512]),
                burst: *random.pick(&[1, 3, 64]),
            },
            drain: *random.pick(&[1, 8, 512]),
            latency: *random.pick(&[1, 30, 2_000]),
            scatters: random.one_in(2),
            merges: random.one_in(2),
            proxy: random.one_in(2).then(|| *random.pick(&["azure", "aws", "gcp"])),
            floats: random.one_in(4),
            faults: faults(random, is_mild),
            mtus: Vec::new(),
            acts: Vec::new(),
            pace: *random.pick(&[5, 100, 2_000]),
            count: random.below(60),
        };
        swarm.mtus = mtus(&swarm, random);
        let harsh = if is_mild { &[][..] } else { HARSH };
        for &act in MILD.iter().chain(harsh) {
            if random.one_in(3) {
                swarm.acts.push((act, 1 + random.below(5)));
            }
        }
        swarm
    }

    /// Whether what fits one cable fits all. The 20 bytes that packets grow by when they cross from
    /// IPv4 to IPv6 do not matter: TCP's ends hear of each other's MSS, and datagrams are short.
    pub(super) fn has_one_mtu(&self) -> bool {
        self.mtus.windows(2).all(|pair| pair[0] == pair[1])
    }
}

/// One MTU for all networks, or each its own.
fn mtus(swarm: &Swarm, random: &mut Random) -> Vec<usize> {
    // RFC 791 3.1, RFC 8200 5.
    let least = |family| match family {
        Family::V4 => 576,
        Family::V6 => 1_280,
    };
    let Way { tenants, providers } = swarm.way;
    let equal = *random.pick(&[576, 1_500, 9_000]);
    let equal = equal.max(least(tenants)).max(least(providers));
    let varies = random.one_in(3);
    let families = [vec![tenants; swarm.tenants], vec![providers; swarm.providers]].concat();
    let mtu = |family| match varies {
        true => least(family).max(600 + random.below(900)),
        false => equal,
    };
    families.into_iter().map(mtu).collect()
}

fn faults(random: &mut Random, is_mild: bool) -> Faults {
    let mut chance = |most: usize| if random.one_in(2) { random.below(most + 1) } else { 0 };
    let (loss, double, reorder) = (chance(60), chance(60), chance(100));
    // A frame check sequence spares real networks most of these.
    let (corrupt, cut) = if is_mild { (0, 0) } else { (chance(40), chance(40)) };
    let (delay, jitter) = (chance(5_000), chance(3_000));
    Faults { loss, double, reorder, corrupt, cut, delay, jitter }
}
