//! Answers as people read them.

mod plan;
mod status;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

pub(super) use self::status::watched;
use crate::api::{
    Backend, Decision, Drop, Endpoint, Explanation, Judgement, Owner, Packet, Response, Rule,
    RuleKind, RuleProbe, Service, Session, Traffic,
};
use crate::arm::Access;
use crate::cli::table::{Table, listed, printable};
use crate::config::{Checked, ConfigError};

/// The answer as text that ends with a line break.
pub(super) fn response(response: &Response) -> String {
    match response {
        Response::Status(status) => status::status(status),
        Response::Endpoints { endpoints } => self::endpoints(endpoints),
        Response::Services { services } => self::services(services),
        // Shown as it comes.
        Response::Traced { .. } => String::new(),
        Response::Sessions { sessions, more, .. } => self::sessions(sessions, *more),
        Response::Explained { packet, explanation } => self::explanation(packet, explanation),
        Response::Owners { owners } => self::owners(owners),
        Response::Killed { session, is_reset } => killed(session, *is_reset),
        Response::Drops { drops, total } => self::drops(drops, *total),
        Response::Decided { endpoint, state, changed, generation } => {
            let already = if *changed { "is now" } else { "was already" };
            let endpoint = printable(endpoint);
            format!("{endpoint} {already} {state} (generation {generation})\n")
        }
        Response::Access(access) => exports(access),
        Response::Planned(plan) => plan::plan(plan),
        Response::Reloaded { generation, warnings } => {
            let mut text = format!("reloaded: every worker works with generation {generation}\n");
            self::warnings(&mut text, warnings);
            text
        }
    }
}

/// What `adit check` says of a valid file.
pub(super) fn summary(file: &str, checked: &Checked) -> String {
    let config = &checked.config;
    let settings = config.settings();
    let mut text = format!("{file} is valid\n");
    warnings(&mut text, &checked.warnings);
    let count = |count: usize, what: &str| {
        let plural = if count == 1 { "" } else { "s" };
        format!("  {count} {what}{plural}\n")
    };
    text.push_str(&count(config.virtual_networks().len(), "virtual network"));
    text.push_str(&count(config.devices().len(), "device"));
    text.push_str(&count(config.load_balancers().len(), "load balancer"));
    text.push_str(&count(config.services().len(), "private link service"));
    text.push_str(&count(config.endpoints().len(), "private endpoint"));
    text.push_str(&count(usize::from(settings.workers.value), "worker"));
    put(&mut text, format_args!("  control socket {}", settings.control_socket.value.display()));
    let mut table = Table::new(&["ENDPOINT", "VNET", "ADDRESS", "SERVICE", "STATE"]);
    for endpoint in config.endpoints() {
        let network = config.virtual_networks().get(endpoint.virtual_network);
        let service = config.services().get(endpoint.service);
        table.row([
            endpoint.name.to_string(),
            network.map_or_else(String::new, |network| network.name.to_string()),
            endpoint.addresses.to_string(),
            service.map_or_else(String::new, |service| service.name.to_string()),
            config.initial_state(endpoint).to_string(),
        ]);
    }
    text.push('\n');
    text + &table.render("There is no private endpoint.")
}

/// Adds a line.
fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

fn warnings(text: &mut String, warnings: &[ConfigError]) {
    for warning in warnings {
        put(text, format_args!("warning: {warning}"));
    }
}

/// A time that has passed.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn endpoints(endpoints: &[Endpoint]) -> String {
    let header = [
        "ENDPOINT",
        "VNET",
        "ADDRESS",
        "SERVICE",
        "STATE",
        "LINK ID#",
        "FLOWS#",
        "RESERVED#",
        "MAX#",
        "REFUSED#",
        "BYTES IN#",
        "BYTES OUT#",
        "DESCRIPTION",
    ];
    let mut table = Table::new(&header);
    for endpoint in endpoints {
        let description = match &endpoint.request_message {
            Some(message) => format!("{} (\"{message}\")", endpoint.description),
            None => endpoint.description.clone(),
        };
        table.row([
            endpoint.name.clone(),
            endpoint.virtual_network.clone(),
            listed(&endpoint.private_ip_addresses),
            endpoint.private_link_service.clone(),
            endpoint.connection_state.to_string(),
            endpoint.link_id.to_string(),
            endpoint.flows.to_string(),
            endpoint.flows_reserved.to_string(),
            endpoint.flows_max.map_or_else(|| "-".to_owned(), |most| most.to_string()),
            endpoint.refused.total().to_string(),
            endpoint.traffic.bytes_in.to_string(),
            endpoint.traffic.bytes_out.to_string(),
            description,
        ]);
    }
    let mut text = table.render("There is no private endpoint.");
    if endpoints.iter().any(|endpoint| !endpoint.accounts.is_empty()) {
        text.push('\n');
        text.push_str(&accounts(endpoints));
    }
    text
}

