//! What the people who configure adit want: the truth that its behaviour is judged by, and the text
//! of their configuration file. Knows nothing of how adit compiles it.
//!
//! Networks are numbered: first the tenants', then the providers'. All tenants have the same
//! addresses, and so have all providers, so that only the network tells them apart. All tenants'
//! are of one family, and all providers' are of one, which may be the other.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use control::state::ConnectionState;
use dataplane::types::Family;

use crate::address::octets;

/// The port that TCP clients dial, and where backends listen unless their frontend floats.
pub(super) const TCP_PORTS: (u16, u16) = (443, 8080);
/// The same for UDP.
pub(super) const UDP_PORTS: (u16, u16) = (53, 5353);

/// The families of the tenants' networks and of the providers'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) tenants: Family,
    pub(super) providers: Family,
}

impl Way {
    /// All that there are; the first is IPv4 alone.
    pub(super) const ALL: [Way; 4] = [
        Way { tenants: Family::V4, providers: Family::V4 },
        Way { tenants: Family::V4, providers: Family::V6 },
        Way { tenants: Family::V6, providers: Family::V4 },
        Way { tenants: Family::V6, providers: Family::V6 },
    ];
}

/// A provider's service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// The provider's network.
    pub(super) network: usize,
    pub(super) nat_ips: BTreeSet<IpAddr>,
    pub(super) backends: BTreeSet<IpAddr>,
    /// In seconds: established, half open, closing, UDP.
    pub(super) timeouts: [u64; 4],
    /// Whose PROXY headers its backends want, if any.
    pub(super) proxy: Option<&'static str>,
    /// The address that backends share and are sent to, if it floats.
    pub(super) frontend: Option<IpAddr>,
}

impl Service {
    /// The port that clients dial, and the one that backends see.
    pub(super) fn ports(&self, (dialled, of_backend): (u16, u16)) -> (u16, u16) {
        (dialled, if self.frontend.is_some() { dialled } else { of_backend })
    }
}

/// A tenant's private endpoint.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) name: String,
    /// The tenant's network.
    pub(super) network: usize,
    pub(super) address: IpAddr,
    pub(super) service: usize,
    pub(super) state: ConnectionState,
    /// Whether the file has it.
    pub(super) is_configured: bool,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Intent {
    pub(super) way: Way,
    pub(super) workers: u8,
    pub(super) flows_max: usize,
    pub(super) tenants: usize,
    pub(super) services: Vec<Service>,
    pub(super) endpoints: Vec<Endpoint>,
    /// Networks whose device the file leaves out, for one that does not exist.
    pub(super) detached: BTreeSet<usize>,
    /// A remark that changes nothing.
    pub(super) remark: u64,
}

/// The address of a family that these bytes stand for. One of IPv6 has them all in its prefix, and
/// the last two in its end again, of which its station is made.
pub(super) fn address(family: Family, bytes: [u8; 4]) -> IpAddr {
    let [a, b, c, d] = bytes.map(u16::from);
    match family {
        Family::V4 => IpAddr::from(bytes),
        Family::V6 => Ipv6Addr::new(0xfd00, a, b, c, 0, 0, 0, c << 8 | d).into(),
    }
}

/// Bits of the prefix of an address's network.
pub(super) fn prefix_bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 16,
        IpAddr::V6(_) => 48,
    }
}

/// A backend that a provider may have.
pub(super) fn backend(family: Family, number: u8) -> IpAddr {
    address(family, [10, 1, 0, 10 + number])
}

/// A NAT IP that a service may have.
pub(super) fn nat_ip(family: Family, number: u8) -> IpAddr {
    address(family, [10, 1, 0, 4 + number])
}

/// The address of a service's frontend.
pub(super) fn frontend(family: Family) -> IpAddr {
    address(family, [10, 1, 0, 200])
}

/// A client's host.
pub(super) fn client(family: Family, number: u8) -> IpAddr {
    address(family, [10, 0, 1, 1 + number])
}

/// A tenant's endpoint for a service.
pub(super) fn endpoint(family: Family, service: u8) -> IpAddr {
    address(family, [10, 0, 0, 5 + service])
}

impl Intent {
    /// Tenants, each with an endpoint for every one of these services.
    pub(super) fn new(way: Way, tenants: usize, services: Vec<Service>) -> Intent {
        let mut endpoints = Vec::new();
        for network in 0..tenants {
            for service in 0..services.len() {
                let number = u8::try_from(service).unwrap();
                endpoints.push(Endpoint {
                    name: format!("pe-{network}-{service}"),
                    network,
                    address: endpoint(way.tenants, number),
                    service,
                    state: ConnectionState::Approved,
                    is_configured: true,
                });
            }
        }
        let (detached, workers) = (BTreeSet::new(), 1);
        Intent { way, workers, flows_max: 1, tenants, services, endpoints, detached, remark: 0 }
    }

    pub(super) fn networks(&self) -> usize {
        let providers = self.services.iter().map(|service| service.network + 1);
        providers.max().unwrap_or(0).max(self.tenants)
    }

    pub(super) fn is_tenant(&self, network: usize) -> bool {
        network < self.tenants
    }

