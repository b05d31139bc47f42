//! The tables of each view, made from a sample and its rates.

use super::grid::{Cell, Grid};
use super::screen::Screen;
use super::theme::Tone;
use super::words;
use crate::api::{Backend, DeviceState, Endpoint, Service, Traffic};
use crate::cli::rates::{DevicePace, Rates, Sample, leased};
use crate::cli::table::listed;
use crate::state::ConnectionState;

pub(super) fn endpoints(sample: &Sample, rates: &Rates) -> Grid {
    let mut grid = Grid::new(
        &[
            ("ENDPOINT", 0),
            ("VNET", 2),
            ("ADDRESS", 1),
            ("SERVICE", 3),
            ("STATE", 0),
            ("FLOWS#", 0),
            ("IN BIT/S#", 4),
            ("OUT BIT/S#", 4),
            ("MAX#", 6),
            ("REFUSED#", 5),
            ("/S#", 7),
        ],
        "There is no private endpoint.",
    );
    for endpoint in &sample.endpoints {
        let refused = rates.refused.get(&endpoint.name).copied();
        let is_refusing = refused.is_some_and(|rate| rate > 0.0);
        let tone = if is_refusing { Tone::Bad } else { Tone::Plain };
        let pace = rates.endpoints.get(&endpoint.name).copied().unwrap_or_default();
        let most = endpoint.flows_max.map(u64::from);
        let most = most.map_or_else(|| Cell::number(f64::MAX, "-".to_owned()), Cell::count);
        let cells = [
            Cell::text(&endpoint.name).tone(tone),
            Cell::text(&endpoint.virtual_network),
            Cell::text(&listed(&endpoint.private_ip_addresses)),
            Cell::text(&endpoint.private_link_service),
            Cell::text(endpoint.connection_state.name()).tone(of_state(endpoint.connection_state)),
            Cell::count(u64::from(endpoint.flows)),
            Cell::bits(pace.bytes_in),
            Cell::bits(pace.bytes_out),
            most,
            Cell::count(endpoint.refused.total()),
            Cell::rate(refused).tone(tone),
        ];
        grid.row(cells, about_endpoint(endpoint));
    }
    grid
}

fn of_state(state: ConnectionState) -> Tone {
    match state {
        ConnectionState::Approved => Tone::Good,
        ConnectionState::Pending => Tone::Warn,
        ConnectionState::Rejected | ConnectionState::Disconnected => Tone::Bad,
    }
}

fn about_endpoint(endpoint: &Endpoint) -> Vec<String> {
    let Endpoint { name, description, link_id, flows_reserved, refused, .. } = endpoint;
    let asked = endpoint.request_message.as_ref();
    let asked = asked.map_or(String::new(), |message| format!(" It asks: \"{message}\"."));
    let mut lines = vec![format!(
        "{name}: {description}.{asked} Link id {link_id}, {flows_reserved} flows reserved."
    )];
    if refused.total() > 0 {
        lines.push(format!(
            "Refused: {} over flows_max, {} no NAT port, {} table full, {} room reserved.",
            refused.endpoint_flows_max,
            refused.nat_ports_exhausted,
            refused.flow_table_full,
            refused.room_reserved
        ));
    }
    for account in &endpoint.accounts {
        let backend = account.backend.map_or("other backends".to_owned(), |at| at.to_string());
        let protocol = account.protocol.map_or("", crate::api::Protocol::name);
        let Traffic { packets_in, bytes_in, packets_out, bytes_out } = account.traffic;
        lines.push(format!(
            "{backend} {protocol}: in {} packets, {} bytes; out {} packets, {} bytes.",
            words::count(packets_in),
            words::count(bytes_in),
            words::count(packets_out),
            words::count(bytes_out)
        ));
    }
    lines
}

