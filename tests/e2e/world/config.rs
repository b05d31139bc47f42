//! The configuration files that cases run adit with.

use std::fmt::Write;
use std::path::PathBuf;

use super::{BACKENDS, ENDPOINT, Kind, NAT_IPS, PENDING_ENDPOINT, port};

/// Prefixes of consumers' networks and of the provider's.
pub(crate) const IPV6_PREFIXES: [&str; 2] = ["fd00::/64", "fd01::/64"];

/// A device of adit.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) virtual_network: &'static str,
    /// Path of its namespace, if it is not adit's.
    pub(crate) namespace: Option<PathBuf>,
}

/// What varies in a configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) kind: Kind,
    pub(crate) workers: u8,
    pub(crate) fast_path: bool,
    pub(crate) socket: PathBuf,
    pub(crate) devices: Vec<Device>,
    /// Whether the networks have IPv6 prefixes, too.
    pub(crate) speaks_ipv6: bool,
    /// More lines of the service.
    pub(crate) service_settings: String,
    /// More of tenant a's virtual network.
    pub(crate) more_of_network_a: String,
    /// More pools of the load balancer.
    pub(crate) more_pools: String,
    /// More rules of the load balancer.
    pub(crate) more_rules: String,
    /// More keys of the load balancer.
    pub(crate) more_of_balancer: String,
    /// More keys of every endpoint.
    pub(crate) more_of_endpoints: String,
    /// More of everything else.
    pub(crate) more: String,
}

impl Config {
    /// The file.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "[adit]\ncontrol_socket = {:?}\nworkers = {}\nflows_max = 32768\n\
             fast_path = {:?}\n",
            self.socket,
            self.workers,
            if self.fast_path { "auto" } else { "off" }
        );
        for (name, prefix, wide) in [
            ("a", "10.0.0.0/16", IPV6_PREFIXES[0]),
            ("b", "10.0.0.0/16", IPV6_PREFIXES[0]),
            ("provider", "10.1.0.0/16", IPV6_PREFIXES[1]),
        ] {
            let wide = if self.speaks_ipv6 { format!(", {wide:?}") } else { String::new() };
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "[[virtual_network]]\nname = {name:?}\naddress_space = [{prefix:?}{wide}]\n"
            );
            if name == "a" {
                text.push_str(&self.more_of_network_a);
            }
        }
        self.devices.iter().for_each(|device| text.push_str(&self.device(device)));
        text.push_str(&self.balancer());
        text.push_str(&service("web", NAT_IPS.map(|nat_ip| nat_ip.to_string()).as_slice()));
        text.push_str(&self.service_settings);
        for (name, network, address, state) in [
            ("pe-a", "a", ENDPOINT, "Approved"),
            ("pe-b", "b", ENDPOINT, "Approved"),
            ("pe-pending", "a", PENDING_ENDPOINT, "Pending"),
        ] {
            text.push_str(&endpoint(name, network, &address.to_string(), "web", state));
            text.push_str(&self.more_of_endpoints);
        }
        text.push_str(&self.more);
        text
    }

    fn device(&self, device: &Device) -> String {
        let kind = match self.kind {
            Kind::Packet => "af_packet",
            Kind::Xdp => "af_xdp",
            Kind::Tap => "tap",
        };
        let mut text = format!(
            "[[device]]\nname = {:?}\nkind = {kind:?}\nvirtual_network = {:?}\n",
            device.name, device.virtual_network
        );
        if let Some(namespace) = &device.namespace {
            let _ = writeln!(text, "network_namespace = {namespace:?}");
        }
        text
    }

    fn balancer(&self) -> String {
        let all = BACKENDS.map(|backend| format!("\"{backend}\"")).join(", ");
        let [first, ..] = BACKENDS;
        let mut text = format!(
            "[[load_balancer]]\nname = \"lb\"\nvirtual_network = \"provider\"\n\
             backend_address_pool = [\n  {{ name = \"all\", backend_addresses = [{all}] }},\n\
             {{ name = \"first\", backend_addresses = [\"{first}\"] }},\n{}]\n\
             load_balancing_rule = [\n",
            self.more_pools
        );
        text.push_str(&rule("http", "Tcp", port::HTTP, "all"));
        text.push_str(&rule("echo", "Tcp", port::ECHO, "all"));
        text.push_str(&rule("udp", "Udp", port::ECHO, "all"));
        text.push_str(&rule("nginx", "Tcp", port::NGINX, "all"));
        // Its control and its data connections must meet at one backend.
        text.push_str(&rule("iperf", "Tcp", port::IPERF, "first"));
        text.push_str(&rule("iperf-udp", "Udp", port::IPERF, "first"));
        text.push_str(&self.more_rules);
        text.push_str("]\n");
        text.push_str(&self.more_of_balancer);
        text
    }
}

/// A rule of the list `load_balancing_rule`.
pub(crate) fn rule(name: &str, protocol: &str, (front, back): (u16, u16), pool: &str) -> String {
    format!(
        "  {{ name = {name:?}, protocol = {protocol:?}, frontend_port = {front}, \
         backend_port = {back}, backend_address_pool = {pool:?} }},\n"
    )
}

/// A service of the load balancer.
pub(crate) fn service(name: &str, nat_ips: &[String]) -> String {
    let entries = nat_ips
        .iter()
        .enumerate()
        .map(|(at, nat_ip)| format!("{{ name = \"nat-{at}\", private_ip_address = {nat_ip:?} }}"));
    let entries = entries.collect::<Vec<_>>().join(", ");
    format!(
        "[[private_link_service]]\nname = {name:?}\nload_balancer = \"lb\"\n\
         nat_ip_configurations = [{entries}]\ntcp_half_open_timeout = \"5s\"\n\
         tcp_closing_timeout = \"500ms\"\nudp_timeout = \"60s\"\n"
    )
}

/// A private endpoint.
pub(crate) fn endpoint(
    name: &str,
    network: &str,
    address: &str,
    service: &str,
    state: &str,
) -> String {
    format!(
        "[[private_endpoint]]\nname = {name:?}\nvirtual_network = {network:?}\n\
         private_ip_address = {address:?}\nprivate_link_service = {service:?}\n\
         connection_state = {state:?}\n"
    )
}
