//! The configuration exactly as the file has it: nothing is judged yet but keys and types.
//!
//! A value that is missing or of the wrong type is reported and stands here as `None` or is left
//! out of its list; `valid` judges the rest nevertheless.

use std::cell::LazyCell;

use toml::de::DeTable;

use super::error::ConfigError;
use super::reader::{Entry, Located, NumberOrWord, Place, Reader, Section};

/// Text, and where it stands.
pub(super) type Text = Located<String>;

/// The file.
pub(super) struct RawConfig {
    pub(super) settings: RawSettings,
    pub(super) whois: Option<RawWhois>,
    pub(super) flow_log: Option<RawFlowLog>,
    pub(super) audit_log: Option<RawAuditLog>,
    pub(super) open_telemetry: Option<RawOpenTelemetry>,
    pub(super) virtual_networks: Vec<RawVirtualNetwork>,
    pub(super) devices: Vec<RawDevice>,
    pub(super) load_balancers: Vec<RawLoadBalancer>,
    pub(super) services: Vec<RawService>,
    pub(super) endpoints: Vec<RawEndpoint>,
    pub(super) security_groups: Vec<RawSecurityGroup>,
}

/// `[adit]`.
#[derive(Default)]
pub(super) struct RawSettings {
    pub(super) control_socket: Option<Text>,
    pub(super) http: Option<Text>,
    pub(super) workers: Option<Located<i64>>,
    pub(super) flows_max: Option<Located<i64>>,
    pub(super) fair_share_percent: Option<Located<i64>>,
    pub(super) fast_path: Option<Text>,
    pub(super) privileges: Option<Text>,
}

/// `[whois]`.
pub(super) struct RawWhois {
    pub(super) flows_max: Option<Located<i64>>,
    pub(super) age: Option<Text>,
    pub(super) place: Place,
}

/// `[flow_log]`.
pub(super) struct RawFlowLog {
    pub(super) file: Option<Text>,
    pub(super) file_bytes_max: Option<Located<i64>>,
    pub(super) files_max: Option<Located<i64>>,
    pub(super) ipfix: Option<Text>,
    pub(super) ipfix_domain: Option<Located<i64>>,
    pub(super) place: Place,
}

/// `[audit_log]`.
pub(super) struct RawAuditLog {
    pub(super) file: Option<Text>,
}

/// `[open_telemetry]`.
pub(super) struct RawOpenTelemetry {
    pub(super) url: Option<Text>,
    pub(super) interval: Option<Text>,
}

/// `[[virtual_network]]`.
pub(super) struct RawVirtualNetwork {
    pub(super) name: Option<Text>,
    pub(super) address_space: Option<Vec<Text>>,
    pub(super) remote_address_space: Option<Vec<Text>>,
    pub(super) peered_with: Option<Vec<Text>>,
    pub(super) routes: Vec<RawRoute>,
    pub(super) subnets: Vec<RawSubnet>,
    pub(super) place: Place,
}

/// An entry of `subnet`.
pub(super) struct RawSubnet {
    pub(super) name: Option<Text>,
    pub(super) address_prefixes: Option<Vec<Text>>,
    pub(super) security_group: Option<Text>,
    pub(super) policies: Option<Text>,
    pub(super) place: Place,
}

/// `[[network_security_group]]`.
pub(super) struct RawSecurityGroup {
    pub(super) name: Option<Text>,
    pub(super) rules: Vec<RawSecurityRule>,
}

/// An entry of `security_rule`.
pub(super) struct RawSecurityRule {
    pub(super) name: Option<Text>,
    pub(super) priority: Option<Located<i64>>,
    pub(super) direction: Option<Text>,
    pub(super) access: Option<Text>,
    pub(super) protocol: Option<Text>,
    pub(super) sources: Option<Vec<Text>>,
    pub(super) destinations: Option<Vec<Text>>,
    pub(super) ports: Option<Vec<Text>>,
    pub(super) place: Place,
}

/// An entry of `routes`.
pub(super) struct RawRoute {
    pub(super) address_prefix: Option<Text>,
    pub(super) next_hop_ip_address: Option<Text>,
}

/// `[[device]]`.
pub(super) struct RawDevice {
    pub(super) name: Option<Text>,
    pub(super) kind: Option<Text>,
    pub(super) virtual_network: Option<Text>,
    pub(super) network_namespace: Option<Text>,
    pub(super) place: Place,
}

