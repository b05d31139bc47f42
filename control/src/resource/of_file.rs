//! The resources of the configuration file, in the shape in which the API shows them.
//!
//! They are shown in one subscription and resource group, and what a file does not name (guids, a
//! frontend, subnets) is made up from names alone, so that it is the same in every run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::{
    Balancer, Endpoint, Frontend, Group, Head, Ipv6Place, NatIp, Network, Origin, Peering, Place,
    Resource, SecurityGroup, Service, Subnet, SubnetKey,
};
use super::{Home, Key, Kind, Resources, render};
use crate::config::{
    Config, EndpointPolicies, LoadBalancer, NetworkSecurityGroup, PrivateEndpoint,
    PrivateLinkService, VirtualNetwork,
};

mod balancer;
mod security;

/// Name of the one frontend of a load balancer of the file.
pub(super) const FRONTEND: &str = "frontend";

/// All of a file's resources.
pub(super) fn resources(config: &Config, home: &Home) -> Resources {
    let shown = Shown { config, home };
    let group = Resource::Group(Arc::new(Group { head: shown.head("") }));
    let networks = config.virtual_networks().iter().map(|network| shown.network(network));
    let balancers = config.load_balancers().iter().map(|balancer| shown.balancer(balancer));
    let services = config.services().iter().map(|service| shown.service(service));
    let endpoints = config.endpoints().iter().map(|endpoint| shown.endpoint(endpoint));
    let groups = config.security_groups.iter().map(|group| Some(shown.security_group(group)));
    let all = std::iter::once(Some(group)).chain(groups);
    all.chain(networks).chain(balancers).chain(services).chain(endpoints).flatten().collect()
}

struct Shown<'c> {
    config: &'c Config,
    home: &'c Home,
}

