//! The resources of the configuration file, in the shape in which the API shows them.
//!
//! They are shown in one subscription and resource group, and what a file does not name (guids, a
//! frontend, subnets) is made up from names alone, so that it is the same in every run.

use std::collections::BTreeMap;
use std::sync::Arc;

use dataplane::snapshot::Persistence;

use super::model::{
    Balancer, Distribution, Endpoint, Frontend, Group, Head, NatIp, Network, Origin, Place, Pool,
    Resource, Rule, Service, Subnet, SubnetKey, Transport,
};
use super::{Home, Key, Resources, render};
use crate::config::{
    Config, LoadBalancer, PrivateEndpoint, PrivateLinkService, RuleProtocol, VirtualNetwork,
};

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
    let all = std::iter::once(Some(group));
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

    /// The subnet in which an address is: a network's prefixes stand as its subnets.
    fn subnet(&self, network: &VirtualNetwork, address: std::net::Ipv4Addr) -> SubnetKey {
        let at = network.address_space.iter().position(|prefix| prefix.contains(address));
        let subnet = subnet_name(at.unwrap_or(0));
        SubnetKey { network: self.key(network.name.as_str()), subnet }
    }

    fn network(&self, network: &VirtualNetwork) -> Option<Resource> {
        let subnets = network.address_space.iter().enumerate().map(|(at, prefix)| Subnet {
            name: subnet_name(at),
            prefix: *prefix,
            endpoint_policies: "Disabled".to_owned(),
            service_policies: false,
        });
        Some(Resource::Network(Arc::new(Network {
            head: self.head(network.name.as_str()),
            address_space: network.address_space.clone(),
            subnets: subnets.collect(),
            routers: network.routes.iter().map(|route| route.next_hop_ip_address).collect(),
            at_scale: true,
        })))
    }

    fn balancer(&self, balancer: &LoadBalancer) -> Option<Resource> {
        let network = self.network_at(balancer.virtual_network)?;
        let subnet = SubnetKey { network: self.key(network.name.as_str()), subnet: subnet_name(0) };
        let name = FRONTEND.to_owned();
        let pool = |pool: &crate::config::Pool| Pool {
            name: pool.name.to_string(),
            backends: pool.addresses().map(|ip| (ip.to_string(), ip)).collect(),
        };
        let rules = balancer.rules.iter().map(|rule| {
            Some(Rule {
                name: rule.name.to_string(),
                frontend: FRONTEND.to_owned(),
                pool: balancer.pools.get(rule.pool)?.name.to_string(),
                protocol: match rule.protocol {
                    RuleProtocol::Tcp => Transport::Tcp,
                    RuleProtocol::Udp => Transport::Udp,
                    RuleProtocol::All => Transport::All,
                },
                distribution: match rule.persistence {
                    Persistence::None => Distribution::Default,
                    Persistence::SourceIp => Distribution::SourceIP,
                    Persistence::SourceIpProtocol => Distribution::SourceIPProtocol,
                },
                frontend_port: rule.frontend_port,
                backend_port: rule.backend_port,
                idle_minutes: rule
                    .lifetime
                    .idle_timeout
                    .map(|idle| u8::try_from(idle.as_secs() / 60).unwrap_or(u8::MAX)),
                tcp_reset: rule.lifetime.tcp_reset,
            })
        });
        Some(Resource::Balancer(Arc::new(Balancer {
            head: self.head(balancer.name.as_str()),
            frontends: vec![Frontend { name, subnet, address: None, is_static: false }],
            pools: balancer.pools.iter().map(pool).collect(),
            rules: rules.collect::<Option<_>>()?,
        })))
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
        let guid = render::guid_of(&head.id(super::Kind::Service));
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
            proxy_protocol: false,
            head,
        })))
    }

    fn endpoint(&self, endpoint: &PrivateEndpoint) -> Option<Resource> {
        let network = self.network_at(endpoint.virtual_network)?;
        let service = self.config.services().get(endpoint.service)?;
        let head = self.head(endpoint.name.as_str());
        let target = self.head(service.name.as_str()).id(super::Kind::Service);
        let subnet = self.subnet(network, endpoint.address);
        Some(Resource::Endpoint(Arc::new(Endpoint {
            guid: render::guid_of(&head.id(super::Kind::Endpoint)),
            place: Place { subnet, address: endpoint.address, is_static: true },
            ip_configuration: None,
            nic_name: None,
            service: self.key(service.name.as_str()),
            target,
            connection_name: head.name.clone(),
            is_manual: false,
            request_message: endpoint.request_message.clone(),
            initial: self.config.initial_state(endpoint),
            head,
        })))
    }
}

fn subnet_name(at: usize) -> String {
    if at == 0 { "default".to_owned() } else { format!("default-{}", at + 1) }
}