/// `[[load_balancer]]`.
pub(super) struct RawLoadBalancer {
    pub(super) name: Option<Text>,
    pub(super) virtual_network: Option<Text>,
    pub(super) sku: Option<Text>,
    pub(super) frontend_ip_address: Option<Text>,
    pub(super) pools: Vec<RawPool>,
    pub(super) rules: Vec<RawRule>,
    pub(super) inbound_nat_rules: Vec<RawInboundNatRule>,
    pub(super) probes: Vec<RawProbe>,
    pub(super) probe_source_ip_address: Option<Vec<Text>>,
    pub(super) place: Place,
}

/// An entry of `backend_address_pool`.
pub(super) struct RawPool {
    pub(super) name: Option<Text>,
    pub(super) backends: Option<Vec<RawBackend>>,
    pub(super) drain_period_in_seconds: Option<Located<i64>>,
    pub(super) place: Place,
}

/// An entry of `backend_addresses`: an address alone, or with what is to be said of it.
pub(super) struct RawBackend {
    pub(super) ip_address: Option<Text>,
    pub(super) weight: Option<Located<i64>>,
    pub(super) admin_state: Option<Text>,
    pub(super) place: Place,
}

/// An entry of `load_balancing_rule`.
pub(super) struct RawRule {
    pub(super) name: Option<Text>,
    pub(super) protocol: Option<Text>,
    pub(super) frontend_port: Option<Located<i64>>,
    pub(super) backend_port: Option<Located<i64>>,
    pub(super) backend_address_pool: Option<Text>,
    pub(super) load_distribution: Option<Text>,
    pub(super) enable_connection_tracking: Option<Located<bool>>,
    pub(super) probe: Option<Text>,
    pub(super) enable_floating_ip: Option<Located<bool>>,
    pub(super) lifetime: RawLifetime,
    pub(super) place: Place,
}

/// An entry of `inbound_nat_rule`.
pub(super) struct RawInboundNatRule {
    pub(super) name: Option<Text>,
    pub(super) protocol: Option<Text>,
    pub(super) frontend_port: Option<Located<i64>>,
    pub(super) backend_ip_address: Option<Text>,
    pub(super) backend_port: Option<Located<i64>>,
    pub(super) enable_floating_ip: Option<Located<bool>>,
    pub(super) lifetime: RawLifetime,
    pub(super) place: Place,
}

/// An entry of `probe`.
pub(super) struct RawProbe {
    pub(super) name: Option<Text>,
    pub(super) protocol: Option<Text>,
    pub(super) port: Option<Located<i64>>,
    pub(super) request_path: Option<Text>,
    pub(super) interval_in_seconds: Option<Located<i64>>,
    pub(super) interval: Option<Text>,
    pub(super) number_of_probes: Option<Located<i64>>,
    pub(super) probe_threshold: Option<Located<i64>>,
    pub(super) no_healthy_backends_behavior: Option<Text>,
    pub(super) send_proxy_protocol: Option<Located<bool>>,
    pub(super) place: Place,
}

/// What rules of both kinds say of the life of their flows.
pub(super) struct RawLifetime {
    pub(super) idle_timeout_minutes: Option<Located<i64>>,
    pub(super) enable_tcp_reset: Option<Located<bool>>,
}

/// `[[private_link_service]]`.
pub(super) struct RawService {
    pub(super) name: Option<Text>,
    pub(super) load_balancer: Option<Text>,
    pub(super) nat_ips: Option<Vec<RawNatIp>>,
    pub(super) nat_ip_drain_timeout: Option<Text>,
    pub(super) endpoint_flows_reserved: Option<Located<i64>>,
    pub(super) endpoint_flows_max: Option<Located<i64>>,
    pub(super) auto_approve: Option<Located<bool>>,
    pub(super) profile: Option<Text>,
    pub(super) tcp_established_timeout: Option<Text>,
    pub(super) tcp_half_open_timeout: Option<Text>,
    pub(super) tcp_closing_timeout: Option<Text>,
    pub(super) udp_timeout: Option<Text>,
    pub(super) port_hold_down: Option<Text>,
    pub(super) tcp_refusals: Option<Text>,
    pub(super) mss_clamp: Option<Located<NumberOrWord>>,
    pub(super) icmp_answers: Option<Vec<Text>>,
    pub(super) icmp_errors: Option<Text>,
    pub(super) fragments: Option<Text>,
    pub(super) proxy_protocol: Option<Text>,
    pub(super) place: Place,
}

