//! The map of NAT port use: a row for each backend and protocol, a column for each NAT IP of the
//! service, and how full the pool of ports where they meet is.

use std::net::IpAddr;

use super::grid::{Cell, Grid, Sort};
use super::theme::Tone;
use super::views::{heat, share};
use super::words;
use crate::api::{NatPorts, Protocol, Service};
use crate::cli::rates::Sample;

/// Marks of heat, for those who see no colours; the palette has as many steps.
const MARKS: [char; 6] = [' ', '·', '░', '▒', '▓', '█'];

/// What the marks mean.
pub(super) const LEGEND: [(u8, &str); 6] =
    [(0, "0%"), (1, "<10%"), (2, "10%"), (3, "50%"), (4, "80%"), (5, "95%")];

/// What a cell of this heat begins with.
pub(super) fn mark(level: u8) -> char {
    MARKS.get(usize::from(level)).copied().unwrap_or('█')
}

/// The map of each service, under its name.
pub(super) fn maps(sample: &Sample, width: usize, filter: &str, sort: Sort) -> Vec<(String, Grid)> {
    let with_ports = sample.services.iter().filter(|service| !service.nat_ports.is_empty());
    let maps = with_ports.map(|service| {
        (format!("Service {}", service.name), map(service, width).arranged(filter, sort))
    });
    maps.filter(|(_, grid)| grid.len() > 0).collect()
}

fn map(service: &Service, width: usize) -> Grid {
    let mut grid = Grid::new(&[("BACKEND", 0), ("", 0), ("REFUSED#", 1)], "");
    let nat_ips = nat_ips(service);
    let titles = titles(&nat_ips, width);
    titles.iter().for_each(|title| grid.column(title.clone()));
    let is_narrow = titles.iter().any(|title| title.starts_with('…'));
    let mut rows: Vec<(IpAddr, Protocol)> = Vec::new();
    for pool in &service.nat_ports {
        if !rows.contains(&(pool.backend, pool.protocol)) {
            rows.push((pool.backend, pool.protocol));
        }
    }
    rows.sort_by_key(|&(backend, protocol)| (backend, protocol.name()));
    for (backend, protocol) in rows {
        let of_row = |pool: &&NatPorts| (pool.backend, pool.protocol) == (backend, protocol);
        let pools = || service.nat_ports.iter().filter(of_row);
        // Each pool counts every newcomer that found no port in any of them.
        let refused = pools().map(|pool| pool.refused).max().unwrap_or(0);
        let tone = if refused > 0 { Tone::Bad } else { Tone::Faint };
        let mut cells = vec![
            Cell::text(&backend.to_string()),
            Cell::text(protocol.name()),
            Cell::count(refused).tone(tone),
        ];
        for nat_ip in &nat_ips {
            cells.push(cell(pools().find(|pool| pool.nat_ip == *nat_ip), is_narrow));
        }
        grid.row(cells, vec![about(backend, protocol, &pools().collect::<Vec<_>>())]);
    }
    grid
}

fn cell(pool: Option<&NatPorts>, is_narrow: bool) -> Cell {
    let Some(pool) = pool else { return Cell::number(-1.0, "-".to_owned()) };
    let share = share(pool.leased, pool.ports);
    let text = if is_narrow { words::short_percent(share) } else { words::percent(share) };
    let wide = if is_narrow { 4 } else { 6 };
    let level = heat(share);
    Cell::number(share, format!("{} {text:>wide$} ", mark(level))).tone(Tone::Heat(level))
}

fn about(backend: IpAddr, protocol: Protocol, pools: &[&NatPorts]) -> String {
    let each: Vec<String> = pools
        .iter()
        .map(|pool| format!("{} of {}", words::count(u64::from(pool.leased)), pool.nat_ip))
        .collect();
    let of = pools.first().map_or(0, |pool| u64::from(pool.ports));
    format!(
        "Ports leased towards {backend}, {protocol}: {}; each has {}.",
        each.join(", "),
        words::count(of)
    )
}

fn nat_ips(service: &Service) -> Vec<IpAddr> {
    let mut nat_ips = service.nat_ips.clone();
    for pool in &service.nat_ports {
        if !nat_ips.contains(&pool.nat_ip) {
            // One that was taken away and still has flows.
            nat_ips.push(pool.nat_ip);
        }
    }
    nat_ips
}

/// Addresses as titles: whole, or only their ends where all would not fit.
fn titles(nat_ips: &[IpAddr], width: usize) -> Vec<String> {
    // Backend, protocol, refusals and the gaps take so much.
    let room = width.saturating_sub(34) / nat_ips.len().max(1);
    let whole: Vec<String> = nat_ips.iter().map(ToString::to_string).collect();
    if whole.iter().all(|title| title.len() + 2 <= room) {
        return whole;
    }
    let end = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => format!("….{}", ip.octets()[3]),
        IpAddr::V6(ip) => format!("…:{:x}", ip.segments()[7]),
    };
    nat_ips.iter().map(end).collect()
}
