//! Metrics, from what the control socket says: the one table of them, whatever they are written in
//! (`prometheus`, `open_telemetry`).
//!
//! Azure's `PLSNatPortsUsage` stays recognizable: `adit_pls_nat_ports_usage_percent`, and the ports
//! behind it stand there by backend and protocol. So do `PEBytesIn`, `PEBytesOut`, `PLSBytesIn` and
//! `PLSBytesOut`, beside which `adit_bytes_in_total` and its like have the dimensions that Azure
//! lacks. Pure; bounds: what it is given.

pub(crate) mod open_telemetry;
pub(crate) mod prometheus;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::api::{
    DeviceState, Drop, Endpoint, MetricsPush, Protocol, Recording, Refusals, Service, Status,
    Traffic,
};
use crate::state::ConnectionState;

/// What metrics are made of.
pub(crate) struct Facts<'f> {
    pub(crate) status: &'f Status,
    pub(crate) endpoints: &'f [Endpoint],
    pub(crate) services: &'f [Service],
    pub(crate) drops: &'f [Drop],
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows while adit runs.
    Counter,
    /// Is what it is now.
    Gauge,
}

/// A metric, of which there is a sample for each set of labels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family<'t> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'t str,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Whole(u64),
    Real(f64),
}

macro_rules! whole {
    ($($kind:ty)*) => {
        $(impl From<$kind> for Value {
            fn from(value: $kind) -> Value {
                Value::Whole(u64::from(value))
            }
        })*
    };
}

whole!(u8 u32 u64);

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Real(value)
    }
}

/// Names and values of what samples of a metric differ in.
pub(crate) type Labels<'t> = &'t [(&'static str, &'t str)];

/// What samples are written into. Those of one metric may come apart from each other.
pub(crate) trait Page {
    fn sample(&mut self, family: Family<'_>, labels: Labels<'_>, value: Value);
}

impl dyn Page + '_ {
    fn counter(
        &mut self,
        name: &'static str,
        help: &str,
        labels: Labels<'_>,
        value: impl Into<Value>,
    ) {
        self.sample(Family { name, kind: Kind::Counter, help }, labels, value.into());
    }

    fn gauge(
        &mut self,
        name: &'static str,
        help: &str,
        labels: Labels<'_>,
        value: impl Into<Value>,
    ) {
        self.sample(Family { name, kind: Kind::Gauge, help }, labels, value.into());
    }
}

/// Writes all metrics.
pub(crate) fn write(facts: &Facts<'_>, page: &mut dyn Page) {
    process(page, facts.status);
    recording(page, &facts.status.recording);
    facts.status.metrics_push.iter().for_each(|one| push(page, one));
    connections(page, facts);
    services(page, facts);
    for drop in facts.drops {
        let labels = [("reason", drop.metric.as_str())];
        page.counter("adit_drops_total", "Packets dropped, by reason.", &labels, drop.count);
    }
    for worker in &facts.status.workers {
        let number = worker.worker.to_string();
        let labels = [("worker", number.as_str())];
        page.gauge("adit_worker_flows", "Flows of a worker.", &labels, worker.flows);
        let help = "Flows that a worker has room for.";
        page.gauge("adit_worker_flows_max", help, &labels, worker.flows_max);
        let help = "Packets that a worker translated and sent.";
        page.counter("adit_worker_forwarded_total", help, &labels, worker.forwarded);
        let help = "Packets that a worker dropped.";
        page.counter("adit_worker_dropped_total", help, &labels, worker.dropped);
    }
    for device in &facts.status.devices {
        let namespace = device.network_namespace.as_deref().unwrap_or_default();
        let labels = [
            ("device", device.name.as_str()),
            ("network_namespace", namespace),
            ("virtual_network", device.virtual_network.as_str()),
        ];
        let is_up = u8::from(device.state == DeviceState::Up);
        page.gauge("adit_device_up", "Whether every worker has the device open.", &labels, is_up);
        let help =
            "Frames that workers received from a device; not those that the kernel carried alone.";
        page.counter("adit_device_received_total", help, &labels, device.received);
        page.counter(
            "adit_device_sent_total",
            "Frames that workers sent by a device; not those that the kernel carried alone.",
            &labels,
            device.sent,
        );
        let help = "Frames that the system dropped because adit was too slow.";
        page.counter("adit_device_missed_total", help, &labels, device.missed);
    }
}