/// An entry of `nat_ip_configurations`.
pub(super) struct RawNatIp {
    pub(super) name: Option<Text>,
    pub(super) private_ip_address: Option<Text>,
}

/// `[[private_endpoint]]`.
pub(super) struct RawEndpoint {
    pub(super) name: Option<Text>,
    pub(super) virtual_network: Option<Text>,
    pub(super) private_ip_address: Option<Vec<Text>>,
    pub(super) private_link_service: Option<Text>,
    pub(super) request_message: Option<Text>,
    pub(super) connection_state: Option<Text>,
    pub(super) icmp_echo: Option<Located<bool>>,
    pub(super) flows_reserved: Option<Located<i64>>,
    pub(super) flows_max: Option<Located<i64>>,
}

/// Reads a file's text; the second value is everything wrong with its keys and types.
///
/// # Errors
/// The text is not TOML, so nothing else can be said of it.
pub(super) fn read(text: &str) -> Result<(RawConfig, Vec<ConfigError>), Vec<ConfigError>> {
    let reader = Reader::new(text);
    let table = match DeTable::parse_recoverable(text) {
        (table, errors) if errors.is_empty() => table,
        (_, errors) => {
            // Once for all of them: it parses more than once.
            let unplaced = LazyCell::new(|| line_of_unplaced(text));
            let line = |error: &toml::de::Error| match error.span() {
                Some(span) => reader.line(span.start),
                None => *unplaced,
            };
            let error = |error: &toml::de::Error| syntax_error(line(error), error);
            return Err(errors.iter().map(error).collect());
        }
    };
    let mut top = reader.top(table.into_inner());
    let raw = RawConfig {
        settings: top.section("adit").map(settings).unwrap_or_default(),
        whois: top.section("whois").map(whois),
        flow_log: top.section("flow_log").map(flow_log),
        audit_log: top.section("audit_log").map(audit_log),
        open_telemetry: top.section("open_telemetry").map(open_telemetry),
        virtual_networks: all(&mut top, "virtual_network", virtual_network),
        devices: all(&mut top, "device", device),
        load_balancers: all(&mut top, "load_balancer", load_balancer),
        services: all(&mut top, "private_link_service", service),
        endpoints: all(&mut top, "private_endpoint", endpoint),
        security_groups: all(&mut top, "network_security_group", security_group),
    };
    top.finish();
    Ok((raw, reader.into_errors()))
}

/// The line of an error that the parser does not place, as it does with a key of too many parts:
/// the first with which the error comes when the text is cut off behind it.
fn line_of_unplaced(text: &str) -> usize {
    let ends = text.match_indices('\n').map(|(at, _)| at);
    let ends: Vec<usize> = ends.chain([text.len()]).collect();
    let is_good = |end: &usize| {
        let (_, errors) = DeTable::parse_recoverable(&text[..*end]);
        errors.iter().all(|error| error.span().is_some())
    };
    ends.partition_point(is_good) + 1
}

fn syntax_error(line: usize, error: &toml::de::Error) -> ConfigError {
    let place = Place { path: String::new(), line };
    let problem = format!("this is not TOML: {}", error.message().replace('\n', "; "));
    place.error(problem, "see https://toml.io for how a file is written")
}

fn all<'r, 't, T>(
    parent: &mut Section<'r, 't>,
    key: &'static str,
    read: impl Fn(Section<'r, 't>) -> T,
) -> Vec<T> {
    parent.sections(key).into_iter().map(read).collect()
}

fn settings(mut section: Section<'_, '_>) -> RawSettings {
    let settings = RawSettings {
        control_socket: section.optional("control_socket"),
        http: section.optional("http"),
        workers: section.optional("workers"),
        flows_max: section.optional("flows_max"),
        fair_share_percent: section.optional("fair_share_percent"),
        fast_path: section.optional("fast_path"),
        privileges: section.optional("privileges"),
    };
    section.finish();
    settings
}

