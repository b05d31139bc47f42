//! Joins the file's configuration and the resources made through the API to one configuration.
//!
//! The file's part comes first and is valid by itself; here is judged what only both together can
//! break: references into the file that a reload has made stale, and addresses that both use.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use dataplane::snapshot::{Quota, Treatment};

use super::estate::Estate;
use super::model::{Endpoint, Network, Service};
use super::{Id, Key, Kind, Reference};
use crate::config::{
    Config, Device, EndpointPolicies, FlowSettings, LoadBalancer, Name, NatIp, Pool,
    PrivateEndpoint, PrivateLinkService, Profile, Subnet, VirtualNetwork, without_nat_ip,
    wrong_before_frontend,
};
use crate::state::ConnectionState;

mod balancer;
mod patch;
mod security;

pub use patch::patch;

/// How long a NAT IP that is taken away keeps its flows at most.
const NAT_IP_DRAIN: Duration = Duration::from_secs(300);

/// Why the file and the API's resources do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub cure: String,
}

fn clash(problem: String, cure: &str) -> Clash {
    Clash { problem, cure: cure.to_owned() }
}

/// The configuration of both.
///
/// # Errors
/// They do not go together.
pub fn compose(estate: &Estate, file: &Config) -> Result<Config, Clash> {
    let mut composer = Composer::new(estate, file);
    composer.networks()?;
    composer.security_groups()?;
    composer.devices();
    composer.claim_file();
    composer.services()?;
    composer.endpoints()?;
    Ok(composer.config)
}

struct Composer<'e> {
    estate: &'e Estate,
    config: Config,
    networks: HashMap<Key, usize>,
    services: HashMap<Key, usize>,
    /// Network security groups of both; those of the API are added once networks are known.
    groups: HashMap<Key, usize>,
    /// Load balancers of the file by key, and those of the API by key and frontend.
    balancers: HashMap<(Key, String), usize>,
    claims: HashMap<(usize, IpAddr), String>,
}

