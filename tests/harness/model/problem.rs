//! What adit itself says of packets that it refuses: to whom, how often, and byte for byte.

use std::net::IpAddr;

use dataplane::drop_reason::DropReason;
use dataplane::snapshot::{Gate, IcmpAnswers};
use dataplane::types::DeviceIndex;
use pnet_base::MacAddr;

use super::form::{header_bytes, mac, upper};
use super::icmp::{ends, service_at};
use super::peering::{judge_client, reached};
use super::rules::Model;
use super::wanted::{Local, is_pool, scope_of};
use crate::encode::{Image, TCP, UDP};
use crate::icmp::IcmpShape;

/// What the sender of a refused packet may hear.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    TooBig,
    TimeExceeded,
    Prohibited,
}

impl Said {
    fn of(reason: DropReason) -> Option<Said> {
        use DropReason as R;
        let prohibited = [
            R::SecurityRuleDenied,
            R::ConnectionPending,
            R::ConnectionRejected,
            R::ConnectionDisconnected,
            R::NoRule,
            R::NoBackend,
            R::NoHealthyBackend,
            R::NatPortsExhausted,
            R::FlowTableFull,
        ];
        match reason {
            R::TooBig => Some(Said::TooBig),
            R::Ipv4TtlExpired | R::Ipv6HopLimit => Some(Said::TimeExceeded),
            reason => prohibited.contains(&reason).then_some(Said::Prohibited),
        }
    }

    fn is_wanted(self, answers: IcmpAnswers) -> bool {
        match self {
            Said::TooBig => answers.too_big,
            Said::TimeExceeded => answers.time_exceeded,
            Said::Prohibited => answers.prohibited,
        }
    }

    /// Type and code.
    fn number(self, is_ipv6: bool) -> (u8, u8) {
        match (self, is_ipv6) {
            (Said::TooBig, false) => (3, 4),
            (Said::TooBig, true) => (2, 0),
            (Said::TimeExceeded, false) => (11, 0),
            (Said::TimeExceeded, true) => (3, 0),
            (Said::Prohibited, false) => (3, 13),
            (Said::Prohibited, true) => (1, 1),
        }
    }
}

/// A refused packet of TCP or UDP.
struct Refused<'a> {
    packet: &'a [u8],
    protocol: u8,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
    /// Whether a router may cut it.
    may_be_cut: bool,
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The packet in a frame, unless it is of another protocol or a later fragment.
fn refused(bytes: &[u8]) -> Option<Refused<'_>> {
    let ip = &bytes[14..];
    let is_ipv6 = ip[0] >> 4 == 6;
    let total = if is_ipv6 { 40 + usize::from(word(ip, 4)) } else { word(ip, 2).into() };
    let packet = &ip[..total];
    let (protocol, at, start, may_be_cut) = if is_ipv6 {
        let upper = upper(packet).ok()?;
        (upper.number, upper.at, upper.piece.map_or(0, |piece| piece.start), false)
    } else {
        let place = word(packet, 6);
        (packet[9], usize::from(packet[0] & 15) * 4, (place & 0x1fff).into(), place & 0x4000 == 0)
    };
    let has_ports = start == 0 && [TCP, UDP].contains(&protocol);
    let ports = packet.get(at..at + 4).filter(|_| has_ports)?;
    let (source, destination) = ends(packet);
    let (source, destination) = ((source, word(ports, 0)), (destination, word(ports, 2)));
    Some(Refused { packet, protocol, source, destination, may_be_cut })
}

impl Model {
    /// A packet was refused: its sender may hear why.
    pub(super) fn tell_problem(
        &mut self,
        worker: usize,
        reason: DropReason,
        (ingress, input): (DeviceIndex, &Image),
    ) {
        let Some(said) = Said::of(reason) else { return };
        let Some(scope) = scope_of(self.plan(worker), ingress) else { return };
        let Some(refused) = refused(&input.bytes) else { return };
        if !self.may_hear(worker, scope, (said, &refused)) {
            return;
        }
        let word = match said {
            Said::TooBig if refused.may_be_cut => return,
            Said::TooBig => match self.mtu_beyond(worker, scope, &refused) {
                Some(mtu) => mtu,
                None => return,
            },
            // Clients of TCP are reset.
            Said::Prohibited if refused.protocol == TCP => return,
            Said::TimeExceeded | Said::Prohibited => 0,
        };
        let now = self.now;
        let teller = &mut self.workers[worker];
        let Some(link) = teller.links.get(&ingress) else { return };
        if !teller.problems.spend(scope, now) {
            return;
        }
        let (to, from) = (refused.source.0, refused.destination.0);
        let most = if to.is_ipv6() { 1_280 } else { 576 } - header_bytes(to.is_ipv6()) - 8;
        let body = refused.packet[..refused.packet.len().min(most)].to_vec();
        let (kind, code) = said.number(to.is_ipv6());
        let told = IcmpShape { kind, code, word: word.to_be_bytes(), body, error: 0 };
        let mut shape = told.between(from, to).to_station(MacAddr::from(mac(&input.bytes, 6)));
        shape.from_mac = MacAddr::from(link.mac.0);
        shape.fragment_flags = 2;
        teller.requests.push((ingress, shape.encode()));
        self.problems[said as usize][usize::from(to.is_ipv6())] += 1;
    }

    /// Only who may talk to adit, and of a service that wants it.
    fn may_hear(&self, worker: usize, scope: u16, (said, refused): (Said, &Refused<'_>)) -> bool {
        let (plan, destination) = (self.plan(worker), refused.destination.0);
        let Some(service) = service_at(plan, scope, destination) else { return false };
        if !said.is_wanted(service.treatment.icmp_answers) {
            return false;
        }
        match reached(plan, scope, destination) {
            Ok(Local::Endpoint(endpoint)) => {
                // Who is not approved hears of that alone.
                let passes = endpoint.gate == Gate::Approved || said == Said::Prohibited;
                passes && judge_client(plan, (scope, refused.source.0), endpoint.scope.0).is_ok()
            }
            _ => is_pool(plan, (scope, destination, refused.source.0, refused.protocol)),
        }
    }

    /// The MTU that a packet did not fit, as its sender has to know it.
    fn mtu_beyond(&self, worker: usize, scope: u16, refused: &Refused<'_>) -> Option<u32> {
        let Refused { protocol, source, destination, .. } = *refused;
        let links = &self.workers[worker].links;
        let lease = ((scope, destination.0, source.0, protocol), destination.1);
        let (mtu, beyond) = match reached(self.plan(worker), scope, destination.0).ok()? {
            Local::Endpoint(_) => {
                let flow = self.flows.get(&(scope, protocol, source, destination))?;
                let (view, provider) = (self.view(worker), flow.provider);
                let next_hop = (provider, view.next_hop(provider, flow.choice.backend));
                let mtu = match view.hops.lookup(next_hop) {
                    Some((device, _)) => links.get(&device)?.mtu,
                    None => {
                        let links = self.scope_links(worker, provider).into_iter();
                        links.map(|(_, link)| link.mtu).min()?
                    }
                };
                (mtu, flow.choice.target.0)
            }
            _ => {
                let key = self.leases.get(&lease)?;
                let (device, _) = self.flows[key].client?;
                (links.get(&device)?.mtu, key.2.0)
            }
        };
        let header = |address: IpAddr| if address.is_ipv6() { 40 } else { 20 };
        let seen = mtu + header(source.0) - header(beyond);
        let crosses = source.0.is_ipv6() && !beyond.is_ipv6();
        Some(if crosses { seen.max(1_280) } else { seen })
    }
}