fn whois(mut section: Section<'_, '_>) -> RawWhois {
    RawWhois {
        flows_max: section.optional("flows_max"),
        age: section.optional("age"),
        place: section.finish(),
    }
}

fn flow_log(mut section: Section<'_, '_>) -> RawFlowLog {
    RawFlowLog {
        file: section.optional("file"),
        file_bytes_max: section.optional("file_bytes_max"),
        files_max: section.optional("files_max"),
        ipfix: section.optional("ipfix"),
        ipfix_domain: section.optional("ipfix_domain"),
        place: section.finish(),
    }
}

fn audit_log(mut section: Section<'_, '_>) -> RawAuditLog {
    let raw = RawAuditLog { file: section.required("file") };
    section.finish();
    raw
}

fn open_telemetry(mut section: Section<'_, '_>) -> RawOpenTelemetry {
    let raw =
        RawOpenTelemetry { url: section.required("url"), interval: section.optional("interval") };
    section.finish();
    raw
}

fn virtual_network(mut section: Section<'_, '_>) -> RawVirtualNetwork {
    RawVirtualNetwork {
        name: section.required("name"),
        address_space: section.required_list("address_space"),
        remote_address_space: section.optional_list("remote_address_space"),
        peered_with: section.optional_list("peered_with"),
        routes: all(&mut section, "routes", |mut route| {
            let raw = RawRoute {
                address_prefix: route.required("address_prefix"),
                next_hop_ip_address: route.required("next_hop_ip_address"),
            };
            route.finish();
            raw
        }),
        subnets: all(&mut section, "subnet", subnet),
        place: section.finish(),
    }
}

fn subnet(mut section: Section<'_, '_>) -> RawSubnet {
    RawSubnet {
        name: section.required("name"),
        address_prefixes: section.required_texts("address_prefix"),
        security_group: section.optional("network_security_group"),
        policies: section.optional("private_endpoint_network_policies"),
        place: section.finish(),
    }
}

fn security_group(mut section: Section<'_, '_>) -> RawSecurityGroup {
    let raw = RawSecurityGroup {
        name: section.required("name"),
        rules: all(&mut section, "security_rule", security_rule),
    };
    section.finish();
    raw
}

fn security_rule(mut section: Section<'_, '_>) -> RawSecurityRule {
    RawSecurityRule {
        name: section.required("name"),
        priority: section.required("priority"),
        direction: section.optional("direction"),
        access: section.required("access"),
        protocol: section.optional("protocol"),
        sources: section.optional_list("source_address_prefixes"),
        destinations: section.optional_list("destination_address_prefixes"),
        ports: section.optional_list("destination_port_ranges"),
        place: section.finish(),
    }
}

fn device(mut section: Section<'_, '_>) -> RawDevice {
    RawDevice {
        name: section.required("name"),
        kind: section.required("kind"),
        virtual_network: section.required("virtual_network"),
        network_namespace: section.optional("network_namespace"),
        place: section.finish(),
    }
}

fn load_balancer(mut section: Section<'_, '_>) -> RawLoadBalancer {
    RawLoadBalancer {
        name: section.required("name"),
        virtual_network: section.required("virtual_network"),
        sku: section.optional("sku"),
        frontend_ip_address: section.optional("frontend_ip_address"),
        pools: all(&mut section, "backend_address_pool", |mut pool| RawPool {
            name: pool.required("name"),
            backends: backends(&mut pool),
            drain_period_in_seconds: pool.optional("drain_period_in_seconds"),
            place: pool.finish(),
        }),
        rules: all(&mut section, "load_balancing_rule", rule),
        inbound_nat_rules: all(&mut section, "inbound_nat_rule", inbound_nat_rule),
        probes: all(&mut section, "probe", probe),
        probe_source_ip_address: section.optional_texts("probe_source_ip_address"),
        place: section.finish(),
    }
}

fn rule(mut section: Section<'_, '_>) -> RawRule {
    RawRule {
        name: section.required("name"),
        protocol: section.required("protocol"),
        frontend_port: section.required("frontend_port"),
        backend_port: section.required("backend_port"),
        backend_address_pool: section.required("backend_address_pool"),
        load_distribution: section.optional("load_distribution"),
        enable_connection_tracking: section.optional("enable_connection_tracking"),
        probe: section.optional("probe"),
        enable_floating_ip: section.optional("enable_floating_ip"),
        lifetime: lifetime(&mut section),
        place: section.finish(),
    }
}