pub(super) fn services(sample: &Sample, rates: &Rates) -> Grid {
    let mut grid = Grid::new(
        &[
            ("SERVICE", 0),
            ("VNET", 3),
            ("BALANCER", 4),
            ("ENDPOINTS#", 1),
            ("NAT IPS#", 2),
            ("RULES#", 5),
            ("BACKENDS#", 2),
            ("FLOWS#", 0),
            ("IN BIT/S#", 1),
            ("OUT BIT/S#", 1),
            ("FULLEST#", 1),
        ],
        "There is no private link service.",
    );
    for service in &sample.services {
        let fullest = fullest(service);
        let pace = rates.services.get(&service.name).copied().unwrap_or_default();
        let cells = [
            Cell::text(&service.name),
            Cell::text(&service.virtual_network),
            Cell::text(&service.load_balancer),
            Cell::count(service.private_endpoints.len() as u64),
            Cell::count(service.nat_ips.len() as u64),
            Cell::count(service.rules.len() as u64),
            Cell::count(backends_of(service).len() as u64),
            Cell::count(leased(service, |_| true)),
            Cell::bits(pace.bytes_in),
            Cell::bits(pace.bytes_out),
            Cell::number(fullest, words::percent(fullest)).tone(of_share(fullest)),
        ];
        grid.row(cells, about_service(service));
    }
    grid
}

/// How full the fullest of a service's port pools is, in percent.
fn fullest(service: &Service) -> f64 {
    let shares = service.nat_ports.iter().map(|pool| share(pool.leased, pool.ports));
    shares.fold(0.0, f64::max)
}

/// Percent.
pub(super) fn share(leased: u32, ports: u32) -> f64 {
    f64::from(leased) * 100.0 / f64::from(ports.max(1))
}

/// How warm a share is.
pub(super) fn heat(share: f64) -> u8 {
    match share {
        _ if share <= 0.0 => 0,
        _ if share < 10.0 => 1,
        _ if share < 50.0 => 2,
        _ if share < 80.0 => 3,
        _ if share < 95.0 => 4,
        _ => 5,
    }
}

fn of_share(share: f64) -> Tone {
    match heat(share) {
        5.. => Tone::Bad,
        3 | 4 => Tone::Warn,
        _ => Tone::Plain,
    }
}

fn about_service(service: &Service) -> Vec<String> {
    let nat_ips: Vec<String> = service.nat_ips.iter().map(ToString::to_string).collect();
    let rules = service.rules.iter().map(|rule| {
        let port = |port: u16| if port == 0 { "any".to_owned() } else { port.to_string() };
        let (front, back) = (port(rule.frontend_port), port(rule.backend_port));
        format!("{} {} {front} -> {back}", rule.name, rule.protocol)
    });
    let rules: Vec<String> = rules.collect();
    let mut lines = vec![format!(
        "{}: NAT IPs {}; rules {}.",
        service.name,
        nat_ips.join(", "),
        rules.join(", ")
    )];
    for leaving in &service.leaving_nat_ips {
        lines.push(format!(
            "NAT IP {} is {}: {} ports, {:.0} s left.",
            leaving.address, leaving.state, leaving.leased, leaving.seconds_left
        ));
    }
    lines
}

/// A service's backends, each once, with the rules that lead to it.
fn backends_of(service: &Service) -> Vec<(&Backend, Vec<&str>)> {
    let mut found: Vec<(&Backend, Vec<&str>)> = Vec::new();
    for rule in &service.rules {
        for backend in &rule.backends {
            match found.iter_mut().find(|(known, _)| known.address == backend.address) {
                Some((known, rules)) => {
                    // One that is probed says more.
                    if known.probe.is_none() {
                        *known = backend;
                    }
                    rules.push(&rule.name);
                }
                None => found.push((backend, vec![&rule.name])),
            }
        }
    }
    found
}

pub(super) fn backends(sample: &Sample) -> Grid {
    let mut grid = Grid::new(
        &[
            ("BACKEND", 0),
            ("SERVICE", 1),
            ("STATION", 1),
            ("TAKES", 1),
            ("WEIGHT#", 4),
            ("FLOWS#", 0),
            ("SHARE#", 1),
            ("TCP#", 3),
            ("UDP#", 3),
        ],
        "There is no backend: no rule has one.",
    );
    for service in &sample.services {
        let all = leased(service, |_| true);
        for (backend, rules) in backends_of(service) {
            let own = |protocol| {
                leased(service, |pool| pool.backend == backend.address && pool.protocol == protocol)
            };
            let (tcp, udp) = (own(crate::api::Protocol::Tcp), own(crate::api::Protocol::Udp));
            let share = (tcp + udp) as f64 * 100.0 / all.max(1) as f64;
            let station = match backend.resolved {
                true => Cell::text("answers").tone(Tone::Good),
                false => Cell::text("not resolved").tone(Tone::Warn),
            };
            let takes = match (backend.takes_flows, &backend.probe) {
                (true, _) => Cell::text("new flows"),
                (false, Some(probe)) => {
                    Cell::text(&format!("none, {}", probe.state)).tone(Tone::Warn)
                }
                (false, None) => Cell::text("none").tone(Tone::Warn),
            };
            let cells = [
                Cell::text(&backend.address.to_string()),
                Cell::text(&service.name),
                station,
                takes,
                Cell::count(u64::from(backend.weight)),
                Cell::count(tcp + udp),
                Cell::number(share, words::percent(share)),
                Cell::count(tcp),
                Cell::count(udp),
            ];
            let state = &backend.admin_state;
            let probe = backend.probe.as_ref().map_or_else(String::new, |probe| {
                let error = probe.last_error.as_ref();
                let error =
                    error.map_or_else(String::new, |error| format!(", last error: {error}"));
                format!(" Its probe: {}{error}.", probe.state)
            });
            let about = format!(
                "{} serves {}; admin state {state}.{probe} FLOWS are the NAT ports that its flows \
                 hold.",
                backend.address,
                rules.join(", ")
            );
            grid.row(cells, vec![about]);
        }
    }
    grid
}