fn process(page: &mut dyn Page, status: &Status) {
    let version = [("version", status.adit.as_str())];
    page.gauge("adit_build_info", "Version of adit.", &version, 1_u8);
    let gauges: [(&'static str, &str, u64); 8] = [
        ("adit_uptime_seconds", "Seconds since adit started.", status.uptime_seconds),
        ("adit_generation", "The configuration in force.", u64::from(status.generation)),
        ("adit_flows", "Flows that live now.", status.flows),
        ("adit_backends_probed", "Backends that are probed.", status.backends_probed),
        ("adit_backends_healthy", "Of those: how many take flows.", status.backends_healthy),
        ("adit_flows_unanswered", "Flows that nobody has answered yet.", status.flows_unanswered),
        ("adit_nat_ports_resting", "Ports that rest after their flows.", status.ports_resting),
        ("adit_packets_waiting", "Packets that wait for a next hop.", status.held),
    ];
    for (name, help, value) in gauges {
        page.gauge(name, help, &[], value);
    }
    let displaced = "Flows closed unanswered because newer ones needed the room.";
    let others = &status.traffic_of_others;
    let help = "Bytes of endpoints for which there was no account.";
    page.counter("adit_other_bytes_total", help, &[], others.bytes_in + others.bytes_out);
    let counters: [(&'static str, &str, u64); 8] = [
        ("adit_flows_opened_total", "Flows ever opened.", status.flows_opened),
        ("adit_flows_displaced_total", displaced, status.flows_displaced),
        ("adit_flows_revoked_total", "Flows closed by a change.", status.flows_revoked),
        ("adit_flows_reset_total", "Flows that adit ended with resets.", status.flows_reset),
        ("adit_received_total", "Frames received from devices.", status.received),
        ("adit_received_bytes_total", "Bytes of those.", status.received_bytes),
        ("adit_forwarded_total", "Packets translated and sent.", status.forwarded),
        ("adit_forwarded_bytes_total", "Bytes of those.", status.forwarded_bytes),
    ];
    for (name, help, value) in counters {
        page.counter(name, help, &[], value);
    }
}

/// How it is with whoever metrics are sent to.
fn push(page: &mut dyn Page, push: &MetricsPush) {
    let labels = [("to", push.to.as_str())];
    let help = "Times that metrics were sent to an OpenTelemetry receiver.";
    page.counter("adit_metrics_push_total", help, &labels, push.sent);
    let help = "Times that metrics could not be sent, or were refused.";
    page.counter("adit_metrics_push_lost_total", help, &labels, push.lost);
    let help = "Samples that the receiver says it has not taken.";
    page.counter("adit_metrics_push_rejected_samples_total", help, &labels, push.rejected_samples);
    let help = "Whether metrics could be sent the last time.";
    page.gauge("adit_metrics_push_up", help, &labels, u8::from(push.trouble.is_none()));
}

fn recording(page: &mut dyn Page, recording: &Recording) {
    let help = "Records of flows that began or ended, told by workers.";
    page.counter("adit_flow_records_total", help, &[], recording.records);
    let help = "Records of flows that were lost because there were too many at once.";
    page.counter("adit_flow_records_lost_total", help, &[], recording.records_lost);
    let help = "Flows that have ended and are remembered.";
    page.gauge("adit_flows_remembered", help, &[], recording.remembered);
    let help = "Lines of the audit log that were written.";
    page.counter("adit_audit_written_total", help, &[], recording.audit_log.written);
    let help = "Lines of the audit log that could not be written.";
    page.counter("adit_audit_lost_total", help, &[], recording.audit_log.lost);
    for log in &recording.flow_logs {
        let labels = [("form", log.form.as_str()), ("to", log.to.as_str())];
        let help = "Events that were written to a flow log.";
        page.counter("adit_flow_log_written_total", help, &labels, log.written);
        let help = "Events that could not be written to a flow log.";
        page.counter("adit_flow_log_lost_total", help, &labels, log.lost);
        let help = "Whether a flow log can be written.";
        page.gauge("adit_flow_log_up", help, &labels, u8::from(log.trouble.is_none()));
    }
}

fn connections(page: &mut dyn Page, facts: &Facts<'_>) {
    for endpoint in facts.endpoints {
        let link = endpoint.link_id.to_string();
        let labels = [
            ("endpoint", endpoint.name.as_str()),
            ("virtual_network", endpoint.virtual_network.as_str()),
            ("service", endpoint.private_link_service.as_str()),
            ("link_id", link.as_str()),
        ];
        let is_approved = u8::from(endpoint.connection_state == ConnectionState::Approved);
        page.gauge("adit_pe_approved", "Whether an endpoint is approved.", &labels, is_approved);
        let is_pending = u8::from(endpoint.connection_state == ConnectionState::Pending);
        page.gauge("adit_pe_pending", "Whether an endpoint waits.", &labels, is_pending);
        let Traffic { bytes_in, bytes_out, .. } = endpoint.traffic;
        let help = "Bytes from clients through an endpoint (PEBytesIn).";
        page.counter("adit_pe_bytes_in_total", help, &labels, bytes_in);
        let help = "Bytes to clients through an endpoint (PEBytesOut).";
        page.counter("adit_pe_bytes_out_total", help, &labels, bytes_out);
        refusals(page, endpoint);
        accounts(page, endpoint);
    }
}

/// Newcomers of an endpoint for which there was no room.
fn refusals(page: &mut dyn Page, endpoint: &Endpoint) {
    let Refusals { endpoint_flows_max, nat_ports_exhausted, flow_table_full, room_reserved } =
        endpoint.refused;
    let all = [
        ("endpoint_flows_max", endpoint_flows_max),
        ("nat_ports_exhausted", nat_ports_exhausted),
        ("flow_table_full", flow_table_full),
        ("room_reserved", room_reserved),
    ];
    for (reason, count) in all {
        let labels = [
            ("endpoint", endpoint.name.as_str()),
            ("virtual_network", endpoint.virtual_network.as_str()),
            ("service", endpoint.private_link_service.as_str()),
            ("reason", reason),
        ];
        let help = "Newcomers of an endpoint that were refused, by reason.";
        page.counter("adit_pe_refused_total", help, &labels, count);
    }
}

/// What an endpoint carried by backend and protocol, which Azure does not tell. Without a backend:
/// what has no account of its own.
fn accounts(page: &mut dyn Page, endpoint: &Endpoint) {
    for account in &endpoint.accounts {
        let backend = account.backend.map(|backend| backend.to_string()).unwrap_or_default();
        let labels = [
            ("endpoint", endpoint.name.as_str()),
            ("service", endpoint.private_link_service.as_str()),
            ("backend", backend.as_str()),
            ("protocol", account.protocol.map_or("", Protocol::name)),
        ];
        let Traffic { packets_in, bytes_in, packets_out, bytes_out } = account.traffic;
        let help = "Packets from clients, by endpoint, backend and protocol.";
        page.counter("adit_packets_in_total", help, &labels, packets_in);
        let help = "Bytes of those.";
        page.counter("adit_bytes_in_total", help, &labels, bytes_in);
        let help = "Packets from backends, by endpoint, backend and protocol.";
        page.counter("adit_packets_out_total", help, &labels, packets_out);
        let help = "Bytes of those.";
        page.counter("adit_bytes_out_total", help, &labels, bytes_out);
    }
}

fn services(page: &mut dyn Page, facts: &Facts<'_>) {
    for service in facts.services {
        let name = service.name.as_str();
        let labels = [("service", name)];
        let help = "Bytes from clients to a service (PLSBytesIn).";
        page.counter("adit_pls_bytes_in_total", help, &labels, service.traffic.bytes_in);
        let help = "Bytes from a service to clients (PLSBytesOut).";
        page.counter("adit_pls_bytes_out_total", help, &labels, service.traffic.bytes_out);
        let mut usage: BTreeMap<IpAddr, (u64, u64)> = BTreeMap::new();
        for ports in &service.nat_ports {
            let (nat_ip, backend) = (ports.nat_ip.to_string(), ports.backend.to_string());
            let labels = [
                ("service", name),
                ("nat_ip", nat_ip.as_str()),
                ("backend", backend.as_str()),
                ("protocol", ports.protocol.name()),
            ];
            let help = "NAT ports leased, by NAT IP, backend and protocol.";
            page.gauge("adit_nat_ports_leased", help, &labels, ports.leased);
            page.gauge("adit_nat_ports", "NAT ports that there are.", &labels, ports.ports);
            let sum = usage.entry(ports.nat_ip).or_default();
            *sum = (sum.0 + u64::from(ports.leased), sum.1 + u64::from(ports.ports));
            let help = "New flows refused because neither this NAT IP nor another had a port left.";
            page.counter("adit_nat_ports_refused_total", help, &labels, ports.refused);
        }
        for (nat_ip, (leased, ports)) in usage {
            let nat_ip = nat_ip.to_string();
            let labels = [("service", name), ("nat_ip", nat_ip.as_str())];
            let help = "Share of a NAT IP's ports that are leased (PLSNatPortsUsage).";
            #[expect(clippy::cast_precision_loss, reason = "ports are few")]
            let percent = 100.0 * leased as f64 / (ports.max(1)) as f64;
            page.gauge("adit_pls_nat_ports_usage_percent", help, &labels, percent);
        }
        let backends = service.rules.iter().flat_map(|rule| &rule.backends);
        let backends: BTreeMap<IpAddr, bool> =
            backends.map(|backend| (backend.address, backend.resolved)).collect();
        for (address, resolved) in backends {
            let address = address.to_string();
            let labels = [("service", name), ("backend", address.as_str())];
            let help = "Whether the station that a backend's frames go to has answered.";
            page.gauge("adit_backend_resolved", help, &labels, u8::from(resolved));
        }
        probes(page, service);
    }
}

/// What probes say, once for each probe and backend.
fn probes(page: &mut dyn Page, service: &Service) {
    let rules =
        service.rules.iter().filter_map(|rule| Some((rule.probe.as_ref()?, &rule.backends)));
    let all = rules.flat_map(|(asks, backends)| {
        let probed = backends.iter().filter_map(|backend| Some((backend, backend.probe.as_ref()?)));
        probed.map(|(backend, probe)| ((asks.name.as_str(), backend.address), probe))
    });
    for ((name, address), probe) in all.collect::<BTreeMap<_, _>>() {
        let address = address.to_string();
        let labels =
            [("service", service.name.as_str()), ("probe", name), ("backend", address.as_str())];
        let help = "Whether a probe finds a backend healthy.";
        let is_up = u8::from(probe.state == "up" || probe.state == "presumed");
        page.gauge("adit_backend_probe_up", help, &labels, is_up);
        let help = "Attempts of a probe that a backend answered.";
        page.counter("adit_backend_probe_successes_total", help, &labels, probe.successes);
        let help = "Attempts of a probe that a backend did not answer.";
        page.counter("adit_backend_probe_failures_total", help, &labels, probe.failures);
        let help = "How often the verdict on a backend changed.";
        page.counter("adit_backend_probe_changes_total", help, &labels, probe.changes);
    }
}

#[cfg(test)]
mod tests;