/// What was carried to and from each backend; in is from the client.
fn accounts(endpoints: &[Endpoint]) -> String {
    let mut table = Table::new(&[
        "ENDPOINT",
        "BACKEND",
        "PROTOCOL",
        "PACKETS IN#",
        "BYTES IN#",
        "PACKETS OUT#",
        "BYTES OUT#",
    ]);
    for endpoint in endpoints {
        for account in &endpoint.accounts {
            let Traffic { packets_in, bytes_in, packets_out, bytes_out } = account.traffic;
            table.row([
                endpoint.name.clone(),
                account.backend.map_or_else(|| "others".to_owned(), |at| at.to_string()),
                account.protocol.map_or_else(|| "-".to_owned(), |protocol| protocol.to_string()),
                packets_in.to_string(),
                bytes_in.to_string(),
                packets_out.to_string(),
                bytes_out.to_string(),
            ]);
        }
    }
    table.render("")
}

fn services(services: &[Service]) -> String {
    if services.is_empty() {
        return "There is no private link service.\n".to_owned();
    }
    let texts: Vec<String> = services.iter().map(service).collect();
    texts.join("\n")
}

fn carried(traffic: &Traffic) -> String {
    let Traffic { packets_in, bytes_in, packets_out, bytes_out } = traffic;
    format!(
        "in {packets_in} packets, {bytes_in} bytes; out {packets_out} packets, {bytes_out} bytes"
    )
}

fn service(service: &Service) -> String {
    let addresses = |list: &[IpAddr]| {
        let list: Vec<String> = list.iter().map(ToString::to_string).collect();
        list.join(", ")
    };
    let mut text = String::new();
    let (name, balancer) = (printable(&service.name), printable(&service.load_balancer));
    let network = printable(&service.virtual_network);
    put(&mut text, format_args!("{name}: load balancer {balancer} in {network}"));
    put(&mut text, format_args!("NAT IPs: {}", addresses(&service.nat_ips)));
    for leaving in &service.leaving_nat_ips {
        let (address, state) = (leaving.address, printable(&leaving.state));
        let (seconds, leased) = (leaving.seconds_left, leaving.leased);
        let left =
            format_args!("taken away: {address}, {state}, {seconds:.0} s left, {leased} ports");
        put(&mut text, left);
    }
    let endpoints = match service.private_endpoints.as_slice() {
        [] => "none".to_owned(),
        list => printable(&list.join(", ")),
    };
    put(&mut text, format_args!("private endpoints: {endpoints}"));
    put(&mut text, format_args!("carried: {}", carried(&service.traffic)));
    let answers = match service.icmp_answers.as_slice() {
        [] => "none".to_owned(),
        list => printable(&list.join(", ")),
    };
    let (mss, errors) = (printable(&service.mss_clamp), printable(&service.icmp_errors));
    put(&mut text, format_args!("MSS: {mss}; ICMP answers: {answers}; ICMP errors: {errors}"));
    let (fragments, proxy) = (printable(&service.fragments), printable(&service.proxy_protocol));
    put(&mut text, format_args!("fragments: {fragments}; PROXY protocol v2: {proxy}"));
    let mut rules =
        Table::new(&["RULE", "PROTOCOL", "PORT#", "BACKEND PORT#", "IDLE S#", "BY", "BACKENDS"]);
    for rule in &service.rules {
        let backends: Vec<String> = rule.backends.iter().map(backend).collect();
        let port = |port: u16| if port == 0 { "any".to_owned() } else { port.to_string() };
        let by = match rule.kind {
            RuleKind::LoadBalancing => printable(&rule.load_distribution),
            RuleKind::InboundNat => "inbound NAT".to_owned(),
        };
        let backends = backends.join(", ");
        rules.row([
            rule.name.clone(),
            rule.protocol.to_string(),
            port(rule.frontend_port),
            port(rule.backend_port),
            rule.idle_timeout_seconds.to_string(),
            by,
            rule.floating_ip.map_or(backends.clone(), |to| format!("{to} floats to {backends}")),
        ]);
    }
    text.push_str(&rules.render("There is no rule."));
    text.push_str(&probes(&service.rules));
    let mut ports =
        Table::new(&["NAT IP", "BACKEND", "PROTOCOL", "LEASED#", "PORTS#", "USED#", "REFUSED#"]);
    for pool in &service.nat_ports {
        let share = f64::from(pool.leased) * 100.0 / f64::from(pool.ports.max(1));
        ports.row([
            pool.nat_ip.to_string(),
            pool.backend.to_string(),
            pool.protocol.to_string(),
            pool.leased.to_string(),
            pool.ports.to_string(),
            format!("{share:.1}%"),
            pool.refused.to_string(),
        ]);
    }
    text + &ports.render("There is no port pool: no rule has a backend.")
}

