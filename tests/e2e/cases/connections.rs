//! Ten thousand short connections: all succeed, all backends and both NAT IPs serve, and when they
//! are over every lease is back and every packet accounted for.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use lab::client::http_get;

use super::{FAST_2, PACKET_2, TAP, XDP_2};
use crate::case::{Case, Failure, Outcome, at_once, wait_until};
use crate::world::{BACKENDS, NAT_IPS, Station, World, dial, list, number, port};

/// Threads for each tenant.
const THREADS: usize = 4;

pub(super) const CASES: &[Case] = &[
    Case::new("connections::packet_2_workers_10000", PACKET_2, |world| connections(world, 5000)),
    Case::new("connections::fast_path_2_workers_4000", FAST_2, |world| connections(world, 2000)),
    Case::new("connections::xdp_2_workers_2000", XDP_2, |world| connections(world, 1000)),
    Case::new("connections::tap_1_worker_2000", TAP, |world| connections(world, 1000)),
];

/// Makes so many connections from each tenant.
fn connections(world: &mut World, each: usize) -> Outcome {
    world.both(|station| storm(station, each))?;
    let total = 2 * each;
    let mut nat_ips: HashMap<Ipv4Addr, usize> = HashMap::new();
    let mut served = 0;
    for backend in &world.backends {
        let peers = backend.http.peers();
        let share = peers.len();
        let name = backend.station.name();
        // Of n fair throws a backend gets n/3; far outside of that nobody lands by chance.
        let fair = share * 4 > total && share * 2 < total;
        ensure!(fair, "{name} served {share} of {total}");
        served += share;
        peers.iter().for_each(|peer| *nat_ips.entry(*peer.ip()).or_default() += 1);
    }
    ensure!(served == total, "{served} of {total} were served");
    let sum: usize = NAT_IPS.iter().filter_map(|nat_ip| nat_ips.get(nat_ip)).sum();
    ensure!(sum == total && nat_ips.len() == NAT_IPS.len(), "peers were {nat_ips:?}");
    let least = nat_ips.values().min().copied().unwrap_or(0);
    ensure!(least * 4 > total, "the NAT IPs are used unevenly: {nat_ips:?}");
    let opened = world.adit.status("flows_opened")?;
    ensure!(opened == total as u64, "adit opened {opened} flows for {total} connections");
    leases_return(world)?;
    world.wait_for_balance()
}

fn storm(station: &Station, count: usize) -> Outcome {
    at_once(THREADS, |_| {
        for _ in 0..count / THREADS {
            let answer = http_get(&dial(port::HTTP), "/")?.answer()?;
            ensure!(NAT_IPS.contains(answer.peer.ip()), "{} saw {answer}", station.name());
        }
        Ok(())
    })
}

/// After the closing timeout no port is leased and no flow lives.
fn leases_return(world: &World) -> Outcome {
    let mut left = 0;
    wait_until("all leases return", || {
        let answer = world.adit.ask(&["services"])?;
        let mut pools = 0;
        left = 0;
        for service in list(&answer, "services")? {
            for pool in list(service, "nat_ports")? {
                left += number(pool, "leased")?;
                pools += 1;
            }
        }
        ensure!(pools >= NAT_IPS.len() * BACKENDS.len(), "only {pools} pools in {answer}");
        Ok(left == 0)
    })
    .map_err(|failure| Failure::from(format!("{failure}: {left} are left")))?;
    // Workers tell a little after.
    wait_until("no flow lives without a lease", || Ok(world.adit.status("flows")? == 0))
}
