//! Telling a network that adit has another station there (RFC 5227 2.3, RFC 826, RFC
//! 4861 7.2.6).
//!
//! When a device comes to have another Ethernet address than before, hosts go on sending to the old
//! one until their caches expire, half a minute later. So every address that adit answers for in
//! the device's network is announced, once, by the first worker.
//!
//! Bounds: a walk over all endpoints, probe sources and NAT IPs, [`STEPS_PER_ADVANCE`] of them at a
//! time; as many walks as there are devices. A device that is opened for the first time announces
//! nothing: there is nothing to correct.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::Engine;
use crate::classify::answers_for;
use crate::device::{Frame, Link};
use crate::limits::{DEVICES_MAX, NAT_IPS_MAX};
use crate::packet::resolution;
use crate::snapshot::{Local, Snapshot};
use crate::types::{Address, DeviceIndex, Family, MacAddress, ScopeId, ServiceIndex, WorkerId};

/// Addresses that are looked at in one advance.
const STEPS_PER_ADVANCE: u32 = 64;

/// Only one worker of all announces.
const ANNOUNCER: WorkerId = WorkerId(0);

/// What there is to announce.
pub(super) struct Announcements {
    /// The station of each device when it was last opened, zero before.
    stations: Vec<MacAddress>,
    /// Devices to announce on, and how far the walk has come.
    walks: VecDeque<(DeviceIndex, usize)>,
    steps: u32,
}

impl Announcements {
    pub(super) fn new() -> Announcements {
        let (stations, walks) =
            (vec![MacAddress::ZERO; DEVICES_MAX], VecDeque::with_capacity(DEVICES_MAX));
        Announcements { stations, walks, steps: 0 }
    }

    /// Whether there is anything.
    pub(super) fn is_empty(&self) -> bool {
        self.walks.is_empty()
    }

    /// A device is open with this address.
    pub(super) fn note(&mut self, device: DeviceIndex, link: Link) {
        let Some(station) = self.stations.get_mut(device.slot()) else { return };
        let before = core::mem::replace(station, link.mac);
        if before != MacAddress::ZERO && before != link.mac {
            self.walks.retain(|(other, _)| *other != device);
            self.walks.push_back((device, 0));
        }
    }

    /// The addresses may be others by now: all walks begin again.
    pub(super) fn restart(&mut self) {
        self.walks.iter_mut().for_each(|(_, at)| *at = 0);
    }

    /// Time has passed.
    pub(super) fn advance(&mut self) {
        self.steps = STEPS_PER_ADVANCE;
    }

    /// The next address to announce, and where.
    fn next(&mut self, snapshot: &Snapshot) -> Option<(DeviceIndex, IpAddr)> {
        while self.steps > 0 {
            let (device, at) = self.walks.front_mut()?;
            self.steps -= 1;
            let (device, own) = (*device, own_address(snapshot, *at));
            *at += 1;
            match own {
                None => drop(self.walks.pop_front()),
                Some((scope, Some(address))) if is_answered(snapshot, device, (scope, address)) => {
                    return Some((device, address));
                }
                Some(_) => {}
            }
        }
        None
    }
}

/// Whether adit answers on a device for an address of a network: its own, or an endpoint's of a
/// peer.
fn is_answered(snapshot: &Snapshot, device: DeviceIndex, (of, address): (ScopeId, IpAddr)) -> bool {
    let Some(scope) = snapshot.device_scope(device) else { return false };
    let is_of_peer = || {
        let address = Address::from(address);
        let peer = snapshot.peer_at(scope, address).is_some_and(|peer| peer.scope == of);
        peer && answers_for(snapshot, scope, address)
    };
    scope == of || is_of_peer()
}

/// The address of adit at this place of the walk, if there is one at it; `None` behind the last.
fn own_address(snapshot: &Snapshot, at: usize) -> Option<(ScopeId, Option<IpAddr>)> {
    // Each has room for an address of each family.
    let families = Family::ALL.len();
    if let Some(endpoint) = snapshot.endpoints().get(at / families) {
        let own = Family::ALL.get(at % families).and_then(|&family| endpoint.addresses.of(family));
        return Some((endpoint.scope, own.map(Address::ip)));
    }
    let at = at - snapshot.endpoints().len() * families;
    if let Some(source) = snapshot.probe_sources().get(at) {
        // A NAT IP has its place below.
        let is_own = snapshot.local(source.scope, source.address) == Some(Local::ProbeSource);
        return Some((source.scope, is_own.then_some(source.address)));
    }
    let at = at - snapshot.probe_sources().len();
    let service = ServiceIndex(u32::try_from(at / NAT_IPS_MAX).ok()?);
    let service = snapshot.service(service)?;
    Some((service.scope, service.nat_ips.get(at % NAT_IPS_MAX).map(|nat_ip| nat_ip.ip())))
}

impl Engine {
    /// Notes the station of a device that was opened or changed.
    pub(super) fn note_station(&mut self, device: DeviceIndex, link: Link) {
        if self.worker == ANNOUNCER {
            self.announcements.note(device, link);
        }
    }

    /// Writes the next announcement into `frame`.
    pub(super) fn emit_announcement(&mut self, frame: &mut Frame) -> Option<DeviceIndex> {
        while let Some((device, address)) = self.announcements.next(&self.generation.snapshot) {
            let Some(link) = self.link(device) else { continue };
            if let Some(announcement) = resolution::announce(link.mac, address) {
                frame.fill(&announcement);
                return Some(device);
            }
        }
        None
    }
}