/// What probes say of backends, once for each probe; nothing if there is none.
fn probes(rules: &[Rule]) -> String {
    let header =
        ["PROBE", "ASKS", "BACKEND", "STATE", "FOR", "TO CHANGE#", "OK#", "FAILED#", "LAST ERROR"];
    let mut table = Table::new(&header);
    let mut seen = BTreeSet::new();
    for rule in rules {
        let Some(asks) = &rule.probe else { continue };
        for backend in &rule.backends {
            let Some(probe) = &backend.probe else { continue };
            if !seen.insert((&asks.name, backend.address)) {
                continue;
            }
            let error = probe.last_error.as_ref().map(|error| {
                let ago = probe.last_error_seconds_ago.unwrap_or_default();
                format!("{error} ({ago:.1} s ago)")
            });
            table.row([
                asks.name.clone(),
                question(asks),
                backend.address.to_string(),
                probe.state.clone(),
                format!("{:.1} s", probe.seconds),
                probe.missing.to_string(),
                probe.successes.to_string(),
                probe.failures.to_string(),
                error.unwrap_or_else(|| "-".to_owned()),
            ]);
        }
    }
    if seen.is_empty() { String::new() } else { table.render("") }
}

/// What a probe asks, and how often.
fn question(probe: &RuleProbe) -> String {
    let path = probe.request_path.as_deref().unwrap_or_default();
    let RuleProbe { protocol, port, interval_seconds, .. } = probe;
    format!("{protocol} {port}{path} each {interval_seconds} s")
}

/// A backend with what is unusual about it: `10.1.0.10 x3 (Down, not resolved)`.
fn backend(backend: &Backend) -> String {
    let weight = if backend.weight == 1 { String::new() } else { format!(" x{}", backend.weight) };
    let admin = Some(printable(&backend.admin_state)).filter(|state| state != "None");
    let probed = backend.probe.as_ref().map(|probe| format!("probe: {}", printable(&probe.state)));
    let drains = backend.drain_seconds_left.map(|left| match left {
        0.0 => "drained".to_owned(),
        left => format!("drains for {left:.0} s"),
    });
    let idle = (!backend.takes_flows).then(|| "takes no new flows".to_owned());
    let silent = (!backend.resolved).then(|| "not resolved".to_owned());
    let remarks: Vec<String> =
        [admin, drains, probed, idle, silent].into_iter().flatten().collect();
    let remarks =
        if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join(", ")) };
    format!("{}{weight}{remarks}", backend.address)
}

/// All sessions of an answer.
pub(super) fn sessions(sessions: &[Session], more: u64) -> String {
    let header = [
        "ID", "PROTOCOL", "VNET", "CLIENT", "ENDPOINT", "ADDRESS", "NAT", "BACKEND", "STATE",
        "IDLE#", "EXPIRES#",
    ];
    let mut table = Table::new(&header);
    for session in sessions {
        let socket = |address: IpAddr, port: u16| format!("{address}:{port}");
        table.row([
            session.id.to_string(),
            session.protocol.to_string(),
            session.virtual_network.clone(),
            socket(session.client, session.client_port),
            session.endpoint.clone().unwrap_or_else(|| "-".to_owned()),
            socket(session.endpoint_address, session.endpoint_port),
            socket(session.nat_ip, session.nat_port),
            backend_socket(session.backend, session.floating_ip, session.backend_port),
            session.state.clone(),
            format!("{:.1}s", session.idle_seconds),
            format!("{:.1}s", session.expires_in_seconds),
        ]);
    }
    let mut text = String::new();
    if !sessions.is_empty() || more == 0 {
        text = table.render("There is no such session.");
    }
    if more > 0 {
        put(&mut text, format_args!("{more} more: narrow the filter or raise --limit"));
    }
    text
}

