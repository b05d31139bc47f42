//! All cases, in the order in which they run.

mod arm;
mod balance;
mod bench;
mod chaos;
mod collector;
mod connections;
mod decisions;
mod ending;
mod floating;
mod gate;
mod icmp;
mod idle;
mod iperf;
mod ipv6;
mod lifecycle;
mod many_probed;
mod mtu;
mod nat_ips;
mod observe;
mod outage;
mod path_mtu;
mod peering;
mod plan;
mod privileges;
mod probes;
mod proxy;
mod quota;
mod record;
mod reload;
mod security;
mod tenants;
mod topologies;
mod trace;
mod traffic;
mod transfers;
mod trouble;
mod udp;
mod web;

use crate::case::Case;
use crate::world::{Kind, Plan};

const PACKET: Plan = Plan::new(Kind::Packet, 1);
const PACKET_2: Plan = Plan::new(Kind::Packet, 2);
const FAST: Plan = Plan { fast_path: true, ..PACKET };
const FAST_2: Plan = Plan { fast_path: true, ..PACKET_2 };
const XDP: Plan = Plan::new(Kind::Xdp, 1);
const XDP_2: Plan = Plan { queues: Some(2), ..Plan::new(Kind::Xdp, 2) };
/// Workers that are handed everything over, since the devices have one queue each.
const XDP_HANDED: Plan = Plan::new(Kind::Xdp, 2);
const TAP: Plan = Plan::new(Kind::Tap, 1);
const TAP_2: Plan = Plan::new(Kind::Tap, 2);

pub(crate) fn all() -> Vec<Case> {
    [
        tenants::CASES,
        udp::CASES,
        transfers::CASES,
        connections::CASES,
        topologies::CASES,
        peering::CASES,
        balance::CASES,
        floating::CASES,
        gate::CASES,
        ending::CASES,
        nat_ips::CASES,
        observe::CASES,
        quota::CASES,
        security::CASES,
        icmp::CASES,
        mtu::CASES,
        path_mtu::CASES,
        ipv6::CASES,
        record::CASES,
        collector::CASES,
        traffic::CASES,
        trace::CASES,
        reload::CASES,
        outage::CASES,
        plan::CASES,
        decisions::CASES,
        privileges::CASES,
        idle::CASES,
        lifecycle::CASES,
        chaos::cases().as_slice(),
        trouble::CASES,
        bench::CASES,
        web::CASES,
        probes::CASES,
        many_probed::CASES,
        proxy::CASES,
        iperf::CASES,
        arm::CASES,
    ]
    .concat()
}
