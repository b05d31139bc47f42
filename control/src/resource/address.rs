//! Addresses of virtual networks: who has which, and which is the next that nobody has.
//!
//! The first four addresses of a subnet and its last are reserved, as in Azure.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::types::{Family, Prefix};

use super::estate::Estate;
use super::limits::RESERVED_FIRST;
use super::model::{Place, Subnet, SubnetKey};
use super::{Fault, Id, Key, Kind};

/// Who has an address.
#[derive(Clone, Copy, Debug)]
enum Owner<'e> {
    Router,
    Endpoint(&'e str),
    NatIp(&'e str),
    Frontend(&'e str),
    Backend,
    /// Whoever asks now.
    Asker,
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Router => f.write_str("a router"),
            Owner::Endpoint(name) => write!(f, "the private endpoint {name}"),
            Owner::NatIp(name) => write!(f, "a NAT IP of {name}"),
            Owner::Frontend(name) => write!(f, "a frontend of {name}"),
            Owner::Backend => f.write_str("a backend"),
            Owner::Asker => f.write_str("another address of the same resource"),
        }
    }
}

/// What address is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its family.
    pub family: Family,
    /// The address, unless any will do.
    pub address: Option<IpAddr>,
}

impl Wanted {
    /// Of a family, and perhaps a certain one.
    ///
    /// # Errors
    /// That one is of the other family.
    pub fn of(field: &str, family: Family, address: Option<IpAddr>) -> Result<Wanted, Fault> {
        if let Some(address) = address.filter(|address| Family::of(*address) != family) {
            let rule = format!("{address} is no {} address", family.name());
            let cure = "write the other version, or another address";
            return Err(Fault::rule("InvalidIPAddressVersion", field, rule, cure));
        }
        Ok(Wanted { family, address })
    }
}

/// Gives out addresses of one virtual network.
#[derive(Debug)]
pub struct Allocator<'e> {
    estate: &'e Estate,
    network: &'e Key,
    owners: HashMap<IpAddr, Owner<'e>>,
    backends: HashSet<IpAddr>,
}

impl<'e> Allocator<'e> {
    /// For a network, as if `except` had nothing: its addresses may be given to it again. An
    /// endpoint keeps its address, and is never meant.
    #[must_use]
    pub fn new(estate: &'e Estate, network: &'e Key, except: Option<&Id>) -> Allocator<'e> {
        let (mut owners, mut backends) = (HashMap::new(), HashSet::new());
        let routers = estate.network(network).map(|network| network.routers.as_slice());
        let routers = routers.unwrap_or_default().iter();
        owners.extend(routers.map(|router| (*router, Owner::Router)));
        let is_other = |kind, key: &Key| except != Some(&Id::new(kind, key));
        let here = |subnet: &SubnetKey| subnet.network == *network;
        for endpoint in estate.endpoints_of_network(network) {
            let owner = Owner::Endpoint(&endpoint.head.name);
            owners.extend(endpoint.addresses().ips().map(|address| (address, owner)));
        }
        for service in estate.services() {
            let nat_ips = service.nat_ips.iter().filter(|nat_ip| here(&nat_ip.place.subnet));
            let mut nat_ips = nat_ips.peekable();
            if nat_ips.peek().is_some() && is_other(Kind::Service, &service.head.key()) {
                let owner = Owner::NatIp(&service.head.name);
                owners.extend(nat_ips.map(|nat_ip| (nat_ip.place.address, owner)));
            }
        }
        for balancer in estate.balancers() {
            let frontends = balancer.frontends.iter().filter(|frontend| here(&frontend.subnet));
            let mut frontends = frontends.peekable();
            if frontends.peek().is_none() || !is_other(Kind::Balancer, &balancer.head.key()) {
                continue;
            }
            let owner = Owner::Frontend(&balancer.head.name);
            let addresses = frontends.filter_map(|frontend| frontend.address);
            owners.extend(addresses.map(|address| (address, owner)));
            let pooled = balancer.pools.iter().flat_map(|pool| &pool.backends);
            backends.extend(pooled.map(|backend| backend.address));
            let translated = balancer.nat_rules.iter().flat_map(|rule| &rule.mapping);
            backends.extend(translated.map(|(address, _)| *address));
        }
        Allocator { estate, network, owners, backends }
    }

    /// An address of a subnet, of the family that is asked for: the one that is named, or `kept` if
    /// it is still possible, or the first that is free.
    ///
    /// # Errors
    /// It is not in the subnet, reserved, or somebody's; or none is free; or the subnet has no
    /// prefix of the family.
    pub fn place(
        &mut self,
        field: &str,
        subnet: SubnetKey,
        wanted: &Wanted,
        kept: Option<IpAddr>,
    ) -> Result<Place, Fault> {
        let unknown = || Fault::reference(field, &subnet.subnet);
        let (_, found) = self.estate.subnet(&subnet).ok_or_else(unknown)?;
        debug_assert_eq!(subnet.network, *self.network);
        let prefix = found.prefix(wanted.family).ok_or_else(|| {
            let family = wanted.family.name();
            let rule = format!("the subnet {} has no {family} prefix", found.name);
            let cure = format!("give it one in addressPrefixes, or ask for no {family} address");
            Fault::rule("SubnetDoesNotHaveAddressPrefixOfVersion", field, rule, cure)
        })?;
        let address = match wanted.address {
            Some(address) => {
                self.judge(field, (found, prefix), address)?;
                address
            }
            None => self.free(field, (found, prefix), kept)?,
        };
        self.owners.insert(address, Owner::Asker);
        Ok(Place { subnet, address, is_static: wanted.address.is_some() })
    }

    fn judge(
        &self,
        field: &str,
        (subnet, prefix): (&Subnet, Prefix),
        address: IpAddr,
    ) -> Result<(), Fault> {
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

    fn owner(&self, address: IpAddr) -> Option<Owner<'e>> {
        let owner = self.owners.get(&address).copied();
        owner.or_else(|| self.backends.contains(&address).then_some(Owner::Backend))
    }

    fn free(
        &self,
        field: &str,
        (subnet, prefix): (&Subnet, Prefix),
        kept: Option<IpAddr>,
    ) -> Result<IpAddr, Fault> {
        let is_free = |address: &IpAddr| {
            prefix.contains(*address)
                && !is_reserved(prefix, *address)
                && self.owner(*address).is_none()
        };
        if let Some(kept) = kept.filter(is_free) {
            return Ok(kept);
        }
        let (first, last) = (bits(prefix.address()), bits(prefix.last()));
        let of_bits = |bits| match prefix.family() {
            Family::V4 => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(0)).into(),
            Family::V6 => Ipv6Addr::from_bits(bits).into(),
        };
        let mut all = (first.saturating_add(RESERVED_FIRST.into())..last).map(of_bits);
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
fn is_reserved(prefix: Prefix, address: IpAddr) -> bool {
    let first = bits(prefix.address());
    address == prefix.last() || bits(address) - first < u128::from(RESERVED_FIRST)
}

/// An address as a number within its family.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