impl Shown<'_> {
    fn head(&self, name: &str) -> Head {
        Head {
            subscription: self.home.subscription.clone(),
            group: self.home.group.clone(),
            name: name.to_owned(),
            location: self.home.location.clone(),
            tags: BTreeMap::new(),
            revision: 0,
            origin: Origin::File,
        }
    }

    fn key(&self, name: &str) -> Key {
        Key::new(&self.home.subscription, &self.home.group, name)
    }

    fn network_at(&self, at: usize) -> Option<&VirtualNetwork> {
        self.config.virtual_networks().get(at)
    }

    /// The subnet in which an address is: where none of the file's is, a network's prefixes stand
    /// as its subnets.
    fn subnet(&self, network: &VirtualNetwork, address: std::net::IpAddr) -> SubnetKey {
        let mut named = network.subnets.iter();
        let named = named.find(|subnet| subnet.contains(address));
        let whole = || {
            let mut prefixes = network.address_space.iter();
            subnet_name(prefixes.position(|prefix| prefix.contains(address)).unwrap_or(0))
        };
        let subnet = named.map_or_else(whole, |subnet| subnet.name.as_str().to_ascii_lowercase());
        SubnetKey { network: self.key(network.name.as_str()), subnet }
    }

    fn network(&self, network: &VirtualNetwork) -> Option<Resource> {
        let named = network.subnets.iter().map(|subnet| {
            let word = |(_, policies): &&(&str, EndpointPolicies)| *policies == subnet.policies;
            let word =
                EndpointPolicies::WORDS.iter().find(word).map_or("Disabled", |(word, _)| word);
            let group = subnet.security_group.and_then(|at| self.config.security_groups.get(at));
            Subnet {
                name: subnet.name.to_string(),
                prefixes: subnet.address_prefixes.clone(),
                endpoint_policies: word.to_owned(),
                service_policies: false,
                security_group: group.map(|group| self.key(group.name.as_str())),
            }
        });
        let named: Vec<Subnet> = named.collect();
        let whole = network.address_space.iter().enumerate().map(|(at, prefix)| Subnet {
            name: subnet_name(at),
            prefixes: vec![*prefix],
            endpoint_policies: "Disabled".to_owned(),
            service_policies: false,
            security_group: None,
        });
        let is_free = |subnet: &Subnet| {
            named.iter().all(|named| !named.name.eq_ignore_ascii_case(&subnet.name))
        };
        let peers = network.peers.iter().filter_map(|&peer| self.network_at(peer));
        let peerings = peers.map(|peer| Peering {
            name: peer.name.to_string(),
            remote: self.key(peer.name.as_str()),
            remote_id: self.head(peer.name.as_str()).id(Kind::Network),
            carries: true,
            is_cut: false,
        });
        let mut subnets: Vec<Subnet> = whole.filter(is_free).collect();
        subnets.extend(named);
        Some(Resource::Network(Arc::new(Network {
            head: self.head(network.name.as_str()),
            address_space: network.address_space.clone(),
            subnets,
            peerings: peerings.collect(),
            routers: network.routes.iter().map(|route| route.next_hop_ip_address).collect(),
            at_scale: true,
        })))
    }

    fn balancer(&self, balancer: &LoadBalancer) -> Option<Resource> {
        let network = self.network_at(balancer.virtual_network)?;
        let subnet = SubnetKey { network: self.key(network.name.as_str()), subnet: subnet_name(0) };
        let (name, address) = (FRONTEND.to_owned(), balancer.frontend);
        let rules = balancer.rules.iter().map(|rule| balancer::rule(balancer, rule));
        Some(Resource::Balancer(Arc::new(Balancer {
            head: self.head(balancer.name.as_str()),
            frontends: vec![Frontend { name, subnet, address, is_static: address.is_some() }],
            pools: balancer.pools.iter().map(balancer::pool).collect(),
            rules: rules.collect::<Option<_>>()?,
            probes: balancer.probes.iter().map(balancer::probe).collect(),
            nat_rules: balancer.inbound_nat_rules.iter().map(balancer::nat_rule).collect(),
        })))
    }

    fn security_group(&self, group: &NetworkSecurityGroup) -> Resource {
        Resource::SecurityGroup(Arc::new(SecurityGroup {
            head: self.head(group.name.as_str()),
            rules: group.rules.iter().map(security::rule).collect(),
        }))
    }

    fn service(&self, service: &PrivateLinkService) -> Option<Resource> {
        let balancer = self.config.load_balancers().get(service.load_balancer)?;
        let network = self.network_at(balancer.virtual_network)?;
        let nat_ips = service.nat_ips.iter().enumerate().map(|(at, nat_ip)| {
            let (address, subnet) = (nat_ip.address, self.subnet(network, nat_ip.address));
            let place = Place { subnet, address, is_static: true };
            NatIp { name: nat_ip.name.to_string(), place, primary: at == 0 }
        });
        let head = self.head(service.name.as_str());
        let guid = render::guid_of(&head.id(Kind::Service));
        let everybody: Vec<String> =
            if service.auto_approve { vec!["*".to_owned()] } else { Vec::new() };
        Some(Resource::Service(Arc::new(Service {
            alias: super::service::alias(&head.name, &guid, &head.location),
            guid,
            frontend: (self.key(balancer.name.as_str()), FRONTEND.to_owned()),
            nat_ips: nat_ips.collect(),
            visibility: everybody.clone(),
            auto_approval: everybody,
            fqdns: Vec::new(),
            proxy_protocol: service.treatment.proxy_protocol.is_some(),
            head,
        })))
    }

    fn endpoint(&self, endpoint: &PrivateEndpoint) -> Option<Resource> {
        let network = self.network_at(endpoint.virtual_network)?;
        let service = self.config.services().get(endpoint.service)?;
        let head = self.head(endpoint.name.as_str());
        let target = self.head(service.name.as_str()).id(Kind::Service);
        let mut addresses = endpoint.addresses.ips();
        let address = addresses.next()?;
        let subnet = self.subnet(network, address);
        let beside = |address| Ipv6Place { address, is_static: true, ip_configuration: None };
        Some(Resource::Endpoint(Arc::new(Endpoint {
            guid: render::guid_of(&head.id(Kind::Endpoint)),
            place: Place { subnet, address, is_static: true },
            ip_configuration: None,
            ipv6: addresses.next().map(beside),
            nic_name: None,
            service: self.key(service.name.as_str()),
            target,
            connection_name: head.name.clone(),
            is_manual: false,
            request_message: endpoint.request_message.clone(),
            initial: self.config.initial_state(endpoint),
            app_groups: Vec::new(),
            head,
        })))
    }
}

fn subnet_name(at: usize) -> String {
    if at == 0 { "default".to_owned() } else { format!("default-{}", at + 1) }
}