/// Where a flow is served; behind a frontend that floats also what its packets are addressed to.
fn backend_socket(backend: IpAddr, floating_ip: Option<IpAddr>, port: u16) -> String {
    match floating_ip {
        None => format!("{backend}:{port}"),
        Some(target) => format!("{backend} as {target}:{port}"),
    }
}

fn owners(owners: &[Owner]) -> String {
    let header = [
        "STATE", "PROTOCOL", "VNET", "CLIENT", "ENDPOINT", "ADDRESS", "LINK ID#", "SERVICE", "NAT",
        "BACKEND", "BEGAN", "ENDED",
    ];
    let mut table = Table::new(&header);
    for owner in owners {
        let socket = |address: IpAddr, port: u16| format!("{address}:{port}");
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        table.row([
            owner.state.clone(),
            owner.protocol.to_string(),
            owner.virtual_network.clone(),
            socket(owner.client, owner.client_port),
            or_dash(&owner.endpoint),
            socket(owner.endpoint_address, owner.endpoint_port),
            owner.link_id.to_string(),
            or_dash(&owner.private_link_service),
            socket(owner.nat_ip, owner.nat_port),
            backend_socket(owner.backend, owner.floating_ip, owner.backend_port),
            or_dash(&owner.began),
            or_dash(&owner.ended),
        ]);
    }
    table.render("Nobody.")
}

fn explanation(packet: &Packet, explanation: &Explanation) -> String {
    let mut text = String::new();
    let Packet { protocol, virtual_network, source, destination } = packet;
    let network = printable(virtual_network);
    put(&mut text, format_args!("{protocol} from {source} in {network} to {destination}"));
    for Decision { about, judgement, sentence } in &explanation.decisions {
        let mark = match judgement {
            Judgement::Passes => "+",
            Judgement::Waits => "~",
            Judgement::Refused => "x",
        };
        let (about, sentence) = (about.replace('_', " "), printable(sentence));
        put(&mut text, format_args!("  {mark} {about:<12} {sentence}"));
    }
    match &explanation.refusal {
        None => put(&mut text, format_args!("It passes.")),
        Some(refusal) => {
            put(&mut text, format_args!("It is dropped.\n  -> {}", printable(&refusal.cure)));
        }
    }
    text
}

fn killed(session: &Session, is_reset: bool) -> String {
    let how = if is_reset { "both sides are reset" } else { "in silence" };
    let (client, endpoint) = (session.client, session.endpoint_address);
    let (client_port, endpoint_port) = (session.client_port, session.endpoint_port);
    format!(
        "ended {} from {client}:{client_port} to {endpoint}:{endpoint_port}: {how}\n",
        session.protocol
    )
}

fn drops(drops: &[Drop], total: u64) -> String {
    let mut table = Table::new(&["COUNT#", "REASON", "WHAT HAPPENED"]);
    for drop in drops {
        table.row([drop.count.to_string(), drop.metric.clone(), drop.sentence.clone()]);
        if drop.count > 0 {
            table.row([String::new(), String::new(), format!("-> {}", drop.cure)]);
        }
    }
    let mut text = table.render("No packet was dropped.");
    if !drops.is_empty() {
        put(&mut text, format_args!("{total} in all"));
    }
    text
}

/// Exports for a shell, so that `eval "$(adit arm env)"` makes clients find the API.
fn exports(access: &Access) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let lines = [
        ("ENDPOINT", &access.endpoint),
        ("TOKEN", &access.token),
        ("CA", &access.ca),
        ("SUBSCRIPTION", &access.subscription),
        ("RESOURCE_GROUP", &access.resource_group),
        ("TENANT", &access.tenant),
    ];
    let line =
        |(name, value): (&str, &String)| format!("export ADIT_ARM_{name}={}\n", quoted(value));
    lines.into_iter().map(line).collect()
}
