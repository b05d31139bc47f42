//! Addresses of virtual networks: who has which, and which is the next that nobody has.
//!
//! The first four addresses of a subnet and its last are reserved, as in Azure.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use dataplane::types::Prefix;

use super::estate::Estate;
use super::limits::RESERVED_FIRST;
use super::model::{Place, Subnet, SubnetKey};
use super::{Fault, Id, Key, Kind};

/// Who has an address, as one names it in an error.
type Owners = HashMap<Ipv4Addr, String>;

/// Gives out addresses of one virtual network.
#[derive(Debug)]
pub struct Allocator<'e> {
    estate: &'e Estate,
    network: &'e Key,
    owners: Owners,
    backends: HashSet<Ipv4Addr>,
}

impl<'e> Allocator<'e> {
    /// For a network, as if `except` had nothing: its addresses may be given to it again.
    #[must_use]
    pub fn new(estate: &'e Estate, network: &'e Key, except: Option<&Id>) -> Allocator<'e> {
        let mut allocator =
            Allocator { estate, network, owners: HashMap::new(), backends: HashSet::new() };
        let routers = estate.network(network).map(|network| network.routers.as_slice());
        let routers = routers.unwrap_or_default().iter();
        allocator.owners.extend(routers.map(|router| (*router, "a router".to_owned())));
        let is_other = |kind, key: &Key| except != Some(&Id::new(kind, key));
        let here = |subnet: &SubnetKey| subnet.network == *network;
        for endpoint in estate.endpoints().filter(|endpoint| here(&endpoint.place.subnet)) {
            if is_other(Kind::Endpoint, &endpoint.head.key()) {
                let owner = format!("the private endpoint {}", endpoint.head.name);
                allocator.owners.insert(endpoint.place.address, owner);
            }
        }
        for service in estate.services() {
            if is_other(Kind::Service, &service.head.key()) {
                let nat_ips = service.nat_ips.iter().filter(|nat_ip| here(&nat_ip.place.subnet));
                let owner = |nat_ip: &super::model::NatIp| {
                    let owner = format!("a NAT IP of {}", service.head.name);
                    (nat_ip.place.address, owner)
                };
                allocator.owners.extend(nat_ips.map(owner));
            }
        }
        for balancer in estate.balancers() {
            let frontends = balancer.frontends.iter().filter(|frontend| here(&frontend.subnet));
            let mut frontends = frontends.peekable();
            if frontends.peek().is_none() || !is_other(Kind::Balancer, &balancer.head.key()) {
                continue;
            }
            let owner = format!("a frontend of {}", balancer.head.name);
            let addresses = frontends.filter_map(|frontend| frontend.address);
            allocator.owners.extend(addresses.map(|address| (address, owner.clone())));
            let backends = balancer.pools.iter().flat_map(|pool| &pool.backends);
            allocator.backends.extend(backends.map(|backend| backend.address));
        }
        allocator
    }

    /// An address of a subnet: the one that is asked for, or `kept` if it is still possible, or the
    /// first that is free.
    ///
    /// # Errors
    /// It is not in the subnet, reserved, or somebody's; or none is free.
    pub fn place(
        &mut self,
        field: &str,
        subnet: SubnetKey,
        wanted: Option<Ipv4Addr>,
        kept: Option<Ipv4Addr>,
        owner: &str,
    ) -> Result<Place, Fault> {
        let unknown = || Fault::reference(field, &subnet.subnet);
        let (_, found) = self.estate.subnet(&subnet).ok_or_else(unknown)?;
        debug_assert_eq!(subnet.network, *self.network);
        let address = match wanted {
            Some(address) => {
                self.judge(field, found, address)?;
                address
            }
            None => self.free(field, found, kept)?,
        };
        self.owners.insert(address, owner.to_owned());
        Ok(Place { subnet, address, is_static: wanted.is_some() })
    }

    fn judge(&self, field: &str, subnet: &Subnet, address: Ipv4Addr) -> Result<(), Fault> {
        let prefix = subnet.prefix;
        if !prefix.contains(address) {
            let rule = format!("{address} is not within the subnet {} ({prefix})", subnet.name);
            let cure = "choose an address of the subnet";
            return Err(Fault::rule("PrivateIPAddressNotInSubnet", field, rule, cure));
        }
        if is_reserved(prefix, address) {
            let rule = format!("{address} is one of the first four or the last of {prefix}");
            let cure = "these are reserved: choose another";
            return Err(Fault::rule("PrivateIPAddressInReservedRange", field, rule, cure));
        }
        if let Some(owner) = self.owner(address) {
            let rule = format!("{address} is {owner} already");
            let cure = "choose another, or leave it out to get a free one";
            return Err(Fault::rule("PrivateIPAddressInUse", field, rule, cure));
        }
        Ok(())
    }

    fn owner(&self, address: Ipv4Addr) -> Option<&str> {
        let owner = self.owners.get(&address).map(String::as_str);
        owner.or_else(|| self.backends.contains(&address).then_some("a backend"))
    }

    fn free(
        &self,
        field: &str,
        subnet: &Subnet,
        kept: Option<Ipv4Addr>,
    ) -> Result<Ipv4Addr, Fault> {
        let prefix = subnet.prefix;
        let is_free = |address: &Ipv4Addr| {
            prefix.contains(*address)
                && !is_reserved(prefix, *address)
                && self.owner(*address).is_none()
        };
        if let Some(kept) = kept.filter(is_free) {
            return Ok(kept);
        }
        let (first, last) = (prefix.address().to_bits(), prefix.last().to_bits());
        let mut all = (first.saturating_add(RESERVED_FIRST)..last).map(Ipv4Addr::from_bits);
        all.find(is_free).ok_or_else(|| {
            let message = format!(
                "{field}: the subnet {} ({prefix}) has no free address; use a larger one",
                subnet.name
            );
            Fault::conflict("SubnetIsFull", message)
        })
    }
}

/// Whether nobody gets an address: the first four and the last.
fn is_reserved(prefix: Prefix, address: Ipv4Addr) -> bool {
    address == prefix.last() || address.to_bits() - prefix.address().to_bits() < RESERVED_FIRST
}