impl<'e> Composer<'e> {
    fn new(estate: &'e Estate, file: &Config) -> Composer<'e> {
        let key =
            |name: &Name| Key::new(&estate.home.subscription, &estate.home.group, name.as_str());
        let networks = file.virtual_networks().iter().map(|network| key(&network.name));
        let services = file.services().iter().map(|service| key(&service.name));
        let groups = file.security_groups.iter().map(|group| key(&group.name));
        let own = estate.own.of_kind(Kind::SecurityGroup).map(|group| group.head().key());
        let frontend = super::of_file::FRONTEND.to_owned();
        let balancers = file.load_balancers().iter();
        let balancers = balancers.map(|balancer| (key(&balancer.name), frontend.clone()));
        Composer {
            estate,
            networks: networks.zip(0..).collect(),
            services: services.zip(0..).collect(),
            groups: groups.chain(own).zip(0..).collect(),
            balancers: balancers.zip(0..).collect(),
            claims: HashMap::new(),
            config: file.clone(),
        }
    }

    fn networks(&mut self) -> Result<(), Clash> {
        for id in self.estate.own.iter().map(super::model::Resource::id) {
            if id.kind != Kind::Group && self.estate.file.get(&id).is_some() {
                let problem = format!("{id} was made through the API, and the file defines it too");
                return Err(clash(problem, "give the file's another name, or delete the other"));
            }
        }
        let own = self.own(Kind::Network).map(|network| network.head().key());
        self.networks.extend(own.zip(self.config.virtual_networks.len()..));
        for network in self.own(Kind::Network) {
            let super::model::Resource::Network(network) = network else { continue };
            let subnets = network.subnets.iter().map(|subnet| self.subnet(network, subnet));
            let subnets = subnets.collect::<Result<_, _>>()?;
            self.config.virtual_networks.push(VirtualNetwork {
                name: self.estate.name(&network.head),
                address_space: network.address_space.clone(),
                remote_address_space: Vec::new(),
                peers: self.peers(network),
                routes: Vec::new(),
                subnets,
            });
        }
        Ok(())
    }

    /// The peers of a network that its peerings carry anything from and to.
    fn peers(&self, network: &Network) -> Vec<usize> {
        let said = network.peerings.iter().filter(|side| side.carries && !side.is_cut);
        said.filter_map(|side| self.networks.get(&side.remote).copied()).collect()
    }

    fn subnet(&self, network: &Network, subnet: &super::model::Subnet) -> Result<Subnet, Clash> {
        let group = subnet.security_group.as_ref().map(|key| {
            self.groups.get(key).copied().ok_or_else(|| {
                let place = format!("subnet {} of {}", subnet.name, network.head.name);
                let id = Id::new(Kind::SecurityGroup, key);
                let problem = format!("{place} names {id}, which would be gone");
                clash(problem, "keep it, or take it away from the subnet first")
            })
        });
        let policies = EndpointPolicies::WORDS.iter();
        let policies = policies.copied().find(|(word, _)| *word == subnet.endpoint_policies);
        Ok(Subnet {
            name: Name::of_resource(subnet.name.clone()),
            address_prefixes: subnet.prefixes.clone(),
            security_group: group.transpose()?,
            policies: policies.map(|(_, policies)| policies).unwrap_or_default(),
        })
    }

    fn own(&self, kind: Kind) -> impl Iterator<Item = &'e super::model::Resource> + use<'e> {
        self.estate.own.of_kind(kind)
    }

    /// Devices of virtual networks that the API makes are attached as soon as those are there.
    fn devices(&mut self) {
        for binding in &self.config.bindings {
            let home = &self.estate.home.subscription;
            let Some(key) = network_key(&binding.virtual_network, home) else { continue };
            let Some(&virtual_network) = self.networks.get(&key) else { continue };
            self.config.devices.push(Device {
                name: binding.name.clone(),
                kind: binding.kind,
                virtual_network,
                network_namespace: binding.network_namespace.clone(),
            });
        }
    }

    fn claim_file(&mut self) {
        let Config { load_balancers, services, endpoints, virtual_networks, .. } = &self.config;
        for (at, network) in virtual_networks.iter().enumerate() {
            let routers = network.routes.iter().map(|route| route.next_hop_ip_address);
            self.claims.extend(routers.map(|ip| ((at, ip), "a router".to_owned())));
        }
        for balancer in load_balancers {
            let all = balancer.pools.iter().flat_map(Pool::addresses);
            let translated = balancer.inbound_nat_rules.iter().map(|rule| rule.backend_address);
            let at = balancer.virtual_network;
            let all = all.chain(translated);
            self.claims.extend(all.map(|ip| ((at, ip), "a backend".to_owned())));
            let frontend = balancer.frontend.into_iter();
            let owner = |ip| ((at, ip), format!("the frontend of {}", balancer.name));
            self.claims.extend(frontend.map(owner));
        }
        for service in services {
            let Some(balancer) = load_balancers.get(service.load_balancer) else { continue };
            let at = balancer.virtual_network;
            let owner = |ip| ((at, ip), format!("a NAT IP of {}", service.name));
            self.claims.extend(service.nat_ips.iter().map(|nat_ip| owner(nat_ip.address)));
        }
        for endpoint in endpoints {
            let owner = format!("the private endpoint {}", endpoint.name);
            let at = |ip| ((endpoint.virtual_network, ip), owner.clone());
            self.claims.extend(endpoint.addresses.ips().map(at));
        }
    }

    fn claim(&mut self, network: usize, address: IpAddr, owner: String) -> Result<(), Clash> {
        let Some(other) = self.claims.get(&(network, address)) else {
            self.claims.insert((network, address), owner);
            return Ok(());
        };
        let problem = format!("{address} would be {owner}, and is {other} already");
        Err(clash(problem, "an address of a virtual network has one use: choose another"))
    }

    fn services(&mut self) -> Result<(), Clash> {
        for service in self.own(Kind::Service) {
            let super::model::Resource::Service(service) = service else { continue };
            let load_balancer = self.balancer(service)?;
            let balancer = &self.config.load_balancers[load_balancer];
            let (name, network) = (self.estate.name(&service.head), balancer.virtual_network);
            for nat_ip in &service.nat_ips {
                self.claim(network, nat_ip.place.address, format!("a NAT IP of {name}"))?;
            }
            let nat_ips = service.nat_ips.iter().map(|nat_ip| NatIp {
                name: Name::of_resource(nat_ip.name.clone()),
                address: nat_ip.place.address,
            });
            let composed = PrivateLinkService {
                name,
                load_balancer,
                nat_ips: nat_ips.collect(),
                auto_approve: false,
                nat_ip_drain: NAT_IP_DRAIN,
                quota: Quota::default(),
                flows: FlowSettings::default(),
                treatment: Treatment {
                    proxy_protocol: service.proxy_protocol.then(|| Profile::Azure.dialect()),
                    ..Treatment::default()
                },
            };
            if let Some((problem, cure)) = without_nat_ip(&self.config, &composed) {
                return Err(clash(problem, &cure));
            }
            self.services.insert(service.head.key(), self.config.services.len());
            self.config.services.push(composed);
        }
        Ok(())
    }

    /// The load balancer of a service: of one made through the API, the part behind one frontend.
    fn balancer(&mut self, service: &Service) -> Result<usize, Clash> {
        let gone = || {
            let name = &service.head.name;
            let (balancer, frontend) = &service.frontend;
            let problem = format!("private link service {name} leads to {}", balancer.name);
            let problem = format!("{problem}/{frontend}, which would be gone");
            clash(problem, "keep it, or delete the service first")
        };
        let (key, frontend) = &service.frontend;
        let place = (key.clone(), frontend.to_ascii_lowercase());
        if let Some(&at) = self.balancers.get(&place) {
            return Ok(at);
        }
        let balancer = self.estate.balancer(key).ok_or_else(gone)?;
        let network = &balancer.frontend(frontend).ok_or_else(gone)?.subnet.network;
        let network = *self.networks.get(network).ok_or_else(gone)?;
        let name = self.estate.name(&balancer.head);
        let at = self.config.load_balancers.len();
        for pool in &balancer.pools {
            for address in pool.backends.iter().map(|backend| backend.address) {
                let backend = "a backend".to_owned();
                if self.claims.get(&(network, address)) != Some(&backend) {
                    self.claim(network, address, backend)?;
                }
            }
        }
        if let Some(address) = balancer.floating(frontend) {
            self.claim(network, address, format!("the frontend {frontend} of {name}"))?;
        }
        let load_balancer = balancer::load_balancer(balancer, name, frontend, network);
        self.judge_floating(&load_balancer)?;
        self.config.load_balancers.push(load_balancer);
        self.balancers.insert(place, at);
        Ok(at)
    }

    /// Backends behind a frontend that floats have an address of its family.
    fn judge_floating(&self, balancer: &LoadBalancer) -> Result<(), Clash> {
        let network = self.config.virtual_networks.get(balancer.virtual_network);
        let pooled = balancer.rules.iter().flat_map(|rule| {
            let pool = balancer.pools.get(rule.pool).into_iter().flat_map(Pool::addresses);
            pool.map(|backend| (rule.floating, backend))
        });
        let translated = balancer.inbound_nat_rules.iter();
        let translated = translated.map(|rule| (rule.floating, rule.backend_address));
        for (frontend, backend) in pooled.chain(translated) {
            let wrong = frontend.and_then(|it| wrong_before_frontend(network, it, backend));
            if let Some((problem, cure)) = wrong {
                return Err(clash(problem, &cure));
            }
        }
        Ok(())
    }

    fn endpoints(&mut self) -> Result<(), Clash> {
        for endpoint in self.own(Kind::Endpoint) {
            let super::model::Resource::Endpoint(endpoint) = endpoint else { continue };
            let endpoint: &Endpoint = endpoint;
            let gone = |what: String| {
                let name = &endpoint.head.name;
                let problem = format!("private endpoint {name} needs {what}, which would be gone");
                clash(problem, "keep it, or delete the endpoint first")
            };
            let at = &endpoint.place.subnet.network;
            let network = self.networks.get(at).copied();
            let id = |kind, key| Id::new(kind, key).to_string();
            let virtual_network = network.ok_or_else(|| gone(id(Kind::Network, at)))?;
            let service = match self.services.get(&endpoint.service) {
                Some(&service) => service,
                // A service that removed the connection may go; the endpoint waits for its owner.
                None if endpoint.initial == ConnectionState::Disconnected => continue,
                None => return Err(gone(id(Kind::Service, &endpoint.service))),
            };
            let composed = one(self.estate, endpoint, virtual_network, service);
            let owner = format!("the private endpoint {}", composed.name);
            for address in composed.addresses.ips() {
                self.claim(virtual_network, address, owner.clone())?;
            }
            self.config.endpoints.push(composed);
        }
        Ok(())
    }
}

/// An endpoint as the configuration has it.
fn one(
    estate: &Estate,
    endpoint: &Endpoint,
    virtual_network: usize,
    service: usize,
) -> PrivateEndpoint {
    PrivateEndpoint {
        name: estate.name(&endpoint.head),
        virtual_network,
        addresses: endpoint.addresses(),
        service,
        request_message: endpoint.request_message.clone(),
        connection_state: Some(endpoint.initial),
        icmp_echo: false,
        flows_reserved: None,
        flows_max: None,
    }
}

/// The virtual network that a device names: `group/name`, or a whole resource id.
fn network_key(text: &str, subscription: &str) -> Option<Key> {
    if text.starts_with('/') {
        let reference = Reference::parse(text)?;
        return (reference.id.kind == Kind::Network).then_some(reference.id.key);
    }
    let (group, name) = text.split_once('/')?;
    Some(Key::new(subscription, group, name))
}