fn probe(mut section: Section<'_, '_>) -> RawProbe {
    RawProbe {
        name: section.required("name"),
        protocol: section.required("protocol"),
        port: section.required("port"),
        request_path: section.optional("request_path"),
        interval_in_seconds: section.optional("interval_in_seconds"),
        interval: section.optional("interval"),
        number_of_probes: section.optional("number_of_probes"),
        probe_threshold: section.optional("probe_threshold"),
        no_healthy_backends_behavior: section.optional("no_healthy_backends_behavior"),
        send_proxy_protocol: section.optional("send_proxy_protocol"),
        place: section.finish(),
    }
}

fn inbound_nat_rule(mut section: Section<'_, '_>) -> RawInboundNatRule {
    RawInboundNatRule {
        name: section.required("name"),
        protocol: section.required("protocol"),
        frontend_port: section.required("frontend_port"),
        backend_ip_address: section.required("backend_ip_address"),
        backend_port: section.required("backend_port"),
        enable_floating_ip: section.optional("enable_floating_ip"),
        lifetime: lifetime(&mut section),
        place: section.finish(),
    }
}

fn lifetime(section: &mut Section<'_, '_>) -> RawLifetime {
    RawLifetime {
        idle_timeout_minutes: section.optional("idle_timeout_minutes"),
        enable_tcp_reset: section.optional("enable_tcp_reset"),
    }
}

fn backends(pool: &mut Section<'_, '_>) -> Option<Vec<RawBackend>> {
    let entries = pool.required_entries("backend_addresses")?;
    let backend = |entry| match entry {
        Entry::Text(text) => RawBackend {
            place: text.place.clone(),
            ip_address: Some(text),
            weight: None,
            admin_state: None,
        },
        Entry::Section(mut section) => RawBackend {
            ip_address: section.required("ip_address"),
            weight: section.optional("weight"),
            admin_state: section.optional("admin_state"),
            place: section.finish(),
        },
    };
    Some(entries.into_iter().map(backend).collect())
}

fn service(mut section: Section<'_, '_>) -> RawService {
    RawService {
        name: section.required("name"),
        load_balancer: section.required("load_balancer"),
        nat_ips: section
            .required_sections("nat_ip_configurations")
            .map(|list| list.into_iter().map(nat_ip).collect()),
        nat_ip_drain_timeout: section.optional("nat_ip_drain_timeout"),
        endpoint_flows_reserved: section.optional("endpoint_flows_reserved"),
        endpoint_flows_max: section.optional("endpoint_flows_max"),
        auto_approve: section.optional("auto_approve"),
        profile: section.optional("profile"),
        tcp_established_timeout: section.optional("tcp_established_timeout"),
        tcp_half_open_timeout: section.optional("tcp_half_open_timeout"),
        tcp_closing_timeout: section.optional("tcp_closing_timeout"),
        udp_timeout: section.optional("udp_timeout"),
        port_hold_down: section.optional("port_hold_down"),
        tcp_refusals: section.optional("tcp_refusals"),
        mss_clamp: section.optional("mss_clamp"),
        icmp_answers: section.optional_list("icmp_answers"),
        icmp_errors: section.optional("icmp_errors"),
        fragments: section.optional("fragments"),
        proxy_protocol: section.optional("proxy_protocol"),
        place: section.finish(),
    }
}

fn nat_ip(mut section: Section<'_, '_>) -> RawNatIp {
    let raw = RawNatIp {
        name: section.required("name"),
        private_ip_address: section.required("private_ip_address"),
    };
    section.finish();
    raw
}

fn endpoint(mut section: Section<'_, '_>) -> RawEndpoint {
    let raw = RawEndpoint {
        name: section.required("name"),
        virtual_network: section.required("virtual_network"),
        private_ip_address: section.required_texts("private_ip_address"),
        private_link_service: section.required("private_link_service"),
        request_message: section.optional("request_message"),
        connection_state: section.optional("connection_state"),
        icmp_echo: section.optional("icmp_echo"),
        flows_reserved: section.optional("flows_reserved"),
        flows_max: section.optional("flows_max"),
    };
    section.finish();
    raw
}