    pub(super) fn family(&self, network: usize) -> Family {
        if self.is_tenant(network) { self.way.tenants } else { self.way.providers }
    }

    /// The first address of a network.
    fn space(&self, network: usize) -> IpAddr {
        address(self.family(network), [10, u8::from(!self.is_tenant(network)), 0, 0])
    }

    /// Whether an address is of a network.
    pub(super) fn has(&self, network: usize, address: IpAddr) -> bool {
        let mut prefix = octets(self.space(network));
        prefix.truncate(usize::from(prefix_bits(self.space(network)) / 8));
        octets(address).starts_with(&prefix)
    }

    /// The endpoint with an address in a network, if there is one now.
    pub(super) fn endpoint(&self, network: usize, address: IpAddr) -> Option<&Endpoint> {
        let mut endpoints = self.endpoints.iter().filter(|endpoint| endpoint.is_configured);
        endpoints.find(|endpoint| (endpoint.network, endpoint.address) == (network, address))
    }

    /// Whether adit answers for an address in a network.
    pub(super) fn is_local(&self, network: usize, address: IpAddr) -> bool {
        let mut of_network = self.services.iter().filter(|service| service.network == network);
        of_network.any(|service| service.nat_ips.contains(&address))
            || self.endpoint(network, address).is_some()
    }

    /// Whether what a tenant sends may show up in a network.
    pub(super) fn may_see(&self, network: usize, tenant: usize) -> bool {
        let mut links = self.endpoints.iter().filter(|endpoint| {
            let is_open = endpoint.is_configured && endpoint.state == ConnectionState::Approved;
            endpoint.network == tenant && is_open
        });
        network == tenant || links.any(|link| self.services[link.service].network == network)
    }

    /// The configuration file.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "# Remark {}.\n[adit]\nworkers = {}\nflows_max = {}\n",
            self.remark, self.workers, self.flows_max
        );
        for network in 0..self.networks() {
            let space = self.space(network);
            let bits = prefix_bits(space);
            let _ = write!(
                text,
                "[[virtual_network]]\nname = \"net{network}\"\n\
                 address_space = [\"{space}/{bits}\"]\n"
            );
            let device = if self.detached.contains(&network) { "gone" } else { "net" };
            let _ = write!(
                text,
                "[[device]]\nname = \"{device}{network}\"\nkind = \"af_packet\"\n\
                 virtual_network = \"net{network}\"\n"
            );
        }
        for (number, service) in self.services.iter().enumerate() {
            write_service(&mut text, number, service);
        }
        for endpoint in self.endpoints.iter().filter(|endpoint| endpoint.is_configured) {
            let Endpoint { name, network, address, service, .. } = endpoint;
            let _ = write!(
                text,
                "[[private_endpoint]]\nname = \"{name}\"\nvirtual_network = \"net{network}\"\n\
                 private_ip_address = \"{address}\"\nprivate_link_service = \"service-{service}\"\n"
            );
        }
        text
    }
}

fn write_service(text: &mut String, number: usize, service: &Service) {
    let quoted: Vec<String> = service.backends.iter().map(|host| format!("\"{host}\"")).collect();
    let [established, half_open, closing, udp] = service.timeouts;
    let (network, backends) = (service.network, quoted.join(", "));
    let _ = write!(
        text,
        "[[load_balancer]]\nname = \"lb-{number}\"\nvirtual_network = \"net{network}\"\n\
         sku = \"Standard\"\n"
    );
    if let Some(frontend) = service.frontend {
        let _ = writeln!(text, "frontend_ip_address = \"{frontend}\"");
    }
    let _ = write!(
        text,
        "[[load_balancer.backend_address_pool]]\nname = \"all\"\n\
         backend_addresses = [{backends}]\n"
    );
    for (protocol, ports) in [("Tcp", TCP_PORTS), ("Udp", UDP_PORTS)] {
        let ((port, backend_port), floats) = (service.ports(ports), service.frontend.is_some());
        let _ = write!(
            text,
            "[[load_balancer.load_balancing_rule]]\nname = \"{protocol}\"\n\
             protocol = \"{protocol}\"\nfrontend_port = {port}\nbackend_port = {backend_port}\n\
             backend_address_pool = \"all\"\nenable_floating_ip = {floats}\n"
        );
    }
    let _ = write!(
        text,
        "[[private_link_service]]\nname = \"service-{number}\"\nload_balancer = \"lb-{number}\"\n\
         auto_approve = true\ntcp_established_timeout = \"{established}s\"\n\
         tcp_half_open_timeout = \"{half_open}s\"\ntcp_closing_timeout = \"{closing}s\"\n\
         udp_timeout = \"{udp}s\"\nnat_ip_configurations = [\n"
    );
    for (at, nat_ip) in service.nat_ips.iter().enumerate() {
        let _ = writeln!(text, "  {{ name = \"nat{at}\", private_ip_address = \"{nat_ip}\" }},");
    }
    text.push_str("]\n");
    if let Some(dialect) = service.proxy {
        let _ = writeln!(text, "proxy_protocol = \"{dialect}\"");
    }
}