pub(super) fn drops(sample: &Sample, rates: &Rates) -> Grid {
    let columns = [("PACKETS#", 0), ("/S#", 0), ("REASON", 0), ("WHAT HAPPENED", 1)];
    let mut grid = Grid::new(&columns, "No packet was dropped.");
    for drop in sample.drops.iter().filter(|drop| drop.count > 0) {
        let rate = rates.drops.get(&drop.metric).copied();
        let tone = if rate.is_some_and(|rate| rate > 0.0) { Tone::Warn } else { Tone::Faint };
        let cells = [
            Cell::count(drop.count),
            Cell::rate(rate).tone(tone),
            Cell::text(&drop.metric),
            Cell::text(&drop.sentence),
        ];
        grid.row(cells, vec![drop.sentence.clone(), format!("-> {}", drop.cure)]);
    }
    grid
}

pub(super) fn devices(screen: &Screen, sample: &Sample) -> Grid {
    let columns = [
        ("DEVICE", 0),
        ("VNET", 2),
        ("KIND", 3),
        ("IN/S#", 0),
        ("OUT/S#", 0),
        ("MISSED#", 1),
        ("/S#", 4),
        ("STATE", 0),
    ];
    let mut grid = Grid::new(&columns, "There is no device.");
    for device in &sample.status.devices {
        let key = (device.name.clone(), device.network_namespace.clone());
        let pace = screen.rates.devices.get(&key).copied();
        let DevicePace { received, sent, missed } = pace.unwrap_or_default();
        let (state, tone) = match device.state {
            DeviceState::Up => ("up".to_owned(), Tone::Good),
            DeviceState::Unopened => ("not opened yet".to_owned(), Tone::Warn),
            DeviceState::Down => {
                let why = device.detail.as_deref().unwrap_or("unknown reason");
                (format!("down: {why}"), Tone::Bad)
            }
        };
        let is_missing = missed.is_some_and(|rate| rate > 0.0);
        let cells = [
            Cell::text(&device.name),
            Cell::text(&device.virtual_network),
            Cell::text(&device.kind),
            Cell::rate(received),
            Cell::rate(sent),
            Cell::count(device.missed),
            Cell::rate(missed).tone(if is_missing { Tone::Bad } else { Tone::Plain }),
            Cell::text(&state).tone(tone),
        ];
        grid.row(cells, Vec::new());
    }
    grid
}

pub(super) fn workers(sample: &Sample) -> Grid {
    let columns = [
        ("WORKER#", 0),
        ("FLOWS#", 0),
        ("FULL#", 0),
        ("GENERATION#", 2),
        ("FORWARDED#", 1),
        ("DROPPED#", 1),
    ];
    let mut grid = Grid::new(&columns, "There is no worker.");
    for worker in &sample.status.workers {
        let full = worker.flows as f64 * 100.0 / worker.flows_max.max(1) as f64;
        let is_behind = worker.generation != sample.status.generation;
        let tone = if is_behind { Tone::Warn } else { Tone::Plain };
        let cells = [
            Cell::count(u64::from(worker.worker)),
            Cell::count(worker.flows),
            Cell::number(full, words::percent(full)).tone(of_share(full)),
            Cell::count(u64::from(worker.generation)).tone(tone),
            Cell::count(worker.forwarded),
            Cell::count(worker.dropped),
        ];
        grid.row(cells, Vec::new());
    }
    grid
}
