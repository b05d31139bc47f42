//! Packets of health probes, which whoever probes makes and reads: the engine carries them between
//! him and the network, and looks no further into them.
//!
//! A probe goes where the backend's flows go: by the next hop that they have learned, out of the
//! same device. It comes from a NAT IP, or from an address that is nothing else, and from a port
//! that no lease can have ([`PORT_FIRST`]), so that it meets no flow (I2). What answers is TCP,
//! from a backend, to such a port. No flow, no lease and no quota knows of it.

use super::{Engine, Verdict};
use crate::device::Frame;
use crate::drop_reason::DropReason;
use crate::limits::PORT_FIRST;
use crate::packet::Packet;
use crate::types::{DeviceIndex, Protocol, ScopeId, ScopedAddress};
use crate::wire::ethernet;

impl Engine {
    /// A packet to an address and port that probes come from.
    pub(super) fn hear_probed(
        &self,
        scope: ScopeId,
        packet: &Packet,
    ) -> Result<Verdict, DropReason> {
        let tuple = &packet.tuple;
        let answers = packet.protocol == Protocol::Tcp
            && tuple.destination_port < PORT_FIRST
            && self.generation.snapshot.is_probed(scope, tuple.destination, tuple.source);
        if answers { Ok(Verdict::TakeUp) } else { Err(DropReason::UnsolicitedFromProvider) }
    }

    /// Addresses a probe's frame to the station of its backend; says where it leaves. `None` if the
    /// backend is unknown or its next hop has not answered: whoever probes sends again.
    pub fn send_probe(&self, backend: ScopedAddress, frame: &mut Frame) -> Option<DeviceIndex> {
        let ScopedAddress { scope, address } = backend;
        let next_hop = self.generation.snapshot.backend_at(scope, address)?.next_hop;
        let hop = self.generation.neighbors.lookup(next_hop)?;
        let link = self.link(hop.device)?;
        ethernet::set_stations(frame.bytes_mut(), hop.mac, link.mac);
        Some(hop.device)
    }
}
