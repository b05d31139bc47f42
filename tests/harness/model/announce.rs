//! A device that comes to have another station: the first worker tells its network, one address
//! after the other, so many at a time.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use dataplane::device::Link;
use dataplane::limits::NAT_IPS_MAX;
use dataplane::snapshot::Plan;
use dataplane::types::DeviceIndex;
use pnet_base::MacAddr;

use super::form::Mac;
use super::peering::{is_told, reached};
use super::rules::Model;
use super::wanted::{Local, local, scope_of};
use crate::encode::ArpShape;
use crate::ndp::NdpShape;

/// Places that are looked at whenever time passes.
const STEPS: usize = 64;

/// What is yet to be told.
#[derive(Default)]
pub(super) struct Announcements {
    stations: BTreeMap<DeviceIndex, Mac>,
    /// Devices, and the place that comes next on each.
    walks: VecDeque<(DeviceIndex, usize)>,
    steps: usize,
}

impl Announcements {
    /// A device is open with this station.
    pub(super) fn open(&mut self, device: DeviceIndex, link: Link) {
        let before = self.stations.insert(device, link.mac.0);
        if before.is_some_and(|before| before != link.mac.0) {
            self.walks.retain(|(other, _)| *other != device);
            self.walks.push_back((device, 0));
        }
    }

    /// There is another configuration.
    pub(super) fn restart(&mut self) {
        self.walks.iter_mut().for_each(|(_, at)| *at = 0);
    }

    /// Time was noticed.
    pub(super) fn advance(&mut self) {
        self.steps = STEPS;
    }
}

/// Whether adit has an address for probes alone.
fn is_only_probe_source(plan: &Plan, scope: u16, address: IpAddr) -> bool {
    matches!(local(plan, scope, address), Some(Local::ProbeSource))
}

/// Whether the hosts of a network hear of an address: of their own, and of the endpoints of peers.
fn hears(plan: &Plan, at: u16, (scope, address): (u16, IpAddr)) -> bool {
    let of_peer = || match reached(plan, at, address) {
        Ok(Local::Endpoint(endpoint)) => endpoint.scope.0 == scope && is_told(plan, at, address),
        _ => false,
    };
    at == scope || of_peer()
}

/// The places where a configuration may have an address of adit's.
fn places(plan: &Plan) -> Vec<Option<(u16, IpAddr)>> {
    // One place for each family.
    let endpoints = plan.endpoints.iter().flat_map(|entry| {
        let of = |is_ipv6| entry.addresses.ips().find(move |it| it.is_ipv6() == is_ipv6);
        [of(false), of(true)].map(|address| address.map(|it| (entry.scope.0, it)))
    });
    let nat_ips = plan.services.iter().flat_map(|service| {
        let nat_ip = |at| service.nat_ips.get(at).map(|nat_ip| (service.scope.0, *nat_ip));
        (0..NAT_IPS_MAX).map(nat_ip)
    });
    let sources = plan.probe_sources.iter().map(|source| {
        let place = (source.scope.0, source.address);
        is_only_probe_source(plan, place.0, place.1).then_some(place)
    });
    endpoints.chain(sources).chain(nat_ips).collect()
}

impl Model {
    /// Owes what the first worker announces now.
    pub(super) fn announce(&mut self) {
        let places = places(&self.view(0).plan);
        while self.announcements.steps > 0 {
            let Some((device, at)) = self.announcements.walks.front_mut() else { return };
            let (device, place) = (*device, places.get(*at));
            *at += 1;
            self.announcements.steps -= 1;
            match place {
                None => drop(self.announcements.walks.pop_front()),
                Some(Some((scope, address))) => self.announce_at(device, *scope, *address),
                Some(None) => {}
            }
        }
    }

    fn announce_at(&mut self, device: DeviceIndex, scope: u16, address: IpAddr) {
        let plan = &self.view(0).plan;
        let is_there = scope_of(plan, device).is_some_and(|at| hears(plan, at, (scope, address)));
        let link = self.workers[0].links.get(&device).filter(|_| is_there);
        if let Some(mac) = link.map(|link| MacAddr::from(link.mac.0)) {
            let nobody = (IpAddr::V6(Ipv6Addr::UNSPECIFIED), mac);
            let told = match address.is_ipv6() {
                true => NdpShape::is_at((address, mac), nobody).encode(),
                false => ArpShape::who_has(address, (address, mac)).encode(),
            };
            self.workers[0].requests.push((device, told));
        }
    }
}
