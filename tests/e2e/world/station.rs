//! A host and its cable to adit.

use std::net::Ipv4Addr;

use lab::{Link, LinkEnd, Namespace, Offload};

use super::Kind;
use super::config::Device;
use crate::case::{Failure, PATIENCE, wait_for};

/// Name of every host's own device.
const OWN_DEVICE: &str = "eth0";
const PREFIX_LENGTH: u8 = 16;

pub(crate) struct Station {
    name: &'static str,
    virtual_network: &'static str,
    address: Ipv4Addr,
    namespace: Namespace,
    middle: Namespace,
    /// Queues of both ends of its veth pair, if not the kernel's choice.
    queues: Option<u32>,
    /// Its own device and, of a veth pair, the end in adit's namespace.
    cable: Option<(Link, Option<Link>)>,
}

impl Station {
    /// A host without a cable.
    pub(crate) fn create(
        name: &'static str,
        virtual_network: &'static str,
        address: Ipv4Addr,
        middle: &Namespace,
        queues: Option<u32>,
    ) -> Result<Station, Failure> {
        let namespace = Namespace::create(name)?;
        let middle = middle.clone();
        Ok(Station { name, virtual_network, address, namespace, middle, queues, cable: None })
    }

    /// The device that adit has of it.
    pub(crate) fn device_of(&self, kind: Kind) -> Device {
        let virtual_network = self.virtual_network;
        match kind {
            Kind::Packet | Kind::Xdp => {
                Device { name: format!("to-{}", self.name), virtual_network, namespace: None }
            }
            Kind::Tap => {
                let namespace = Some(self.namespace.path());
                Device { name: OWN_DEVICE.to_owned(), virtual_network, namespace }
            }
        }
    }

    /// Makes the veth pair, both ends up; their MTUs may differ.
    pub(crate) fn lay_cable(&mut self, mtu: u32, far_mtu: u32) -> Result<(), Failure> {
        self.lay_cable_at(None, mtu, far_mtu)
    }

    /// The same, with this interface index at both ends.
    pub(crate) fn lay_cable_at(
        &mut self,
        index: Option<u32>,
        mtu: u32,
        far_mtu: u32,
    ) -> Result<(), Failure> {
        let far_name = self.device_of(Kind::Packet).name;
        let near = LinkEnd::new(&self.namespace, OWN_DEVICE).mtu(mtu);
        let far = LinkEnd::new(&self.middle, &far_name).mtu(far_mtu);
        let [near, far] = [near, far].map(|end| LinkEnd { queues: self.queues, index, ..end });
        let (near, far) = Link::veth(&near, &far)?;
        near.add_address(self.address, PREFIX_LENGTH)?;
        near.up()?;
        far.up()?;
        near.wait_until_running(PATIENCE)?;
        self.cable = Some((near, Some(far)));
        Ok(())
    }

    /// Waits for the TAP device that adit makes, and gives it the host's address.
    pub(crate) fn find_tap(&mut self) -> Result<(), Failure> {
        let near = wait_for("adit has made a TAP device", || {
            let found = Link::find(&self.namespace, OWN_DEVICE);
            Ok(found.ok().filter(|link| link.state().is_ok_and(|state| state.up)))
        })?;
        near.add_address(self.address, PREFIX_LENGTH)?;
        self.cable = Some((near, None));
        Ok(())
    }

    /// Takes the cable away, by the end that is nearer to adit.
    pub(crate) fn cut_cable(&mut self) -> Result<(), Failure> {
        let (near, far) = self.cable.take().ok_or("the station has no cable")?;
        Ok(far.unwrap_or(near).delete()?)
    }

    /// The interface index of adit's end of its veth pair.
    pub(crate) fn far_index(&self) -> Option<u32> {
        self.cable.as_ref()?.1.as_ref().map(Link::index)
    }

    /// Queues of both ends of its veth pair, if not the kernel's choice.
    pub(crate) fn queues(&self) -> Option<u32> {
        self.queues
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The host's own device.
    pub(crate) fn near(&self) -> Result<&Link, Failure> {
        let (near, _) = self.cable.as_ref().ok_or("the station has no cable")?;
        Ok(near)
    }

    /// adit's interface: the far end of a veth pair, or the TAP device.
    pub(crate) fn far(&self) -> Result<&Link, Failure> {
        let (near, far) = self.cable.as_ref().ok_or("the station has no cable")?;
        Ok(far.as_ref().unwrap_or(near))
    }

    /// Switches the offloads of the host's own device.
    pub(crate) fn set_offloads(&self, kind: Kind, on: bool) -> Result<(), Failure> {
        let (near, _) = self.cable.as_ref().ok_or("the station has no cable")?;
        let fixed = match kind {
            Kind::Packet => None,
            // XDP on the other end has switched it off for as long as it is there.
            Kind::Xdp => Some(Offload::Tso),
            // A TAP device verifies no checksums.
            Kind::Tap => Some(Offload::RxChecksum),
        };
        let mut offloads = Offload::ALL.to_vec();
        offloads.retain(|&offload| Some(offload) != fixed);
        offloads.iter().try_for_each(|offload| Ok(near.set_offload(*offload, on)?))
    }
}
