//! Step: what there is, and that adit agrees.

use super::super::topology::{BACKENDS, CLIENT, ENDPOINT, NAT_IPS, NEW_ENDPOINT};
use super::super::trouble::Trouble;
use super::{Tour, list, milliseconds};
use crate::api::DeviceState;
use crate::state::ConnectionState;

const DRAWING: &str = "
consumer-a 10.0.0.0/16          adit             provider 10.1.0.0/16
┌────────────────────┐   ┌──────────────────┐   ┌─────────────────────┐
│ client   10.0.0.10 ├───┤ pe-a    10.0.0.5 │ ┌─┤ backend-1 10.1.0.10 │
└────────────────────┘   │                  │ │ └─────────────────────┘
consumer-b 10.0.0.0/16   │                  ├─┘ ┌─────────────────────┐
┌────────────────────┐   │ NAT IPs 10.1.0.4 ├───┤ backend-2 10.1.0.11 │
│ client   10.0.0.10 ├───┤         10.1.0.5 ├─┐ └─────────────────────┘
└────────────────────┘   │                  │ │ ┌─────────────────────┐
                         │ pe-b    10.0.0.5 │ └─┤ backend-3 10.1.0.12 │
                         │ pe-new  10.0.0.6 │   └─────────────────────┘
                         └──────────────────┘   HTTP 8080, UDP echo 7007
";

pub(super) fn show(tour: &mut Tour<'_>) -> Result<(), Trouble> {
    let ready = milliseconds(tour.began.elapsed());
    DRAWING.trim_end().lines().for_each(|line| tour.report.line(line));
    tour.report.line("");
    let status = tour.daemon.status()?;
    let up = status.devices.iter().filter(|device| device.state == DeviceState::Up).count();
    let claim = format!("adit answers on its control socket {ready}, its devices are up");
    tour.report.equal(&claim, tour.topology.devices().count(), up);
    let resolved = status.next_hops.iter().filter(|next_hop| next_hop.mac.is_some());
    let resolved = resolved.map(|next_hop| next_hop.address);
    tour.report.equal("Every backend has answered ARP", list(BACKENDS), list(resolved));
    let service = tour.daemon.services()?.into_iter().next();
    let nat_ips = service.map_or_else(String::new, |service| list(service.nat_ips));
    tour.report.equal("The service has two NAT IPs", list(NAT_IPS), nat_ips);
    endpoints(tour)
}

/// The client has the same address twice, and so has the endpoint: that is the point.
fn endpoints(tour: &mut Tour<'_>) -> Result<(), Trouble> {
    let endpoints = tour.daemon.endpoints()?;
    let seen = endpoints.iter().flat_map(|endpoint| {
        let (network, state) = (&endpoint.virtual_network, endpoint.connection_state);
        let addresses = endpoint.private_ip_addresses.iter();
        addresses.map(move |address| format!("{network} {address} {state}"))
    });
    let expected = [
        format!("consumer-a {ENDPOINT} {}", ConnectionState::Approved),
        format!("consumer-b {ENDPOINT} {}", ConnectionState::Approved),
        format!("consumer-b {NEW_ENDPOINT} {}", ConnectionState::Pending),
    ];
    let claim = "Two endpoints are approved, under one address; the third is pending";
    tour.report.equal(claim, list(expected), list(seen));
    let clients = tour.topology.consumers.iter().map(|consumer| consumer.host.address());
    tour.report.equal("Both clients have one address too", list([CLIENT; 2]), list(clients));
    Ok(())
}
